"""Each bound: what fits is taken, what passes it ends in the error that names it, and what came before is kept."""

import asyncio
import copy
import gzip
import json
import pickle
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moonshot_async import (
    APIError,
    APIResponseValidationError,
    AsyncMoonshot,
    Bounds,
    ConfigurationError,
    InternalServerError,
    MemoryTransport,
    Request,
    Response,
    ResponseTooLargeError,
    StreamInterruptedError,
    accumulate,
)
from moonshot_async.bounds import DEFAULT_BOUNDS
from moonshot_async.transports import AiohttpTransport
from moonshot_async.transports.inflate import inflated
from moonshot_async.types import json_text
from moonshot_async.types.json_text import too_deep
from moonshot_async.types.model import Model, parse
from moonshot_async.wire import as_stream
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Play,
    Start,
    answer,
    chunk,
    events,
)

ClientOf = Callable[..., AsyncMoonshot]

STREAM = events(DELTA, FINISH, b"[DONE]")
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
SSE = b"Content-Type: text/event-stream\r\n"


def saying(*said: bytes) -> Play:
    """Answer each request with the same."""

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*said)

    return play


async def whole(client: AsyncMoonshot) -> str | None:
    return (await client.chat.completions.create(**ASK)).choices[0].message.content


async def streamed(client: AsyncMoonshot) -> str:
    stream = await client.chat.completions.create(**ASK, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


# --- the options


@pytest.mark.parametrize("name", [name for name in Bounds.__struct_fields__ if not name.startswith("drain")])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "9"])
def test_a_bound_is_a_positive_whole_number(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a positive whole number, not"):
        Bounds(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("drain_bytes", -1), ("drain_bytes", 0.5), ("drain_seconds", -0.1), ("drain_seconds", float("nan"))],
)
def test_what_is_read_after_the_end_may_be_nothing_but_not_less(name: str, value: Any) -> None:
    assert getattr(Bounds(**{name: 0}), name) == 0
    with pytest.raises(ConfigurationError, match=f"{name} must be .*0 or more"):
        Bounds(**{name: value})


@pytest.mark.parametrize("value", [5, {"max_depth": 5}])
def test_what_is_no_bounds_is_refused_at_once(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="bounds must be"):
        AsyncMoonshot(api_key="sk-canary-01", bounds=value)
    with pytest.raises(ConfigurationError, match="bounds must be"):
        AsyncMoonshot(api_key="sk-canary-01", bounds=value, transport=MemoryTransport(answering(b"")))
    with pytest.raises(ConfigurationError, match="bounds must be"):
        AiohttpTransport(bounds=value)


@pytest.mark.parametrize("twin", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_the_error_names_its_bound_what_it_allows_and_how_to_allow_more(twin: Callable[[Any], Any]) -> None:
    error = twin(Bounds(max_depth=7).passed("max_depth"))
    assert type(error) is ResponseTooLargeError
    assert (error.bound, error.allowed, error.max_bytes, error.retryable) == ("max_depth", 7, None, False)
    assert str(error).startswith("The answer is nested deeper than 7 levels. ")
    assert "bounds=Bounds(max_depth=…)" in str(error)
    assert twin(DEFAULT_BOUNDS.passed("max_head_bytes")).max_bytes == 64 * 1024


def test_a_bound_that_is_no_option_is_just_a_number_of_bytes() -> None:
    error = ResponseTooLargeError(9)
    assert (error.bound, error.allowed, error.max_bytes, str(error)) == (
        None,
        9,
        9,
        "The answer is larger than 9 bytes.",
    )


# --- over the network: `allowed` as much is an answer, one more is none


def padded_head(size: int) -> bytes:
    head = answer(COMPLETION, headers=b"X: \r\n").partition(b"\r\n\r\n")[0]
    return answer(COMPLETION, headers=b"X: %s\r\n" % (b"y" * (size - len(head) - 4)))


def after_an_interim_head(size: int) -> bytes:
    return b"HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n" % (b"y" * (size - 36)) + answer(COMPLETION)


def behind_the_body(size: int) -> bytes:
    return CHUNKED + chunk(COMPLETION) + b"0\r\nX: " + b"y" * (size - 10) + b"\r\n\r\n"


def beside_a_chunk(size: int) -> bytes:
    return CHUNKED + b"%x;%s\r\n%s\r\n" % (len(COMPLETION), b"y" * size, COMPLETION) + LAST_CHUNK


def nested(levels: int) -> bytes:
    inner = levels - 1
    return answer(COMPLETION[:-1] + b',"more":' + b"[" * inner + b"]" * inner + b"}")


def large_line(size: int) -> bytes:
    return answer(b":" + b"c" * (size - 1) + b"\n" + STREAM, headers=SSE)


def silent_lines(count: int) -> bytes:
    return answer(events(DELTA) + b":\n" * count + events(FINISH, b"[DONE]"), headers=SSE)


def wordless_events(count: int) -> bytes:
    return answer(events(DELTA) + b"data: \n\n" * count + events(FINISH, b"[DONE]"), headers=SSE)


def large_stream(size: int) -> bytes:
    comments = size - len(STREAM)
    return answer(b":\n" * (comments // 2 - 1) + b":" + b"c" * (comments % 2) + b"\n" + STREAM, headers=SSE)


def compressed(size: int) -> bytes:
    return answer(gzip.compress(COMPLETION.ljust(size)), headers=b"Content-Encoding: gzip\r\n")


EXACT: dict[str, tuple[str, int, Callable[[int], bytes]]] = {
    "a head": ("max_head_bytes", 70_000, padded_head),
    "a whole answer": ("max_body_bytes", 500, lambda size: answer(COMPLETION.ljust(size))),
    "a compressed answer": ("max_decompressed_bytes", 500, compressed),
    "a line of a stream": ("max_event_bytes", 200, large_line),
    "lines that say nothing": ("max_silent_lines", 7, silent_lines),
    "events that say nothing": ("max_silent_lines", 7, wordless_events),
    "a stream": ("max_stream_bytes", 3000, large_stream),
    "a nested answer": ("max_depth", 30, nested),
}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("size", [65536, 7], ids=["at once", "in pieces"])
@pytest.mark.parametrize("what", EXACT)
async def test_a_bound_takes_what_it_allows_and_no_more(
    scripted: Start, client_of: ClientOf, what: str, size: int
) -> None:
    name, allowed, said = EXACT[what]
    ask = streamed if b"event-stream" in said(allowed) else whole

    async def play(peer: Peer) -> None:
        await peer.request()
        text = said(allowed + (peer.number - 1))
        for start in range(0, len(text), size):
            await peer.send(text[start : start + size])
        await peer.gone()

    server = await scripted(play)
    client = client_of(server, bounds=Bounds(**{name: allowed}))
    assert await ask(client) == "x"
    # The server counts its connections.
    await client.aclose()
    client = client_of(server, bounds=Bounds(**{name: allowed}))
    with pytest.raises(ResponseTooLargeError) as caught:
        await ask(client)
    error = caught.value
    assert (error.bound, error.allowed) == (name, allowed)
    assert error.request is not None
    assert error.attempts[-1].error == "ResponseTooLargeError"
    assert len(server.requests) == 2


@pytest.mark.parametrize("said", [after_an_interim_head, behind_the_body, beside_a_chunk])
async def test_what_stands_around_an_answer_is_bounded_about(
    scripted: Start, client_of: ClientOf, said: Callable[[int], bytes]
) -> None:
    name = "max_head_bytes" if said is after_an_interim_head else "max_trailer_bytes"

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(said(1000))
        await peer.request()
        # More than two reads of the network take.
        await peer.send(said(1_000_000))
        await peer.gone()

    server = await scripted(play)
    client = client_of(server, bounds=Bounds(**{name: 1000}))
    assert await whole(client) == "x"
    with pytest.raises(ResponseTooLargeError) as caught:
        await whole(client)
    assert caught.value.bound == name


async def test_a_body_in_tiny_chunks_is_no_trailer(scripted: Start, client_of: ClientOf) -> None:
    text = COMPLETION + b" " * 20_000
    said = CHUNKED + b"".join(chunk(text[i : i + 1]) for i in range(len(text))) + LAST_CHUNK

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        await peer.request()
        for start in range(0, len(said), 1000):
            await peer.send(said[start : start + 1000])
            await asyncio.sleep(0)
        await peer.gone()

    server = await scripted(play)
    client = client_of(server, bounds=Bounds(max_trailer_bytes=100, max_head_bytes=200))
    assert await whole(client) == "x"
    assert await whole(client) == "x"
    assert len(server.peers) == 1


async def test_what_stands_around_an_answer_may_come_slowly(scripted: Start, client_of: ClientOf) -> None:
    said = beside_a_chunk(4000)

    async def play(peer: Peer) -> None:
        await peer.request()
        for start in range(0, len(said), 500):
            await peer.send(said[start : start + 500])
            await asyncio.sleep(0.001)

    assert (
        await whole(client_of(await scripted(play), bounds=Bounds(max_head_bytes=200, max_trailer_bytes=5000))) == "x"
    )


async def test_words_before_a_bound_is_passed_are_handed_out_and_kept(scripted: Start, client_of: ClientOf) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD, chunk(events(DELTA)), b"1;")
        while True:
            await peer.send(b"x" * 10_000)

    stream = await client_of(await scripted(play)).chat.completions.create(**ASK, stream=True)
    assert (await anext(stream)).choices[0].delta.content == "x"
    for _ in range(2):
        with pytest.raises(ResponseTooLargeError) as caught:
            await anext(stream)
        assert caught.value.bound == "max_trailer_bytes"
        assert caught.value.partial is not None
        assert caught.value.partial.choices[0].message.content == "x"


async def test_a_client_with_other_bounds_keeps_to_them(scripted: Start, client_of: ClientOf) -> None:
    client = client_of(await scripted(saying(answer(COMPLETION))))
    narrow = client.with_options(bounds=Bounds(max_body_bytes=10))
    with pytest.raises(ResponseTooLargeError, match="larger than 10 bytes"):
        await whole(narrow)
    with pytest.raises(ResponseTooLargeError, match="larger than 10 bytes"):
        await whole(narrow.with_options(max_retries=0))
    assert await whole(client) == "x"


async def test_a_proxy_that_talks_without_end_is_stopped(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X: y\r\n" * 1000)

    server = await scripted(play)
    transport = AiohttpTransport(proxy=server.url)
    with pytest.raises(ResponseTooLargeError, match="head of the answer"):
        await transport.send(Request("GET", "https://moonshot.test/v1"))
    await transport.aclose()


# --- errors, and the end of a stream


async def test_of_the_body_of_an_error_as_much_is_read_as_was_said_and_the_rest_is_cut(
    scripted: Start, client_of: ClientOf
) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 1073741824\r\n\r\n" + b"oops " * 1000)
        await peer.gone()

    server = await scripted(play)
    client = client_of(server, bounds=Bounds(max_error_bytes=100), max_retries=0)
    with pytest.raises(InternalServerError) as caught:
        await whole(client)
    assert len(caught.value.response.content) == 100
    await server.until(lambda: server.open == 0)


@pytest.mark.parametrize(
    ("bounds", "connections"),
    [(Bounds(), 1), (Bounds(drain_bytes=0), 3), (Bounds(drain_seconds=0), 3), (Bounds(drain_bytes=10), 3)],
    ids=["default", "nothing", "no time", "little"],
)
async def test_after_the_end_of_a_stream_as_much_is_read_as_was_said(
    scripted: Start, client_of: ClientOf, bounds: Bounds, connections: int
) -> None:
    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(SSE_HEAD, chunk(STREAM))
            for last in (chunk(b":" * 1000), LAST_CHUNK):
                await asyncio.sleep(0.01)
                await peer.send(last)

    server = await scripted(play)
    client = client_of(server, bounds=bounds)
    for _ in range(3):
        assert await streamed(client) == "x"
    assert len(server.peers) == connections


# --- depth


def answering(body: bytes, kind: str = "application/json") -> Callable[[Request], Any]:
    async def app(_: Request) -> Response:
        return Response(200, {"Content-Type": kind}, body)

    return app


def depth_of(tree: Any) -> int:
    if isinstance(tree, dict):
        return 1 + max(map(depth_of, tree.values()), default=0)
    return 1 + max(map(depth_of, tree), default=0) if isinstance(tree, list) else 0


TREES = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\\nxé', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\x', max_size=4), inner, max_size=3),
    max_leaves=20,
)


@given(TREES, st.integers(0, 6), st.sampled_from([1, 2, 3, 5, 64]), st.sampled_from([1, 2, 5]))
@example([["\\"]], 1, 1, 1)
@example([['"[[', "]]"]], 1, 3, 2)
@example(['\\"', "[", "\\\\"], 1, 2, 2)
def test_depth_is_told_exactly_whatever_stands_in_texts(tree: Any, levels: int, block: int, stride: int) -> None:
    data = json.dumps(tree, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moonshot_async.types.json_text._DEPTH_BLOCK", block)
        patch.setattr("moonshot_async.types.json_text._STRIDE", stride)
        assert too_deep(data, levels) is (depth_of(tree) > levels)


@pytest.mark.parametrize("block", [1, 2, 7])
def test_an_escape_may_lie_anywhere(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.types.json_text._DEPTH_BLOCK", block)
    for tree in (['a\\"[[['], ["\\\\"], ['\\"', ["\\"]], [["\\\\\\"]]):
        data = json.dumps(tree).encode()
        assert not too_deep(data, depth_of(tree))
        assert too_deep(data, depth_of(tree) - 1)


def test_looking_for_depth_takes_time_in_proportion() -> None:
    def seconds(data: bytes) -> float:
        started = time.process_time()
        assert not too_deep(data, 500)
        return time.process_time() - started

    # Brackets in texts, as in an answer that is a program.
    text = json.dumps([{"content": "if (a[0]) { b[1](); }\n" * 1000}] * 20).encode()
    assert min(seconds(text * 8) for _ in range(3)) < 30 * min(seconds(text) for _ in range(3))


def with_many_brackets(levels: int, place: str) -> bytes:
    """An answer in which something is nested that deep, beside more brackets than an answer may have levels."""
    nest: Any = []
    for _ in range(levels - 1):
        nest = [nest]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message: dict[str, Any] = {"role": "assistant", "content": "[" * 1000, "tool_calls": [call] * 1000}
    body: dict[str, Any] = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    {"message": message, "answer": body, "call": call}[place.partition(".")[0]][place.partition(".")[2]] = nest
    return json.dumps(body).encode()


# Documented fields that hold anything, and fields that nobody knows.
@pytest.mark.parametrize(
    ("place", "above"),
    [
        ("message.audio", 4),
        ("message.annotations", 4),
        ("answer.moderation", 1),
        ("answer.mood", 1),
        ("message.mood", 4),
        ("call.mood", 6),
        ("call.<extra>", 6),
    ],
)
async def test_what_an_answer_of_many_parts_holds_is_no_deeper_than_allowed(place: str, above: int) -> None:
    for levels in (500 - above, 501 - above):
        transport = MemoryTransport(answering(with_many_brackets(levels, place)))
        async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://t/v1", transport=transport) as client:
            if levels + above <= 500:
                assert await whole(client) == "[" * 1000
            else:
                with pytest.raises(ResponseTooLargeError, match="deeper than 500 levels"):
                    await whole(client)


class Pydantic(pydantic.BaseModel):
    """What knows nothing of levels."""

    id: str


@pytest.mark.parametrize("searched", [False, True])
async def test_an_answer_of_many_parts_is_searched_only_where_its_type_does_not_say_how_deep_it_is(
    searched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[int] = []
    search = json_text.too_deep
    monkeypatch.setattr(json_text, "too_deep", lambda data, levels: searches.append(1) or search(data, levels))
    body = json.loads(with_many_brackets(1, "answer.moderation"))
    body["moderation"] = {"flagged": False} if searched else None
    transport = MemoryTransport(answering(json.dumps(body).encode()))
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://t/v1", transport=transport) as client:
        for call in (client.chat.completions.create, client.chat.completions.parse):
            answer = await call(**ask)
            assert len(answer.choices[0].message.tool_calls) == 1000
        assert len(searches) == 2 * searched
        assert (await client.get("/x", cast_to=Pydantic)).id == "c"


async def test_few_levels_are_counted_whatever_the_type_says() -> None:
    transport = MemoryTransport(answering(with_many_brackets(1, "answer.moderation")))
    async with AsyncMoonshot(
        api_key="sk-canary-01", base_url="http://t/v1", transport=transport, bounds=Bounds(max_depth=6)
    ) as client:
        with pytest.raises(ResponseTooLargeError, match="deeper than 6 levels"):
            await whole(client)


class Tree(Model, kw_only=True):
    """A type that goes as deep as what it is decoded from."""

    below: "list[Tree]" = msgspec.field(default_factory=list)


class Loose(msgspec.Struct):
    """A type that leaves out what it does not know."""

    id: str = ""


class Around(Model, kw_only=True):
    """A type with one that does so."""

    loose: Loose | None = None
    ids: list[str] = msgspec.field(default_factory=list)


def around(begin: bytes, end: bytes, levels: int) -> bytes:
    """JSON that is nested so deep between its ends, with more brackets than levels are allowed."""
    return begin + b"[" * levels + b"[]," * 600 + b"[]" + b"]" * levels + end


@pytest.mark.parametrize(
    ("cast_to", "begin", "end", "above"),
    [
        (Any, b"", b"", 1),
        (list[Any], b"", b"", 1),
        (Loose, b'{"mood":', b"}", 2),
        (Around, b'{"loose":{"mood":', b"}}", 3),
        (Around, b'{"mood":', b"}", 2),
    ],
)
async def test_what_no_type_tells_of_is_counted(cast_to: Any, begin: bytes, end: bytes, above: int) -> None:
    for levels in (500 - above, 501 - above):
        data = around(begin, end, levels)
        async with AsyncMoonshot(
            api_key="sk-canary-01", base_url="http://t/v1", transport=MemoryTransport(answering(data))
        ) as client:
            if levels + above <= 500:
                assert await client.get("/x", cast_to=cast_to)
            else:
                with pytest.raises(ResponseTooLargeError, match="deeper than 500 levels"):
                    await client.get("/x", cast_to=cast_to)


async def test_types_that_hold_their_like_are_counted() -> None:
    for levels in (249, 250):
        data = b'{"below":[' * levels + b"{}," * 600 + b"{}" + b"]}" * levels
        async with AsyncMoonshot(
            api_key="sk-canary-01", base_url="http://t/v1", transport=MemoryTransport(answering(data))
        ) as client:
            if levels == 249:
                assert await client.get("/x", cast_to=Tree)
            else:
                with pytest.raises(ResponseTooLargeError, match="deeper than 500 levels"):
                    await client.get("/x", cast_to=Tree)


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 100_000, b"[[1]," * 100_000, b'[{"b":[' * 50_000])
async def test_json_nested_for_ever_is_told_as_that(data: bytes) -> None:
    transport = MemoryTransport(answering(data))
    async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://t/v1", transport=transport) as client:
        with pytest.raises(ResponseTooLargeError, match="deeper than 500 levels") as caught:
            await whole(client)
        assert caught.value.request is not None
        with pytest.raises(ResponseTooLargeError, match="deeper than 500 levels"):
            await client.get("/x", cast_to=object)
        with pytest.raises(ResponseTooLargeError, match="deeper than 500 levels"):
            (await client.with_raw_response.chat.completions.create(**ASK)).parse()
    with pytest.raises(ResponseTooLargeError, match="deeper than can be read"):
        parse(data)


async def test_what_need_not_be_json_may_hold_any_brackets() -> None:
    data = b"[" * 10_000
    transport = MemoryTransport(answering(data, "text/plain"))
    async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://t/v1", transport=transport) as client:
        assert await client.get("/x", cast_to=str) == data.decode()
        assert (await client.files.content("f")).content == data


async def test_a_deeply_nested_event_of_any_name_is_told_as_that() -> None:
    for name in (b"", b"event: error\n"):
        body = events(DELTA) + name + events(b"[" * 200_000)
        transport = MemoryTransport(answering(body, "text/event-stream"))
        async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://t/v1", transport=transport) as client:
            with pytest.raises(ResponseTooLargeError, match="deeper") as caught:
                await streamed(client)
            assert caught.value.partial is not None


# --- compression, which nobody asked for


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "its old name": (b"X-GZIP", gzip.compress),
    "several members": (b"gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(b"") + gzip.compress(data[9:])),
    "deflate": (b"deflate", zlib.compress),
    "raw deflate": (b"deflate", raw_deflate),
    "stored": (b"gzip", lambda data: gzip.compress(data, 0)),
    "none": (b"identity", bytes),
    "no name": (b"", bytes),
    "with none": (b"identity, gzip", gzip.compress),
}


@pytest.mark.parametrize("ask", [whole, streamed])
@pytest.mark.parametrize("size", [65536, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", CODINGS)
async def test_an_answer_that_came_compressed_is_read(
    scripted: Start, client_of: ClientOf, name: str, size: int, ask: Callable[[AsyncMoonshot], Any]
) -> None:
    coding, compress = CODINGS[name]
    body = compress(COMPLETION if ask is whole else STREAM)
    kind = b"application/json" if ask is whole else b"text/event-stream"
    said = answer(body, headers=b"Content-Encoding: %s\r\nContent-Type: %s\r\n" % (coding, kind))

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            for start in range(0, len(said), size):
                await peer.send(said[start : start + size])

    server = await scripted(play)
    client = client_of(server)
    assert await ask(client) == "x"
    assert await ask(client) == "x"
    assert len(server.peers) == 1


async def test_a_compressed_error_says_what_it_says(scripted: Start, client_of: ClientOf) -> None:
    body = gzip.compress(b'{"error":{"message":"sorry","type":"server_error"}}')
    said = answer(body, status=b"500 Oops", headers=b"Content-Encoding: gzip\r\n")
    with pytest.raises(InternalServerError, match="sorry"):
        await whole(client_of(await scripted(saying(said)), max_retries=0))


async def test_an_error_in_a_form_that_cannot_be_read_keeps_its_status(scripted: Start, client_of: ClientOf) -> None:
    said = answer(b"\x0b\x02", status=b"500 Oops", headers=b"Content-Encoding: br\r\n")
    with pytest.raises(InternalServerError):
        await whole(client_of(await scripted(saying(said)), max_retries=0))


@pytest.mark.parametrize("ask", [whole, streamed])
@pytest.mark.parametrize(
    "coding", [b"br", b"zstd", b"gzip, gzip", b"compress", b"gzip\r\nContent-Encoding: br", b"\xff"]
)
async def test_a_form_that_cannot_be_read_is_told_by_its_name(
    scripted: Start, client_of: ClientOf, coding: bytes, ask: Callable[[AsyncMoonshot], Any]
) -> None:
    said = answer(gzip.compress(COMPLETION), headers=b"Content-Encoding: %s\r\n" % coding)
    with pytest.raises(APIResponseValidationError, match=r"compressed with .*only gzip and deflate") as caught:
        await ask(client_of(await scripted(saying(said))))
    assert coding.partition(b"\r")[0].decode("utf-8", "backslashreplace").replace("\\x", "\\udc") in str(caught.value)


async def test_a_compressed_stream_is_handed_out_while_it_arrives(scripted: Start, client_of: ClientOf) -> None:
    read_on = asyncio.Event()
    coder = zlib.compressobj(wbits=31)

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
        await peer.send(chunk(coder.compress(events(DELTA)) + coder.flush(zlib.Z_SYNC_FLUSH)))
        await read_on.wait()
        await peer.send(chunk(coder.compress(events(FINISH, b"[DONE]")) + coder.flush()), LAST_CHUNK)

    stream = await client_of(await scripted(play)).chat.completions.create(**ASK, stream=True)
    async with asyncio.timeout(5):
        assert (await anext(stream)).choices[0].delta.content == "x"
    read_on.set()
    assert len([chunk async for chunk in stream]) == 1


async def inflate(coding: str, *pieces: bytes, bounds: Bounds = DEFAULT_BOUNDS) -> tuple[bytes, Exception | None]:
    """What can be read of a compressed body, and what ended it."""
    body = inflated(as_stream(pieces), coding, bounds)
    made = bytearray()
    try:
        while piece := await body.read():
            assert len(piece) <= 256 * 1024
            made += piece
    except APIError as error:
        with pytest.raises(type(error)):
            await body.read()
        return bytes(made), error
    finally:
        body.close()
    return bytes(made), None


TEXT = b"".join(b"data: %d\n\n" % (n * 7919) for n in range(300))


@given(st.data())
def test_the_split_over_reads_makes_no_difference(data: st.DataObject) -> None:
    coding, compress = CODINGS[data.draw(st.sampled_from(sorted(CODINGS)))]
    body = compress(TEXT)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert asyncio.run(inflate(coding.decode(), *pieces)) == (TEXT, None)


@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate"])
async def test_what_is_cut_short_is_a_prefix_and_no_answer(name: str) -> None:
    coding, compress = CODINGS[name]
    body = compress(TEXT)
    for end in range(1, len(body)):
        made, error = await inflate(coding.decode(), body[:end])
        assert type(error) is StreamInterruptedError
        assert "cut short" in str(error)
        assert TEXT.startswith(made)


async def test_nothing_is_nothing_however_it_is_called() -> None:
    for coding in ("gzip", "deflate", "br"):
        assert await inflate(coding) == (b"", None)


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(TEXT)[:10] + b"\xff" * 50, gzip.compress(TEXT) + b"behind"])
async def test_what_is_no_such_data_is_told(body: bytes) -> None:
    made, error = await inflate("gzip", body)
    assert type(error) is APIResponseValidationError
    assert str(error) == "The answer is no valid gzip data."
    assert TEXT.startswith(made)


async def test_what_came_before_spoilt_data_is_handed_out() -> None:
    coder = zlib.compressobj(wbits=31)
    good = coder.compress(TEXT) + coder.flush(zlib.Z_SYNC_FLUSH)
    made, error = await inflate("gzip", good + b"\xff" * 100)
    assert made == TEXT
    assert type(error) is APIResponseValidationError


@pytest.mark.parametrize("size", [2**18 - 1, 2**18, 2**18 + 1, 2**18 + 258, 2**20])
async def test_what_becomes_large_comes_in_pieces(size: int) -> None:
    text = b"\0" * size
    assert await inflate("gzip", gzip.compress(text)) == (text, None)
    assert await inflate("gzip", gzip.compress(text) * 2) == (text * 2, None)


async def test_what_the_last_byte_becomes_may_be_more_than_a_piece() -> None:
    for size in range(2**18 - 10, 2**18 + 300, 7):
        assert await inflate("deflate", raw_deflate(b"\0" * size)) == (b"\0" * size, None)


async def test_what_becomes_too_large_ends_there() -> None:
    bounds = Bounds(max_decompressed_bytes=300_000)
    made, error = await inflate("gzip", gzip.compress(b"\0" * 300_000), bounds=bounds)
    assert (len(made), error) == (300_000, None)
    made, error = await inflate("gzip", gzip.compress(b"\0" * 300_001), bounds=bounds)
    assert isinstance(error, ResponseTooLargeError)
    assert (error.bound, len(made)) == ("max_decompressed_bytes", 2**18)


async def test_what_becomes_nothing_for_ever_ends_too() -> None:
    made, error = await inflate("gzip", *[gzip.compress(b"")] * 100, bounds=Bounds(max_decompressed_bytes=1000))
    assert made == b""
    assert isinstance(error, ResponseTooLargeError)


def test_every_bound_is_told_of() -> None:
    described = [line.strip().partition(":")[0] for line in (Bounds.__doc__ or "").splitlines()]
    assert set(Bounds.__struct_fields__) <= set(described)
    assert msgspec.structs.asdict(DEFAULT_BOUNDS) == msgspec.structs.asdict(Bounds())


# --- parts of an answer


def calls(count: int) -> bytes:
    return b'{"choices":[{"index":0,"delta":{"tool_calls":[%s]}}]}' % b",".join(
        b'{"index":%d}' % at for at in range(count)
    )


def choices(count: int) -> bytes:
    return b'{"choices":[%s]}' % b",".join(b'{"index":%d,"delta":{}}' % at for at in range(count))


@pytest.mark.parametrize("way", ["chunks", "events"])
@pytest.mark.parametrize("parts", [calls, choices])
async def test_an_answer_in_more_parts_than_anything_needs_is_none(
    parts: Callable[[int], bytes], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accumulate.MOST_PARTS <= 1000
    # What a thousand parts cost is little; to look through all of them for secrets takes longer.
    monkeypatch.setattr(accumulate, "MOST_PARTS", 20)
    monkeypatch.setattr(accumulate.choices, "MOST_PARTS", 20)

    async def app(request: Request) -> Response:
        return Response(200, [("Content-Type", "text/event-stream")], events(parts(20), parts(30)))

    async with AsyncMoonshot(api_key="sk-canary", transport=MemoryTransport(app)) as client:
        with pytest.raises(ResponseTooLargeError, match="more than 20") as caught:
            if way == "chunks":
                async for item in await client.chat.completions.create(**ASK, stream=True):
                    assert item.choices
            else:
                async with client.chat.completions.stream(**ASK) as stream:
                    await stream.until_done()
    assert (caught.value.bound, caught.value.allowed) == (None, 20)


@pytest.mark.parametrize("stream", [False, True])
async def test_pieces_of_a_byte_with_much_around_them_are_an_end(scripted: Start, client_of: Any, stream: bool) -> None:
    async def wordy(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        while True:
            await peer.send(b"1;a=%s\r\n \r\n" % (b"x" * 28) * 500)

    client = client_of(await scripted(wordy), timeout=20, max_retries=0)
    started = time.monotonic()
    with pytest.raises(ResponseTooLargeError) as caught:
        if stream:
            async for _ in await client.chat.completions.create(**ASK, stream=True):
                pass
        else:
            await client.chat.completions.create(**ASK)
    assert caught.value.bound == "max_trailer_bytes"
    assert time.monotonic() - started < 5
