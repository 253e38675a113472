"""How a conversation begins, as the command line says."""

import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.cli.chat.files import Models, loaded
from moonshot_async.toolkit.conversation import Conversation

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

_PACE: Final = 0.02


def pace() -> float:
    """Seconds before each piece of an answer of the embedded service: on a terminal it is seen arriving."""
    return _PACE if sys.stdout.isatty() else 0.0


class Settings(msgspec.Struct):
    """What `Conversation` takes.

    Attributes:
        model: the id; a conversation from a file may have several.
        system: the system message.
        options: the rest.
        file: where a conversation is to be read from.
        model_given: whether somebody asked for that model, so that it counts instead of the one in the file.
    """

    model: Models
    system: str | None = None
    options: dict[str, Any] = {}
    file: str | None = None
    model_given: bool = False

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Settings":
        """The settings that options of the command line are."""
        options: dict[str, Any] = {}
        if given["thinking"] is not None:
            options["thinking"] = {"type": "enabled" if given["thinking"] else "disabled"}
        if given["effort"] is not None:
            options["reasoning_effort"] = given["effort"]
        if given["max_tokens"] is not None:
            options["max_completion_tokens"] = given["max_tokens"]
        return cls(given["model"], given["system"], options, given["load"], given["model_given"])

    def begin(self, client: "AsyncMoonshot") -> Conversation:
        """A conversation in which nothing was said."""
        return Conversation(client, model=self.model, system=self.system, **self.options)

    async def open(self, client: "AsyncMoonshot") -> Conversation:
        """The conversation to go on with.

        Raises:
            OSError: its file cannot be read.
            ConfigurationError: the file holds none, or an option cannot be.
        """
        if self.file is None:
            return self.begin(client)
        changes = {"model": self.model} if self.model_given else {}
        return await loaded(client, self.file, **self.options, **changes)
