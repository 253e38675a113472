"""Forks of a conversation, and what becomes of it in a file."""

import os
from typing import TYPE_CHECKING, Any, Self

from moonshot_async.redaction import Unseen
from moonshot_async.toolkit.conversation.asking import asking_of
from moonshot_async.toolkit.conversation.files import dumped, in_thread, loaded, read_whole, write_whole
from moonshot_async.toolkit.conversation.replies import Spent
from moonshot_async.toolkit.conversation.state import State

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot


class Keeping(State):
    """Ways to keep what was said, and to go on from it elsewhere."""

    def fork(self, **changes: Any) -> Self:
        """Another conversation with the same history, which goes on by itself; its cost begins at nothing.

        It has the same `prompt_cache_key`, since its requests begin with what the service has in its cache under it.

        Args:
            **changes: keywords of `Conversation` instead of this one's, but for `system` and `messages`; None for an
                option takes it away.

        Raises:
            ConfigurationError, TypeError: as for `Conversation`.
        """
        with Unseen(changes):
            asking = asking_of(self._asking.client, **self._asking.changed(changes))
        asking.models.learned.update(self._asking.models.learned)
        history = self._history.twin()
        if (beside := asking.beside()).estimate != history.account.beside.estimate:
            history.replace_account(beside)
        if asking.models.may_think() and not self._asking.models.may_think():
            history.show_reasoning()
        return self._of(asking, history, Spent())

    def to_json(self) -> str:
        """The conversation as JSON text: history, pins, tokens, usage, cost and settings, without any key.

        Functions, `trim` and `summarise` are not in it, nor is what is of single calls: `timeout`, headers.
        """
        return dumped(self._asking, self._history, self._spent).decode()

    @classmethod
    def from_json(cls, client: "AsyncMoonshot", text: str | bytes, **changes: Any) -> Self:
        """A conversation of what `to_json` gave.

        Args:
            client: asks from now on.
            text: as `to_json` gave it.
            **changes: keywords of `Conversation` instead of what was saved; `tools` where they are functions, `trim`
                and `summarise` where they are others than the defaults.

        Raises:
            ConfigurationError: it is no saved conversation, or functions are missing; says where and which.
        """
        try:
            with Unseen(changes):
                asking, history, spent = loaded(client, text, changes)
        finally:
            del text
        return cls._of(asking, history, spent)

    async def save(self, path: "str | os.PathLike[str]") -> None:
        """Write `to_json()` to a file that only its owner may read; at every moment there is a whole one.

        Raises:
            OSError: it cannot be written.
        """
        await in_thread(write_whole, os.fspath(path), self.to_json().encode())

    @classmethod
    async def load(cls, client: "AsyncMoonshot", path: "str | os.PathLike[str]", **changes: Any) -> Self:
        """A conversation from a file that `save` wrote; see `from_json`.

        Raises:
            OSError: the file cannot be read.
            ConfigurationError: as for `from_json`.
        """
        return cls.from_json(client, await in_thread(read_whole, os.fspath(path)), **changes)
