"""One timer that keeps all deadlines of an event loop.

A timer or a cancel scope per read costs between 6 and 37 µs; storing a deadline costs a quarter of one. Deadlines
mostly move forward, so the timer is set to the earliest that it was told of and looks at the others when it fires.
"""

import asyncio
import time
from typing import Final, Protocol

# Expired waits are looked for at most this often, in seconds, so that many of them cost no more than few.
_TICK: Final = 0.005
# Seldom where there are many: looking at one costs 0.1 µs, which is a twentieth of this.
_TICK_PER_WAIT: Final = 2e-6
# No timer is set to later than this, in seconds: an event loop need not know of longer ones, let alone endless ones.
_LONGEST: Final = 86400.0


class Wait(Protocol):
    """Something that waits and can be told to stop."""

    deadline: float | None
    """When to stop, on the `time.monotonic` clock; None for never."""

    def expire(self) -> None:
        """The deadline has passed."""
        ...

    def fail(self) -> None:
        """The transport was closed."""
        ...


class Watch:
    """The waits of one event loop, and the timer that ends them.

    Attributes:
        loop: the event loop.
        closed: whether the transport was closed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self._waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")

    def add(self, wait: Wait) -> None:
        """Look after `wait` until it is removed."""
        self._waits.add(wait)
        deadline = wait.deadline
        if deadline is not None and deadline < self._due:
            self._set(deadline)

    def remove(self, wait: Wait) -> None:
        """Forget `wait`."""
        self._waits.discard(wait)

    def moved(self, wait: Wait) -> None:
        """The deadline of a wait under watch has changed."""
        if wait.deadline is not None and wait.deadline < self._due:
            self._set(wait.deadline)

    def close(self) -> None:
        """Fail every wait and stop the timer."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, float("inf")
        waits, self._waits = self._waits, set()
        for wait in waits:
            wait.fail()

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_later(min(_LONGEST, max(0.0, due - time.monotonic())), self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self._timer, self._due = None, float("inf")
        expired = [wait for wait in self._waits if wait.deadline is not None and wait.deadline <= now]
        for wait in expired:
            self._waits.discard(wait)
            wait.expire()
        if coming := [wait.deadline for wait in self._waits if wait.deadline is not None]:
            self._set(max(min(coming), now + max(_TICK, len(coming) * _TICK_PER_WAIT)))
