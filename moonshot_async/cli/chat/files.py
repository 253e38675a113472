"""Conversations in files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.cli.endings import WRONG_USAGE, CommandError
from moonshot_async.threads import in_daemon_thread
from moonshot_async.toolkit.conversation import Conversation
from moonshot_async.toolkit.conversation.files import FORMAT

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

_HEAD: Final = 200


Models = str | list[str] | None


class _Settings(msgspec.Struct):
    model: Models = None


async def loaded(client: "AsyncMoonshot", path: str, **changes: Any) -> Conversation:
    """The conversation in a file.

    Raises:
        OSError: it cannot be read.
        ConfigurationError: it holds none.
    """
    return await Conversation.load(client, expanded(path), **changes)


async def saved(conversation: Conversation, path: str | None) -> Path:
    """Write a conversation to a file that is not there, or holds one already; gives where it is now.

    Raises:
        CommandError: no file is named, or it holds something else.
        OSError: it cannot be written.
    """
    if not path:
        raise CommandError("Where to? /save PATH", WRONG_USAGE)
    target = expanded(path)
    await check_replaceable(path)
    try:
        await conversation.save(target)
    except OSError as error:
        # Its own words name the file that is written beside it first.
        raise OSError(error.errno, error.strerror, str(target)) from None
    return target


async def check_replaceable(path: str) -> None:
    """Refuse a file that holds something else, or cannot be there: better now than when there is something to lose.

    Raises:
        CommandError: it does.
        OSError: its directory is missing, or it is one.
    """
    if not await in_daemon_thread(_replaceable, expanded(path)):
        raise CommandError(f"{path} is there, and no saved conversation: choose another name", WRONG_USAGE)


def expanded(path: str) -> Path:
    """A path, where a ~ may stand for a home directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        # There is no such user.
        return Path(path)


def models_of(conversation: Conversation) -> Models:
    """Which model a conversation asks; several to choose from, or None for any that fits."""
    return msgspec.json.decode(conversation.to_json(), type=_Settings).model


def named(models: Models) -> str:
    """The same for people."""
    return models if isinstance(models, str) else "any that fits" if models is None else ", ".join(models)


def _replaceable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return FORMAT.encode() in file.read(_HEAD)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        return True
