"""What clients that share connections share: whether they take calls, and which calls are in flight.

A call is in flight from before its first middleware until it returned; one that returns something open (a stream, the
body of a streaming response), until that was closed or dropped. Taking note of it costs a dictionary entry for each
call, and nothing for each chunk.
"""

import asyncio
import time
import weakref
from asyncio import current_task
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from types import TracebackType
from typing import Any, Final, TypeAlias

from moonshot_async.drain import CallInFlight, DrainReport, Wake, call_in, patience
from moonshot_async.errors import ClientClosedError
from moonshot_async.transports import closed_error, cut_error
from moonshot_async.transports.forks import after_fork
from moonshot_async.wire import ByteStream, Request

# The whole of which a call is a part.
_WHOLE: Final[ContextVar["Whole | None"]] = ContextVar("_WHOLE", default=None)
# A call in flight: its request, the task that waits for it (none once it has returned something open), how often that
# had been asked to cancel when the call began, and what it is a part of. A bare tuple is made in a tenth of the time.
_Entry: TypeAlias = "tuple[Request, asyncio.Task[Any] | None, int, Whole | None]"
# Attempts are remembered for this many calls more than there are; those beyond belong to no call.
_SPARE_ATTEMPTS: Final = 64


class Life:
    """The life of the connections that clients share. Serves several event loops and threads at once.

    Attributes:
        closed: whether they were closed.
        stopped: whether no new calls are taken: they were closed, or are being drained.
    """

    def __init__(self) -> None:
        self.closed = False
        self.stopped = False
        self._number = count(1).__next__
        self._calls: dict[int, _Entry] = {}
        # By the moment at which their call started; only of those that were sent again.
        self._attempts: dict[float, int] = {}
        self._cut: dict[int, tuple[asyncio.Task[Any], int]] = {}
        self._open: dict[int, weakref.ref[_HeldBody]] = {}
        self._drains: set[Wake] = set()
        after_fork(self)

    def begin(self, request: Request) -> int:
        """Take note of a call that this task makes; returns its number, for `end`.

        Raises:
            ClientClosedError: no new calls are taken.
        """
        task = current_task()
        assert task is not None, "a coroutine runs in a task"
        number = self._number()
        self._calls[number] = (request, task, task.cancelling(), _WHOLE.get())
        # Looked at last: whoever stops it in another thread either finds the call or is seen here.
        if self.stopped:
            try:
                self.check(request)
            except ClientClosedError:
                self.end(number)
                raise
        return number

    def end(self, number: int) -> None:
        """A call has ended; may be repeated, and said by any thread."""
        entry = self._calls.pop(number, None)
        if self._attempts and entry is not None:
            self._attempts.pop(entry[0].started or 0.0, None)
        if self.stopped:
            self._ended(number)

    def check(self, request: Request) -> None:
        """Refuse a new call, where none is taken.

        Raises:
            ClientClosedError: so it is.
        """
        if self.closed:
            raise closed_error(request)
        if self.stopped and not ((whole := _WHOLE.get()) is not None and whole.goes_on(self)):
            raise ClientClosedError(
                message="Not sent: the client is being drained, and takes no new calls.", request=request
            )

    def held(self, number: int, body: ByteStream) -> ByteStream:
        """The body of a call that returns while it is open: in flight until it is closed, or dropped."""
        self.hand_over(number)
        held = _HeldBody(body, self, number)
        self._open[number] = weakref.ref(held)
        return held

    def let_go(self, number: int) -> None:
        """A body was closed or dropped; may be repeated, and said by any thread."""
        self._open.pop(number, None)
        self.end(number)

    def hand_over(self, number: int) -> None:
        """A call goes on without the task that made it: closing shall not cancel that any more."""
        # Not there, if it was closed meanwhile from another thread.
        if (entry := self._calls.get(number)) is not None:
            request, _, cancelling, whole = entry
            self._calls[number] = (request, None, cancelling, whole)

    def sent_again(self, request: Request) -> None:
        """Remember in which attempt a call is."""
        if request.started is not None:
            self._attempts[request.started] = request.attempt
            if len(self._attempts) > len(self._calls) + _SPARE_ATTEMPTS:
                started = {request.started for request, *_ in self._calls.copy().values()}
                self._attempts = {key: value for key, value in self._attempts.copy().items() if key in started}

    def was_cut(self, number: int) -> bool:
        """Whether closing has cancelled this call, and nobody else has; then its cancellation is taken back."""
        if (cut := self._cut.pop(number, None)) is None:
            return False
        task, cancelling = cut
        return task.uncancel() <= cancelling

    @property
    def in_flight(self) -> int:
        """How many calls have not ended."""
        return len(self._told())

    def close(self) -> None:
        """Take no more calls, and end those that wait, whatever they wait for; see `cut_bodies` for what they returned.

        Needs no running event loop.
        """
        if self.closed:
            return
        self.closed = self.stopped = True
        if self._drains:
            left = self._told()
            for wake in self._drains.copy():
                wake.left = left
        here = _loop_here()
        mine = None if here is None else current_task(here)
        for number, (_, task, _, _) in self._living().items():
            if task is None:
                self.end(number)
            elif task.get_loop() is not here:
                call_in(task.get_loop(), self._cut_off, number)
            elif task is not mine:
                self._cut_off(number)

    def cut_bodies(self) -> None:
        """Close what was left open, after its transport was: what the layers hold for it is free for other clients."""
        here = _loop_here()
        # Those that another thread is dropping are gone.
        for held in filter(None, [body() for body in self._open.copy().values()]):
            if held.loop is here or not held.loop.is_running():
                held.cut()
            else:
                call_in(held.loop, held.cut)

    def disown(self) -> None:
        """Forget the calls of the parent, in a child that was forked: nobody will end them here."""
        for calls in (self._calls, self._attempts, self._cut, self._drains, self._open):
            calls.clear()

    async def drain(self, timeout: float | None) -> DrainReport:
        """Take no more calls, and wait until those in flight have ended, for `timeout` seconds at most."""
        seconds = patience(timeout)
        self.stopped = True
        wake = Wake()
        # Before it is looked whether there are any: a call that ends in between says so.
        self._drains.add(wake)
        before = self._told()
        try:
            if before:
                await wake.wait(seconds)
        finally:
            self._drains.discard(wake)
        left = self._told() if wake.left is None else wake.left
        return DrainReport(len(before.keys() - left.keys()), tuple(left.values()))

    def _cut_off(self, number: int) -> None:
        """Cancel the task of a call, in its event loop."""
        if (entry := self._calls.get(number)) is not None:
            _, task, cancelling, _ = entry
            if task is not None:
                self._cut[number] = task, cancelling
                task.cancel()

    def _ended(self, number: int) -> None:
        if (cut := self._cut.pop(number, None)) is not None:
            # A layer kept the cancellation to itself.
            cut[0].uncancel()
        if not self._calls:
            for wake in self._drains.copy():
                wake.say()

    def _living(self) -> dict[int, _Entry]:
        """The calls in flight, without those whose event loop was closed under them: nobody will end them."""
        # A copy in one step: other threads, and bodies that are dropped, change the original.
        calls = self._calls.copy()
        for number, (_, task, _, _) in list(calls.items()):
            if task is not None and task.get_loop().is_closed():
                del calls[number]
                self._calls.pop(number, None)
        return calls

    def _told(self) -> dict[int, CallInFlight]:
        """The calls in flight as reports have them, the oldest first; parts are told of by their whole."""
        now = time.monotonic()
        told: dict[int, CallInFlight] = {}
        for number, (request, _, _, whole) in self._living().items():
            if whole is None or not whole.goes_on(self):
                started = now if request.started is None else request.started
                attempt = self._attempts.get(started, request.attempt)
                told[number] = CallInFlight(request.method, request.path, now - started, attempt, request.stream)
        return told


class Whole:
    """One call to the caller that takes several requests: counted once, and while drained let through to its end.

    Its requests are made in a `with` of it, which ends it; or each in one of `part`, and then it ends with `end` or
    when it is dropped.

    Raises:
        ClientClosedError: no new calls are taken.
    """

    def __init__(self, life: Life, request: Request) -> None:
        self._life = life
        self._request = request
        self._ended = True
        # Its parts have the tasks that closing ends.
        self._number = life.begin(request)
        life.hand_over(self._number)
        self._ended = False

    def goes_on(self, life: Life) -> bool:
        """Whether calls that are made in its name belong to it."""
        return self._life is life and not self._ended

    @contextmanager
    def part(self) -> Iterator[None]:
        """Calls that are begun inside are parts of it, and closing ends whatever is waited for; never around a `yield`.

        Raises:
            ClientClosedError: the client was closed.
        """
        token = _WHOLE.set(self)
        try:
            number = self._life.begin(self._request)
            try:
                yield
            except asyncio.CancelledError:
                if not self._life.was_cut(number):
                    raise
            else:
                return
            finally:
                self._life.end(number)
        finally:
            try:
                _WHOLE.reset(token)
            except ValueError:
                pass  # A coroutine that was dropped is closed in whatever context there is.
        raise closed_error(self._request)

    def __enter__(self) -> None:
        self._entered = self.part()
        self._entered.__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._entered.__exit__(exc_type, exc, traceback)
        finally:
            self.end()

    def end(self) -> None:
        """It has ended; may be repeated."""
        if not self._ended:
            self._ended = True
            self._life.end(self._number)

    def __del__(self) -> None:
        self.end()


class _HeldBody:
    """An open body, whose call ends when it is closed or dropped. Reading goes to the body itself.

    Attributes:
        loop: the event loop in which it is read.
    """

    __slots__ = ("__weakref__", "_body", "_life", "_number", "loop", "read")

    def __init__(self, body: ByteStream, life: Life, number: int) -> None:
        self._body = body
        self._life = life
        self._number = number
        self.loop = asyncio.get_running_loop()
        self.read = body.read

    def cut(self) -> None:
        """Close it because the client was closed: whoever reads on is told so."""
        # Some bodies that were closed only end, and what came would look whole.
        self.read = _read_cut
        self.close()

    def close(self) -> None:
        self._body.close()
        self._life.let_go(self._number)

    def __del__(self) -> None:
        self._life.let_go(self._number)


async def _read_cut(deadline: float | None = None) -> bytes:
    raise cut_error()


def _loop_here() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
