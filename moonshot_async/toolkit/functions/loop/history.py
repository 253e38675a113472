"""The conversation of a run: at every moment a list of messages that the API accepts.

An answer whose calls are not all answered is kept apart, open, with what became of each call. `messages` shows it as it
would be if the run ended now: calls without a result are answered with words that say so.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit.functions.answers import cancelled_text
from moonshot_async.toolkit.functions.loop.calls import Call, Ids, arguments_of, with_calls
from moonshot_async.types.encoding import message_params, to_json

Message: TypeAlias = dict[str, Any]


class Answer:
    """What becomes of a call.

    Attributes:
        call: the call.
        begun: whether the tool has been started.
        message: the answer to the call, as a message; None as long as there is none.
    """

    __slots__ = ("begun", "call", "message")

    def __init__(self, call: Call, message: Message | None = None) -> None:
        self.call = call
        self.begun = message is not None
        self.message = message

    def says(self, content: str) -> None:
        """Answer the call."""
        self.message = _tool_message(self.call, content)

    def as_it_stands(self) -> Message:
        """The answer, or one that says that there is none."""
        return self.message or _tool_message(self.call, cancelled_text(self.call.name, begun=self.begun))


class OpenTurn:
    """A message of the model, and the answers to its calls.

    Attributes:
        answers: by the position of the call.
    """

    def __init__(self, message: Callable[[], Message]) -> None:
        self.answers: dict[int, Answer] = {}
        self._message = message

    def complete(self, message: Message) -> None:
        """The message has come in full."""
        self._message = lambda: message

    def messages(self) -> list[Message]:
        """What there is of it; nothing while no call is complete."""
        if not self.answers:
            return []
        calls = {position: answer.call for position, answer in self.answers.items()}
        ordered = (self.answers[position].as_it_stands() for position in sorted(calls))
        return [with_calls(copy.deepcopy(self._message()), calls), *ordered]


class History:
    """The messages of a run.

    Args:
        messages: where it begins; copied. Calls at the end that are not all answered are left open.

    Attributes:
        open: the answer of the model that waits for results, if any.
        ids: those of all calls.

    Raises:
        TypeError: it is no list of messages.
        ConfigurationError: something in it cannot be sent, it is empty, or ends with a prefix.
    """

    def __init__(self, messages: object) -> None:
        # Plain data of our own, whatever was given: structs of answers too.
        self._messages: list[Message] = msgspec.json.decode(to_json(message_params(messages)))
        if not self._messages:
            raise ConfigurationError("messages must not be empty: begin with [{'role': 'user', 'content': '…'}]")
        if self._messages[-1].get("partial"):
            raise ConfigurationError("a run cannot go on with a prefix: the last message must not be partial")
        self.open: OpenTurn | None = None
        self.ids = Ids()
        self._reopen()
        self.ids = Ids(str(call.get("id")) for message in self.messages() for call in _calls_of(message))

    def messages(self) -> list[Message]:
        """The conversation as it stands, in copies."""
        return copy.deepcopy(self._messages) + ([] if self.open is None else self.open.messages())

    def to_send(self) -> list[Message]:
        """The messages of the next request; not to be changed."""
        assert self.open is None, "it is asked when all calls are answered"
        return self._messages

    def so_far(self) -> tuple[Message, ...]:
        """The messages before the open answer, for tools that look at them."""
        return tuple(self._messages)

    def add(self, message: Message) -> None:
        """Append a message."""
        self._messages.append(message)

    def replace(self, messages: Iterable[Message]) -> None:
        """Go on from other messages, when no answer is open."""
        self._messages = list(messages)

    def close(self) -> list[Message]:
        """Take the open answer into the conversation; gives the answers to its calls."""
        assert self.open is not None, "there is one"
        closed, self.open = self.open.messages(), None
        self._messages += closed
        return copy.deepcopy(closed[1:])

    def made_calls(self) -> Iterator[list[tuple[str, str]]]:
        """Name and arguments of the calls in each answer since the user spoke last, but for open ones."""
        since = self._messages[self._last_of("user") + 1 :]
        for message in since:
            yield [(call["function"]["name"], call["function"]["arguments"]) for call in _calls_of(message)]

    def _last_of(self, role: str) -> int:
        """Where the last message of a role stands; -1 for nowhere."""
        places = range(len(self._messages) - 1, -1, -1)
        return next((place for place in places if self._messages[place].get("role") == role), -1)

    def _reopen(self) -> None:
        """Open the answer at the end again, where calls of it wait for results."""
        place = self._last_of("assistant")
        message, answers = self._messages[place], self._messages[place + 1 :]
        calls = _calls_of(message) if place >= 0 else []
        if not calls or len(calls) != len(message["tool_calls"]) or any(m.get("role") != "tool" for m in answers):
            return
        turn = _turn(message, calls, answers, self.ids)
        if turn is not None:
            self.open = turn
            del self._messages[place:]


def _turn(message: Message, calls: list[Message], answers: list[Message], ids: Ids) -> OpenTurn | None:
    """An answer of the model with calls of which some wait; None where none does, or answers belong to no call."""
    waiting: dict[str, deque[Message]] = {}
    for one in answers:
        waiting.setdefault(str(one.get("tool_call_id") or ""), deque()).append(one)
    turn = OpenTurn(lambda: message)
    for position, made in enumerate(calls):
        answer: Message | None = None
        given = waiting.get(str(made.get("id") or ""))
        id = ids.unique(made.get("id"))
        function = made["function"]
        call = Call(position, id, function["name"], arguments_of(function["arguments"]), _kind(made), 0)
        if given:
            answer = {**given.popleft(), "tool_call_id": id}
        turn.answers[position] = Answer(call, answer)
    found = sum(answer.begun for answer in turn.answers.values())
    return turn if found == len(answers) and found < len(calls) else None


def _kind(call: Message) -> str:
    return str(call.get("type") or "function")


def _calls_of(message: Message) -> list[Message]:
    """The calls in a message that are whole; what else stands there is for the API to judge."""
    calls = message.get("tool_calls") if message.get("role") == "assistant" else None
    return [call for call in calls if _is_call(call)] if isinstance(calls, list) else []


def _is_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return False
    return isinstance(function.get("name"), str) and isinstance(function.get("arguments"), str)


def _tool_message(call: Call, content: str) -> Message:
    named = {"name": call.name} if call.name else {}
    return {"role": "tool", "tool_call_id": call.id, **named, "content": content}
