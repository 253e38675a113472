"""What a tool may be given beside its arguments, and what approves its calls."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ToolContext(Generic[T]):
    """Given to a parameter that is annotated `ToolContext` or `ToolContext[Deps]`; the model does not see it.

    Attributes:
        context: what was given as `context=` to the run, or to `Tool.call`: connections, the user, whatever it may be.
        call_id: the id of the call that is answered; empty where the tool was called without a run.
        tool_name: the name under which the model called the tool.
        step: which answer of the model made the call, 1 for the first; 0 without a run.
        messages: the conversation up to the call, for reading only; empty without a run.
    """

    context: T = field(repr=False)
    call_id: str = ""
    tool_name: str = ""
    step: int = 0
    messages: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call that a model wants to make, shown to what approves it.

    Attributes:
        name: of the tool.
        arguments: JSON, as the model wrote it.
        call_id: the id of the call.
        step: which answer of the model made the call, 1 for the first.
        context: what was given to the run as `context=`.
    """

    name: str
    arguments: str = field(repr=False)
    call_id: str = ""
    step: int = 0
    context: Any = field(default=None, repr=False)


Approval: TypeAlias = bool | str
"""True lets a call go on; False refuses it, and so does a text, which tells the model why."""

Approve: TypeAlias = Callable[[ToolRequest], Approval | Awaitable[Approval]]
"""Asked before a tool is run."""
