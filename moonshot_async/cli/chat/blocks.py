"""Markdown that arrives, cut into blocks that will not change any more, so that each is laid out once.

Only lines are looked at, each of them once. Where Markdown itself is unsure until much later (a list may go on after a
blank line), a block stays open until the next line tells.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

Kind = Literal["text", "code"]

_FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,})([^`]*)$")
_ITEM: Final = re.compile(r"^( *)(?:([-*+])|(\d{1,9})([.)]))(?=[ \t]|$)")
_HEADING: Final = re.compile(r"^ {0,3}#{1,6}(?:[ \t]|$)")
# How much of what is open is looked at to show it; more does not fit a screen.
_PREVIEW: Final = 2000


class Block(msgspec.Struct):
    """A part of a text.

    Attributes:
        source: the Markdown of it; empty for code.
        kind: "code" for lines of a block of code that is not part of a list or a quote.
        lines: of code, as they are.
        language: of the code, as it was named; empty where it was not.
        opens, closes: whether the lines of code are the first, and the last.
        joined: whether it goes on with what came before, without a blank line between.
    """

    source: str
    kind: Kind = "text"
    lines: list[str] = []
    language: str = ""
    opens: bool = False
    closes: bool = False
    joined: bool = False


class _List(msgspec.Struct):
    """The list that the current block is an item of. `number` is of the item, None for a list without numbers."""

    indent: int
    mark: str
    number: int | None


class _Fence(msgspec.Struct):
    """A block of code that is open. `inner` for one within a list, which stays part of its item."""

    indent: int
    marks: str
    language: str
    inner: bool
    opens: bool = True

    def closed_by(self, line: str) -> bool:
        found = _FENCE.match(line)
        if found is None or found[3].strip() or found[2][0] != self.marks[0]:
            return False
        return len(found[2]) >= len(self.marks) and (self.inner or len(found[1]) < 4)


class Blocks:
    """Cuts a text into blocks: `feed` and `finish` give those that are done, `preview` what is still open."""

    def __init__(self) -> None:
        self._partial: list[str] = []
        self._lines: list[str] = []
        self._blank = False
        self._list: _List | None = None
        self._fence: _Fence | None = None
        self._joined = False

    def feed(self, text: str) -> Iterator[Block]:
        """Take a piece of the text."""
        *lines, rest = text.split("\n")
        for line in lines:
            whole = "".join([*self._partial, line])
            self._partial.clear()
            yield from self._line(whole)
        if rest:
            self._partial.append(rest)

    def finish(self) -> Iterator[Block]:
        """There is no more: the rest."""
        if self._partial:
            rest = "".join(self._partial)
            self._partial.clear()
            yield from self._line(rest)
        if self._fence is not None and not self._fence.inner:
            yield self._code([], closes=True)
        yield from self._done()

    def preview(self) -> Block | None:
        """The end of what is open, to be shown for the moment."""
        size = 0
        last: list[str] = []
        for piece in reversed(self._partial):
            last.append(piece)
            if (size := size + len(piece)) > _PREVIEW:
                break
        partial = "".join(reversed(last))[-_PREVIEW:]
        if self._fence is not None and not self._fence.inner:
            fence = self._fence
            return Block(
                "", "code", [partial] if partial else [], fence.language, opens=fence.opens, joined=not fence.opens
            )
        shown = [partial] if partial else []
        for line in reversed(self._lines):
            if (size := size + len(line) + 1) > _PREVIEW:
                break
            shown.append(line)
        if not any(line.strip() for line in shown):
            return None
        return Block("\n".join(reversed(shown)), joined=self._joined)

    def _line(self, line: str) -> Iterator[Block]:
        fence = self._fence
        if fence is not None and not fence.inner:
            if fence.closed_by(line):
                yield self._code([], closes=True)
                self._fence = None
            else:
                yield self._code([_outdented(line, fence.indent)])
        elif fence is not None:
            self._lines.append(line)
            if fence.closed_by(line):
                self._fence = None
        elif not line.strip():
            if self._lines:
                self._lines.append("")
                self._blank = True
        else:
            yield from self._text(line)

    def _text(self, line: str) -> Iterator[Block]:
        """A line that is not empty, outside of code."""
        indent = len(line) - len(line.lstrip(" "))
        if line.startswith("\t"):
            indent = 4
        item = _ITEM.match(line)
        if self._list is not None and item is not None and indent <= self._list.indent + 1:
            yield from self._next_item(line, item)
        elif self._list is not None and indent > self._list.indent + 1:
            self._append(line)
        elif self._begins(line, indent, item):
            yield from self._done()
            yield from self._begin(line, indent, item)
        else:
            self._append(line)

    def _begins(self, line: str, indent: int, item: "re.Match[str] | None") -> bool:
        """Whether a line begins a block, whatever stands before it."""
        if not self._lines or self._blank:
            return True
        if indent > 3:
            return False
        # A number other than 1 may be the end of a sentence.
        if item is not None and item.end() < len(line) and (item[3] is None or item[3] == "1"):
            return True
        return _FENCE.match(line) is not None or _HEADING.match(line) is not None

    def _begin(self, line: str, indent: int, item: "re.Match[str] | None") -> Iterator[Block]:
        if indent < 4 and (fence := _FENCE.match(line)) is not None:
            language = fence[3].split()
            self._fence = _Fence(len(fence[1]), fence[2], language[0] if language else "", inner=False)
            return
        self._append(line)
        if indent < 4 and _HEADING.match(line) is not None:
            yield from self._done()
        elif indent < 4 and item is not None:
            self._list = _List(indent, item[2] or item[4], None if item[3] is None else int(item[3]))

    def _append(self, line: str) -> None:
        self._lines.append(line)
        self._blank = False
        if self._list is not None and (fence := _FENCE.match(line)) is not None:
            self._fence = _Fence(len(fence[1]), fence[2], "", inner=True)

    def _next_item(self, line: str, item: "re.Match[str]") -> Iterator[Block]:
        """The next item, of the same list or of another one."""
        before = self._list
        assert before is not None, "only called in a list"
        yield from self._done()
        mark, number = item[2] or item[4], None if item[3] is None else int(item[3])
        self._joined = mark == before.mark
        if self._joined and before.number is not None:
            # As Markdown has it, only the first number of a list counts.
            wanted = before.number + 1
            if number != wanted:
                line = f"{item[1]}{wanted}{line[item.end(3) :]}"
            number = wanted
        self._list = _List(before.indent, mark, number)
        self._append(line)

    def _done(self) -> Iterator[Block]:
        """Close the current block."""
        source = "\n".join(self._lines).rstrip()
        if source:
            yield Block(source, joined=self._joined)
        self._lines.clear()
        self._blank = self._joined = False
        self._list = self._fence = None

    def _code(self, lines: list[str], *, closes: bool = False) -> Block:
        fence = self._fence
        assert fence is not None, "only called in code"
        opens, fence.opens = fence.opens, False
        return Block("", "code", lines, fence.language, opens=opens, closes=closes, joined=not opens)


def _outdented(line: str, indent: int) -> str:
    """A line of code without the spaces that its fence has before it."""
    leading = len(line) - len(line.lstrip(" "))
    return line[min(indent, leading) :]
