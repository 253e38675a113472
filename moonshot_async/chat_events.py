"""The events that a streamed answer is told in, each known by its `type`.

Text so far is joined, and read as JSON, when an event is asked for it, so that the cost of a chunk does not grow with
the answer.
"""

from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from moonshot_async.accumulate import Text, ToolCallState
from moonshot_async.types.chat import ChatCompletionChunk, TokenLogprob, Usage
from moonshot_async.types.parsed import ParsedChatCompletion
from moonshot_async.types.partial_json import partial_json

T = TypeVar("T")


class HasSnapshot(Protocol):
    """What knows the completion so far."""

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion[Any]: ...


class ChunkEvent:
    """A chunk as it came. `snapshot` is the completion so far, at the moment it is asked for."""

    __slots__ = ("_state", "chunk")
    type: Literal["chunk"] = "chunk"

    def __init__(self, chunk: ChatCompletionChunk, state: HasSnapshot) -> None:
        self.chunk = chunk
        self._state = state

    @property
    def snapshot(self) -> ParsedChatCompletion[Any]:
        return self._state.current_completion_snapshot


class _TextDelta:
    """A piece of text. `snapshot` is the whole text up to and with this piece."""

    __slots__ = ("_length", "_text", "choice", "delta")

    def __init__(self, delta: str, text: Text, choice: int) -> None:
        self.delta = delta
        self.choice = choice
        self._text = text
        self._length = text.length

    @property
    def snapshot(self) -> str:
        return self._text.prefix(self._length)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(delta={self.delta!r})"


class ContentDeltaEvent(_TextDelta):
    """A piece of the answer's text."""

    __slots__ = ("_structured",)
    type: Literal["content.delta"] = "content.delta"

    def __init__(self, delta: str, text: Text, choice: int, structured: bool = False) -> None:
        # What `super().__init__` does, without what calling it costs: this is the event of nearly every chunk.
        self.delta = delta
        self.choice = choice
        self._text = text
        self._length = text.length
        self._structured = structured

    @property
    def parsed(self) -> Any:
        """Where the answer is to be parsed: what of its JSON is whole up to this piece, as plain data; else None."""
        return so_far(self.snapshot) if self._structured else None


class ReasoningDeltaEvent(_TextDelta):
    """A piece of the reasoning."""

    __slots__ = ()
    type: Literal["reasoning.delta"] = "reasoning.delta"


class RefusalDeltaEvent(_TextDelta):
    """A piece of a refusal."""

    __slots__ = ()
    type: Literal["refusal.delta"] = "refusal.delta"


class ContentDoneEvent(Generic[T]):
    """The text of a choice is complete. `parsed` is a value of the type that was asked for."""

    __slots__ = ("choice", "content", "parsed")
    type: Literal["content.done"] = "content.done"

    def __init__(self, content: str, choice: int, parsed: T | None = None) -> None:
        self.content = content
        self.parsed = parsed
        self.choice = choice


class ReasoningDoneEvent:
    """The reasoning of a choice is complete."""

    __slots__ = ("choice", "reasoning")
    type: Literal["reasoning.done"] = "reasoning.done"

    def __init__(self, reasoning: str, choice: int) -> None:
        self.reasoning = reasoning
        self.choice = choice


class RefusalDoneEvent:
    """The refusal of a choice is complete."""

    __slots__ = ("choice", "refusal")
    type: Literal["refusal.done"] = "refusal.done"

    def __init__(self, refusal: str, choice: int) -> None:
        self.refusal = refusal
        self.choice = choice


class ToolCallDeltaEvent:
    """A piece of the arguments of a tool call; `arguments` is the text so far."""

    __slots__ = ("_length", "_structured", "_text", "arguments_delta", "choice", "index", "name")
    type: Literal["tool_calls.function.arguments.delta"] = "tool_calls.function.arguments.delta"

    def __init__(self, call: ToolCallState, delta: str, length: int, choice: int, structured: bool = False) -> None:
        self.name = call.name
        self._structured = structured
        self.index = call.position
        self.arguments_delta = delta
        self.choice = choice
        self._text = call.arguments
        self._length = length

    @property
    def arguments(self) -> str:
        return self._text.prefix(self._length)

    @property
    def parsed_arguments(self) -> Any:
        """For strict tools: what of the JSON is whole up to this piece, as plain data; None for other tools."""
        return so_far(self.arguments) if self._structured else None


class ToolCallDoneEvent:
    """A tool call is complete.

    Attributes:
        parsed_arguments: of a tool made by `function_tool` a value of its type; else the JSON value, None where the
            arguments are not valid JSON.
    """

    __slots__ = ("arguments", "choice", "id", "index", "name", "parsed_arguments")
    type: Literal["tool_calls.function.arguments.done"] = "tool_calls.function.arguments.done"

    def __init__(self, call: ToolCallState, choice: int, parsed_arguments: Any) -> None:
        whole = call.tool_call()
        self.id = whole.id
        self.name = whole.function.name
        self.index = call.position
        self.arguments = whole.function.arguments
        self.choice = choice
        self.parsed_arguments = parsed_arguments


LogprobsKind: TypeAlias = Literal[
    "logprobs.content.delta", "logprobs.content.done", "logprobs.refusal.delta", "logprobs.refusal.done"
]


class LogprobsEvent:
    """Log probabilities of new tokens (`….delta`), or of all of a choice (`….done`)."""

    __slots__ = ("_known", "_length", "choice", "content", "refusal", "type")

    def __init__(self, kind: LogprobsKind, new: list[TokenLogprob], known: list[TokenLogprob], choice: int) -> None:
        self.type: LogprobsKind = kind
        self.choice = choice
        self.content = new if "content" in kind else []
        self.refusal = new if "refusal" in kind else []
        self._known = known
        self._length = len(known)

    @property
    def snapshot(self) -> list[TokenLogprob]:
        return self._known[: self._length]


class UsageEvent:
    """The tokens that the answer cost so far, over all requests that brought it; the last one counts."""

    __slots__ = ("usage",)
    type: Literal["usage"] = "usage"

    def __init__(self, usage: Usage) -> None:
        self.usage = usage


How: TypeAlias = Literal["continued", "restarted", "length"]


class StreamResumedEvent:
    """Another request was sent, and brings the answer from here on: see `stream(…, resume=, continue_on_length=)`.

    Attributes:
        how: `continued` after a cut, where the text goes on at the character where it stopped; `restarted` after a cut
            before any text came, where the answer begins anew and the reasoning that was told is void; `length` where
            the answer had ended so, and goes on.
        reason: what ended the request before: the class and the message of the error; "length" where `how` is that.
        attempt: which one it is, from 1: of `resume`, or of `continue_on_length` where `how` is `length`.
        attempts: how many were allowed.
        text_chars, reasoning_chars: how much of the answer is kept, in characters.
        usage: of the request before; None where it was cut before it told, and is missing from every sum.
    """

    __slots__ = ("attempt", "attempts", "how", "reason", "reasoning_chars", "text_chars", "usage")
    type: Literal["stream.resumed"] = "stream.resumed"

    def __init__(
        self,
        how: How,
        reason: str,
        *,
        attempt: int,
        attempts: int,
        text_chars: int = 0,
        reasoning_chars: int = 0,
        usage: Usage | None = None,
    ) -> None:
        self.how: How = how
        self.reason = reason
        self.attempt = attempt
        self.attempts = attempts
        self.text_chars = text_chars
        self.reasoning_chars = reasoning_chars
        self.usage = usage

    def __repr__(self) -> str:
        return f"StreamResumedEvent({self.how!r}, {self.reason!r}, attempt={self.attempt} of {self.attempts})"


ChatStreamEvent: TypeAlias = (
    ChunkEvent
    | ContentDeltaEvent
    | ContentDoneEvent[T]
    | ReasoningDeltaEvent
    | ReasoningDoneEvent
    | RefusalDeltaEvent
    | RefusalDoneEvent
    | ToolCallDeltaEvent
    | ToolCallDoneEvent
    | LogprobsEvent
    | UsageEvent
    | StreamResumedEvent
)


def so_far(text: str) -> Any | None:
    """The value of a JSON text that still arrives, as the openai package tells it: strings come when they are whole."""
    return partial_json(text, strings=False, numbers=True)
