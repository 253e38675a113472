"""An answer on a terminal, while it arrives: Markdown that is laid out, and above it what the model thinks, dimmed.

Pieces are gathered and shown together, at most every 1/20 s and for at most a fifth of the time, so that neither many
pieces nor long ones hold up what follows.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

from rich.text import Text

from moonshot_async.cli.chat.blocks import Block, Blocks
from moonshot_async.cli.chat.markdown import Layout
from moonshot_async.cli.chat.screen import Screen
from moonshot_async.cli.chat.visible import Visible

Reasoning = Literal["fold", "show", "hide"]

# Seconds between two looks at what is new, and while nothing comes.
_INTERVAL: Final = 0.05
_IDLE: Final = 0.5
# After showing something, this many times as long is waited.
_SHARE: Final = 4
# Seconds until it is said that the answer is waited for.
_PATIENCE: Final = 1.0
# Of reasoning that is folded: how many lines of it are seen while it goes on, and of how much text they are made.
_FOLDED_LINES: Final = 3
_FOLDED_TEXT: Final = 2000
_DIM: Final = "dim italic"


class LiveAnswer:
    """Shows an answer as it arrives: `take` each event, then `finish`, or `stop` where it broke off.

    Args:
        screen: where.
        layout: makes lines of it.
        reasoning: "fold" shows its last lines while it goes on and one line afterwards, "show" shows all of it.
        hint: how to see what was folded, to be told with that line.
        clock: the time, in seconds.
    """

    def __init__(
        self,
        screen: Screen,
        layout: Layout,
        *,
        reasoning: Reasoning = "fold",
        hint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen, self._layout = screen, layout
        self._mode, self._hint, self._clock = reasoning, hint, clock
        self._begun = self._thinking_since = clock()
        self._thoughts: list[str] = []
        self._thinks = _Thoughts()
        self._blocks = Blocks()
        self._visible = Visible()
        self._ready: list[Block] = []
        self._answering = self._wrote = False
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._wait(_PATIENCE)

    @property
    def reasoning(self) -> str:
        """What the model thought so far."""
        return "".join(self._thoughts)

    def take(self, event: Any) -> None:
        """Take an event of the stream."""
        if event.type == "reasoning.delta":
            if not self._thoughts:
                self._thinking_since = self._clock()
            self._thoughts.append(event.delta)
            self._thinks.feed(event.delta)
        elif event.type in ("content.delta", "refusal.delta") and event.delta:
            # The first piece is empty, and reasoning may follow.
            self._answering = True
            self._ready.extend(self._blocks.feed(self._visible.feed(event.delta)))
        else:
            return
        self._wait(self._not_before - self._clock(), sooner=True)

    def finish(self) -> None:
        """All of it was taken: nothing changes any more."""
        self._cancel()
        self._ready.extend(self._blocks.feed(self._visible.finish()))
        self._ready.extend(self._blocks.finish())
        self._answering = True
        try:
            self._draw(final=True)
        finally:
            self._screen.close()

    stop = finish

    def _wait(self, seconds: float, *, sooner: bool = False) -> None:
        if self._timer is not None:
            if not sooner or self._timer.when() <= asyncio.get_running_loop().time() + _INTERVAL:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._tick)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        begun = self._clock()
        self._draw()
        now = self._clock()
        self._not_before = now + max(_INTERVAL, _SHARE * (now - begun))
        if not self._answering:
            # The seconds go on.
            self._wait(_IDLE)

    def _draw(self, *, final: bool = False) -> None:
        columns = self._screen.columns
        lines = list(self._thought_lines(columns))
        ready, self._ready = list(_merged(self._ready)), []
        for block in ready:
            lines += self._gap(block)
            lines += self._layout.block(block, columns)
            self._wrote = True
        self._screen.show(lines, [] if final else list(self._changing(columns)))

    def _gap(self, block: Block) -> list[str]:
        return [""] if self._wrote and not block.joined else []

    def _thought_lines(self, columns: int) -> Iterator[str]:
        """What of the reasoning stays."""
        if self._mode == "show":
            for line in self._thinks.take_lines(whole=self._answering):
                yield from self._dim(line, columns) or [""]
                self._wrote = True
        elif self._answering and self._thinks.open and self._mode == "fold":
            seconds = self._clock() - self._thinking_since
            length = sum(map(len, self._thoughts))
            yield from self._dim(f"▸ thought for {seconds:.1f} s, {length} characters{self._hint}", columns)
            self._wrote = True
        if self._answering:
            self._thinks.open = False

    def _changing(self, columns: int) -> Iterator[str]:
        if self._answering:
            preview = self._blocks.preview()
            if preview is not None:
                yield from self._gap(preview)
                yield from self._layout.preview(preview, columns)
            return
        if self._mode != "show":
            what, since = ("thinking", self._thinking_since) if self._thoughts else ("waiting", self._begun)
            yield from self._dim(f"{what} … {self._clock() - since:.0f} s", columns)
        if self._thoughts and self._mode != "hide":
            tail = self._dim(self._thinks.tail(), columns)
            yield from tail if self._mode == "show" else tail[-_FOLDED_LINES:]

    def _dim(self, text: str, columns: int) -> list[str]:
        return self._layout.lines(Text(text, _DIM), columns)


class _Thoughts:
    """Reasoning that arrives, as lines. `open` as long as there is something that was not told yet."""

    def __init__(self) -> None:
        self.open = False
        self._visible = Visible()
        self._lines: list[str] = []
        self._partial: list[str] = []

    def feed(self, piece: str) -> None:
        self.open = True
        *lines, rest = self._visible.feed(piece).split("\n")
        for line in lines:
            self._lines.append("".join([*self._partial, line]))
            self._partial.clear()
        self._partial.append(rest)

    def take_lines(self, *, whole: bool) -> list[str]:
        """The lines that are done, once; with `whole` the rest, too."""
        lines, self._lines = self._lines, []
        if whole and self._partial:
            lines.append("".join(self._partial))
            self._partial.clear()
        return lines

    def tail(self) -> str:
        """The end of it."""
        kept: list[str] = []
        size = 0
        for piece in reversed(self._partial):
            kept.append(piece)
            if (size := size + len(piece)) > _FOLDED_TEXT:
                break
        text = "".join(reversed(kept))
        for line in reversed(self._lines):
            if (size := size + len(line) + 1) > _FOLDED_TEXT:
                break
            text = f"{line}\n{text}"
        return text[-_FOLDED_TEXT:]


def _merged(blocks: Iterable[Block]) -> Iterator[Block]:
    """The same blocks, lines of code together: colouring them costs as much for one line as for many."""
    code: Block | None = None
    for block in blocks:
        if code is not None:
            # Nothing else comes until it is closed.
            code.lines.extend(block.lines)
            code.closes = block.closes
        elif block.kind == "code":
            code = block
        else:
            yield block
        if code is not None and code.closes:
            yield code
            code = None
    if code is not None:
        yield code
