"""The page of a report: one file that loads nothing, and shows as well without its script."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Final

import msgspec

from moonshot_async.bulk.report.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, draw
from moonshot_async.bulk.report.panels import Panel, panels_of
from moonshot_async.bulk.report.shapes import Rate, Report, StartPart
from moonshot_async.bulk.report.words import (
    between,
    duration,
    moment,
    money,
    names,
    percent,
    plain,
    short,
    spreads_of,
    starts_of,
    state_of,
    whole,
)

# Of the starts, so many are shown.
_STARTS: Final = 12
_NOTES: Final = (
    "Time runs as the run was at work: pauses between two starts are left out, and dotted lines show where it was "
    "started again. A rate is that of the minute before, as limits count it. Tokens that were used are told when their "
    "answers came; the limit counts those of the prompt, and as many as the answer may have, when it is asked for. "
    "What was under way when the run was killed is not known. Times of sendings that failed are reckoned from the "
    "durations that were noted. The first byte of an answer that is not streamed comes when it is done. Neither "
    "requests nor answers are in this page."
)


def page_of(report: Report) -> str:
    """The page.

    Raises:
        ConfigurationError: there is no matplotlib.
    """
    panels = "".join(_panel(panel, report, f"p{place}") for place, panel in enumerate(panels_of(report)))
    name = escape(plain(report.journal))
    style, script = _part("page.css"), _part("page.js")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Bulk run {name}</title>
<style>{style}</style>
</head>
<body>
<main>
{_head(report, name)}
<section class="tiles">{"".join(_tiles(report))}</section>
<section class="charts">{panels}</section>
<section class="tables">{"".join(_tables(report))}</section>
{_timeline(report)}
<footer>{_NOTES}</footer>
</main>
{_data("edges", [*(point.at for point in report.timeline), report.timeline[-1].at + report.timeline[-1].seconds])}
{_data("times", [f"{duration(point.at)} – {duration(point.at + point.seconds)}" for point in report.timeline])}
<script>{script}</script>
</body>
</html>
"""


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """The browser refuses whatever is not of the page, should a name ever get the better of `escape`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(id: str, value: object) -> str:
    return f'<script type="application/json" id="{id}">{msgspec.json.encode(value).decode()}</script>'


def _head(report: Report, name: str) -> str:
    parts = ((report.done, "done"), (report.failed, "failed"), (report.open, "open"))
    bar = "".join(f'<i class="{kind}" style="flex:{many}"></i>' for many, kind in parts if many)
    when = f"{duration(report.seconds)} of work in {starts_of(report)}, {between(report)}"
    return f"""<header>
<h1>Bulk run {name}</h1>
<p>{state_of(report)}</p>
<p class="quiet">{when}{_end(report)}</p>
<div class="bar" role="img" aria-label="{state_of(report)}">{bar}</div>
</header>"""


def _end(report: Report) -> str:
    last = report.starts[-1]
    if not last.closed:
        return "; the last one is still at work, or was killed"
    return "" if last.reason is None else f"; it ended early: {escape(plain(last.reason))}"


def _tiles(report: Report) -> list[str]:
    ended = report.done + report.failed
    failed = report.failed / ended if ended else 0.0
    answer, spent = report.answer, report.spent
    waited = spent.limits * spent.lost / max(spent.limits + spent.retries + spent.failing, 1e-9)
    answers = sum(use.answers for use in report.models)
    thousand = f"{money(1000 * report.cost / answers, report.currency)} a thousand answers; " if answers else ""
    unpriced = f"; {whole(report.unpriced)} answers have no price" if report.unpriced else ""
    return [
        _rate_tile("requests a minute", report.requests, report),
        _rate_tile("tokens a minute", report.charged or report.tokens, report),
        _tile(
            duration(answer.p50 if answer else None),
            f"half of the answers within; 95 % within {duration(answer.p95)}" if answer else "no answer has its time",
        ),
        _tile(percent(failed), f"failed for good: {whole(report.failed)} of {whole(ended)}", warn=failed > 0.01),
        _tile(percent(spent.lost), f"of the calls' time was lost, {percent(waited)} to limits"),
        _tile(
            money(report.cost, report.currency),
            f"{thousand}{short(report.prompt_tokens)} tokens in, {short(report.completion_tokens)} out{unpriced}",
        ),
    ]


def _rate_tile(name: str, rate: Rate, report: Report) -> str:
    if rate.limit is None or rate.share is None:
        return _tile(short(rate.mean), f"{name}, on the mean; the limit is not known")
    mean = f", {short(rate.mean)} on the mean" if report.seconds >= report.minute else ""
    says = f"of the allowed {name}: at most {short(rate.peak)} of {short(rate.limit)}{mean}"
    return _tile(percent(rate.share), says)


def _tile(figure: str, says: str, *, warn: bool = False) -> str:
    kind = "card tile warn" if warn else "card tile"
    return f'<div class="{kind}"><b>{escape(figure)}</b><p class="quiet">{escape(says)}</p></div>'


def _panel(panel: Panel, report: Report, name: str) -> str:
    chart = panel.chart
    if chart is None:
        return f'<div class="card"><h2>{escape(panel.title)}</h2><div class="nothing">{escape(panel.says)}</div></div>'
    axes = [LEFT, RIGHT, 1 - TOP, 1 - BOTTOM]
    label = escape(f"{panel.title}: {panel.says}")
    return (
        f'<div class="card"><div class="top"><h2>{escape(panel.title)}</h2>{_legend(chart)}</div>'
        f'<p class="quiet">{escape(panel.says)}</p>'
        f'<div class="picture" role="img" aria-label="{label}" data-axes="{axes}" data-series="{_figures(chart)}">'
        f"{draw(chart, report, name)}</div></div>\n"
    )


def _legend(chart: Chart) -> str:
    if len(chart.series) < 2:
        return ""
    named = (
        f'<span><i style="background:var(--{series.colour})"></i>{escape(plain(series.name))}</span>'
        for series in chart.series
    )
    return f'<div class="legend">{"".join(named)}</div>'


def _figures(chart: Chart) -> str:
    """What the script tells of each stretch."""
    told = [
        [plain(each.name), each.colour, [None if value is None else each.tell(value) for value in each.values]]
        for each in chart.series
    ]
    if any(limit is not None for limit in chart.limits):
        told.append(["limit", "limit", [None if limit is None else chart.tell(limit) for limit in chart.limits]])
    return escape(msgspec.json.encode(told).decode())


def _tables(report: Report) -> list[str]:
    currency = report.currency
    errors = [[plain(each.name), whole(each.items), whole(each.sendings), names(each.ids)] for each in report.errors]
    spreads = [
        [name, *map(duration, (each.mean, each.p50, each.p90, each.p95, each.p99, each.most))]
        for name, each in spreads_of(report)
    ]
    models = [
        [
            plain(use.model),
            whole(use.answers),
            short(use.prompt_tokens),
            short(use.cached_tokens),
            short(use.completion_tokens),
            money(use.cost, currency),
        ]
        for use in report.models
    ]
    starts = [
        [
            moment(each.began),
            each.via,
            duration(each.ended - each.began),
            whole(each.done),
            whole(each.failed),
            plain(_ending(each, report)),
        ]
        for each in report.starts[-_STARTS:]
    ]
    return [
        _table("Errors", ["kind", "requests", "sendings", "such as"], errors),
        _table("Durations", ["duration", "mean", "50 %", "90 %", "95 %", "99 %", "most"], spreads),
        _table("Models", ["model", "answers", "tokens in", "cached", "out", "cost"], models),
        _table("Starts", ["began", "via", "at work", "done", "failed", "ended"], starts),
    ]


def _ending(start: StartPart, report: Report) -> str:
    if start.closed:
        return start.reason or "when all was done"
    return "killed, or at work" if start is report.starts[-1] else "killed"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    grid = _grid(head, rows)
    return f'<div class="card"><h2>{title}</h2>{grid}</div>\n'


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    last = ' class="names"' if head[-1] in ("such as", "ended", "errors") else ""
    marks = [""] * (len(head) - 1) + [last]
    heads = "".join(f'<th scope="col"{mark}>{escape(cell)}</th>' for mark, cell in zip(marks, head, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _timeline(report: Report) -> str:
    """What the charts show, for whoever cannot see them, or wants it to the digit."""
    heads = ["from", "requests/min", "tokens/min", "done", "failed", "50 %", "95 %", "at once", "waiting", "errors"]
    rows = [
        [
            duration(point.at) if point.at else "0",
            short(point.requests_a_minute),
            short(point.tokens_a_minute if point.charged_a_minute is None else point.charged_a_minute),
            whole(point.done),
            whole(point.failed),
            duration(point.p50),
            duration(point.p95),
            short(point.answering),
            short(point.limits + point.retries),
            ", ".join(f"{whole(many)} {plain(name)}" for name, many in point.errors.items()),
        ]
        for point in report.timeline
    ]
    return f'<details class="card"><summary>What the charts show, in figures</summary>{_grid(heads, rows)}</details>'
