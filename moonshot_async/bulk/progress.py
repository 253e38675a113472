"""How far a run is."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from moonshot_async.bulk.journal.totals import Totals
from moonshot_async.bulk.outcomes import amount

# The rate is that of the last so many seconds.
_RECENT: Final = 10.0
_STEP: Final = 0.25
# How often it is told, in seconds.
_TELL: Final = 0.5


class Progress(msgspec.Struct, frozen=True):
    """How far a run is, its earlier starts included.

    Attributes:
        done: requests with a good answer.
        failed: requests that failed for good.
        total: how many there are in all; None where nobody knows.
        in_flight: calls under way.
        waiting: requests that were put back, since something passing was wrong.
        put_back: how often that happened in this start.
        known: requests that were given in this start, and had been answered, or were given, before.
        rate: requests a second that were finished lately.
        tokens: of all prompts and answers.
        cost: of all answers, in `currency`, as far as prices are known.
        currency: "usd" or "cny".
        elapsed: seconds since this start began.
    """

    done: int
    failed: int
    total: int | None
    in_flight: int
    waiting: int
    put_back: int
    known: int
    rate: float
    tokens: int
    cost: Decimal
    currency: str
    elapsed: float

    @property
    def left(self) -> int | None:
        """How many are to be finished yet; None where nobody knows."""
        return None if self.total is None else max(0, self.total - self.done - self.failed)

    @property
    def eta(self) -> float | None:
        """Seconds until the end at this rate; None where that cannot be told."""
        return None if self.left is None or self.rate <= 0 else self.left / self.rate


class Meter:
    """Counts what a run does.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.began = clock()
        self.totals = Totals()
        self.total: int | None = None
        self.put_back = self.known = self.good = 0
        self._recent: deque[tuple[float, int]] = deque([(self.began, 0)])
        self._finished = 0

    def finished(self, count: int) -> None:
        """So many more are over."""
        now = self._clock()
        self._finished += count
        recent = self._recent
        if now - recent[-1][0] >= _STEP:
            recent.append((now, self._finished))
            while len(recent) > 2 and now - recent[1][0] > _RECENT:
                recent.popleft()

    def rate(self) -> float:
        """Requests a second that were finished lately."""
        now = self._clock()
        recent = self._recent
        while len(recent) > 1 and now - recent[1][0] > _RECENT:
            recent.popleft()
        began, before = recent[0]
        return (self._finished - before) / max(now - began, _STEP)

    def progress(self, in_flight: int, waiting: int, currency: str) -> Progress:
        """What there is to tell."""
        totals = self.totals
        return Progress(
            done=totals.done,
            failed=totals.failed,
            total=self.total,
            in_flight=in_flight,
            waiting=waiting,
            put_back=self.put_back,
            known=self.known,
            rate=self.rate(),
            tokens=totals.prompt_tokens + totals.completion_tokens,
            cost=amount(totals.cost) or Decimal(0),
            currency=currency,
            elapsed=self._clock() - self.began,
        )


class Teller:
    """Tells how far a run is: twice a second, and at the end.

    Args:
        tell: what is called; None for nothing.
        look: gives how far it is.
        failed: called with what `tell` raises: that is the caller's, who hears of it from the loop.
    """

    def __init__(
        self,
        tell: Callable[[Progress], object] | None,
        look: Callable[[], Progress],
        failed: Callable[[Exception], object],
    ) -> None:
        self._tell = tell
        self._look = look
        self._failed = failed
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Tell it now and then."""
        if self._tell is not None:
            self._timer = asyncio.get_running_loop().call_later(_TELL, self.begin)
            self.once()

    def once(self) -> None:
        """Tell it."""
        if self._tell is not None:
            try:
                self._tell(self._look())
            except Exception as error:  # noqa: BLE001  # whatever it is, the run ends in good order
                self._failed(error)

    def end(self) -> None:
        """Tell it now and then no more."""
        if self._timer is not None:
            self._timer.cancel()
