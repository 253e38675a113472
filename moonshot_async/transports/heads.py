"""A call that waits for the head of its answer, while its connection is made and its request is sent."""

import asyncio
from typing import Any, Final

from moonshot_async.clocks import deadline_of, timeout_error
from moonshot_async.errors import APIError, Clock
from moonshot_async.transports import SENDING, WAITING, closed_error
from moonshot_async.transports.watch import Watch
from moonshot_async.wire import Request

# What a call does while a clock of its own runs.
_WHERE: Final[dict[Clock, str]] = {
    "pool": " while it waited for a free connection",
    "connect": " while it was connecting",
    "write": SENDING,
    "read": WAITING,
}


class HeadWait:
    """Stopped by cancelling its task, as `asyncio.timeout` does.

    Attributes:
        phase: the clock of what the call does at the moment; `clock` is the one that ends it, `total` perhaps.
        stopped: whether the task was cancelled from here.
        refused: whether a status came that is no good: what is left of the request need not be sent.
        reused: whether its connection had been kept from an earlier call.
        late: whether the clock of its phase has run out, and it is looked at once more whether something has come.
    """

    __slots__ = (
        "cancelling",
        "clock",
        "closed",
        "deadline",
        "late",
        "phase",
        "refused",
        "request",
        "reused",
        "stopped",
        "task",
        "watch",
    )

    def __init__(self, request: Request, task: "asyncio.Task[Any]", watch: Watch) -> None:
        self.request = request
        self.task = task
        self.watch = watch
        self.cancelling = task.cancelling()
        self.stopped = False
        self.closed = False
        self.refused = False
        self.reused = False
        self.late = False
        self.phase: Clock = "read"
        self.deadline, self.clock = deadline_of(request, "read")

    def start(self, clock: Clock) -> None:
        """Another clock runs now, or the same one anew; the deadline of the call stays."""
        self.phase = clock
        self.late = False
        self.deadline, self.clock = deadline_of(self.request, clock)
        self.watch.moved(self)

    def expire(self) -> None:
        # A loop that was held up sees a head and the clock of silence in the same turn. The head wins: what was in
        # time would be asked for again, and paid twice. The deadline of the call waits for nothing.
        if self.clock == self.phase and not (self.late or self.closed):
            self.late = True
            self.watch.add(self)
            return
        self.stopped = True
        self.task.cancel()

    def fail(self) -> None:
        self.closed = True
        self.expire()

    def withdrawn(self) -> bool:
        """Whether the call was stopped although something else came of it; then its cancellation is taken back."""
        if self.stopped:
            self.task.uncancel()
        return self.stopped

    def problem(self) -> APIError:
        """Why the call was stopped."""
        if self.closed:
            return closed_error(self.request)
        return timeout_error(self.request, self.clock, _WHERE[self.phase])
