"""What every resource shares. (The keywords of calls are looked at in the tests of the resources.)"""

import pytest

from moonshot_async import AsyncMoonshot, ConfigurationError, MemoryTransport, Request, Response
from moonshot_async.resources.call import Resource, checked_path, path_segment


class Things(Resource):
    """A section that a user adds."""

    async def first(self) -> object:
        pipeline = self._pipeline
        from moonshot_async.types.casting import decoder_of

        return await pipeline.fetch(pipeline.request("GET", "/things/1"), decoder_of(object))


async def test_a_resource_has_its_raw_forms_without_a_line_of_its_own() -> None:
    async def app(request: Request) -> Response:
        return Response(200, body='{"id":1}')

    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(app)) as client:
        things = Things(client._pipeline)
        assert await things.first() == {"id": 1}
        raw = await things.with_raw_response.first()
        assert (raw.status_code, raw.parse()) == (200, {"id": 1})
        async with things.with_streaming_response.first() as response:
            assert await response.parse() == {"id": 1}


@pytest.mark.parametrize(("value", "segment"), [("a", "a"), ("a/b c", "a%2Fb%20c"), ("ü", "%C3%BC")])
def test_an_id_is_escaped_in_a_path(value: str, segment: str) -> None:
    assert path_segment(value, "id") == segment


@pytest.mark.parametrize("value", ["", " ", ".", ".."])
def test_an_id_that_points_elsewhere_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="file_id must be a non-empty id"):
        path_segment(value, "file_id")


def test_a_path_begins_with_a_slash() -> None:
    assert checked_path("files") == checked_path("/files") == "/files"
