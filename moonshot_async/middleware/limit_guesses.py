"""Guesses at limits that nobody names: from what was served and what was refused.

Each guess is lowered by a refusal and rises with successes. Rising beyond what was refused may cost a refusal, so that
many successes have to pay for it first: of a hundred requests less than one is refused for the sake of knowing.
"""

from typing import Final

from moonshot_async.middleware.limit_store import MARGIN
from moonshot_async.middleware.limit_windows import Bucket, Window

_FEWER: Final = 0.7
_SLOWER: Final = 0.95
# By this part the rate rises; twice as much each time once it is beyond what was refused.
_STEP: Final = 0.02
_LARGEST_STEP: Final = 0.5
# So many successes pay for a refusal.
_CONCURRENCY_PROBE: Final = 300
_RATE_PROBE: Final = 150
# A refusal below this part of the guess has another reason.
_NEAR: Final = 0.9


class ConcurrencyGuess:
    """How many requests the service may take at once.

    Attributes:
        limit: the guess; None for none.
        sure: whether more than a few refusals speak for it.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.sure = False
        self._refused_at: int | None = None
        # Both, as they were at the last success.
        self._before: tuple[int | None, int | None] = (None, None)
        self._successes = 0
        self._beyond = 0

    def accepted(self, level: int) -> bool:
        """A request was served, sent while `level` were under way with it; whether the guess has changed."""
        limit = self.limit
        self._before = limit, self._refused_at
        # What was not made use of says nothing.
        if limit is None or 2 * level < limit:
            return False
        edge = self._refused_at
        if edge is not None and level >= edge:
            # Once may be luck, since requests overtake each other; a whole round is not.
            self._beyond += 1
            if self._beyond >= edge:
                self._refused_at = edge = None
        self._successes += 1
        if self._successes < (limit if edge is None or limit + 1 < edge else max(limit, _CONCURRENCY_PROBE)):
            return False
        # Fast while it is far from what was refused.
        self.limit = limit + max(1, (limit if edge is None else edge - 1 - limit) // 4)
        self._successes = 0
        return True

    def explains(self, level: int) -> bool:
        """Whether a refusal while so many were under way is one for their number, as one was before."""
        return self._refused_at is not None and level >= self._refused_at

    def took(self, level: int) -> None:
        """It is heard late that, before a refusal, so many were under way and taken."""
        if self.limit is None:
            return
        self.limit = max(self.limit, int(level * _FEWER))
        if self._refused_at is not None:
            self._refused_at = max(self._refused_at, level + 1)

    def refused(self, level: int, *, edge: bool) -> None:
        """A request was refused, sent while `level` were under way with it.

        Args:
            level: this one included.
            edge: whether as many will be refused again.
        """
        fewer = max(1, int((level - 1) * _FEWER))
        self.limit = fewer if self.limit is None else min(self.limit, fewer)
        self._refused_at = level if edge else None
        self._successes = self._beyond = 0

    def acquit(self) -> None:
        """It was not the number at once: whatever was guessed since the last success was wrong."""
        self.limit, self._refused_at = self._before


class RateGuess:
    """How many requests the service may take in a minute.

    Attributes:
        limit: the guess; None for none.
        sure: whether more than a few refusals speak for it.
    """

    def __init__(self, minute: float) -> None:
        self.limit: int | None = None
        self.sure = False
        self._minute = minute
        self._taken = Window(minute * (1 + MARGIN))
        self._refused_at = 0
        self._step = _STEP
        self._raised = False
        self._successes = 0
        self._changed = 0.0

    def forget(self) -> None:
        """There is no such limit, or it is known."""
        self.limit, self.sure = None, False

    def sent(self, now: float) -> Bucket:
        return self._taken.add(0, now)

    def not_taken(self, bucket: Bucket) -> None:
        """A request was refused: it is none of those that the service took."""
        self._taken.drop(bucket)

    def explains(self, now: float) -> bool:
        """Whether a refusal can be one for the rate: it rose since the last one, and was made use of."""
        return self.limit is not None and self._raised and self._count(now) >= self.limit * _NEAR

    def accepted(self, now: float) -> bool:
        """A request was served; whether the guess has changed."""
        limit = self.limit
        if limit is None:
            return False
        self._successes += 1
        if self._successes < _RATE_PROBE or now - self._changed < self._minute:
            return False
        # What was not made use of says nothing.
        if self._count(now) < limit * _NEAR:
            return False
        self._step = min(2 * self._step, _LARGEST_STEP) if limit >= self._refused_at else _STEP
        self.limit = limit + max(1, int(limit * self._step))
        self._raised = True
        self._successes, self._changed = 0, now
        return True

    def refused(self, now: float) -> None:
        """A request was refused for its rate."""
        taken = self._count(now)
        if not taken:
            # Others use the account, it seems: of them nothing is known.
            return
        slower = max(1, int(taken * _SLOWER))
        self.limit = slower if self.limit is None else min(self.limit, slower)
        self._refused_at = taken + 1
        self._step, self._raised = _STEP, False
        self._successes, self._changed = 0, now

    def _count(self, now: float) -> int:
        """How many the service took in the last minute."""
        self._taken.sweep(now)
        return self._taken.count
