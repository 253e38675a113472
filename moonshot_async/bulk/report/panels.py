"""Which charts a report has, and what stands beside each."""

from decimal import Decimal
from itertools import accumulate
from typing import Final

import msgspec

from moonshot_async.bulk.report.charts import Chart, Series
from moonshot_async.bulk.report.shapes import Report
from moonshot_async.bulk.report.words import duration, money, percent, rate_of, used_of, whole

# So many kinds of errors have a colour of their own.
_KINDS: Final = 5


class Panel(msgspec.Struct):
    """A chart on the page.

    Attributes:
        title: what it shows.
        says: what is to be seen in it, in a few words.
        chart: None where there is nothing to draw; `says` tells why.
    """

    title: str
    says: str
    chart: Chart | None


def panels_of(report: Report) -> list[Panel]:
    """The charts of a report, the most telling first."""
    return [_requests(report), _tokens(report), _latency(report), _errors(report), _calls(report), _cost(report)]


def _requests(report: Report) -> Panel:
    line = report.timeline
    if not report.sendings:
        by_batch = any(start.via == "batch" for start in report.starts)
        says = "Requests were sent in batches." if by_batch else "No request was sent."
        return Panel("Requests a minute", says, None)
    sent = Series("requests", "c0", [point.requests_a_minute for point in line])
    chart = Chart("area", [sent], [point.request_limit for point in line])
    return Panel("Requests a minute", rate_of(report.requests, report), chart)


def _tokens(report: Report) -> Panel:
    line = report.timeline
    used = Series("used", "c1", [point.tokens_a_minute for point in line])
    if not (any(used.values) or any(point.charged_a_minute for point in line)):
        return Panel("Tokens a minute", "No token was used.", None)
    if report.charged is None:
        return Panel("Tokens a minute", rate_of(report.tokens, report), Chart("area", [used]))
    counted = Series("counted by the limit", "c0", [point.charged_a_minute for point in line])
    chart = Chart("area", [counted, used], [point.token_limit for point in line])
    return Panel("Tokens a minute", f"{rate_of(report.charged, report)}; {used_of(report.tokens, report)}", chart)


def _latency(report: Report) -> Panel:
    title, line, spread = "Latency of an answer", report.timeline, report.answer
    if spread is None:
        return Panel(title, "No answer has its time.", None)
    series = [
        Series("99 % within", "c2", [point.p99 for point in line], duration),
        Series("95 % within", "c4", [point.p95 for point in line], duration),
        Series("half within", "c0", [point.p50 for point in line], duration),
    ]
    told = [value for each in series for value in each.values if value]
    wide = bool(told) and max(told) > 40 * min(told)
    says = f"half within {duration(spread.p50)}, 95 % within {duration(spread.p95)}"
    return Panel(title, says, Chart("lines", series, tell=duration, logarithmic=wide))


def _errors(report: Report) -> Panel:
    title, line = "Sendings that failed", report.timeline
    failed = sum(error.sendings for error in report.errors)
    if not failed:
        return Panel(title, "None did.", None)
    kinds = sorted((error for error in report.errors if error.sendings), key=lambda error: -error.sendings)
    names = [error.name for error in kinds[:_KINDS]]
    series = [
        Series(name, f"c{3 + place}", [point.errors.get(name, 0) for point in line], whole)
        for place, name in enumerate(names)
    ]
    if len(kinds) > _KINDS:
        rest = [sum(many for name, many in point.errors.items() if name not in names) for point in line]
        series.append(Series("others", "line", rest, whole))
    share = percent(failed / max(1, report.sendings))
    return Panel(title, f"{whole(failed)}, {share} of all; most of them are sent again", Chart("bars", series))


def _calls(report: Report) -> Panel:
    line, spent = report.timeline, report.spent
    series = [
        Series("being answered", "c1", [point.answering for point in line]),
        Series("waiting for limits", "c2", [point.limits for point in line]),
        Series("waiting between sendings", "c3", [point.retries for point in line]),
    ]
    says = f"{percent(spent.lost)} of their time was no answer: {duration(spent.limits)} for limits"
    shown = any(value for each in series for value in each.values)
    return Panel("Calls at once", says if shown else "No call has its time.", Chart("stack", series) if shown else None)


def _cost(report: Report) -> Panel:
    line, currency = report.timeline, report.currency
    sums = list(accumulate(float(point.cost) for point in line))
    answers = sum(use.answers for use in report.models)
    if not sums[-1]:
        return Panel("Cost", "No answer has its price." if answers else "There is no answer yet.", None)

    def tell(value: float) -> str:
        return money(Decimal(float(value)), currency)

    thousand = tell(1000 * sums[-1] / max(1, answers))
    return Panel(
        "Cost so far",
        f"{money(report.cost, currency)}, {thousand} a thousand answers",
        Chart("area", [Series("cost", "c4", sums, tell)], tell=tell),
    )
