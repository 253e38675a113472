"""Servers and networks that do their worst, over real sockets: every call ends in time, with an error of ours."""

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    StreamInterruptedError,
)
from tests.conftest import open_sockets
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Start,
    answer,
    chunk,
    endless,
    events,
)
from tests.stalls import Stalls

pytestmark = pytest.mark.usefixtures("no_leaks")


async def streaming(peer: Peer) -> None:
    """Answer every request of a connection with the same whole stream."""
    while True:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")))
        # The end of the body comes later than the end of the answer.
        await asyncio.sleep(0.001)
        await peer.send(LAST_CHUNK)


# --- connections


async def test_a_hundred_streams_read_to_their_end_share_one_connection(scripted: Start, client_of: Any) -> None:
    server = await scripted(streaming)
    client = client_of(server)
    for _ in range(100):
        stream = await client.chat.completions.create(**ASK, stream=True)
        assert len([chunk async for chunk in stream]) == 2
    assert len(server.peers) == 1
    assert len(server.requests) == 100


async def test_a_hundred_streams_of_events_share_one_connection(scripted: Start, client_of: Any) -> None:
    server = await scripted(streaming)
    client = client_of(server)
    for _ in range(100):
        async with client.chat.completions.stream(**ASK) as stream:
            assert (await stream.get_final_completion()).choices[0].message.content == "x"
    assert len(server.peers) == 1


async def test_errors_of_status_give_their_connection_back(scripted: Start, client_of: Any) -> None:
    async def refuse(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b'{"error":{"type":"invalid_request_error","message":"no"}}', status=b"400 No"))

    server = await scripted(refuse)
    client = client_of(server)
    for _ in range(20):
        with pytest.raises(APIError):
            await client.chat.completions.create(**ASK, stream=True)
    assert len(server.peers) == 1


async def test_a_socket_kept_open_after_done_holds_the_caller_only_briefly(
    scripted: Start, client_of: Any, stalls: Stalls
) -> None:
    async def keep_open(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")))
        await peer.gone()

    server = await scripted(keep_open)
    client = client_of(server)
    for _ in range(2):
        stream = await client.chat.completions.create(**ASK, stream=True)
        started = time.monotonic()
        assert len([chunk async for chunk in stream]) == 2
        assert stalls.late(started) < 0.25
    assert len(server.peers) == 2
    await server.until(lambda: server.open == 0, seconds=1)


async def test_a_server_that_talks_on_after_done_is_left(scripted: Start, client_of: Any, stalls: Stalls) -> None:
    async def talk_on(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")))
        while True:
            await peer.send(chunk(b": and another thing\n" * 1000))

    server = await scripted(talk_on)
    stream = await client_of(server).chat.completions.create(**ASK, stream=True)
    started = time.monotonic()
    assert len([chunk async for chunk in stream]) == 2
    assert stalls.late(started) < 0.25
    await server.until(lambda: server.open == 0, seconds=1)


async def test_a_trailer_and_bytes_after_done_do_not_cost_the_connection(scripted: Start, client_of: Any) -> None:
    async def talk_on(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]", b"{]", b'{"error":"late"}')))
            await peer.send(b"0\r\nX-Trailer: 1\r\n\r\n")

    server = await scripted(talk_on)
    client = client_of(server)
    for _ in range(3):
        stream = await client.chat.completions.create(**ASK, stream=True)
        assert len([chunk async for chunk in stream]) == 2
    assert len(server.peers) == 1


UNASKED = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
    b"HTTP/1.1 2",
    b"HTTP/1.1 200 OK\r\nSec-WebSocket-Key1: 1\r\nX",
    b"\0",
    b"",
]


@pytest.mark.parametrize("when", ["with the answer", "later, unseen", "later, seen"])
@pytest.mark.parametrize("unasked", UNASKED)
async def test_a_connection_on_which_something_came_unasked_is_not_used_again(
    scripted: Start, client_of: Any, unasked: bytes, when: str
) -> None:
    answered, spoilt = asyncio.Event(), asyncio.Event()

    async def spoil(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            together = when == "with the answer" and unasked != b"\0"
            await peer.send(answer(COMPLETION) + (unasked if together else b""))
            await answered.wait()
            await peer.send(b"" if together else unasked)
            if not unasked:
                peer.end()
            spoilt.set()
        else:
            await peer.send(answer(COMPLETION))
        await peer.gone()

    server = await scripted(spoil)
    client = client_of(server, max_retries=0)
    await client.chat.completions.create(**ASK)
    answered.set()
    await spoilt.wait()
    if when == "later, seen":
        await asyncio.sleep(0.02)
    assert (await client.chat.completions.create(**ASK)).choices[0].message.content == "x"
    assert len(server.peers) == 2
    await server.until(lambda: server.open == 1)


# --- streams that nobody reads to their end


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Whatever must be let go of is let go of without a garbage collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def leave_by_break(client: AsyncMoonshot) -> None:
    stream = await client.chat.completions.create(**ASK, stream=True)
    async for _ in stream:
        break


async def leave_unread(client: AsyncMoonshot) -> None:
    await client.chat.completions.create(**ASK, stream=True)


async def leave_after_anext(client: AsyncMoonshot) -> None:
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)


async def leave_context(client: AsyncMoonshot) -> None:
    async with await client.chat.completions.create(**ASK, stream=True) as stream:
        async for _ in stream:
            break


async def leave_aclosing(client: AsyncMoonshot) -> None:
    async with aclosing(await client.chat.completions.create(**ASK, stream=True)) as stream:
        await anext(stream)


async def leave_by_exception(client: AsyncMoonshot) -> None:
    try:
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            raise KeyError("consumer")
    except KeyError:
        pass


async def leave_events(client: AsyncMoonshot) -> None:
    async with client.chat.completions.stream(**ASK) as stream:
        async for _ in stream:
            break


LEAVERS = [leave_by_break, leave_unread, leave_after_anext, leave_context, leave_aclosing, leave_by_exception]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("leave", [*LEAVERS, leave_events])
async def test_an_abandoned_stream_lets_go_of_its_connection(
    scripted: Start, client_of: Any, leave: Callable[[AsyncMoonshot], Awaitable[None]]
) -> None:
    server = await scripted(endless)
    client, sockets = client_of(server), open_sockets()
    times = 1000 if leave is leave_by_break else 30
    for _ in range(times):
        await leave(client)
    await server.until(lambda: server.open == 0, seconds=1)
    assert len(server.peers) == times
    assert open_sockets() <= sockets
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("where", ["reading", "elsewhere"])
async def test_cancelled_consumers_let_go_of_their_connections_while_their_exceptions_live_on(
    scripted: Start, client_of: Any, where: str
) -> None:
    server = await scripted(endless)
    client, sockets = client_of(server), open_sockets()
    held: list[BaseException] = []

    async def consume(reading: asyncio.Event) -> None:
        stream = await client.chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            reading.set()
            if where == "elsewhere":
                await asyncio.sleep(60)

    async def abandon() -> None:
        reading = asyncio.Event()
        task = asyncio.create_task(consume(reading))
        await reading.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            held.append(error)

    for _ in range(25):
        await asyncio.gather(*(abandon() for _ in range(20)))
    await server.until(lambda: server.open == 0, seconds=1)
    assert len(held) == 500
    assert open_sockets() <= sockets
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_dropped_in_another_thread_lets_go_of_its_connection(scripted: Start, client_of: Any) -> None:
    server = await scripted(endless)
    client = client_of(server)
    held = [await client.chat.completions.create(**ASK, stream=True)]
    await asyncio.to_thread(held.clear)
    await server.until(lambda: server.open == 0, seconds=1)


# --- answers that break off, over sockets


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_is_told_with_the_systems_reason(client_of: Any, stream: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        client = client_of(url, max_retries=0)
        with pytest.raises(APIConnectionError, match=r"no connection to 127\.0\.0\.1") as caught:
            await client.chat.completions.create(**ASK, stream=stream)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert type(caught.value.__cause__).__module__ == "builtins"
    assert caught.value.retryable


async def test_nothing_is_sent_again_behind_our_back(scripted: Start, client_of: Any) -> None:
    async def once_then_cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b'{"data": []}'))
        await peer.request()

    server = await scripted(once_then_cut)
    client = client_of(server, max_retries=0)
    await client.models.list()
    with pytest.raises(APIConnectionError, match="closed the connection without an answer"):
        await client.models.list()
    assert len(server.requests) == 2


async def test_a_large_body_is_handed_out_whole_although_the_peer_left_long_ago(
    scripted: Start, client_of: Any
) -> None:
    body = b'"%s"' % (b"0123456789" * 300_000)

    async def send_and_leave(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(body))

    server = await scripted(send_and_leave)
    client = client_of(server)
    request = client._pipeline.request("GET", "/big")
    response = await client._pipeline.open(request)
    await asyncio.sleep(0.1)
    assert await response.read() == body


async def test_an_early_refusal_of_a_large_upload_arrives(scripted: Start, client_of: Any) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            answer(b'{"error":{"message":"too large"}}', status=b"413 No", headers=b"Connection: close\r\n")
        )
        await peer.gone()

    client = client_of(await scripted(refuse), max_retries=0)
    with pytest.raises(APIError) as caught:
        await client.request("POST", "/files", body=b"x" * 5_000_000)
    assert "413" in str(caught.value)


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_a_stream_cut_by_the_network_hands_out_its_deltas_first(
    scripted: Start, client_of: Any, end: str
) -> None:
    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, DELTA)) + b"100\r\ndata: {")
        await asyncio.sleep(0.02)
        if end == "reset":
            peer.reset()

    client = client_of(await scripted(cut))
    stream = await client.chat.completions.create(**ASK, stream=True)
    seen = 0
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in stream:
            seen += 1
    assert seen == 2
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "xx"
