"""One value, asked for again where the answer is none: the model is told what was wrong with it."""

import copy
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from moonshot_async.clocks import Timeout, time_left
from moonshot_async.errors import (
    ConfigurationError,
    ContentFilterFinishReasonError,
    EmptyAnswerError,
    LengthFinishReasonError,
    MoonshotError,
    StructuredOutputError,
)
from moonshot_async.partial_mode import summed
from moonshot_async.toolkit.structured.roots import AnswerRoot
from moonshot_async.types.chat import ChatCompletion, Usage
from moonshot_async.types.encoding import NOT_GIVEN, message_list

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

T = TypeVar("T")

_NO_VALUE: Final = (StructuredOutputError, LengthFinishReasonError, ContentFilterFinishReasonError)
_REPAIR: Final = "That cannot be used. {} Answer again, with the whole JSON value and nothing else."


class ParsedAnswer(Generic[T]):
    """A value of a type, and the answers that it took.

    Attributes:
        value: the value.
        completions: every answer that was asked for, in order; the last one has the value.
    """

    def __init__(self, value: T, completions: tuple[ChatCompletion, ...]) -> None:
        self.value = value
        self.completions = completions

    @property
    def completion(self) -> ChatCompletion:
        """The answer with the value."""
        return self.completions[-1]

    @property
    def usage(self) -> Usage | None:
        """What all answers cost together, in tokens; None where the service does not tell."""
        return summed([completion.usage for completion in self.completions])

    def cost(self, client: "AsyncMoonshot") -> Decimal:
        """What they cost in money, by the prices and in the currency of the client.

        Raises:
            ConfigurationError: an answer has no usage, or there is no price for its model.
        """
        return sum([client.cost(completion) for completion in self.completions], Decimal())

    def __repr__(self) -> str:
        return f"ParsedAnswer({self.value!r}, answers={len(self.completions)})"


class Asking(Generic[T]):
    """Asks for a value, and again where the answer is none. It holds what is asked, and does not show it.

    Args:
        client: sends the requests.
        root: how the value is asked for.
        keywords: of `client.chat.completions.parse`; checked here.
        retries: how often it may be asked again.

    Raises:
        TypeError, ConfigurationError: something of it cannot work.
    """

    def __init__(self, client: "AsyncMoonshot", root: AnswerRoot[T], keywords: dict[str, Any], retries: int) -> None:
        if isinstance(retries, bool) or not isinstance(retries, int):
            raise TypeError(f"retries must be a whole number, not {type(retries).__name__}; 0 for never")
        if retries < 0:
            raise ConfigurationError(f"retries must be 0 or more, not {retries}")
        self._client = client
        self._root = root
        self._keywords = checked_keywords(keywords, "parse")
        self._retries = retries
        given = keywords.get("timeout", NOT_GIVEN)
        self._timeout = client.timeout if given is NOT_GIVEN else Timeout.of(given)
        total = self._timeout.total
        # All answers together have the time that one call has.
        self._due = None if total is None else time.monotonic() + total
        self._completions: list[ChatCompletion] = []
        self._misfit: StructuredOutputError | None = None

    async def answer(self) -> ParsedAnswer[T]:
        """Ask until there is a value; raises what `parse` does."""
        while True:
            try:
                completion = await self._client.chat.completions.parse(
                    response_format=self._root.type, **self._sendable()
                )
                return ParsedAnswer(self._root.value_in(completion), (*self._completions, completion))
            except _NO_VALUE as error:
                self._complete(error)
                if not (isinstance(error, StructuredOutputError) and self._may_ask_again(error)):
                    raise
                # A copy has no traceback, and so holds no frame.
                self._misfit = copy.copy(error)
            except MoonshotError as error:
                if self._misfit is not None:
                    error.add_note(f"It was being asked for again, since: {self._misfit}")
                    error.__cause__ = error.__cause__ or self._misfit
                raise
            self._ask_again(self._misfit)

    def _sendable(self) -> dict[str, Any]:
        if self._due is None or self._misfit is None:
            return self._keywords
        left = msgspec.structs.replace(self._timeout, total=max(self._due - time.monotonic(), 0.001))
        return {**self._keywords, "timeout": left}

    def _complete(self, error: Any) -> None:
        usage = summed([one.usage for one in (*self._completions, error.completion) if one is not None])
        error.add_earlier(tuple(self._completions), usage)

    def _may_ask_again(self, error: StructuredOutputError) -> bool:
        """Whether the model may do better: it has said something else, or nothing, and there is time."""
        if len(self._completions) >= self._retries or error.completion is None or not error.completion.choices:
            return False
        message = error.completion.choices[0].message
        # A call would have to be answered before anything else is said.
        if message.tool_calls or message.function_call or message.refusal:
            return False
        return time_left() > 0 and (self._due is None or self._due > time.monotonic())

    def _ask_again(self, misfit: StructuredOutputError) -> None:
        completion = misfit.completion
        assert completion is not None, "there was an answer"
        self._completions.append(completion)
        # An empty message is refused by the API: then the same is asked once more.
        if not isinstance(misfit, EmptyAnswerError):
            answered = completion.choices[0].message.to_param()
            wrong = {"role": "user", "content": _REPAIR.format(misfit)}
            self._keywords = {**self._keywords, "messages": [*self._keywords["messages"], answered, wrong]}


def checked_keywords(keywords: dict[str, Any], call: str) -> dict[str, Any]:
    """What is asked, to be sent more than once; what is left to `create` is not looked at.

    Raises:
        TypeError: there is a `response_format`, or `messages` is no list.
        ConfigurationError: several answers are asked for, or the rest of one.
    """
    if "response_format" in keywords:
        raise TypeError(f"{call}() takes the type as its second argument, and no response_format")
    checked = dict(keywords)
    if "messages" in checked:
        messages = checked["messages"] = message_list(checked["messages"])
        last = messages[-1] if messages else None
        if isinstance(last, Mapping) and last.get("partial"):
            raise ConfigurationError(
                f"{call}() cannot go on from a prefix (Partial Mode): what the model adds to it is no JSON value alone"
            )
    if isinstance(tools := checked.get("tools"), Iterable) and not isinstance(tools, Mapping):
        checked["tools"] = list(tools)
    if {**checked, **(checked.get("extra_body") or {})}.get("n", NOT_GIVEN) not in (NOT_GIVEN, None, 1):
        raise ConfigurationError(f"n must be 1: {call}() gives one value")
    return checked
