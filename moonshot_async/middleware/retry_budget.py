"""How much may be sent again: a share of all calls, so that an outage is not multiplied, and a reserve for quiet times.

No clock and no lock: who uses it says what time it is, and each operation reads, decides and stores once. Two threads
that meet in one lose one count; what is left stays between nothing and the cap.
"""

import math
from typing import Final

from moonshot_async.errors import ConfigurationError

# A peak of calls in flight counts until the end of the next period, in seconds.
_PERIOD: Final = 5.0
# So long nothing must have failed for the reserve to be full again, in seconds.
_QUIET: Final = 10.0


class RetryBudget:
    """What the calls of a client may send again together. Part of `Retry`; one may be shared by many.

    Every call brings `ratio`, and every repetition takes 1: if everything fails, little more than `ratio` of the calls
    is sent again, and all else fails at once. No more is kept than `reserve`, and `ratio` for each of the calls that
    were in flight together in the last seconds: a burst of faults among a thousand concurrent calls finds what the
    thousand brought, and an outage after a day of good calls finds no more than the reserve. Ten seconds in which
    nothing failed fill it up to the reserve.

    A repetition that was answered gives back what it took, since nothing is multiplied where repeating helps.

    It costs nothing to wait as a 429 asks for, since the service itself spreads its callers then, nor to replace an
    idle connection that the server had closed.

    Args:
        ratio: what each call brings, from 0 to 1.
        reserve: what there is at the beginning; `math.inf` for a budget that is never used up.

    Raises:
        ConfigurationError: one of them is not such a number.
    """

    __slots__ = (
        "_balance",
        "_cap",
        "_in_flight",
        "_last_failure",
        "_least_cap",
        "_peak",
        "_peak_before",
        "_period_ends",
        "_ratio",
        "_reserve",
    )

    def __init__(self, ratio: float = 0.17, reserve: float = 10.0) -> None:
        if not _is_number(ratio) or not 0 <= ratio <= 1:
            raise ConfigurationError(f"ratio must be a number from 0 to 1, not {ratio!r}")
        if not _is_number(reserve) or not reserve >= 0:
            raise ConfigurationError(f"reserve must be a number of 0 or more, not {reserve!r}")
        self._ratio = ratio
        self._reserve = reserve
        # The most that is kept while calls come one after the other.
        self._least_cap = reserve + ratio
        self._cap = self._least_cap
        self._balance = float(reserve)
        self._in_flight = 0
        self._peak = self._peak_before = 1
        self._period_ends = -math.inf
        self._last_failure = -math.inf

    @classmethod
    def unlimited(cls) -> "RetryBudget":
        """A budget that is never used up: each call is sent again as often as `max_retries` says, come what may."""
        return cls(reserve=math.inf)

    @property
    def balance(self) -> float:
        """How many repetitions there are now."""
        return min(self._balance, self._cap)

    @property
    def cap(self) -> float:
        """How many there may be now."""
        return self._cap

    def enter(self, now: float) -> None:
        """A call begins, and brings its share."""
        self._in_flight += 1
        if now >= self._period_ends:
            self._next_period(now)
        if self._in_flight > self._peak:
            self._peak = self._in_flight
            self._cap = max(self._cap, self._reserve + self._ratio * self._peak)
        if (balance := self._balance) < self._cap:
            self._balance = min(self._cap, balance + self._ratio)

    def leave(self) -> None:
        """A call ended, however it did."""
        self._in_flight -= 1
        if self._in_flight <= 0 and self._cap > self._least_cap:
            # Nobody is left who was there with the many.
            self._peak = self._peak_before = 1
            self._cap = self._least_cap

    def failed(self, now: float, sent: float) -> None:
        """What was sent at `sent` failed now, for a reason that passes."""
        if now >= self._period_ends:
            self._next_period(now)
        # Counted to the sending: what fails after ten seconds of waiting is no sign of ten good seconds.
        if sent - self._last_failure >= _QUIET:
            self._balance = max(self.balance, self._reserve)
        self._last_failure = now

    def take(self) -> bool:
        """Take 1 for sending something again; False where there is not so much."""
        if (balance := self.balance) < 1.0:
            return False
        self._balance = balance - 1.0
        return True

    def give_back(self) -> None:
        """What was taken has helped: what was sent again was answered."""
        self._balance = min(self._cap, self.balance + 1.0)

    def _next_period(self, now: float) -> None:
        self._period_ends = now + _PERIOD
        # However long ago that was: calls that nobody joined since may still be there.
        self._peak_before, self._peak = self._peak, max(1, self._in_flight)
        self._cap = self._reserve + self._ratio * max(self._peak_before, self._peak)

    def __repr__(self) -> str:
        return f"RetryBudget(ratio={self._ratio!r}, reserve={self._reserve!r}, balance={self.balance:.2f})"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
