"""How a question is asked: once, or as a stream. `runs.py` has the third way, for tools that are functions.

Each way ends in a `Reply`, and by then the answer is in the history.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from moonshot_async.errors import ContentFilterFinishReasonError, ContextLengthExceededError, EmptyAnswerError
from moonshot_async.toolkit.conversation.asking import Asking
from moonshot_async.toolkit.conversation.history import History
from moonshot_async.toolkit.conversation.messages import answer_message
from moonshot_async.toolkit.conversation.replies import Reply, Spent, cost_of, told
from moonshot_async.toolkit.conversation.steps import Step
from moonshot_async.types.chat import ChatCompletion

if TYPE_CHECKING:
    from moonshot_async.chat_stream import ChatStream, ChatStreamManager


class Question:
    """A step that is being asked.

    Args:
        asking: what goes with it.
        step: the draft.
        spent: takes what it costs.
        keep: takes the draft once the answer is whole.
    """

    def __init__(self, asking: Asking, step: Step, spent: Spent, keep: Callable[[History], None]) -> None:
        self.asking = asking
        self.step = step
        self.spent = spent
        self._keep = keep

    async def once(self) -> Reply:
        """Ask without a stream."""
        create = self.asking.client.chat.completions.create
        await self.step.fit()
        try:
            return self.answered(await create(**self.step.params()))
        except ContextLengthExceededError as error:
            if not self.step.learn(error):
                raise
        await self.step.fit()
        return self.answered(await create(**self.step.params()))

    def answered(self, completion: ChatCompletion, *, requests: int = 1, uncounted: int = 0) -> Reply:
        """Keep an answer.

        Args:
            completion: it is whole.
            requests: how many it took: what its usage says of several is no size of a prompt.
            uncounted: how many of them are not in the usage.

        Raises:
            EmptyAnswerError: there is nothing in it.
            ContentFilterFinishReasonError: moderation has cut it.
        """
        usage = told(completion.usage)
        known = usage is not None and not uncounted
        cost = cost_of(self.asking.client, completion, self.step.options) if known else None
        self.spent.add(usage, cost)
        check_whole(completion)
        param = answer_message(completion.choices[0].message, thinks=self.asking.models.may_think())
        self.step.append(param, usage if requests == 1 else None)
        self.keep()
        return Reply(completion, usage, cost)

    def keep(self) -> None:
        """Let the draft be the history."""
        self._keep(self.step.history)


class Source(Protocol):
    """What the events of an answer come from."""

    async def open(self) -> None:
        """Send the request, as far as that happens before the first event is asked for."""
        ...

    async def next(self) -> Any:
        """The next event.

        Raises:
            StopAsyncIteration: the answer is whole, and in the history.
        """
        ...

    async def aclose(self) -> None:
        """Let go of it."""
        ...

    @property
    def reply(self) -> Reply | None:
        """The answer, once it is whole."""
        ...


class Streamed:
    """The events of `.stream()`."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._manager: ChatStreamManager[Any] | None = None
        self._stream: ChatStream[Any] | None = None
        self.reply: Reply | None = None

    async def open(self) -> None:
        step = self._question.step
        await step.fit()
        try:
            await self._open()
            return
        except ContextLengthExceededError as error:
            if not step.learn(error):
                raise
        await step.fit()
        await self._open()

    async def next(self) -> Any:
        assert self._stream is not None, "it was opened"
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            if self.reply is not None:
                raise
        stream = self._stream
        completion = await stream.get_final_completion()
        self.reply = self._question.answered(
            completion, requests=stream.segments, uncounted=stream.uncounted_segments if stream.segments > 1 else 0
        )
        raise StopAsyncIteration

    async def aclose(self) -> None:
        assert self._manager is not None, "it was opened"
        await self._manager.__aexit__(None, None, None)

    async def _open(self) -> None:
        asking, step = self._question.asking, self._question.step
        # Other hosts tell the usage only when asked.
        self._manager = asking.client.chat.completions.stream(
            **{"stream_options": {"include_usage": True}, **step.params()}
        )
        self._stream = await self._manager.__aenter__()


_EMPTY: Final = "The model answered nothing; the history is as it was before the question."


def check_whole(completion: ChatCompletion) -> None:
    """Refuse an answer that cannot be put back.

    Raises:
        EmptyAnswerError: there is nothing in it.
        ContentFilterFinishReasonError: moderation has cut it.
    """
    if not completion.choices:
        raise EmptyAnswerError(_EMPTY, text="", completion=completion)
    choice = completion.choices[0]
    if choice.finish_reason == "content_filter":
        raise ContentFilterFinishReasonError(completion=completion)
    message = choice.message
    if not (message.content or message.tool_calls or message.reasoning_content or message.reasoning):
        raise EmptyAnswerError(_EMPTY, text="", completion=completion)
