"""What is printed: colour, width, encodings, control characters."""

import io
import re
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from moonshot_async.cli.output import Output, to_json
from moonshot_async.cli.progress import Bar
from tests.cli.command_line import moonshot_ended, offline, on_terminal

COLOUR = re.compile(r"\x1b\[[\d;]*m")


def test_a_terminal_has_colour_and_a_pipe_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert COLOUR.search(on_terminal("models", "--offline", monkeypatch=monkeypatch).text)
    assert not COLOUR.search(offline("models").out)


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_a_terminal_has_no_colour_where_the_environment_forbids_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "dumb")
    assert "\x1b" not in on_terminal("models", "--offline", monkeypatch=monkeypatch).text


def test_a_terminal_has_no_colour_where_an_option_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in on_terminal("models", "--offline", "--no-color", monkeypatch=monkeypatch).text


def test_a_pipe_has_no_colour_whatever_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in offline("models", FORCE_COLOR="1", TTY_COMPATIBLE="1").out


def test_what_is_no_terminal_takes_no_colour() -> None:
    assert not Output().color(io.StringIO())


def test_a_table_fits_a_terminal_and_is_whole_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    text = on_terminal("models", "--offline", "--no-color", monkeypatch=monkeypatch).text
    *rows, _, _ = text.splitlines()
    assert max(map(len, rows)) <= 50
    assert rows[0].split() == ["MODEL", "INPUT", "CACHED", "OUTPUT"]
    assert rows[2].startswith("kimi-k3.1-pro-highspeed ")
    assert "Left out, for want of room: READS, UNTIL, BATCH, THINKING, CONTEXT." in text
    assert "kimi-k3.1-pro-highspeed" in moonshot_ended("models", "--offline").out


def test_the_last_column_is_cut_and_the_first_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = on_terminal("files", "list", "--offline", "--no-color", monkeypatch=monkeypatch).text
    rows = text.splitlines()[:5]
    assert max(map(len, rows)) <= 80
    assert all(row.startswith("file-0000000000") for row in rows[1:])
    assert any("…" in row for row in rows)
    monkeypatch.setenv("COLUMNS", "20")
    assert on_terminal("batch", "list", "--offline", monkeypatch=monkeypatch).text.count("batch-00000000000") == 2


def printed(output: Output, *rows: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    output.table(("NAME", "SIZE"), rows, right=("SIZE",))
    stream.flush()
    buffer: Any = stream.buffer
    text: str = buffer.getvalue().decode()
    return text


def test_cells_stay_in_their_row_and_columns_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(Output(), ("月之暗面.txt", 7), ("a\nb\tc\x1b[2J", None), monkeypatch=monkeypatch)
    assert text.splitlines() == ["NAME          SIZE", "月之暗面.txt     7", "a b c␛[2J        -"]


def test_control_characters_do_not_reach_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Milk \x1b[2J and honey.", encoding="utf-8")
    piped = moonshot_ended("extract", str(path), "--offline")
    assert piped.out == "Milk \x1b[2J and honey.\n"
    shown = on_terminal("extract", str(path), "--offline", "--no-color", monkeypatch=monkeypatch, only="stdout")
    assert shown.text == "Milk ␛[2J and honey.\r\n"


def test_bytes_are_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_terminal("files", "content", "file-000000000001", "--offline", monkeypatch=monkeypatch)
    assert "telescope" in shown.text


def test_json_has_numbers_exact_and_takes_half_characters() -> None:
    assert to_json({"a": Decimal("0.10")}) == b'{"a":0.10}'
    assert to_json({"a": "\udc80"}, pretty=True) == b'{\n  "a": "?"\n}'
    assert to_json({"\udc80": [Decimal("0.10"), None, date(2026, 1, 2)]}) == b'{"?":[0.10,null,"2026-01-02"]}'


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lease.txt"
    path.write_text("The telescope stays.", encoding="utf-8")
    for command in (("files", "upload"), ("extract",)):
        shown = on_terminal(*command, str(path), "--offline", monkeypatch=monkeypatch, only="stderr")
        assert (shown.code, "━" in shown.text) == (0, True)
        assert "\x1b[?25h" in shown.text, "the cursor is shown again"
        assert moonshot_ended(*command, str(path), "--offline").err == ""


def test_a_dumb_terminal_gets_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lease.txt"
    path.write_text("The telescope stays.", encoding="utf-8")
    monkeypatch.setenv("TERM", "dumb")
    shown = on_terminal("extract", str(path), "--offline", monkeypatch=monkeypatch, only="stderr")
    assert (shown.code, shown.text) == (0, "")


def test_the_words_of_a_bar_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    with Bar(Output(), "[red]a\x1b.pdf", total=10) as bar:
        bar.update(5, note="[b]3/s")
        bar.update(10, words="end[/b]")
    assert "end[/b]" in terminal.getvalue()
    assert "[b]3/s" in terminal.getvalue()


def test_a_note_that_nobody_can_read_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    Output().note("nobody hears it")


def test_texts_and_the_bar_keep_apart_on_one_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lease.txt"
    path.write_text("The telescope stays.", encoding="utf-8")
    shown = on_terminal("extract", str(path), str(path), "--offline", monkeypatch=monkeypatch).text
    assert shown.count("\r\x1b[1A\x1b[2K==> ") == 2, "the bar is wiped before a text is printed"
