"""What begins with a slash in a session."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, get_args

from moonshot_async.cli.chat.files import loaded, saved
from moonshot_async.cli.chat.spending import counted
from moonshot_async.cli.endings import WRONG_USAGE, CommandError

if TYPE_CHECKING:
    from moonshot_async.cli.chat.session import Session

# A path behind a slash is no command, and neither is anything behind two.
_COMMAND: Final = re.compile(r"/([a-z]+)(?:\s+(.*?))?\s*\Z", re.DOTALL | re.IGNORECASE)

# What other programs call it.
_ALIASES: Final = {"/exit": "/quit", "/q": "/quit"}

Command = Callable[["Session", str], Awaitable[None]]


class LeaveError(Exception):
    """The session is to end."""


async def take(session: "Session", line: str) -> bool:
    """Carry out a command; False where a line is none.

    Raises:
        LeaveError: it was `/quit`.
        CommandError: there is no such command, or it cannot be carried out.
    """
    found = _COMMAND.match(line)
    if found is None:
        return False
    name = f"/{found[1].lower()}"
    name = _ALIASES.get(name, name)
    if name not in COMMANDS:
        raise CommandError(f"There is no {name}; /help lists what there is. (// stands for a / at the beginning.)")
    await COMMANDS[name][1](session, found[2] or "")
    return True


async def _help(session: "Session", argument: str) -> None:
    session.terminal.say_pairs([(usage, words) for usage, _, words in COMMANDS.values()])
    session.terminal.say(
        "\n@PATH in a question shows the model an image or a video (@@ for a plain @).\n"
        "Enter sends; Alt-Enter, or \\ before Enter, begins another line. Ctrl-C stops an answer, Ctrl-D leaves, "
        "Ctrl-T shows the reasoning of the last answer."
    )


async def _model(session: "Session", argument: str) -> None:
    if argument:
        await session.check_model(argument)
        session.use_model(argument)
    session.terminal.say(f"Model: {session.model}")
    if not argument:
        session.terminal.say(f"Known: {', '.join(session.client.catalog.current_ids())}")


async def _save(session: "Session", argument: str) -> None:
    path = await saved(session.conversation, argument or session.file)
    session.file = str(path)
    session.terminal.say(f"Saved to {path}")
    if files := session.uploads.file_ids:
        session.terminal.say(
            f"{counted(len(files), 'file')} of it will be deleted from the account at the end of this session."
        )


async def _load(session: "Session", argument: str) -> None:
    if not argument:
        raise CommandError("Which file? /load PATH", WRONG_USAGE)
    session.use(await loaded(session.client, argument), file=argument)
    about = counted(session.conversation.turns, "turn")
    session.terminal.say(f"Loaded {about}, about {session.conversation.tokens:,} tokens. Model: {session.model}")


async def _cost(session: "Session", argument: str) -> None:
    for line in session.spending.lines(session.conversation):
        session.terminal.say(line)


async def _clear(session: "Session", argument: str) -> None:
    session.clear()
    session.terminal.say("What was said is forgotten; model and system message stay.")


async def _reasoning(session: "Session", argument: str) -> None:
    from moonshot_async.cli.chat.live import Reasoning

    if not argument:
        session.unfold()
        return
    for mode in get_args(Reasoning):
        if mode == argument:
            session.reasoning = mode
            session.terminal.say(f"Reasoning: {mode}")
            return
    raise CommandError("/reasoning takes fold, show or hide; alone it shows that of the last answer", WRONG_USAGE)


async def _quit(session: "Session", argument: str) -> None:
    raise LeaveError


COMMANDS: Final[Mapping[str, tuple[str, Command, str]]] = {
    "/help": ("/help", _help, "this list"),
    "/model": ("/model [ID]", _model, "which model answers; another one from now on"),
    "/save": ("/save [PATH]", _save, "write the conversation to a file"),
    "/load": ("/load PATH", _load, "go on with a conversation from a file"),
    "/cost": ("/cost", _cost, "tokens and money so far"),
    "/clear": ("/clear", _clear, "begin anew"),
    "/reasoning": ("/reasoning [fold|show|hide]", _reasoning, "show that of the last answer, or set how"),
    "/quit": ("/quit", _quit, "leave; as Ctrl-D"),
}
"""By name: how it is written, what carries it out, what it does."""
