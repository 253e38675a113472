"""One call of a user's function: in time, in its place, and without taking others with it."""

import asyncio
import inspect
import math
import time
from collections.abc import Callable
from typing import Any

from moonshot_async.clocks import CONTEXT_DEADLINE
from moonshot_async.errors import APITimeoutError, ToolCancelledError, ToolTimeoutError
from moonshot_async.threads import in_daemon_thread


async def run_function(function: Callable[[], Any], *, threaded: bool, tool: str, timeout: float | None) -> Any:
    """Call a function and wait for its result.

    One that is async runs in this task, and is cancelled when its time is over. Another one runs in a thread of its
    own, with a copy of the context, and goes on there, unheard, when nobody waits for it any more.

    Args:
        function: takes nothing.
        threaded: whether it may block, and so runs in a thread; what it returns there is awaited here if it can be.
        tool: the name of the tool, for messages.
        timeout: in seconds; None for none.

    Raises:
        ToolTimeoutError: `timeout` passed. A `TimeoutError` of the function is raised as it is.
        APITimeoutError: the deadline of the context passed.
        ToolCancelledError: the function ended with `CancelledError`, and nobody had cancelled this task.
    """
    # anyio is imported late: most programs have no tools.
    import anyio

    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    if task.cancelling():
        # Whoever cancelled the task before may not have been heard yet; it is not to be taken for the function.
        await asyncio.sleep(0)
    cancelled, now, deadline = task.cancelling(), time.monotonic(), CONTEXT_DEADLINE.get()
    due = min(math.inf if timeout is None else now + timeout, math.inf if deadline is None else deadline)
    if due > now:
        with anyio.move_on_after(None if due == math.inf else due - now):
            try:
                return await _result(function, threaded)
            except asyncio.CancelledError:
                if task.cancelling() > cancelled:
                    raise
            raise ToolCancelledError(tool=tool)
    if due != deadline and timeout is not None:
        raise ToolTimeoutError(tool=tool, seconds=timeout)
    raise APITimeoutError(message=f"The deadline ran out while the tool {tool} was at work.", clock="deadline")


async def _result(function: Callable[[], Any], threaded: bool) -> Any:
    result = await in_daemon_thread(function) if threaded else function()
    return await result if inspect.isawaitable(result) else result


def blocks(function: Any) -> bool:
    """Whether calling a function does its work at once, and so is not for the event loop."""
    return not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__))
