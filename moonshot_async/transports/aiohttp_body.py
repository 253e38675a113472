"""Bodies on their way: what is sent piece by piece, and what arrives."""

import asyncio
import copy
import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.payload import Payload

from moonshot_async.errors import APIError, ConfigurationError, ResponseTooLargeError
from moonshot_async.transports import cut_error, interrupted_error
from moonshot_async.transports.aiohttp_errors import describe
from moonshot_async.transports.aiohttp_protocol import readable
from moonshot_async.transports.heads import HeadWait
from moonshot_async.transports.other_loops import call_in
from moonshot_async.wire import Request, Upload, counted

if TYPE_CHECKING:
    from moonshot_async.transports.aiohttp_direct import Answer
    from moonshot_async.transports.aiohttp_loops import LoopState

# Larger bodies are written piece by piece, under the write clock.
_LARGE_BODY: Final = 64 * 1024
# In pieces as large as those of an upload: of a quarter of it, 1 MiB takes 0.15 ms more of 0.8.
_PIECE: Final = 256 * 1024
_ELSEWHERE: Final = (
    "This answer belongs to another event loop or process: read it where it was asked for, or ask for it again here."
)


class SentBody(Payload):
    """A body that is written piece by piece, each under the write clock; the read clock starts when all is out.

    Attributes:
        failure: what its pieces raised; the exception of aiohttp that comes of it tells of a broken connection.
    """

    # There is nothing that aiohttp would have to close.
    _autoclose = True

    def __init__(self, body: Upload, wait: HeadWait) -> None:
        super().__init__(body)
        self._size = body.length
        self._wait = wait
        self.failure: BaseException | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise NotImplementedError  # pragma: no cover - aiohttp wants it to be there, for others to call

    async def write(self, writer: Any) -> None:
        self._wait.start("write")
        async with aclosing(counted(self._value)) as pieces:
            while (piece := await self._next(pieces)) is not None:
                await _answers_first(writer)
                if self._wait.refused:
                    raise _RefusedError
                try:
                    await writer.write(piece)
                except OSError:
                    # What lay in the socket when it broke is heard first.
                    await _turn()
                    raise
                self._wait.start("write")
        self._wait.start("read")

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        await self.write(writer)

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        try:
            return await anext(pieces, None)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # Raised by the pieces themselves: nobody has cancelled this.
            if task is not None and not task.cancelling():
                self.failure = error
            raise
        except Exception as error:
            self.failure = error
            raise


class _RefusedError(Exception):
    """Ends the sending of a request whose answer has come already; never seen by anyone but aiohttp."""


async def _answers_first(writer: Any) -> None:
    """Let the event loop read what has arrived: writing to a peer that has hung up would lose it, over TLS for good."""
    transport = writer.transport
    if transport is not None and not transport.is_closing() and readable(transport):
        await _turn()


async def _turn() -> None:
    """Let the event loop look at its sockets once, and do what it found to do."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class _Memory:
    """Bytes as an upload."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    async def pieces(self) -> AsyncIterator[bytes]:
        view = memoryview(self._data)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]  # type: ignore[misc]  # a view, to copy nothing


def sent_body(request: Request, wait: HeadWait) -> SentBody | None:
    """The body of a request that is written piece by piece; None for a small one, which is sent as it is."""
    body = request.body
    if not isinstance(body, bytes):
        return SentBody(body, wait)
    if len(body) <= _LARGE_BODY:
        return None
    return SentBody(_Memory(body), wait)


class ArrivingBody:
    """The body of a response while aiohttp receives it."""

    __slots__ = ("_content", "_ended", "_late", "_raw", "_state", "_watch", "deadline")

    def __init__(self, raw: "aiohttp.ClientResponse | Answer", state: "LoopState") -> None:
        self._raw = raw
        self._content = state.reader_of(raw)
        # Held, so that a stream outlives a client that nobody holds any more.
        self._state = state
        self._watch = state.watch
        self._ended: APIError | TimeoutError | None = None
        self._late: float | None = None
        self.deadline: float | None = None

    async def read(self, deadline: float | None = None) -> bytes:
        if asyncio._get_running_loop() is not self._state.loop:
            raise ConfigurationError(_ELSEWHERE)
        if self._ended is not None:
            raise copy.copy(self._ended)
        content = self._content
        try:
            if content._exception is not None:
                raise content._exception
            while not content._buffer and not content._eof:
                waiter = content.waiter()
                self.deadline = deadline
                self._watch.add(self)
                try:
                    await waiter
                finally:
                    content._waiter = None
                    self._watch.remove(self)
            return content.take()
        except _ExpiredError:
            self._ended = TimeoutError()
        except ResponseTooLargeError as error:
            self._ended = copy.copy(error)
        except _ClosedError:
            self._ended = cut_error()
        except Exception as error:  # noqa: BLE001  # whatever aiohttp raises is told in our words
            self._ended = cut_error() if self._watch.closed else interrupted_error(describe(error))
        # What arrived before a fault is still good.
        if rest := content.take():
            return rest
        raise copy.copy(self._ended)

    def close(self) -> None:
        loop = self._state.loop
        if loop is None:
            _forget(self._raw)
        elif asyncio._get_running_loop() is loop:
            self._raw.close()
        else:
            # Dropped in another thread, by the garbage collector for instance.
            call_in(loop, functools.partial(_close, self._raw))

    def expire(self) -> None:
        # A loop that was held up sees bytes and timer in the same turn. The bytes win, unless they did so before and
        # the deadline has not moved since: a flood shall not outrun the deadline of the call.
        if self._content._buffer and self._late != self.deadline:
            self._late = self.deadline
        else:
            self._content.set_exception(_ExpiredError())

    def fail(self) -> None:
        self._content.set_exception(_ClosedError())


def _close(raw: "aiohttp.ClientResponse | Answer") -> None:
    if raw._loop.is_closed():
        _forget(raw)
    else:
        raw.close()


def _forget(raw: "aiohttp.ClientResponse | Answer") -> None:
    """Keep aiohttp from complaining of what nobody closed: its loop has ended, or is that of the parent process."""
    if connection := raw.connection:
        connection.close()
    raw._closed = True


class _ExpiredError(Exception):
    """Put into a body's reader when its deadline has passed."""


class _ClosedError(Exception):
    """Put into a body's reader when the transport is closed under it."""
