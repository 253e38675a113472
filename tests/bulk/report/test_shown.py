"""A report as JSON, text and page, and what it keeps to itself."""

import html.parser
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from moonshot_async.bulk.report import Report, report_of
from moonshot_async.bulk.report.charts import LEFT, RIGHT, draw
from moonshot_async.bulk.report.panels import panels_of
from moonshot_async.errors import (
    ConfigurationError,
)
from tests.bulk.report.journals import ANSWER, BAD, PROMPT, outcome, write_start


def test_json_says_all_of_it_and_can_be_read_again(journal: Path) -> None:
    report = report_of(journal)

    assert msgspec.json.decode(report.json(), type=Report) == report
    assert json.loads(report.json())["cost"] == "0.301"


def test_text_tells_the_most_in_lines_of_a_terminal(journal: Path) -> None:
    text = report_of(journal).text()

    for told in (
        "304 requests: 300 done, 2 failed, 2 open",
        "BadRequestError 400",
        "of 60 allowed",
        "$0.30",
        "kimi-k3",
    ):
        assert told in text
    assert max(map(len, text.splitlines())) <= 120


def test_text_tells_why_the_run_ended_early(journal: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed.db", tmp_path / "whole.db"
    write_start(killed, [outcome("a", 1.0, 2.0)], ended=None)
    write_start(whole, [outcome("a", 1.0, 2.0)])

    assert "ended early   stopped" in report_of(journal).text()
    assert "still at work, or was killed" in report_of(killed).text()
    assert "ended" not in report_of(whole).text()
    assert "1 request: 1 done" in report_of(whole).text()


def test_columns_are_even_where_characters_are_wide(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1.0, 2.0, model="月之暗面"), outcome("b", 1.0, 2.0, model="kimi-k3")])
    wide, narrow = report_of(path).text().splitlines()[-2:][::-1]

    assert len(wide) + 4 == len(narrow)


def test_neither_prompt_nor_answer_is_told(journal: Path) -> None:
    report = report_of(journal)

    for told in (report.text(), report.json()):
        assert PROMPT not in told
        assert ANSWER not in told


class Page(html.parser.HTMLParser):
    """What a page loads, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")
        ]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_in_itself(journal: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    report_of(journal).write_html(target)
    written = target.read_text("utf-8")
    page = Page(written)

    assert PROMPT not in written
    assert ANSWER not in written
    assert page.open == []
    assert page.tags.count("svg") == 6
    assert all(load == "data:," or load.startswith("#") for load in page.loads)
    assert "http:" not in written
    assert "https:" not in written
    policy = next(each["content"] for each in page.attributes if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert page.tags.count("details") == 1
    ids = [each["id"] for each in page.attributes if each.get("id")]
    assert len(ids) == len(set(ids))
    # No colour of its own is left in a picture: those of the page are for day and night.
    assert not [svg for svg in written.split("<svg")[1:] if ": #" in svg.split("</svg>")[0]]


def test_the_same_journal_makes_the_same_picture(journal: Path) -> None:
    report = report_of(journal)
    panel = panels_of(report)[2]

    assert panel.chart is not None
    assert draw(panel.chart, report, "p") == draw(panel.chart, report, "p")


def test_what_a_program_set_for_pictures_of_its_own_changes_nothing(journal: Path) -> None:
    from matplotlib import rc_context, rcParams

    chart = panels_of(report_of(journal))[0].chart
    assert chart is not None
    plain_picture = draw(chart, report_of(journal), "p")

    with rc_context({"axes.facecolor": "red", "text.usetex": True, "savefig.bbox": "tight", "xtick.labelsize": 30}):
        before = dict(rcParams)
        assert draw(chart, report_of(journal), "p") == plain_picture
        assert dict(rcParams) == before


def test_pages_can_be_made_by_several_threads(journal: Path) -> None:
    report = report_of(journal)
    charts = [panel.chart for panel in panels_of(report)[:2] if panel.chart]
    one = [draw(chart, report, "p") for chart in charts]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda chart: draw(chart, report, "p"), charts * 2)) == one * 2


def test_lines_show_where_the_latest_of_many_starts_began(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    for start in range(36):
        write_start(path, [outcome(f"a-{start}", start, start + 0.5)], began=start, ended=start + 1.0)
    report = report_of(path)
    chart = panels_of(report)[0].chart
    assert chart is not None
    picture = draw(chart, report, "p").split('id="p-line2d')
    # The last line stands where the last start began.
    dotted = [float(each.split('d="M ')[1].split()[0]) for each in picture if "stroke-dasharray" in each]
    left, right = LEFT * 7.6 * 72, RIGHT * 7.6 * 72

    assert len(dotted) == 30
    assert max(dotted) == pytest.approx(left + (right - left) * 35 / 36, abs=0.1)
    assert min(dotted) == pytest.approx(left + (right - left) * 6 / 36, abs=0.1)


def test_names_of_others_cannot_break_the_page_or_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "<b>$x$\x1b[2J.db"
    evil = "</script><script>alert(1)</script>\x1b[2J"
    failures = ((evil, 0.1, 0.1), ('"><img src=x>', 0.1, 0.0))
    write_start(
        path,
        [
            outcome(evil, 1.0, 2.0, error=BAD, failures=failures),
            outcome("\u202e", 1.0, 2.0, model=evil[:-4], error=BAD),
        ],
        reason=evil,
    )
    report = report_of(path)
    page = Page(report.html())

    assert page.open == []
    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert "b" not in page.tags[: page.tags.index("section")]
    assert "\x1b" not in report.text()
    report.html().encode()
    report.text().encode()


def test_a_long_wide_spread_of_durations_is_drawn_too(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome(f"a-{each}", each, each + 0.001 * 10 ** (each % 5)) for each in range(60)])

    report = report_of(path)
    chart = panels_of(report)[2].chart
    assert chart is not None
    assert chart.logarithmic
    assert "<path" in draw(chart, report, "p")


def test_a_limit_that_is_far_above_does_not_press_the_rest_to_the_ground(journal: Path) -> None:
    report = report_of(journal, rpm=1_000_000)
    chart = panels_of(report)[0].chart
    assert chart is not None

    assert "limit 1M, far above" in draw(chart, report, "p")


def test_a_long_time_without_answers_is_a_gap(tmp_path: Path) -> None:
    pictures = []
    for pause in (1.0, 40.0):
        path = tmp_path / f"{pause}.db"
        times = [*range(30), *(30 + pause + each for each in range(30))]
        write_start(path, [outcome(f"a-{at}", at, at + 0.5) for at in times], ended=100.0)
        report = report_of(path)
        chart = panels_of(report)[2].chart
        assert chart is not None
        pictures.append(draw(chart, report, "p").split('id="p-line2d'))
    median = [max(picture, key=len).split("</g>")[0].count("M ") for picture in pictures]

    assert median[1] > median[0]


def test_a_page_without_matplotlib_says_what_to_install(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(journal)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'moonshot-async\[report\]'"):
        report.html()
    assert report.text()


def test_matplotlib_is_loaded_for_the_page_alone(journal: Path) -> None:
    program = (
        "import sys; from moonshot_async.bulk.report import report_of; "
        f"report = report_of({str(journal)!r}); report.text(); report.json(); "
        "assert 'matplotlib' not in sys.modules and 'aiohttp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
