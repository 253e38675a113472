"""A question whose tools are functions: `run_tools` asks and runs them, and each of its requests is made to fit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.errors import ContextLengthExceededError
from moonshot_async.toolkit.conversation.messages import Message, checked_message, with_reasoning
from moonshot_async.toolkit.conversation.questions import Question, check_whole
from moonshot_async.toolkit.conversation.replies import Reply, told
from moonshot_async.toolkit.conversation.tokens import Entry
from moonshot_async.types.chat import Usage
from moonshot_async.types.encoding import NOT_GIVEN

if TYPE_CHECKING:
    from moonshot_async.toolkit.functions.loop import ToolRun

# Reasons for which a run may end without anything to keep.
_NOTHING: Final = ("empty", "content_filter")


class Draft:
    """What a run adds to the draft of a question. It leads to no run, so that one which is dropped ends.

    Args:
        question: its step has been made to fit.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        # How many of the messages of the run are in the draft.
        self._seen = len(question.step.history.messages())
        self._number = 0
        self._prompts: dict[int, Usage | None] = {}
        # Whether the answer that arrives took several requests, and whether one of them told no usage.
        self._resumed = self._untold = False
        self._own = False
        self.answers = 0
        self.priced = True

    def note(self, event: Any) -> None:
        """Take note of what an answer took."""
        if event.type == "stream.resumed":
            self._resumed, self._untold = True, self._untold or event.usage is None
        elif event.type == "usage":
            usage = told(event.usage)
            cost = None if usage is None or self._untold else event.cost
            self._question.spent.add(usage, cost)
            self.answers += 1
            self.priced = self.priced and cost is not None
            # What the usage says of several requests is no size of a prompt.
            self._prompts[event.step] = None if self._resumed else usage
            self._resumed = self._untold = False

    async def prepare(self, messages: list[Message]) -> Mapping[str, Any]:
        """Make the next request of the run fit; see `Prepare` in `functions/loop/loop.py`.

        Raises:
            ContextWindowError: the turn has become too long.
        """
        question, step = self._question, self._question.step
        if not self._own:
            # Entries of its own: the run may fail after all.
            self._own, step.history = True, step.history.twin()
        self.take(messages)
        # No frame that waits holds what was said.
        del messages
        await step.fit()
        params = question.asking.of_a_run(step.params())
        self._seen = len(params["messages"])
        return {name: params.get(name, NOT_GIVEN) for name in ("messages", "model", "max_completion_tokens")}

    def take(self, messages: Sequence[Message]) -> None:
        """Append what is new: each answer of the model has told what its prompt counted."""
        step, thinks = self._question.step, self._question.asking.models.may_think()
        for message in messages[self._seen :]:
            checked = checked_message(message)
            if checked["role"] == "assistant":
                self._number += 1
                step.append(with_reasoning(checked) if thinks else checked, self._prompts.get(self._number))
            else:
                step.history.append(Entry.of(checked))


class Run:
    """The events of `run_tools`."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._run: ToolRun | None = None
        self._draft: Draft | None = None
        self.reply: Reply | None = None

    async def open(self) -> None:
        from moonshot_async.toolkit.functions.loop import run_tools

        asking, step = self._question.asking, self._question.step
        await step.fit()
        self._draft = Draft(self._question)
        self._run = run_tools(asking.client_of(step.options), **asking.of_a_run(step.params()))
        self._run.prepare_with(self._draft.prepare)

    async def next(self) -> Any:
        assert self._run is not None, "it was opened"
        try:
            event = await anext(self._run)
        except ContextLengthExceededError as error:
            # Later steps have done something that is not to be done again, but the next question is to know it.
            if not self._question.step.learn(error) or self._run.steps > 1:
                raise
            event = None
        if event is None:
            await self._run.aclose()
            await self.open()
            event = await anext(self._run)
        assert self._draft is not None, "it was opened"
        self._draft.note(event)
        if event.type == "done":
            self._end(event, self._draft)
        return event

    async def aclose(self) -> None:
        if self._run is not None:
            await self._run.aclose()

    def _end(self, done: Any, draft: Draft) -> None:
        """Keep the messages of a run."""
        question, completion = self._question, done.completion
        for _ in range(done.steps - draft.answers):
            question.spent.add(None, None)
        assert completion is not None, "no call stood open, so something was asked"
        if done.reason in _NOTHING:
            check_whole(completion)
        draft.take(done.messages)
        question.keep()
        stopped = None if done.reason == "answered" else done.reason
        priced = draft.priced and draft.answers == done.steps
        self.reply = Reply(completion, told(done.usage), done.cost if priced else None, stopped)
