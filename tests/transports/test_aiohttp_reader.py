"""Bodies are read whole and in time, also where the readers of aiohttp are made otherwise inside."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from moonshot_async.errors import APIConnectionError
from moonshot_async.transports import AiohttpTransport
from moonshot_async.transports.aiohttp_reader import Reader
from moonshot_async.wire import Request
from tests.scripted import LAST_CHUNK, SSE_HEAD, Peer, Start, answer, chunk

INNER = ["_buffer", "_size", "_waiter", "_eof", "_exception", "_http_chunk_splits", "_protocol", "_loop"]


@pytest.fixture(params=[None, *INNER])
async def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AiohttpTransport]:
    """One over an aiohttp of whose readers an inner name is missing, or none."""
    if request.param is not None:
        # It can be neither read nor set.
        monkeypatch.setattr(Reader, request.param, property())
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


def asking(url: str) -> Request:
    return Request("POST", url, [("Content-Type", "application/json")], b"1")


async def test_bodies_of_all_kinds_come_whole(scripted: Start, transport: AiohttpTransport) -> None:
    large = b"".join(b"%07d " % number for number in range(100_000))

    async def giving(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"[1]"))
        await peer.request()
        await peer.send(b"HTTP/1.1 204 None\r\n\r\n")
        await peer.request()
        await peer.send(answer(large))
        await peer.request()
        await peer.send(SSE_HEAD, *[chunk(large[start : start + 9]) for start in range(0, 90_000, 9)], LAST_CHUNK)
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", large)

    server = await scripted(giving)
    for expected in (b"[1]", b"", large, large[:90_000], large):
        assert await (await transport.send(asking(server.url))).read() == expected
    assert len(server.peers) == 1


async def test_the_rest_comes_too_where_the_reader_was_full_when_the_head_was_read(scripted: Start) -> None:
    taken = asyncio.Event()

    async def halting(peer: Peer) -> None:
        for many in range(10, 25):
            await peer.request()
            await peer.send(SSE_HEAD + chunk(b"x") * many)
            await taken.wait()
            taken.clear()
            await peer.send(chunk(b"y") * 3 + LAST_CHUNK)

    server = await scripted(halting)
    # aiohttp: a reader of so many bytes is full with 16 pieces, too.
    transport = AiohttpTransport(read_buffer_bytes=256)
    for many in range(10, 25):
        body = (await transport.send(asking(server.url))).body
        text = b""
        while len(text) < many:
            text += await body.read()
        taken.set()
        async with asyncio.timeout(5):
            while piece := await body.read():
                text += piece
        assert text == b"x" * many + b"yyy"
    await transport.aclose()


async def test_pieces_come_when_they_are_sent(no_leaks: None, scripted: Start, transport: AiohttpTransport) -> None:
    taken = asyncio.Event()

    async def halting(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD, chunk(b"one"))
        await taken.wait()
        await peer.send(chunk(b"two"))
        await peer.gone()

    server = await scripted(halting)
    body = (await transport.send(asking(server.url))).body
    assert await body.read() == b"one"
    taken.set()
    assert await body.read() == b"two"
    with pytest.raises(TimeoutError):
        await body.read(time.monotonic() + 0.01)
    with pytest.raises(TimeoutError):
        await body.read()
    body.close()
    await transport.aclose()


async def test_a_body_that_breaks_off_is_an_error(scripted: Start, transport: AiohttpTransport) -> None:
    async def cutting(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD, chunk(b"one"))

    server = await scripted(cutting)
    response = await transport.send(asking(server.url))
    with pytest.raises(APIConnectionError):
        await response.read()
    with pytest.raises(APIConnectionError):
        await response.body.read()


async def test_who_stops_waiting_can_read_on_and_who_closes_cannot(
    no_leaks: None, scripted: Start, transport: AiohttpTransport
) -> None:
    asked = asyncio.Event()

    async def halting(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        await asked.wait()
        await peer.send(chunk(b"one"))
        await peer.gone()

    server = await scripted(halting)
    body = (await transport.send(asking(server.url))).body
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await body.read()
    asked.set()
    assert await body.read() == b"one"
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    await transport.aclose()
    with pytest.raises(APIConnectionError):
        await reading
    body.close()
