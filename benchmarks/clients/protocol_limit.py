"""About the least that Python can do: a protocol of its own on httptools, msgspec and uvloop. No client to be used.

No clock, no retry, no errors told apart, no proxy, one host.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httptools

from benchmarks.answers import Ask
from benchmarks.clients.raw_aiohttp import CutStreamError, decode_chunk, decode_completion, encode
from benchmarks.clients.registry import Take


class Exchange(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._transport: Any = None
        self.begin()

    def begin(self) -> None:
        """Forget the answer before."""
        self.parts: list[bytes] = []
        self.done = False
        self._waiter: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, data: bytes) -> None:
        """Send a request."""
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wake()

    def on_headers_complete(self) -> None:
        if (status := self._parser.get_status_code()) != 200:
            raise ConnectionError(f"status {status}")

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.done = True

    def close(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    async def more(self) -> bytes:
        """The parts of the body that have come since the last time; nothing at its end."""
        if not self.parts and not self.done:
            if self._transport.is_closing():
                raise CutStreamError
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = b"".join(self.parts)
        self.parts.clear()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ProtocolLimit:
    """See `benchmarks.clients.registry.Client`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: list[Exchange] = []
        head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        head += "Authorization: Bearer sk-benchmark\r\nContent-Type: application/json\r\nContent-Length: "
        self._head = head.encode()

    async def unary(self, ask: Ask) -> tuple[str, int]:
        async with self._exchange(ask) as exchange:
            body = await exchange.more()
            while not exchange.done:
                body += await exchange.more()
        completion = decode_completion(body)
        return completion.choices[0].message.content or "", completion.usage.prompt_tokens if completion.usage else 0

    async def stream(self, ask: Ask, take: Take) -> None:
        rest = b""
        async with self._exchange({**ask, "stream": True}) as exchange:
            while block := await exchange.more():
                *events, rest = (rest + block).split(b"\n\n")
                for event in events:
                    if event == b"data: [DONE]":
                        break
                    if text := decode_chunk(event[6:]).choices[0].delta.content:
                        take(text)
                else:
                    continue
                break
            else:
                raise CutStreamError
            while not exchange.done:
                await exchange.more()

    @contextlib.asynccontextmanager
    async def _exchange(self, ask: Ask) -> AsyncIterator[Exchange]:
        body = encode(ask)
        if self._idle:
            exchange = self._idle.pop()
            exchange.begin()
        else:
            loop = asyncio.get_running_loop()
            _, exchange = await loop.create_connection(Exchange, self._host, self._port, ssl=self._ssl)
        exchange.send(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        try:
            yield exchange
        except BaseException:
            exchange.close()
            raise
        self._idle.append(exchange)

    def close(self) -> None:
        """Cut the connections that nobody uses."""
        for exchange in self._idle:
            exchange.close()


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[ProtocolLimit]:
    """A client with as many connections as are needed."""
    client = ProtocolLimit(url)
    try:
        yield client
    finally:
        client.close()
