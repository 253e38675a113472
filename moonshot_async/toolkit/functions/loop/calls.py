"""The calls of an answer while it arrives: where each is complete, its id, and what it is run with.

However the arguments are cut into pieces, the call is the same: it is run with the first JSON object in them that has
members, as soon as that is whole. An empty object is believed only at the end, since some hosts send one first and the
arguments behind it; so is text that is no such object. Others send all arguments a second time: what follows a whole
object is left out, also in the message that is put back.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from moonshot_async.chat_events import ToolCallDeltaEvent
from moonshot_async.types.chat import ToolCall

_MARKS: Final = re.compile(r'[{}\[\]"\\]')
_EMPTY: Final = re.compile(r"\s*(?:\{\s*\}\s*)*")


class Call:
    """A call that the model has made in full.

    Attributes:
        position: which one of its message, from 0.
        id: unique in the conversation.
        name: of the tool.
        arguments: JSON, as the model wrote it.
        type: `function`, or `builtin_function`.
        step: which answer made it; 0 for one that stood open in the messages that were given.
    """

    __slots__ = ("arguments", "id", "name", "position", "step", "type")

    def __init__(self, position: int, id: str, name: str, arguments: str, type: str, step: int) -> None:
        self.position = position
        self.id = id
        self.name = name
        self.arguments = arguments
        self.type = type
        self.step = step


class Arguments:
    """The arguments of a call while they arrive. A piece costs what the piece costs.

    Attributes:
        whole: the first object with members, as text; None before it is whole, and where the text has none.
    """

    __slots__ = ("_depth", "_given_up", "_pieces", "_quoted", "_skip", "whole")

    def __init__(self) -> None:
        self.whole: str | None = None
        self._pieces: list[str] = []
        self._depth = 0
        self._quoted = False
        # Whether the next character is escaped by one that has come.
        self._skip = False
        self._given_up = False

    def add(self, piece: str) -> None:
        """Take the next piece of the text."""
        if self.whole is not None or self._given_up or not piece:
            return
        begin, place = 0, int(self._skip)
        self._skip = False
        while (found := _MARKS.search(piece, place)) is not None:
            place = found.end()
            mark = found[0]
            if mark == "\\":
                place += 1
            elif mark == '"':
                self._quoted = not self._quoted
            elif self._quoted:
                continue
            elif mark in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    self._pieces.append(piece[begin:place])
                    begin = place
                    if self._closed("".join(self._pieces)):
                        return
        self._skip = place > len(piece)
        self._pieces.append(piece[begin:])

    def _closed(self, text: str) -> bool:
        """A bracket at the outermost level was closed, and this is what stands before and in it: whether that is all
        that has to be looked at.
        """
        self._pieces = []
        self._depth = 0
        try:
            # As lenient as tools are: line breaks inside of texts are taken.
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self._given_up = True
        elif value:
            self.whole = text
        # Behind an empty object the arguments may still come.
        return self._given_up or self.whole is not None


def arguments_of(text: str) -> str:
    """What a call is run with whose arguments have come in full."""
    arriving = Arguments()
    arriving.add(text)
    if arriving.whole is not None:
        return arriving.whole
    # Tools without parameters are called with nothing at all by some hosts, and with several empty objects by others.
    return "{}" if _EMPTY.fullmatch(text) else text


class Ids:
    """The ids of a conversation: those that are empty or were there before are replaced, so that answers find their
    call.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def unique(self, id: object) -> str:
        """The id itself, or one instead of it; taken from now on."""
        chosen = id if isinstance(id, str) else ""
        number = len(self._taken)
        while not chosen or chosen in self._taken:
            chosen = f"call_{number}"
            number += 1
        self._taken.add(chosen)
        return chosen


class StreamedCalls:
    """The calls of one answer.

    Attributes:
        complete: those that are complete so far, by their position.
    """

    def __init__(self, step: int, ids: Ids) -> None:
        self.complete: dict[int, Call] = {}
        self._step = step
        self._ids = ids
        self._arriving: dict[int, Arguments] = {}

    def add(self, event: ToolCallDeltaEvent, head_of: Callable[[int], ToolCall]) -> Call | None:
        """Take a piece of a call.

        Args:
            event: the piece.
            head_of: gives what there is so far of the call at a position.

        Returns:
            The call, where it is complete with this piece.
        """
        arriving = self._arriving.get(event.index)
        if arriving is None:
            arriving = self._arriving[event.index] = Arguments()
        arriving.add(event.arguments_delta)
        # Some hosts send the name behind the arguments.
        if arriving.whole is None or not event.name or event.index in self.complete:
            return None
        return self._take(event.index, head_of(event.index), arriving.whole)

    def are_whole(self, calls: list[ToolCall]) -> bool:
        """Whether nothing is missing of these calls, although the answer was cut."""
        return all(position in self.complete for position in range(len(calls)))

    def rest(self, calls: list[ToolCall]) -> list[Call]:
        """The calls that are complete because the answer is."""
        left = [position for position in range(len(calls)) if position not in self.complete]
        return [
            self._take(position, calls[position], arguments_of(calls[position].function.arguments)) for position in left
        ]

    def _take(self, position: int, call: ToolCall, arguments: str) -> Call:
        id = self._ids.unique(call.id)
        made = Call(position, id, call.function.name, arguments, call.type, self._step)
        self.complete[position] = made
        return made


def with_calls(message: dict[str, Any], calls: Mapping[int, Call]) -> dict[str, Any]:
    """A message of the model with these of its calls alone, as they are run."""
    given = message.get("tool_calls") or []
    message["tool_calls"] = [
        {**made, "id": call.id, "function": {**made["function"], "arguments": call.arguments}}
        for position, made in enumerate(given)
        if (call := calls.get(position)) is not None
    ]
    return message


def same_call(name: str, arguments: str) -> tuple[str, str]:
    """A key that two calls share if they ask for the same: spaces, order of names and `1` for `1.0` do not count."""
    try:
        return name, json.dumps(_canonical(json.loads(arguments)), sort_keys=True)
    except (ValueError, RecursionError):
        return name, arguments.strip()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
