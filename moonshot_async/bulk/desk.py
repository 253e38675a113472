"""What both ways of a run, live and through batches, have in common: the journal, the results, and how it ends."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from moonshot_async.bulk.budget import Budget, model_of, ttl_of
from moonshot_async.bulk.items import Item
from moonshot_async.bulk.journal.recorder import Recorder
from moonshot_async.bulk.journal.store import Start, Store
from moonshot_async.bulk.journal.totals import Group
from moonshot_async.bulk.outbox import Outbox
from moonshot_async.bulk.outcomes import Outcome, Tokens
from moonshot_async.bulk.plan import Plan
from moonshot_async.bulk.prices import Prices
from moonshot_async.bulk.progress import Meter
from moonshot_async.bulk.results import BulkResult, result_of
from moonshot_async.errors import MoonshotError
from moonshot_async.pipeline import Pipeline
from moonshot_async.types.chat import ChatCompletion

if TYPE_CHECKING:
    from moonshot_async.catalog import CacheTtl


class Desk:
    """One start of a run.

    Args:
        plan: what was told.
        pipeline: sends requests.
        prices: of the account.
        budget: None for no limit.
        outbox: where results go.
        meter: counts.

    Attributes:
        recorder: writes the journal.
        any_success: whether this start has had a good answer.
        on_stop: called once, when the run is to stop.
        on_recorded: called with outcomes that are on the disk, before anybody else hears of them.
        stopping: whether nothing new is begun any more.
        over: whether all requests were worked through.
        reason: why, in a word or two; None for the end of all requests.
        error: what the run ends with; None for nothing.
    """

    def __init__(
        self,
        plan: Plan,
        pipeline: Pipeline,
        prices: Prices,
        budget: Budget | None,
        outbox: Outbox,
        meter: Meter,
    ) -> None:
        self.plan = plan
        self.pipeline = pipeline
        self.prices = prices
        self.budget = budget
        self.outbox = outbox
        self.meter = meter
        store = Store(plan.journal, retry_failed=plan.retry_failed, clock=plan.clock)
        self.recorder = Recorder(store, self._recorded, self._journal_failed)
        self.any_success = False
        self.stopping = self.over = False
        self.reason: str | None = None
        self.error: BaseException | None = None
        self.on_stop: Callable[[], object] = _nothing
        self.on_recorded: Callable[[Sequence[Outcome]], object] = _nothing

    async def open(self, start: Start) -> None:
        """Open the journal, and see what it holds."""
        self.meter.totals = await self.recorder.open(start)
        if self.budget is not None:
            self.budget.begin(self.meter.totals)
        if self.plan.source is not None:
            self.meter.total = await self.plan.source.total()
        else:
            totals = self.meter.totals
            self.meter.total = totals.done + totals.failed + totals.open

    def stop(self, reason: str, error: BaseException | None = None) -> None:
        """Begin nothing new; the first reason counts."""
        if self.stopping or (self.over and error is None):
            return
        self.stopping = True
        self.reason, self.error = reason, error
        self.outbox.look()
        self.on_stop()

    def finish(self) -> None:
        """All requests were worked through, also where the run was to be stopped just then."""
        self.over = True
        if self.error is None:
            self.reason = None

    def result(self, outcome: Outcome, *, replayed: bool = False) -> BulkResult:
        """What is handed out of an outcome."""
        return result_of(outcome, self.plan.parse, replayed=replayed)

    def cost(self, tokens: Tokens, model: str, item: Item) -> int | None:
        """What an answer cost; None where nobody knows."""
        batch = self.plan.via == "batch"
        ttl: CacheTtl = ttl_of(item.body) if tokens.cache_write else "5m"
        cost = self.prices.cost(tokens, model, batch=batch, ttl=ttl)
        # An answer may call its model by a name that the catalog has not heard of.
        return self.prices.cost(tokens, model_of(item.body), batch=batch, ttl=ttl) if cost is None else cost

    def judged(self, completion: ChatCompletion, parse: Callable[[ChatCompletion], Any]) -> MoonshotError | None:
        """What is wrong with an answer that is to be of a type."""
        try:
            parse(completion)
        except MoonshotError as error:
            return error.with_traceback(None)
        return None

    def unrecorded(self) -> tuple[BulkResult, ...]:
        """What came and could not be written down."""
        return tuple(self.result(outcome) for outcome in self.recorder.kept)

    def _recorded(self, group: Group) -> None:
        if group.outcomes:
            self.meter.totals.add_all(group.totals)
            self.meter.finished(len(group.outcomes))
            outcomes, parse = group.outcomes, self.plan.parse
            self.on_recorded(outcomes)
            results = [result_of(outcome, parse) for outcome in outcomes]
            sizes = [outcome.size for outcome in outcomes]
            self.outbox.put_all(results, [outcome.item.turn for outcome in outcomes], sizes)

    def _journal_failed(self, problem: Exception) -> None:
        self.stop("the journal could not be written", problem)


def _nothing(*_: object) -> None:
    """There is nobody to tell."""
