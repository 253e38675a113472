"""A streamed answer is whole, or it raises; everything that arrived is handed out before."""

import asyncio
import copy
import gzip
import json
import pickle
import traceback
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Stream
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    MoonshotError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
from moonshot_async.streaming import collect
from moonshot_async.transports import AiohttpTransport
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.wire import Content, Request, Response
from tests.scripted import COMPLETION, DELTA, FINISH, LAST_CHUNK, SSE_HEAD, Peer, Start, answer, chunk

SAMPLES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "samples").glob("*.sse"))}
KEY = "sk-canary-that-nobody-may-see"
PROMPT = "Canary prompt that nobody may see"
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": PROMPT}]}


def event(data: bytes) -> bytes:
    return b"data: %s\n\n" % data


START, END, DONE = event(DELTA), event(FINISH), event(b"[DONE]")


def in_memory(body: Content, *, status: int = 200, kind: str | None = "text/event-stream") -> AsyncMoonshot:
    """A client whose every answer has this body."""

    async def app(request: Request) -> Response:
        return Response(status, [] if kind is None else [("Content-Type", kind)], body)

    return AsyncMoonshot(api_key=KEY, base_url="http://m.test/v1", transport=MemoryTransport(app), max_retries=0)


async def read(client: AsyncMoonshot) -> tuple[list[ChatCompletionChunk], MoonshotError | None]:
    """Read a stream to its end: what it handed out, and the error that ended it."""
    chunks: list[ChatCompletionChunk] = []
    try:
        stream = await client.chat.completions.create(**ASK, stream=True)
        async for item in stream:
            chunks.append(item)  # noqa: PERF401  # what came before an error counts
    except MoonshotError as error:
        return chunks, error
    return chunks, None


async def said(chunks: Iterable[ChatCompletionChunk]) -> ChatCompletion:
    async def again() -> AsyncIterator[ChatCompletionChunk]:
        for item in chunks:
            yield item

    return await collect(again())


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for item in chunks for choice in item.choices)


def assert_clean(error: BaseException) -> None:
    """Neither key nor prompt nor anything of the libraries below can be found in an error."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    carried = [shown, repr(error), repr(error.args), repr(vars(error)), repr(pickle.dumps(error))]
    response = getattr(error, "response", None)
    if response is not None:
        carried += [repr(response.request.headers.multi_items()), repr(response.request.body)]
    carried.append(repr(copy.copy(error).__dict__))
    for text in carried:
        assert KEY not in text
        assert PROMPT not in text
    link: BaseException | None = error
    while link is not None:
        assert type(link).__module__.partition(".")[0] in {"moonshot_async", "builtins"}
        link = link.__cause__ or link.__context__


# --- the samples


async def check_sample(name: str, chunks: list[ChatCompletionChunk], error: MoonshotError | None) -> None:
    if name == "truncated":
        assert isinstance(error, StreamInterruptedError)
        assert error.partial is not None
        message = error.partial.choices[0].message
        assert (message.reasoning_content, message.content) == ("Let me th", "Half a col")
        assert error.partial.choices[0].finish_reason is None
        assert text_of(chunks) == "Half a col"
        return
    if name == "error_frame":
        assert type(error) is APIError
        assert (error.type, error.message) == ("server_error", "stream failed")
        assert error.partial is not None
        assert error.partial.choices[0].message.content == text_of(chunks) == "Yel"
        return
    assert error is None
    completion = await said(chunks)
    message = completion.choices[0].message
    assert completion.id == "chatcmpl-5a"
    assert completion.usage is not None
    assert (completion.usage.total_tokens, completion.usage.cached_tokens) == (26, 16)
    expected = {
        "usage_in_choice": ("Blue: 蓝色 🟦", "A colour is asked for.", None),
        "usage_on_finish": ("Green", None, None),
        "include_usage": ("Red", None, None),
        "comments_crlf": ("White", None, None),
        "parallel_tools": (
            "",
            "Two rooms.",
            [("paint:0", "function", '{"room":"kitchen"}'), ("paint:1", "function", '{"room":"hall"}')],
        ),
        "web_search": (
            "",
            None,
            [
                (
                    "$web_search:0",
                    "builtin_function",
                    '{"search_result":{"search_id":"s9"},"usage":{"total_tokens":1234}}',
                )
            ],
        ),
    }[name]
    calls = message.tool_calls and [(call.id, call.type, call.function.arguments) for call in message.tool_calls]
    assert (message.content, message.reasoning_content, calls) == expected


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_sample_comes_out_right_whole_and_byte_by_byte(name: str) -> None:
    data = SAMPLES[name]
    for body in (data, [data[i : i + 1] for i in range(len(data))]):
        await check_sample(name, *await read(in_memory(body)))


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_sample_comes_out_right_however_it_is_split_in_two(name: str) -> None:
    data = SAMPLES[name]
    for place in range(1, len(data)):
        await check_sample(name, *await read(in_memory([data[:place], data[place:]])))


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_the_samples_come_out_right_over_http(scripted: Start, size: int) -> None:
    served: list[bytes] = []

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            data = served[-1]
            pieces = (chunk(data[start : start + size]) for start in range(0, len(data), size))
            await peer.send(SSE_HEAD, b"".join(pieces), LAST_CHUNK)

    server = await scripted(play)
    async with AsyncMoonshot(api_key=KEY, base_url=server.url, transport=AiohttpTransport()) as client:
        for name, data in SAMPLES.items():
            served.append(data)
            await check_sample(name, *await read(client))


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_sample_cut_anywhere_hands_out_a_prefix_and_raises(name: str) -> None:
    data = SAMPLES[name]
    whole = text_of((await read(in_memory(data)))[0])
    finish = data.find(b'finish_reason":"')
    for end in range(0, len(data), 3):
        chunks, error = await read(in_memory(data[:end]))
        assert whole.startswith(text_of(chunks))
        if finish == -1 or end < finish:
            assert isinstance(error, StreamInterruptedError | APIError)


@pytest.mark.usefixtures("no_leaks")
async def test_a_body_split_or_cut_at_any_byte_over_http_gives_the_same_text_or_its_beginning(scripted: Start) -> None:
    data = SAMPLES["usage_in_choice"]
    text = text_of((await read(in_memory(data)))[0])
    # Where the answer is whole.
    done = data.index(b"data: [DONE]") + len(b"data: [DONE]")
    served: list[tuple[list[bytes], bytes]] = []

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            parts, end = served[-1]
            await peer.send(SSE_HEAD, b"".join(chunk(part) for part in parts if part), end)
            if not end:
                return

    server = await scripted(play)
    transport = AiohttpTransport()
    async with AsyncMoonshot(api_key=KEY, base_url=server.url, transport=transport, max_retries=0) as client:
        for place in range(len(data) + 1):
            served.append(([data[:place], data[place:]], LAST_CHUNK))
            await check_sample("usage_in_choice", *await read(client))
        for place in range(len(data) + 1):
            served.append(([data[:place]], b""))
            chunks, error = await read(client)
            if place >= done + 2:
                assert (error, text_of(chunks)) == (None, text)
            else:
                assert isinstance(error, StreamInterruptedError)
                assert text.startswith(text_of(chunks))
                # All that arrived whole, and nothing else.
                assert len(chunks) == data[:place].count(b"\n\n")


# --- what is not an answer

BROKEN_STREAMS: dict[str, tuple[Content, str | None, type[APIError], str]] = {
    "an end before anything": (b"", "text/event-stream", StreamInterruptedError, "before the answer was complete"),
    "an end before the finish": (START, "text/event-stream", StreamInterruptedError, "before the answer was complete"),
    "an end before one of two finishes": (
        START + event(FINISH.replace(b'"index":0', b'"index":1')),
        "text/event-stream",
        StreamInterruptedError,
        "before the answer was complete",
    ),
    "an end in an event": (START + START[:-1], "text/event-stream", StreamInterruptedError, "in the middle of an"),
    "an end in an event after the finish": (START + END + b"da", None, StreamInterruptedError, "in the middle of an"),
    "no JSON in a chunk": (START + event(b"{nonsense"), "text/event-stream", APIResponseValidationError, "not"),
    "another shape in a chunk": (START + event(b'{"choices": 5}'), None, APIResponseValidationError, "not what the"),
    "an array in a chunk": (START + event(b"[1]"), "text/event-stream", APIResponseValidationError, "not what the API"),
    "a page": (b"<html><title>Oops</title></html>", "text/html", APIResponseValidationError, "not what the API"),
    "a page called a stream": (b"<html>\n\n</html>\n", "text/event-stream", APIResponseValidationError, "an HTML page"),
    "an answer called a stream": (COMPLETION, "text/event-stream", APIResponseValidationError, "whole document"),
    "an error object called a stream": (b'\n{"error":{"message":"sorry"}}', None, APIError, "sorry"),
    "an answer that was not streamed": (COMPLETION, "application/json", APIResponseValidationError, "whole document"),
    "an empty document": (b"", "application/json; charset=utf-8", APIResponseValidationError, "not what the API"),
    "an error object": (b'{"error":{"message":"sorry","type":"t"}}', "application/json", APIError, "sorry"),
    "an error that is text": (b'{"error":"sorry"}', "application/json", APIError, "sorry"),
    "an error event": (START + b'event: error\ndata: {"message":"sorry"}\n\n', None, APIError, "sorry"),
    "an error event of text": (START + b"event: error\ndata: sorry\n\n", "text/event-stream", APIError, "sorry"),
    "an error frame of text": (START + event(b'{"error":"sorry"}'), "text/event-stream", APIError, "sorry"),
    "an event without end": (b"data: " + b"x" * (17 * 2**20), None, ResponseTooLargeError, "larger than 8388608"),
}


@pytest.mark.parametrize("name", BROKEN_STREAMS)
async def test_what_is_no_whole_stream_raises_what_it_is(name: str) -> None:
    body, kind, expected, words = BROKEN_STREAMS[name]
    chunks, error = await read(in_memory(body, kind=kind))
    assert type(error) is expected
    assert words in str(error)
    assert isinstance(error, APIError)
    assert error.request is not None
    assert (error.partial is None) is (chunks == [])
    if chunks:
        assert error.partial is not None
        assert error.partial.choices[0].message.content == text_of(chunks)
    assert_clean(error)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"error": {"message": f"no such key: {KEY}", "seen": [{"key": KEY}]}}).encode(),
        json.dumps({"choices": KEY}).encode(),
        f"<html>{KEY}</html>".encode(),
    ],
)
async def test_a_key_that_the_server_echoes_in_a_good_answer_is_masked(body: bytes) -> None:
    document = in_memory(body, kind="application/json")
    with pytest.raises(APIError) as whole:
        await document.chat.completions.create(**ASK)
    _, streamed = await read(in_memory(START + b"data: " + body + b"\n\n"))
    _, called_a_stream = await read(in_memory(body))
    _, no_stream = await read(document)
    for error in (whole.value, streamed, called_a_stream, no_stream):
        assert isinstance(error, APIError)
        assert_clean(error)
        assert "***" in f"{error} {error.body}"
        assert KEY not in f"{error.body}"
    if isinstance(whole.value, APIResponseValidationError):
        assert whole.value.response is not None
        assert KEY not in whole.value.response.text


BROKEN_DOCUMENTS: dict[str, tuple[bytes, type[APIError]]] = {
    "nothing": (b"", APIResponseValidationError),
    "a page": (b"<html><title>Oops</title></html>", APIResponseValidationError),
    "half of it": (COMPLETION[:-9], APIResponseValidationError),
    "null": (b"null", APIResponseValidationError),
    "a number": (b"7", APIResponseValidationError),
    "no choices": (b'{"id":"c"}', APIResponseValidationError),
    "deep nesting": (b"[" * 200_000, ResponseTooLargeError),
    "an error object": (b'{"error":{"message":"sorry"}}', APIError),
}


@pytest.mark.parametrize("name", BROKEN_DOCUMENTS)
async def test_what_is_no_completion_raises_what_it_is(name: str) -> None:
    body, expected = BROKEN_DOCUMENTS[name]
    with pytest.raises(APIError) as caught:
        await in_memory(body, kind="application/json").chat.completions.create(**ASK)
    assert type(caught.value) is expected
    assert caught.value.request is not None
    assert_clean(caught.value)


def with_content(content: bytes) -> bytes:
    return COMPLETION.replace(b'"x"', content)


def with_more(more: bytes) -> bytes:
    return COMPLETION[:-1] + b"," + more + b"}"


# Bodies, and the text that they have; None where only an error can be right.
ODD_DOCUMENTS: dict[str, tuple[bytes, str | None]] = {
    "an array": (b"[]", None),
    "text": (b'"x"', None),
    "choices null": (b'{"id":"c","choices":null}', None),
    "choices a number": (b'{"id":"c","choices":5}', None),
    "choices of null": (b'{"id":"c","choices":[null]}', None),
    "content a number": (with_content(b"5"), None),
    "content an object": (with_content(b"{}"), None),
    "content null": (with_content(b"null"), ""),
    "NaN": (with_more(b'"score":NaN'), None),
    "a number beyond numbers": (with_more(b'"score":1e999'), None),
    "a number of ten thousand digits": (with_more(b'"score":' + b"9" * 10_000), None),
    "created beyond numbers": (with_more(b'"created":' + b"9" * 100), "x"),
    "nesting without end": (with_more(b'"deep":' + b"[" * 200_000), None),
    "nesting with an end": (with_more(b'"deep":' + b"[" * 200_000 + b"]" * 200_000), None),
    "a byte order mark": (b"\xef\xbb\xbf" + COMPLETION, "x"),
    "bad UTF-8": (with_content(b'"a\xff\xc3b"'), "a\ufffd\ufffdb"),
    "a lone surrogate": (with_content(b'"a\\ud83db"'), "a\ufffdb"),
    "a NUL": (with_content(b'"a\\u0000b"'), "a\0b"),
    "fields that nobody knows": (with_more(b'"new":{"deep":[1]}'), "x"),
    "the same field twice": (with_more(b'"id":"d"'), "x"),
    "usage null": (with_more(b'"usage":null'), "x"),
    "usage empty": (with_more(b'"usage":{}'), "x"),
    "another reason": (COMPLETION.replace(b'"stop"', b'"bored"'), "x"),
    "words of the protocol": (with_content(b'"data: [DONE]\\n\\nevent: error"'), "data: [DONE]\n\nevent: error"),
    "white space around": (b"\r\n\t " + COMPLETION + b"\n\n ", "x"),
    "something behind": (COMPLETION + b"{}", None),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ODD_DOCUMENTS)
async def test_odd_json_is_the_right_text_or_an_error_of_ours(name: str, stream: bool) -> None:
    body, text = ODD_DOCUMENTS[name]
    if stream:
        body = body.replace(b'"message"', b'"delta"').replace(b"\n", b"\ndata: ")
        chunks, error = await read(in_memory(event(body) + DONE))
        said: str | None = text_of(chunks)
    else:
        said, error = None, None
        try:
            answered = await in_memory(body, kind="application/json").chat.completions.create(**ASK)
            said = answered.choices[0].message.content or ""
        except APIError as caught:
            error = caught
    if text is None:
        assert isinstance(error, APIResponseValidationError)
        assert_clean(error)
    else:
        assert (error, said) == (None, text)


CUT_BODIES = {
    "shorter than its Content-Length": answer(COMPLETION)[:-9],
    "nothing at all": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a bad chunk": SSE_HEAD + chunk(START) + b"zz\r\n",
    "a cut chunk": SSE_HEAD + chunk(START) + b"ff\r\ndata",
    "no last chunk": SSE_HEAD + chunk(START + END + DONE[:-1]),
    "bad gzip": answer(b"no gzip", headers=b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n"),
    "cut gzip": answer(gzip.compress(COMPLETION)[:-9], headers=b"Content-Encoding: gzip\r\n"),
    "an unknown encoding": answer(COMPLETION, headers=b"Content-Encoding: br\r\n"),
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk(b"x")
    + LAST_CHUNK,
    "an endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("name", CUT_BODIES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_the_network_spoils_raises_an_error_of_ours(scripted: Start, name: str, stream: bool) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(CUT_BODIES[name])
        peer.end()
        await peer.gone()

    server = await scripted(play)
    async with AsyncMoonshot(
        api_key=KEY, base_url=server.url, transport=AiohttpTransport(), max_retries=0, timeout=5
    ) as client:
        with pytest.raises((APIConnectionError, APIResponseValidationError)) as caught:
            outcome = await client.chat.completions.create(**ASK, stream=stream)
            async for _ in outcome:
                pass
    assert_clean(caught.value)


# --- what must be borne

BORNE_STREAMS: dict[str, Content] = {
    "no [DONE] after the finish": START + END,
    "[DONE] without its blank line": START + END + b"data: [DONE]\n",
    "[DONE] without its line end": START + END + b"data: [DONE]",
    "[DONE] alone at the end, no finish": START + b"data:[DONE]",
    "[DONE] without a finish": START + DONE,
    "bytes after [DONE]": START + END + DONE + event(b"{nonsense") + b"\0\xff",
    "a space after [DONE]": START + END + event(b"[DONE] "),
    "no space after data": (START + END + DONE).replace(b"data: ", b"data:"),
    "event lines": (START + END).replace(b"data: ", b"event: message\ndata: ") + DONE,
    "chunks called events": (START + END).replace(b"data: ", b"event: chunk\nid: 7\nretry: 10\ndata: ") + DONE,
    "comments and empty events": b": hb\n\n"
    + START
    + b"data:\n\n:\n\ndata: \n\ndata:    \n\n"
    + END
    + b"data\n\n"
    + DONE,
    "a BOM and CRs": b"\xef\xbb\xbf" + (START + END + DONE).replace(b"\n", b"\r"),
    "an event over several lines": START.replace(b",", b",\ndata: ") + END + DONE,
    "nulls": START.replace(b'"content":"x"', b'"content":"x","tool_calls":null,"reasoning_content":null')
    + event(b'{"choices":[{"index":0,"delta":{"content":null,"tool_calls":null},"logprobs":null}],"usage":null}')
    + END
    + DONE,
    "no id, index or created": event(b'{"choices":[{"delta":{"content":"x"}}]}')
    + event(b'{"choices":[{"delta":{},"finish_reason":"stop"}]}')
    + DONE,
    "fields that nobody knows": event(DELTA[:-1] + b',"new":{"deep":[1]}}') + END + DONE,
    "one byte at a time": [bytes([byte]) for byte in START + END + DONE],
}


@pytest.mark.parametrize("name", BORNE_STREAMS)
async def test_lawful_oddities_give_the_full_answer(name: str) -> None:
    chunks, error = await read(in_memory(BORNE_STREAMS[name]))
    assert error is None
    assert text_of(chunks) == "x"


async def test_a_lone_surrogate_is_borne() -> None:
    chunks, error = await read(in_memory(START + event(DELTA.replace(b'"x"', b'"\\ud83d"')) + END + DONE))
    assert error is None
    assert len(text_of(chunks)) == 2


@pytest.mark.parametrize("kind", [None, "text/event-stream", "text/event-stream; charset=utf-8", "Text/Plain", "x"])
async def test_the_head_of_a_stream_may_call_it_anything_but_a_document(kind: str | None) -> None:
    assert (await read(in_memory(START + END + DONE, kind=kind)))[1] is None


PLAIN_SSE = START + END + DONE
BORNE_ON_THE_WIRE = {
    "HTTP/1.0 until the end": b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + PLAIN_SSE,
    "until the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PLAIN_SSE,
    "chunk extensions": SSE_HEAD + b'%x;a=b;c="d"\r\n%s\r\n0;x\r\n\r\n' % (len(PLAIN_SSE), PLAIN_SSE),
    "trailers": SSE_HEAD + chunk(PLAIN_SSE) + b"0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
    "1xx first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    + answer(PLAIN_SSE, headers=b""),
    "gzip": answer(gzip.compress(PLAIN_SSE), headers=b"Content-Encoding: gzip\r\nContent-Type: text/event-stream\r\n"),
    "a length": answer(PLAIN_SSE, headers=b"Content-Type: text/event-stream\r\n"),
    "sixty headers": answer(PLAIN_SSE, headers=b"".join(b"X-%d: y\r\n" % n for n in range(60))),
    "one-byte chunks": SSE_HEAD + b"".join(chunk(bytes([byte])) for byte in PLAIN_SSE) + LAST_CHUNK,
    "a long comment": SSE_HEAD + chunk(b":" + b"c" * 100_000 + b"\n\n" + PLAIN_SSE) + LAST_CHUNK,
}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("name", BORNE_ON_THE_WIRE)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
async def test_lawful_oddities_of_http_give_the_full_answer(scripted: Start, name: str, bytewise: bool) -> None:
    data = BORNE_ON_THE_WIRE[name]

    async def play(peer: Peer) -> None:
        await peer.request()
        step = 1 if bytewise and len(data) < 10_000 else len(data)
        for start in range(0, len(data), step):
            await peer.send(data[start : start + step])
            await asyncio.sleep(0)

    server = await scripted(play)
    async with AsyncMoonshot(api_key=KEY, base_url=server.url, transport=AiohttpTransport(), max_retries=0) as client:
        chunks, error = await read(client)
    assert error is None
    assert text_of(chunks) == "x"


async def test_a_large_event_and_a_large_answer_come_out_whole(scripted: Start) -> None:
    large = DELTA.replace(b'"x"', b'"%s"' % (b"y" * 4_000_000))

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD, chunk(event(large) * 3 + END + DONE), LAST_CHUNK)

    server = await scripted(play)
    async with AsyncMoonshot(api_key=KEY, base_url=server.url, transport=AiohttpTransport()) as client:
        chunks, error = await read(client)
    assert error is None
    assert len(text_of(chunks)) == 12_000_000


# --- the object


async def opened(body: Content) -> Stream[ChatCompletionChunk]:
    stream = await in_memory(body).chat.completions.create(**ASK, stream=True)
    assert isinstance(stream, Stream)
    return stream


async def test_a_stream_tells_status_and_headers() -> None:
    stream = await opened(START + END + DONE)
    assert stream.response.status == 200
    assert stream.response.headers["content-type"] == "text/event-stream"
    await stream.aclose()


async def test_a_stream_can_be_read_in_parts() -> None:
    stream = await opened(START * 3 + END + DONE)
    assert text_of([await anext(stream)]) == "x"
    assert text_of([await anext(stream)]) == "x"
    assert text_of([item async for item in stream]) == "x"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stream_that_was_read_to_its_end_stays_at_its_end() -> None:
    stream = await opened(START + END + DONE)
    assert len([item async for item in stream]) == 2
    assert [item async for item in stream] == []
    await stream.aclose()
    assert [item async for item in stream] == []


@pytest.mark.parametrize("close", ["aclose", "close"])
async def test_a_stream_that_was_closed_early_says_so(close: str) -> None:
    stream = await opened(START + END + DONE)
    await anext(stream)
    for _ in range(2):
        await getattr(stream, close)()
    with pytest.raises(StreamInterruptedError, match="closed before its end"):
        await anext(stream)
    with pytest.raises(StreamInterruptedError, match="closed before its end"):
        async for _ in stream:
            pass


async def test_leaving_the_context_closes_the_stream() -> None:
    async with await opened(START + END + DONE) as stream:
        pass
    with pytest.raises(StreamInterruptedError, match="closed before its end"):
        await anext(stream)


async def test_an_error_is_raised_again_to_whoever_asks_again() -> None:
    stream = await opened(START)
    await anext(stream)
    with pytest.raises(StreamInterruptedError) as first:
        await anext(stream)
    with pytest.raises(StreamInterruptedError) as second:
        async for _ in stream:
            pass
    with pytest.raises(StreamInterruptedError) as third:
        await anext(stream)
    for again in (second.value, third.value):
        assert str(again) == str(first.value)
        assert again.partial == first.value.partial is not None


async def test_deltas_are_handed_out_before_the_fault_that_follows_them() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield START + START
        raise ConnectionResetError

    chunks, error = await read(in_memory(body()))
    assert text_of(chunks) == "xx"
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.choices[0].message.content == "xx"
    assert not error.retryable


async def test_a_fault_after_done_is_nobodys_business() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield START + END + DONE
        raise ConnectionResetError

    assert (await read(in_memory(body())))[1] is None


async def test_a_body_without_end_after_done_is_left() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield START + END + DONE
        while True:
            yield b"x" * 1000

    assert (await read(in_memory(body())))[1] is None


def test_errors_are_pickled_with_the_answer_so_far() -> None:
    chunks, error = asyncio.run(read(in_memory(SAMPLES["truncated"])))
    assert error is not None
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is StreamInterruptedError
    assert again.partial.choices[0].message.content == text_of(chunks)
    assert json.loads(again.partial.to_json())["id"] == "chatcmpl-5a"
