"""What a model is told of a call that gave no result, so that it can go on: short, and without a traceback."""

import traceback
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, TypeAlias

from moonshot_async.errors import ToolArgumentsError, ToolCancelledError, ToolTimeoutError
from moonshot_async.toolkit.functions.results import sendable

Detail: TypeAlias = Literal["none", "message", "traceback"]
"""How much a model is told of an exception: that there was one, its class and message, or its traceback, too."""

_MAX_CHARS: Final = 2000
_MAX_TRACEBACK_CHARS: Final = 6000
# How many tools, and how many exceptions of a group, are listed.
_LISTED: Final = 20
_PACKAGE: Final = str(Path(__file__).parents[1])
_UNKNOWN_EFFECT: Final = "Whether it took effect is not known."


def failure_text(error: BaseException, tool: str, detail: Detail = "message") -> str:
    """Tell that a call failed with an exception, whatever it is.

    Args:
        error: what `Tool.call` raised.
        tool: the name of the tool.
        detail: how much is told of an exception of the function. What is wrong with arguments, and that the time is
            over, is told always.
    """
    if isinstance(error, ToolArgumentsError):
        return sendable(f"Error: {error} Correct them and call it again.")
    if isinstance(error, (ToolTimeoutError, ToolCancelledError)):
        return f"Error: {error} {_UNKNOWN_EFFECT}"
    if detail == "none":
        return f"Error: {tool} failed."
    told = f"Error: {tool} failed with {_shown(error)}"
    if detail == "traceback":
        told += f"\n\n{_traceback_of(error)}"
    return sendable(told)


def unknown_tool_text(name: str, known: Collection[str]) -> str:
    """Tell that there is no tool of a name, and which there are, those with a similar name first."""
    if not known:
        return sendable(f"Error: there is no tool {_cut(name, 128)}: there are none at all. Answer without.")
    close = get_close_matches(name, known, n=_LISTED)
    names = [*close, *(other for other in known if other not in close)]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    hint = f" Do you mean {close[0]}?" if close else ""
    return sendable(f"Error: there is no tool {_cut(name, 128)}.{hint} There is: {', '.join(names[:_LISTED])}{more}.")


def refused_text(tool: str, reason: str | None = None) -> str:
    """Tell that a call was not approved, and so not made."""
    because = f": {_cut(reason, _MAX_CHARS)}" if reason else "."
    return sendable(f"Error: the call of {tool} was not approved, and not made{because}")


def cancelled_text(tool: str, *, begun: bool) -> str:
    """Tell that a call was cancelled, by the user or with the run."""
    if begun:
        return f"Error: the call of {tool} was cancelled before it ended. {_UNKNOWN_EFFECT}"
    return f"Error: the call of {tool} was cancelled before it began."


def _shown(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # classes of other people
        message = ""
    if isinstance(error, BaseExceptionGroup):
        message += ": " + "; ".join(_shown(one) for one in error.exceptions[:_LISTED])
    return _cut(f"{type(error).__name__}: {message}" if message else type(error).__name__, _MAX_CHARS)


def _traceback_of(error: BaseException) -> str:
    """Its traceback from the function on, the end of it where it is long."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    return text if len(text) <= _MAX_TRACEBACK_CHARS else "…" + text[-_MAX_TRACEBACK_CHARS:]


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[:chars] + "…"
