"""The messages of a conversation, in turns, in an order that the API takes.

A turn begins with what the user says and goes on until the user speaks again after an answer. What stays when turns are
dropped (system messages, pinned ones, a summary) is the head; it stands before the turns.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from moonshot_async.errors import ConversationError
from moonshot_async.headers import Unshown
from moonshot_async.toolkit.conversation.messages import Message, with_reasoning
from moonshot_async.toolkit.conversation.tokens import Entry, TokenAccount
from moonshot_async.toolkit.model_choice import DYNAMIC_TOOLS

# How many ids of calls a message of an error names.
_NAMED = 5


class Turn(Unshown, msgspec.Struct):
    """Messages that are dropped together. `answered` says whether the model has spoken."""

    entries: list[Entry] = []
    answered: bool = False


class History:
    """What was said, and what it counts.

    Args:
        beside: what requests have beside messages; see `TokenAccount`.

    Attributes:
        head: what stays for ever: before the turns.
        turns: oldest first.
        summary: the entry of the head that stands for dropped turns; None for none.
        account: what all of it counts.
        dropped: how many turns are gone.
        waiting: ids of calls that were not answered yet, each as often as it has to be.
    """

    __slots__ = ("_asked", "account", "dropped", "head", "summary", "turns", "waiting")

    def __init__(self, beside: Entry) -> None:
        self.head: list[Entry] = []
        self.turns: list[Turn] = []
        self.summary: Entry | None = None
        self.account = TokenAccount(beside)
        self.dropped = 0
        self.waiting: list[str] = []
        # The message whose calls are answered now.
        self._asked: Entry | None = None

    def copy(self) -> "History":
        """Another history of the same entries: what is appended to one, or dropped, the other does not have."""
        twin = History.__new__(History)
        twin.head, twin.turns, twin.summary = self.head.copy(), self.turns.copy(), self.summary
        if twin.turns:
            # Only the last one grows.
            last = twin.turns[-1]
            twin.turns[-1] = Turn(last.entries.copy(), last.answered)
        twin.account, twin.dropped = self.account.copy(), self.dropped
        twin.waiting, twin._asked = self.waiting.copy(), self._asked
        return twin

    def twin(self) -> "History":
        """A copy with entries of its own, which may be measured without this one."""
        twin, copies = self.copy(), {id(entry): msgspec.structs.replace(entry) for entry in self.entries()}
        twin.head = [copies[id(entry)] for entry in self.head]
        twin.turns = [Turn([copies[id(entry)] for entry in turn.entries], turn.answered) for turn in self.turns]
        twin.summary = None if self.summary is None else copies[id(self.summary)]
        twin._asked = None if self._asked is None else copies.get(id(self._asked))
        twin.replace_account(msgspec.structs.replace(self.account.beside))
        return twin

    def replace_account(self, beside: Entry) -> None:
        """Count anew, with something else beside the messages."""
        self.account = TokenAccount(beside)
        for entry in self.entries():
            self.account.add(entry)

    def show_reasoning(self) -> None:
        """Give an empty reasoning to calls of models that do not think, for one that does; the entries are changed."""
        for entry in self.entries():
            message = with_reasoning({**entry.message})
            if message != entry.message:
                size = Entry.of(message).estimate
                entry.message, entry.open, entry.estimate = message, entry.open + size - entry.estimate, size
        self.replace_account(self.account.beside)

    def entries(self) -> Iterator[Entry]:
        """All of them, in their order."""
        yield from self.head
        for turn in self.turns:
            yield from turn.entries

    def messages(self) -> list[Message]:
        """The messages as they are sent; to be read only."""
        return [entry.message for entry in self.entries()]

    def tools(self) -> list[list[Any]]:
        """Those that system messages bring."""
        return [entry.message["tools"] for entry in self.entries() if DYNAMIC_TOOLS in entry.kinds]

    def kinds(self) -> frozenset[str]:
        """What the messages hold beside text."""
        return frozenset[str]().union(*(entry.kinds for entry in self.entries() if entry.kinds))

    def append(self, entry: Entry, *, to_head: bool = False) -> None:
        """Add a message where it belongs.

        Args:
            entry: it was checked by itself.
            to_head: for one that had stayed when its turn was dropped.

        Raises:
            ConversationError: the API would refuse it in this place.
        """
        role = entry.message["role"]
        if role == "tool":
            self._take(entry)
            return
        if self.waiting:
            raise ConversationError(f"{self._missing()} before a message of role {role!r}")
        self._place(entry, role, to_head).append(entry)
        self.account.add(entry)
        if role == "assistant":
            self.waiting = [call["id"] for call in entry.message.get("tool_calls", ())]
            self._asked = entry if self.waiting else None

    def begin_turn(self) -> None:
        """Let what follows be a turn of its own."""
        self.turns.append(Turn([]))

    def check_askable(self) -> None:
        """Refuse a history that a model has nothing to say to.

        Raises:
            ConversationError: nobody asks anything, or calls were not answered.
        """
        if self.waiting:
            raise ConversationError(f"{self._missing()} before the model is asked again")
        said = [entry for entry in self.entries() if entry.message["role"] != "system"][-1:]
        if not said or said[0].message["role"] == "assistant":
            raise ConversationError("there is nothing to answer: pass a question, or add a user message first")

    def droppable(self) -> list[float]:
        """The tokens that each turn but the newest would free, oldest first."""
        ratio = self.account.ratio
        return [sum(entry.count(ratio) for entry in turn.entries if not entry.pinned) for turn in self.turns[:-1]]

    def dropping(self, turns: int) -> list[Message]:
        """The messages that would go with the oldest turns; before them the summary of those that went earlier."""
        gone = [] if self.summary is None else [self.summary.message]
        return gone + [entry.message for turn in self.turns[:turns] for entry in turn.entries if not entry.pinned]

    def drop(self, turns: int) -> None:
        """Drop the oldest turns; what is pinned in them joins the head."""
        gone = [entry for turn in self.turns[:turns] for entry in turn.entries]
        self.head += [entry for entry in gone if entry.pinned]
        self.account.remove(entry for entry in gone if not entry.pinned)
        del self.turns[:turns]
        self.dropped += turns

    def summarise(self, entry: Entry) -> None:
        """Put a summary into the head, in place of the one before."""
        if self.summary is not None:
            self.account.remove([self.summary])
            self.head = [kept for kept in self.head if kept is not self.summary]
        self.summary = entry
        self.head.append(entry)
        self.account.add(entry)

    def _place(self, entry: Entry, role: str, to_head: bool) -> list[Entry]:
        if to_head or (role == "system" and not self.turns):
            return self.head
        if not self.turns or (role == "user" and self.turns[-1].answered):
            self.begin_turn()
        self.turns[-1].answered = self.turns[-1].answered or role == "assistant"
        return self.turns[-1].entries

    def _take(self, entry: Entry) -> None:
        """Add the answer to a call, in the order of the calls, whichever was answered first."""
        id = entry.message["tool_call_id"]
        if self._asked is None or id not in self.waiting:
            self._refuse(id)
        assert self._asked is not None, "checked above"
        entry.pinned = self._asked.pinned
        entries = self.turns[-1].entries if self.turns else self.head
        ids = [call["id"] for call in self._asked.message["tool_calls"]]
        place = len(entries)
        while entries[place - 1].message["role"] == "tool" and _rank(ids, entries[place - 1]) > ids.index(id):
            place -= 1
        entries.insert(place, entry)
        self.account.add(entry)
        self.waiting.remove(id)

    def _refuse(self, id: str) -> None:
        known = [] if self._asked is None else [call["id"] for call in self._asked.message["tool_calls"]]
        if id in known:
            raise ConversationError(f"the call {_shortened(id)} has its answer already")
        asked = f"the calls are {_listed(known)}" if known else "the last message of the model made no calls"
        raise ConversationError(f"there is no call {_shortened(id)} to answer: {asked}")

    def _missing(self) -> str:
        return f"the calls {_listed(self.waiting)} must be answered with add_tool_answer"


def _rank(ids: Sequence[str], entry: Entry) -> int:
    return ids.index(entry.message["tool_call_id"])


def _listed(ids: Iterable[str]) -> str:
    names = [_shortened(id) for id in ids]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _shortened(id: str) -> str:
    return repr(id if len(id) <= 64 else f"{id[:64]}…")
