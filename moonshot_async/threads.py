"""Work that may block for ever, in threads that nobody has to wait for.

The threads of asyncio's executor and of anyio are waited for: by the event loop at its end, or by the interpreter. One
that hangs, in a lookup of a name or in a file that is a pipe, would keep a program from ending whose call has long
timed out.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(function: Callable[..., T], *args: Any) -> T:
    """Call `function` in a thread of its own; when the task is cancelled it goes on there, and nobody hears of it."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()
    work = (loop, told, copy_context(), function, args)
    Thread(target=_work, args=work, name="moonshot_async", daemon=True).start()
    del work
    try:
        return await told
    finally:
        # An exception whose traceback leads to what holds it would stay until a garbage collection.
        del told


def _work(
    loop: asyncio.AbstractEventLoop,
    told: "asyncio.Future[T]",
    context: Context,
    function: Callable[..., T],
    args: tuple[Any, ...],
) -> None:
    result: T | None = None
    problem: BaseException | None = None
    try:
        result = context.run(function, *args)
    except StopIteration:
        problem = RuntimeError("StopIteration was raised")
    except BaseException as error:  # noqa: BLE001  # it is raised where the call is awaited
        problem = error
    # The loop may be closed by now.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_tell, told, result, problem)
    # As above.
    del told, problem


def _tell(told: "asyncio.Future[Any]", result: Any, problem: BaseException | None) -> None:
    if told.done():
        return
    if problem is None:
        told.set_result(result)
    else:
        told.set_exception(problem)
