"""Where results wait for whoever iterates a run."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from moonshot_async.bulk.results import BulkResult

# Results that wait may have so many bytes of requests and answers together.
_MOST_BYTES: Final = 64 * 1024 * 1024


class Outbox:
    """Results, as they come or in their order.

    Args:
        bound: when so many wait, nothing new is begun.
        ordered: whether a result waits for those before it.
    """

    def __init__(self, bound: int, *, ordered: bool) -> None:
        self._bound = bound
        self._ordered = ordered
        self._results: deque[BulkResult] = deque()
        # The bytes of each.
        self._sizes: deque[int] = deque()
        self._held: dict[int, tuple[BulkResult, int]] = {}
        self._bytes = 0
        self._due_turn = 1
        # The place of one more request among the results.
        self.turn: Callable[[], int] = count(1).__next__
        self._ended = False
        self._discards = False
        self._takers: list[asyncio.Future[None]] = []
        self._givers: list[asyncio.Future[None]] = []

    @property
    def crowded(self) -> bool:
        """Whether whoever takes the results falls behind."""
        return len(self._results) >= self._bound or (self._bytes > _MOST_BYTES and bool(self._results))

    @property
    def full(self) -> bool:
        """Whether so many results wait, for those before them too, that no more requests should be read."""
        return len(self._results) + len(self._held) >= self._bound or self._bytes > _MOST_BYTES

    def must_wait(self, turn: int) -> bool:
        """Whether the result of this turn is not to be put in yet: it is not the one that all others wait for."""
        return self.crowded or (self._ordered and self.full and turn != self._due_turn)

    def put_all(self, results: Sequence[BulkResult], turns: Sequence[int], sizes: Sequence[int]) -> None:
        """Results are there, with their turns and sizes in bytes."""
        if self._discards:
            return
        self._bytes += sum(sizes)
        if self._ordered:
            self._held.update(zip(turns, zip(results, sizes, strict=True), strict=True))
            while (following := self._held.pop(self._due_turn, None)) is not None:
                self._due_turn += 1
                self._put(*following)
        else:
            self._results.extend(results)
            self._sizes.extend(sizes)
        self._tell_takers()

    def _put(self, result: BulkResult, size: int) -> None:
        self._results.append(result)
        self._sizes.append(size)

    def take(self) -> BulkResult | None:
        """The next result; None where there is none yet."""
        if not self._results:
            return None
        result = self._results.popleft()
        self._bytes -= self._sizes.popleft()
        if self._givers and not self.crowded:
            self.look()
        return result

    async def more(self) -> bool:
        """Wait for a result; False at the end."""
        while not self._results:
            if self._ended:
                return False
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            await taker
        return True

    async def room(self) -> None:
        """Wait until there may be room, or something else is to be looked at."""
        giver = asyncio.get_running_loop().create_future()
        self._givers.append(giver)
        await giver

    def discard(self) -> None:
        """From now on nobody wants the results."""
        self._discards = True
        self._bytes = 0
        self._held.clear()
        self._results.clear()
        self._sizes.clear()
        self.look()

    def end(self) -> None:
        """No more results will come: those that wait for others before them are handed out as they are."""
        for turn in sorted(self._held):
            self._put(*self._held[turn])
        self._held.clear()
        self._ended = True
        self._tell_takers()

    def look(self) -> None:
        """Let those who wait for room look at what else has changed."""
        givers, self._givers = self._givers, []
        for giver in givers:
            wake(giver)

    def _tell_takers(self) -> None:
        """There are results, or the end: several may share the work of taking them."""
        takers, self._takers = self._takers, []
        for taker in takers:
            wake(taker)


def wake(sleeper: "asyncio.Future[None] | None") -> None:
    """Let go on who waits for a future."""
    if sleeper is not None and not sleeper.done():
        sleeper.set_result(None)
