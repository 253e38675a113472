"""Reports that cannot be made, and how numbers are told."""

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from moonshot_async.bulk.report import report_of
from moonshot_async.bulk.report.words import duration, money, percent, plain, short
from moonshot_async.errors import (
    ConfigurationError,
    JournalError,
)
from tests.bulk.report.journals import outcome, write_start


@pytest.mark.parametrize("name", ["rpm", "tpm", "minute"])
def test_a_limit_that_is_none_is_refused(journal: Path, name: str) -> None:
    call: Callable[..., Any] = report_of
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(ConfigurationError, match=name):
            call(journal, **{name: value})
    for wrong in (True, "60"):
        with pytest.raises(TypeError, match=name):
            call(journal, **{name: wrong})


def test_a_file_that_is_missing_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no file"):
        report_of(tmp_path / "none.db")
    other = tmp_path / "notes.txt"
    other.write_text("These are notes, and no journal of anything. " * 20)
    with pytest.raises((ConfigurationError, JournalError)):
        report_of(other)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(ConfigurationError, match="no run has begun"):
        report_of(empty)


def test_a_journal_that_is_broken_says_so(journal: Path) -> None:
    content = bytearray(journal.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    journal.write_bytes(content)

    with pytest.raises(JournalError, match="cannot be read"):
        report_of(journal)


@pytest.mark.parametrize(
    "change",
    [
        "outcome SET state = 'failed', error = 'none'",
        "outcome SET state = 'failed', error = '[1]'",
        "outcome SET failures = '[[1, '",
        'outcome SET failures = \'[["a", "b", null]]\'',
        "outcome SET ended = 9e999",
        "outcome SET prompt_tokens = 'many'",
        "start SET began = 'yesterday'",
    ],
)
def test_a_journal_that_holds_nonsense_says_so(journal: Path, change: str) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute(f"UPDATE {change}")
        db.commit()

    with pytest.raises(JournalError, match="holds what no run has written"):
        report_of(journal)


def test_times_that_no_calendar_has_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    write_start(path, [outcome("a", 1e300, 1e300)], began=1e300, ended=1e300)

    assert "an unknown time to an unknown time" in report_of(path).text()


# --- words


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (duration(0.0004), "0.4 ms"),
        (duration(0.25), "250 ms"),
        (duration(0.9999), "1 s"),
        (duration(7.456), "7.46 s"),
        (duration(119.7), "2 min"),
        (duration(725), "12 min 5 s"),
        (duration(12_000), "3 h 20 min"),
        (duration(187_200), "2 d 4 h"),
        (duration(None), "–"),
        (short(0), "0"),
        (short(12.34), "12.3"),
        (short(1234), "1,234"),
        (short(45_600), "45.6k"),
        (short(999_999), "1M"),
        (short(1_230_000), "1.23M"),
        (percent(0), "0 %"),
        (percent(1), "100 %"),
        (percent(0.9999), "99.9 %"),
        (percent(0.0071), "0.71 %"),
        (percent(0.93), "93 %"),
        (money(Decimal("12.345"), "usd"), "$12.34"),
        (money(Decimal("0.0041"), "cny"), "¥0.0041"),
        (money(Decimal(0), "usd"), "$0.00"),
        (plain("x" * 99), "x" * 59 + "…"),
        (plain("a\tb\n"), "a�b�"),
    ],
)
def test_numbers_are_told_as_people_read_them(told: str, wanted: str) -> None:
    assert told == wanted
