"""`client.models`."""

import json
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, ConfigurationError, MemoryTransport, NotFoundError, Request, Response
from moonshot_async.catalog import CATALOG
from moonshot_async.fake import FakeMoonshot


async def test_a_list_can_be_awaited(client: AsyncMoonshot) -> None:
    models = await client.models.list()
    assert [model.id for model in models.data] == list(CATALOG.current_ids())
    assert models.data[0].context_length == 1_048_576
    assert models.request_id == "fake-request-000001"


async def test_a_list_can_be_iterated(client: AsyncMoonshot) -> None:
    assert [model.id async for model in client.models.list()] == list(CATALOG.current_ids())


async def test_a_list_is_sent_when_it_is_used_and_again_when_it_is_used_again(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    listing = client.models.list(extra_headers={"X-A": "1"})
    assert fake.requests == []
    await listing
    async for _ in listing:
        break
    assert [request.headers["X-A"] for request in fake.requests] == ["1", "1"]


async def test_one_model_is_looked_up(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    model = await client.models.retrieve("kimi-k3")
    assert (model.id, model.supports_reasoning) == ("kimi-k3", True)
    assert [request.path for request in fake.requests] == ["/v1/models/kimi-k3"]


async def test_where_there_is_no_address_for_one_model_the_list_is_searched_under_the_same_deadline() -> None:
    seen: list[Request] = []

    async def app(request: Request) -> Response:
        seen.append(request)
        if request.path != "/v1/models":
            return Response(404, body=b"404 page not found")
        return Response(200, body=json.dumps({"data": [{"id": "other"}, {"id": "org/model"}]}).encode())

    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(app)) as client:
        assert (await client.models.retrieve("org/model", timeout=9)).id == "org/model"
    assert [request.url.partition("/v1")[2] for request in seen] == ["/models/org%2Fmodel", "/models"]
    assert seen[0].deadline == seen[1].deadline is not None


async def test_a_model_that_is_not_in_the_list_either_is_not_found(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(NotFoundError, match="gpt-5") as caught:
        await client.models.retrieve("gpt-5")
    assert caught.value.request_id == "fake-request-000001"
    assert len(fake.requests) == 2


@pytest.mark.parametrize("model", ["", " ", ".", "..", None, 5])
async def test_a_model_that_is_no_id_is_refused(model: Any, client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(ConfigurationError, match="model must be a non-empty id"):
        await client.models.retrieve(model)
    assert fake.requests == []


@pytest.mark.parametrize("name", ["timeuot", "stream", "body", "method"])
async def test_a_keyword_that_does_not_exist_is_a_type_error(
    name: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    unknown: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=rf"list\(\) got an unexpected keyword argument '{name}'"):
        client.models.list(**unknown)
    with pytest.raises(TypeError, match=rf"retrieve\(\) got an unexpected keyword argument '{name}'"):
        await client.models.retrieve("kimi-k3", **unknown)
    assert fake.requests == []
