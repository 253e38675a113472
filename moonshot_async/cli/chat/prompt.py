"""The line where somebody types: several lines, history, completion."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth

from moonshot_async.cli.chat.commands import COMMANDS
from moonshot_async.toolkit.media.types import IMAGE_TYPES, VIDEO_TYPES

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

_MARK: Final = "› "
_MEDIA: Final = tuple(f".{suffix}" for suffix in (*IMAGE_TYPES, *VIDEO_TYPES))


class Prompt:
    """Asks for the next line: `await prompt()`.

    Args:
        history: what was typed before; None for no history, not even of this session.
        models: ids to complete behind `/model`.
        unfold: shows the reasoning of the last answer, at Ctrl-T.
        no_color: whether there is to be no colour.
        input, output: instead of the terminal.
    """

    def __init__(
        self,
        *,
        history: History | None,
        models: Iterable[str] = (),
        unfold: Callable[[], None] = lambda: None,
        no_color: bool = False,
        input: "Input | None" = None,
        output: "Output | None" = None,
    ) -> None:
        self._session: PromptSession[str] = PromptSession(
            _MARK,
            multiline=True,
            prompt_continuation=" " * len(_MARK),
            history=history or DummyHistory(),
            completer=_Completer(models),
            complete_while_typing=False,
            key_bindings=_keys(unfold),
            color_depth=ColorDepth.DEPTH_1_BIT if no_color else None,
            input=input,
            output=output,
        )

    async def __call__(self) -> str:
        """The next line, or several.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            EOFError: Ctrl-D.
        """
        # Raw terminals send Ctrl-C as a key. The signal is the session's: changing its handler leaves moments without.
        return await self._session.prompt_async(handle_sigint=False)


def _keys(unfold: Callable[[], None]) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-t")
    async def shown(event: KeyPressEvent) -> None:
        await run_in_terminal(unfold)

    return keys


class _Completer(Completer):
    """Commands behind a slash at the beginning, models behind `/model`, images and videos behind an @."""

    def __init__(self, models: Iterable[str]) -> None:
        self._models = tuple(models)
        self._paths = PathCompleter(expanduser=True, file_filter=_is_media)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        name, space, rest = text.partition(" ")
        if text.startswith("/") and not space:
            yield from (Completion(known, -len(text)) for known in COMMANDS if known.startswith(name))
        elif name == "/model" and space:
            yield from (Completion(id, -len(rest)) for id in self._models if id.startswith(rest))
        elif name in ("/load", "/save") and space:
            yield from PathCompleter(expanduser=True).get_completions(Document(rest), complete_event)
        elif (word := document.get_word_before_cursor(WORD=True)).startswith("@"):
            yield from self._paths.get_completions(Document(word[1:]), complete_event)


def _is_media(name: str) -> bool:
    return Path(name).is_dir() or name.lower().endswith(_MEDIA)
