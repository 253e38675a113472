"""How far something is, drawn on stderr where that is a terminal; elsewhere nothing is drawn, or loaded."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from moonshot_async.cli.chat.visible import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from moonshot_async.cli.output import Output

# How much of the words is shown, in columns of the terminal.
_WORDS: Final = 30
# As many columns as "^C", and the cursor behind it, take.
_ROOM: Final = 3
# What a bar and the numbers of calls take.
_WIDE: Final = 72


class Bar:
    """A bar with words beside it: `with Bar(output, "a.pdf", total=100) as bar: bar.update(10)`.

    Args:
        output: knows about colour.
        words: what stands before it.
        total: how much there is; None where nobody knows.
        hidden: whether it would be in the way.
        unit: what is counted; of "calls" the caller tells rate and time left.

    Attributes:
        drawn: whether somebody sees it.
    """

    def __init__(
        self,
        output: "Output",
        words: str,
        *,
        total: float | None = None,
        unit: Literal["bytes", "calls", "items"] = "items",
        hidden: bool = False,
    ) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if not hidden and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._progress = _progress(output, unit)
            self._task = self._progress.add_task(visible(words), total=total, note="")

    @property
    def drawn(self) -> bool:
        return self._progress is not None

    def update(
        self, done: float, total: float | None = None, *, words: str | None = None, note: str | None = None
    ) -> None:
        """Tell how far it is; what is not given stays as it was."""
        if self._progress is not None and self._task is not None:
            words = None if words is None else visible(words)
            self._progress.update(self._task, completed=done, total=total, description=words)
            if note is not None:
                self._progress.update(self._task, note=visible(note))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away meanwhile: something is to be printed, perhaps on the same terminal."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def _progress(output: "Output", unit: str) -> "Progress":
    from rich.console import RenderableType
    from rich.constrain import Constrain
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Apart(Progress):
        """Leaves room at its end for the ^C that terminals write: a line that it breaks would not be wiped."""

        def get_renderable(self) -> RenderableType:
            return Constrain(super().get_renderable(), max(1, console.width - _ROOM))

    class Numbers(MofNCompleteColumn):
        """All of it in one, so that what is cut is cut at the end."""

        def render(self, task: Task) -> Text:
            return super().render(task).append(f" {task.fields['note']}", "default")

    console = output.console(sys.stderr)
    counts: list[ProgressColumn] = [MofNCompleteColumn()]
    if unit == "bytes":
        counts = [DownloadColumn(), TransferSpeedColumn()]
    if unit != "calls":
        counts.append(TimeRemainingColumn())
    drawn: list[ProgressColumn] = [
        # Names may be longer than the terminal is wide.
        TextColumn("{task.description}", markup=False, table_column=Column(max_width=_WORDS, no_wrap=True)),
        BarColumn(bar_width=None),
        *counts,
        TextColumn("{task.fields[note]}", markup=False),
    ]
    if unit == "calls" and console.width < _WIDE:
        # Numbers say more than a bar of three dots.
        drawn = [Numbers(table_column=Column(no_wrap=True))]
    return Apart(
        *drawn,
        console=console,
        # What is printed meanwhile is ours alone, and on stdout.
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
