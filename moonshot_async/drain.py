"""Waiting until the calls in flight have ended, and how that went."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from moonshot_async.clocks import CONTEXT_DEADLINE
from moonshot_async.errors import ConfigurationError


class CallInFlight(msgspec.Struct, frozen=True):
    """A call that had not ended when a drain did.

    Attributes:
        method: the HTTP method.
        path: the path of its URL, without the query.
        age: seconds since the call began.
        attempt: in which attempt it is, 1 for the first.
        stream: whether its answer is read piece by piece.
    """

    method: str
    path: str
    age: float
    attempt: int
    stream: bool


class DrainReport(msgspec.Struct, frozen=True):
    """How a drain went; true if nothing was left.

    Attributes:
        finished: how many calls ended while it waited, well or not.
        left: those that had not, the oldest first.
    """

    finished: int
    left: tuple[CallInFlight, ...]

    @property
    def complete(self) -> bool:
        """Whether every call in flight has ended."""
        return not self.left

    def __bool__(self) -> bool:
        return not self.left


class Wake:
    """Wakes one who waits, in the event loop that it was made in, from any thread.

    Attributes:
        left: what was in flight when the client was closed, by its number, if that ended the waiting.
    """

    def __init__(self) -> None:
        self.left: dict[int, CallInFlight] | None = None
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self, seconds: float | None) -> None:
        """Wait until it was said, for some seconds at most."""
        await asyncio.wait([self._woken], timeout=seconds)

    def say(self) -> None:
        """Say it."""
        call_in(self._woken.get_loop(), self._said)

    def _said(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


def patience(timeout: float | None) -> float | None:
    """How long a drain may take, in seconds; a deadline around it counts, too.

    Raises:
        ConfigurationError: it is no number of seconds.
    """
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0):
        raise ConfigurationError(f"drain: timeout must be 0 or more seconds, or None to wait, not {timeout!r}")
    due = CONTEXT_DEADLINE.get()
    if due is None:
        return timeout
    left = max(0.0, due - time.monotonic())
    return left if timeout is None else min(left, timeout)


def call_in(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Have an event loop call something soon, unless it was closed: what ran in it is no more."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass
