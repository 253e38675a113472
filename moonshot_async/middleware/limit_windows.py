"""Rolling windows: what happened in the last so many seconds, in memory that is bounded."""

import math
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Final

# So many entries a window keeps one by one. What comes beyond them is put together in steps of this part of its length,
# so that it never has more than twice as many, and one.
STEPS: Final = 256
# How long the quickest was under way is slowly forgotten, so much of it each time.
_FORGOTTEN: Final = 1 / 256


class Bucket:
    """What was counted at about one time.

    Attributes:
        first, last: when the first and the last of it came.
        count: how many came.
        amount: how much they were together.
        took: how long the slowest of it was under way, as far as that is known.
        gone: whether the window has forgotten it.
    """

    __slots__ = ("amount", "count", "first", "gone", "last", "took")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.count = self.amount = 0
        self.took = 0.0
        self.gone = False


class Window:
    """What came in the last `seconds`. Nothing leaves it too early.

    Where much comes it may leave too late, by a step of 1/256 of its length at most.

    What is counted by somebody else, when it arrives there, may have come later than it was sent: to make a connection
    takes a while, and so does it to send much at once. Nobody tells how long; but it was no more than by how much it
    was longer under way than what was quickest. In the beginning, when all are slow, none is quick.

    Times are given, not looked up, and never go back.

    Args:
        seconds: its length.
        margin: for so much longer everything stays.
        latest: how much later things may have come at most; what the margin makes up for is not waited for twice.

    Attributes:
        count, amount: in all, as of the last look at the time.
    """

    __slots__ = (
        "_buckets",
        "_latest",
        "_margin",
        "_newest",
        "_quickest",
        "_seconds",
        "_step",
        "_warm",
        "amount",
        "count",
    )

    def __init__(self, seconds: float, margin: float = 0.0, latest: float = 0.0) -> None:
        seconds += margin
        self._seconds = seconds
        self._margin = margin
        self._step = seconds / STEPS
        self._latest = latest
        self._quickest = math.inf
        # What comes from then on has others to be measured by.
        self._warm = math.inf
        self._buckets: deque[Bucket] = deque()
        self._newest = Bucket(-math.inf)
        self.count = self.amount = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, amount: int, now: float) -> Bucket:
        """Count one of `amount`; the bucket that comes back is what `change` takes."""
        bucket = self._newest
        if len(self._buckets) < STEPS or now - bucket.first > self._step:
            self.sweep(now)
            if not self._buckets:
                self._warm = now + self._seconds / 2
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

    def arrived(self, bucket: Bucket, took: float) -> None:
        """One of `bucket` was under way for so long."""
        bucket.took = max(bucket.took, took)
        if took < self._quickest:
            self._quickest = took
        self._quickest += (took - self._quickest) * _FORGOTTEN

    def sweep(self, now: float) -> None:
        """Forget what has left the window, in the order in which it came."""
        buckets, since = self._buckets, now - self._seconds
        while buckets and buckets[0].last <= since and self._came(buckets[0]) <= since:
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
        last = now - self._seconds
        for bucket in self._buckets:
            last = max(last, self._came(bucket))
            excess -= part(bucket)
            if excess <= 0:
                return last + self._seconds - now
        return math.inf

    def _came(self, bucket: Bucket) -> float:
        """When the last of it came, perhaps."""
        usual = self._quickest if bucket.first > self._warm else 0.0
        return bucket.last + max(0.0, min(bucket.took - usual, self._latest) - self._margin)
