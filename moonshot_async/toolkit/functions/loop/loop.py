"""The steps of a run: ask, run what the model calls, put the answers behind, and ask again, until there is an answer.

The loop is a task of its own, so that it reads on, and starts tools, while its events wait to be taken. It holds
nothing that leads to the `ToolRun`, so that one which is dropped ends it.
"""

import copy
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from moonshot_async.errors import APITimeoutError, ContentFilterFinishReasonError, LengthFinishReasonError
from moonshot_async.toolkit.functions.loop.events import DoneEvent, DoneReason, MessageEvent
from moonshot_async.toolkit.functions.loop.history import History, Message
from moonshot_async.toolkit.functions.loop.limits import Spent
from moonshot_async.toolkit.functions.loop.outbox import Outbox
from moonshot_async.toolkit.functions.loop.repeats import Repeats
from moonshot_async.toolkit.functions.loop.running import Running
from moonshot_async.toolkit.functions.loop.step import Step, answer_calls
from moonshot_async.types.chat import ChatCompletion, ChatCompletionMessage, Choice

if TYPE_CHECKING:
    from moonshot_async.chat_stream import ChatStreamManager

Prepare: TypeAlias = Callable[[list[Message]], Awaitable[Mapping[str, Any]]]
"""Gets the conversation before each request but the first, when all events before it were taken; returns the keywords
in which the request, and those after it, differ from the one before: `messages`, not to be changed, and others."""

_CUT: Final[Mapping[str, DoneReason]] = {"length": "length", "content_filter": "content_filter"}
_HALF_A_CALL: Final = (
    "The answer was cut by max_completion_tokens in the middle of a call of a tool, which was not run: allow more."
)
_FILTERED_CALL: Final = "The answer was cut by the content filter while it called tools."


class Loop:
    """One run.

    Args:
        ask: opens the stream of a request, given its messages and what differs from step to step.
        choice: the `tool_choice` of the caller, where there is one.
        history: the conversation.
        running: runs the calls.
        repeats: knows whether a call was made too often.
        spent: what the run takes.
        outbox: takes the events.
        thinks: whether the model may think, so that it wants to see what it thought.
        has_tools: whether there are any.

    Attributes:
        prepare: see `Prepare`; None where nobody has anything to prepare.
    """

    def __init__(
        self,
        ask: "Callable[[list[Message], Mapping[str, Any]], ChatStreamManager[Any]]",
        choice: Mapping[str, Any],
        history: History,
        running: Running,
        repeats: Repeats,
        spent: Spent,
        outbox: Outbox,
        *,
        thinks: bool,
        has_tools: bool,
    ) -> None:
        self._ask = ask
        self._choice = choice
        self._history = history
        self._running = running
        self._repeats = repeats
        self._spent = spent
        self._outbox = outbox
        self._thinks = thinks
        self._has_tools = has_tools
        self._completion: ChatCompletion | None = None
        self.prepare: Prepare | None = None
        self._prepared: Mapping[str, Any] = {}

    async def run(self) -> None:
        """Go through the steps; what ends them is put into the outbox. Leaves no task behind."""
        problem: BaseException | None = None
        try:
            self._outbox.put(await self._steps())
        except BaseException as error:  # noqa: BLE001  # raised where the run is read
            problem = error
        try:
            await self._running.stop()
        finally:
            self._outbox.end(problem)
            # An exception that is held where its own traceback leads stays until a garbage collection.
            del problem

    async def _steps(self) -> DoneEvent:
        if (turn := self._history.open) is not None:
            for answer in turn.answers.values():
                if answer.message is None:
                    self._running.begin(answer)
            await answer_calls(self._history, self._running, self._outbox)
        while True:
            reason = "repeated_calls" if self._repeats.stopped else self._spent.reached()
            if reason is not None:
                return self._done(reason)
            # Nobody pays for a step that nobody waits for.
            await self._outbox.taken()
            if self.prepare is not None and self._spent.steps:
                changes = dict(await self.prepare(self._history.to_send()))
                self._history.replace(changes.pop("messages"))
                self._prepared = changes
            if (done := await self._step()) is not None:
                return done

    async def _step(self) -> DoneEvent | None:
        """One request, and all that its answer calls; how the run ended with it, if it did."""
        spent = self._spent
        spent.steps += 1
        closing = spent.at_last_step and self._has_tools
        step = Step(spent.steps, self._history, self._running, self._outbox, self._as_param, closing=closing)
        try:
            more = {**self._prepared, **self._tool_choice(closing)}
            async with self._ask(self._history.to_send(), more) as stream:
                completion = await step.read(stream)
        except Exception as error:
            partial = getattr(error, "completion", None) or getattr(error, "partial", None)
            await self._broke_off(step, partial)
            raise
        self._note(completion)
        choice = completion.choices[0] if completion.choices else Choice(message=ChatCompletionMessage())
        if not choice.message.tool_calls:
            return self._answered(choice, closing)
        if (cut := _cut_call(choice, step, completion)) is not None:
            await step.settle()
            raise cut
        await step.finish(choice.message)
        return self._done("max_steps") if closing else None

    def _tool_choice(self, closing: bool) -> Mapping[str, Any]:
        """What of a request differs from step to step."""
        if closing:
            return {"tool_choice": "none"}
        # A choice that forces a call is meant once: else the model could never answer.
        forced = self._choice.get("tool_choice") not in ("auto", "none", None)
        return {} if forced and self._spent.steps > 1 else self._choice

    def _answered(self, choice: Choice, closing: bool) -> DoneEvent:
        """The model called no tool: this is its answer."""
        message = choice.message
        reason = _CUT.get(choice.finish_reason or "", "max_steps" if closing else "answered")
        # What the API would refuse to see again stays out, and so does what moderation has cut.
        if reason == "content_filter" or not (message.content or message.reasoning_content):
            return self._done(reason if reason in _CUT else "empty")
        said = self._as_param(message)
        self._history.add(said)
        self._outbox.put(MessageEvent(copy.deepcopy(said)))
        return self._done(reason if message.content or reason in _CUT else "empty", copy.deepcopy(said))

    async def _broke_off(self, step: Step, partial: ChatCompletion | None) -> None:
        """Keep what is complete of an answer that broke off."""
        if partial is not None:
            self._note(partial)
        # What broke it off is what is raised, also where the same clock ends the waiting here.
        with suppress(APITimeoutError):
            await step.settle()

    def _note(self, completion: ChatCompletion) -> None:
        self._completion = completion
        if (event := self._spent.add(completion)) is not None:
            self._outbox.put(event)

    def _as_param(self, message: ChatCompletionMessage) -> Message:
        """A message of the model as it is put back."""
        param = message.to_param()
        if self._thinks and message.tool_calls and "reasoning" not in param:
            # Without the field a model that thinks refuses its own calls; an empty text will do.
            param.setdefault("reasoning_content", "")
        return param

    def _done(self, reason: DoneReason, message: Message | None = None) -> DoneEvent:
        spent = self._spent
        return DoneEvent(
            reason,
            message=message,
            messages=self._history.messages(),
            completion=self._completion,
            usage=spent.usage,
            cost=spent.cost if spent.steps else None,
            steps=spent.steps,
        )


def _cut_call(
    choice: Choice, step: Step, completion: ChatCompletion
) -> LengthFinishReasonError | ContentFilterFinishReasonError | None:
    """Why an answer with calls in it is none to go on with, if so."""
    if choice.finish_reason == "content_filter":
        return ContentFilterFinishReasonError(completion=completion, message=_FILTERED_CALL)
    if choice.finish_reason == "length" and not step.calls.are_whole(choice.message.tool_calls or []):
        return LengthFinishReasonError(completion=completion, message=_HALF_A_CALL)
    return None
