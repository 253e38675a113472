"""What belongs to one event loop: a session with its connections, and the timer of its deadlines."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp

from moonshot_async.transports.aiohttp_body import call_in
from moonshot_async.transports.aiohttp_connector import Connector
from moonshot_async.transports.heads import HeadWait
from moonshot_async.transports.watch import Watch

# aiohttp's own clocks are off: they cost up to 37 µs a call, and round what is longer than 5 s.
_NO_CLOCKS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class LoopState:
    """What belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: dict[str, Any], read_buffer_bytes: int) -> None:
        self.loop = loop
        self.watch = Watch(loop)
        self.heads: dict[asyncio.Task[Any], HeadWait] = {}
        self.session = aiohttp.ClientSession(
            connector=Connector(self.heads, options),
            cookie_jar=aiohttp.DummyCookieJar(loop=loop),
            timeout=_NO_CLOCKS,
            read_bufsize=read_buffer_bytes,
            # Compressed events would wait in the compressor; and a bound on bytes should bound what was sent.
            headers={"Accept-Encoding": "identity"},
        )
        # aiohttp: it would send a GET again on its own; how often something is sent is for the retry middleware to say.
        self.session._retry_connection = False
        # `asyncio.run` finishes open generators before it closes its loop; a dropped one is finished by the loop.
        self._end = _closing(self.session, self.watch)
        try:
            self._end.__anext__().send(None)
        except StopIteration:
            pass

    async def aclose(self) -> None:
        """Close everything, in this loop."""
        await self._end.aclose()

    def __del__(self) -> None:
        # Dropped without being closed, by the last client or stream that used it.
        connector = self.session.connector
        if asyncio._get_running_loop() is not self.loop and call_in(self.loop, lambda: _cut(connector)):
            self.session.detach()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Close what can be closed without waiting, of a loop that is not the running one or is closed."""
        if not self.loop.is_closed():
            self.watch.close()
        _cut(self.session.connector)
        self.session.detach()


def _cut(connector: aiohttp.BaseConnector | None) -> None:
    if connector is not None:
        connector._close()  # aiohttp: the part of close() that does not wait


async def _closing(session: aiohttp.ClientSession, watch: Watch) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        watch.close()
        await session.close()
