"""A transport without a network: the server is an async function in this process."""

import time
from collections.abc import Awaitable, Callable

from moonshot_async.clocks import timeout_error
from moonshot_async.errors import APIConnectionError, APIError, Clock, StreamInterruptedError
from moonshot_async.transports import Transport, closed_error
from moonshot_async.wire import ByteStream, Request, Response


class MemoryTransport:
    """Hand each request to `app` and its response back.

    Faults are played by raising: `ConnectionError` (any `OSError`) from the app, or from the iterator of a body, is
    what a broken connection would be. Deadlines, and a `Content-Length` that is not met, are treated as over HTTP.

    Args:
        app: `async (Request) -> Response`; `moonshot_async.fake.FakeMoonshot` is one.
    """

    def __init__(self, app: Callable[[Request], Awaitable[Response]]) -> None:
        self._app = app
        self._closed = False

    async def send(self, request: Request) -> Response:
        if self._closed:
            raise closed_error(request)
        deadline, clock = _head_deadline(request)
        problem: APIError
        try:
            if deadline is None:
                response = await self._app(request)
            else:
                import anyio

                with anyio.fail_after(max(0.0, deadline - time.monotonic())):
                    response = await self._app(request)
        except TimeoutError:
            problem = timeout_error(request, clock, " before an answer came")
        except OSError as error:
            problem = APIConnectionError(
                message=f"Connection error: {str(error) or type(error).__name__}.", request=request
            )
        else:
            length = response.headers.get("content-length", "")
            expected = int(length) if length.isdecimal() else None
            return Response(response.status, response.headers, _Body(response.body, expected), request=request)
        raise problem

    async def aclose(self) -> None:
        self._closed = True


def _head_deadline(request: Request) -> tuple[float | None, Clock]:
    silence = request.timeout.read
    if silence is not None:
        due = time.monotonic() + silence
        if request.deadline is None or due < request.deadline:
            return due, "read"
    return request.deadline, "total"


class _Body:
    """The app's body, with the faults of a connection told as a connection tells them."""

    def __init__(self, body: ByteStream, expected: int | None) -> None:
        self._body = body
        self._missing = expected

    async def read(self, deadline: float | None = None) -> bytes:
        problem: APIError
        try:
            data = await self._body.read(deadline)
        except TimeoutError:
            raise
        except OSError as error:
            problem = StreamInterruptedError(message=f"The connection broke: {str(error) or type(error).__name__}.")
        else:
            if self._missing is None:
                return data
            self._missing -= len(data)
            if data or self._missing <= 0:
                return data
            problem = StreamInterruptedError(message=f"The connection ended {self._missing} bytes before the body did.")
        raise problem

    def close(self) -> None:
        self._body.close()


FITS: type[Transport] = MemoryTransport
