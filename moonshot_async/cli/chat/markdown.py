"""Blocks of Markdown, laid out as lines for a terminal.

What is not understood is shown as it was written: nothing of an answer gets lost. Code has neither margin nor line
breaks of ours, so that it can be copied.
"""

import io
from collections import deque
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, ClassVar, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

from moonshot_async.cli.chat.blocks import Block
from moonshot_async.cli.chat.visible import visible

# Its colours are those of the terminal, so that they can be read on any background.
_THEME: Final = "ansi_dark"
# How many lines of code are looked at again to colour the next ones.
_CONTEXT: Final = 60
# A line of code longer than this is not coloured.
_LONGEST: Final = 2000
_NARROWEST: Final = 8
# What is longer, without any block ending, is shown as it is written: laying it out would take seconds.
_MOST: Final = 50_000


class Layout:
    """Makes lines of blocks, with their colours, for a terminal of a given width.

    Args:
        color_system: as rich names it; None for no colours.
    """

    def __init__(self, color_system: Any = "auto", *, no_color: bool = False) -> None:
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            force_terminal=True,
            legacy_windows=False,
            color_system=color_system,
            no_color=no_color,
            highlight=False,
            markup=False,
            emoji=False,
            width=80,
        )
        self._context: deque[str] = deque(maxlen=_CONTEXT)

    def block(self, block: Block, width: int, *, fold: bool = False) -> list[str]:
        """The lines of a block that is done; call it once for each, in their order.

        Args:
            block: its lines of code are coloured by those before them.
            width: of the terminal, in columns.
            fold: break lines of code at the width, instead of leaving it to the terminal.
        """
        if block.kind == "text":
            return self._text(block.source, width)
        if block.opens:
            self._context.clear()
        return self._code(block, width, self._context, fold=fold)

    def preview(self, block: Block, width: int) -> list[str]:
        """The lines of a block that is still open; as often as you like."""
        if block.kind == "text":
            return self._text(block.source, width)
        return self._code(block, width, deque(() if block.opens else self._context, _CONTEXT), fold=True)

    def lines(self, content: RenderableType, width: int) -> list[str]:
        """Whatever rich can print, without empty lines around it, and without spaces at the ends of lines."""
        self._console.width = max(width, _NARROWEST)
        with self._console.capture() as capture:
            self._console.print(_Safe(content), end="")
        shown = capture.get()
        return shown.removesuffix("\n").split("\n") if shown else []

    def _text(self, source: str, width: int) -> list[str]:
        long = len(source) > _MOST
        return self.lines(Text(visible(source)) if long else _Markdown(source), width)

    def _code(self, block: Block, width: int, context: "deque[str]", *, fold: bool) -> list[str]:
        lines = self.lines(Text(f"```{block.language}", "dim"), width) if block.opens else []
        # Terminals have tabs eight columns apart.
        new = [visible(line.expandtabs(4)) for line in block.lines]
        for line in _coloured([*context, *new], block.language)[len(context) :]:
            lines += self.lines(line, width if fold else _wide(line)) or [""]
        context.extend(new)
        return lines + self.lines(Text("```", "dim"), width) if block.closes else lines


class _Safe:
    """Something to print without control characters: Markdown can also bring them in as `&#13;`."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [_trimmed(line) for line in Segment.split_lines(console.render(self._content, options))]
        first = next((place for place, line in enumerate(lines) if line), len(lines))
        last = next((place for place in range(len(lines), 0, -1) if lines[place - 1]), 0)
        for line in lines[first:last]:
            yield from line
            yield Segment.line()


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _Markdown(Markdown):
    """Markdown as rich lays it out, but for what rich would leave out or move: HTML, links, images, references."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _Heading}

    def __init__(self, source: str) -> None:
        super().__init__("", code_theme=_THEME, hyperlinks=False)
        self.parsed = _parser().parse(visible(source))
        for token in self.parsed:
            if token.children:
                token.children = _plain(token.children)


@cache
def _parser() -> MarkdownIt:
    """Takes longer to make than to use."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    return parser.disable(["reference", "html_block", "html_inline"])


def _trimmed(line: Iterable[Segment]) -> list[Segment]:
    """A line that may be shown: without control characters, and without spaces at its end."""
    kept = [Segment(visible(segment.text), segment.style) for segment in line if segment.text and not segment.control]
    while kept and kept[-1].text.endswith(" "):
        end = kept.pop()
        if rest := end.text.rstrip(" "):
            kept.append(Segment(rest, end.style))
    return kept


def _plain(tokens: Iterable[Token]) -> list[Token]:
    """The tokens of a paragraph, with links and images as text, and with its line breaks."""
    made: list[Token] = []
    # Where the texts of the open links begin.
    links: list[tuple[int, str]] = []
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
            made.append(token)
        elif token.type == "link_open":
            links.append((len(made), str(token.attrs.get("href", ""))))
        elif token.type == "link_close":
            start, address = links.pop()
            if address not in (shown := _content(made[start:]), f"mailto:{shown}"):
                made.append(_text(f" ({address})"))
        elif token.type == "image":
            made.append(_text(f"[{token.content or 'image'}] ({token.attrs.get('src', '')})"))
        else:
            made.append(token)
    return made


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _content(tokens: Sequence[Token]) -> str:
    return "".join(token.content for token in tokens)


def _coloured(lines: Sequence[str], language: str) -> list[Text]:
    """Lines of code with the colours of their language; plain where it is not known."""
    if language and all(len(line) <= _LONGEST for line in lines):
        coloured = Syntax("", language, theme=_THEME).highlight("\n".join(lines))
        made = list(coloured.split("\n", allow_blank=True))[: len(lines)]
        # Colouring may add lines, and must not cost one.
        if [line.plain for line in made] == list(lines):
            return made
    return [Text(line) for line in lines]


def _wide(line: Text) -> int:
    return max(line.cell_len, 1)
