"""`ToolRun`: what a program holds of a run, and reads."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from decimal import Decimal
from types import TracebackType
from typing import Any

from moonshot_async.clocks import CONTEXT_DEADLINE, until
from moonshot_async.errors import APITimeoutError
from moonshot_async.toolkit.functions.loop.events import DoneEvent, RunEvent
from moonshot_async.toolkit.functions.loop.history import History, Message
from moonshot_async.toolkit.functions.loop.limits import Spent
from moonshot_async.toolkit.functions.loop.loop import Loop, Prepare
from moonshot_async.toolkit.functions.loop.outbox import Outbox
from moonshot_async.toolkit.functions.loop.running import Running
from moonshot_async.types.chat import Usage

# How much longer than the deadline the loop is given, which keeps to it itself and knows better what it waited for.
_GRACE = 0.2


class ToolRun(AsyncIterator[RunEvent]):
    """A run, which begins with the first event that is asked for: `async for event in run`, or `done = await run`.

    One task reads it. It is ended by `aclose`, by the end of `async with`, by dropping it, and by cancelling whoever
    reads it: then what still runs is cancelled, and answered so in `messages`.
    """

    def __init__(self, loop: Loop, history: History, running: Running, spent: Spent, outbox: Outbox) -> None:
        self._loop = loop
        self._history = history
        self._running = running
        self._spent = spent
        self._outbox = outbox
        self._task: asyncio.Task[None] | None = None
        self._reading = False
        self._closed = False
        self._done: DoneEvent | None = None

    @property
    def messages(self) -> list[Message]:
        """The conversation as it stands: at every moment a list that the API accepts, fit for JSON and another run.

        A new list each time. While tools run it has answers for those that have ended, and for each of the others one
        that says that there is no result: what would be known if the run ended now.
        """
        return self._history.messages()

    @property
    def done(self) -> DoneEvent | None:
        """How the run has ended; None before that, and for one that was closed or has raised."""
        return self._done

    @property
    def steps(self) -> int:
        """How many requests were sent so far."""
        return self._spent.steps

    @property
    def usage(self) -> Usage | None:
        """Tokens of all steps so far; None where nothing is known of them."""
        return self._spent.usage

    @property
    def cost(self) -> Decimal | None:
        """What all steps cost so far, in the currency of the account; None where it is not known."""
        return self._spent.cost

    def cancel(self, call_id: str) -> bool:
        """Cancel one call, wherever it is on its way; the model is told so, and the run goes on.

        Args:
            call_id: from `tool.started`, or from the messages.

        Returns:
            Whether there was something to cancel.
        """
        return self._running.cancel(call_id)

    def prepare_with(self, prepare: Prepare) -> None:
        """Have somebody look at each request but the first before it is sent, who may shorten the conversation."""
        self._loop.prepare = prepare

    def __aiter__(self) -> "ToolRun":
        return self

    async def __anext__(self) -> RunEvent:
        if self._task is None and not self._closed:
            # In the context of whoever reads, whose deadline the loop and its tools keep to.
            self._task = asyncio.create_task(self._loop.run(), name="moonshot_async: the steps of a run")
            # If somebody else cancels it, perhaps before its first step, nobody shall wait for ever.
            self._task.add_done_callback(self._outbox.broke_off)
        if self._reading:
            raise RuntimeError("this run is being read by another task: one reads, and hands on what it gets")
        self._reading = True
        try:
            event = await until(CONTEXT_DEADLINE.get(), self._outbox.get(), _late, grace=_GRACE)
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._reading = False
        if event is None:
            await self._ended()
            raise StopAsyncIteration
        if isinstance(event, DoneEvent):
            self._done = event
            await self._ended()
        return event

    def __await__(self) -> Generator[Any, None, DoneEvent]:
        return self.until_done().__await__()

    async def until_done(self) -> DoneEvent:
        """Read the rest; gives how the run ended.

        Raises:
            RuntimeError: it was closed before.
            Exception: whatever ended it.
        """
        async for _ in self:
            pass
        if self._done is None:
            raise RuntimeError("the run ended before it was done: it was closed, or has raised")
        return self._done

    async def aclose(self) -> None:
        """End the run: cancel what still runs, and wait for its end. May be repeated."""
        self._outbox.close()
        if not self._closed:
            self._closed = True
            if self._task is not None:
                self._task.cancel()
        await self._ended()

    async def __aenter__(self) -> "ToolRun":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ended(self) -> None:
        """Wait until no task is left."""
        if self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    def __del__(self) -> None:
        task = self._task
        if task is not None and not task.done() and not self._closed:
            # Whoever drops it may be in another thread, or the loop may be over.
            with suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(_drop, task, self._outbox)

    def __repr__(self) -> str:
        state = "done" if self._done else "closed" if self._closed else "begun" if self._task else "not begun"
        return f"<ToolRun: {state}, {self.steps} steps>"


def _drop(task: asyncio.Task[None], outbox: Outbox) -> None:
    """End a run that nobody reads any more; what ends it, which leads back to where it would be kept, is not kept."""
    outbox.close()
    task.cancel()


def _late() -> APITimeoutError:
    return APITimeoutError(message="The deadline ran out before the next event of the run.", clock="deadline")
