"""`client.chat.completions.stream`: a streamed answer as events, with the answer so far at hand.

Event types, in the `type` of each event: `chunk`, `content.delta`, `content.done`, `reasoning.delta`,
`reasoning.done`, `refusal.delta`, `refusal.done`, `tool_calls.function.arguments.delta`,
`tool_calls.function.arguments.done`, `logprobs.content.delta`, `logprobs.content.done`, `logprobs.refusal.delta`,
`logprobs.refusal.done`, `usage` and `stream.resumed`; `chat_events.py` has their classes.
"""

import copy
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from moonshot_async.chat_events import ChatStreamEvent
from moonshot_async.chat_stream.resume import Backoff, Plan
from moonshot_async.chat_stream.segments import Segments, Send, Told
from moonshot_async.chat_stream.state import ChatCompletionStreamState
from moonshot_async.errors import APIError, MoonshotError
from moonshot_async.lifecycle import Whole
from moonshot_async.types.parsed import ParsedChatCompletion
from moonshot_async.wire import Request, Response

__all__ = ["Backoff", "ChatCompletionStreamState", "ChatStream", "ChatStreamManager", "Plan"]

T = TypeVar("T")

_ONCE: Final = Plan()
_BACKOFF: Final = Backoff()
_ENTER: Final = (
    "a chat stream is entered first, so that it is closed in the end: "
    "`async with client.chat.completions.stream(…) as stream`"
)


class ChatStream(Generic[T]):
    """A streamed answer as events: `async for event in stream`, then `await stream.get_final_completion()`.

    Raises what `Stream` raises and, where something was to be parsed, what `ChatCompletionStreamState.handle_chunk`
    does. Leaving the loop early leaves the stream open until the `async with` ends, so that the
    rest can still be read.

    An answer that is resumed or continued is one to its reader: texts and snapshots go on, and the completion has id,
    model and time of the request that it began with, the end of the last one, and the usage of all, as far as it is
    known. Its log probabilities are None where one of several parts has none.
    """

    def __init__(self, segments: Segments[T]) -> None:
        self._segments = segments
        self._events = _events(segments)

    @property
    def response(self) -> Response:
        """Status and headers of the answer; of an answer that was resumed, those of the last request."""
        return self._segments.stream.response

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion[Any]:
        """The completion so far, parsed as far as it goes; raises `StreamInterruptedError` before the first chunk."""
        return self._segments.state.current_completion_snapshot

    @property
    def segments(self) -> int:
        """How many requests the answer took so far: 1, and one more for each `stream.resumed`."""
        return self._segments.count

    @property
    def uncounted_segments(self) -> int:
        """How many of them ended without a usage, as one that was cut does: they cost, but are in no sum."""
        segments = self._segments
        return segments.uncounted + (segments.stream.closed and segments.state.request_usage is None)

    def __aiter__(self) -> "ChatStream[T]":
        return self

    def __anext__(self) -> Awaitable[ChatStreamEvent[T]]:
        # A generator that raised is used up and would end in silence; a new one raises again.
        if self._segments.stopped:
            self._events = _events(self._segments)
        return anext(self._events)

    async def until_done(self) -> "ChatStream[T]":
        """Read the rest."""
        async for _ in self:
            pass
        return self

    async def get_final_completion(self) -> ParsedChatCompletion[T]:
        """Read the rest and return the whole answer, parsed."""
        await self.until_done()
        return self._segments.state.whole()

    async def aclose(self) -> None:
        """Close the connection if the answer is not complete. Never waits for the network."""
        await self._segments.aclose()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self._segments.aclose()


async def _events(segments: Segments[T]) -> AsyncGenerator[ChatStreamEvent[T], None]:
    handle, failures = segments.state.handle_chunk, segments.failures
    try:
        segments.check()
        while True:
            try:
                async for chunk in segments.stream:
                    try:
                        events = handle(chunk)
                    except MoonshotError as error:
                        # A copy: the traceback of the one that is raised leads to this list.
                        failures.append(copy.copy(error))
                        raise
                    for event in events:
                        yield event
            except APIError as error:
                if not segments.plan.resume:
                    raise
                segments.cut(copy.copy(error))
            # Out here, so that no error that follows has that one, and all that its traceback holds, as its context.
            resumed = await segments.next()
            if resumed is None:
                return
            yield resumed
    except BaseException:
        segments.stopped = True
        raise


class ChatStreamManager(Generic[T]):
    """Opens the stream at `async with`, and closes it at its end.

    Attributes:
        backoff: how to wait before an answer is resumed.
    """

    def __init__(
        self,
        request: Callable[[], Request],
        send: Send,
        state: Callable[[], ChatCompletionStreamState[T]],
        plan: Plan = _ONCE,
        *,
        backoff: Backoff = _BACKOFF,
        whole: Callable[[Request], Whole] | None = None,
    ) -> None:
        self.backoff = backoff
        self._whole = whole
        self._request = request
        self._send = send
        self._state = state
        self._plan = plan
        self._stream: ChatStream[T] | None = None

    async def __aenter__(self) -> ChatStream[T]:
        request, state = self._request(), self._state()
        whole = None if self._whole is None else self._whole(request)
        try:
            with nullcontext() if whole is None else whole.part():
                stream = await self._send(request, Told(state))
        except BaseException:
            # An exception that somebody keeps would hold this frame, and so the call in flight.
            if whole is not None:
                whole.end()
            raise
        self._stream = ChatStream(Segments(stream, state, request, self._send, self._plan, self.backoff, whole))
        return self._stream

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    # They only say what to do.
    if not TYPE_CHECKING:  # pragma: no branch - type checkers shall know that neither is there

        def __aiter__(self) -> NoReturn:
            raise TypeError(_ENTER + ", and then `async for event in stream`.")

        def __await__(self) -> NoReturn:
            raise TypeError(_ENTER + ", and then `await stream.get_final_completion()`.")
