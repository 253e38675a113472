"""Calls on their way to an answer: each in a task of its own, so many at once, none of them able to harm another."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from moonshot_async.clocks import time_left
from moonshot_async.errors import APITimeoutError, ToolArgumentsError, ToolCancelledError, ToolTimeoutError
from moonshot_async.toolkit.functions.answers import (
    Detail,
    cancelled_text,
    failure_text,
    refused_text,
    unknown_tool_text,
)
from moonshot_async.toolkit.functions.context import Approve, ToolContext
from moonshot_async.toolkit.functions.loop.events import (
    FailureReason,
    RunEvent,
    ToolFailedEvent,
    ToolFinishedEvent,
    ToolStartedEvent,
)
from moonshot_async.toolkit.functions.loop.history import Answer, Message
from moonshot_async.toolkit.functions.loop.repeats import Repeats
from moonshot_async.toolkit.functions.loop.runners import Runner, Toolbox, asked, request_of
from moonshot_async.toolkit.functions.results import result_text

_REASONS: Final[tuple[tuple[type[Exception], FailureReason], ...]] = (
    (ToolArgumentsError, "bad_arguments"),
    (ToolTimeoutError, "timed_out"),
    (ToolCancelledError, "cancelled"),
)


class Rules(msgspec.Struct, frozen=True):
    """How calls are run.

    Attributes:
        context: for tools that want one.
        approve: what is asked before a call, where its tool has nothing of its own.
        parallel: how many run at once.
        timeout: seconds for a call, where its tool has nothing of its own; None for no limit.
        show_tracebacks: whether the model is told where a tool raised.
    """

    context: Any
    approve: Approve | None
    parallel: int
    timeout: float | None
    show_tracebacks: bool


class Running:
    """The calls of a run that have begun.

    Args:
        toolbox: what runs them.
        rules: how.
        repeats: counts them.
        so_far: the messages before the answer that is open.
        tell: takes the events.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        rules: Rules,
        repeats: Repeats,
        so_far: Callable[[], tuple[Message, ...]],
        tell: Callable[[RunEvent], None],
    ) -> None:
        self._toolbox = toolbox
        self._rules = rules
        self._repeats = repeats
        self._so_far = so_far
        self._tell = tell
        self._slots = asyncio.Semaphore(rules.parallel)
        # People are asked one question after the other.
        self._asking = asyncio.Lock()
        self._jobs: dict[str, _Job] = {}
        self._stopped = False

    def begin(self, answer: Answer) -> None:
        """Run a call, as soon as there is a place; what comes of it goes into `answer` and into events."""
        call = answer.call
        count = self._repeats.add(call)
        runner = self._toolbox.get(call.name)
        reminder = self._repeats.reminder(call, count)
        if self._repeats.too_many(count):
            self._failed(answer, "not_run", self._repeats.refusal(call, count))
        elif runner is None:
            self._failed(answer, "unknown_tool", unknown_tool_text(call.name, self._toolbox.names) + reminder)
        else:
            job = _Job(answer, runner, reminder)
            self._jobs[call.id] = job
            job.task = asyncio.create_task(self._work(job), name=f"moonshot_async: the tool {call.name}")
            # One that is cancelled before its first step never gets to say so.
            job.task.add_done_callback(lambda _: self._ended(job))

    def skip(self, answer: Answer, why: str) -> None:
        """Answer a call that is not to be run."""
        self._failed(answer, "not_run", why)

    def cancel(self, call_id: str) -> bool:
        """Cancel one call; whether it was still to be cancelled."""
        job = self._jobs.get(call_id)
        if job is None or job.answer.message is not None or job.task is None:
            return False
        job.cancelled = True
        return job.task.cancel()

    async def finish(self) -> None:
        """Wait until all calls are answered.

        Raises:
            APITimeoutError: the deadline of the caller came first.
            BaseException: a tool raised what is no `Exception`.
        """
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            left = time_left()
            _, pending = await asyncio.wait(tasks, timeout=None if left == float("inf") else max(0.0, left))
            if pending:
                raise APITimeoutError(message="The deadline ran out while tools were running.", clock="deadline")
        self._jobs.clear()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def stop(self) -> None:
        """Cancel what still runs, and wait for its end; those calls stay without an answer."""
        self._stopped = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                # An exception that nobody looks at is complained about.
                task.exception()

    async def _work(self, job: "_Job") -> None:
        try:
            content = await self._result(job)
        except asyncio.CancelledError:
            if self._stopped or not job.cancelled:
                raise
            self._cancelled(job)
        except _RefusedError as refused:
            self._failed(job.answer, "refused", refused_text(job.answer.call.name, str(refused) or None))
        except Exception as error:  # noqa: BLE001  # the model is told, and the other calls go on
            self._raised(job, error)
        else:
            call = job.answer.call
            content += "" if job.runner.verbatim else job.reminder
            job.answer.says(content)
            self._tell(ToolFinishedEvent(call.id, call.name, call.step, content, job.seconds))

    async def _result(self, job: "_Job") -> str:
        call, runner, rules = job.answer.call, job.runner, self._rules
        approve = rules.approve if runner.approve is None else runner.approve
        if approve:
            async with self._asking:
                _check(await asked(approve, request_of(call, rules.context)))
        async with self._slots:
            job.answer.begun = True
            job.started = asyncio.get_running_loop().time()
            self._tell(ToolStartedEvent(call.id, call.name, call.arguments, call.step, self.cancel))
            context = ToolContext(rules.context, call.id, call.name, call.step, self._so_far())
            limit = rules.timeout if runner.timeout is None else runner.timeout
            try:
                async with asyncio.timeout(limit) as clock:
                    return result_text(await runner.run(call, context), call.name, None)
            except TimeoutError:
                # One of the tool's own is an error like any other.
                if limit is None or not clock.expired():
                    raise
            raise ToolTimeoutError(tool=call.name, seconds=limit)

    def _raised(self, job: "_Job", error: Exception) -> None:
        reason: FailureReason = "raised"
        for kind, named in _REASONS:
            if isinstance(error, kind):
                reason = named
        detail: Detail = "traceback" if self._rules.show_tracebacks else "message"
        content = failure_text(error, job.answer.call.name, detail)
        self._failed(job.answer, reason, content + job.reminder, error, job.seconds)

    def _cancelled(self, job: "_Job") -> None:
        """The user has cancelled a call."""
        text = cancelled_text(job.answer.call.name, begun=job.answer.begun)
        self._failed(job.answer, "cancelled", f"{text} The user did so.", None, job.seconds)

    def _failed(
        self,
        answer: Answer,
        reason: FailureReason,
        content: str,
        error: Exception | None = None,
        seconds: float = 0.0,
    ) -> None:
        call = answer.call
        answer.says(content)
        self._tell(ToolFailedEvent(call.id, call.name, call.step, content, reason, error, seconds))

    def _ended(self, job: "_Job") -> None:
        """A task has ended; say what it could not say itself."""
        task = job.task
        if job.answer.message is not None or self._stopped or task is None or not task.cancelled():
            return
        if job.cancelled:
            self._cancelled(job)
        else:
            self._raised(job, ToolCancelledError(tool=job.answer.call.name))


class _Job:
    """A call, and the task that runs it."""

    def __init__(self, answer: Answer, runner: Runner, reminder: str) -> None:
        self.answer = answer
        self.runner = runner
        self.reminder = reminder
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.started: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return 0.0 if self.started is None else asyncio.get_running_loop().time() - self.started


class _RefusedError(Exception):
    """A call was not approved; the text is for the model."""


def _check(approval: object) -> None:
    """Go on with a call that was approved.

    Raises:
        _RefusedError: it was not. Whoever forgot to answer has not approved.
    """
    if approval is not True:
        raise _RefusedError(approval if isinstance(approval, str) else "")
