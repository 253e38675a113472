"""Rolling windows: what happened in the last so many seconds, in memory that is bounded."""

import math
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Final

# A window forgets in steps of this part of its length; more entries than this, and one, it never has.
STEPS: Final = 256


class Bucket:
    """What was counted at about one time.

    Attributes:
        first, last: when the first and the last of it came.
        count: how many came.
        amount: how much they were together.
        gone: whether the window has forgotten it.
    """

    __slots__ = ("amount", "count", "first", "gone", "last")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.count = self.amount = 0
        self.gone = False


class Window:
    """What came in the last `seconds`. Nothing leaves it too early; a step of 1/256 of its length too late at most.

    Times are given, not looked up, and never go back.

    Attributes:
        count, amount: in all, as of the last look at the time.
    """

    __slots__ = ("_buckets", "_newest", "_seconds", "_step", "amount", "count")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step = seconds / STEPS
        self._buckets: deque[Bucket] = deque()
        self._newest = Bucket(-math.inf)
        self.count = self.amount = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, amount: int, now: float) -> Bucket:
        """Count one of `amount`; the bucket that comes back is what `change` takes."""
        bucket = self._newest
        if now - bucket.first > self._step:
            self.sweep(now)
            bucket = self._newest = Bucket(now)
            self._buckets.append(bucket)
        bucket.last = now
        bucket.count += 1
        bucket.amount += amount
        self.count += 1
        self.amount += amount
        return bucket

    def change(self, bucket: Bucket, by: int) -> None:
        """The amount of `bucket` is so much more, or less."""
        if not bucket.gone:
            bucket.amount += by
            self.amount += by

    def drop(self, bucket: Bucket) -> None:
        """One of `bucket` does not count."""
        if not bucket.gone:
            bucket.count -= 1
            self.count -= 1

    def sweep(self, now: float) -> None:
        """Forget what has left the window."""
        buckets, since = self._buckets, now - self._seconds
        while buckets and buckets[0].last <= since:
            bucket = buckets.popleft()
            self.count -= bucket.count
            self.amount -= bucket.amount
            bucket.gone = True

    def wait_for_count(self, limit: int, now: float) -> float:
        """Seconds until one more fits below the limit: 0.0 for at once."""
        self.sweep(now)
        excess = self.count + 1 - limit
        return self._wait(excess, attrgetter("count"), now) if excess > 0 else 0.0

    def wait_for_amount(self, amount: int, limit: int, now: float) -> float:
        """Seconds until `amount` fits below the limit: 0.0 for at once, infinite for never."""
        self.sweep(now)
        excess = self.amount + amount - limit
        return self._wait(excess, attrgetter("amount"), now) if excess > 0 else 0.0

    def _wait(self, excess: int, part: Callable[[Bucket], int], now: float) -> float:
        """Seconds until so much has left."""
        for bucket in self._buckets:
            excess -= part(bucket)
            if excess <= 0:
                return max(0.0, bucket.last + self._seconds - now)
        return math.inf
