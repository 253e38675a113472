"""The way of a request between a pipeline and its transport: through the middleware, and back as an answer or an error.

Errors are born below the chain: a response that travels up is good (below 300) and open; everything else is already a
typed exception whose body was read, within bounds, and closed.
"""

import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds
from moonshot_async.clocks import BodyClocks, timeout_error
from moonshot_async.errors import APIStatusError, APITimeoutError, MoonshotError
from moonshot_async.lifecycle import Life
from moonshot_async.middleware import Handler, Middleware
from moonshot_async.middleware.retry import FAILED_SO_FAR, FailedSoFar
from moonshot_async.status_errors import status_error, with_attempts
from moonshot_async.transports import Transport
from moonshot_async.wire import Request, Response

# The status of an error says enough: its body is not waited for any longer, in seconds.
_ERROR_BODY_SECONDS: Final = 5.0
# How much later than the deadline a foreign layer is stopped, in seconds.
_GUARD_GRACE: Final = 0.05
# The good responses of a guarded call, which a foreign layer may hold when it is stopped.
_OPENED: Final[ContextVar[list[Response] | None]] = ContextVar("_OPENED", default=None)


def compose(middleware: Sequence[Middleware], handler: Handler) -> Handler:
    """Wrap `handler` in the middleware, the first one outermost; done once per client."""
    for layer in reversed(middleware):
        handler = _wrap(layer, handler)
    return handler


def _wrap(layer: Middleware, call_next: Handler) -> Handler:
    return lambda request: layer(request, call_next)


def exchange(transport: Transport, life: Life | None = None, bounds: Bounds = DEFAULT_BOUNDS) -> Handler:
    """The innermost handler: one request out, one good response back."""

    async def send(request: Request) -> Response:
        if request.attempt > 1 and life is not None:
            life.sent_again(request)
        try:
            response = await transport.send(request)
        except APITimeoutError as error:
            error.sent = True
            raise
        if 200 <= response.status < 300:
            if (opened := _OPENED.get()) is not None:
                opened.append(response)
            return response
        raise await _refusal(request, response, bounds.max_error_bytes)

    return send


def guard(handler: Handler) -> Handler:
    """Bound a chain with foreign layers by the deadline of the call: they may wait for whatever they like."""

    async def send(request: Request) -> Response:
        if request.deadline is None:
            return await handler(request)
        # anyio is imported late: a chain of our own layers keeps to the deadline without it, and costs 19 µs less.
        import anyio

        opened: list[Response] = []
        failed = FailedSoFar(request.started, [])
        token, kept = _OPENED.set(opened), FAILED_SO_FAR.set(failed)
        try:
            # A little later than the transport, which knows better what it was waiting for.
            with anyio.move_on_after(max(0.0, request.deadline - time.monotonic()) + _GUARD_GRACE):
                return await handler(request)
        finally:
            _OPENED.reset(token)
            FAILED_SO_FAR.reset(kept)
        for response in opened:
            response.close()
        request = request.replace(attempt=request.attempt + len(failed.attempts), earlier=tuple(failed.attempts))
        raise with_attempts(timeout_error(request, "total", " before an answer came"), request)

    return send


async def _refusal(request: Request, response: Response, max_bytes: int) -> APIStatusError:
    """Read what an error answer says, as far as it goes: its status says enough."""
    content = bytearray()
    enough = time.monotonic() + _ERROR_BODY_SECONDS
    clocks = BodyClocks(request.replace(deadline=min(enough, request.deadline or enough)), events=False)
    try:
        while len(content) < max_bytes and (piece := await response.body.read(clocks.next_deadline())):
            content += piece
    except (MoonshotError, TimeoutError):
        pass
    finally:
        response.close()
    return status_error(request, response, bytes(content[:max_bytes]))
