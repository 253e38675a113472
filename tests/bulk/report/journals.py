"""Journals for reports, written as runs write them, with times of the test's own."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moonshot_async.bulk.items import item_of
from moonshot_async.bulk.journal.store import Start, Store
from moonshot_async.bulk.outcomes import Outcome, Tokens
from moonshot_async.bulk.report import Report
from moonshot_async.bulk.report.shapes import Point
from moonshot_async.errors import APIStatusError, BadRequestError, MoonshotError
from moonshot_async.types.chat import decode_completion
from moonshot_async.wire import Response

PROMPT, ANSWER = "What nobody else may read", "What was answered to that"


def write_start(
    path: Path,
    outcomes: Iterable[Outcome],
    *,
    began: float = 0.0,
    ended: float | None = 60.0,
    via: str = "live",
    limits: dict[str, Any] | None = None,
    reason: str | None = None,
    opened: Iterable[str] = (),
) -> None:
    """Write one start of a run; one without an end was killed.

    Args:
        opened: ids of items that stay open.
    """
    now = [began]
    store = Store(str(path), clock=lambda: now[0])
    store.open(Start(via, "usd", 8, limits or {}))
    group: list[Outcome] = []
    for outcome in outcomes:
        group.append(outcome)
        if len(group) == 500:
            _write(store, group)
            group = []
    _write(store, group)
    store.write([item_of(id, _body(id), 0) for id in opened], [])
    if ended is None:
        store.db.execute("DELETE FROM lease")
        store.db.close()
    else:
        now[0] = ended
        store.close(reason)


def _write(store: Store, outcomes: list[Outcome]) -> None:
    store.write([outcome.item for outcome in outcomes], [])
    store.write([], outcomes)


def _body(id: str) -> bytes:
    messages = [{"role": "user", "content": f"{PROMPT} {id}"}]
    return json.dumps({"model": "kimi-k2.6", "messages": messages}).encode()


def outcome(
    id: str | None,
    sent: float | None,
    ended: float,
    *,
    head: float | None = None,
    began: float | None = None,
    error: MoonshotError | None = None,
    failures: tuple[tuple[str, float, float], ...] = (),
    limit_wait: float = 0.0,
    retry_wait: float | None = None,
    model: str = "kimi-k2.6",
    tokens: Tokens | None = None,
    cost: int | None = 1_000_000_000,
    answered: bool | None = None,
) -> Outcome:
    """What became of one item; one with an error has no answer, unless it is `answered`."""
    item = item_of(id, _body(id or str(ended)), 0)
    item.failures, item.limit_wait = failures, limit_wait
    item.retry_wait = sum(waited for _, _, waited in failures) if retry_wait is None else retry_wait
    made = Outcome(item, sent or ended if began is None else began, ended, sent, head, error=error)
    if answered if answered is not None else error is None:
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        made.answer = json.dumps(
            {"id": "a", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        ).encode()
        made.completion = decode_completion(made.answer)
        made.tokens, made.cost = tokens or Tokens(100, 50, 20), cost
    return made


def status_error(cls: type[APIStatusError], status: int) -> APIStatusError:
    """An error as the service answers it."""
    return cls("refused", response=Response(status))


LIMITS = {"concurrency": 8, "rpm": 60, "tpm": 12_000, "tpd": None}
BAD = status_error(BadRequestError, 400)


def point_at(report: Report, at: float) -> Point:
    return next(point for point in report.timeline if point.at <= at < point.at + point.seconds)
