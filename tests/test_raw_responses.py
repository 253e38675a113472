"""Answers as they came: `with_raw_response`, `with_streaming_response`, and what they cost nobody else."""

import asyncio
import copy
import gc
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moonshot_async import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    AsyncMoonshot,
    ChatCompletion,
    InternalServerError,
    MemoryTransport,
    NotFoundError,
    Request,
    Response,
    ResponseTooLargeError,
    Retry,
    Stream,
    StreamInterruptedError,
    Timeout,
)
from moonshot_async.bounds import Bounds
from moonshot_async.raw_responses import open_bodies
from moonshot_async.resources.call import Resource
from moonshot_async.types.casting import decoder_of
from moonshot_async.wire import Content

KEY = "sk-canary-that-nobody-may-see"
ASK: Any = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
COMPLETION = {
    "id": "c1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
}
CHUNK = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}
EVENTS = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n"
MODELS = {"object": "list", "data": [{"id": "kimi-k3"}]}


class Service:
    """An app whose answers are `body`, and that knows whether they were closed."""

    def __init__(self) -> None:
        self.body: Callable[[], Content] = lambda: json.dumps(COMPLETION)
        self.headers = {"Content-Type": "application/json", "Msh-Request-Id": "r1"}
        self.failures: list[int] = []
        self.requests: list[Request] = []
        self.closed = 0
        self.read = 0

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if self.failures:
            return Response(self.failures.pop(0), {"Retry-After": "0"}, '{"error":{"message":"no"}}')
        if request.path == "/v1/models":
            return Response(200, self.headers, json.dumps(MODELS))
        if request.path.startswith("/v1/models/"):
            return Response(404)
        headers, body = self.headers, self.body()
        if json.loads(request.body).get("stream"):
            headers, body = {**headers, "Content-Type": "text/event-stream"}, EVENTS
        response = Response(200, headers, body)
        service, inner = self, response.body

        class Watched:
            async def read(self, deadline: float | None = None) -> bytes:
                service.read += 1
                return await inner.read(deadline)

            def close(self) -> None:
                service.closed += 1
                inner.close()

        response.body = Watched()
        return response


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[AsyncMoonshot]:
    async def no_sleep(seconds: float) -> None: ...

    retry = Retry(2, sleep=no_sleep)
    async with AsyncMoonshot(api_key=KEY, transport=MemoryTransport(service), middleware=[retry]) as client:
        yield client


class Own(msgspec.Struct):
    id: str


# --- raw


async def test_a_raw_response_has_head_and_body_and_parses_when_asked(client: AsyncMoonshot, service: Service) -> None:
    raw = await client.chat.completions.with_raw_response.create(**ASK)
    assert (raw.status_code, raw.headers["content-type"], raw.method) == (200, "application/json", "POST")
    assert (raw.url, raw.http_version) == ("https://api.moonshot.cn/v1/chat/completions", "HTTP/1.1")
    assert (raw.request_id, raw.retries_taken, raw.is_closed) == ("r1", 0, True)
    assert raw.content == raw.text.encode() == json.dumps(COMPLETION).encode()
    assert raw.json() == COMPLETION
    assert timedelta() <= raw.elapsed < timedelta(seconds=30)
    assert raw.http_response.status_code == 200
    assert raw.http_request is raw.http_response.request
    assert service.closed
    completion = raw.parse()
    assert isinstance(completion, ChatCompletion)
    assert (completion.choices[0].message.content, completion.request_id) == ("ok", "r1")
    assert raw.parse() is completion


async def test_a_raw_response_parses_to_other_types(client: AsyncMoonshot) -> None:
    raw = await client.chat.completions.with_raw_response.create(**ASK)
    assert raw.parse(to=Own) == Own("c1")
    assert raw.parse(to=Own) is raw.parse(to=Own)
    assert raw.parse(to=dict[str, Any])["id"] == "c1"
    assert raw.parse(to=str) == raw.text
    assert raw.parse(to=bytes) == raw.content
    assert raw.parse(to=type(None)) is None
    assert raw.parse(to=Response) is raw.http_response
    with pytest.raises(APIResponseValidationError) as caught:
        raw.parse(to=list[int])
    assert caught.value.request is not None


async def test_an_answer_that_is_none_shows_itself_raw_and_fails_when_it_is_parsed(
    client: AsyncMoonshot, service: Service
) -> None:
    service.body = lambda: b"<html>"
    raw = await client.chat.completions.with_raw_response.create(**ASK)
    assert raw.text == "<html>"
    for _ in range(2):
        with pytest.raises(APIResponseValidationError, match="HTML page"):
            raw.parse()


async def test_a_raw_response_hides_key_and_prompt_when_it_is_shown(client: AsyncMoonshot) -> None:
    raw = await client.chat.completions.with_raw_response.create(**ASK)
    shown = repr(raw) + repr(raw.http_request) + repr(raw.http_request.headers)
    assert KEY not in shown
    assert "Hi" not in shown
    assert repr(raw) == "<RawResponse [200] POST https://api.moonshot.cn/v1/chat/completions>"
    assert raw.http_request.headers["authorization"] == f"Bearer {KEY}"


async def test_retries_are_counted(client: AsyncMoonshot, service: Service) -> None:
    service.failures = [500, 500]
    assert (await client.chat.completions.with_raw_response.create(**ASK)).retries_taken == 2
    service.failures = [500]
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert response.retries_taken == 1
    service.failures = [500]
    assert (await client.chat.completions.with_raw_response.create(**ASK, stream=True)).retries_taken == 1


async def test_errors_of_status_are_raised_by_the_call(client: AsyncMoonshot, service: Service) -> None:
    service.failures = [501, 501]
    with pytest.raises(InternalServerError):
        await client.chat.completions.with_raw_response.create(**ASK)
    with pytest.raises(InternalServerError):
        async with client.chat.completions.with_streaming_response.create(**ASK):
            raise AssertionError("never entered")


async def test_a_raw_stream_is_parsed_to_a_stream_that_owns_its_body(client: AsyncMoonshot, service: Service) -> None:
    raw = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert (raw.status_code, raw.is_closed, service.read) == (200, False, 0)
    for attempt in (lambda: raw.content, lambda: raw.text, lambda: raw.json()):
        with pytest.raises(RuntimeError, match=r"parse\(\) gives the Stream"):
            attempt()
    with pytest.raises(TypeError, match="no to= here"):
        raw.parse(to=dict)
    stream = raw.parse()
    assert isinstance(stream, Stream)
    assert raw.parse() is stream
    assert [chunk.choices[0].delta.content async for chunk in stream] == ["ok"]
    assert raw.is_closed
    assert service.closed
    raw = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
    await raw.parse().aclose()
    assert raw.is_closed


async def test_a_raw_stream_that_nobody_reads_is_closed_when_it_is_dropped(
    client: AsyncMoonshot, service: Service
) -> None:
    gc.disable()
    try:
        raw = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
        assert not service.closed
        del raw
        assert service.closed
    finally:
        gc.enable()


async def test_a_document_where_a_raw_stream_was_asked_for_is_an_error(client: AsyncMoonshot) -> None:
    with pytest.raises(APIError):
        await client.post("/chat/completions", cast_to=ChatCompletion, body=ASK, stream=True, stream_cls=Stream[Own])


# --- streaming


async def test_of_a_streaming_response_nothing_is_read_before_it_is_asked_for(
    client: AsyncMoonshot, service: Service
) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert (response.status_code, response.method, response.is_closed, service.read) == (200, "POST", False, 0)
        completion = await response.parse()
        assert (completion.choices[0].message.content, completion.request_id) == ("ok", "r1")
        assert await response.parse() is completion
        assert response.is_closed
        assert await response.parse(to=Own) == Own("c1")
        assert await response.parse(to=Response) is response.http_response
    assert service.closed


async def test_a_streaming_response_that_is_left_unread_is_closed(client: AsyncMoonshot, service: Service) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        pass
    assert (response.is_closed, service.read) == (True, 0)
    assert service.closed
    with pytest.raises(RuntimeError, match="used up, or closed"):
        await response.read()


async def test_the_body_can_be_read_whole_again_and_again(client: AsyncMoonshot, service: Service) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        content = await response.read()
        assert await response.read() == content == (await response.text()).encode()
        assert await response.json() == COMPLETION
        assert [piece async for piece in response.iter_bytes()] == [content]
        assert [len(piece) async for piece in response.iter_bytes(50)][:2] == [50, 50]
    assert await response.read() == content
    service.body = lambda: b""
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert await response.read() == b""
        assert [piece async for piece in response.iter_bytes()] == []


async def test_the_body_can_be_read_piece_by_piece_once(client: AsyncMoonshot, service: Service) -> None:
    service.body = lambda: [b"abc", b"defg", b"h"]
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert [piece async for piece in response.iter_bytes()] == [b"abc", b"defg", b"h"]
        assert response.is_closed
        assert service.closed
        for again in (response.read(), response.parse(), anext(response.iter_bytes())):
            with pytest.raises(RuntimeError, match="in one way, once"):
                await again
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert [piece async for piece in response.iter_bytes(3)] == [b"abc", b"def", b"gh"]
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        with pytest.raises(ValueError, match="chunk_size"):
            await anext(response.iter_bytes(0))


async def test_text_is_cut_between_characters_only(client: AsyncMoonshot, service: Service) -> None:
    text = "añ你🎉"
    service.body = lambda: [bytes([byte]) for byte in text.encode()] + [b"\xe4"]
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert [piece async for piece in response.iter_text()] == [*text, "\ufffd"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("sent", "lines"),
    [
        ("a\nb\r\nc\rd", ["a", "b", "c", "d"]),
        ("a\n\n", ["a", ""]),
        ("", []),
        ("\r", [""]),
        ("a\r", ["a"]),
        ("a\u2028b\n", ["a\u2028b"]),
        ("long " * 20 + "\nlast", ["long " * 20, "last"]),
    ],
)
async def test_lines_end_where_they_end_wherever_the_body_was_cut(
    sent: str, lines: list[str], size: int, client: AsyncMoonshot, service: Service
) -> None:
    content = sent.encode()
    service.body = lambda: [content[start : start + size] for start in range(0, len(content), size)]
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert [line async for line in response.iter_lines()] == lines


async def test_a_line_that_has_no_end_is_not_gathered_without_bound(
    client: AsyncMoonshot, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_bodies, "DEFAULT_MAX_BODY_BYTES", 10)
    service.body = lambda: [b"ten bytes!\nten b", *itertools.repeat(b"ytes!", 1000)]
    lines = []
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        with pytest.raises(ResponseTooLargeError) as caught:
            async for line in response.iter_lines():
                lines.append(line)  # noqa: PERF401  # what came before the error counts

    assert lines == ["ten bytes!"]
    assert service.read < 10
    assert caught.value.request is not None
    assert caught.value.request.body == b""


async def test_a_body_goes_to_a_file(client: AsyncMoonshot, service: Service, tmp_path: Path) -> None:
    service.body = lambda: [b"abc", b"def"]
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        await response.stream_to_file(tmp_path / "out", chunk_size=2)
    assert (tmp_path / "out").read_bytes() == b"abcdef"


@pytest.mark.parametrize("after", [-1.0, 60.0])
async def test_a_body_that_comes_slowly_is_in_the_file_as_it_comes(
    after: float, client: AsyncMoonshot, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_bodies, "_WRITTEN_AFTER", after)
    seen: list[int] = []

    def body() -> Iterator[bytes]:
        for _ in range(5):
            seen.append((tmp_path / "out").stat().st_size)
            yield b"x" * 300_000

    service.body = body
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        await response.stream_to_file(tmp_path / "out")

    # Either each piece at once, or a MiB together.
    assert [size // 200_000 for size in seen] == ([0, 1, 3, 4, 6] if after < 0 else [0, 0, 0, 0, 6])
    assert (tmp_path / "out").stat().st_size == 1_500_000


@pytest.mark.parametrize("end", [APIConnectionError(message="cut"), asyncio.CancelledError()])
async def test_what_came_of_a_body_that_broke_off_is_in_the_file(
    end: BaseException, client: AsyncMoonshot, service: Service, tmp_path: Path
) -> None:
    def body() -> Iterator[bytes]:
        yield b"abc"
        raise end

    service.body = body
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        with pytest.raises(type(end)):
            await response.stream_to_file(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"abc"


async def test_what_came_of_a_body_is_in_the_file_when_its_reader_is_cancelled(
    client: AsyncMoonshot, service: Service, tmp_path: Path
) -> None:
    held = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        held.set()
        await asyncio.Event().wait()

    service.body = body
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        task = asyncio.create_task(response.stream_to_file(tmp_path / "out"))
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (tmp_path / "out").read_bytes() == b"abc"


async def test_a_streamed_answer_is_parsed_to_a_stream(client: AsyncMoonshot, service: Service) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        with pytest.raises(TypeError, match="no to= here"):
            await response.parse(to=Own)
        stream = await response.parse()
        assert await response.parse() is stream
        assert service.read == 0
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["ok"]
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        assert "".join([text async for text in response.iter_text()]) == EVENTS


async def test_a_stream_ends_with_the_response_that_it_came_in(client: AsyncMoonshot) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        stream = await response.parse()
    with pytest.raises(StreamInterruptedError, match="was closed before its end"):
        await anext(stream)
    await response.aclose()


async def test_a_body_that_breaks_off_says_so_after_what_came(client: AsyncMoonshot, service: Service) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError("reset by peer")

    service.body = broken
    seen = []
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        with pytest.raises(StreamInterruptedError, match="reset by peer") as caught:
            async for piece in response.iter_bytes():
                seen.append(piece)  # noqa: PERF401  # what came before the error counts
    assert seen == [b"abc"]
    assert caught.value.request is not None
    assert KEY not in repr(caught.value.request.headers.multi_items())


async def test_the_clocks_of_the_call_bound_each_read(client: AsyncMoonshot, service: Service) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    service.body = stalling
    patience = Timeout(read=0.03)
    async with client.chat.completions.with_streaming_response.create(**ASK, timeout=patience) as response:
        with pytest.raises(APITimeoutError, match="read timeout"):
            async for _ in response.iter_bytes():
                pass


async def test_a_body_in_memory_is_bounded_and_one_in_pieces_is_not(
    client: AsyncMoonshot, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._pipeline, "_bounds", Bounds(max_body_bytes=100))
    service.body = lambda: [b"x" * 60] * 3
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        with pytest.raises(ResponseTooLargeError):
            await response.read()
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert sum([len(piece) async for piece in response.iter_bytes()]) == 180
    with pytest.raises(ResponseTooLargeError):
        await client.chat.completions.with_raw_response.create(**ASK)


class Large(Resource):
    """A section whose answers may be larger than others."""

    async def fetch(self, bound: str) -> object:
        request = self._pipeline.request("POST", "/large", b"{}")
        return await self._pipeline.fetch(request, decoder_of(bytes), bound=bound)


@pytest.mark.parametrize("bound", ["max_body_bytes", "max_file_bytes"])
async def test_a_call_may_allow_a_larger_body_in_each_of_its_forms(
    bound: str, client: AsyncMoonshot, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._pipeline, "_bounds", Bounds(max_body_bytes=100, max_file_bytes=1000))
    service.body = lambda: b"x" * 500
    large = Large(client._pipeline)

    async def plain() -> object:
        return await large.fetch(bound)

    async def raw() -> object:
        return (await large.with_raw_response.fetch(bound)).content

    async def streamed() -> object:
        async with large.with_streaming_response.fetch(bound) as response:
            return await response.read()

    for form in (plain, raw, streamed):
        if bound == "max_file_bytes":
            assert await form() == b"x" * 500
        else:
            with pytest.raises(ResponseTooLargeError):
                await form()


# --- views


async def test_every_section_has_its_raw_forms_from_the_client_down(client: AsyncMoonshot) -> None:
    page = (await client.with_raw_response.models.list()).parse()
    assert [model.id for model in page] == ["kimi-k3"]
    assert (await client.with_raw_response.chat.completions.create(**ASK)).parse().id == "c1"
    assert (await client.chat.with_raw_response.completions.create(**ASK)).parse().id == "c1"
    async with client.with_streaming_response.models.list() as response:
        assert [model.id for model in await response.parse()] == ["kimi-k3"]
    async with client.with_streaming_response.chat.completions.create(**ASK) as answer:
        assert (await answer.parse()).id == "c1"
    assert client.models.with_raw_response is client.models.with_raw_response
    assert client.with_raw_response.chat is client.with_raw_response.chat


async def test_a_model_that_is_found_in_the_list_has_its_raw_forms(client: AsyncMoonshot) -> None:
    raw = await client.models.with_raw_response.retrieve("kimi-k3")
    assert (raw.parse().id, raw.json()) == ("kimi-k3", MODELS)
    async with client.models.with_streaming_response.retrieve("kimi-k3") as response:
        assert (await response.parse()).id == "kimi-k3"
    with pytest.raises(NotFoundError):
        await client.models.with_raw_response.retrieve("gpt-5")


async def test_what_is_no_single_call_has_no_raw_form(client: AsyncMoonshot) -> None:
    for view in (client.chat.completions.with_raw_response, client.chat.completions.with_streaming_response):
        with pytest.raises(AttributeError, match=r"stream\(\) is more than one call"):
            _ = view.stream  # type: ignore[attr-defined]  # what is refused
        with pytest.raises(AttributeError, match="no_such"):
            _ = view.no_such  # type: ignore[attr-defined]  # what is refused
        with pytest.raises(AttributeError, match="no attribute '_pipeline'"):
            _ = view._pipeline  # type: ignore[attr-defined]  # what is refused
        assert dir(copy.copy(view)) == dir(view)
        assert "create" in dir(view)
        assert "stream" not in dir(view)
        assert repr(view) == "<raw view of Completions>"


async def test_a_view_sees_what_is_changed_on_the_client(client: AsyncMoonshot, service: Service) -> None:
    view = client.models.with_raw_response
    client.base_url = "https://other.example/v1"
    assert (await view.list()).url == "https://other.example/v1/models"


def test_the_class_itself_has_the_attribute_too() -> None:
    assert type(AsyncMoonshot(api_key=KEY, transport=MemoryTransport(Service())).models).with_raw_response is not None


async def test_a_call_that_is_entered_twice_is_sent_twice(client: AsyncMoonshot, service: Service) -> None:
    call = client.chat.completions.with_streaming_response.create(**ASK)
    assert service.requests == []
    for _ in range(2):
        async with call as response:
            assert (await response.parse()).id == "c1"
    assert len(service.requests) == 2
