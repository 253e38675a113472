"""A report as lines of text, and how numbers are told to people."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from unicodedata import east_asian_width

from moonshot_async.bulk.report.shapes import Rate, Report, Spread

_SIGNS: Final = {"usd": "$", "cny": "¥"}
_LARGE: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
# Seconds, and what is told beside: so many seconds.
_UNITS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
# Computers without a battery, or with a broken clock, tell times that calendars do not have: beyond the year 9999.
_NO_DATE: Final = 253_402_300_800
_SPREADS: Final = ("count", "mean", "p50", "p90", "p95", "p99", "most")


def whole(number: float) -> str:
    """`12,345`."""
    return f"{round(number):,}"


def short(number: float) -> str:
    """At most four digits: `1.23M`, `45.6k`, `1,234`, `12.3`."""
    for size, name in _LARGE:
        # 999,999 is a million in so many digits.
        if number >= size * 0.9995:
            return f"{number / (1e3 if name == 'k' else size):.3g}{name}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """`250 ms`, `7.5 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    size, name, part, small = next(unit for unit in _UNITS if seconds >= unit[0])
    many, rest = divmod(round(seconds / part), size // part)
    return f"{many:,} {name} {rest} {small}" if rest else f"{many:,} {name}"


def percent(share: float) -> str:
    """`93 %`, `0.7 %`; what is less than everything is never told as that."""
    if 0.995 <= share < 1:
        return f"{min(99.9, int(share * 1000) / 10):g} %"
    return f"{share * 100:.0f} %" if share >= 0.0995 or not share else f"{share * 100:.2g} %"


def money(amount: Decimal, currency: str) -> str:
    """`$12.34`; small amounts with more digits."""
    sign = _SIGNS.get(currency, "")
    digits = 2 if not amount else max(2, 1 - amount.adjusted())
    return f"{sign}{amount:,.{digits}f}"


def plain(name: str) -> str:
    """A name that somebody else gave, of at most 60 characters, without what moves a cursor."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name[:61])
    return shown if len(name) <= 60 else f"{shown[:59]}…"


def names(given: Sequence[str]) -> str:
    """Such names, one after the other."""
    return ", ".join(map(plain, given))


def moment(time: float) -> str:
    """`2026-11-23 06:43 UTC`."""
    if not 0 <= time < _NO_DATE:
        return "an unknown time"
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"


def state_of(report: Report) -> str:
    """How far the run is, in a sentence."""
    parts = [f"{whole(report.done)} done", f"{whole(report.failed)} failed"]
    if report.open:
        parts.append(f"{whole(report.open)} open")
    return f"{whole(report.items)} request{'' if report.items == 1 else 's'}: {', '.join(parts)}"


def end_of(report: Report) -> str | None:
    """Why the last start ended before all was done; None where it did not."""
    last = report.starts[-1]
    if not last.closed:
        return "not yet: it is still at work, or was killed"
    return None if last.reason is None else plain(last.reason)


def starts_of(report: Report) -> str:
    """How often the run was started."""
    return "one start" if len(report.starts) == 1 else f"{len(report.starts)} starts"


def rate_of(rate: Rate, report: Report) -> str:
    """`467 on the mean, at most 500 of 500 allowed (93 % used)`."""
    # Of less than a minute there is no mean that could be set against a limit.
    mean = f"{short(rate.mean)} on the mean, " if rate.limit is None or report.seconds >= report.minute else ""
    if rate.limit is None or rate.share is None:
        return f"{mean}at most {short(rate.peak)}; the limit is not known"
    return f"{mean}at most {short(rate.peak)} of {short(rate.limit)} allowed ({percent(rate.share)} used)"


def used_of(rate: Rate, report: Report) -> str:
    """The same without the limit, which counts something else."""
    if report.seconds < report.minute:
        return f"{short(rate.peak)} used"
    return f"{short(rate.mean)} used on the mean, at most {short(rate.peak)}"


def spreads_of(report: Report) -> list[tuple[str, Spread]]:
    """The durations that are known, each with its name."""
    named = (
        ("to the answer", report.answer),
        ("to its first byte", report.first_byte),
        ("with all waits", report.whole),
    )
    return [(name, spread) for name, spread in named if spread is not None]


def text_of(report: Report) -> str:
    """The report as text."""
    spent, currency = report.spent, report.currency
    cost = money(report.cost, currency) + (f" and {whole(report.unpriced)} unpriced" if report.unpriced else "")
    tokens = f"{whole(report.prompt_tokens)} in, {whole(report.completion_tokens)} out"
    facts = [
        ("requests", state_of(report)),
        ("at work", f"{duration(report.seconds)} in {starts_of(report)}, {between(report)}"),
        ("sendings", whole(report.sendings)),
        ("requests/min", rate_of(report.requests, report)),
        ("tokens/min", rate_of(report.tokens, report) if report.charged is None else used_of(report.tokens, report)),
        *(() if report.charged is None else [("counted/min", rate_of(report.charged, report))]),
        ("tokens", tokens),
        ("cost", cost),
        ("time lost", f"{percent(spent.lost)}: {lost_of(report)}"),
    ]
    if end := end_of(report):
        facts.insert(2, ("ended early", end) if report.starts[-1].closed else ("ended", end))
    parts = [f"Bulk run {plain(report.journal)}", "", *(f"  {name:<14}{fact}" for name, fact in facts)]
    spreads = [[name, *_figures(spread)] for name, spread in spreads_of(report)]
    parts += _table(["duration", *_SPREADS], spreads)
    errors = [[plain(each.name), whole(each.items), whole(each.sendings), names(each.ids)] for each in report.errors]
    parts += _table(["error", "requests", "sendings", "such as"], errors)
    uses = [
        [
            plain(use.model),
            whole(use.answers),
            whole(use.prompt_tokens),
            whole(use.completion_tokens),
            money(use.cost, currency),
        ]
        for use in report.models
    ]
    parts += _table(["model", "answers", "tokens in", "tokens out", "cost"], uses)
    return "\n".join(parts) + "\n"


def lost_of(report: Report) -> str:
    """What the time that was lost went into."""
    spent = report.spent
    return (
        f"{duration(spent.limits)} for limits, {duration(spent.retries)} between sendings, "
        f"{duration(spent.failing)} in sendings that failed"
    )


def between(report: Report) -> str:
    """From when to when."""
    return f"{moment(report.began)} to {moment(report.ended)}"


def _figures(spread: Spread) -> list[str]:
    return [whole(spread.count), *(duration(getattr(spread, name)) for name in _SPREADS[1:])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns, names at the left and figures at the right; nothing for no rows."""
    if not rows:
        return []
    widths = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]
    lines = [""]
    for row in (head, *rows):
        spaces = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [row[0] + spaces[0], *(space + cell for space, cell in zip(spaces[1:], row[1:], strict=True))]
        if head[-1] == "such as":
            cells[-1] = row[-1]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def _width(text: str) -> int:
    """How many columns of a terminal it takes: some characters have two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
