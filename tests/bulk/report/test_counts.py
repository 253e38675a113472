"""What a report counts: requests, errors, sendings, and rates against the limits."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import CATALOG, AsyncMoonshot, MemoryTransport, RateLimits
from moonshot_async.bulk.outcomes import Tokens
from moonshot_async.bulk.report import report_of
from moonshot_async.bulk.report.counts import Span
from moonshot_async.bulk.report.panels import panels_of
from moonshot_async.bulk.report.timeline import Timeline
from moonshot_async.errors import (
    APIResponseValidationError,
)
from moonshot_async.fake import FakeMoonshot
from tests.bulk.report.journals import BAD, LIMITS, outcome, point_at, write_start
from tests.secrets_scan import CANARY_KEY


def test_everything_is_counted_once(journal: Path) -> None:
    report = report_of(journal)

    assert (report.items, report.done, report.failed, report.open) == (304, 300, 2, 2)
    assert sum(point.done for point in report.timeline) == 300
    assert sum(point.failed for point in report.timeline) == 2
    # The two that failed before "late" was answered, and the one that failed for good.
    assert report.sendings == sum(point.requests for point in report.timeline) == 301 + 2 + 1
    assert (report.prompt_tokens, report.completion_tokens) == (301 * 100, 301 * 50)
    assert sum(point.tokens for point in report.timeline) == 301 * 150
    assert report.cost == Decimal("0.301")
    assert sum(point.cost for point in report.timeline) == Decimal("0.301")
    assert [(use.model, use.answers, use.cached_tokens, use.cost) for use in report.models] == [
        ("kimi-k2.6", 300, 6000, Decimal("0.300")),
        ("kimi-k3", 1, 20, Decimal("0.001")),
    ]


def test_errors_are_counted_by_kind_with_some_of_their_requests(journal: Path) -> None:
    errors = {error.name: error for error in report_of(journal).errors}

    assert (errors["BadRequestError 400"].items, errors["BadRequestError 400"].sendings) == (1, 1)
    assert errors["BadRequestError 400"].ids == ("bad",)
    assert (errors["APIError"].items, errors["APIError"].sendings) == (1, 0)
    assert (errors["InternalServerError 503"].items, errors["InternalServerError 503"].sendings) == (0, 1)
    assert errors["InternalServerError 503"].ids == ()


def test_a_few_requests_are_named_as_their_results_are(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    nameless = [outcome(None, each, each + 0.5, error=BAD) for each in range(5)]
    write_start(path, nameless)

    assert report_of(path).errors[0].items == 5
    assert report_of(path).errors[0].ids == tuple(each.item.name for each in nameless[:3])


def test_what_a_request_and_its_sending_failed_with_is_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    failures = (("APIResponseValidationError", 0.5, 0.0),)
    write_start(path, [outcome("a", 1.0, 1.5, error=APIResponseValidationError(), failures=failures)])

    assert [(each.name, each.items, each.sendings) for each in report_of(path).errors] == [
        ("APIResponseValidationError", 1, 1)
    ]


def test_sendings_that_failed_are_placed_when_they_were(journal: Path) -> None:
    report = report_of(journal)

    # The second start begins after 299 seconds of work, and "late" 3 seconds later.
    assert point_at(report, 299 + 3 + 1).errors == {"InternalServerError 503": 1}
    assert point_at(report, 299 + 3 + 1 + 2 + 4).errors == {"APITimeoutError": 1}
    assert point_at(report, 299 + 30.5).errors == {"BadRequestError 400": 1}
    assert sum(sum(point.errors.values()) for point in report.timeline) == 3


def test_the_pause_between_two_starts_is_left_out(journal: Path) -> None:
    report = report_of(journal)

    assert (report.began, report.ended) == (0.0, 100_300.0)
    # The last that is known of the one that was killed is its last answer.
    assert report.seconds == pytest.approx(299 + 300, abs=1.5)
    assert sum(point.seconds for point in report.timeline) == pytest.approx(report.seconds)
    assert [(start.closed, start.reason) for start in report.starts] == [(False, None), (True, "stopped")]
    assert [(start.done, start.failed) for start in report.starts] == [(299, 0), (1, 2)]


def test_durations_are_those_of_the_last_sending(journal: Path) -> None:
    report = report_of(journal)

    assert report.answer is not None
    assert report.answer.count == 301
    assert report.answer.p50 == pytest.approx(2.0, rel=0.01)
    assert report.answer.p99 == pytest.approx(2.0, rel=0.01)
    assert report.answer.most == 198.0
    assert report.first_byte is not None
    assert report.first_byte.p95 == pytest.approx(1.5, rel=0.01)
    assert report.whole is not None
    assert report.whole.count == 302


def test_time_that_was_lost_is_told_by_what_took_it(journal: Path) -> None:
    spent = report_of(journal).spent

    assert spent.answering == pytest.approx(298 * 2 + 198 + 1 + 1)
    assert spent.limits == 7.0
    assert spent.retries == 5.0
    assert spent.failing == pytest.approx(5.5)
    assert spent.lost == pytest.approx(17.5 / (17.5 + 796))


def test_calls_at_once_are_the_mean_of_each_stretch(journal: Path) -> None:
    report = report_of(journal)

    # One a second, which takes two; and the slow one.
    assert point_at(report, 50).answering == pytest.approx(2.0, abs=0.01)
    assert point_at(report, 200).answering == pytest.approx(3.0, abs=0.01)
    line = report.timeline
    assert sum(point.answering * point.seconds for point in line) == pytest.approx(796 + 5.5, abs=0.01)
    assert sum(point.limits * point.seconds for point in line) == pytest.approx(7.0)
    assert sum(point.retries * point.seconds for point in line) == pytest.approx(5.0)


def test_a_rate_is_that_of_the_minute_before_and_set_against_the_limit(journal: Path) -> None:
    report = report_of(journal)

    assert point_at(report, 200).requests_a_minute == pytest.approx(60, abs=1)
    assert report.requests.peak == pytest.approx(60, abs=1)
    assert report.requests.limit == 60
    assert report.requests.share == pytest.approx(report.requests.mean / 60, rel=0.01)
    assert report.tokens.limit == 12_000
    assert point_at(report, 200).tokens_a_minute == pytest.approx(60 * 150, rel=0.05)
    assert {point.token_limit for point in report.timeline} == {12_000}


def test_what_a_minute_allows_may_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    # Three minutes' worth within two minutes and a second.
    times = [minute * 60.1 + each / 100 for minute in range(3) for each in range(60)]
    write_start(path, [outcome(f"a-{at}", at, at + 0.5) for at in times], ended=121.0, limits=LIMITS)
    report = report_of(path)

    assert report.requests.mean == pytest.approx(180 / 121 * 60)
    assert report.requests.peak == 60
    assert report.requests.share == 1
    assert "at most 60 of 60 allowed (100 % used)" in report.text()


def test_a_run_of_some_seconds_is_set_against_a_whole_minute(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(
        path, [outcome(f"a-{each}", each / 10, each / 10 + 0.5) for each in range(30)], ended=4.0, limits=LIMITS
    )
    report = report_of(path)

    assert report.requests.peak == 30
    assert report.requests.share == pytest.approx(0.5)
    assert "requests/min  at most 30 of 60 allowed (50 % used)" in report.text()
    assert "tokens/min    4,500 used\n" in report.text()


def test_more_than_the_limit_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome(f"a-{each}", each / 2, each / 2 + 0.1) for each in range(400)], ended=200.0)
    report = report_of(path, rpm=60)

    assert report.requests.peak == pytest.approx(120, abs=1)
    assert report.requests.share == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(("pause", "fullest"), [(3600.0, 60), (3.0, 120)])
def test_the_minute_before_is_one_of_the_day_also_where_the_run_was_started_again(
    tmp_path: Path, pause: float, fullest: int
) -> None:
    path = tmp_path / "run.db"
    for start in range(2):
        began = start * (100.0 + pause)
        # The second one begins with all that a minute allows, the first one ends with it.
        times = [began + each / 50 + (0 if start else 98) for each in range(60)]
        ended = began + 100.0 + 83 * start
        write_start(path, [outcome(f"a-{at}", at, at + 0.1) for at in times], began=began, ended=ended, limits=LIMITS)

    assert report_of(path).requests.peak == pytest.approx(fullest)


def test_the_limit_of_tokens_counts_what_answers_may_have_when_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    retried = (("InternalServerError 503", 0.5, 0.5),)
    tokens = Tokens(1000, 50)
    write_start(path, [outcome(f"a-{each}", 10.0, 90.0, failures=retried, tokens=tokens) for each in range(3)])
    bare, report = report_of(path), report_of(path, tpm=1_000_000)

    assert bare.charged is None
    assert {point.charged_a_minute for point in bare.timeline} == {None}
    assert "counted/min" not in bare.text()
    # Each was sent twice; the request does not say how long the answer may be, the model does.
    may_have = CATALOG.models["kimi-k2.6"].default_output_tokens
    assert report.charged is not None
    assert report.charged.peak == 3 * 2 * (1000 + may_have)
    assert report.charged.limit == 1_000_000
    assert report.tokens.mean == bare.tokens.mean == 3 * 1050
    assert point_at(report, 12.0).charged_a_minute == report.charged.peak
    assert point_at(report, 12.0).tokens_a_minute == 0
    assert "counted/min" in report.text()
    assert "3,150 used on the mean, at most 3,150" in report.text()
    chart = panels_of(report)[1].chart
    assert chart is not None
    assert [series.name for series in chart.series] == ["counted by the limit", "used"]


def test_what_failed_counts_for_the_limit_of_tokens_too(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    failures = (("BadRequestError 400", 0.5, 0.0),)
    write_start(path, [outcome("a", 10.0, 10.5, error=BAD, failures=failures)], limits=LIMITS)
    report = report_of(path)

    assert report.charged is not None
    assert report.charged.peak > CATALOG.models["kimi-k2.6"].default_output_tokens


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 200)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), max_size=60),
    st.sampled_from([0.7, 1.0, 7.0, 60.0]),
)
def test_a_window_has_no_more_than_there_was(
    starts: list[tuple[float, float]], sendings: list[tuple[int, float]], minute: float
) -> None:
    spans: list[Span] = []
    now = offset = 0.0
    for turn, (pause, length) in enumerate(starts):
        spans.append(Span(now + pause, now + pause + length, offset, {"rpm": 1.0}, turn))
        now, offset = now + pause + length, offset + length
    line = Timeline(spans, minute)
    for turn, share in sendings:
        span = spans[turn % len(spans)]
        line.requests.add(1, line.index(span.place(span.began + share * (span.ended - span.began))), span)
    found = [point.requests_a_minute for point in line.points()]

    if line.width < minute:
        assert all(0 <= each <= len(sendings) for each in found)
        if now < minute:
            assert found[-1] == pytest.approx(len(sendings))


def test_limits_that_are_given_count_more_than_those_of_the_journal(journal: Path) -> None:
    report = report_of(journal, rpm=120)

    assert report.requests.limit == 120
    assert report.tokens.limit == 12_000


def test_limits_that_nobody_told_are_not_made_up(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1.0, 2.0)], limits={"rpm": None, "tpm": None})
    report = report_of(path)

    assert report.requests.limit is None
    assert report.requests.share is None
    assert "the limit is not known" in report.text()
    assert {limit for panel in panels_of(report) if panel.chart for limit in panel.chart.limits} == {None}


def test_limits_that_make_no_sense_are_none(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1.0, 2.0)], limits={"rpm": "many"})

    assert report_of(path).requests.limit is None


def test_the_length_of_a_minute_comes_from_the_journal_too(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(
        path,
        [outcome(f"a-{each}", each / 10, each / 10 + 0.1) for each in range(100)],
        ended=10.0,
        limits={"minute": 1.0},
    )

    assert report_of(path).minute == 1.0
    assert report_of(path).requests.mean == pytest.approx(10.0)
    assert report_of(path, minute=2.0).requests.mean == pytest.approx(20.0)


async def test_a_run_writes_down_how_long_a_minute_of_its_limits_is(tmp_path: Path) -> None:
    limits = RateLimits(rpm=500, minute=2.0)
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(FakeMoonshot()), limits=limits) as client:
        await client.bulk([], model="kimi-k2.6", journal=tmp_path / "run.db").wait()
    report = report_of(tmp_path / "run.db")

    assert (report.minute, report.requests.limit) == (2.0, 500)
    assert "0 requests: 0 done, 0 failed" in report.text()
    says = [panel.says for panel in panels_of(report)[:2]]
    assert says == ["No request was sent.", "No token was used."]
