"""`client.bulk`: many requests, with a journal to go on from.

The story: requests → items → journal → calls, or batches → outcomes → journal → results. What runs in the background
belongs to the run, and ends with it.
"""

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Final, Protocol, Self

from moonshot_async.bulk.budget import Budget
from moonshot_async.bulk.crew import Crew
from moonshot_async.bulk.desk import Desk
from moonshot_async.bulk.interrupts import Interrupts
from moonshot_async.bulk.journal.store import Start
from moonshot_async.bulk.live import Live
from moonshot_async.bulk.outbox import Outbox
from moonshot_async.bulk.plan import Plan
from moonshot_async.bulk.prices import Prices
from moonshot_async.bulk.progress import Meter, Progress, Teller
from moonshot_async.bulk.results import BulkResult
from moonshot_async.catalog import Catalog
from moonshot_async.errors import BudgetReachedError, JournalError
from moonshot_async.pipeline import Pipeline

# Results that may wait to be taken, at least.
_BOUND: Final = 1024


class Work(Protocol):
    """What works through the items of a run."""

    in_flight: int

    @property
    def waiting(self) -> int: ...

    async def run(self) -> None: ...

    @property
    def over(self) -> bool: ...

    def stopped(self) -> None: ...


class BulkRun:
    """Many requests on their way: `async for result in client.bulk(requests, …)`.

    Nothing happens before it is iterated, entered with `async with`, or `wait` is called. Each result is handed out
    when it is in the journal. A loop that is left, and a task that is cancelled, end the calls in flight; what was
    recorded stays, and the next run with the same journal goes on.

    Attributes:
        journal: the path of the journal.
        reason: why the run ended before its requests did, in a few words; None where it did not.
    """

    def __init__(self, pipeline: Pipeline, plan: Plan, *, limits: object, catalog: Catalog, prices: Prices) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._limits = limits
        self._told = _limits_of(limits)
        self._catalog = catalog
        self._prices = prices
        self._meter = Meter()
        self._outbox = Outbox(_BOUND, ordered=plan.ordered)
        self._desk: Desk | None = None
        self._work: Work | None = None
        self._task: asyncio.Task[None] | None = None
        self._teller = Teller(plan.on_progress, lambda: self.progress, self._telling_failed)
        self._interrupts = Interrupts(self.stop)
        # Several may begin it, and close it meanwhile.
        self._beginning = asyncio.Lock()
        self._begun = self._closed = self._cuttable = False
        self._stops = 0
        self.journal = plan.journal

    @property
    def progress(self) -> Progress:
        """How far it is, with the earlier starts of the journal."""
        work = self._work
        flying, waiting = (0, 0) if work is None else (work.in_flight, work.waiting)
        return self._meter.progress(flying, waiting, self._prices.currency)

    @property
    def reason(self) -> str | None:
        """Why the run ended before its requests did; None where it did not."""
        return None if self._desk is None else self._desk.reason

    def stop(self) -> None:
        """Begin nothing new, and end when what is in flight is over. A second time: end what is in flight, too.

        Both leave a journal to go on with. The loop over the results ends without an error.
        """
        self._stops += 1
        if self._desk is not None:
            self._desk.stop("stopped")
        if self._stops > 1:
            self._cut()

    async def wait(self) -> Progress:
        """Work to the end without handing out results: they are in the journal.

        Raises:
            MoonshotError: as from the loop.
        """
        self._outbox.discard()
        async for _ in self:
            pass  # pragma: no cover  # there are none
        return self.progress

    async def aclose(self) -> None:
        """End it: calls in flight are cut, what came is recorded, and the journal is free. May be repeated."""
        if self._closed:
            return
        # anyio is imported late: a run that was not begun needs none.
        import anyio

        with anyio.CancelScope(shield=True):
            async with self._beginning:
                self._closed = self._begun = True
            if self._task is not None:
                # What was told last is noted by those who wait for it, too.
                await asyncio.sleep(0)
                if self._desk is not None and self._work is not None and not self._work.over:
                    self._desk.stop("closed")
                    self._cut()
                await asyncio.wait([self._task])
            elif self._plan.source is not None:
                await self._plan.source.aclose()

    def _cut(self) -> None:
        """End what is in flight. What came is written down all the same: that takes a moment, and is not cut."""
        if self._cuttable and self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncGenerator[BulkResult, None]:
        return self._results()

    def __repr__(self) -> str:
        totals = self._meter.totals
        return f"BulkRun({self.journal!r}, {totals.done} done, {totals.failed} failed)"

    async def _results(self) -> AsyncGenerator[BulkResult, None]:
        try:
            await self._begin()
            outbox = self._outbox
            while await outbox.more():
                while (result := outbox.take()) is not None:
                    yield result
            assert self._task is not None, "begun above"
            await asyncio.wait([self._task])
            self._raise()
        finally:
            await self.aclose()

    def _raise(self) -> None:
        """Raise what the run ended with."""
        assert self._task is not None, "begun before"
        if not self._task.cancelled() and (problem := self._task.exception()) is not None:
            try:
                raise problem
            finally:
                del problem

    async def _begin(self) -> None:
        async with self._beginning:
            if self._closed:
                raise RuntimeError("this run was closed: call client.bulk(…) again, with the same journal, to go on")
            if self._begun:
                return
            self._begun = True
            try:
                await self._open()
            except BaseException:
                self._closed = True
                await _shielded(self._give_up(self._desk))
                raise

    async def _open(self) -> None:
        plan = self._plan
        budget = None
        if plan.max_cost is not None or plan.max_tokens is not None:
            budget = Budget(plan.max_cost, plan.max_tokens, self._prices, self._catalog, batch=plan.via == "batch")
        self._desk = desk = Desk(plan, self._pipeline, self._prices, budget, self._outbox, self._meter)
        crew = Crew(plan.concurrency, self._limits)
        limits = {**self._told, "minute": getattr(_snapshot(self._limits), "minute", None)}
        await desk.open(Start(plan.via, self._prices.currency, plan.concurrency, limits))
        self._work = self._worker(desk, crew)
        desk.on_stop = self._work.stopped
        self._task = asyncio.create_task(self._run(desk, self._work), name="moonshot_async bulk")
        # Whoever leaves early does not ask what it ended with.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._teller.begin()
        if self._stops:
            desk.stop("stopped")

    def _worker(self, desk: Desk, crew: Crew) -> Work:
        if self._plan.via == "live":
            return Live(desk, crew)
        # Imported late: most runs make no batches.
        from moonshot_async.bulk.batches.work import Batched

        return Batched(desk)

    async def _run(self, desk: Desk, work: Work) -> None:
        """From the first item to the last word in the journal; raises what the run ends with."""
        try:
            self._cuttable = True
            try:
                if self._plan.handle_signals:
                    self._interrupts.listen()
                await work.run()
            except asyncio.CancelledError:
                if not desk.stopping:
                    desk.stop("cancelled")
            except Exception as error:  # noqa: BLE001  # raised below, once the journal is in order
                desk.stop(type(error).__name__, error)
            self._cuttable = False
            await self._settled(desk)
            if work.over:
                desk.finish()
        finally:
            self._teller.end()
            self._interrupts.unlisten()
            try:
                await self._give_up(desk)
            finally:
                # However often it was cancelled: somebody may wait for more.
                self._outbox.end()
        self._teller.once()
        if desk.error is not None:
            _explain(desk.error, self.progress)
            raise desk.error

    async def _settled(self, desk: Desk) -> None:
        """Write down what came; what cannot be goes into the error."""
        try:
            await desk.recorder.settle()
        except JournalError as error:
            error.unrecorded = desk.unrecorded()
            desk.error = error

    async def _give_up(self, desk: Desk | None) -> None:
        try:
            if self._plan.source is not None:
                await self._plan.source.aclose()
        finally:
            # What the client was told holds; where it was told nothing, what it has learned is worth keeping.
            learned = None if any(self._told.values()) else _limits_of(self._limits)
            # Where no thread can be made for it there is none.
            if desk is not None:  # pragma: no branch
                await desk.recorder.close(desk.reason, learned)

    def _telling_failed(self, error: Exception) -> None:
        assert self._desk is not None, "begun before"
        self._desk.stop("on_progress failed", error)


def _snapshot(limits: object) -> Any:
    look: Any = getattr(limits, "snapshot", None)
    return look() if callable(look) else None


def _limits_of(limits: object) -> dict[str, float | None]:
    """The limits of the account, as far as they are known."""
    known = getattr(_snapshot(limits), "limits", None)
    return {name: getattr(known, name, None) for name in ("concurrency", "rpm", "tpm", "tpd")}


def _explain(error: BaseException, progress: Progress) -> None:
    """Say in an error how far the run came, and that it can be gone on with."""
    note = f"The bulk run stopped: {progress.done} are done and {progress.failed} failed, all of them recorded."
    if not isinstance(error, (BudgetReachedError, JournalError)):
        # Those say so themselves, and what to do before.
        note += " Run it again with the same journal, and it goes on from there."
    error.add_note(note)


async def _shielded(closing: Any) -> None:
    """Close, whoever cancels."""
    import anyio

    with anyio.CancelScope(shield=True):
        await closing
