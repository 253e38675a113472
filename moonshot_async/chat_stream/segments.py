"""One answer over several requests: what of it is open now, and what comes after that.

`next` is the whole story: the stream ended or was cut, it is decided whether and how the answer goes on, the request is
sent, and its stream takes the place of the one before.
"""

import copy
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Final, Generic, TypeAlias, TypeVar

from moonshot_async.chat_events import How, StreamResumedEvent
from moonshot_async.chat_stream.resume import Backoff, Plan, going_on, is_cut, obstacle_in, same_again, was_filtered
from moonshot_async.chat_stream.state import ChatCompletionStreamState
from moonshot_async.errors import APIError, APITimeoutError, ClientClosedError, MoonshotError, StreamInterruptedError
from moonshot_async.lifecycle import Whole
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.wire import Request

T = TypeVar("T")

_CLOSED: Final = "The stream was closed before its end."

Send: TypeAlias = Callable[[Request, Progress[ChatCompletionChunk]], Awaitable[Stream[ChatCompletionChunk]]]


class Told:
    """What a stream must know of its chunks, from the state that is told of each of them anyway."""

    def __init__(self, state: ChatCompletionStreamState[Any]) -> None:
        self._state = state

    def add(self, item: ChatCompletionChunk) -> None:
        """Nothing: the events of `ChatStream` are made of it, by the state."""

    @property
    def finished(self) -> bool:
        return self._state.finished

    def partial(self) -> ChatCompletion | None:
        return self._state.partial()


class Segments(Generic[T]):
    """The streams that one answer comes in.

    Attributes:
        stream: the one that is read now.
        state: takes the chunks of all of them.
        plan: how often another may follow.
        failures: what ended the reading, in copies: the traceback of the one that is raised leads here.
        stopped: whether nothing more will come but what is raised.
        count: how many requests were answered with a stream.
        uncounted: how many of those before `stream` told no usage.
    """

    def __init__(
        self,
        stream: Stream[ChatCompletionChunk],
        state: ChatCompletionStreamState[T],
        request: Request,
        send: Send,
        plan: Plan,
        backoff: Backoff,
        whole: Whole | None = None,
    ) -> None:
        self.stream = stream
        self.state = state
        self.plan = plan
        self.failures: list[MoonshotError] = []
        self.stopped = False
        self.count = 1
        self.uncounted = 0
        self._request = request
        self._send = send
        self._backoff = backoff
        self._whole = whole
        self._closed = False
        self._cut: APIError | None = None
        self._resumed = 0
        self._lengthened = 0
        state.continues = plan.continue_on_length

    def check(self) -> None:
        """Raise what ended the reading, if something did."""
        for failure in self.failures:
            raise copy.copy(failure)
        # It was closed: what broke off by itself is among the failures.
        self._closed = self._closed or self.stream.failed

    async def aclose(self) -> None:
        """Close the open one, and let none follow."""
        self._closed = True
        await self.stream.aclose()
        self._over()
        self.stopped = self.stopped or self.stream.failed

    def cut(self, error: APIError) -> None:
        """Take note of what broke the open one off; in a copy, as with `failures`."""
        self._cut = error

    async def next(self) -> StreamResumedEvent | None:
        """Go on after the open stream ended or was cut: what to tell then, None where the answer is whole.

        Raises:
            StreamInterruptedError: it was cut and cannot be gone on with, or the request for the rest failed.
            APIError: what cut it, where that does not pass or has come once too often.
        """
        event: StreamResumedEvent | None = None
        try:
            if self._cut is not None or self.state.held or self._is_empty():
                event = await self._next()
            return event
        except MoonshotError as error:
            self.failures.append(copy.copy(error))
            raise
        except BaseException:
            self.failures.append(self._interrupted("The stream was not resumed."))
            raise
        finally:
            if event is None:
                self._over()

    async def _next(self) -> StreamResumedEvent | None:
        answer = self.state.partial()
        verdict = self._verdict(answer)
        if isinstance(verdict, APIError):
            try:
                raise verdict
            finally:
                # An exception that is held where its own traceback leads stays until a garbage collection.
                self._cut = None
                del verdict
        if verdict is None:
            return None
        event = self._event(verdict, answer)
        anew = verdict == "restarted"
        request = same_again(self._request) if anew or answer is None else going_on(self._request, answer)
        with nullcontext() if self._whole is None else self._whole.part():
            if verdict != "length":
                await self._backoff.wait(event.attempt, request.deadline)
            self.stream = await self._opened(request)
        self._cut = None
        self.count += 1
        self.uncounted += event.usage is None
        if anew:
            self.state.start_over()
        else:
            self.state.go_on()
        self.state.continues = self.plan.continue_on_length - self._lengthened
        return event

    def _verdict(self, answer: ChatCompletion | None) -> How | APIError | None:
        """How the answer goes on, what ends it, or None where it is whole."""
        state, plan, cut = self.state, self.plan, self._cut
        if self._was_closed():
            return cut or self._interrupted(_CLOSED)
        if cut is not None and not is_cut(cut):
            return cut
        if state.held:
            return "length"
        if cut is None:
            cut = self._cut = self._interrupted("The stream broke off: it ended before its first chunk.")
        if answer is not None and state.finished and not was_filtered(answer):
            # It broke off behind the end of the answer.
            return None
        if answer is not None and (obstacle := obstacle_in(answer) or plan.obstacle):
            return self._about(cut, f"{cut.message} It cannot be resumed: {obstacle}.")
        if self._resumed >= plan.resume:
            if self._resumed:
                cut.add_note(f"The stream was resumed before, as often as resume={plan.resume} allows.")
            return cut
        return "continued" if answer and any(choice.message.content for choice in answer.choices) else "restarted"

    def _is_empty(self) -> bool:
        """Whether a stream of which more was hoped for has ended without a chunk."""
        return not self.state.begun and (self.count > 1 or self.plan.resume > 0)

    def _event(self, how: How, answer: ChatCompletion | None) -> StreamResumedEvent:
        plan, cut, usage = self.plan, self._cut, self.state.request_usage
        if how == "length":
            self._lengthened += 1
            attempt, attempts, reason = self._lengthened, plan.continue_on_length, "length"
        else:
            self._resumed += 1
            attempt, attempts, reason = self._resumed, plan.resume, _told(cut) if cut else ""
        kept = [choice.message for choice in answer.choices] if answer and how != "restarted" else []
        return StreamResumedEvent(
            how,
            reason,
            attempt=attempt,
            attempts=attempts,
            text_chars=sum(len(message.content or "") for message in kept),
            reasoning_chars=sum(len(message.reasoning_content or message.reasoning or "") for message in kept),
            usage=usage,
        )

    async def _opened(self, request: Request) -> Stream[ChatCompletionChunk]:
        """The stream of another request."""
        problem: APIError = self._interrupted(_CLOSED)
        if not self._was_closed():
            try:
                stream = await self._send(request, Told(self.state))
            except APIError as error:
                problem = self._unanswered(copy.copy(error))
            else:
                if not self._was_closed():
                    return stream
                await stream.aclose()
        # Out here, so that the exception above is not its context.
        try:
            raise problem
        finally:
            del problem

    def _over(self) -> None:
        """No further request will follow."""
        if self._whole is not None:
            self._whole.end()

    def _was_closed(self) -> bool:
        """Asked for before and after a wait, during which another task may close the stream."""
        return self._closed

    def _unanswered(self, error: APIError) -> APIError:
        """What to raise where the request for the rest failed."""
        over = isinstance(error, APITimeoutError) and error.clock in ("total", "deadline")
        if over or isinstance(error, ClientClosedError):
            error.partial = self.state.partial()
            return error
        before = self._cut.message if self._cut else "The answer was cut by its length."
        return self._about(error, f"{before} The request for the rest failed: {_told(error)}")

    def _about(self, cause: APIError, message: str) -> StreamInterruptedError:
        error = self._interrupted(message)
        error.attempts = cause.attempts
        # Why nothing more was tried; a pickle leaves the cause behind.
        for note in getattr(cause, "__notes__", ()):
            error.add_note(note)
        error.__cause__ = cause
        return error

    def _interrupted(self, message: str) -> StreamInterruptedError:
        error = StreamInterruptedError(message=message, request=self._request)
        error.partial = self.state.partial()
        return error


def _told(error: APIError) -> str:
    return f"{type(error).__name__}: {error.message}"
