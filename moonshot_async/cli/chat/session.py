"""The interactive session: a line is asked for, answered, and shown, until somebody leaves."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

from rich.table import Table
from rich.text import Text

from moonshot_async.cli.chat.attachments import content_of
from moonshot_async.cli.chat.commands import LeaveError, take
from moonshot_async.cli.chat.files import models_of, named
from moonshot_async.cli.chat.live import LiveAnswer, Reasoning
from moonshot_async.cli.chat.markdown import Layout
from moonshot_async.cli.chat.plain import answered
from moonshot_async.cli.chat.screen import Screen, Size
from moonshot_async.cli.chat.settings import Settings
from moonshot_async.cli.chat.spending import Spending, footer
from moonshot_async.cli.chat.visible import visible
from moonshot_async.cli.endings import CommandError, sentence
from moonshot_async.errors import MoonshotError, StreamInterruptedError
from moonshot_async.toolkit.conversation import Conversation, Reply
from moonshot_async.toolkit.media import Uploads

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

T = TypeVar("T")

_STOPPED: Final = "— stopped; neither the question nor this part of an answer is kept —"
_UNFOLD: Final = " (Ctrl-T shows it)"


class Terminal:
    """The terminal: answers and remarks.

    Args:
        file: the terminal.
        no_color: whether there is to be no colour.
        size: its columns and rows at the moment.
    """

    def __init__(self, file: TextIO, *, no_color: bool = False, size: Callable[[], Size] | None = None) -> None:
        self.screen = Screen(file, size)
        self.layout = Layout(None if no_color else "auto", no_color=no_color)

    def say(self, text: str, style: str = "") -> None:
        """Show text, in whole words where it is wider than the terminal."""
        lines: list[str] = []
        for line in visible(text).split("\n"):
            lines += self.layout.lines(Text(line, style), self.screen.columns) or [""]
        self.screen.show(lines)
        self.screen.close()

    def say_pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Show names and what they mean, side by side."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, words in pairs:
            table.add_row(Text(name), Text(words))
        self.screen.show(self.layout.lines(table, self.screen.columns))
        self.screen.close()

    def answer(self, reasoning: Reasoning, hint: str = "") -> LiveAnswer:
        """What shows the next answer."""
        return LiveAnswer(self.screen, self.layout, reasoning=reasoning, hint=hint)


class Session:
    """Asks, answers, and carries out commands: `await session.run()`.

    Args:
        client: asks.
        terminal: shows.
        settings: of a new conversation.
        uploads: makes parts of images and videos.
        conversation: to go on with, instead of a new one.
        reasoning: how it is shown.

    Attributes:
        conversation: what was said.
        file: where the conversation was saved last, or came from.
        spending: of all answers.
    """

    def __init__(
        self,
        client: "AsyncMoonshot",
        terminal: Terminal,
        settings: Settings,
        uploads: Uploads,
        *,
        conversation: Conversation | None = None,
        file: str | None = None,
        reasoning: Reasoning = "fold",
    ) -> None:
        self.client, self.terminal, self.uploads = client, terminal, uploads
        self.conversation = conversation or settings.begin(client)
        self.file, self.reasoning = file, reasoning
        self.spending = Spending()
        self._settings = settings
        self._thoughts = ""

    @property
    def model(self) -> str:
        """The model that answers, for people."""
        return named(models_of(self.conversation))

    async def run(self, ask: Callable[[], Awaitable[str]], paths: list[Path] | None = None) -> None:
        """Go on until somebody leaves.

        Args:
            ask: gives the next line; raises KeyboardInterrupt and EOFError as `input` does.
            paths: images and videos for the first question.
        """
        paths = paths or []
        # A Ctrl-C that comes a moment too late, when the answer is whole, must not end the session.
        with _at_interrupt(lambda: None):
            self.terminal.say(f"{self.model}. /help says what there is; Ctrl-D leaves.", "dim")
            while True:
                try:
                    line = await ask()
                except KeyboardInterrupt:
                    self.terminal.say("Ctrl-D leaves.", "dim")
                    continue
                except EOFError:
                    return
                try:
                    paths = await self._line(line.strip(), paths)
                except LeaveError:
                    return
                except (MoonshotError, CommandError, OSError) as error:
                    self.terminal.say(sentence(error), "red")

    async def _line(self, line: str, paths: list[Path]) -> list[Path]:
        """Do what a line says; gives the files that still wait for a question."""
        if not line or await take(self, line):
            return paths
        return [] if await self._question(line, paths) else paths

    def use(self, conversation: Conversation, *, file: str | None) -> None:
        """Go on with another conversation."""
        self.conversation, self.file = conversation, file
        self._settings.model = models_of(conversation)

    async def check_model(self, model: str) -> None:
        """Have the service say whether it has a model that is not known here; what it does not say is let pass.

        Raises:
            CommandError: it has none, or Ctrl-C was faster.
        """
        if model in self.client.catalog.current_ids():
            return
        try:
            listed = await stoppable(_listed(self.client))
        except MoonshotError:
            return
        if listed is None:
            raise CommandError(f"Not asked whether there is a model {model}; it stays {self.model}.")
        if model not in listed:
            raise CommandError(
                f"There is no model {model} for this key; it has {', '.join(listed)}. It stays {self.model}."
            )

    def use_model(self, model: str) -> None:
        """Go on with another model; what was said and what it cost stays.

        Raises:
            ConfigurationError: it cannot be.
        """
        self.use(Conversation.from_json(self.client, self.conversation.to_json(), model=model), file=self.file)

    def clear(self) -> None:
        """Begin a new conversation."""
        self.conversation, self.file = self._settings.begin(self.client), None

    def unfold(self) -> None:
        """Show what the model thought before the last answer."""
        self.terminal.say(self._thoughts.strip() or "The last answer came without reasoning.", "dim italic")

    async def _question(self, line: str, paths: list[Path]) -> bool:
        begun = time.monotonic()
        line = line[1:] if line.startswith("//") else line
        reply = await stoppable(self._answered(line, paths))
        if reply is None:  # pragma: no cover  # Python 3.11 loses sight of a frame when it was thrown into
            self.terminal.say(_STOPPED, "yellow")
            return False
        self.spending.add(reply)
        if reply.cut:
            self.terminal.say("— cut: the answer is longer than it may be; see --max-tokens —", "yellow")
        self.terminal.say(footer(reply, self.conversation.currency, time.monotonic() - begun), "dim")
        return True

    async def _answered(self, line: str, paths: list[Path]) -> Reply:
        content = await content_of(line, paths, self.uploads)
        shown = self.terminal.answer(self.reasoning, _UNFOLD)
        try:
            return await answered(self.conversation, content, shown)
        except (asyncio.CancelledError, StreamInterruptedError):
            self.spending.unfinished += 1
            raise
        finally:
            shown.finish()
            self._thoughts = shown.reasoning


async def stoppable(work: Coroutine[Any, Any, T]) -> T | None:
    """Do something that Ctrl-C ends, without ending the program; None where it did."""
    with _unechoed(sys.stdin):
        task = asyncio.ensure_future(work)
        with _at_interrupt(task.cancel):
            return await _outcome(task)


async def _listed(client: "AsyncMoonshot") -> list[str]:
    return [info.id for info in (await client.models.list()).data]


async def _outcome(task: "asyncio.Future[T]") -> T | None:
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        return None


@contextmanager
def _at_interrupt(stop: Callable[[], Any]) -> Iterator[None]:
    """Let SIGINT do something else for a while."""
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda number, frame: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _unechoed(file: TextIO) -> Iterator[None]:
    """Keep what is typed meanwhile from the screen; it is read by the next prompt."""
    try:
        import termios
    except ImportError:
        # Windows.
        yield
        return
    try:
        number = file.fileno()
        before = termios.tcgetattr(number)
    except (AttributeError, OSError, ValueError, termios.error):
        # It is no terminal.
        yield
        return
    quiet = before.copy()
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(number, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        # It may have been closed meanwhile.
        with suppress(termios.error):
            termios.tcsetattr(number, termios.TCSANOW, before)
