"""How requests come into a run: read a few at a time, taken into the journal, and given to whoever works on them."""

from collections.abc import Awaitable, Callable, Sequence

from moonshot_async.bulk.desk import Desk
from moonshot_async.bulk.items import Item
from moonshot_async.bulk.journal.store import Store
from moonshot_async.bulk.outcomes import DONE, FAILED, Outcome
from moonshot_async.bulk.results import BulkResult


class Feed:
    """Brings items, each once. What the journal holds unanswered comes first, unless the order of requests counts.

    Args:
        desk: of the run.
        give: gets items, in their order.
        wanted: waits until more are wanted; how many to read then, 0 for none any more.

    Attributes:
        open: numbers of those that were given and are not over.
        ended: whether all of them were brought.
    """

    def __init__(
        self,
        desk: Desk,
        give: Callable[[Sequence[Item]], object],
        wanted: Callable[[], Awaitable[int]],
    ) -> None:
        self._desk = desk
        self._give = give
        self._wanted = wanted
        self.open: set[int] = set()
        self.ended = False
        self._problem: Exception | None = None
        # Where results come without what was given.
        self._turns: dict[int, int] = {}
        self._keeps_turns = desk.plan.ordered and desk.plan.via == "batch"

    async def run(self) -> None:
        """Bring all of them; what is wrong with a request ends the run."""
        desk = self._desk
        late = desk.plan.ordered and desk.plan.source is not None
        try:
            if not late:
                await self._unanswered()
            if desk.plan.source is not None:
                await self._read()
            if late:
                await self._unanswered()
            self.ended = not desk.stopping
        except Exception as error:  # noqa: BLE001  # whatever a source raises ends the run in good order
            self._problem = error

    def finish(self) -> None:
        """What was brought is done: now the run ends with what was wrong with the others, if it was."""
        if self._problem is not None:
            self._desk.stop("the requests could not be read", self._problem)

    async def _unanswered(self) -> None:
        """Give what earlier starts have left open."""
        last = 0
        while most := await self._wanted():
            items = await self._desk.recorder.read(Store.unanswered, last, most)
            if not items:
                return
            last = items[-1].number
            left = [item for item in items if item.number not in self.open]
            for item in left:
                self.begin(item)
            self._give(left)

    async def _read(self) -> None:
        source = self._desk.plan.source
        assert source is not None, "asked before"
        # Also when the run is being stopped what was read is taken in: it may come only once.
        while (most := await self._wanted()) and (items := await source.some(most)):
            again = self._sort(items, await self._desk.recorder.admit(items))
            if again:
                await self._replay(again)

    def _sort(self, items: list[Item], states: list[str]) -> list[Item]:
        """Give what is to be done; what was done, and is to be told again, is returned.

        Not a moment may pass in between: more is done meanwhile.
        """
        desk = self._desk
        new: list[Item] = []
        again: list[Item] = []
        for item, state in zip(items, states, strict=True):
            if state == "new" or (state == "open" and item.number not in self.open):
                self.begin(item)
                new.append(item)
                continue
            desk.meter.known += 1
            if state in (DONE, FAILED) and desk.plan.replay:
                item.turn = desk.outbox.turn()
                again.append(item)
        if new:
            self._give(new)
        return again

    def begin(self, item: Item) -> None:
        """An item is to be worked on: nobody else is given it, and it has its place among the results."""
        self.open.add(item.number)
        item.turn = self._desk.outbox.turn()
        if self._keeps_turns:
            self._turns[item.number] = item.turn

    def turn_of(self, number: int) -> int:
        """The place of an item among the results; 0 where their order does not count."""
        return self._turns.get(number, 0)

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """These items are over: their outcomes are on the disk."""
        numbers = [outcome.item.number for outcome in outcomes]
        self.open.difference_update(numbers)
        if self._keeps_turns:
            for number in numbers:
                self._turns.pop(number, None)

    async def _replay(self, items: list[Item]) -> None:
        """Hand out again what was recorded."""
        desk = self._desk
        outcomes = await desk.recorder.read(Store.recorded, [item.number for item in items])
        known = {outcome.item.number: outcome for outcome in outcomes}
        results: list[BulkResult] = []
        sizes: list[int] = []
        for item in items:
            outcome = known[item.number]
            outcome.item.position = item.position
            results.append(desk.result(outcome, replayed=True))
            sizes.append(outcome.size)
        desk.outbox.put_all(results, [item.turn for item in items], sizes)
