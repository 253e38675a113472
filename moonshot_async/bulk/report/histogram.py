"""Percentiles of any number of durations in bounded memory: counted in bins that grow by 2 %."""

import math
from typing import Final

from moonshot_async.bulk.report.shapes import Spread

# A duration is told to ±1 %; a millionth of a second to ten years make less than 1700 bins.
_SCALE: Final = 1 / math.log(1.02)
_LEAST: Final = 1e-6


class Histogram:
    """Durations, in seconds."""

    __slots__ = ("_bins", "_count", "_least", "_most", "_sum")

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self._count = 0
        self._sum = 0.0
        self._least = math.inf
        self._most = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        # Built without `max` and `min`, which cost more than all the rest; a million durations are usual. Clocks of two
        # machines may tell of less than nothing.
        if seconds < 0.0:
            seconds = 0.0
        place = math.floor(math.log(seconds if seconds > _LEAST else _LEAST) * _SCALE)
        bins = self._bins
        bins[place] = bins.get(place, 0) + 1
        self._count += 1
        self._sum += seconds
        if seconds < self._least:
            self._least = seconds
        if seconds > self._most:
            self._most = seconds

    def spread(self) -> Spread | None:
        """What they are like; None where there are none."""
        if not self._count:
            return None
        p50, p90, p95, p99 = self._quantiles((0.5, 0.9, 0.95, 0.99))
        return Spread(self._count, self._sum / self._count, self._least, p50, p90, p95, p99, self._most)

    def _quantiles(self, shares: tuple[float, ...]) -> list[float]:
        found: list[float] = []
        places = iter(sorted(self._bins))
        seen, place = 0, 0
        for share in shares:
            wanted = math.ceil(share * self._count)
            while seen < wanted:
                place = next(places)
                seen += self._bins[place]
            middle = math.exp((place + 0.5) / _SCALE)
            found.append(min(self._most, max(self._least, middle)))
        return found
