"""What happened when, in a bounded number of stretches of equal length, however long the run was.

Starts of a run are put one behind the other: what is between them, a night maybe, is left out.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from moonshot_async.bulk.outcomes import amount
from moonshot_async.bulk.report.counts import Count, Span
from moonshot_async.bulk.report.histogram import Histogram
from moonshot_async.bulk.report.shapes import Point, Rate

_MOST: Final = 240
_MINUTE: Final = 60.0
_DAY: Final = 86_400.0
# Lengths of stretches that a person reads easily, in seconds; whole days beyond.
_WIDTHS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(_MINUTE * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480)),
)


class Lane:
    """How many of something there were at once, on the mean of each stretch."""

    __slots__ = ("_area", "_line", "_steps")

    def __init__(self, line: "Timeline") -> None:
        self._line = line
        self._area = [0.0] * line.count
        self._steps = [0] * line.count

    def add(self, began: float, ended: float) -> None:
        """One was there from then to then, in seconds of work; the end is not before the beginning."""
        line = self._line
        first, last = line.index(began), line.index(ended)
        if first == last:
            self._area[first] += ended - began
        else:
            self._area[first] += (first + 1) * line.width - began
            self._area[last] += ended - last * line.width
            # Those between are filled; they are added up at the end, so that a long one costs as little as a short one.
            self._steps[first + 1] += 1
            self._steps[last] -= 1

    def means(self) -> list[float]:
        """One number for each stretch."""
        found: list[float] = []
        filled = 0
        for place, area in enumerate(self._area):
            filled += self._steps[place]
            found.append(filled + area / self._line.seconds(place))
        return found


class Timeline:
    """The stretches of a run; its users count into the lists and counts, by `index`.

    Args:
        spans: of the starts, in order.
        minute: how many seconds a minute has.

    Attributes:
        span: of all work, in seconds.
        count, width: of the stretches; the last one is up to half a width longer or shorter.
        charged: tokens that the limit counts, when they were sent.
        told: which limits are known in some start.
    """

    def __init__(self, spans: Sequence[Span], minute: float) -> None:
        self._spans = spans
        self._minute = minute
        self.told = {name for span in spans for name, limit in span.limits.items() if limit is not None}
        self.span = max(0.001, sum(span.ended - span.began for span in spans))
        days = -(-self.span // (_DAY * _MOST))
        self.width = next((width for width in _WIDTHS if self.span <= width * _MOST), days * _DAY)
        count = self.count = max(1, round(self.span / self.width))
        self.requests, self.tokens, self.charged = (Count(count, len(spans)) for _ in range(3))
        self.done, self.failed, self.cost = [0] * count, [0] * count, [0] * count
        self.errors: list[dict[str, int]] = [{} for _ in range(count)]
        self.latency = [Histogram() for _ in range(count)]
        self.answering, self.limits, self.retries = Lane(self), Lane(self), Lane(self)

    def index(self, at: float) -> int:
        """The stretch of a moment, in seconds of work."""
        place = int(at / self.width)
        return place if place < self.count else self.count - 1

    def seconds(self, place: int) -> float:
        """How long a stretch is."""
        return self.width if place < self.count - 1 else self.span - place * self.width

    def points(self) -> tuple[Point, ...]:
        """All that was counted."""
        requests = self._a_minute(self.requests, "rpm")
        tokens, charged = self._a_minute(self.tokens, "tpm"), self._a_minute(self.charged, "tpm")
        lanes = [lane.means() for lane in (self.answering, self.limits, self.retries)]
        return tuple(
            self._point(place, requests[place], tokens[place], charged[place], [lane[place] for lane in lanes])
            for place in range(self.count)
        )

    def _point(self, place: int, requests: float, tokens: float, charged: float, lanes: list[float]) -> Point:
        at = place * self.width
        limits = self._limits_at(at)
        spread = self.latency[place].spread()
        return Point(
            at=at,
            seconds=self.seconds(place),
            requests=self.requests.stretches[place],
            done=self.done[place],
            failed=self.failed[place],
            tokens=self.tokens.stretches[place],
            cost=amount(self.cost[place]) or Decimal(0),
            requests_a_minute=requests,
            tokens_a_minute=tokens,
            charged_a_minute=charged if "tpm" in self.told else None,
            request_limit=limits.get("rpm"),
            token_limit=limits.get("tpm"),
            p50=None if spread is None else spread.p50,
            p95=None if spread is None else spread.p95,
            p99=None if spread is None else spread.p99,
            answering=lanes[0],
            limits=lanes[1],
            retries=lanes[2],
            errors=self.errors[place],
        )

    def _limits_at(self, at: float) -> Mapping[str, float | None]:
        # The latest that had begun by then.
        return next((span.limits for span in reversed(self._spans) if span.offset <= at), {})

    def _a_minute(self, count: Count, limit: str) -> list[float]:
        """What there was in the minute that ends with each stretch: limits count so. Else the pace of the stretch."""
        minute = self._minute
        if self.width >= minute or (limit not in self.told and self.span < 2 * minute):
            return [many * minute / self.seconds(place) for place, many in enumerate(count.stretches)]
        edges = [place * self.width for place in range(1, self.count)]
        return count.windows([*edges, self.span], self._spans, minute)

    def requests_rate(self, points: Sequence[Point]) -> Rate:
        """Requests a minute."""
        limits = [point.request_limit for point in points]
        return self._rate(self.requests, [point.requests_a_minute for point in points], limits)

    def tokens_rate(self, points: Sequence[Point]) -> Rate:
        """Tokens a minute that were used."""
        limits = [point.token_limit for point in points]
        return self._rate(self.tokens, [point.tokens_a_minute for point in points], limits)

    def charged_rate(self, points: Sequence[Point]) -> Rate | None:
        """Tokens a minute that the limit counts; None where nobody told it."""
        limits = [point.token_limit for point in points]
        found = [point.charged_a_minute or 0.0 for point in points]
        return self._rate(self.charged, found, limits) if "tpm" in self.told else None

    def _rate(self, count: Count, a_minute: list[float], limits: list[float | None]) -> Rate:
        used = allowed = 0.0
        for place, limit in enumerate(limits):
            if limit is not None:
                used += count.stretches[place]
                allowed += limit * self.seconds(place) / self._minute
        peak = max(a_minute)
        limit = next((limit for limit in reversed(limits) if limit is not None), None)
        share = None
        if limit is not None:
            # What a minute allows may come at once: less than a minute counts as one, and what came before its time is
            # no more than everything, unless a minute had too many.
            share = used / (allowed * max(1.0, self._minute / self.span))
            share = min(share, max(1.0, peak / limit))
        return Rate(sum(count.stretches) * self._minute / self.span, peak, limit, share)
