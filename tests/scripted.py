"""A server that says exactly what a test tells it to, byte for byte, over a loopback socket."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# A request, and the JSON of what may answer it.
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
DELTA = b'{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"x"},"finish_reason":null}]}'
FINISH = b'{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
COMPLETION = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'


def answer(body: bytes, *, status: bytes = b"200 OK", headers: bytes = b"Content-Type: application/json\r\n") -> bytes:
    """A whole answer with a Content-Length."""
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def events(*datas: bytes) -> bytes:
    """Server-sent events with these data."""
    return b"".join(b"data: %s\n\n" % data for data in datas)


class Peer:
    """One connection, seen from the server.

    Attributes:
        number: 1 for the first connection of the server.
        received: the requests read from it: head and body.
    """

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: asyncio.Event
    ) -> None:
        self.number = number
        self.received: list[tuple[bytes, bytes]] = []
        self._changed = changed
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        """Read the head of the next request; its body stays unread."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read the next request and return its body."""
        head = await self.head()
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        body = await self._reader.readexactly(length)
        self.received.append((head, body))
        self._changed.set()
        return body

    async def more(self, size: int) -> bytes:
        """Read so many bytes, whatever they are."""
        return await self._reader.readexactly(size)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def drip(self, data: bytes, *, every: float, size: int = 1) -> None:
        """Send a few bytes at a time, until there are none left or nobody takes them."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(every)

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while await self._reader.read(65536):
            pass

    def stop_reading(self) -> None:
        """Let the client's bytes pile up in the kernel."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as a WriteTransport

    def end(self) -> None:
        """Close the sending side, as an orderly server does."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Play = Callable[[Peer], Awaitable[None]]


async def silent(peer: Peer) -> None:
    """Take a request, and say nothing."""
    await peer.request()
    await peer.gone()


async def endless(peer: Peer) -> None:
    """Begin a stream, and say no more."""
    await peer.request()
    await peer.send(SSE_HEAD + chunk(events(DELTA)))
    await peer.gone()


class ScriptedServer:
    """Plays `play` on every connection, over TLS where it is given, and closes the connection when it returns.

    Attributes:
        peers: every connection so far, in order.
        open: how many of them are open now.
        failures: what went wrong in the script itself; raised at the end.
    """

    def __init__(self, play: Play, tls: ssl.SSLContext | None = None) -> None:
        self.play = play
        self.tls = tls
        self.peers: list[Peer] = []
        self.open = 0
        self.failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.url = ""

    @property
    def requests(self) -> list[tuple[bytes, bytes]]:
        """Head and body of every request read."""
        return [request for peer in self.peers for request in peer.received]

    async def until(self, fact: Callable[[], bool], *, seconds: float = 5.0) -> None:
        """Wait until something is true of the connections; looked at whenever one opens, closes or has read."""
        async with asyncio.timeout(seconds):
            while not fact():
                self._changed.clear()
                await self._changed.wait()

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=1024, ssl=self.tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if self.failures and error is None:
            raise self.failures[0]

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(self.peers) + 1, reader, writer, self._changed)
        self.peers.append(peer)
        self.open += 1
        self._changed.set()
        task = asyncio.ensure_future(self._run(peer, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, peer: Peer, writer: asyncio.StreamWriter) -> None:
        try:
            await self.play(peer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client went away.
        except Exception as error:  # noqa: BLE001  # told by __aexit__
            self.failures.append(error)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass
            self.open -= 1
            self._changed.set()


# What the fixture `scripted` gives.
Start = Callable[[Play], Awaitable[ScriptedServer]]
