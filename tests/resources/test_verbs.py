"""Endpoints that the SDK has no method for: `client.get` and its kin. (`client.request` is in test_client.py.)"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moonshot_async import (
    AsyncMoonshot,
    ChatCompletion,
    ChatCompletionChunk,
    ConfigurationError,
    NotFoundError,
    Request,
    Response,
    Stream,
    StreamInterruptedError,
)
from moonshot_async.resources.uploads import FileUpload


class Thing(msgspec.Struct):
    name: str = ""


class Service:
    """Tells what it was asked; a stream of it where one was asked for."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 200
        self.events: list[dict[str, Any]] = [{"name": "a"}, {"name": "b"}]
        self.done = True

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if request.stream:
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in self.events) + "data: [DONE]\n\n" * self.done
            return Response(200, {"Content-Type": "text/event-stream"}, text)
        if self.status == 204:
            return Response(204)
        return Response(self.status, {"Content-Type": "application/json"}, '{"name":"x"}')


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_each_verb_sends_its_method_and_decodes_the_answer(
    verb: str, client: AsyncMoonshot, service: Service
) -> None:
    assert await getattr(client, verb)("/things/1", cast_to=Thing) == Thing("x")
    sent = service.requests[-1]
    assert (sent.method, sent.url, sent.body) == (verb.upper(), "https://api.moonshot.cn/v1/things/1", b"")


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
async def test_a_body_has_a_json_form_and_content_is_sent_as_it_is(
    verb: str, client: AsyncMoonshot, service: Service
) -> None:
    call = getattr(client, verb)
    await call("/x", cast_to=object, body={"a": None})
    assert service.requests[-1].json() == {"a": None}
    await call("/x", cast_to=object, content=b"raw")
    assert service.requests[-1].body == b"raw"
    with pytest.raises(TypeError, match="exclude each other"):
        await call("/x", cast_to=object, body={}, content=b"raw")


async def test_options_say_how_the_call_is_made(client: AsyncMoonshot, service: Service) -> None:
    options: Any = {
        "headers": {"X-A": "1", "Accept": None},
        "params": {"q": [1, 2]},
        "timeout": 5,
        "max_retries": 0,
        "retry_slow": True,
        "priority": 3,
        "extra_json": {"b": 2},
        "idempotency_key": "k",
        "follow_redirects": False,
    }
    await client.post("/x", cast_to=object, body={"a": 1, "b": 1}, options=options)
    sent = service.requests[-1]
    assert (sent.headers["x-a"], "accept" in sent.headers, sent.headers["idempotency-key"]) == ("1", False, "k")
    assert sent.url.endswith("/v1/x?q=1&q=2")
    assert (sent.timeout.total, sent.json()) == (5, {"a": 1, "b": 2})
    assert (sent.max_retries, sent.retry_slow, sent.priority) == (0, True, 3)
    await client.post("/x", cast_to=object, options={"extra_json": {"b": 2}})
    assert service.requests[-1].json() == {"b": 2}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"options": {"max_retries": "x"}}, "max_retries must be a whole number"),
        ({"options": {"retry_slow": 1}}, "retry_slow must be True or False"),
        ({"options": {"priority": "high"}}, "priority must be a whole number"),
        ({"options": {"query": {}}}, "options has no 'query'; it takes extra_json"),
        ({"options": {"follow_redirects": True}}, "redirects are not followed"),
        ({"body": [1], "options": {"extra_json": {"a": 1}}}, "must be a mapping"),
        ({"files": {"file": b"x"}, "content": b"x"}, "exclude each other"),
        ({"files": {"file": b"x"}, "body": [1]}, "must be a mapping"),
        ({"files": {"other": b"x"}}, "in the field 'file'"),
        ({"files": {}}, "one file"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anything_is_sent(
    call: Any, says: str, client: AsyncMoonshot, service: Service
) -> None:
    with pytest.raises(TypeError, match=says):
        await client.post("/x", cast_to=object, **call)
    assert service.requests == []


async def test_a_path_that_leads_elsewhere_is_refused(client: AsyncMoonshot) -> None:
    for stream in (False, True):
        with pytest.raises(ConfigurationError, match="below the base URL"):
            await client.get("https://evil.example/x", cast_to=object, stream=stream)


async def test_errors_of_status_are_the_same_as_elsewhere(client: AsyncMoonshot, service: Service) -> None:
    service.status = 404
    with pytest.raises(NotFoundError):
        await client.get("/x", cast_to=object)


async def test_the_response_itself_can_be_asked_for(client: AsyncMoonshot) -> None:
    response = await client.get("/x", cast_to=Response)
    assert (response.status_code, response.json()) == (200, {"name": "x"})


@pytest.mark.parametrize("cls", [type(None), None, object, dict])
async def test_an_answer_without_a_body_is_none(cls: Any, client: AsyncMoonshot, service: Service) -> None:
    service.status = 204
    if cls is dict:
        with pytest.raises(Exception, match="it is empty"):
            await client.delete("/x", cast_to=cls)
    else:
        assert await client.delete("/x", cast_to=cls) is None
        assert await client.request("DELETE", "/x", response_type=cls) is None


@pytest.mark.parametrize(("cast_to", "stream_cls"), [(Thing, None), (object, Stream[Thing])])
async def test_a_stream_of_anything(cast_to: Any, stream_cls: Any, client: AsyncMoonshot, service: Service) -> None:
    for call in (client.get, client.post):
        stream = await call("/x", cast_to=cast_to, stream=True, stream_cls=stream_cls)
        assert isinstance(stream, Stream)
        assert [thing async for thing in stream] == [Thing("a"), Thing("b")]
    assert all(request.stream for request in service.requests)


async def test_a_stream_of_anything_ends_where_its_body_ends(client: AsyncMoonshot, service: Service) -> None:
    service.done = False
    stream = await client.get("/x", cast_to=Thing, stream=True)
    assert [thing async for thing in stream] == [Thing("a"), Thing("b")]
    stream = await client.get("/x", cast_to=Thing, stream=True)
    await anext(stream)
    await stream.aclose()
    with pytest.raises(StreamInterruptedError) as caught:
        await anext(stream)
    assert caught.value.partial is None


async def test_a_stream_of_chunks_is_whole_when_its_choices_are(client: AsyncMoonshot, service: Service) -> None:
    service.events = [{"choices": [{"index": 0, "delta": {"content": "a"}}]}]
    service.done = False
    stream = await client.post("/x", cast_to=ChatCompletion, stream=True, stream_cls=Stream[ChatCompletionChunk])
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in stream:
            pass
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "a"


async def test_what_was_opened_for_a_form_is_closed(
    client: AsyncMoonshot, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(FileUpload, "close", lambda self: closed.append(self))
    await client.post("/x", cast_to=Thing, files={"file": ("a.txt", b"words")})
    service.status = 404
    with pytest.raises(NotFoundError):
        await client.post("/x", cast_to=Thing, files={"file": ("a.txt", b"words")})
    assert len(closed) == 2


@pytest.mark.parametrize("verb", ["post", "put", "patch"])
async def test_a_file_goes_into_a_form(verb: str, client: AsyncMoonshot, service: Service, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("words")
    fields = {"purpose": "batch", "n": 1}
    assert await getattr(client, verb)("/x", cast_to=Thing, files={"file": path}, body=fields) == Thing("x")
    assert service.requests[-1].headers["content-type"].startswith("multipart/form-data; boundary=")
    for part in (b'name="purpose"\r\n\r\nbatch\r\n', b'name="n"\r\n\r\n1\r\n', b'filename="a.txt"', b"words"):
        assert part in service.requests[-1].body
    await client.post("/x", cast_to=Thing, files=[("file", ("b.txt", b"more"))], options={"extra_json": {"a": "b"}})
    assert b'name="a"\r\n\r\nb\r\n' in service.requests[-1].body
    assert b"more" in service.requests[-1].body
