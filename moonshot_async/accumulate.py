"""Fold the chunks of a streamed answer into the answer that would have come in one piece."""

from typing import Any

from msgspec import UNSET, UnsetType

from moonshot_async.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    Choice,
    ChunkChoice,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from moonshot_async.types.model import Model

# How many pieces of a text are kept apart before they are joined to a block.
_PIECES = 512


class Text:
    """A text that grows by pieces: appending costs what the piece costs, reading joins what is new to the rest once."""

    __slots__ = ("_blocks", "_pieces", "length", "seen")

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._pieces: list[str] = []
        self.length = 0
        self.seen = False

    def add(self, piece: str) -> None:
        self.seen = True
        self.length += len(piece)
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) >= _PIECES:
            self._blocks.append("".join(pieces))
            pieces.clear()

    def __str__(self) -> str:
        if self._pieces or len(self._blocks) > 1:
            self._blocks = ["".join(self._blocks + self._pieces)]
            self._pieces.clear()
        return self._blocks[0] if self._blocks else ""

    def prefix(self, length: int) -> str:
        """The first `length` characters."""
        text = str(self)
        return text if length == len(text) else text[:length]

    def value(self) -> str | None:
        """The text; None where no piece came, which is not the same as an empty one."""
        return str(self) if self.seen else None


class Extras:
    """Unknown fields while their values arrive: of each the last that is not null counts.

    Args:
        grow: they belong to something that arrives in pieces, so texts and lists grow.
    """

    __slots__ = ("_grow", "_values")

    def __init__(self, *, grow: bool) -> None:
        self._grow = grow
        self._values: dict[str, Any] = {}

    def add(self, model: Model) -> None:
        if isinstance(model._extra, UnsetType):
            return
        values = self._values
        for name, value in model._extra.items():
            before = values.get(name)
            if not self._grow:
                values[name] = before if value is None else value
            elif isinstance(value, str) and (before is None or isinstance(before, Text)):
                if before is None:
                    before = values[name] = Text()
                before.add(value)
            elif isinstance(value, list) and isinstance(before, list):
                before.extend(value)
            elif isinstance(value, list):
                values[name] = value.copy()
            elif value is not None or before is None:
                values[name] = value

    def put_into(self, model: Model) -> None:
        if self._values:
            model._extra = {name: _value(value) for name, value in self._values.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Text):
        return str(value)
    return value.copy() if isinstance(value, list) else value


class ToolCallState:
    """One tool call while its fragments arrive."""

    __slots__ = ("arguments", "extra", "function_extra", "id", "index", "name", "position", "type")

    def __init__(self, position: int, index: int | None) -> None:
        self.position = position
        self.index = index
        self.id = ""
        self.type = "function"
        self.name = ""
        self.arguments = Text()
        self.extra = Extras(grow=True)
        self.function_extra = Extras(grow=True)

    def add(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id or ""
        self.type = delta.type or self.type
        self.extra.add(delta)
        if function := delta.function:
            self.name = self.name or function.name or ""
            self.function_extra.add(function)
            if function.arguments:
                self.arguments.add(function.arguments)

    def begins_another(self, delta: ToolCallDelta) -> bool:
        """Whether a fragment that came for this call is the first one of a new call.

        Some hosts leave `index` out, or give every call the same one, and some repeat or renew ids in every fragment.
        """
        name = delta.function.name if delta.function else None
        if delta.id and self.id:
            return delta.id != self.id and (delta.index is None or bool(name))
        return delta.index is None and bool(name and self.name and name != self.name)

    def tool_call(self) -> ToolCall:
        # Some hosts send no id; without one the answer to the call could not name it.
        call = ToolCall(
            id=self.id or f"call_{self.position}",
            type=self.type,
            function=FunctionCall(name=self.name, arguments=str(self.arguments)),
        )
        self.extra.put_into(call)
        self.function_extra.put_into(call.function)
        return call


class ChoiceState:
    """One choice while its chunks arrive."""

    __slots__ = (
        "content",
        "extra",
        "finish_reason",
        "fragments",
        "function",
        "index",
        "logprobs",
        "message_extra",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "tool_calls",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.role = "assistant"
        self.content = Text()
        self.reasoning_content = Text()
        self.reasoning = Text()
        self.refusal = Text()
        self.tool_calls: list[ToolCallState] = []
        # For each fragment of the chunk that came last: its call, and how long the arguments were with it.
        self.fragments: list[tuple[ToolCallState, int]] = []
        self.function: ToolCallState | None = None
        self.finish_reason: str | None = None
        self.logprobs: Logprobs | None = None
        self.extra = Extras(grow=False)
        self.message_extra = Extras(grow=True)

    def add(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        self.role = delta.role or self.role
        if delta.content is not None:
            self.content.add(delta.content)
        if delta.reasoning_content is not None:
            self.reasoning_content.add(delta.reasoning_content)
        if delta.reasoning is not None:
            self.reasoning.add(delta.reasoning)
        if delta.refusal is not None:
            self.refusal.add(delta.refusal)
        if delta.tool_calls:
            self._add_tool_calls(delta.tool_calls)
        if delta.function_call is not None:
            self._add_function(delta.function_call)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        if choice.logprobs is not None:
            self._add_logprobs(choice.logprobs)
        self.extra.add(choice)
        self.message_extra.add(delta)

    def add_text(self, choice: ChunkChoice) -> bool:
        """Take note of a choice that brings text or reasoning and nothing else; False, and nothing done, otherwise."""
        delta = choice.delta
        if (
            choice.finish_reason is not None
            or choice.usage is not None
            or choice.logprobs is not None
            or choice._extra is not UNSET
            or delta.tool_calls is not None
            or delta.role is not None
            or delta.reasoning is not None
            or delta.refusal is not None
            or delta.function_call is not None
            or delta._extra is not UNSET
        ):
            return False
        if delta.content is not None:
            self.content.add(delta.content)
        if delta.reasoning_content is not None:
            self.reasoning_content.add(delta.reasoning_content)
        return True

    def _add_tool_calls(self, deltas: list[ToolCallDelta]) -> None:
        self.fragments = []
        for delta in deltas:
            call = self._tool_call_of(delta)
            call.add(delta)
            self.fragments.append((call, call.arguments.length))

    def _tool_call_of(self, delta: ToolCallDelta) -> ToolCallState:
        """The call that a fragment belongs to: the one with its id, else the last one with its index."""
        calls = self.tool_calls
        same = [call for call in calls if delta.index is None or call.index == delta.index]
        if same:
            if delta.id and (known := [call for call in same if call.id == delta.id]):
                return known[0]
            if not same[-1].begins_another(delta):
                return same[-1]
        calls.append(ToolCallState(len(calls), delta.index))
        return calls[-1]

    def _add_function(self, delta: FunctionCallDelta) -> None:
        if self.function is None:
            self.function = ToolCallState(0, None)
        self.function.add(ToolCallDelta(function=delta))

    def _add_logprobs(self, new: Logprobs) -> None:
        if self.logprobs is None:
            self.logprobs = Logprobs()
        known = self.logprobs
        if not isinstance(new._extra, UnsetType):
            known._extra = known.model_extra | new._extra
        if new.content is not None:
            known.content = [] if known.content is None else known.content
            known.content.extend(new.content)
        if new.refusal is not None:
            known.refusal = [] if known.refusal is None else known.refusal
            known.refusal.extend(new.refusal)

    def choice(self) -> Choice:
        message = ChatCompletionMessage(
            role=self.role,
            content=self.content.value(),
            reasoning_content=self.reasoning_content.value(),
            reasoning=self.reasoning.value(),
            refusal=self.refusal.value(),
            tool_calls=[call.tool_call() for call in self.tool_calls] or None,
            function_call=self.function.tool_call().function if self.function else None,
        )
        self.message_extra.put_into(message)
        choice = Choice(index=self.index, message=message, finish_reason=self.finish_reason)
        self.extra.put_into(choice)
        if (known := self.logprobs) is not None:
            # Copies: what was handed out stays as it was while more arrives.
            content = None if known.content is None else known.content.copy()
            refusal = None if known.refusal is None else known.refusal.copy()
            choice.logprobs = Logprobs(content=content, refusal=refusal)
            choice.logprobs._extra = known._extra
        return choice


class ChatAccumulator:
    """Takes chunks and gives, at any moment, the completion so far.

    Args:
        n: how many choices were asked for.

    Usage may come on the finish chunk's choice, on a chunk, or on a last chunk without choices; the last one counts.
    """

    __slots__ = ("_extra", "_first", "_last", "_n", "choices", "usage")

    def __init__(self, n: int = 1) -> None:
        self._n = n
        self.choices: dict[int, ChoiceState] = {}
        self.usage: Usage | None = None
        self._extra = Extras(grow=False)
        self._first: ChatCompletionChunk | None = None
        self._last: ChatCompletionChunk | None = None

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Take note of a chunk."""
        choices = chunk.choices
        # Nearly all chunks are a piece of one text: known as such they cost 0.40 µs instead of 0.65.
        if len(choices) == 1 and self._last is not None and chunk.usage is None and chunk._extra is UNSET:
            choice = choices[0]
            state = self.choices.get(choice.index)
            if state is not None and state.add_text(choice):
                self._last = chunk
                return
        self.begin(chunk)
        for choice in choices:
            self.add_choice(choice)

    def begin(self, chunk: ChatCompletionChunk) -> None:
        """Take note of a chunk, but for its choices."""
        if self._first is None:
            self._first = chunk
        self._last = chunk
        self._extra.add(chunk)
        if chunk.usage is not None:
            self.usage = chunk.usage

    def add_choice(self, choice: ChunkChoice) -> ChoiceState:
        """Take note of one choice of a chunk; gives what there is of it now."""
        state = self.choices.get(choice.index)
        if state is None:
            state = self.choices[choice.index] = ChoiceState(choice.index)
        state.add(choice)
        if choice.usage is not None:
            self.usage = choice.usage
        return state

    @property
    def finished(self) -> bool:
        """Whether every choice has its `finish_reason`: those that came, and as many as were asked for."""
        return len(self.choices) >= self._n and all(state.finish_reason for state in self.choices.values())

    def partial(self) -> ChatCompletion | None:
        """The completion so far; None before the first chunk."""
        if self._first is None or self._last is None:
            return None
        first, last = self._first, self._last
        completion = ChatCompletion(
            id=first.id or last.id,
            created=first.created or last.created,
            model=first.model or last.model,
            system_fingerprint=first.system_fingerprint or last.system_fingerprint,
            service_tier=first.service_tier or last.service_tier,
            choices=[self.choices[index].choice() for index in sorted(self.choices)],
            usage=self.usage,
        )
        self._extra.put_into(completion)
        return completion
