"""Every figure of the documentation is one that the benchmarks printed."""

import json
from pathlib import Path

import pytest

from benchmarks.plots import PLOTS
from benchmarks.results import Results
from benchmarks.scenarios import scenarios
from benchmarks.scenarios.base import SIZES
from benchmarks.tables import markdown_of, summary_of

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "performance.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.fixture
def results() -> Results:
    return Results.from_data(json.loads((ROOT / "docs" / "performance.json").read_text()))


def between(text: str, name: str) -> str:
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]


def test_the_tables_of_the_page_are_those_of_the_run(results: Results) -> None:
    assert between(PAGE, "tables") == markdown_of(results)
    assert {table.name for table in results.tables} == scenarios(SIZES["full"]).keys()
    assert not results.missing
    assert not any(row.failure for table in results.tables for row in table.rows)


def test_the_figures_of_the_readme_are_those_of_the_run(results: Results) -> None:
    assert between(README, "figures") == summary_of(results)
    assert "–" not in summary_of(results)


def test_each_plot_is_shown() -> None:
    for plot in PLOTS:
        assert f"(plots/{plot.name}.svg)" in PAGE
        assert (ROOT / "docs" / "plots" / f"{plot.name}.svg").read_text().startswith("<?xml")
