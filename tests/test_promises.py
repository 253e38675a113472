"""What is promised of every answer, over real sockets: whole and right, or an error of ours after all that arrived."""

import asyncio
import gzip
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    InternalServerError,
    MoonshotError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
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
from tests.test_streaming import (
    BORNE_STREAMS,
    BROKEN_DOCUMENTS,
    BROKEN_STREAMS,
    ODD_DOCUMENTS,
    read,
    text_of,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

ClientOf = Callable[..., AsyncMoonshot]

DONE = events(b"[DONE]")
STREAM = events(DELTA, FINISH) + DONE
SSE = b"Content-Type: text/event-stream\r\n"
GZIP = b"Content-Encoding: gzip\r\n"


def saying(replies: list[bytes]) -> Play:
    """Answer each request with what was last put on the list; what has no other end ends with its connection."""

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            said = replies[-1]
            await peer.send(said)
            head = said.partition(b"\r\n\r\n")[0].lower()
            if b"content-length" not in head and b"chunked" not in head:
                return

    return play


def chunked(data: bytes, headers: bytes = SSE) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n" % headers
    return head + (chunk(data) if data else b"") + LAST_CHUNK


def flushed(data: bytes) -> bytes:
    """gzip that has all of the data, and lacks its own end."""
    coder = zlib.compressobj(wbits=31)
    return coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH)


async def whole(client: AsyncMoonshot) -> tuple[str | None, MoonshotError | None]:
    """The text of an answer, or the error in its place."""
    try:
        completion = await client.chat.completions.create(**ASK)
    except MoonshotError as error:
        return None, error
    return completion.choices[0].message.content or "", None


async def told(client: AsyncMoonshot) -> MoonshotError | None:
    """How `.stream()` ends."""
    try:
        async with client.chat.completions.stream(**ASK) as stream:
            await stream.get_final_completion()
    except MoonshotError as error:
        return error
    return None


# --- whole, or an error

# Each of them is an end in good order.
ENDS: dict[str, Callable[[bytes], bytes]] = {
    "a last chunk": chunked,
    "a last chunk and trailers": lambda data: chunked(data)[:-2] + b"X-Sum: 1\r\n\r\n",
    "a length that is met": lambda data: answer(data, headers=SSE),
    "a closed connection": lambda data: b"HTTP/1.1 200 OK\r\n%sConnection: close\r\n\r\n%s" % (SSE, data),
    "a closed connection of old": lambda data: b"HTTP/1.0 200 OK\r\n%s\r\n%s" % (SSE, data),
    "gzip, whole": lambda data: answer(gzip.compress(data), headers=SSE + GZIP),
    "gzip, whole, in chunks": lambda data: chunked(gzip.compress(data), SSE + GZIP),
    "gzip, cut": lambda data: chunked(flushed(data), SSE + GZIP),
}
# What came before the end, and how many chunks it has.
BEGINNINGS: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "comments": (b": hb\n\n: hb\n\n", 0),
    "an event without data": (b"event: ping\n\n", 0),
    "a delta": (events(DELTA), 1),
    "many deltas": (events(DELTA) * 50, 50),
    "half an event": (events(DELTA, DELTA) + b'data: {"id"', 2),
    "an event without its blank line": (events(DELTA) + b"data: " + DELTA + b"\n", 1),
    "a finish of another choice": (events(DELTA, FINISH.replace(b'"index":0', b'"index":1')), 2),
    "half a finish": (events(DELTA) + b"data: " + FINISH[:-9], 1),
    "the words of the end in a text": (events(DELTA.replace(b'"x"', b'"[DONE] stop"')), 1),
}


@pytest.mark.parametrize("end", ENDS)
async def test_no_end_however_orderly_makes_half_an_answer_whole(
    scripted: Start, client_of: ClientOf, end: str
) -> None:
    replies: list[bytes] = []
    server = await scripted(saying(replies))
    client = client_of(server)
    for beginning, (data, count) in BEGINNINGS.items():
        replies.append(ENDS[end](data))
        chunks, error = await read(client)
        assert isinstance(error, StreamInterruptedError), beginning
        assert len(chunks) == count, beginning
        assert (error.partial is None) is (count == 0)
        if error.partial is not None:
            assert error.partial.choices[0].message.content == text_of(chunks)
        assert isinstance(await told(client), StreamInterruptedError), beginning
    # Nothing is sent again behind the caller's back.
    assert len(server.requests) == 2 * len(BEGINNINGS)


@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("data", [events(DELTA), events(DELTA, DELTA) + b"data: {", b": hb\n\n", b""])
async def test_once_an_answer_began_it_is_never_asked_for_again_in_silence(
    scripted: Start, client_of: ClientOf, data: bytes, end: str
) -> None:
    read_on = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + (chunk(data) if data else b"") + b"100\r\n")
        await read_on.wait()
        if end == "reset":
            peer.reset()

    server = await scripted(play)
    stream = await client_of(server, max_retries=5).chat.completions.create(**ASK, stream=True)
    seen = [await anext(stream) for _ in range(data.count(DELTA))]
    read_on.set()
    with pytest.raises(StreamInterruptedError) as caught:
        await anext(stream)
    assert (caught.value.partial is None) is (not seen)
    assert len(server.requests) == len(server.peers) == 1


async def test_broken_streams_are_the_same_errors_over_sockets(scripted: Start, client_of: ClientOf) -> None:
    replies: list[bytes] = []
    server = await scripted(saying(replies))
    client = client_of(server)
    for name, (body, kind, expected, words) in BROKEN_STREAMS.items():
        assert isinstance(body, bytes)
        headers = b"" if kind is None else b"Content-Type: %s\r\n" % kind.encode()
        for reply in (answer(body, headers=headers), chunked(body, headers)):
            replies.append(reply)
            chunks, error = await read(client)
            assert type(error) is expected, name
            assert words in str(error), name
            assert isinstance(error, APIError)
            assert (error.partial is None) is (chunks == []), name
            assert type(await told(client)) is expected, name
    assert len(server.requests) == 4 * len(BROKEN_STREAMS)


async def test_broken_documents_are_the_same_errors_over_sockets(scripted: Start, client_of: ClientOf) -> None:
    replies: list[bytes] = []
    server = await scripted(saying(replies))
    client = client_of(server)
    more = {
        "a text in place of an error object": (b'{"error":"sorry"}', APIError),
        "an error beside nothing": (b'{"error":{"message":"sorry","type":"t"},"choices":null}', APIError),
    }
    for name, (body, expected) in (BROKEN_DOCUMENTS | more).items():
        for headers in (b"Content-Type: application/json\r\n", b"", SSE):
            replies.append(answer(body, headers=headers))
            text, error = await whole(client)
            assert text is None
            assert type(error) is expected, name
            assert b"sorry" not in body or "sorry" in str(error), name
    assert len(server.requests) == 3 * len(BROKEN_DOCUMENTS | more)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_odd_json_is_the_right_text_or_an_error_of_ours_over_sockets(
    scripted: Start, client_of: ClientOf, stream: bool
) -> None:
    replies: list[bytes] = []
    client = client_of(await scripted(saying(replies)))
    for name, (body, text) in ODD_DOCUMENTS.items():
        if stream:
            data = body.replace(b'"message"', b'"delta"').replace(b"\n", b"\ndata: ")
            replies.append(chunked(events(data) + DONE))
            chunks, error = await read(client)
            said: str | None = text_of(chunks)
        else:
            replies.append(answer(body))
            said, error = await whole(client)
        if text is None:
            assert isinstance(error, APIResponseValidationError), name
        else:
            assert (said, error) == (text, None), name


async def test_lawful_oddities_of_streams_give_the_full_answer_over_sockets(
    scripted: Start, client_of: ClientOf
) -> None:
    replies: list[bytes] = []
    server = await scripted(saying(replies))
    client = client_of(server)
    for name, body in BORNE_STREAMS.items():
        pieces = [body] if isinstance(body, bytes) else body
        assert isinstance(pieces, list)
        for size in (None, 1, 7):
            data = b"".join(pieces)
            if size is None:
                said = b"".join(map(chunk, pieces))
            else:
                said = b"".join(chunk(data[start : start + size]) for start in range(0, len(data), size))
            replies.append(SSE_HEAD + said + LAST_CHUNK)
            chunks, error = await read(client)
            assert (text_of(chunks), error) == ("x", None), name
    assert len(server.requests) == 3 * len(BORNE_STREAMS)


JSON = b"Content-Type: application/json\r\n"
LAWFUL_DOCUMENTS = {
    "one-byte chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(chunk(bytes([byte])) for byte in COMPLETION)
    + LAST_CHUNK,
    "chunk extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b'%x;a=b;c="d"\r\n%s\r\n0;x\r\n\r\n' % (len(COMPLETION), COMPLETION),
    "trailers": chunked(COMPLETION, JSON)[:-2] + b"X-Sum: 1\r\nX-Other: 2\r\n\r\n",
    "1xx first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(COMPLETION),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + COMPLETION,
    "until the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + COMPLETION,
    "gzip": answer(gzip.compress(COMPLETION), headers=GZIP),
    "sixty headers": answer(COMPLETION, headers=b"".join(b"X-%d: y\r\n" % n for n in range(60))),
    "no reason": answer(COMPLETION, status=b"200"),
    "another good status": answer(COMPLETION, status=b"299 Fine"),
    "names in capitals": answer(COMPLETION).replace(b"Content-Length", b"CONTENT-LENGTH"),
    "spaces before it": answer(b" \r\n\t" * 1000 + COMPLETION),
}


@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
async def test_lawful_oddities_of_http_give_the_full_document(
    scripted: Start, client_of: ClientOf, bytewise: bool
) -> None:
    said: list[bytes] = []

    async def play(peer: Peer) -> None:
        await peer.request()
        step = 1 if bytewise and len(said[-1]) < 2000 else len(said[-1])
        for start in range(0, len(said[-1]), step):
            await peer.send(said[-1][start : start + step])
            await asyncio.sleep(0)

    client = client_of(await scripted(play))
    for name, reply in LAWFUL_DOCUMENTS.items():
        said.append(reply)
        assert await whole(client) == ("x", None), name


SCRAPS = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"0",
    b"-",
    b"9" * 30,
    b"data: ",
    b"\\u",
]
SCRAPS += [
    b"null",
    b"event: error\n",
    b"chunked",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"[DONE]",
    b"1e999",
    b"\xed\xa0\x80",
    b": ",
]


def spoilt(said: bytes, pick: random.Random) -> bytes:
    """The same with something that is lost, doubled, changed or added, here and there."""
    for _ in range(pick.randint(1, 4)):
        start = pick.randrange(len(said))
        end = min(len(said), start + pick.choice((0, 1, 1, 2, 10, 100)))
        there = said[start:end]
        new = pick.choice(
            [b"", there * 2, bytes([pick.randrange(256)]), pick.choice(SCRAPS) + there, pick.choice(SCRAPS)]
        )
        said = said[:start] + new + said[end:] or b"?"
    return said


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_whatever_comes_is_an_answer_or_an_error_of_ours(
    scripted: Start, client_of: ClientOf, stream: bool
) -> None:
    pick = random.Random(5)
    body, headers = (STREAM, SSE) if stream else (COMPLETION, JSON)
    good = [answer(body, headers=headers), chunked(body, headers), answer(gzip.compress(body), headers=headers + GZIP)]
    spoilt_replies = [spoilt(pick.choice(good), pick) for _ in range(200)]
    spoilt_replies += [answer(spoilt(body, pick), headers=headers) for _ in range(200)]
    replies = iter(spoilt_replies)

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(next(replies))
        peer.end()
        await peer.gone()

    # Ten at once: what one of them gets is no other one's affair.
    client = client_of(await scripted(play), max_retries=0, timeout=5)
    kinds: set[type[object]] = set()

    async def call() -> None:
        for _ in range(40):
            error = (await read(client))[1] if stream else (await whole(client))[1]
            kinds.add(type(error))

    # Everything else comes out of here.
    await asyncio.gather(*(call() for _ in range(10)))
    assert {type(None), APIConnectionError, APIResponseValidationError} <= kinds
    assert not stream or StreamInterruptedError in kinds


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_answer_that_comes_while_the_loop_is_held_up_is_in_time_and_not_asked_for_again(
    scripted: Start, client_of: ClientOf, stream: bool
) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(STREAM) if stream else answer(COMPLETION))
        # Until after the clock of silence.
        time.sleep(0.15)  # noqa: ASYNC251
        await peer.gone()

    server = await scripted(play)
    client = client_of(server, timeout=Timeout(read=0.1))
    if stream:
        chunks, error = await read(client)
        assert (text_of(chunks), error) == ("x", None)
    else:
        assert await whole(client) == ("x", None)
    assert len(server.requests) == 1


# --- bounded


@pytest.mark.parametrize("how", ["chunks", "events", "raw"])
async def test_a_consumer_that_stops_stops_the_server(scripted: Start, client_of: ClientOf, how: str) -> None:
    sent = 0

    async def play(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(SSE_HEAD)
        said = chunk(events(DELTA) * 600)
        while True:
            await peer.send(said)
            sent += len(said)

    async def settled() -> int:
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        return sent

    completions = client_of(await scripted(play)).chat.completions
    if how == "chunks":
        stream = await completions.create(**ASK, stream=True)
        await anext(stream)
        assert await settled() < 32 * 2**20
        await stream.aclose()
    elif how == "events":
        async with completions.stream(**ASK) as events_of:
            await anext(events_of)
            assert await settled() < 32 * 2**20
    else:
        async with completions.with_streaming_response.create(**ASK, stream=True) as response:
            await anext(response.iter_bytes())
            assert await settled() < 32 * 2**20


def deflate_bomb(text: bytes) -> bytes:
    """768 MiB in less than one: a MiB whose compressed form may be repeated as it is."""
    coder = zlib.compressobj(9, wbits=15)
    head = coder.compress(b"") + coder.flush(zlib.Z_FULL_FLUSH)
    once, again = (coder.compress(text * (2**20 // len(text))) + coder.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return head + once + again * 767


async def test_a_deflate_bomb_in_a_stream_or_an_error_takes_little_memory(scripted: Start, client_of: ClientOf) -> None:
    text, comment = deflate_bomb(b"x"), deflate_bomb(b":" + b"c" * (2**20 - 2) + b"\n")
    assert max(len(text), len(comment)) < 2**20
    replies = [answer(comment, headers=SSE + b"Content-Encoding: deflate\r\n")]
    client = client_of(await scripted(saying(replies)), max_retries=0)
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        _, error = await read(client)
        assert isinstance(error, ResponseTooLargeError)
        replies.append(answer(text, status=b"500 Oops", headers=b"Content-Encoding: deflate\r\n"))
        assert isinstance((await read(client))[1], InternalServerError)
        assert isinstance((await whole(client))[1], InternalServerError)
        assert tracemalloc.get_traced_memory()[1] - base < 64 * 2**20
    finally:
        tracemalloc.stop()


# --- the embedded service keeps the same promises


@pytest.mark.parametrize("over", ["memory", "sockets"])
async def test_the_embedded_service_breaks_off_as_a_real_one_does(over: str) -> None:
    fake = FakeMoonshot()

    async def outcome(client: AsyncMoonshot) -> tuple[str, MoonshotError | None]:
        chunks, error = await read(client)
        return text_of(chunks), error

    async def check(client: AsyncMoonshot) -> None:
        text, error = await outcome(client)
        assert (text != "", error) == (True, None)
        for clean in (False, True):
            for after in (0, 1, 2, 4):
                fake.cut_stream(after, clean=clean)
                said, error = await outcome(client)
                assert isinstance(error, StreamInterruptedError)
                assert text.startswith(said)
                assert said != text
        fake.error_in_stream(2, message="sorry")
        said, error = await outcome(client)
        assert type(error) is APIError
        assert error.message == "sorry"
        assert error.partial is not None
        fake.disconnect()
        assert type((await whole(client))[1]) is APIConnectionError
        fake.fail(503, message="later")
        assert isinstance((await whole(client))[1], InternalServerError)

    if over == "memory":
        async with AsyncMoonshot(
            api_key="sk-canary-01", base_url="http://m.test/v1", transport=MemoryTransport(fake), max_retries=0
        ) as client:
            await check(client)
        return
    async with fake.serve() as url, AsyncMoonshot(api_key="sk-canary-01", base_url=url, max_retries=0) as client:
        await check(client)
