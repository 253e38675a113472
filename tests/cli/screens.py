"""A terminal that remembers what it shows, by pyte."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pyte

STYLES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A file that is a terminal: write to it, and look at `text`.

    Attributes:
        written: all that was written, as it came.
    """

    def __init__(self, columns: int = 40, rows: int = 12) -> None:
        self.screen: Any = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self.written: list[str] = []
        self._stream: Any = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self.written.append(text)
        # What the line discipline of a terminal does.
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)

    @property
    def size(self) -> tuple[int, int]:
        return self.screen.columns, self.screen.lines

    @property
    def text(self) -> str:
        """What stands on the screen, and above it."""
        return shown(self.screen)


def shown(screen: Any) -> str:
    """The lines of a screen of pyte, with those that have left it."""
    above = ["".join(line[place].data for place in range(screen.columns)) for line in screen.history.top]
    return "\n".join(line.rstrip() for line in [*above, *screen.display]).rstrip()


async def eventually(fact: Callable[[], bool]) -> None:
    """Wait until something is so; what a terminal shows nobody tells."""
    async with asyncio.timeout(5):
        while not fact():  # there is no event
            await asyncio.sleep(0.005)


def plain(lines: list[str]) -> list[str]:
    """Lines without their styles."""
    return [STYLES.sub("", line) for line in lines]
