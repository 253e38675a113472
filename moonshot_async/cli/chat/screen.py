"""The end of the screen, which changes, below lines that stay.

What changes is never higher than the screen, so that the cursor can always go back to its beginning; only lines that
differ are written again, and terminals that know it show each change at once (DEC mode 2026), so that nothing flickers.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final, TextIO

Size = tuple[int, int]

_BEGIN: Final = "\x1b[?2026h"
_END: Final = "\x1b[?2026l"
_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"
_CLEAR_LINE: Final = "\x1b[2K"
_CLEAR_BELOW: Final = "\x1b[J"


def size_of(file: TextIO) -> Size:
    """Columns and rows of the terminal that a file is."""
    try:
        columns, rows = os.get_terminal_size(file.fileno())
    except (OSError, ValueError):
        columns = rows = 0
    return columns or 80, rows or 24


class Screen:
    """Lines that stay, and below them lines that change; `close` it.

    The cursor stands at the beginning of the line below all of it.

    Args:
        file: the terminal.
        size: its columns and rows at the moment.
    """

    def __init__(self, file: TextIO, size: Callable[[], Size] | None = None) -> None:
        self._file = file
        self._size = size or (lambda: size_of(file))
        self._shown: list[str] = []
        self._columns = 0
        self._cursor_hidden = False

    @property
    def columns(self) -> int:
        """How wide the terminal is at the moment."""
        return self._size()[0]

    def show(self, lines: Sequence[str], changing: Sequence[str] = ()) -> None:
        """Write lines that stay, and below them those that may change, in place of those before.

        Args:
            lines: they may be wider than the terminal, which breaks them.
            changing: none of them is wider; of more than fit the screen the last ones are shown.
        """
        columns, rows = self._size()
        wanted = list(changing)[-max(rows - 1, 1) :]
        same = 0
        if not lines and columns == self._columns:
            while same < min(len(wanted), len(self._shown)) and wanted[same] == self._shown[same]:
                same += 1
            if same == len(wanted) == len(self._shown):
                return
        written = [*lines, *wanted[same:]]
        text = "".join(f"{_CLEAR_LINE}{line}\n" for line in written)
        # A line that stays may take several rows, each of which has to be empty.
        clear = bool(lines) or len(wanted) < len(self._shown) or columns != self._columns
        # Many terminals wrap what is shown when they become narrower, others cut it, and none says which. A line of the
        # preview that stays there is better than one of the answer that is written over.
        up = len(self._shown) - same
        self._write(
            _BEGIN
            + ("" if self._cursor_hidden else _HIDE_CURSOR)
            + (f"\x1b[{up}A" if up else "")
            + (_CLEAR_BELOW if clear else "")
            + text
            + _END
        )
        self._shown, self._columns, self._cursor_hidden = wanted, columns, True

    def close(self) -> None:
        """Take away what may change, and show the cursor again."""
        if self._shown:
            self.show([], [])
        if self._cursor_hidden:
            self._write(_SHOW_CURSOR)
            self._cursor_hidden = False

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
