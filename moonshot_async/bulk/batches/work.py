"""A run that goes through the Batch API: at 60 % of the price, within hours, and past the limits of the account.

Items are put together to files, one model in each and no more bytes than a file may have; which item went into which is
in the journal before anything is uploaded. A batch whose creation was not written down any more is found again by the
token that it was given. Stopping ends the waiting; the batches go on, and the next start takes them up.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from moonshot_async.bulk.batches.groups import Group
from moonshot_async.bulk.batches.store import BatchRow, end_batch, items_of, make_batch, open_batches, set_batch_id
from moonshot_async.bulk.budget import Budget, model_of
from moonshot_async.bulk.desk import Desk
from moonshot_async.bulk.feed import Feed
from moonshot_async.bulk.items import Item
from moonshot_async.bulk.outbox import wake
from moonshot_async.bulk.outcomes import Outcome, tokens_of
from moonshot_async.bulk.verdicts import Verdict, verdict
from moonshot_async.errors import BatchFailedError, MoonshotError
from moonshot_async.resources.batch_results import BatchResult
from moonshot_async.resources.batch_run import BatchRun
from moonshot_async.resources.batches import Batches
from moonshot_async.types.batches import Batch

# Batches that are waited for at a time, those that there may be before no more requests are read, and seconds between
# the first looks at one.
_AT_ONCE: Final = 8
_MOST: Final = 16
_POLL: Final = 2.0
_CHUNK: Final = 256
_PAGE: Final = 100
# What a batch is found by at the service.
_TOKEN_NAME: Final = "moonshot_async_bulk"


class Batched:
    """Works through the items of a run by batches.

    Args:
        desk: of the run.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._feed = Feed(desk, self._take, self._wanted)
        desk.on_recorded = self._feed.end
        self._batches = Batches(desk.pipeline)
        self._incoming: deque[Item] = deque()
        self._groups: dict[str, Group] = {}
        # Of items that came back without an answer: how often.
        self._tries: dict[int, int] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._news = asyncio.Event()
        self._hungry: asyncio.Future[None] | None = None
        self._fed = False
        # What meets every request, told by the results of a batch.
        self._fatal: MoonshotError | None = None
        self._main: asyncio.Task[Any] | None = None
        self.in_flight = 0
        self.waiting = 0

    @property
    def over(self) -> bool:
        """Whether all items were worked through, and all batches have ended."""
        return self._feed.ended and not self._feed.open and not self._running

    async def run(self) -> None:
        """Work until all batches have ended, or the run is stopped."""
        self._main = asyncio.current_task()
        feeding: asyncio.Task[None] | None = None
        try:
            await self._take_up()
            feeding = asyncio.create_task(self._fed_by_source())
            await self._work()
            self._feed.finish()
        except asyncio.CancelledError:
            if not self._desk.stopping:
                raise
        finally:
            self._main = None
            await _end([*self._running, *([] if feeding is None else [feeding])])

    def stopped(self) -> None:
        """Wait for nothing any more: the batches go on by themselves."""
        if self._main is not None and self._main is not asyncio.current_task():
            self._main.cancel()

    # --- items

    async def _fed_by_source(self) -> None:
        try:
            await self._feed.run()
        finally:
            self._fed = True
            self._news.set()

    async def _wanted(self) -> int:
        while not self._desk.stopping:
            if self._desk.outbox.full:
                await self._room()
            elif len(self._incoming) >= _CHUNK or len(self._running) >= _MOST:
                self._hungry = asyncio.get_running_loop().create_future()
                await self._hungry
            else:
                return _CHUNK
        return 0

    async def _room(self) -> None:
        """Wait for room among the results. Where they are held back for others, those are to be on their way."""
        if self._desk.plan.ordered:
            self._news.set()
        await self._desk.outbox.room()

    def _take(self, items: Sequence[Item]) -> None:
        self._incoming.extend(items)
        self._news.set()

    async def _work(self) -> None:
        """Put items into groups, and groups into batches, until there is nothing left to wait for."""
        while not self._desk.stopping:
            self._news.clear()
            while self._incoming and await self._add(self._incoming[0]):
                self._incoming.popleft()
            wake(self._hungry)
            held = self._desk.plan.ordered and self._desk.outbox.full
            if self._incoming or self._fed or held:
                # They are not to wait for more: there will be none, or the budget is used up until some have ended, or
                # results are held back for theirs.
                for model in list(self._groups):
                    await self._seal(model)
                if not self._running and not held:
                    if not self._incoming:
                        return
                    assert self._desk.budget is not None, "nothing else holds items back"
                    self._desk.stop("the budget is reached", self._desk.budget.reached())
                    return
            await self._news.wait()

    async def _add(self, item: Item) -> bool:
        """Put an item into a group; False where the budget does not allow it at the moment."""
        reserved = None
        if self._desk.budget is not None and (reserved := self._desk.budget.take(item)) is None:
            return False
        model = model_of(item.body)
        if (group := self._groups.get(model)) is not None and not group.has_room(item):
            await self._seal(model)
        self._groups.setdefault(model, Group()).add(item, reserved)
        return True

    async def _seal(self, model: str) -> None:
        """Write down what makes a batch, and begin it."""
        group = self._groups.pop(model)
        row = await self._desk.recorder.read(make_batch, model, group.numbers)
        row.tokens, row.cost, row.positions = group.tokens, group.cost, group.positions()
        self._begin(row)

    async def _take_up(self) -> None:
        """Go on with the batches of earlier starts."""
        for row in await self._desk.recorder.read(open_batches):
            async for item, recorded in self._items(row):
                self._feed.begin(item)
                if self._desk.budget is not None and not recorded:
                    reserved = self._desk.budget.take(item, anyway=True)
                    assert reserved is not None, "taken anyway"
                    row.tokens += reserved.tokens
                    row.cost += reserved.cost
            self._begin(row)

    async def _items(self, row: BatchRow) -> AsyncGenerator[tuple[Item, bool], None]:
        """The items of a batch, and whether each has an outcome."""
        last, positions = 0, iter(row.positions)
        while items := await self._desk.recorder.read(items_of, row.number, last):
            for item, recorded in items:
                item.position = next(positions, 0)
                yield item, recorded
            last = items[-1][0].number

    async def _lines(self, row: BatchRow) -> AsyncGenerator[dict[str, Any], None]:
        async for item, _ in self._items(row):
            yield {"custom_id": item.name, "body": msgspec.json.decode(item.body)}

    # --- batches

    def _begin(self, row: BatchRow) -> None:
        task = asyncio.create_task(self._batch(row), name=f"moonshot_async batch {row.number}")
        self._running.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._desk.stop(type(problem).__name__, problem)

    async def _batch(self, row: BatchRow) -> None:
        """One batch, from its lines to its outcomes."""
        desk = self._desk
        await self._places.acquire()
        place = [self._places]
        if row.earlier and row.batch_id is None:
            await self._find(row)
        run = self._batches.run(
            self._lines(row),
            batch_id=row.batch_id,
            metadata={_TOKEN_NAME: row.token},
            on_batch=partial(self._made, row),
            poll_interval=_POLL,
            cleanup=True,
            **desk.plan.options,
        )
        self.in_flight += 1
        try:
            whole = await self._collect(row, run, place)
        except BatchFailedError:
            await desk.recorder.read(end_batch, row.number)
            raise
        finally:
            self.in_flight -= 1
            _leave(place)
            await run.aclose()
            if desk.budget is not None:
                desk.budget.release(row.tokens, row.cost)
        if whole:  # pragma: no branch  # whoever stops a run cuts its batches a moment later
            await desk.recorder.settle()
            await desk.recorder.read(end_batch, row.number)
            if self._fatal is not None:
                desk.stop(type(self._fatal).__name__, self._fatal)

    async def _find(self, row: BatchRow) -> None:
        """Look whether the service has a batch that an earlier start made and could not write down any more."""
        async for batch in self._batches.list(limit=_PAGE, **self._desk.plan.options):
            if (batch.metadata or {}).get(_TOKEN_NAME) == row.token:
                await self._made(row, batch)
                return

    async def _made(self, row: BatchRow, batch: Batch) -> None:
        row.batch_id = batch.id
        await self._desk.recorder.read(set_batch_id, row.number, batch.id)

    async def _collect(self, row: BatchRow, run: BatchRun, place: list[asyncio.Semaphore]) -> bool:
        """Record the results, which come in the order of the items; what was recorded before is passed over.

        Returns:
            Whether these were all of them; else the run was stopped.
        """
        items, desk = self._items(row), self._desk
        told: asyncio.Future[None] | None = None
        count = 0
        async for result in run:
            # The service has done its part: others may wait for it.
            _leave(place)
            found = await anext(items, None)
            # Results that nobody asked for come last.
            if found is not None and not found[1]:
                while desk.outbox.must_wait(self._feed.turn_of(found[0].number)) and not desk.stopping:
                    await self._room()
                told = self._finish(found[0], result, run.batch) or told
            if desk.stopping:
                return False
            count += 1
            if told is not None and count % _CHUNK == 0:
                await told
        return True

    def _finish(self, item: Item, result: BatchResult, batch: Batch | None) -> "asyncio.Future[None] | None":
        """Record what became of an item, or give it back; done when it is on the disk."""
        outcome = self._outcome(item, result, batch)
        if outcome is None:
            return None
        self._tries.pop(item.number, None)
        return self._desk.recorder.record(outcome)

    def _outcome(self, item: Item, result: BatchResult, batch: Batch | None) -> Outcome | None:
        desk = self._desk
        now = desk.plan.clock()
        began = float(batch.created_at) if batch is not None and batch.created_at else now
        ended = float(batch.completed_at) if batch is not None and batch.completed_at else now
        item.turn = self._feed.turn_of(item.number)
        outcome = Outcome(item, began, max(began, ended), request_id=result.request_id)
        if result.completion is not None:
            completion = outcome.completion = result.completion
            outcome.answer = completion.model_dump_json().encode()
            outcome.tokens = tokens_of(completion)
            if outcome.tokens is not None:
                outcome.cost = desk.cost(outcome.tokens, completion.model, item)
            if desk.plan.parse is not None:
                outcome.error = desk.judged(completion, desk.plan.parse)
            desk.any_success = True
            if desk.budget is not None:
                self._pay(desk.budget, item, outcome)
        else:
            assert result.error is not None, "the one or the other"
            meaning = verdict(result.error, any_success=True)
            tries = self._tries[item.number] = self._tries.get(item.number, 0) + 1
            if meaning is Verdict.FATAL:
                # The run stops once the batch is done with: what was answered in it is paid for.
                self._fatal = self._fatal or result.error
                return None
            if meaning is Verdict.LATER and tries <= desk.plan.rounds:
                desk.meter.put_back += 1
                self._incoming.append(item)
                return None
            outcome.error = result.error
        return outcome

    def _pay(self, budget: Budget, item: Item, outcome: Outcome) -> None:
        budget.spend(outcome.tokens, outcome.cost)
        if outcome.tokens is None:
            # An answer that does not say what it used may have used all that it might.
            reserved = budget.take(item, anyway=True)
            assert reserved is not None, "taken anyway"
            budget.settle(reserved, None, None, lost=True)
            self._desk.recorder.lose(reserved.tokens, reserved.cost)


def _leave(place: list[asyncio.Semaphore]) -> None:
    """Give a place back, once."""
    if place:
        place.pop().release()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended, whoever cancels meanwhile: they need the journal until then."""
    for task in tasks:
        task.cancel()
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError:
            pass
