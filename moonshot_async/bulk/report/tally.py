"""Counts rows of a journal, one by one."""

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from moonshot_async import errors
from moonshot_async.bulk.outcomes import FAILED, amount, failures_of
from moonshot_async.bulk.report.counts import Span
from moonshot_async.bulk.report.histogram import Histogram
from moonshot_async.bulk.report.sendings import Sending, reckoned
from moonshot_async.bulk.report.shapes import ErrorCount, ModelUse, Spent
from moonshot_async.bulk.report.timeline import Timeline
from moonshot_async.errors import APIStatusError
from moonshot_async.middleware.limit_estimates import Estimates

# So many kinds of errors, and models, are told apart; what is beyond is counted together.
_KINDS: Final = 64
_OTHERS: Final = "others"
_EXAMPLES: Final = 3
_NOWHERE: Final = Span(0.0, 0.0, 0.0, {})


class _Kind(msgspec.Struct):
    items: int = 0
    sendings: int = 0
    numbers: list[int] = []


class _Use(msgspec.Struct):
    answers: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cost: int = 0


class Tally:
    """What the rows add up to.

    Args:
        line: counts what happened when.
        spans: of the starts, by number.

    Attributes:
        answer, first_byte, whole: see `Report`.
    """

    def __init__(self, line: Timeline, spans: Mapping[int, Span]) -> None:
        self._line = line
        self._spans = spans
        self._kinds: dict[str, _Kind] = {}
        self._models: dict[str, _Use] = {}
        self._estimates = Estimates(None)
        self._answering = self._failing = self._limits = self._retries = 0.0
        self.answer, self.first_byte, self.whole = Histogram(), Histogram(), Histogram()

    def add(self, row: Sequence[Any]) -> None:
        """Count an outcome."""
        number, state, start, began, sent, head, ended, limit_wait, retry_wait, failures, error = row[:11]
        model, prompt, completion, cached, cost, unanswered, body = row[11:]
        span = self._spans.get(start, _NOWHERE)
        line = self._line
        at = line.index(span.place(ended))
        if state == FAILED:
            line.failed[at] += 1
            self._item_failed(number, error)
        else:
            line.done[at] += 1
        if prompt is not None:
            line.tokens.add(prompt + completion, at, span)
            line.cost[at] += cost or 0
            self._used(model, prompt, completion, cached, cost)
        self.whole.add(ended - began)
        charge = 0 if body is None else self._charge(body, prompt)
        if sent is not None and not unanswered:
            self._answered(span, at, sent, head, ended, charge)
        if failures is not None:
            last = ended if sent is None else sent
            self._failed(
                span,
                charge,
                *reckoned(
                    failures_of(failures),
                    began=began,
                    sent=last,
                    ended=ended,
                    answered=sent is None or not unanswered,
                    limit_wait=limit_wait,
                    retry_wait=retry_wait,
                ),
                last,
            )
        elif limit_wait or retry_wait:
            # What was not sent was put back, too.
            self._retried(span, began - retry_wait, began)
            self._queued(span, (ended if sent is None else sent) - limit_wait, ended if sent is None else sent)

    def _charge(self, body: bytes, prompt: int | None) -> int:
        """What the limit of tokens counts for a sending of this request."""
        need = self._estimates.of(body)
        if prompt is None:
            return need.tokens
        self._estimates.learn(need, prompt)
        return prompt + need.max_completion_tokens

    def _item_failed(self, number: int, error: str | None) -> None:
        kept = msgspec.json.decode(error or "{}")
        name = str(kept.get("class", "unknown"))
        # As sendings that failed are named.
        cls = getattr(errors, name, None)
        status = f" {kept.get('status_code')}" if isinstance(cls, type) and issubclass(cls, APIStatusError) else ""
        _, kind = self._kind(name + status)
        kind.items += 1
        if len(kind.numbers) < _EXAMPLES:
            kind.numbers.append(number)

    def _kind(self, name: str) -> tuple[str, _Kind]:
        name = name if name in self._kinds or len(self._kinds) < _KINDS else _OTHERS
        return name, self._kinds.setdefault(name, _Kind())

    def _used(self, model: str | None, prompt: int, completion: int, cached: int | None, cost: int | None) -> None:
        models, name = self._models, model or "unknown"
        use = models.get(name)
        if use is None:
            use = models.setdefault(name if len(models) < _KINDS else _OTHERS, _Use())
        use.answers += 1
        use.prompt += prompt
        use.completion += completion
        use.cached += cached or 0
        use.cost += cost or 0

    def _answered(self, span: Span, at: int, sent: float, head: float | None, ended: float, charge: int) -> None:
        line, took, place = self._line, ended - sent, span.place(sent)
        self.answer.add(took)
        line.latency[at].add(took)
        if head is not None:
            self.first_byte.add(head - sent)
        self._answering += took
        line.answering.add(place, span.place(ended))
        self._sent(span, place, charge)

    def _sent(self, span: Span, place: float, charge: int) -> None:
        line = self._line
        stretch = line.index(place)
        line.requests.add(1, stretch, span)
        line.charged.add(charge, stretch, span)

    def _failed(self, span: Span, charge: int, sendings: Sequence[Sending], own: float, last: float) -> None:
        """Count sendings that failed, and what the one after them waited for limits."""
        line = self._line
        for each in sendings:
            sent, ended = span.place(each.sent), span.place(each.ended)
            self._queued(span, each.queued, each.sent)
            self._retried(span, each.ended, each.next)
            line.answering.add(sent, ended)
            self._sent(span, sent, charge)
            self._failing += each.ended - each.sent
            name, kind = self._kind(each.name)
            kind.sendings += 1
            errors = line.errors[line.index(ended)]
            errors[name] = errors.get(name, 0) + 1
        self._queued(span, last - own, last)

    def _queued(self, span: Span, began: float, ended: float) -> None:
        self._limits += ended - began
        self._line.limits.add(span.place(began), span.place(ended))

    def _retried(self, span: Span, began: float, ended: float) -> None:
        self._retries += ended - began
        self._line.retries.add(span.place(began), span.place(ended))

    def spent(self) -> Spent:
        """What the time went into."""
        lost = self._failing + self._limits + self._retries
        spent = lost + self._answering
        return Spent(self._answering, self._failing, self._limits, self._retries, lost / spent if spent else 0.0)

    def error_counts(self, db: sqlite3.Connection) -> tuple[ErrorCount, ...]:
        """Kinds of errors, the most frequent first."""
        kinds = sorted(self._kinds.items(), key=lambda each: (-each[1].items, -each[1].sendings, each[0]))
        return tuple(ErrorCount(name, kind.items, kind.sendings, _ids(db, kind.numbers)) for name, kind in kinds)

    def model_uses(self) -> tuple[ModelUse, ...]:
        """Models, the most used first."""
        uses = sorted(self._models.items(), key=lambda each: (-each[1].answers, each[0]))
        return tuple(
            ModelUse(name, use.answers, use.prompt, use.completion, use.cached, amount(use.cost) or Decimal(0))
            for name, use in uses
        )


def _ids(db: sqlite3.Connection, numbers: list[int]) -> tuple[str, ...]:
    found: list[str] = []
    for number in numbers:
        row = db.execute("SELECT id, digest FROM item WHERE number = ?", (number,)).fetchone()
        found.append(row[1].hex() if row[0] is None else row[0])
    return tuple(found)
