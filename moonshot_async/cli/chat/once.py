"""One question, from the command line or from stdin."""

import sys
from typing import TYPE_CHECKING, Any

from moonshot_async.cli.chat.attachments import content_of
from moonshot_async.cli.chat.files import check_replaceable, saved
from moonshot_async.cli.chat.plain import Answer, JsonLines, PlainAnswer, Silent, answered, document
from moonshot_async.cli.chat.settings import Settings, pace
from moonshot_async.cli.endings import DONE, FAILED
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.toolkit.conversation import Conversation, Reply


async def ask_once(state: State, given: dict[str, Any], typed: str, piped: str) -> int:
    """Ask, show the answer, and tell the exit code: 1 for an answer that is not whole.

    Args:
        state: has the client and the output.
        given: the options of the command.
        typed: the question, where files may be named in.
        piped: text behind it.

    Raises:
        MoonshotError, CommandError, OSError: it could not be asked or answered.
    """
    from moonshot_async.toolkit.media import Uploads

    save: str | None = given["save"]
    if save is not None:
        await check_replaceable(save)
    async with state.client(pace=0.0 if state.json else pace()) as client, Uploads(client) as uploads:
        conversation = await Settings.of(given).open(client)
        content = await content_of(typed, list(given["attach"]), uploads, rest=piped)
        reply = await _answered(conversation, content, _shown(state, given))
        _tell(state, given, reply, conversation)
        if save is not None:
            await saved(conversation, save)
    return FAILED if reply.cut else DONE


async def _answered(conversation: "Conversation", content: Any, shown: Answer) -> "Reply":
    try:
        return await answered(conversation, content, shown)
    finally:
        shown.finish()


def _tell(state: State, given: dict[str, Any], reply: "Reply", conversation: "Conversation") -> None:
    """What is told of a whole answer beside its text."""
    if state.json:
        told = document(reply, conversation.currency)
        if given["stream"]:
            state.output.line({"type": "done", **told})
        else:
            state.output.document(told)
    if reply.cut:
        state.output.note(f"moonshot: the answer is not whole ({reply.finish_reason}); --max-tokens allows longer ones")


def _shown(state: State, given: dict[str, Any]) -> Answer:
    """What shows the answer: laid out on a terminal, as it comes elsewhere."""
    if state.json:
        return JsonLines(state.output) if given["stream"] else Silent()
    if given["plain"] or not is_terminal():
        return PlainAnswer(reasoning=given["reasoning"] == "show")
    from moonshot_async.cli.chat.session import Terminal

    terminal = Terminal(sys.stdout, no_color=not state.output.color())
    return terminal.answer(given["reasoning"] or "fold")


def is_terminal() -> bool:
    """Whether stdout is a terminal that understands control sequences."""
    import os

    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
