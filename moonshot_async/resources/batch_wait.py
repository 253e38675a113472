"""How a run waits for its batch, and what it says when it may not wait any longer."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from moonshot_async.clocks import CONTEXT_DEADLINE, pause, time_left, until
from moonshot_async.errors import APIError, APITimeoutError
from moonshot_async.resources.batch_plan import RunPlan
from moonshot_async.types.batches import Batch
from moonshot_async.wire import Request

T = TypeVar("T")

# How polling slows down, and where that ends, in seconds.
_SLOWER: Final = 1.5
_SLOWEST: Final = 60.0
# How many polls in a row may fail, each after its retries.
_FAILURES: Final = 5
# How long the last poll before the end of `max_wait` may take, in seconds.
_LAST_POLL: Final = 10.0
# How much later than the deadline what is not ours is stopped, in seconds; calls end by themselves before that.
_GRACE: Final = 0.1


class Patience:
    """The time that a run has: `max_wait` from its first step, and the deadline of the context.

    Args:
        plan: of the run.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._started: float | None = None

    async def step(self, make: Callable[[], Awaitable[T]], batch_id: Callable[[], str | None]) -> T:
        """Take a step in which the user's code may take its time, too.

        Args:
            make: takes the step.
            batch_id: says which batch the run has by now.

        Raises:
            APITimeoutError: the deadline of the context is over; the step was not begun, or stopped.
        """
        if self._started is None:
            self._started = time.monotonic()
        if time_left() <= 0:
            raise self._late(batch_id())
        return await until(CONTEXT_DEADLINE.get(), make(), lambda: self._late(batch_id()), grace=_GRACE)

    async def ended(self, batch: Batch, look: Callable[[], Awaitable[Batch]]) -> Batch:
        """Look at the batch until it has ended.

        Raises:
            APITimeoutError: it did not in time.
            APIError: it could not be looked at, several times.
        """
        interval = self._plan.poll_interval
        failures = 0
        while not batch.done:
            await self._pause(batch, interval * self._plan.uniform(0.9, 1.1))
            interval = max(self._plan.poll_interval, min(_SLOWEST, interval * _SLOWER))
            try:
                batch = await look()
                failures = 0
            except APIError as error:
                failures += 1
                if failures >= _FAILURES or not (error.retryable or isinstance(error, APITimeoutError)):
                    raise
        return batch

    def bounded(self, request: Request) -> Request:
        """A request that does not outlast `max_wait` by much."""
        if (due := self._due) is None:
            return request
        due = max(due, time.monotonic() + _LAST_POLL)
        return request.replace(deadline=due if request.deadline is None else min(due, request.deadline))

    async def _pause(self, batch: Batch, seconds: float) -> None:
        if (due := self._due) is not None:
            left = due - time.monotonic()
            if left <= 0:
                raise APITimeoutError(
                    message=f"Batch {batch.id} has not ended within {self._plan.max_wait:g} s (max_wait); it is "
                    f"{batch.status} and goes on: batches.run(…, batch_id={batch.id!r}) fetches its results later.",
                    elapsed=self._elapsed,
                )
            seconds = min(seconds, left)
        if await pause(seconds, self._plan.sleep):
            raise self._late(batch.id)

    @property
    def _due(self) -> float | None:
        wait = self._plan.max_wait
        return None if wait is None or self._started is None else self._started + wait

    @property
    def _elapsed(self) -> float | None:
        return None if self._started is None else time.monotonic() - self._started

    def _late(self, batch_id: str | None) -> APITimeoutError:
        if batch_id is None:
            state = "before the batch was created: run it again"
        else:
            state = f"first. Batch {batch_id} goes on: batches.run(…, batch_id={batch_id!r}) goes on with it"
        return APITimeoutError(message=f"The deadline ran out {state}.", clock="deadline", elapsed=self._elapsed)
