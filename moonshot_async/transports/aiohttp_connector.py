"""The pool of connections: one that tells the clocks apart, gives out none on which something lies unread, and cuts."""

import asyncio
import functools
import select
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from moonshot_async.transports.heads import HeadWait

# Windows has none, and finds out later what lies in a socket.
_POLL: Final = getattr(select, "poll", None)
_LAST_WORDS: Final = 64 * 1024


class Connector(aiohttp.TCPConnector):
    """aiohttp's own, with a hand in six of its seams.

    Args:
        heads: the calls that wait for an answer, by their tasks.
        options: for aiohttp.
    """

    def __init__(self, heads: "dict[asyncio.Task[Any], HeadWait]", options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._heads = heads
        self._factory: Any = functools.partial(_Protocol, loop=self._loop)

    # The methods below are aiohttp's own seams: three called by connect(), two at the end of a connection.

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if not _spoilt(connection.protocol):
                break
            # Bytes that arrived while nobody had asked anything must not become the next answer.
            connection.close()
        return connection

    async def _wait_for_available_connection(self, key: Any, traces: Any) -> None:
        wait = self._current()
        wait.start("pool")
        await super()._wait_for_available_connection(key, traces)
        wait.start("read")

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        wait = self._current()
        wait.start("connect")
        protocol = await super()._create_connection(req, traces, timeout)
        wait.start("read")
        return protocol

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if self._loop.is_closed():
            return
        should_close = should_close or protocol.should_close
        if should_close:
            # Closing would first send what is left to a peer that may never read it, and wait for TLS's farewell.
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)

    def _close(self, *, abort_ssl: bool = False) -> Any:
        for protocol in self._acquired:
            protocol.abort()
        return super()._close(abort_ssl=abort_ssl)

    def _current(self) -> HeadWait:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        return self._heads[task]


class _Protocol(ResponseHandler):
    """A connection whose last words are heard."""

    def connection_lost(self, exc: BaseException | None) -> None:
        # A server that refuses an upload hangs up on what it did not read. Where the next write noticed that first, the
        # event loop gives the connection up with the answer still in the socket.
        if isinstance(exc, OSError) and self._parser is not None:
            self._hear_out()
        super().connection_lost(exc)

    def _hear_out(self) -> None:
        transport = self.transport
        if transport is None or transport.get_extra_info("sslcontext") is not None:
            return
        try:
            with transport.get_extra_info("socket").dup() as last:
                last.setblocking(False)
                while data := last.recv(_LAST_WORDS):
                    self.data_received(data)
        except OSError:
            pass  # That was all.


def readable(transport: Any) -> bool:
    """Whether something lies in the socket of a transport that the event loop has not read yet: bytes, or an end."""
    if _POLL is None:
        return False
    poll = _POLL()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _spoilt(protocol: Any) -> bool:
    """Whether anything came over a connection while it was idle: a whole message, the beginning of one, or its end."""
    if protocol.should_close or readable(protocol.transport):
        return True
    # aiohttp: a parser that is told of the end gives the message that has begun. The next call gets a new parser.
    try:
        return protocol._parser.feed_eof() is not None
    except Exception:  # noqa: BLE001  # something has begun that is no message
        return True
