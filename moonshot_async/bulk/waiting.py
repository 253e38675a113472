"""Items that wait to be sent: those that came, and those that were put back until their time has come."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from moonshot_async.bulk.items import Item


class Waiting:
    """A queue, and a heap of moments.

    Args:
        due: called when the time of one that was put back has come.

    Attributes:
        ready: those that came, in their order.
        held_bytes: of the bodies of all that wait.
    """

    def __init__(self, due: Callable[[], object]) -> None:
        self.ready: deque[Item] = deque()
        self.held_bytes = 0
        self._tell = due
        self._later: list[tuple[float, int, Item]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def later(self) -> int:
        """How many wait for their second chance."""
        return len(self._later)

    def add(self, items: Sequence[Item]) -> None:
        """More have come."""
        self.ready.extend(items)
        self.held_bytes += sum([len(item.body) for item in items])

    def take(self) -> Item | None:
        """The next one: of those that were put back, if its time has come. None where there is none at the moment."""
        if self._later and self._later[0][0] <= time.monotonic():
            item = heapq.heappop(self._later)[2]
            self._set_timer()
        elif self.ready:
            item = self.ready.popleft()
        else:
            return None
        self.held_bytes -= len(item.body)
        return item

    def return_first(self, item: Item) -> None:
        """It was taken, and is to be the next one all the same."""
        self.ready.appendleft(item)
        self.held_bytes += len(item.body)

    def put_back(self, item: Item, seconds: float) -> None:
        """It is to be taken again, but not before so many seconds."""
        item.retry_wait += seconds
        self.held_bytes += len(item.body)
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), item))
        self._set_timer()

    def end(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.end()
        if self._later:
            seconds = max(0.001, self._later[0][0] - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        self._tell()
        self._set_timer()
