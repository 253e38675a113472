"""What a run of tools tells, each event known by its `type`.

Text and reasoning come in the events that `client.chat.completions.stream` has for them. No `repr` shows arguments,
results or messages.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from moonshot_async.chat_events import ContentDeltaEvent, ReasoningDeltaEvent, StreamResumedEvent
from moonshot_async.types.chat import ChatCompletion, Usage

FailureReason: TypeAlias = Literal[
    "raised", "timed_out", "cancelled", "refused", "bad_arguments", "unknown_tool", "not_run"
]
"""Why a call of a tool has no result.

`raised`: the tool raised. `timed_out`: it took too long. `cancelled`: the user cancelled the call, or the tool was
cancelled from within. `refused`: it was not approved. `bad_arguments`: the arguments do not fit the function.
`unknown_tool`: there is no such tool. `not_run`: a bound of the run was reached.
"""

DoneReason: TypeAlias = Literal[
    "answered",
    "max_steps",
    "max_tokens",
    "max_cost",
    "repeated_calls",
    "unknown_usage",
    "length",
    "content_filter",
    "empty",
]
"""Why a run has ended.

`answered`: the model answered without calling a tool. `max_steps`, `max_tokens`, `max_cost`: a bound was reached.
`repeated_calls`: the model made one call over and over. `unknown_usage`: the server did not tell what a step cost,
so that `max_tokens` or `max_cost` cannot be kept. `length`, `content_filter`: the answer was cut, by
`max_completion_tokens` or by moderation. `empty`: the model said nothing.
"""


class ToolStartedEvent:
    """A tool has begun to run, perhaps while the answer that calls it still arrives.

    Attributes:
        call_id: the id of the call, as it stands in the messages.
        name: of the tool.
        arguments: JSON, as the model wrote it.
        step: which answer of the model made the call, 1 for the first of this run; 0 where it stood open in the
            messages that were given.
    """

    __slots__ = ("_cancel", "arguments", "call_id", "name", "step")
    type: Literal["tool.started"] = "tool.started"

    def __init__(self, call_id: str, name: str, arguments: str, step: int, cancel: Callable[[str], bool]) -> None:
        self.call_id = call_id
        self.name = name
        self.arguments = arguments
        self.step = step
        self._cancel = cancel

    def cancel(self) -> bool:
        """Cancel this call alone; the model is told so. False where it has ended already."""
        return self._cancel(self.call_id)

    def __repr__(self) -> str:
        return f"ToolStartedEvent({self.name!r}, {self.call_id!r})"


class ToolFinishedEvent:
    """A tool has returned.

    Attributes:
        call_id, name, step: see `ToolStartedEvent`.
        content: what the model is told.
        seconds: how long it took.
    """

    __slots__ = ("call_id", "content", "name", "seconds", "step")
    type: Literal["tool.finished"] = "tool.finished"

    def __init__(self, call_id: str, name: str, step: int, content: str, seconds: float) -> None:
        self.call_id = call_id
        self.name = name
        self.step = step
        self.content = content
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"ToolFinishedEvent({self.name!r}, {self.call_id!r}, seconds={self.seconds:.3f})"


class ToolFailedEvent:
    """A call has no result; the model is told so, and the run goes on.

    Attributes:
        call_id, name, step: see `ToolStartedEvent`. One that was never begun has had no such event.
        content: what the model is told.
        reason: why; see `FailureReason`.
        error: what was raised; None where nothing was.
        seconds: how long it took; 0.0 where it was not begun.
    """

    __slots__ = ("call_id", "content", "error", "name", "reason", "seconds", "step")
    type: Literal["tool.failed"] = "tool.failed"

    def __init__(
        self,
        call_id: str,
        name: str,
        step: int,
        content: str,
        reason: FailureReason,
        error: Exception | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.call_id = call_id
        self.name = name
        self.step = step
        self.content = content
        self.reason: FailureReason = reason
        self.error = error
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"ToolFailedEvent({self.name!r}, {self.call_id!r}, {self.reason!r})"


class MessageEvent:
    """A message was added to the conversation: the model's, or the answer to a call. Plain data, fit for JSON."""

    __slots__ = ("message",)
    type: Literal["message"] = "message"

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"MessageEvent({self.message.get('role')!r})"


class StepUsageEvent:
    """What a step cost, and the run so far. Tools that cost money themselves are in no sum, but for `$web_search`.

    Attributes:
        step: which one, from 1.
        usage: tokens of the step.
        total: tokens of all steps.
        cost: of the step, in the currency of the account; None where the catalog knows no price.
        total_cost: of all steps; None where one of them has none.
    """

    __slots__ = ("cost", "step", "total", "total_cost", "usage")
    type: Literal["usage"] = "usage"

    def __init__(self, step: int, usage: Usage, total: Usage, cost: Decimal | None, total_cost: Decimal | None) -> None:
        self.step = step
        self.usage = usage
        self.total = total
        self.cost = cost
        self.total_cost = total_cost

    def __repr__(self) -> str:
        return f"StepUsageEvent(step={self.step}, total_tokens={self.usage.total_tokens}, cost={self.cost})"


class DoneEvent:
    """The run has ended; always the last event.

    Attributes:
        reason: why; see `DoneReason`.
        message: the model's answer, as it stands at the end of `messages`; None where the run ended without one.
        messages: the whole conversation, fit for JSON and for another run.
        completion: the last answer of the API; None where no request was sent.
        usage: tokens of all steps; None where nothing is known of them.
        cost: of all steps, in the currency of the account; None where it is not known.
        steps: how many requests were sent.
    """

    __slots__ = ("completion", "cost", "message", "messages", "reason", "steps", "usage")
    type: Literal["done"] = "done"

    def __init__(
        self,
        reason: DoneReason,
        *,
        message: dict[str, Any] | None,
        messages: list[dict[str, Any]],
        completion: ChatCompletion | None,
        usage: Usage | None,
        cost: Decimal | None,
        steps: int,
    ) -> None:
        self.reason: DoneReason = reason
        self.message = message
        self.messages = messages
        self.completion = completion
        self.usage = usage
        self.cost = cost
        self.steps = steps

    @property
    def text(self) -> str:
        """The text of the answer; empty where there is none. It is whole where `reason` is `answered`."""
        return str((self.message or {}).get("content") or "")

    def __repr__(self) -> str:
        return f"DoneEvent({self.reason!r}, steps={self.steps})"


RunEvent: TypeAlias = (
    ReasoningDeltaEvent
    | ContentDeltaEvent
    | StreamResumedEvent
    | ToolStartedEvent
    | ToolFinishedEvent
    | ToolFailedEvent
    | MessageEvent
    | StepUsageEvent
    | DoneEvent
)
