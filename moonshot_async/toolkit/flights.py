"""Work that several callers may wait for: done once, and ended when nobody waits for it any more.

A caller that is cancelled, or has no time left, leaves the others what they wait for. The last one that leaves ends the
work and waits until it has tidied up, for a bounded time.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from copy import copy
from typing import Any, Final, Generic, TypeVar

from moonshot_async.clocks import CONTEXT_DEADLINE, until
from moonshot_async.errors import APITimeoutError, MoonshotError

T = TypeVar("T")

# How long work may take to tidy up once nobody waits for it, and how long where the time is up; in seconds.
TIDY_SECONDS: Final = 10.0
LAST_SECONDS: Final = 0.15


class Flight(Generic[T]):
    """Work in a task of its own, under nobody's deadline.

    Attributes:
        abandoned: whether nobody waits for it any more.
        unhurried: is asked when nobody waits any more: whether it is better not cancelled, since it is about to end or
            tidies up.
    """

    def __init__(self, work: "Callable[[Flight[T]], Coroutine[Any, Any, T]]", done: Callable[[], None]) -> None:
        self.abandoned = False
        self.unhurried: Callable[[], bool] = never
        self._waiting = 0
        self._give_up = 0.0
        self._task = asyncio.create_task(work(self), context=_without_deadline())
        self._task.add_done_callback(lambda task: _ended(task, done))

    @property
    def over(self) -> bool:
        """Whether it is too late to join."""
        return self.abandoned or self._task.done()

    @property
    def seconds_left(self) -> float:
        """How long it may still take to tidy up."""
        return max(LAST_SECONDS, self._give_up - time.monotonic()) if self.abandoned else TIDY_SECONDS

    def check(self) -> None:
        """Go no further if nobody waits for it.

        Raises:
            CancelledError: so it is.
        """
        if self.abandoned:
            raise asyncio.CancelledError

    async def join(self, late: Callable[[], APITimeoutError]) -> T:
        """Wait for its result, at most until the deadline of the context.

        Raises:
            whatever the work raises.
            APITimeoutError: `late` made it: the deadline came first.
        """
        self._waiting += 1
        patience = TIDY_SECONDS
        try:
            await until(CONTEXT_DEADLINE.get(), asyncio.wait((self._task,)), late)
        except APITimeoutError:
            patience = LAST_SECONDS
            raise
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                await self._end(patience)
        return self._result()

    async def _end(self, seconds: float) -> None:
        """Have it end, and wait until it has; whoever is cancelled once more waits no longer than he must."""
        # anyio is imported late, as everywhere.
        from anyio import CancelScope

        self.abandoned, self._give_up = True, time.monotonic() + seconds
        timer = asyncio.get_running_loop().call_later(seconds, self._task.cancel)
        if not self.unhurried():
            self._task.cancel()
        again = False
        try:
            with CancelScope(shield=True):
                while not self._task.done():
                    try:
                        await asyncio.wait((self._task,))
                    except asyncio.CancelledError:
                        again = True
                        self._task.cancel()
        finally:
            timer.cancel()
        if again:
            raise asyncio.CancelledError

    def _result(self) -> T:
        if self._task.cancelled():
            raise asyncio.CancelledError
        error = self._task.exception()
        if error is None:
            return self._task.result()
        try:
            # One for each who waits: tracebacks grow where an exception is raised.
            raise (copy(error) if isinstance(error, MoonshotError) else error).with_traceback(error.__traceback__)
        finally:
            del error


class Flights(Generic[T]):
    """The work under way, by its key."""

    def __init__(self) -> None:
        self._flying: dict[str, Flight[T]] = {}

    async def join(
        self,
        key: str,
        work: "Callable[[Flight[T]], Coroutine[Any, Any, T]]",
        done: Callable[[], None],
        late: Callable[[], APITimeoutError],
    ) -> T:
        """Wait for the work under way with this key, or begin it; what fails is not remembered.

        Args:
            key: equal for equal work.
            work: the work.
            done: called once what it needs is needed no more: when it has ended, or was not begun at all.
            late: makes the error for a deadline that comes first.
        """
        flight = self._flying.get(key)
        mine = flight is None or flight.over
        if flight is None or mine:
            flight = self._flying[key] = Flight(work, done)
        try:
            return await flight.join(late)
        finally:
            if not mine:
                done()
            if flight.over and self._flying.get(key) is flight:
                del self._flying[key]


def never() -> bool:
    return False


def always() -> bool:
    return True


def _without_deadline() -> Context:
    context = copy_context()
    context.run(CONTEXT_DEADLINE.set, None)
    return context


def _ended(task: "asyncio.Task[Any]", done: Callable[[], None]) -> None:
    done()
    if not task.cancelled():
        # Seen, also where nobody waits any more.
        task.exception()
