"""From a journal to a report: two passes over the rows, in memory that does not grow with them. It blocks as files do.

See: https://platform.kimi.ai/docs/pricing/limits
"""

import math
import os
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from moonshot_async.bulk.journal.reader import Journal
from moonshot_async.bulk.journal.sqlite_files import unreadable
from moonshot_async.bulk.journal.totals import totals
from moonshot_async.bulk.outcomes import FAILED, amount
from moonshot_async.bulk.report.counts import Span
from moonshot_async.bulk.report.shapes import Report, StartPart
from moonshot_async.bulk.report.tally import Tally
from moonshot_async.bulk.report.timeline import Timeline
from moonshot_async.errors import ConfigurationError, JournalError

_MINUTE: Final = 60.0
_STARTS: Final = 1000
# `answer` is the last column: whether there is one is in the head of the row, so that answers are not read.
_ROWS: Final = (
    "SELECT number, state, start, began, sent, head, ended, limit_wait, retry_wait, failures, error, model, "
    "prompt_tokens, completion_tokens, cached_tokens, cost, answer IS NULL, "
)
# Requests are read where there is a limit of tokens to set what they may use against.
_BARE: Final = f"{_ROWS} NULL FROM outcome"
_WITH_REQUESTS: Final = f"{_ROWS} body FROM outcome JOIN item USING (number)"


def report_of(
    journal: "str | os.PathLike[str]",
    *,
    rpm: float | None = None,
    tpm: float | None = None,
    minute: float | None = None,
) -> Report:
    """Tell what became of a bulk run, also while it goes on.

    It takes some seconds for a million requests; in an async program have it done by a thread.

    Args:
        journal: the file.
        rpm, tpm: requests and tokens a minute that the account is allowed. None for what the journal has: what the
            `limits` of the client were told.
        minute: how many seconds a minute has, for a service that is tried with a faster clock. None for what the
            journal has, else 60.

    Raises:
        TypeError: `rpm`, `tpm` or `minute` is no number.
        ConfigurationError: one of them is not positive; there is no such file, or it is no journal.
        JournalError: it cannot be read.
    """
    given = {"rpm": _positive("rpm", rpm), "tpm": _positive("tpm", tpm)}
    _positive("minute", minute)
    with Journal(journal) as opened:
        try:
            # One picture of it, also where a run writes meanwhile.
            opened.db.execute("BEGIN")
            return _report(opened.db, Path(journal).name, given, minute)
        except ConfigurationError:
            raise
        except sqlite3.Error as error:
            problem = unreadable(opened.path, error)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, msgspec.MsgspecError) as error:
            # Its words are not told: they may be of what was asked.
            problem = JournalError(
                f"the journal {opened.path} cannot be read: it holds what no run has written ({type(error).__name__})",
                path=opened.path,
            )
    raise problem


def _positive(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number or None, not {type(value).__name__}")
    if not 0 < value < math.inf:
        raise ConfigurationError(f"{name} must be a positive number, or None, not {value!r}")
    return float(value)


def _report(db: sqlite3.Connection, name: str, given: dict[str, float | None], minute: float | None) -> Report:
    made = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outcome'").fetchone()[0]
    starts = _starts(db) if made else []
    if not starts:
        raise ConfigurationError(f"the journal {name} is empty: no run has begun in it")
    told = [_limits(row[4]) for row in db.execute("SELECT number, began, via, currency, limits FROM start ORDER BY 1")]
    minute = minute or next((found for limits in reversed(told) if (found := limits.get("minute"))), _MINUTE)
    spans: dict[int, Span] = {}
    offset = 0.0
    for turn, (start, recorded) in enumerate(zip(starts, told, strict=True)):
        allowed = {limit: given[limit] or recorded.get(limit) for limit in given} if start.via == "live" else {}
        spans[start.number] = Span(start.began, start.ended, offset, allowed, turn)
        offset += start.ended - start.began
    line = Timeline(list(spans.values()), minute)
    tally = Tally(line, spans)
    for row in db.execute(_WITH_REQUESTS if "tpm" in line.told else _BARE):
        tally.add(row)
    return _told(db, name, starts, tally, line, minute)


def _starts(db: sqlite3.Connection) -> list[StartPart]:
    """The starts, with what came of each."""
    counts: dict[int, list[float]] = {}
    # Added up here: to group them, SQLite would first write all of them to the disk once more, in order.
    for number, ended, state in db.execute("SELECT start, ended, state FROM outcome"):
        count = counts.setdefault(number, [ended, 0, 0])
        count[0] = max(count[0], ended)
        count[2 if state == FAILED else 1] += 1
    found: list[StartPart] = []
    rows = db.execute("SELECT number, began, ended, via, reason FROM start ORDER BY number")
    for number, began, ended, via, reason in rows:
        last, done, failed = counts.get(number, [began, 0, 0])
        # A clock that was put back meanwhile leaves a start of no length.
        until = max(began, last if ended is None else ended)
        found.append(StartPart(number, began, until, via, int(done), int(failed), reason, ended is not None))
    return found


def _limits(text: str | None) -> dict[str, float]:
    """What a start was told of its limits, as far as it is numbers."""
    try:
        limits = msgspec.json.decode(text or "{}", type=dict[str, float | None])
    except (msgspec.ValidationError, msgspec.DecodeError):
        return {}
    return {name: value for name, value in limits.items() if value is not None and value > 0}


def _told(
    db: sqlite3.Connection, name: str, starts: list[StartPart], tally: Tally, line: Timeline, minute: float
) -> Report:
    all_of_it = totals(db)
    points = line.points()
    currency: str = db.execute("SELECT currency FROM start LIMIT 1").fetchone()[0]
    return Report(
        journal=name,
        currency=currency,
        began=starts[0].began,
        ended=max(start.ended for start in starts),
        seconds=sum(start.ended - start.began for start in starts),
        minute=minute,
        items=all_of_it.done + all_of_it.failed + all_of_it.open,
        done=all_of_it.done,
        failed=all_of_it.failed,
        open=all_of_it.open,
        sendings=sum(line.requests.stretches),
        prompt_tokens=all_of_it.prompt_tokens,
        completion_tokens=all_of_it.completion_tokens,
        cost=amount(all_of_it.cost) or Decimal(0),
        unpriced=all_of_it.unpriced,
        requests=line.requests_rate(points),
        tokens=line.tokens_rate(points),
        charged=line.charged_rate(points),
        answer=tally.answer.spread(),
        first_byte=tally.first_byte.spread(),
        whole=tally.whole.spread(),
        spent=tally.spent(),
        errors=tally.error_counts(db),
        models=tally.model_uses(),
        starts=tuple(starts[-_STARTS:]),
        timeline=points,
    )
