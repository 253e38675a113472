"""Servers and networks that take their time, over real sockets: the clock that is to end a call ends it in time."""

import asyncio
import io
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from moonshot_async import AsyncMoonshot, Retry, Timeout
from moonshot_async.bounds import Bounds
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InternalServerError,
    RateLimitError,
)
from moonshot_async.middleware import Handler
from moonshot_async.transports import AiohttpTransport, aiohttp_names
from moonshot_async.wire import Request, Response
from tests.conftest import open_sockets
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Play,
    Start,
    answer,
    chunk,
    endless,
    events,
    silent,
)
from tests.stalls import Stalls

pytestmark = pytest.mark.usefixtures("no_leaks")

WHOLE = chunk(events(DELTA, FINISH, b"[DONE]")) + LAST_CHUNK
# What a call may be late, in seconds.
LATE = 0.25

Call = Callable[[], Awaitable[object]]


# --- what they do


async def mute(peer: Peer) -> None:
    """Accept, and neither read nor speak: what TLS and a proxy are waited for like that."""
    await asyncio.sleep(60)


async def dripping_head(peer: Peer) -> None:
    await peer.request()
    await peer.drip(answer(COMPLETION), every=0.1)


async def dripping_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(COMPLETION))
    await peer.drip(COMPLETION, every=0.1)


async def dripping_comments(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD)
    await peer.drip(chunk(b": hb\n\n") * 100, every=0.05, size=11)


async def flooding_comments(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD)
    while True:
        await peer.send(chunk(b": flood\n" * 8000))


async def slow_deltas(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD)
    while True:
        await peer.send(chunk(events(DELTA)))
        await asyncio.sleep(0.05)


async def endless_429(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"429 No", headers=b"Retry-After: 1\r\n"))


async def patient_503(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"503 No", headers=b"Retry-After: 86400\r\n"))


async def endless_503(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"503 No"))


async def dripping_error(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD.replace(b"200 OK", b"500 No") + b"Content-Length: 1000\r\n\r\n")
    await peer.drip(b"x" * 1000, every=0.05)


async def not_reading(peer: Peer) -> None:
    peer.stop_reading()
    await asyncio.sleep(60)


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """The URL of a socket that listens, never accepts, and has no room left: connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for filler in fillers:
            filler.close()


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No name is found, nor said not to be, before the test ends."""
    over = threading.Event()
    monkeypatch.setattr(aiohttp_names, "_look_up", lambda *_: over.wait(30))
    yield
    over.set()


@pytest.fixture
def stuck_file() -> Iterator[io.BytesIO]:
    """A file that can be read to its middle, and no further before the test ends."""
    over = threading.Event()

    class Stuck(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if size and self.tell() > 300_000:
                over.wait(30)
            return super().read(size)

    yield Stuck(b"x" * 600_000)
    over.set()


async def never() -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def hanging(request: Request, call_next: Handler) -> Response:
    await never()
    return await call_next(request)


# --- the whole call


async def ask(client: AsyncMoonshot, **options: Any) -> None:
    """Read an answer to its end."""
    got: Any = await client.chat.completions.create(**ASK, **options)
    if options.get("stream"):
        async for _ in got:
            pass


class Outcome(NamedTuple):
    """What a call that must fail raised, and when it began and ended."""

    error: APIError
    started: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    def late(self, seconds: float, stalls: Stalls) -> float:
        """How many seconds after the time that it had it ended; negative when it was too early."""
        return stalls.late(self.started + seconds, self.ended)


async def outcome(call: Call) -> Outcome:
    started = time.monotonic()
    try:
        await call()
    except APIError as error:
        return Outcome(error, started, time.monotonic())
    raise AssertionError("it was answered")


@pytest.mark.parametrize("bound", ["timeout", "deadline"])
async def test_whatever_a_call_waits_for_it_ends_in_time(
    scripted: Start,
    client_of: Any,
    full_backlog: str,
    no_names: None,
    stuck_file: io.BytesIO,
    stalls: Stalls,
    bound: str,
) -> None:
    # All at once: each of them waits.
    clients: list[AsyncMoonshot] = []

    async def to(play: Play | str, **options: Any) -> AsyncMoonshot:
        """A client for a server, or for an address."""
        client: AsyncMoonshot = client_of(play if isinstance(play, str) else await scripted(play), **options)
        clients.append(client)
        return client

    deaf = (await scripted(mute)).url
    quiet = await scripted(silent)
    narrow = await to(endless, transport=AiohttpTransport(max_connections=1))
    held = await narrow.chat.completions.create(**ASK, stream=True)
    sinks, reading = (await to(not_reading), await to(not_reading)), await to(silent)
    timeout: dict[str, Any] = {"timeout": 0.5} if bound == "timeout" else {}
    big = b"x" * 20_000_000

    def asking(client: AsyncMoonshot, **options: Any) -> Call:
        return lambda: ask(client, **timeout, **options)

    head, body, sending = "before an answer came", "while the answer was arriving", "while the request was sent"
    connecting = "while it was connecting"
    proxied = AiohttpTransport(proxy=deaf.removesuffix("/v1"))
    cases: list[tuple[str, Call]] = [
        (head, asking(await to(silent))),
        (head, asking(await to(silent), stream=True)),
        (head, asking(await to(dripping_head))),
        (head, asking(await to(dripping_head), stream=True)),
        (body, asking(await to(dripping_body))),
        (body, asking(await to(dripping_comments), stream=True)),
        (body, asking(await to(slow_deltas), stream=True)),
        (sending, lambda: sinks[0].request("POST", "/files", body=big, **timeout)),
        (sending, lambda: sinks[1].files.create(file=("a.txt", big), purpose="file-extract", **timeout)),
        (sending, lambda: reading.files.create(file=("a.txt", stuck_file), purpose="file-extract", **timeout)),
        (connecting, asking(await to(deaf.replace("http://", "https://")))),
        (connecting, asking(await to("https://proxied.test/v1", transport=proxied))),
        (connecting, asking(await to(full_backlog))),
        (connecting, asking(await to("https://no.such.name.test:1/v1", transport=AiohttpTransport()))),
        ("while it waited for a free connection", asking(narrow)),
        ("while the api_key function was at work", asking(client_of(quiet).with_options(api_key=never))),
        ("before an answer came", asking(client_of(quiet, middleware=[hanging]))),
        ("before an answer came", asking(client_of(quiet, limits=hanging))),
    ]
    for client in clients:
        client.max_retries = 50
    with nullcontext() if bound == "timeout" else clients[0].deadline(0.5):
        outcomes = await asyncio.gather(*(outcome(call) for _, call in cases))
    for (where, _), ended in zip(cases, outcomes, strict=True):
        error = ended.error
        assert isinstance(error, APITimeoutError), where
        clock, setting = ("total", "total timeout") if bound == "timeout" else ("deadline", "deadline")
        assert f"the {setting} of 0.5 s ran out {where} (attempt 1, " in error.message
        assert (error.clock, error.attempt, error.retryable) == (clock, 1, False), where
        # The deadline counts from where it was entered: what is late to begin has less time.
        assert ended.seconds > 0.2, where
        assert ended.late(0.5, stalls) < LATE, where
        assert error.elapsed is not None
        assert 0.0 <= stalls.late(ended.started + error.elapsed, ended.ended) < LATE, where
    await held.aclose()


async def test_a_wait_before_a_retry_is_not_begun_when_it_would_end_too_late(
    scripted: Start, client_of: Any, stalls: Stalls
) -> None:
    cases: list[tuple[Play, type[APIError]]] = [
        (endless_429, RateLimitError),
        (patient_503, InternalServerError),
        (endless_503, InternalServerError),
        (dripping_error, InternalServerError),
    ]
    # The second wait would end too late, and the second attempt has half of the time.
    clients = [client_of(await scripted(play), middleware=[Retry(50, uniform=lambda *_: 0.52)]) for play, _ in cases]
    calls = [asyncio.create_task(outcome(lambda c=client: ask(c, timeout=1.0))) for client in clients]  # type: ignore[misc]
    with clients[0].deadline(1.0):
        calls += [asyncio.create_task(outcome(lambda c=client: ask(c))) for client in clients]  # type: ignore[misc]
    for (play, expected), ended in zip(cases * 2, await asyncio.gather(*calls), strict=True):
        assert isinstance(ended.error, expected), play
        assert ended.late(1.0, stalls) < LATE, play


async def test_a_flood_of_comments_does_not_outrun_the_timeout(scripted: Start, client_of: Any, stalls: Stalls) -> None:
    client = client_of(await scripted(flooding_comments), bounds=Bounds(max_silent_lines=10**9))
    ended = await outcome(lambda: ask(client, stream=True, timeout=0.5))
    assert isinstance(ended.error, APITimeoutError)
    assert ended.error.clock == "total"
    assert 0.0 <= ended.late(0.5, stalls) < LATE


async def test_an_attempt_that_times_out_says_which_one_it_was(scripted: Start, client_of: Any, stalls: Stalls) -> None:
    async def silent_in_the_end(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"{}", status=b"503 No"))
        await peer.request()
        await peer.gone()

    client = client_of(await scripted(silent_in_the_end), middleware=[Retry(2, initial=0.01)])
    ended = await outcome(lambda: ask(client, timeout=0.3))
    error = ended.error
    assert isinstance(error, APITimeoutError)
    assert (error.attempt, error.clock) == (2, "total")
    assert 0.0 <= ended.late(0.3, stalls) < LATE
    assert error.elapsed is not None
    assert 0.3 <= error.elapsed <= ended.seconds


async def test_the_bytes_of_an_upload_are_not_kept_for_a_peer_that_never_reads_them(
    scripted: Start, client_of: Any
) -> None:
    server = await scripted(not_reading)
    client, sockets = client_of(server), open_sockets()
    with pytest.raises(APITimeoutError):
        await client.request("POST", "/files", body=b"x" * 20_000_000, timeout=0.1)
    await asyncio.sleep(0)
    assert open_sockets() <= sockets + 1


async def test_closing_the_client_under_an_upload_that_nobody_takes_is_quick(scripted: Start, client_of: Any) -> None:
    client = client_of(await scripted(not_reading))
    call = asyncio.create_task(client.request("POST", "/files", body=b"x" * 20_000_000))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await client.aclose()
    with pytest.raises(APIConnectionError, match="The client was closed"):
        await call
    assert time.monotonic() - started < 2


@pytest.mark.usefixtures("no_names")
def test_a_lookup_that_hangs_does_not_hold_up_the_end_of_the_program() -> None:
    async def main() -> None:
        async with AsyncMoonshot(api_key="sk-canary-01", base_url="https://no.such.name.test/v1") as client:
            with pytest.raises(APITimeoutError):
                await client.models.list(timeout=0.1)

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 2


@pytest.mark.usefixtures("no_names")
async def test_a_lookup_that_hangs_is_given_up_so_that_the_next_call_begins_another(
    client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp_names, "_LONGEST", 0.05)
    client = client_of("https://no.such.name.test:1/v1", transport=AiohttpTransport(), max_retries=0)
    for _ in range(2):
        with pytest.raises(APIConnectionError, match=r"the name no\.such\.name\.test was not found") as caught:
            await client.models.list()
        assert caught.value.retryable


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_that_nobody_writes_to_does_not_hold_up_the_end_of_the_program(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)

    async def main() -> None:
        async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://127.0.0.1:1/v1") as client:
            with pytest.raises(APITimeoutError, match="while the file was read"):
                await client.files.create(file=pipe, purpose="file-extract", timeout=0.1)

    threads = {thread for thread in threading.enumerate() if not thread.daemon}
    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 2
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= threads
    # Lets go of the thread that opens it.
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


# --- each clock alone


async def test_each_clock_ends_its_own_silence(
    scripted: Start, client_of: Any, full_backlog: str, stalls: Stalls
) -> None:
    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(COMPLETION)[:-5])
        await peer.gone()

    async def then_silence(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(b": hello\n\n"))
        await peer.gone()

    narrow = client_of(await scripted(endless), transport=AiohttpTransport(max_connections=1), max_retries=0)
    held = await narrow.chat.completions.create(**ASK, stream=True)
    sink = client_of(await scripted(not_reading), max_retries=0)
    deaf = (await scripted(mute)).url
    only: dict[str, float | None] = dict.fromkeys(Timeout.__struct_fields__)

    def asking(client: AsyncMoonshot, clock: str, **options: Any) -> Call:
        client.max_retries = 0
        return lambda: ask(client, timeout=Timeout(**{**only, clock: 0.3}), **options)

    cases: list[tuple[str, Call]] = [
        ("connect", asking(client_of(full_backlog), "connect")),
        ("connect", asking(client_of(deaf.replace("http://", "https://")), "connect")),
        ("read", asking(client_of(await scripted(silent)), "read")),
        ("read", asking(client_of(await scripted(half)), "read")),
        ("read", asking(client_of(await scripted(then_silence)), "read", stream=True)),
        ("write", lambda: sink.request("POST", "/files", body=b"x" * 20_000_000, timeout=Timeout(write=0.3))),
        ("pool", asking(narrow, "pool")),
        ("first_token", asking(client_of(await scripted(then_silence)), "first_token", stream=True)),
        ("first_token", asking(client_of(await scripted(dripping_comments)), "first_token", stream=True)),
        ("idle", asking(client_of(await scripted(endless)), "idle", stream=True)),
    ]
    outcomes = await asyncio.gather(*(outcome(call) for _, call in cases))
    for (clock, _), ended in zip(cases, outcomes, strict=True):
        error = ended.error
        assert isinstance(error, APITimeoutError), clock
        assert error.clock == clock
        assert f"{clock} timeout of 0.3 s" in error.message
        assert error.retryable == (clock in ("connect", "read", "write"))
        assert 0.0 <= ended.late(0.3, stalls) < LATE, clock
    await held.aclose()
    await (await narrow.chat.completions.create(**ASK, stream=True)).aclose()


async def test_connecting_ends_within_its_own_time(
    scripted: Start, client_of: Any, full_backlog: str, no_names: None, stalls: Stalls
) -> None:
    deaf = (await scripted(mute)).url
    proxied = AiohttpTransport(proxy=deaf.removesuffix("/v1"))
    clients = [
        client_of(full_backlog),
        client_of(deaf.replace("http://", "https://")),
        client_of("https://proxied.test/v1", transport=proxied),
        client_of("https://no.such.name.test/v1", transport=AiohttpTransport()),
    ]
    once = [client.with_options(timeout=Timeout(connect=1.0), max_retries=0) for client in clients]
    for ended in await asyncio.gather(*(outcome(lambda c=client: ask(c)) for client in once)):
        assert isinstance(ended.error, APITimeoutError)
        assert ended.error.clock == "connect"
        assert 0.0 <= ended.late(1.0, stalls) < 0.6


async def test_the_connect_clock_does_not_run_while_an_answer_is_awaited(scripted: Start, client_of: Any) -> None:
    async def late(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.15)
        await peer.send(answer(COMPLETION))
        await peer.gone()

    client = client_of(await scripted(late), timeout=Timeout(connect=0.05, pool=0.05, write=0.05), max_retries=0)
    await client.chat.completions.create(**ASK)


async def test_what_arrived_before_the_idle_clock_ran_out_is_in_the_error(
    scripted: Start, client_of: Any, stalls: Stalls
) -> None:
    async def then_comments(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await peer.drip(chunk(b": hb\n\n") * 100, every=0.05, size=11)

    client = client_of(await scripted(then_comments), timeout=Timeout(idle=0.25, read=1.0))
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"idle timeout of 0\.25 s") as caught:
        await anext(stream)
    assert caught.value.clock == "idle"
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "x"
    assert stalls.late(started + 0.25) < LATE


async def test_streams_that_talk_are_never_cut_and_those_that_fall_silent_are(
    scripted: Start, client_of: Any, stalls: Stalls
) -> None:
    silences: dict[int, float] = {}

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        for _ in range(10):
            await peer.send(chunk(events(DELTA)))
            await asyncio.sleep(0.05)
        if peer.number % 2:
            await peer.send(WHOLE)
        silences[peer.number] = time.monotonic()
        await peer.gone()

    # Far longer than the 0.05 s between two events: where the loop stands still, this server is silent as well.
    client = client_of(await scripted(play), timeout=Timeout(read=1.5, idle=1.5, first_token=1.5))
    ended: list[float] = []

    async def follow() -> str | None:
        stream = await client.chat.completions.create(**ASK, stream=True)
        try:
            async for _ in stream:
                pass
        except APITimeoutError as error:
            ended.append(time.monotonic())
            return error.clock
        return None

    # Under load: each of them is one of two hundred.
    clocks = await asyncio.gather(*(follow() for _ in range(200)))
    assert clocks.count(None) == 100
    assert set(clocks) <= {None, "idle", "read"}
    last = sorted(silences[number] for number in silences if number % 2 == 0)
    assert all(-0.15 < stalls.late(was + 1.5, end) < 0.6 for end, was in zip(sorted(ended), last, strict=True))


async def test_comments_feed_the_clock_of_silence_and_no_other(scripted: Start, client_of: Any, stalls: Stalls) -> None:
    async def comments(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        for _ in range(30):
            await peer.send(chunk(b": hb\n\n"))
            await asyncio.sleep(0.05)
        await peer.send(WHOLE)

    server = await scripted(comments)
    fed = client_of(server, timeout=Timeout(read=1))
    unfed = client_of(server, timeout=Timeout(first_token=0.4, read=1))
    _, ended = await asyncio.gather(ask(fed, stream=True), outcome(lambda: ask(unfed, stream=True)))
    assert isinstance(ended.error, APITimeoutError)
    assert ended.error.clock == "first_token"
    assert 0.0 <= ended.late(0.4, stalls) < LATE


async def test_a_delta_is_handed_over_when_it_arrives_and_done_ends_the_call(scripted: Start, client_of: Any) -> None:
    sent: list[float] = []

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        for _ in range(5):
            sent.append(time.monotonic())
            await peer.send(chunk(events(DELTA)))
            await asyncio.sleep(0.02)
        # The socket stays open.
        sent.append(time.monotonic())
        await peer.send(chunk(events(FINISH, b"[DONE]")))
        await peer.gone()

    stream = await client_of(await scripted(talk)).chat.completions.create(**ASK, stream=True)
    arrived = [time.monotonic() async for _ in stream]
    ended = time.monotonic()
    assert all(there - here < 0.5 for here, there in zip(sent, arrived, strict=True))
    assert ended - sent[-1] < 1.0


async def test_the_time_that_a_consumer_takes_is_not_held_against_the_server(scripted: Start, client_of: Any) -> None:
    asked = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await asked.wait()
        await asyncio.sleep(0.05)
        await peer.send(WHOLE)

    client = client_of(await scripted(talk), timeout=Timeout(read=1, idle=1))
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    await asyncio.sleep(1.1)
    asked.set()
    assert len([chunk async for chunk in stream]) == 2


async def test_bytes_that_arrive_while_the_loop_is_held_up_win_over_the_clock(scripted: Start, client_of: Any) -> None:
    told = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await told.wait()
        await peer.send(chunk(events(DELTA)))
        # Holds up the loop until after the idle clock of the reader.
        time.sleep(0.3)  # noqa: ASYNC251
        await asyncio.sleep(0.02)
        await peer.send(WHOLE)
        await peer.gone()

    client = client_of(await scripted(talk), timeout=Timeout(idle=0.2, read=0.2))
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    told.set()
    assert len([chunk async for chunk in stream]) == 3


# --- servers that hang up


@pytest.mark.parametrize("when", ["after each answer", "while idle"])
async def test_a_server_that_hangs_up_costs_no_call(scripted: Start, client_of: Any, when: str) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(COMPLETION))
        if when == "while idle":
            await asyncio.sleep(0.001)

    client = client_of(await scripted(once))

    async def caller() -> None:
        for number in range(60):
            await client.chat.completions.create(**ASK)
            if when == "while idle":
                await asyncio.sleep((number % 4) / 1000)

    await asyncio.gather(*(caller() for _ in range(4)))
