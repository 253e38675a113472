"""What a report tells of times, waits and costs, however long and odd a run was."""

import math
import tracemalloc
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.bulk.report import report_of
from moonshot_async.bulk.report.charts import draw
from moonshot_async.bulk.report.histogram import Histogram
from moonshot_async.bulk.report.panels import panels_of
from moonshot_async.bulk.report.sendings import reckoned
from moonshot_async.errors import (
    APIError,
)
from moonshot_async.fake import FakeMoonshot
from tests.bulk.report.journals import LIMITS, outcome, point_at, write_start
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT


def test_a_batch_has_no_limits_and_no_times_of_calls(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", None, 7000.0, began=0.0)], ended=7200.0, via="batch", limits=LIMITS)
    report = report_of(path, rpm=10)

    assert report.requests.limit is None
    assert report.answer is None
    assert report.whole is not None
    assert report.whole.p50 == pytest.approx(7000, rel=0.01)
    says = {panel.says for panel in panels_of(report) if panel.chart is None}
    assert {"Requests were sent in batches.", "No answer has its time.", "None did.", "No call has its time."} <= says


def test_what_was_put_back_waited_before_its_last_round(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    failures = (("InternalServerError 503", 1.0, 0.0),)
    write_start(path, [outcome("a", 30.0, 31.0, failures=failures, retry_wait=20.0)])
    report = report_of(path)

    assert report.spent.retries == pytest.approx(20.0)
    assert point_at(report, 15.0).retries == pytest.approx(1.0)
    assert point_at(report, 30.0 - 20.0).errors == {"InternalServerError 503": 1}


def test_what_was_put_back_without_being_sent_waited_too(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 30.0, 31.0, retry_wait=20.0)])
    report = report_of(path)

    assert report.spent.retries == 20.0
    assert point_at(report, 15.0).retries == pytest.approx(1.0)
    assert report.sendings == 1


def test_what_a_sending_that_failed_waited_for_limits_is_no_failing(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    # Begun at 10: waits 4, fails in 1, waits 2, waits 3 for the limits, and is answered in 5.
    one = outcome("a", 20.0, 25.0, began=10.0, failures=(("InternalServerError 503", 5.0, 2.0),), limit_wait=7.0)
    write_start(path, [one])
    report = report_of(path)

    assert report.spent.limits == pytest.approx(7.0)
    assert report.spent.failing == pytest.approx(1.0)
    assert report.spent.retries == pytest.approx(2.0)
    assert point_at(report, 12.0).limits == pytest.approx(1.0)
    assert point_at(report, 14.6).answering == pytest.approx(1.0)
    assert point_at(report, 18.6).limits == pytest.approx(1.0)


def test_the_sending_that_an_item_failed_with_is_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    failures = (("APITimeoutError", 10.0, 0.0),)
    write_start(path, [outcome("a", 20.0, 30.0, error=APIError("it took too long"), failures=failures)])
    report = report_of(path)

    assert point_at(report, 20.0).requests == report.sendings == 1
    assert point_at(report, 30.0).errors == {"APITimeoutError": 1}
    assert point_at(report, 25.0).answering == pytest.approx(1.0)
    assert report.spent.failing == pytest.approx(10.0)


def test_rounds_are_reckoned_back_to_the_first_one() -> None:
    failures = [("A", 1.0, 0.5), ("A", 1.0, 0.0), ("B", 2.0, 0.0), ("C", 3.0, 0.0)]
    answered = {"began": 100.0, "limit_wait": 0.0, "retry_wait": 14.5}
    # Put back three times: for 2, 4 and 8 seconds.
    found, own = reckoned(failures, **answered, sent=100.0, ended=101.0, answered=True)
    assert own == 0.0
    assert [(each.queued, each.ended, each.next) for each in found] == [
        (78.5, 79.5, 80.0),
        (80.0, 81.0, 83.0),
        (83.0, 85.0, 89.0),
        (89.0, 92.0, 100.0),
    ]

    # The last one is what it ended with; it waited for limits, too.
    failed = {"began": 95.0, "limit_wait": 2.0, "retry_wait": 6.5}
    found, own = reckoned(failures, **failed, sent=97.0, ended=98.0, answered=False)
    assert own == 0.0
    assert (found[-1].queued, found[-1].sent, found[-1].ended, found[-1].next) == (95.0, 97.0, 98.0, 98.0)
    assert (found[-2].queued, found[-2].sent, found[-2].ended, found[-2].next) == (89.0, 89.0, 91.0, 95.0)


def test_what_a_failed_request_cost_stays_counted_when_it_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1.0, 2.0, error=APIError("no"), answered=True)])
    from moonshot_async.bulk.journal.store import Start, Store

    store = Store(str(path), retry_failed=True, clock=lambda: 100.0)
    store.open(Start("live", "usd"))
    store.close(None)
    report = report_of(path)

    assert (report.open, report.failed) == (1, 0)
    assert report.cost == Decimal("0.001")


def test_answers_without_a_price_are_told(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1.0, 2.0, cost=None)], ended=40.0, limits=LIMITS)
    report = report_of(path)
    page = report.html()

    assert report.unpriced == 1
    assert "1 unpriced" in report.text()
    assert "1 answers have no price" in page
    # Of less than a minute there is no mean to set against a limit.
    assert "of the allowed requests a minute: at most 1 of 60<" in page


def test_a_run_that_goes_on_can_be_told_of(tmp_path: Path) -> None:
    from moonshot_async.bulk.journal.store import Start, Store

    path = tmp_path / "run.db"
    store = Store(str(path), clock=lambda: 5.0)
    store.open(Start("live", "cny"))
    report = report_of(path)
    store.close(None)

    assert report.items == 0
    assert report.seconds == 0
    assert report.answer is None
    assert not report.starts[0].closed
    assert "still at work" in report.html()
    assert "¥0.00" in report.text()


def test_many_kinds_of_errors_and_models_are_counted_together(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    failed = [
        outcome(f"a-{each}", each, each + 0.5, model=f"model-{each}", failures=((f"Odd{each}Error", 0.1, 0.1),))
        for each in range(80)
    ]
    write_start(path, failed, ended=90.0)
    report = report_of(path)

    assert len(report.errors) == len(report.models) == 65
    assert {error.name: error.sendings for error in report.errors}["others"] == 16
    assert {use.model: use.answers for use in report.models}["others"] == 16
    chart = panels_of(report)[3].chart
    assert chart is not None
    assert [series.name for series in chart.series][5:] == ["others"]
    assert sum(value or 0 for series in chart.series for value in series.values) == 80


def test_a_clock_that_was_put_back_makes_no_time_of_less_than_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1000.0, 1001.0, began=1002.0)], began=1000.0, ended=900.0)
    report = report_of(path)

    assert report.seconds == 0
    assert report.whole is not None
    assert report.whole.least == 0
    assert len(report.timeline) == 1


@pytest.mark.parametrize("seconds", [0.05, 3.0, 200.0, 7_000.0, 90_000.0, 40 * 86_400.0, 900 * 86_400.0])
def test_a_run_of_any_length_has_some_hundred_points_at_most(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "run.db"
    times = [seconds * share / 40 for share in range(40)]
    write_start(path, [outcome(f"a-{at}", at, at + seconds / 40) for at in times], ended=seconds)
    report = report_of(path)

    assert 1 <= len(report.timeline) <= 241
    assert sum(point.seconds for point in report.timeline) == pytest.approx(seconds)
    assert sum(point.requests for point in report.timeline) == 40
    assert report.requests.mean == pytest.approx(40 * 60 / seconds)
    chart = panels_of(report)[0].chart
    assert chart is not None
    assert "<path" in draw(chart, report, "p")


def test_memory_does_not_grow_with_the_items(tmp_path: Path) -> None:
    peaks = []
    for count in (400, 3_000):
        random = Random(7)
        path = tmp_path / f"{count}.db"
        spread = [(random.uniform(0, 3000), random.lognormvariate(1, 1)) for _ in range(count)]
        write_start(path, (outcome(f"i-{each}", at, at + took) for each, (at, took) in enumerate(spread)), ended=3600.0)
        tracemalloc.start()
        report_of(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 2.5


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200))
def test_percentiles_are_told_to_a_hundredth(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    spread = histogram.spread()

    assert spread is not None
    assert (spread.count, spread.least, spread.most) == (len(durations), min(durations), max(durations))
    ordered = sorted(durations)
    for share, told in ((0.5, spread.p50), (0.9, spread.p90), (0.95, spread.p95), (0.99, spread.p99)):
        assert told == pytest.approx(ordered[math.ceil(share * len(ordered)) - 1], rel=0.0101, abs=2e-6)


async def test_a_run_is_told_of_as_it_was(tmp_path: Path) -> None:
    fake = FakeMoonshot()
    fake.fail(503, times=2)
    fake.fail(400, times=1)
    path = tmp_path / "run.db"
    requests = [
        {"custom_id": f"r-{each}", "messages": [{"role": "user", "content": f"{CANARY_PROMPT} {each}"}]}
        for each in range(20)
    ]
    retry = Retry(5, sleep=no_sleep)
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), middleware=[retry]) as client:
        progress = await client.bulk(requests, model="kimi-k2.6", journal=path, concurrency=1).wait()
    report = report_of(path)

    assert (report.done, report.failed, report.open) == (progress.done, progress.failed, 0) == (19, 1, 0)
    assert report.sendings == len(fake.requests) == 22
    assert {(error.name, error.items, error.sendings) for error in report.errors} == {
        ("BadRequestError 400", 1, 1),
        ("InternalServerError 503", 0, 2),
    }
    assert report.cost == progress.cost
    assert report.prompt_tokens + report.completion_tokens == progress.tokens
    assert report.answer is not None
    assert report.answer.count == 19
    for told in (report.text(), report.json(), report.html()):
        assert CANARY_PROMPT not in told
        assert CANARY_KEY not in told


async def no_sleep(_: float) -> None:
    """Wait no time."""
