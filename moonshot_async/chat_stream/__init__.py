"""`client.chat.completions.stream`: a streamed answer as events, with the answer so far at hand.

Event types, in the `type` of each event: `chunk`, `content.delta`, `content.done`, `reasoning.delta`,
`reasoning.done`, `refusal.delta`, `refusal.done`, `tool_calls.function.arguments.delta`,
`tool_calls.function.arguments.done`, `logprobs.content.delta`, `logprobs.content.done`, `logprobs.refusal.delta`,
`logprobs.refusal.done` and `usage`; `chat_events.py` has their classes.
"""

import copy
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from moonshot_async.chat_events import ChatStreamEvent
from moonshot_async.chat_stream.state import ChatCompletionStreamState
from moonshot_async.errors import MoonshotError
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.types.parsed import ParsedChatCompletion
from moonshot_async.wire import Response

__all__ = ["ChatCompletionStreamState", "ChatStream", "ChatStreamManager"]

T = TypeVar("T")


class ChatStream(Generic[T]):
    """A streamed answer as events: `async for event in stream`, then `await stream.get_final_completion()`.

    Raises what `Stream` raises and, where something was to be parsed, what `ChatCompletionStreamState.handle_chunk`
    does. Leaving the loop early leaves the stream open until the `async with` ends, so that the
    rest can still be read.
    """

    def __init__(self, stream: Stream[ChatCompletionChunk], state: ChatCompletionStreamState[T]) -> None:
        self._stream = stream
        self._state = state
        # What ended the reading though the stream goes on.
        self._failures: list[MoonshotError] = []
        self._events = _events(stream, state, self._failures)

    @property
    def response(self) -> Response:
        """Status and headers of the answer."""
        return self._stream.response

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion[Any]:
        """The completion so far, parsed as far as it goes; raises `StreamInterruptedError` before the first chunk."""
        return self._state.current_completion_snapshot

    def __aiter__(self) -> "ChatStream[T]":
        return self

    def __anext__(self) -> Awaitable[ChatStreamEvent[T]]:
        # A generator that raised is used up and would end in silence; a new one raises again.
        if self._stream.failed or self._failures:
            self._events = _events(self._stream, self._state, self._failures)
        return anext(self._events)

    async def until_done(self) -> "ChatStream[T]":
        """Read the rest."""
        async for _ in self:
            pass
        return self

    async def get_final_completion(self) -> ParsedChatCompletion[T]:
        """Read the rest and return the whole answer, parsed."""
        await self.until_done()
        return self._state.whole()

    async def aclose(self) -> None:
        """Close the connection if the answer is not complete. Never waits for the network."""
        await self._stream.aclose()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self._stream.aclose()


async def _events(
    stream: Stream[ChatCompletionChunk], state: ChatCompletionStreamState[T], failures: list[MoonshotError]
) -> AsyncGenerator[ChatStreamEvent[T], None]:
    for failure in failures:
        raise copy.copy(failure)
    async for chunk in stream:
        try:
            events = state.handle_chunk(chunk)
        except MoonshotError as error:
            # A copy: the traceback of the one that is raised leads to this list.
            failures.append(copy.copy(error))
            raise
        for event in events:
            yield event


class _Told:
    """What a stream must know of its chunks, from the state that is told of each of them anyway."""

    def __init__(self, state: ChatCompletionStreamState[Any]) -> None:
        self._state = state

    def add(self, item: ChatCompletionChunk) -> None:
        """Nothing: `_events` gives it to the state."""

    @property
    def finished(self) -> bool:
        return self._state.finished

    def partial(self) -> ChatCompletion | None:
        return self._state.partial()


class ChatStreamManager(Generic[T]):
    """Opens the stream at `async with`, and closes it at its end."""

    def __init__(
        self,
        start: Callable[[Progress[ChatCompletionChunk]], Awaitable[Stream[ChatCompletionChunk]]],
        state: Callable[[], ChatCompletionStreamState[T]],
    ) -> None:
        self._start = start
        self._state = state
        self._stream: ChatStream[T] | None = None

    async def __aenter__(self) -> ChatStream[T]:
        state = self._state()
        self._stream = ChatStream(await self._start(_Told(state)), state)
        return self._stream

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()
