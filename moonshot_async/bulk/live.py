"""A run that makes each call itself: a fixed number of workers, and no task for what waits.

A worker takes an item, makes the call, and takes the next one when the outcome is on the disk; so no more answers can
be lost than there are workers. What failed for a passing reason waits in a heap until its time has come.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from moonshot_async.bounds import Bounds
from moonshot_async.bulk import verdicts
from moonshot_async.bulk.budget import Budget, Reserved
from moonshot_async.bulk.clock import TIMING, Timing
from moonshot_async.bulk.crew import Crew
from moonshot_async.bulk.desk import Desk
from moonshot_async.bulk.feed import Feed
from moonshot_async.bulk.items import Item
from moonshot_async.bulk.outbox import wake
from moonshot_async.bulk.outcomes import Outcome, tokens_of
from moonshot_async.bulk.verdicts import Verdict, may_be_paid, verdict, wait_of
from moonshot_async.bulk.waiting import Waiting
from moonshot_async.errors import APIError, Attempt, MoonshotError, RateLimitError, request_id_of
from moonshot_async.types.chat import ChatCompletion, decode_completion

_PATH: Final = "/chat/completions"
# How many items are read at a time; how many bytes of them may wait to be sent, and how many of them for their second
# chance, before no more are read.
_FEWEST, _MOST = 16, 512
_READY_BYTES: Final = 16 * 1024 * 1024
_MOST_LATER: Final = 1024
# After a stop, so long a source may take to hand over what it has begun to read, in seconds; and how often calls are
# looked for that are not at the service any more.
_LAST_READ: Final = 0.25
_SWEEP: Final = 0.05


class Live:
    """Works through the items of a run.

    Args:
        desk: of the run.
        crew: says how many calls at once.
    """

    def __init__(self, desk: Desk, crew: Crew) -> None:
        self._desk = desk
        self._crew = crew
        self._feed = Feed(desk, self._take, self._wanted)
        desk.on_recorded = self._feed.end
        self._items = Waiting(self._due)
        self._idle: deque[asyncio.Future[None]] = deque()
        self._hungry: asyncio.Future[None] | None = None
        self._low = 0
        self._reserved: dict[int, Reserved] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._calls: dict[asyncio.Task[None], Timing] = {}
        self._group = asyncio.TaskGroup()
        self._feeding: asyncio.Task[None] | None = None
        self._workers = 0
        self._fed = False
        self._last_good = -1.0
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many items wait for their second chance."""
        return self._items.later

    @property
    def over(self) -> bool:
        """Whether all items were worked through."""
        return self._feed.ended and not self._feed.open

    async def run(self) -> None:
        """Work until all is done, or the run is stopped and nothing is in flight."""
        self._loop = asyncio.get_running_loop()
        try:
            async with self._group:
                self._feeding = self._group.create_task(self._fed_by_source())
                self._hire()
        except BaseExceptionGroup as errors:
            problem = errors.exceptions[0]
        else:
            self._feed.finish()
            return
        finally:
            self._items.end()
            if self._sweeper is not None:
                self._sweeper.cancel()
        try:
            raise problem
        finally:
            del problem

    def stopped(self) -> None:
        """Nothing new is to be begun: whoever waits for something new looks up."""
        self._wake(len(self._idle))
        wake(self._hungry)
        if self._feeding is not None and not self._feeding.done():
            self._loop.call_later(_LAST_READ, self._feeding.cancel)
        self._sweep()

    def _sweep(self) -> None:
        """Cut calls that only wait, for a limit or to be sent again: they would be begun after the stop."""
        for task, timing in self._calls.items():
            if timing.calling and not timing.flying:
                task.cancel()
        if self._calls:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    # --- items

    async def _fed_by_source(self) -> None:
        try:
            await self._feed.run()
        except asyncio.CancelledError:
            if not self._desk.stopping:
                raise
        finally:
            self._fed = True
            self._wake(len(self._idle))

    async def _wanted(self) -> int:
        """Wait until there is room for more items."""
        desk = self._desk
        while not desk.stopping:
            most = min(_MOST, max(_FEWEST, self._crew.wanted))
            self._low = most + min(most, self._crew.wanted)
            items = self._items
            full = len(items.ready) > self._low or items.held_bytes > _READY_BYTES
            if desk.outbox.full:
                await desk.outbox.room()
            elif full or items.later >= _MOST_LATER:
                self._hungry = self._loop.create_future()
                await self._hungry
            else:
                return most
        return 0

    def _take(self, items: Sequence[Item]) -> None:
        self._items.add(items)
        self._wake(len(items))
        self._hire()

    def _hire(self) -> None:
        """As many workers as there is work for, and as are wanted."""
        for _ in range(min(self._crew.wanted - self._workers, len(self._items.ready))):
            self._workers += 1
            self._group.create_task(self._work())

    def _wake(self, most: int) -> None:
        idle = self._idle
        while most > 0 and idle:
            sleeper = idle.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                most -= 1

    def _next(self) -> Item | None:
        """The next item to work on; None where there is none at the moment, or nothing is to be begun."""
        desk = self._desk
        if desk.stopping or desk.outbox.crowded:
            return None
        if (item := self._items.take()) is None:
            return None
        if self._hungry is not None and len(self._items.ready) <= self._low:
            wake(self._hungry)
            self._hungry = None
        return item if desk.budget is None or self._afford(desk.budget, item) else None

    async def _wait(self) -> Item | None:
        """Wait for an item to work on; None when there is none any more."""
        desk = self._desk
        while not desk.stopping:
            if desk.outbox.crowded:
                await desk.outbox.room()
            elif self._is_over:
                break
            else:
                sleeper = self._loop.create_future()
                self._idle.append(sleeper)
                await sleeper
            if (item := self._next()) is not None:
                return item
        self._wake(len(self._idle))
        return None

    def _afford(self, budget: Budget, item: Item) -> bool:
        """Reserve what an item may come to; where that is too much at the moment, it stays the next one."""
        reserved = budget.take(item)
        if reserved is not None:
            self._reserved[item.number] = reserved
            return True
        self._items.return_first(item)
        if not self.in_flight:
            # Nothing will be given back: it is as much as can be done.
            self._desk.stop("the budget is reached", budget.reached())
        return False

    def _due(self) -> None:
        self._wake(1)

    # --- calls

    async def _work(self) -> None:
        timing = Timing()
        TIMING.set(timing)
        desk, task = self._desk, asyncio.current_task()
        assert task is not None, "it is one"
        self._calls[task] = timing
        pipeline, options, clock = desk.pipeline, desk.plan.options, desk.plan.clock
        try:
            while (item := self._next() or await self._wait()) is not None:
                outcome: Outcome | None = None
                answer = None
                lost = False
                self.in_flight += 1
                timing.begin(clock())
                try:
                    answer = await pipeline.fetch(pipeline.request("POST", _PATH, item.body, **options), _KEEPING)
                except MoonshotError as error:
                    lost = may_be_paid(error)
                    outcome = self._failed(item, error, timing)
                else:
                    outcome = self._answered(item, answer, timing)
                finally:
                    timing.calling = False
                    self._ended(item, outcome, lost=lost)
                if outcome is not None:
                    told = desk.recorder.record(outcome)
                    # Who waits holds nothing.
                    del item, outcome, answer
                    await told
        except Exception as error:  # noqa: BLE001  # a layer of the user's, or a price that is not known
            desk.stop(type(error).__name__, error)
        finally:
            del self._calls[task]

    @property
    def _is_over(self) -> bool:
        return self._fed and not self._items.ready and not self._items.later and not self.in_flight

    def _answered(self, item: Item, answer: tuple[bytes, ChatCompletion], timing: Timing) -> Outcome:
        desk, (content, completion) = self._desk, answer
        if timing.earlier or timing.limit_wait:
            self._note(item, timing, timing.earlier)
        tokens = tokens_of(completion)
        cost = None if tokens is None else desk.cost(tokens, completion.model, item)
        request_id = completion._request_id = request_id_of(timing.headers)
        wrong = None if desk.plan.parse is None else desk.judged(completion, desk.plan.parse)
        desk.any_success = True
        self._last_good = now = time.monotonic()
        if self._crew.good():
            self._hire()
        began, sent, head, ended = timing.began, timing.sent, timing.head, timing.day + now
        return Outcome(item, began, ended, sent, head, content, completion, wrong, request_id, tokens, cost)

    def _failed(self, item: Item, error: MoonshotError, timing: Timing) -> Outcome | None:
        """What becomes of an item whose call failed; None where it was put back, or is left open."""
        self._note(item, timing, error.attempts if isinstance(error, APIError) else ())
        if not self._is_kept(item, error):
            return None
        request_id, ended = getattr(error, "request_id", None), timing.day + time.monotonic()
        return Outcome(item, timing.began, ended, timing.sent, timing.head, error=error, request_id=request_id)

    def _ended(self, item: Item, outcome: Outcome | None, *, lost: bool) -> None:
        """A call has ended: it may have made room in the budget, or have been the last one."""
        self.in_flight -= 1
        budget = self._desk.budget
        if budget is not None:
            self._settle(budget, item, outcome, lost=lost)
        if self._idle and (budget is not None or self._is_over):
            self._wake(len(self._idle))

    def _settle(self, budget: Budget, item: Item, outcome: Outcome | None, *, lost: bool) -> None:
        reserved = self._reserved.pop(item.number)
        tokens, cost = (None, None) if outcome is None else (outcome.tokens, outcome.cost)
        # An answer that does not say what it used may have used all of it.
        lost = lost or (outcome is not None and outcome.answer is not None and tokens is None)
        budget.settle(reserved, tokens, cost, lost=lost)
        if lost:
            self._desk.recorder.lose(reserved.tokens, reserved.cost)

    def _note(self, item: Item, timing: Timing, failed: Sequence[Attempt]) -> None:
        """Keep what went wrong on the way, and what was waited for."""
        item.limit_wait += timing.limit_wait
        if failed:
            item.failures += tuple((attempt.error, attempt.elapsed, attempt.waited) for attempt in failed)
            item.retry_wait += sum(attempt.waited for attempt in failed)

    def _is_kept(self, item: Item, error: MoonshotError) -> bool:
        """Whether an error is what becomes of an item; else it was put back, or the run was stopped."""
        desk = self._desk
        if isinstance(error, RateLimitError):
            self._crew.refused()
        meaning = verdict(error, any_success=desk.any_success)
        if meaning is Verdict.FATAL:
            desk.stop(type(error).__name__, error)
        elif meaning is Verdict.WAITING:
            self._items.put_back(item, getattr(error, "retry_after", None) or 0.0)
        elif meaning is Verdict.LATER:
            return self._put_off(item, error)
        else:
            return True
        return False

    def _put_off(self, item: Item, error: MoonshotError) -> bool:
        """Put an item back whose reason to fail passes; whether it has had its chances, and the error is kept."""
        desk, now = self._desk, time.monotonic()
        item.tries += 1
        item.put_back_at = item.put_back_at or now
        # A refusal for want of room says nothing of the one that met it: its turn will come.
        tried = item.tries > desk.plan.rounds and not isinstance(error, RateLimitError)
        if tried and self._last_good > item.put_back_at:
            # Others were answered meanwhile.
            return True
        if (tried and not desk.any_success) or now - max(self._last_good, item.put_back_at) > verdicts.PATIENCE:
            desk.stop("the service fails", error)
        else:
            desk.meter.put_back += 1
            self._items.put_back(item, wait_of(error, item.tries, desk.plan.uniform(0.0, 1.0)))
        return False


class _Keeping:
    """Decodes an answer, and keeps its bytes."""

    cls = ChatCompletion

    def __call__(self, data: bytes, /) -> tuple[bytes, ChatCompletion]:
        return data, decode_completion(data)

    def within(self, data: bytes, bounds: Bounds) -> tuple[bytes, ChatCompletion]:
        return data, decode_completion.within(data, bounds)


_KEEPING: Final = _Keeping()

FITS: Callable[[bytes], Any] = _KEEPING
