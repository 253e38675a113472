"""Where results and notes go: text, tables and JSON to stdout; notes, warnings and progress to stderr.

What others wrote (answers, names of files) reaches a terminal with its control characters made visible; into files and
pipes it goes as it is.
"""

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

from moonshot_async.cli.chat.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

# What JSON may hold as it is, and a terminal obeys: DEL, C1, and what reorders text.
_JSON_ESCAPES: Final = {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_LINE_BREAKS: Final = {0x09: " ", 0x0A: " "}
# Wider than any table: outside a terminal no cell is wrapped or cut.
_NO_WIDTH: Final = 100_000
# Between two columns of a table; and how much is shown of the last one at least.
_GAP: Final = 2
_LEAST: Final = 16


def to_json(data: Any, *, pretty: bool = False) -> bytes:
    """JSON of plain data, of dates, and of decimals as numbers with all their digits."""
    try:
        text = msgspec.json.Encoder(decimal_format="number").encode(data)
    except UnicodeEncodeError:
        # Half characters, such as in names of files that are not UTF-8: most readers of JSON take none.
        text = msgspec.json.Encoder(decimal_format="number").encode(_whole(data))
    return msgspec.json.format(text, indent=2) if pretty else text


def _whole(data: Any) -> Any:
    """The same data, plain, and with a question mark for each half character."""
    match msgspec.to_builtins(data, builtin_types=(Decimal,)):
        case str() as text:
            return text.encode("utf-8", "replace").decode()
        case list() as items:
            return [_whole(item) for item in items]
        case dict() as items:
            return {_whole(name): _whole(value) for name, value in items.items()}
        case value:
            return value


def plain(amount: Decimal) -> Decimal:
    """An amount without the zeros at its end, and never written with an exponent."""
    return Decimal(f"{amount.normalize():f}")


class Output:
    """Prints. Everything that is a result goes to stdout, all else to stderr.

    Attributes:
        json: whether results are JSON.
        no_color: whether colour was forbidden.
    """

    def __init__(self) -> None:
        self.json = False
        self.no_color = False

    def color(self, stream: TextIO | None = None) -> bool:
        """Whether a stream (stdout unless given) takes colour: a terminal, and nobody forbids it."""
        stream = sys.stdout if stream is None else stream
        forbidden = self.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return stream.isatty() and not forbidden

    def console(self, stream: TextIO | None = None) -> "Console":
        """A console of rich for a stream, stdout unless given; without any style where there is to be no colour."""
        from rich.console import Console

        stream = sys.stdout if stream is None else stream
        terminal = stream.isatty()
        return Console(
            file=stream,
            force_terminal=terminal,
            color_system="auto" if self.color(stream) else None,
            no_color=not self.color(stream),
            width=None if terminal else _NO_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def text(self, text: str, *, end: str = "\n") -> None:
        """Print text on stdout, at once."""
        print(visible(text) if sys.stdout.isatty() else text, end=end, flush=True)

    def raw(self, data: bytes) -> None:
        """Print bytes on stdout as they are; not for terminals."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def document(self, data: Any) -> None:
        """Print one JSON document."""
        self._json(to_json(data, pretty=True))

    def line(self, data: Any) -> None:
        """Print one line of JSON, at once."""
        self._json(to_json(data))

    def _json(self, text: bytes) -> None:
        sys.stdout.flush()
        if sys.stdout.isatty():
            text = text.decode().translate(_JSON_ESCAPES).encode()
        # In UTF-8 whatever the terminal's encoding is.
        sys.stdout.buffer.write(text + b"\n")
        sys.stdout.buffer.flush()

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        right: Collection[str] = (),
        spare: Sequence[str] = (),
    ) -> None:
        """Print a table, one line a row; on a terminal that is too narrow for it with fewer columns.

        Args:
            columns: their titles. The first one is never cut (it is what other commands ask for), the last one is.
            rows: their cells; None is shown as a dash.
            right: the columns whose cells stand at the right, numbers mostly.
            spare: the columns that are left out where there is no room, in this order.
        """
        from rich.table import Table
        from rich.text import Text

        console = self.console()
        cells = [[_cell(value) for value in row] for row in rows]
        widths = _widths(columns, cells)
        left_out = _left_out(widths, console.width, spare)
        table = Table(box=None, pad_edge=False, header_style="bold")
        shown = [place for place, column in enumerate(columns) if column not in left_out]
        room = console.width
        for count, place in enumerate(shown):
            if room < 1:
                # Narrower than anybody reads: what does not fit at all is not begun.
                del shown[count:]
                break
            align: Any = "right" if columns[place] in right else "left"
            width = min(widths[columns[place]], room)
            table.add_column(columns[place], justify=align, no_wrap=True, width=width)
            room -= width + _GAP
        for row in cells:
            table.add_row(*(Text(row[place]) for place in shown))
        with console.capture() as capture:
            console.print(table)
        print(*(line.rstrip() for line in capture.get().splitlines()), sep="\n", flush=True)
        if left_out:
            self.note(f"Left out, for want of room: {', '.join(left_out)}.")

    def note(self, text: str) -> None:
        """Say something on stderr that is no result. It may be lost: a program that ends says it elsewhere, too."""
        try:
            print(visible(text), file=sys.stderr, flush=True)
        except OSError:
            pass


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """How wide columns are, in those of a terminal."""
    from rich.cells import cell_len

    return {column: max(map(cell_len, (column, *cells))) for column, *cells in zip(columns, *rows, strict=True)}


def _left_out(widths: Mapping[str, int], room: int, spare: Sequence[str]) -> list[str]:
    """The columns without which the others fit, so that the last one is cut to no less than some characters."""
    *whole, last = widths
    needed = sum(widths[column] + _GAP for column in whole) + min(widths[last], _LEAST)
    left_out: list[str] = []
    for column in spare:
        if needed <= room:
            break
        needed -= (widths[column] if column != last else min(widths[last], _LEAST)) + _GAP
        left_out.append(column)
    return left_out


def _cell(value: object) -> str:
    return "-" if value is None else visible(str(value)).translate(_LINE_BREAKS)
