"""Repetition over loopback sockets: the faults of real servers and connections, one by one."""

import asyncio
import email.utils
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, Timeout
from moonshot_async.errors import APIError, APIStatusError, APITimeoutError, QuotaExceededError
from moonshot_async.middleware import Handler
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.wire import Request, Response
from tests.middleware.retry_world import QUOTA, TPD, World, notes_of
from tests.scripted import ASK, COMPLETION, DELTA, FINISH, LAST_CHUNK, SSE_HEAD, Peer, Start, answer, chunk, events

STREAM = SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")) + LAST_CHUNK
HANGS_UP = "closed the connection without an answer"


@pytest.fixture
def world() -> World:
    """A time that passes only by sleeping."""
    return World(200)


@pytest.fixture
def retrying(client_of: Any, world: World) -> Callable[..., AsyncMoonshot]:
    """Make a client whose `Retry` sleeps in that time."""

    def retrying(server: Any, max_retries: int = 2, **options: Any) -> AsyncMoonshot:
        client: AsyncMoonshot = client_of(server, timeout=None, middleware=[world.retry(max_retries, **options)])
        return client

    return retrying


async def answered(peer: Peer) -> None:
    """Answer a request in full, streamed if that was asked for."""
    body = await peer.request()
    await peer.send(STREAM if b'"stream":true' in body else answer(COMPLETION))


def after(faults: int, fault: Callable[[Peer], Awaitable[None]]) -> Callable[[Peer], Awaitable[None]]:
    """Play a fault on the first connections, and answers on later ones."""

    async def play(peer: Peer) -> None:
        if peer.number <= faults:
            await fault(peer)
            return
        while True:
            await answered(peer)

    return play


async def text_of(client: AsyncMoonshot, *, stream: bool) -> str:
    if not stream:
        completion = await client.chat.completions.create(**ASK)
        return completion.choices[0].message.content or ""
    chunks = [part async for part in await client.chat.completions.create(**ASK, stream=True)]
    return "".join(part.choices[0].delta.content or "" for part in chunks)


def refusing(status: int, body: bytes = b"", headers: bytes = b"") -> Callable[[Peer], Awaitable[None]]:
    async def fault(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(body, status=b"%d No" % status, headers=headers))

    return fault


async def resets(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def resets_unread(peer: Peer) -> None:
    peer.reset()


async def hangs_up(peer: Peer) -> None:
    await peer.request()


async def hangs_up_in_the_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-")


def error(kind: str, message: str) -> bytes:
    return b'{"error":{"type":"%s","message":"%s"}}' % (kind.encode(), message.encode())


OVERLOAD = error("engine_overloaded_error", "The engine is currently overloaded")
TRANSIENT = error("invalid_request_error", "missing required header Kimi-Api-Version")

PASSING: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "reset": resets,
    "reset before reading": resets_unread,
    "closed": hangs_up,
    "closed in the head": hangs_up_in_the_head,
    "429": refusing(429),
    "429 with a wait": refusing(429, headers=b"Retry-After: 1\r\n"),
    "429 overloaded": refusing(429, OVERLOAD),
    "400 of a rollout": refusing(400, TRANSIENT),
    "408": refusing(408),
    "500": refusing(500),
    "502": refusing(502),
    "503": refusing(503),
    "504": refusing(504, b"<html>504 Gateway Time-out</html>"),
    "529": refusing(529),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_is_sent_again_and_answered_in_full(
    fault: str, stream: bool, scripted: Start, retrying: Any, world: World
) -> None:
    server = await scripted(after(2, PASSING[fault]))
    assert await text_of(retrying(server), stream=stream) == "x"
    assert len(server.peers) == 3
    assert len(world.slept) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_retries", [0, 1, 3])
@pytest.mark.parametrize("fault", ["503", "closed", "reset"])
async def test_no_more_is_sent_than_allowed_and_all_of_it_is_alike(
    fault: str, max_retries: int, stream: bool, scripted: Start, retrying: Any
) -> None:
    server = await scripted(after(99, PASSING[fault]))
    with pytest.raises(APIError) as caught:
        await text_of(retrying(server, max_retries), stream=stream)
    assert len(server.requests) == max_retries + 1
    assert len(set(server.requests)) == 1
    assert [attempt.number for attempt in caught.value.attempts] == list(range(1, max_retries + 2))


async def test_an_upload_is_the_same_each_time(scripted: Start, retrying: Any, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b'{"line": 1}\n' * 20_000)

    async def refuses_twice(peer: Peer) -> None:
        await peer.request()
        if peer.number < 3:
            await peer.send(answer(b"", status=b"503 No"))
        else:
            await peer.send(answer(b'{"id":"file-1","object":"file"}'))

    server = await scripted(refuses_twice)
    await retrying(server).files.create(file=file, purpose="batch")
    assert len(server.requests) == 3
    assert len({body for _, body in server.requests}) == 1
    assert file.read_bytes() in server.requests[0][1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        *[(status, b"") for status in (301, 307, 400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 431, 451, 499)],
        (400, error("content_filter", "The request was rejected because it was considered high risk")),
        (403, error("exceeded_current_quota_error", QUOTA)),
        (429, error("exceeded_current_quota_error", QUOTA)),
        (429, error("rate_limit_reached_error", QUOTA)),
        (429, error("rate_limit_reached_error", TPD)),
        (501, b""),
    ],
)
async def test_what_does_not_pass_is_sent_once(
    status: int, body: bytes, stream: bool, scripted: Start, retrying: Any
) -> None:
    server = await scripted(after(99, refusing(status, body, b"Retry-After: 1\r\n")))
    with pytest.raises(APIStatusError) as caught:
        await text_of(retrying(server), stream=stream)
    assert caught.value.status_code == status
    assert len(server.requests) == len(caught.value.attempts) == 1
    assert isinstance(caught.value, QuotaExceededError) is (QUOTA.encode() in body)


def in_seconds(seconds: float) -> bytes:
    return email.utils.formatdate(time.time() + seconds, usegmt=True).encode()


@pytest.mark.parametrize("draw", [0.0, 1.0])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "earliest", "latest"),
    [
        (lambda: b"Retry-After: 2", 2.0, 3.0),
        (lambda: b"Retry-After: 0", 0.0, 1.0),
        (lambda: b"retry-after-ms: 1500", 1.5, 2.5),
        (lambda: b"Retry-After: " + in_seconds(30), 27.0, 31.0),
        (lambda: b"Retry-After: " + in_seconds(-3600), 0.0, 1.0),
        (lambda: b"Retry-After: soon", 0.0, 0.5),
        (lambda: b"Retry-After: -5", 0.0, 0.5),
        (lambda: b"Retry-After: 1e9", 0.0, 0.5),
        (lambda: b"Retry-After: " + b"9" * 4000, 0.0, 0.5),
        (lambda: b"Retry-After:", 0.0, 0.5),
        (lambda: b"Retry-After: \xff\xfe", 0.0, 0.5),
    ],
)
async def test_a_wait_that_the_server_names_is_kept_and_one_that_makes_no_sense_is_not(
    header: Any, earliest: float, latest: float, status: int, draw: float, scripted: Start, client_of: Any
) -> None:
    world = World(200, draw=draw)
    server = await scripted(after(1, refusing(status, headers=header() + b"\r\n")))
    client = client_of(server, timeout=None, middleware=[world.retry()])
    assert await text_of(client, stream=False) == "x"
    assert earliest <= world.slept[0] <= latest


async def test_a_wait_of_an_hour_is_told_and_not_waited_for(scripted: Start, retrying: Any, world: World) -> None:
    server = await scripted(after(99, refusing(429, headers=b"Retry-After: 3600\r\n")))
    with pytest.raises(APIStatusError) as caught:
        await text_of(retrying(server), stream=False)
    assert caught.value.retry_after == 3600.0
    assert len(server.requests) == 1
    assert world.slept == []


async def test_a_silent_server_is_asked_again_unless_that_took_long(scripted: Start, retrying: Any) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    for slow_after, sends in ((60.0, 2), (0.0, 1)):
        server = await scripted(silent)
        client = retrying(server, 1, slow_after=slow_after)
        with pytest.raises(APITimeoutError) as caught:
            await client.chat.completions.create(**ASK, timeout=Timeout(total=None, read=0.02))
        assert len(server.requests) == sends
        assert bool(notes_of(caught.value)) is (sends == 1)


async def test_nobody_listening_is_asked_again_until_somebody_does(client_of: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        world = World(200)
        client = client_of(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", timeout=None, middleware=[world.retry(3)])
        with pytest.raises(APIError, match=r"no connection to 127\.0\.0\.1") as caught:
            await client.models.list()
    assert [attempt.error for attempt in caught.value.attempts] == ["APIConnectionError"] * 4
    assert world.slept == [0.5, 1.0, 2.0]


# --- servers that close connections


async def at_once(peer: Peer) -> None:
    await answered(peer)


async def while_idle(peer: Peer) -> None:
    await answered(peer)
    peer.end()
    await peer.gone()


async def under_the_next_request(peer: Peer) -> None:
    await answered(peer)
    await peer.head()


async def with_a_reset_under_the_next_request(peer: Peer) -> None:
    await answered(peer)
    await peer.head()
    peer.reset()


@pytest.mark.parametrize("callers", [1, 12])
@pytest.mark.parametrize(
    "play", [at_once, while_idle, under_the_next_request, with_a_reset_under_the_next_request], ids=lambda p: p.__name__
)
async def test_a_server_that_closes_connections_costs_no_call_and_no_wait(
    no_leaks: None, play: Any, callers: int, scripted: Start, client_of: Any
) -> None:
    server = await scripted(play)
    world, budget = World(200), RetryBudget(0.0, 0.0)
    client = client_of(server, timeout=None, middleware=[world.retry(budget=budget)])
    calls = iter(range(240))

    async def caller() -> None:
        for _ in calls:
            assert await text_of(client, stream=False) == "x"

    await asyncio.gather(*[caller() for _ in range(callers)])
    assert len(server.requests) == 240
    assert set(world.slept) <= {0.0}
    await client.aclose()


async def test_a_server_that_answers_no_more_is_not_asked_again_for_each_connection_that_was_kept(
    scripted: Start, client_of: Any
) -> None:
    """After a connection that was at fault a new one is tried, whatever others there are."""
    asked = asyncio.Event()

    async def play(peer: Peer) -> None:
        if not asked.is_set():
            await peer.request()
            # None of them before all have come, so that each has a connection of its own.
            await server.until(lambda: len(server.requests) == 10)
            await peer.send(answer(COMPLETION))
        await peer.head()

    server = await scripted(play)
    world = World(200)
    client = client_of(server, timeout=None, middleware=[world.retry(9, budget=RetryBudget(0.0, 0.0))])
    await asyncio.gather(*[text_of(client, stream=False) for _ in range(10)])
    asked.set()
    with pytest.raises(APIError, match=HANGS_UP) as caught:
        await text_of(client, stream=False)
    assert len(caught.value.attempts) == 2
    assert notes_of(caught.value)


async def test_the_number_of_the_attempt_is_seen_by_layers_logs_and_errors(
    scripted: Start, client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    async def layer(request: Request, call_next: Handler) -> Response:
        seen.append(request.attempt)
        return await call_next(request)

    world = World(200)
    server = await scripted(after(99, refusing(503)))
    client = client_of(server, timeout=None, middleware=[world.retry(2), layer])
    with caplog.at_level("INFO", "moonshot_async"), pytest.raises(APIError) as caught:
        await client.models.list()
    assert seen == [attempt.number for attempt in caught.value.attempts] == [1, 2, 3]
    assert all(f"attempt={number} " in line for number, line in zip(seen, caplog.messages, strict=True))


async def test_nothing_is_sent_twice_at_once(scripted: Start, client_of: Any) -> None:
    """No request is doubled because its answer is slow: the first one is waited for."""
    go_on = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await go_on.wait()
        await peer.send(answer(COMPLETION))

    server = await scripted(slow)
    call = asyncio.ensure_future(text_of(client_of(server), stream=False))
    await server.until(lambda: len(server.requests) == 1)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(server.peers) == 1
    go_on.set()
    assert await call == "x"
