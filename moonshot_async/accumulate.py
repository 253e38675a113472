"""Fold the chunks of a streamed answer into the answer that would have come in one piece."""

from collections.abc import AsyncIterable
from typing import Any

from moonshot_async.errors import StreamInterruptedError
from moonshot_async.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    Choice,
    ChoiceDelta,
    ChunkChoice,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    ToolCall,
    ToolCallDelta,
    Usage,
)

# How many pieces of a text are kept apart before they are joined.
_PIECES = 512


class Text:
    """A text that grows by pieces: appending is cheap, reading joins once."""

    __slots__ = ("_pieces", "length", "seen")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.length = 0
        self.seen = False

    def add(self, piece: str) -> None:
        self.seen = True
        self.length += len(piece)
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) > _PIECES:
            pieces[:] = ["".join(pieces)]

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def prefix(self, length: int) -> str:
        """The first `length` characters."""
        text = str(self)
        return text if length == len(text) else text[:length]

    def value(self) -> str | None:
        """The text; None where no piece came, which is not the same as an empty one."""
        return str(self) if self.seen else None


class ToolCallState:
    """One tool call while its fragments arrive."""

    __slots__ = ("arguments", "extra", "id", "index", "name", "position", "type")

    def __init__(self, position: int, index: int | None) -> None:
        self.position = position
        self.index = index
        self.id = ""
        self.type = "function"
        self.name = ""
        self.arguments = Text()
        self.extra: dict[str, Any] = {}

    def add(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id or ""
        self.type = delta.type or self.type
        self.extra.update(delta.model_extra)
        if function := delta.function:
            self.name = self.name or function.name or ""
            if function.arguments:
                self.arguments.add(function.arguments)

    def tool_call(self) -> ToolCall:
        # Some hosts send no id; without one the answer to the call could not name it.
        call = ToolCall(
            id=self.id or f"call_{self.position}",
            type=self.type,
            function=FunctionCall(name=self.name, arguments=str(self.arguments)),
        )
        if self.extra:
            call._extra = self.extra
        return call


class ChoiceState:
    """One choice while its chunks arrive."""

    __slots__ = (
        "content",
        "extra",
        "finish_reason",
        "function",
        "index",
        "logprobs",
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
        self.function: ToolCallState | None = None
        self.finish_reason: str | None = None
        self.logprobs: Logprobs | None = None
        self.extra: dict[str, Any] = {}

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
        for call in delta.tool_calls or ():
            self.tool_call_of(call).add(call)
        if delta.function_call is not None:
            self._add_function(delta.function_call)
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
        if choice.logprobs is not None:
            self._add_logprobs(choice.logprobs)
        if delta.model_extra:
            self._add_extra(delta)

    def tool_call_of(self, delta: ToolCallDelta) -> ToolCallState:
        """The call that a fragment belongs to.

        Fragments of one call share `index`. Some hosts leave it out, others give every call the same one: a new id
        with a name begins a new call there.
        """
        calls = self.tool_calls
        same = [call for call in calls if delta.index is None or call.index == delta.index]
        if same:
            call = same[-1]
            begins = delta.id and call.id and delta.id != call.id
            if not begins:
                return call
            if known := [call for call in same if call.id == delta.id]:
                return known[0]
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
        if new.content is not None:
            known.content = [] if known.content is None else known.content
            known.content.extend(new.content)
        if new.refusal is not None:
            known.refusal = [] if known.refusal is None else known.refusal
            known.refusal.extend(new.refusal)

    def _add_extra(self, delta: ChoiceDelta) -> None:
        for name, value in delta.model_extra.items():
            before = self.extra.get(name)
            joined = isinstance(before, str) and isinstance(value, str)
            self.extra[name] = before + value if joined else value

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
        if self.extra:
            message._extra = dict(self.extra)
        return Choice(index=self.index, message=message, finish_reason=self.finish_reason, logprobs=self.logprobs)


class ChatAccumulator:
    """Takes chunks and gives, at any moment, the completion so far.

    Usage may come on the finish chunk's choice, on a chunk, or on a last chunk without choices; the last one counts.
    """

    __slots__ = ("_first", "_last", "choices", "usage")

    def __init__(self) -> None:
        self.choices: dict[int, ChoiceState] = {}
        self.usage: Usage | None = None
        self._first: ChatCompletionChunk | None = None
        self._last: ChatCompletionChunk | None = None

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Take note of a chunk."""
        if self._first is None:
            self._first = chunk
        self._last = chunk
        if chunk.usage is not None:
            self.usage = chunk.usage
        for choice in chunk.choices:
            state = self.choices.get(choice.index)
            if state is None:
                state = self.choices[choice.index] = ChoiceState(choice.index)
            state.add(choice)
            if choice.usage is not None:
                self.usage = choice.usage

    @property
    def finished(self) -> bool:
        """Whether there is a choice and every one has its `finish_reason`."""
        return bool(self.choices) and all(state.finish_reason for state in self.choices.values())

    def partial(self) -> ChatCompletion | None:
        """The completion so far; None before the first chunk."""
        if self._first is None or self._last is None:
            return None
        first, last = self._first, self._last
        return ChatCompletion(
            id=first.id or last.id,
            created=first.created or last.created,
            model=first.model or last.model,
            system_fingerprint=first.system_fingerprint or last.system_fingerprint,
            service_tier=first.service_tier or last.service_tier,
            choices=[self.choices[index].choice() for index in sorted(self.choices)],
            usage=self.usage,
        )


async def collect(chunks: AsyncIterable[ChatCompletionChunk]) -> ChatCompletion:
    """Read a stream to its end and return the whole answer.

    Raises:
        StreamInterruptedError: no chunk came, or a choice has no `finish_reason`; what came is in `.partial`.
    """
    answer = ChatAccumulator()
    async for chunk in chunks:
        answer.add(chunk)
    completion = answer.partial()
    if completion is None or not answer.finished:
        error = StreamInterruptedError(message="The stream ended before the answer was complete.")
        error.partial = completion
        raise error
    return completion
