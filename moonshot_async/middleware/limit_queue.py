"""The queue for the limits of an account: by priority, then by arrival; over several event loops and threads.

Whoever is at the head asks for itself, in its own task, so that nothing runs in the background and nothing has to be
given back when a call is cancelled: the next in line is woken. The waiters of one event loop stand in its lane, which
only that loop touches, with one timer for its head. What other threads look at (whether somebody waits, whose turn it
is, by when it acts) are single values, so that no lock is needed: the garbage collector may nudge the queue in the
middle of anything.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
_Key: TypeAlias = tuple[float, int]

_NOBODY: Final[_Key] = (math.inf, 0)
# The head of another loop that has not acted so many seconds after it was to (its loop is blocked, or gone) is passed.
_PATIENCE: Final = 0.25
# A timer may fire a moment early by the clock that is asked afterwards.
_SHORTEST: Final = 0.001


class Timer(Protocol):
    def cancel(self) -> object: ...


# Calls back after so many seconds, in the event loop from which it is called.
CallLater: TypeAlias = Callable[[float, Callable[[], None]], Timer]


class Queue:
    """Callers that wait for their turn.

    Args:
        clock: the time in seconds.
        call_later: sets a timer in the running event loop.
    """

    def __init__(self, clock: Callable[[], float], call_later: CallLater) -> None:
        self._clock = clock
        self._call_later = call_later
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return sum(len(lane) for lane in list(self._lanes.values()))

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def nudge(self) -> None:
        """Something may fit now: let the head ask again. May be called in any thread, at any time."""
        for lane in list(self._lanes.values()):
            if not lane.nudge():
                # Its loop was closed, and its waiters with it.
                self._lanes.pop(lane.loop, None)

    async def wait(
        self, attempt: Callable[[], Awaitable[T | float]], *, priority: int = 0, seconds: float | None = None
    ) -> T | None:
        """Wait for the turn, and for the first success of `attempt`; None if the time is over before.

        Args:
            attempt: what to do when it is the caller's turn; a float says to try again after so many seconds, or after
                a nudge.
            priority: higher ones go first.
            seconds: how long to wait; None for ever.
        """
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            lane = self._lanes[loop] = _Lane(loop, self._clock, self._call_later)
        waiter = _Waiter((-priority, next(self._numbers)), loop)
        lane.add(waiter)
        timer = None if seconds is None else self._call_later(max(0.0, seconds), waiter.expire)
        try:
            while not waiter.expired:
                if lane.key == waiter.key and (outcome := await self._turn(lane, attempt)) is not None:
                    return outcome
                await lane.sleep(waiter)
        finally:
            if timer is not None:
                timer.cancel()
            self._leave(lane, waiter)
        return None

    async def _turn(self, lane: "_Lane", attempt: Callable[[], Awaitable[T | float]]) -> T | None:
        """The head of a lane tries, unless that of another one is before it; None for no success."""
        lane.missed = False
        if pause := self._others_turn(lane):
            lane.set_timer(pause)
            return None
        outcome = await attempt()
        if not isinstance(outcome, float):
            return outcome
        lane.set_timer(outcome)
        return None

    def _others_turn(self, lane: "_Lane") -> float:
        """Seconds for which the lanes before this one have precedence; 0.0 for none."""
        if len(self._lanes) == 1:
            return 0.0
        now = self._clock()
        ahead = (other.due + _PATIENCE - now for other in list(self._lanes.values()) if other.key < lane.key)
        return min((pause for pause in ahead if pause > 0), default=0.0)

    def _leave(self, lane: "_Lane", waiter: "_Waiter") -> None:
        first = lane.key == waiter.key
        lane.remove(waiter)
        if not lane and self._lanes.get(lane.loop) is lane:
            del self._lanes[lane.loop]
        if first:
            self.nudge()


class _Waiter:
    """One caller.

    Attributes:
        key: its place: smaller ones go first.
        expired: whether its time is over.
    """

    __slots__ = ("_asleep", "_loop", "expired", "key")

    def __init__(self, key: _Key, loop: asyncio.AbstractEventLoop) -> None:
        self.key = key
        self.expired = False
        self._loop = loop
        self._asleep: asyncio.Future[None] | None = None

    def sleep(self) -> asyncio.Future[None]:
        self._asleep = self._loop.create_future()
        return self._asleep

    def wake(self) -> bool:
        """Whether it was asleep."""
        if self._asleep is None or self._asleep.done():
            return False
        self._asleep.set_result(None)
        return True

    def expire(self) -> None:
        self.expired = True
        self.wake()


class _Lane:
    """The waiters of one event loop.

    Attributes:
        loop: the loop; all but `nudge`, `key` and `due` is for its thread alone.
        key: the place of its head.
        due: when its head will ask next, at the latest; infinite where it waits for a nudge.
        missed: whether a nudge came while the head was not asleep.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], call_later: CallLater) -> None:
        self.loop = loop
        self.key = _NOBODY
        self.due = clock()
        self.missed = False
        self._clock = clock
        self._call_later = call_later
        self._waiters: dict[_Key, _Waiter] = {}
        # Keys of those who left stay in the heap until they come up, or are the most of it.
        self._heap: list[_Key] = []
        self._timer: Timer | None = None
        self._called = False

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: _Waiter) -> None:
        self._waiters[waiter.key] = waiter
        heapq.heappush(self._heap, waiter.key)
        if waiter.key < self.key:
            self.key, self.due = waiter.key, self._clock()

    def remove(self, waiter: _Waiter) -> None:
        waiters, heap = self._waiters, self._heap
        del waiters[waiter.key]
        if len(heap) > 2 * len(waiters) + 16:
            heap[:] = list(waiters)
            heapq.heapify(heap)
        while heap and heap[0] not in waiters:
            heapq.heappop(heap)
        if self.key == waiter.key:
            self.key, self.due = heap[0] if heap else _NOBODY, self._clock()
            self._stop_timer()

    def nudge(self) -> bool:
        """Wake the head, soon; False if the loop is closed."""
        self.due = min(self.due, self._clock())
        if self._called:
            return True
        self._called = True
        try:
            (self.loop.call_soon if self._runs() else self.loop.call_soon_threadsafe)(self._wake)
        except RuntimeError:
            return False
        return True

    def _runs(self) -> bool:
        """Whether its loop is the one that runs here."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def set_timer(self, seconds: float) -> None:
        """Wake the head after so many seconds, and not before unless it is nudged."""
        self._stop_timer()
        self.due = self._clock() + seconds
        if seconds < math.inf:
            self._timer = self._call_later(max(_SHORTEST, seconds), self._wake)

    async def sleep(self, waiter: _Waiter) -> None:
        """Return when the waiter is to look again."""
        if self.missed and self.key == waiter.key:
            return
        await waiter.sleep()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        # First, so that what happens from now on calls again.
        self._called = False
        head = self._waiters.get(self.key)
        if head is not None and not head.wake():
            self.missed = True
