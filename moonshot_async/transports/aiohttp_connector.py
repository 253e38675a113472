"""The pool of connections: one that tells the clocks apart, gives out none on which something lies unread, and cuts."""

import asyncio
import contextlib
import functools
import ssl
from typing import Any

import aiohttp

from moonshot_async.bounds import Bounds
from moonshot_async.transports.aiohttp_names import Resolver
from moonshot_async.transports.aiohttp_protocol import Protocol
from moonshot_async.transports.heads import HeadWait
from moonshot_async.transports.tls import is_strict, strict


class Connector(aiohttp.TCPConnector):
    """aiohttp's own, with a hand in six of its seams.

    Args:
        heads: the calls that wait for an answer, by their tasks.
        options: for aiohttp.
        bounds: how much a server may send.
    """

    def __init__(self, heads: "dict[asyncio.Task[Any], HeadWait]", options: dict[str, Any], bounds: Bounds) -> None:
        super().__init__(resolver=Resolver(), **options)
        self._heads = heads
        self._factory: Any = functools.partial(Protocol, loop=self._loop, bounds=bounds)

    async def idle(self, key: Any) -> Any:
        """A connection that was kept alive, or None."""
        return await self._get(key, [])

    # The methods below are aiohttp's own seams: three called by connect(), two at the end of a connection.

    async def _get(self, key: Any, traces: Any) -> Any:
        wait = self._current()
        if (earlier := wait.request.earlier) and earlier[-1].disconnected:
            # Who closed one idle connection may be about to close the others.
            return None
        while (connection := await super()._get(key, traces)) is not None:
            if not _spoilt(connection.protocol):
                wait.reused = True
                break
            # Bytes that arrived while nobody had asked anything must not become the next answer.
            connection.close()
        return connection

    async def _wait_for_available_connection(self, key: Any, traces: Any) -> None:
        wait = self._current()
        wait.start("pool")
        try:
            await super()._wait_for_available_connection(key, traces)
        except BaseException:
            # aiohttp: a place that was given to it in the turn in which it was cancelled would be nobody's.
            self._release_waiter()
            raise
        wait.start("read")

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        wait = self._current()
        wait.start("connect")
        protocol = await super()._create_connection(req, traces, timeout)
        wait.start("read")
        return protocol

    def _get_ssl_context(self, req: Any) -> ssl.SSLContext | None:
        context: ssl.SSLContext | None = super()._get_ssl_context(req)
        return strict() if context is not None and self._ssl is True and not is_strict(context) else context

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if self._closed or self._loop.is_closed():
            return
        should_close = should_close or protocol.should_close
        if should_close:
            # Closing would first send what is left to a peer that may never read it, and wait for TLS's farewell.
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)
        protocol.idle = not should_close

    def _close(self, *, abort_ssl: bool = False) -> Any:
        if not self._loop.is_closed():
            for protocol in self._acquired:
                protocol.abort()
        return super()._close(abort_ssl=abort_ssl)

    def let_go(self) -> None:
        """Close what can be closed without waiting; of a loop that is closed already, too."""
        if self._closed:
            return
        idle = [protocol for connections in self._conns.values() for protocol, _ in connections]
        transports = [protocol.transport for protocol in (*self._acquired, *idle)]
        # Another thread may close its loop at any moment.
        with contextlib.suppress(RuntimeError):
            self._close(abort_ssl=True)
        if self._loop.is_closed():
            for transport in transports:
                _drop(transport)

    def __del__(self, _warnings: Any = None) -> None:
        # A loop that is closed forgets what it was still to do.
        self.let_go()

    def _current(self) -> HeadWait:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        return self._heads[task]


def _spoilt(protocol: Any) -> bool:
    """Whether anything came over a connection while it was idle: a whole message, the beginning of one, or its end."""
    if protocol.should_close or protocol.unread():
        return True
    # aiohttp: a parser that is told of the end gives the message that has begun. The next call gets a new parser.
    try:
        return protocol._parser.feed_eof() is not None
    except Exception:  # noqa: BLE001  # something has begun that is no message
        return True


def _drop(transport: Any) -> None:
    """Close a connection whose loop is closed, which asyncio would complain of."""
    # asyncio: what lies below TLS, and its socket. uvloop has none, and closes connections with the loop.
    lowest = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
    if (sock := getattr(lowest, "_sock", None)) is not None:
        with contextlib.suppress(RuntimeError):
            transport.abort()
        lowest._sock = None
        sock.close()
