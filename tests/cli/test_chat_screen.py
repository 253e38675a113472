"""Lines that stay, and lines that change below them."""

from pathlib import Path

from moonshot_async.cli.chat.screen import Screen, size_of
from tests.cli.screens import Terminal


def screen_of(terminal: Terminal) -> Screen:
    return Screen(terminal, lambda: terminal.size)  # type: ignore[arg-type]  # as much of a file as is needed


def test_what_changes_is_replaced_and_what_stays_is_pushed_up() -> None:
    terminal = Terminal(20, 6)
    screen = screen_of(terminal)
    screen.show([], ["one", "two"])
    screen.show([], ["one", "three", "four"])
    assert terminal.text == "one\nthree\nfour"
    screen.show(["kept"], ["five"])
    assert terminal.text == "kept\nfive"
    screen.show(["kept, too"], ["five"])
    assert terminal.text == "kept\nkept, too\nfive"
    screen.close()
    assert terminal.text == "kept\nkept, too"
    assert not terminal.screen.cursor.hidden


def test_only_lines_that_differ_are_written() -> None:
    terminal = Terminal(20, 6)
    screen = screen_of(terminal)
    screen.show([], ["same", "old"])
    terminal.written.clear()
    screen.show([], ["same", "old"])
    assert terminal.written == []
    screen.show([], ["same", "new"])
    assert "same" not in "".join(terminal.written)


def test_more_than_the_screen_holds_shows_its_end() -> None:
    terminal = Terminal(20, 4)
    screen = screen_of(terminal)
    for last in range(9):
        screen.show([], [f"line {number}" for number in range(last + 1)])
    assert terminal.text == "line 6\nline 7\nline 8"
    screen.show([f"line {number}" for number in range(9)])
    assert terminal.text == "\n".join(f"line {number}" for number in range(9))


def test_lines_wider_than_the_terminal_leave_nothing_behind() -> None:
    terminal = Terminal(10, 8)
    screen = screen_of(terminal)
    screen.show([], ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"])
    screen.show(["wide line of code"], ["d", "e", "f"])
    assert terminal.text == "wide line\nof code\nd\ne\nf"


def test_full_lines_are_followed_by_no_empty_one() -> None:
    terminal = Terminal(10, 8)
    screen = screen_of(terminal)
    screen.show(["0123456789", "你好你好你"], ["9876543210"])
    screen.show([], ["9876543210", "x"])
    assert terminal.text == "0123456789\n你好你好你\n9876543210\nx"


def test_a_terminal_that_changes_its_size_loses_no_line_that_stays() -> None:
    terminal = Terminal(20, 8)
    screen = screen_of(terminal)
    screen.show(["kept"], ["changing line", "and another"])
    terminal.resize(30, 8)
    screen.show([], ["changing"])
    assert terminal.text == "kept\nchanging"
    terminal.resize(15, 8)
    screen.show([], ["a short one"])
    screen.close()
    assert terminal.text.startswith("kept")
    # pyte cuts where others wrap: nothing above may be written over.
    terminal = Terminal(20, 8)
    screen = screen_of(terminal)
    screen.show(["kept"], ["0123456789012345"])
    terminal.resize(8, 8)
    screen.show([], ["new"])
    assert terminal.text == "kept\nnew"


def test_a_file_that_is_no_terminal_has_the_usual_size(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert size_of(file) == (80, 24)
        assert Screen(file).columns == 80
