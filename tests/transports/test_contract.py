"""What every transport must do, and what it must not: one suite over all of them."""

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ClientClosedError,
    StreamInterruptedError,
    UploadError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.server import FakeServer
from moonshot_async.transports import AiohttpTransport, MemoryTransport, Transport
from moonshot_async.wire import Request, Response, Upload
from tests.stalls import Stalls

App = Callable[[Request], Awaitable[Response]]
Connect = Callable[[App], Awaitable[tuple[Transport, str]]]

pytestmark = pytest.mark.usefixtures("no_leaks")

SSE = [("Content-Type", "text/event-stream")]
ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}


@pytest.fixture(params=["memory", "aiohttp"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Reach an app by one transport or the other: `transport, base_url = await connect(app)`."""
    async with AsyncExitStack() as stack:

        async def connect(app: App) -> tuple[Transport, str]:
            if request.param == "memory":
                return MemoryTransport(app), "http://memory.test/v1"
            url = await stack.enter_async_context(FakeServer(app))
            transport = AiohttpTransport()
            stack.push_async_callback(transport.aclose)
            return transport, url

        yield connect


def post(url: str, body: bytes | Upload = b"", **more: object) -> Request:
    headers = [("Content-Type", "application/json"), ("Authorization", "Bearer sk-canary-01")]
    return Request("POST", url + "/chat/completions", headers, body, **more)  # type: ignore[arg-type]  # more fields


async def echo(request: Request) -> Response:
    return Response(200, body=request.content)


async def until(fact: Callable[[], bool]) -> None:
    """Wait for what the event loop is about to do."""
    for _ in range(1000):
        if fact():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come true")


class Silence:
    """A body that says a little and then nothing any more."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def __call__(self, request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for piece in self.pieces:
                yield piece
            await asyncio.Event().wait()

        return Response(200, SSE, body())


async def never(request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_whole_answer_arrives_with_its_status_headers_and_body(connect: Connect) -> None:
    async def app(request: Request) -> Response:
        return Response(418, [("X-One", "1"), ("x-two", "2"), ("X-One", "3")], b"short and stout")

    transport, url = await connect(app)
    request = post(url)
    response = await transport.send(request)
    assert response.status == 418
    assert response.headers["x-one"] == "1, 3"
    assert response.headers["X-TWO"] == "2"
    assert response.request is request
    assert await response.read() == b"short and stout"


async def test_the_end_of_a_body_is_told_again_and_again(connect: Connect) -> None:
    transport, url = await connect(echo)
    response = await transport.send(post(url, b"x"))
    assert [await response.body.read() for _ in range(3)] == [b"x", b"", b""]
    response.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_method_path_query_and_headers_are_delivered(connect: Connect, method: str) -> None:
    seen: list[Request] = []

    async def app(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    transport, url = await connect(app)
    request = Request(method, url + "/files/a%2Fb%20c?limit=2&q=%E4%BD%A0", [("X-Odd", "a b; c"), ("X-Odd", "d")])
    (await transport.send(request)).close()
    assert seen[0].method == method
    assert seen[0].url.endswith("/v1/files/a%2Fb%20c?limit=2&q=%E4%BD%A0")
    assert [value for name, value in seen[0].headers.multi_items() if name.lower() == "x-odd"] == ["a b; c", "d"]


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000, 3_000_000])
async def test_a_request_body_of_any_size_is_delivered_to_the_byte_and_without_a_warning(
    connect: Connect, size: int
) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    transport, url = await connect(echo)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        response = await transport.send(post(url, body))
        assert await response.read() == body


class Body:
    """An upload that waits before a piece, or raises in its place."""

    def __init__(self, *pieces: "bytes | float | Exception", length: int | None = None) -> None:
        sizes = [len(piece) for piece in pieces if isinstance(piece, bytes)]
        self.length = sum(sizes) if length is None else length
        self.begun = self.ended = 0
        self._pieces = pieces

    async def pieces(self) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            for piece in self._pieces:
                if isinstance(piece, bytes):
                    yield piece
                elif isinstance(piece, Exception):
                    raise piece
                else:
                    await asyncio.sleep(piece)
        finally:
            self.ended += 1


PIECE = bytes(range(256)) * 1024
FOREVER = 60.0


@pytest.mark.parametrize("pieces", [[b""], [b"x"], [PIECE] * 12, [b"a" * 1000] * 500])
async def test_an_upload_is_delivered_to_the_byte_and_as_often_as_it_is_sent(
    connect: Connect, pieces: list[bytes]
) -> None:
    seen: list[Request] = []

    async def app(request: Request) -> Response:
        seen.append(request)
        return Response(200, body=request.body)  # type: ignore[arg-type]  # an app gets bytes

    transport, url = await connect(app)
    upload = Body(*pieces)
    for _ in range(2):
        request = post(url, upload)
        response = await transport.send(request)
        assert await response.read() == b"".join(pieces)
        assert response.request is request
    assert (upload.begun, upload.ended) == (2, 2)
    assert all("transfer-encoding" not in request.headers for request in seen)


async def test_what_the_pieces_of_an_upload_raise_comes_out_as_it_is(connect: Connect) -> None:
    transport, url = await connect(echo)
    for problem in (UploadError("it changed"), KeyError("a bug"), OSError(5, "a disk that fails")):
        upload = Body(PIECE, problem, length=2 * len(PIECE))
        with pytest.raises(type(problem)) as caught:
            await transport.send(post(url, upload))
        assert caught.value is problem
        assert upload.ended == 1
    assert await (await transport.send(post(url, b"x"))).read() == b"x"


@pytest.mark.parametrize(("length", "words"), [(9, "1 fewer bytes than the 9"), (7, "more bytes than the 7")])
async def test_an_upload_that_is_longer_or_shorter_than_it_said_is_no_answer(
    connect: Connect, length: int, words: str
) -> None:
    answered = 0

    async def app(request: Request) -> Response:
        nonlocal answered
        answered += 1
        return Response(200)

    transport, url = await connect(app)
    upload = Body(b"1234", b"5678", length=length)
    with pytest.raises(UploadError, match=words):
        await transport.send(post(url, upload))
    assert (upload.ended, answered) == (1, 0)


async def test_the_write_clock_counts_the_silence_between_pieces(connect: Connect) -> None:
    transport, url = await connect(echo)
    patient = Timeout(total=None, write=0.3)
    # Longer in all than the clock, but never silent for so long.
    response = await transport.send(post(url, Body(*[b"x", 0.05] * 8), timeout=patient))
    assert await response.read() == b"x" * 8
    upload = Body(b"x", FOREVER, b"x")
    with pytest.raises(APITimeoutError, match=r"write timeout of 0\.3 s ran out while the request was sent") as caught:
        await transport.send(post(url, upload, timeout=patient))
    assert caught.value.clock == "write"
    assert caught.value.retryable
    await until(lambda: upload.ended == 1)


async def test_the_deadline_of_the_call_bounds_an_upload(connect: Connect, stalls: Stalls) -> None:
    transport, url = await connect(echo)
    started = time.monotonic()
    upload = Body(*[b"x", 0.02] * 200)
    with pytest.raises(APITimeoutError) as caught:
        await transport.send(post(url, upload, timeout=Timeout(total=0.2), deadline=started + 0.2))
    assert caught.value.clock == "total"
    assert -0.005 <= stalls.late(started + 0.2) < 0.25
    assert caught.value.__context__ is None
    await until(lambda: upload.ended == 1)


async def test_an_upload_that_is_cancelled_is_closed(connect: Connect) -> None:
    transport, url = await connect(echo)
    upload = Body(b"x", FOREVER, b"x")
    call = asyncio.create_task(transport.send(post(url, upload)))
    await until(lambda: upload.begun == 1)
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: upload.ended == 1)
    assert await (await transport.send(post(url, b"x"))).read() == b"x"


async def test_closing_the_transport_fails_an_upload_that_is_under_way(connect: Connect) -> None:
    transport, url = await connect(echo)
    upload = Body(b"x", FOREVER, b"x")
    call = asyncio.create_task(transport.send(post(url, upload)))
    await until(lambda: upload.begun == 1)
    await asyncio.sleep(0.02)
    await transport.aclose()
    with pytest.raises(APIConnectionError, match="The client was closed"):
        await call
    await until(lambda: upload.ended == 1)


async def test_a_stream_is_handed_out_while_it_arrives(connect: Connect) -> None:
    more = asyncio.Event()

    async def app(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await more.wait()
            yield b"data: 2\n\n"

        return Response(200, SSE, body())

    transport, url = await connect(app)
    response = await transport.send(post(url, stream=True))
    assert await response.body.read() == b"data: 1\n\n"
    more.set()
    assert await response.body.read() == b"data: 2\n\n"
    assert await response.body.read() == b""
    response.close()


async def test_concurrent_calls_do_not_swap_answers(connect: Connect) -> None:
    async def app(request: Request) -> Response:
        await asyncio.sleep(int(request.body) % 7 / 1000)
        return Response(200, body=request.body)

    transport, url = await connect(app)

    async def ask(number: int) -> bool:
        response = await transport.send(post(url, b"%d" % number))
        return await response.read() == b"%d" % number

    assert all(await asyncio.gather(*(ask(number) for number in range(100))))


async def test_an_error_status_is_an_answer_to_the_transport_and_an_exception_to_the_caller(connect: Connect) -> None:
    fake = FakeMoonshot()
    transport, url = await connect(fake)
    fake.fail(400, message="no such thing")
    response = await transport.send(post(url))
    assert response.status == 400
    response.close()
    fake.fail(400, message="no such thing")
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=url, transport=transport)
    with pytest.raises(BadRequestError, match="no such thing") as caught:
        await client.chat.completions.create(**ASK)
    assert isinstance(caught.value, APIStatusError)
    assert caught.value.request_id == "fake-request-000002"


async def test_the_fake_answers_whole_and_streamed_by_every_transport(connect: Connect) -> None:
    fake = FakeMoonshot()
    transport, url = await connect(fake)
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=url, transport=transport)
    fake.reply("Hello you", times=2)
    completion = await client.chat.completions.create(**ASK)
    assert completion.choices[0].message.content == "Hello you"
    stream = await client.chat.completions.create(**ASK, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == "Hello you"


async def test_the_deadline_ends_the_wait_for_a_head(connect: Connect, stalls: Stalls) -> None:
    transport, url = await connect(never)
    started = time.monotonic()
    with pytest.raises(APITimeoutError) as caught:
        await transport.send(post(url, timeout=Timeout(total=0.1), deadline=started + 0.1))
    assert caught.value.clock == "total"
    assert "total timeout of 0.1 s" in caught.value.message
    # uvloop counts whole milliseconds.
    assert -0.005 <= stalls.late(started + 0.1) < 0.25


async def test_silence_ends_the_wait_for_a_head(connect: Connect) -> None:
    transport, url = await connect(never)
    with pytest.raises(APITimeoutError) as caught:
        await transport.send(post(url, timeout=Timeout(total=None, read=0.1)))
    assert caught.value.clock == "read"


async def test_without_clocks_a_slow_head_is_waited_for(connect: Connect) -> None:
    async def app(request: Request) -> Response:
        await asyncio.sleep(0.05)
        return Response(200, body=b"late")

    transport, url = await connect(app)
    response = await transport.send(post(url, timeout=Timeout.of(None)))
    assert await response.read() == b"late"


async def test_a_deadline_in_the_body_hands_out_first_what_arrived(connect: Connect, stalls: Stalls) -> None:
    transport, url = await connect(Silence(b"data: 1\n\n"))
    response = await transport.send(post(url, stream=True))
    deadline = time.monotonic() + 0.1
    assert await response.body.read(deadline) == b"data: 1\n\n"
    with pytest.raises(TimeoutError):
        await response.body.read(deadline)
    assert stalls.late(deadline) < 0.25
    with pytest.raises(TimeoutError):
        await response.body.read(None)
    response.close()


async def test_a_read_without_a_deadline_goes_on_after_reads_with_one(connect: Connect) -> None:
    transport, url = await connect(Silence(b"data: 1\n\n"))
    response = await transport.send(post(url, stream=True))
    assert await response.body.read(time.monotonic() + 0.1) == b"data: 1\n\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await response.body.read()
    response.close()


async def test_a_fault_in_the_body_hands_out_first_what_arrived(connect: Connect) -> None:
    async def app(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            yield b"data: 2\n\n"
            raise ConnectionResetError

        return Response(200, SSE, body())

    transport, url = await connect(app)
    response = await transport.send(post(url, stream=True))
    received = b""
    with pytest.raises(StreamInterruptedError) as caught:
        while True:
            received += await response.body.read()
    assert received == b"data: 1\n\ndata: 2\n\n"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    with pytest.raises(StreamInterruptedError):
        await response.body.read()
    response.close()


async def test_a_server_that_hangs_up_instead_of_answering_is_a_connection_error(connect: Connect) -> None:
    async def app(request: Request) -> Response:
        raise ConnectionResetError("gone")

    transport, url = await connect(app)
    with pytest.raises(APIConnectionError) as caught:
        await transport.send(post(url))
    assert caught.value.retryable
    assert caught.value.__context__ is None


async def test_a_body_may_be_closed_at_any_time_and_again(connect: Connect) -> None:
    transport, url = await connect(Silence(b"data: 1\n\n"))
    response = await transport.send(post(url, stream=True))
    assert await response.body.read()
    for _ in range(3):
        response.close()
    with pytest.raises(StreamInterruptedError):
        await response.body.read()
    unread = await transport.send(post(url, stream=True))
    unread.close()
    await unread.aclose()


async def test_cancelling_a_read_loses_nothing(connect: Connect) -> None:
    more = asyncio.Event()

    async def app(request: Request) -> Response:
        class Body:
            sent = False

            async def read(self, deadline: float | None = None) -> bytes:
                await more.wait()
                text, self.sent = (b"" if self.sent else b"data: 1\n\n"), True
                return text

            def close(self) -> None:
                pass

        return Response(200, SSE, Body())

    transport, url = await connect(app)
    response = await transport.send(post(url, stream=True))
    reading = asyncio.create_task(response.body.read())
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    more.set()
    assert await response.body.read() == b"data: 1\n\n"
    response.close()


async def test_closing_the_transport_fails_calls_and_bodies_that_are_under_way(connect: Connect) -> None:
    waiting = asyncio.Event()

    async def app(request: Request) -> Response:
        if request.body == b"stream":
            return await Silence(b"data: 1\n\n")(request)
        waiting.set()
        return await never(request)

    transport, url = await connect(app)
    reading, idle = [await transport.send(post(url, b"stream", stream=True)) for _ in range(2)]
    assert await reading.body.read() == await idle.body.read() == b"data: 1\n\n"
    call = asyncio.create_task(transport.send(post(url, b"call")))
    read = asyncio.create_task(reading.body.read())
    await waiting.wait()
    await asyncio.sleep(0)
    started = time.monotonic()
    await transport.aclose()
    with pytest.raises(APIConnectionError, match="The client was closed") as of_call:
        await call
    with pytest.raises(ClientClosedError, match="the client was closed"):
        await read
    with pytest.raises(ClientClosedError, match="the client was closed"):
        await idle.body.read()
    assert time.monotonic() - started < 2
    assert not of_call.value.retryable
    assert not isinstance(of_call.value, APITimeoutError)
    for response in (reading, idle):
        response.close()


async def test_a_closed_transport_refuses_at_once_and_for_good(connect: Connect) -> None:
    fake = FakeMoonshot()
    transport, url = await connect(fake)
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=url, transport=transport)
    await client.chat.completions.create(**ASK)
    await client.aclose()
    await client.aclose()
    with pytest.raises(APIConnectionError, match="The client was closed") as caught:
        await client.chat.completions.create(**ASK)
    assert not caught.value.retryable
    assert caught.value.attempts == ()
    assert len(fake.requests) == 1


async def test_a_transport_may_be_closed_before_it_was_used(connect: Connect) -> None:
    transport, url = await connect(echo)
    await transport.aclose()
    with pytest.raises(APIConnectionError, match="The client was closed"):
        await transport.send(post(url))


async def test_a_timeout_of_ours_leaves_no_cancellation_behind(connect: Connect) -> None:
    transport, url = await connect(never)
    task = asyncio.current_task()
    assert task is not None
    async with asyncio.timeout(5):
        with pytest.raises(APITimeoutError):
            await transport.send(post(url, timeout=Timeout(read=0.02)))
        assert task.cancelling() == 0
        await asyncio.sleep(0)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
        with pytest.raises(APITimeoutError):
            await transport.send(post(url, timeout=Timeout(read=0.02)))
    assert task.cancelling() == 0


async def test_a_timeout_of_the_callers_own_is_theirs(connect: Connect) -> None:
    transport, url = await connect(never)
    task = asyncio.current_task()
    assert task is not None
    for delay in (0.0, 0.01, 0.02):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(delay):
                await transport.send(post(url, timeout=Timeout(read=0.5)))
        assert not isinstance(caught.value, APITimeoutError)
        assert task.cancelling() == 0


async def test_two_timeouts_at_the_same_moment_end_in_one_of_them(connect: Connect) -> None:
    transport, url = await connect(never)
    task = asyncio.current_task()
    assert task is not None
    for step in range(12):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02 + step / 2000):
                await transport.send(post(url, timeout=Timeout(read=0.02)))
        assert task.cancelling() == 0


async def test_the_body_of_a_running_call_can_be_cancelled(connect: Connect) -> None:
    transport, url = await connect(never)
    call = asyncio.create_task(transport.send(post(url)))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
