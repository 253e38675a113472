"""How many of something there were, and how many in the minute before a moment, as limits count it."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec


class Span(msgspec.Struct):
    """The work of one start.

    Attributes:
        began, ended: in Unix seconds.
        offset: how much work was done in earlier starts, in seconds.
        limits: what the account was allowed a minute: `rpm` and `tpm`.
        turn: which start it is, from 0.
    """

    began: float
    ended: float
    offset: float
    limits: Mapping[str, float | None]
    turn: int = 0

    def place(self, time: float) -> float:
        """Where a time lies, in seconds of work; what is before or after the start, at its ends."""
        began, ended = self.began, self.ended
        return self.offset + (0.0 if time < began else (time if time < ended else ended) - began)


def earlier(spans: Sequence[Span], at: float, seconds: float) -> float:
    """The place that was so many seconds of the day before another one: pauses between two starts count.

    Less than 0 for before all of them.
    """
    within = next((span for span in reversed(spans) if span.offset < at), spans[0])
    if at - within.offset >= seconds:
        return at - seconds
    then = within.began + at - within.offset - seconds
    # A clock that was put back between two starts leads to nothing later.
    return next((min(at, span.place(then)) for span in reversed(spans[: within.turn + 1]) if span.began <= then), -1.0)


class Count:
    """Amounts by stretch, and by start: a pause between two starts may lie within a stretch.

    Attributes:
        stretches: the amount of each.
    """

    __slots__ = ("_starts", "stretches")

    def __init__(self, stretches: int, starts: int) -> None:
        self.stretches = [0] * stretches
        self._starts = [0] * starts

    def add(self, amount: int, stretch: int, span: Span) -> None:
        """So many more."""
        self.stretches[stretch] += amount
        self._starts[span.turn] += amount

    def windows(self, edges: Sequence[float], spans: Sequence[Span], seconds: float) -> list[float]:
        """How many there were in so many seconds before the end of each stretch.

        Args:
            edges: the ends of the stretches.
        """
        # What is known exactly, at the edges and where starts begin; in between it is taken to be even.
        known = [(0.0, 0), *zip(edges, accumulate(self.stretches), strict=True)]
        known += zip((span.offset for span in spans), accumulate(self._starts, initial=0), strict=False)
        known.sort()
        places = [place for place, _ in known]

        def until(at: float) -> float:
            if at < 0:
                return 0
            after = bisect_right(places, at)
            before, many = known[after - 1]
            if after == len(known):
                return many
            place, more = known[after]
            return many + (more - many) * (at - before) / (place - before)

        return [round(until(edge) - until(earlier(spans, edge, seconds)), 6) for edge in edges]
