"""What belongs to one event loop: a session with its connections, and the timer of its deadlines."""

import asyncio
import functools
import socket
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import aiohttp

from moonshot_async.bounds import Bounds
from moonshot_async.transports.aiohttp_connector import Connector
from moonshot_async.transports.aiohttp_direct import NO_CLOCKS, Direct
from moonshot_async.transports.aiohttp_reader import Reader, fits, public_reader_of, reader_of
from moonshot_async.transports.forks import after_fork, lead_nowhere
from moonshot_async.transports.heads import HeadWait
from moonshot_async.transports.other_loops import call_in
from moonshot_async.transports.watch import Watch


class LoopState:
    """What belongs to one event loop.

    Attributes:
        loop: the event loop; None in a child that was forked since, where all of this is the parent's.
        reader_of: what reads the body of an answer.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: dict[str, Any], read_buffer_bytes: int, bounds: Bounds
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.watch = Watch(loop)
        self.heads: dict[asyncio.Task[Any], HeadWait] = {}
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._connector = Connector(
            self.heads, {**options, "socket_factory": functools.partial(_socket, self._sockets)}, bounds
        )
        self.session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(loop=loop),
            timeout=NO_CLOCKS,
            read_bufsize=read_buffer_bytes,
            # Compressed events would wait in the compressor; and a bound on bytes should bound what was sent.
            headers={"Accept-Encoding": "identity"},
        )
        self.direct = Direct(loop, self.session, self._connector, read_buffer_bytes)
        # The public one has the same methods.
        self.reader_of: Callable[[Any], Reader] = reader_of if fits(loop) else public_reader_of
        # aiohttp: it would send a GET again on its own; how often something is sent is for the retry middleware to say.
        self.session._retry_connection = False
        # `asyncio.run` finishes open generators before it closes its loop.
        self._end = _closing(self.session, self.watch)
        _step(self._end.__anext__())
        after_fork(self)
        # What lives until the end of the program, which takes things apart in an order of its own.
        weakref.finalize(self, _take_along, loop, self._connector)

    async def aclose(self) -> None:
        """Close everything, in this loop."""
        await self._end.aclose()

    def abandon(self) -> None:
        """End what runs, and close what can be closed without waiting: in the loop, or while it does not run."""
        loop = self.loop
        if loop is None:
            return
        # Another thread may close its loop at any moment.
        with suppress(RuntimeError):
            if not loop.is_closed():
                self.watch.close()
        self._detach()
        self._connector.let_go()

    def disown(self) -> None:
        """Leave everything to the parent, in a child that was just forked."""
        self.loop = None
        lead_nowhere(self._sockets)
        # aiohttp: nothing of it is closed, nor complained of.
        self._connector._closed = True

    def __del__(self) -> None:
        # Dropped without being closed, by the last client or stream that used it.
        loop = self.loop
        self._detach()
        if loop is None or asyncio._get_running_loop() is loop:
            self._connector.let_go()
        else:
            call_in(loop, self._connector.let_go)

    def _detach(self) -> None:
        """Finish what would be finished by the loop later, when that may be closed."""
        self.session.detach()
        _step(self._end.aclose())


def _take_along(loop: asyncio.AbstractEventLoop, connector: Connector) -> None:
    """Close what a loop left open that is closed itself."""
    if loop.is_closed():
        connector.let_go()


def _socket(opened: "weakref.WeakSet[socket.socket]", address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    result = socket.socket(family, kind, protocol)
    opened.add(result)
    return result


def _step(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what does not wait."""
    # It is finished already, or its loop is doing so just now.
    with suppress(StopIteration, RuntimeError):
        coroutine.send(None)


async def _closing(session: aiohttp.ClientSession, watch: Watch) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if not session.closed:
            watch.close()
            await session.close()
