"""A transport without a network: the server is an async function in this process."""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from moonshot_async.clocks import deadline_of, timeout_error
from moonshot_async.drain import call_in
from moonshot_async.errors import APIConnectionError, APIError, Clock
from moonshot_async.transports import SENDING, WAITING, Transport, closed_error, cut_error, interrupted_error
from moonshot_async.wire import ByteStream, PieceStream, Request, Response, Upload, counted

T = TypeVar("T")

# How much later than its deadline a body is stopped that does not keep to it, in seconds.
_GRACE: Final = 0.05


class MemoryTransport:
    """Hand each request to `app` and its response back. The app gets the bytes of an `Upload`, all at once.

    Faults are played by raising: `ConnectionError` (any `OSError`) from the app, or from the iterator of a body, is
    what a broken connection would be. Deadlines, and a `Content-Length` that is not met, are treated as over HTTP.

    Args:
        app: `async (Request) -> Response`; `moonshot_async.fake.FakeMoonshot` is one.
    """

    def __init__(self, app: Callable[[Request], Awaitable[Response]]) -> None:
        self._app = app
        self._waits = _Waits()

    async def send(self, request: Request) -> Response:
        waits = self._waits
        if waits.closed:
            raise closed_error(request)
        problem: APIError
        if request.deadline is not None and request.deadline <= time.monotonic():
            raise timeout_error(request, "total", " before the request was sent")
        received = request if isinstance(request.body, bytes) else await self._received(request, request.body)
        deadline, clock = deadline_of(request, "read")
        try:
            response = await waits.until(deadline, self._app(received))
        except TimeoutError:
            problem = closed_error(request) if waits.closed else timeout_error(request, clock, WAITING)
        except OSError as error:
            problem = APIConnectionError(
                message=f"Connection error: {str(error) or type(error).__name__}.", request=request
            )
        else:
            length = response.headers.get("content-length", "")
            expected = int(length) if length.isdecimal() else None
            return Response(response.status, response.headers, _Body(response.body, expected, waits), request=request)
        try:
            raise problem
        finally:
            # An exception that a local of its own traceback holds keeps the request until a garbage collection.
            del problem

    async def _received(self, request: Request, upload: Upload) -> Request:
        """The request as the app gets it."""
        content: list[bytes] = []
        late: Clock | None = None
        async with aclosing(counted(upload)) as pieces:
            while late is None:
                deadline, clock = deadline_of(request, "write")
                try:
                    piece = await self._waits.until(deadline, anext(pieces, None))
                except TimeoutError:
                    late = clock
                else:
                    if piece is None:
                        return request.replace(body=b"".join(content))
                    content.append(piece)
        # Out here, so that the exception above is not its context.
        raise closed_error(request) if self._waits.closed else timeout_error(request, late, SENDING)

    async def aclose(self) -> None:
        """End the calls and the reads that wait; they, and all later ones, raise `APIConnectionError`."""
        self._waits.close()


class _Waits:
    """What waits for the app, so that closing the transport can end it."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}

    async def until(self, deadline: float | None, waiting: Awaitable[T]) -> T:
        """Await `waiting`.

        Raises:
            TimeoutError: the deadline (`time.monotonic`) passed, or the transport was closed.
        """
        # Not a scope of anyio, which takes three times as long, and 25 ms to import.
        wait = asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic()))
        self._waiting[wait] = asyncio.get_running_loop()
        try:
            async with wait:
                return await waiting
        finally:
            del self._waiting[wait]

    def close(self) -> None:
        self.closed = True
        here = asyncio._get_running_loop()
        for wait, loop in self._waiting.copy().items():
            if loop is here:
                self._end(wait)
            else:
                call_in(loop, self._end, wait)

    def _end(self, wait: asyncio.Timeout) -> None:
        # It may be over by now, in another thread, or be ending.
        if wait in self._waiting and not wait.expired():
            wait.reschedule(0.0)


class _Body:
    """The app's body, with the faults of a connection told as a connection tells them."""

    def __init__(self, body: ByteStream, expected: int | None, waits: _Waits) -> None:
        self._body = body
        self._missing = expected
        self._waits = waits
        self._ended: APIError | TimeoutError | None = None

    async def read(self, deadline: float | None = None) -> bytes:
        if self._ended is None:
            data = await self._read(deadline)
            if self._ended is None:
                return data
        # A copy: the traceback of the one that is raised leads to this object.
        raise copy.copy(self._ended)

    async def _read(self, deadline: float | None) -> bytes:
        """Read, and take note of what went wrong."""
        data = b""
        try:
            # What lies in memory never waits.
            if isinstance(self._body, PieceStream):
                data = await self._body.read(deadline)
            elif not self._waits.closed:
                late = None if deadline is None else deadline + _GRACE
                data = await self._waits.until(late, self._body.read(deadline))
        except TimeoutError:
            self._ended = TimeoutError()
        except OSError as error:
            self._ended = interrupted_error(str(error) or type(error).__name__)
        if self._waits.closed:
            self._ended = cut_error()
        elif self._missing is not None and self._ended is None:
            self._missing -= len(data)
            if not data and self._missing > 0:
                self._ended = interrupted_error(f"the connection ended {self._missing} bytes before the body did")
        return data

    def close(self) -> None:
        self._ended = self._ended or interrupted_error("it was closed")
        self._body.close()


FITS: type[Transport] = MemoryTransport
