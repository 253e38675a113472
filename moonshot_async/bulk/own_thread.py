"""A thread that does one thing after the other: a journal, and what yields requests, each belong to one thread."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
_Job: TypeAlias = "tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]"


class OwnThread:
    """A thread for what blocks, made for the event loop that runs. Nobody has to wait for it: it is a daemon.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        Thread(target=_work, args=(self._loop, self._jobs), name=name, daemon=True).start()

    def do(self, function: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Have something done when all before it is; what is given up while it waits is done all the same."""
        told: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((told, function, args))
        return told

    def end(self) -> None:
        """Let the thread end once it has done what it was given."""
        self._jobs.put(None)


def _work(loop: asyncio.AbstractEventLoop, jobs: "SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        told, function, args = job
        result: Any = None
        problem: BaseException | None = None
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001  # it is raised where the job is awaited
            problem = error
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_tell, told, result, problem)
        # Until the next job comes nothing is held of this one.
        del job, told, function, args, result, problem


def _tell(told: "asyncio.Future[Any]", result: Any, problem: BaseException | None) -> None:
    if told.done():
        return
    if problem is None:
        told.set_result(result)
    else:
        told.set_exception(problem)
