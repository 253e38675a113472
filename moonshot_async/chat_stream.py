"""`client.chat.completions.stream`: a streamed answer as events, with the answer so far at hand.

Event types, in the `type` of each event: `chunk`, `content.delta`, `content.done`, `reasoning.delta`,
`reasoning.done`, `refusal.delta`, `refusal.done`, `tool_calls.function.arguments.delta`,
`tool_calls.function.arguments.done`, `logprobs.content.delta`, `logprobs.content.done`, `logprobs.refusal.delta`,
`logprobs.refusal.done` and `usage`; `chat_events.py` has their classes.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from types import TracebackType

from moonshot_async.accumulate import ChatAccumulator, ChoiceState
from moonshot_async.chat_events import (
    ChatStreamEvent,
    ChunkEvent,
    ContentDeltaEvent,
    ContentDoneEvent,
    LogprobsEvent,
    ReasoningDeltaEvent,
    ReasoningDoneEvent,
    RefusalDeltaEvent,
    RefusalDoneEvent,
    ToolCallDeltaEvent,
    ToolCallDoneEvent,
    UsageEvent,
)
from moonshot_async.errors import StreamInterruptedError
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk, ChunkChoice, Logprobs
from moonshot_async.wire import Response


class ChatCompletionStreamState:
    """Folds chunks into events and the completion so far; usable alone, on chunks from anywhere.

    Args:
        n: how many choices were asked for.
    """

    def __init__(self, n: int = 1) -> None:
        self._answer = ChatAccumulator(n)
        self._open: dict[int, _OpenParts] = {}

    def handle_chunk(self, chunk: ChatCompletionChunk) -> Iterator[ChatStreamEvent]:
        """Take a chunk, and give the events that it makes."""
        answer = self._answer
        before = answer.usage
        answer.begin(chunk)
        events: list[ChatStreamEvent] = [ChunkEvent(chunk, answer)]
        for choice in chunk.choices:
            state = answer.add_choice(choice)
            parts = self._open.get(choice.index)
            if parts is None:
                parts = self._open[choice.index] = _OpenParts(state)
            parts.handle(choice, events)
        if answer.usage is not None and answer.usage is not before:
            events.append(UsageEvent(answer.usage))
        return iter(events)

    @property
    def finished(self) -> bool:
        """Whether every choice has had its `finish_reason`."""
        return self._answer.finished

    def partial(self) -> ChatCompletion | None:
        """The completion so far; None before the first chunk."""
        return self._answer.partial()

    @property
    def current_completion_snapshot(self) -> ChatCompletion:
        """The completion so far.

        Raises:
            StreamInterruptedError: no chunk has come yet.
        """
        completion = self.partial()
        if completion is None:
            raise StreamInterruptedError(message="There is no answer yet: no chunk has come.")
        return completion

    def get_final_completion(self) -> ChatCompletion:
        """The whole answer.

        Raises:
            StreamInterruptedError: it is not complete; what there is is in `.partial`.
        """
        if not self.finished:
            error = StreamInterruptedError(message="The answer is not complete.")
            error.partial = self.partial()
            raise error
        return self.current_completion_snapshot


class _OpenParts:
    """Which parts of a choice have begun and not been told as done."""

    __slots__ = ("begun", "logprobs", "reasoning", "refusal", "state", "text", "told")

    def __init__(self, state: ChoiceState) -> None:
        self.state = state
        self.text = False
        self.reasoning = False
        self.refusal = False
        self.logprobs = False
        # How many tool calls have begun, and which of them were told as done.
        self.begun = 0
        self.told: set[int] = set()

    def handle(self, choice: ChunkChoice, events: list[ChatStreamEvent]) -> None:
        delta, state, index = choice.delta, self.state, choice.index
        if delta.reasoning_content:
            self.reasoning = True
            events.append(ReasoningDeltaEvent(delta.reasoning_content, state.reasoning_content, index))
        elif delta.reasoning:
            self.reasoning = True
            events.append(ReasoningDeltaEvent(delta.reasoning, state.reasoning, index))
        if delta.content is not None:
            if delta.content:
                self._end_reasoning(events)
                self.text = True
            events.append(ContentDeltaEvent(delta.content, state.content, index))
        if delta.refusal:
            self.refusal = True
            events.append(RefusalDeltaEvent(delta.refusal, state.refusal, index))
        if delta.tool_calls:
            self._end_reasoning(events)
            for fragment, (call, length) in zip(delta.tool_calls, state.fragments, strict=True):
                piece = (fragment.function and fragment.function.arguments) or ""
                events.append(ToolCallDeltaEvent(call, piece, length, index))
        if choice.logprobs is not None:
            self._handle_logprobs(choice.logprobs, events)
        if len(state.tool_calls) > self.begun:
            self._end_texts(events)
            self._end_calls(events, begun=len(state.tool_calls))
        if choice.finish_reason:
            self._end_reasoning(events)
            self._end_texts(events)
            self._end_calls(events)

    def _handle_logprobs(self, new: Logprobs, events: list[ChatStreamEvent]) -> None:
        known, index = self.state.logprobs, self.state.index
        self.logprobs = True
        if new.content and known and known.content:
            events.append(LogprobsEvent("logprobs.content.delta", new.content, known.content, index))
        if new.refusal and known and known.refusal:
            events.append(LogprobsEvent("logprobs.refusal.delta", new.refusal, known.refusal, index))

    def _end_reasoning(self, events: list[ChatStreamEvent]) -> None:
        if self.reasoning:
            self.reasoning = False
            state = self.state
            text = str(state.reasoning_content) or str(state.reasoning)
            events.append(ReasoningDoneEvent(text, state.index))

    def _end_texts(self, events: list[ChatStreamEvent]) -> None:
        state = self.state
        if self.text:
            self.text = False
            events.append(ContentDoneEvent(str(state.content), state.index))
        if self.refusal:
            self.refusal = False
            events.append(RefusalDoneEvent(str(state.refusal), state.index))
        if self.logprobs and state.logprobs is not None:
            self.logprobs = False
            if known := state.logprobs.content:
                events.append(LogprobsEvent("logprobs.content.done", known.copy(), known, state.index))
            if known := state.logprobs.refusal:
                events.append(LogprobsEvent("logprobs.refusal.done", known.copy(), known, state.index))

    def _end_calls(self, events: list[ChatStreamEvent], *, begun: int | None = None) -> None:
        """Tell of calls that are complete: at the end of the choice all, and when another begins (`begun` of them now)
        those before it whose arguments are whole. Fragments of parallel calls may mix, so the others wait.
        """
        calls = self.state.tool_calls
        if begun is not None:
            calls, self.begun = calls[max(0, self.begun - 1) : begun - 1], begun
        for call in calls:
            if call.position not in self.told:
                event = ToolCallDoneEvent(call, self.state.index)
                if begun is None or (call.name and isinstance(event.parsed_arguments, dict)):
                    self.told.add(call.position)
                    events.append(event)


class ChatStream:
    """A streamed answer as events: `async for event in stream`, then `await stream.get_final_completion()`.

    Raises what `Stream` raises. Leaving the loop early leaves the stream open until the `async with` ends, so that the
    rest can still be read.
    """

    def __init__(self, stream: Stream[ChatCompletionChunk], state: ChatCompletionStreamState) -> None:
        self._stream = stream
        self._state = state
        self._events = _events(stream, self._state)

    @property
    def response(self) -> Response:
        """Status and headers of the answer."""
        return self._stream.response

    @property
    def current_completion_snapshot(self) -> ChatCompletion:
        """The completion so far; raises `StreamInterruptedError` before the first chunk."""
        return self._state.current_completion_snapshot

    def __aiter__(self) -> "ChatStream":
        return self

    def __anext__(self) -> Awaitable[ChatStreamEvent]:
        # A generator that raised is used up and would end in silence; a new one raises again.
        if self._stream.failed:
            self._events = _events(self._stream, self._state)
        return anext(self._events)

    async def until_done(self) -> "ChatStream":
        """Read the rest."""
        async for _ in self:
            pass
        return self

    async def get_final_completion(self) -> ChatCompletion:
        """Read the rest and return the whole answer."""
        await self.until_done()
        return self._state.current_completion_snapshot

    async def aclose(self) -> None:
        """Close the connection if the answer is not complete. Never waits for the network."""
        await self._stream.aclose()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self._stream.aclose()


async def _events(
    stream: Stream[ChatCompletionChunk], state: ChatCompletionStreamState
) -> AsyncGenerator[ChatStreamEvent, None]:
    async for chunk in stream:
        for event in state.handle_chunk(chunk):
            yield event


class _Told:
    """What a stream must know of its chunks, from the state that is told of each of them anyway."""

    def __init__(self, state: ChatCompletionStreamState) -> None:
        self._state = state

    def add(self, item: ChatCompletionChunk) -> None:
        """Nothing: `_events` gives it to the state."""

    @property
    def finished(self) -> bool:
        return self._state.finished

    def partial(self) -> ChatCompletion | None:
        return self._state.partial()


class ChatStreamManager:
    """Opens the stream at `async with`, and closes it at its end."""

    def __init__(
        self, start: Callable[[Progress[ChatCompletionChunk]], Awaitable[Stream[ChatCompletionChunk]]], n: int = 1
    ) -> None:
        self._start = start
        self._n = n
        self._stream: ChatStream | None = None

    async def __aenter__(self) -> ChatStream:
        state = ChatCompletionStreamState(self._n)
        self._stream = ChatStream(await self._start(_Told(state)), state)
        return self._stream

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()
