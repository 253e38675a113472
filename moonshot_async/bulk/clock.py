"""When a call was really sent, when its head came, and what it waited for before: seen from above the transport."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import ClassVar, Final

from moonshot_async.errors import Attempt, RateLimitError
from moonshot_async.middleware import Handler
from moonshot_async.wire import Headers, Request, Response

_NO_HEADERS: Final = Headers()


class Timing:
    """The times of the call that a task makes, in Unix seconds; `begin` makes it ready for the next one.

    Attributes:
        began: when it was begun.
        day: what added to the `time.monotonic` clock, which nobody puts forward or back, makes Unix seconds of it.
        sent, head: of the last sending; None where it did not come to that.
        limit_wait: seconds that its sendings waited for limits together.
        earlier: the sendings before the last one.
        headers: of the answer.
        calling: whether a call is being made; `flying`: whether it is at the service, and not waiting for a limit or
            for its next sending.
    """

    __slots__ = ("began", "calling", "day", "earlier", "flying", "head", "headers", "limit_wait", "sent")

    def __init__(self) -> None:
        self.begin(0.0)
        self.calling = False

    def begin(self, now: float) -> None:
        """A call begins."""
        self.began = now
        self.day = now - time.monotonic()
        self.sent: float | None = None
        self.head: float | None = None
        self.limit_wait = 0.0
        self.earlier: tuple[Attempt, ...] = ()
        self.headers: Headers = _NO_HEADERS
        self.calling, self.flying = True, False


# What the calls of this task are timed by.
TIMING: Final[ContextVar[Timing | None]] = ContextVar("TIMING", default=None)


class Clock:
    """Takes the times. Placed below retries and limits, so that what they wait for is told apart.

    Args:
        refused: called with each 429.
    """

    keeps_deadline: ClassVar = True

    def __init__(self, refused: Callable[[RateLimitError], object] | None = None) -> None:
        self._refused = refused

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        timing = TIMING.get()
        if timing is None:
            return await call_next(request)
        now = time.monotonic()
        timing.sent = timing.day + now
        if request.earlier:
            timing.earlier = request.earlier
            now -= sum(attempt.elapsed + attempt.waited for attempt in request.earlier)
        # What is shorter is not a wait.
        if request.started is not None and (waited := now - request.started) > 0.001:
            timing.limit_wait += waited
        timing.flying = True
        try:
            response = await call_next(request)
        except BaseException as error:
            timing.flying = False
            if self._refused is not None and isinstance(error, RateLimitError):
                self._refused(error)
            raise
        # Of an answer that is good, the body is still to come.
        timing.flying = response.status < 300
        timing.head = timing.day + time.monotonic()
        timing.headers = response.headers
        return response
