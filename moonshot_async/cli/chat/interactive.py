"""The session on the terminal that the program was started in."""

import sys
from typing import Any

from moonshot_async.cli.chat.files import check_replaceable, saved
from moonshot_async.cli.chat.history import HistoryFile, state_directory
from moonshot_async.cli.chat.prompt import Prompt
from moonshot_async.cli.chat.session import Session, Terminal
from moonshot_async.cli.chat.settings import Settings, pace
from moonshot_async.cli.state import State
from moonshot_async.toolkit.media import Uploads


async def talk(state: State, given: dict[str, Any]) -> None:
    """Ask for lines and answer them, until somebody leaves.

    Args:
        state: has the client and the output.
        given: the options of the command.

    Raises:
        MoonshotError, CommandError, OSError: it cannot begin, or the conversation cannot be saved in the end.
    """
    save: str | None = given["save"]
    if save is not None:
        await check_replaceable(save)
    settings = Settings.of(given)
    terminal = Terminal(sys.stdout, no_color=not state.output.color())
    async with state.client(pace=pace()) as client, Uploads(client) as uploads:
        session = Session(
            client,
            terminal,
            settings,
            uploads,
            conversation=await settings.open(client),
            file=save or given["load"],
            reasoning=given["reasoning"] or "fold",
        )
        history = None if given["no_history"] else HistoryFile(state_directory() / "chat_history")
        prompt = Prompt(
            history=history,
            models=client.catalog.current_ids(),
            unfold=session.unfold,
            no_color=not state.output.color(),
        )
        try:
            await session.run(prompt, list(given["attach"]))
        finally:
            # Also where the terminal is gone.
            if save is not None:
                await saved(session.conversation, save)
