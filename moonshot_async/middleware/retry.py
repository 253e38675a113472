"""Send again what failed for a reason that passes.

tenacity runs the repetitions and is entered only after a first failure: a call that succeeds pays one function call and
the counting of the budget.

What is sent again: connections that were refused, reset or closed before the head; 408, 429 (limits and overload),
500 and above; the 400 of a known fault on the server's side. What is not: an exhausted quota or daily limit, every
other 4xx, and anything after the head of an answer has arrived.

The service knows no idempotency keys for chat, so what was sent again because its answer was lost may be billed twice.
Most of all where it had worked for long: a 504, or a `read` timeout, after a minute and more is sent again only when
that is asked for (`retry_slow`). `max_retries=0` switches repetition off; both can be said for each call.

See: https://platform.kimi.ai/docs/api/errors
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from moonshot_async.errors import (
    APIError,
    Attempt,
    ConfigurationError,
    RateLimitError,
)
from moonshot_async.middleware import Handler
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.middleware.retry_rules import (
    LONGEST_HINT,
    Backoff,
    asked_wait,
    check_function,
    check_max_retries,
    check_retry_slow,
    is_free,
    is_slow,
    sendings,
)
from moonshot_async.wire import Request, Response

if TYPE_CHECKING:
    from tenacity import RetryCallState

DEFAULT_MAX_RETRIES: Final = 2
_USED_UP: Final = (
    "Not sent again: the budget for retries is used up, since much failed lately. "
    "It fills with each new call, and in quiet seconds; see RetryBudget."
)
_SLOW: Final = (
    "Not sent again: it failed after {:.0f} s of waiting, and may be billed although no answer came. "
    "retry_slow=True, for the call or for Retry, sends it again all the same."
)
_TOO_LONG: Final = "Not sent again: the service asks to wait {} s, and no more than {:.0f} s are waited."
_TOO_LATE: Final = "Not sent again: a wait of {:.4g} s would outlast the {:.4g} s that the call has left."


class FailedSoFar(NamedTuple):
    """The attempts of one call that failed: kept for whoever stops it from outside, where an error tells of them."""

    started: float | None
    attempts: list[Attempt]


# Set by who may stop the call from outside.
FAILED_SO_FAR: Final[ContextVar[FailedSoFar | None]] = ContextVar("FAILED_SO_FAR", default=None)


class Retry:
    """Retry middleware.

    Args:
        max_retries: how often a request is sent again; 0 for never. A call may say otherwise.
        initial: upper bound of the first wait in seconds; doubles with each attempt. The wait is drawn evenly between 0
            and the bound ("full jitter"). For an overloaded engine the bound is four times as high, and the wait at
            least half of it: 1 to 2 s, 2 to 4 s, and so on up to 30 s.
        maximum: upper bound of every wait that the server did not ask for, but for an overloaded engine.
        budget: what may be sent again in all; a `RetryBudget()` of its own unless given. One budget may be shared by
            many; `RetryBudget.unlimited()` switches it off.
        slow_after: an attempt that ended with a 504 or with the `read` clock after so many seconds is taken to be paid
            for; `math.inf` for none.
        retry_slow: whether it is sent again all the same, which may be billed twice. A call may say otherwise.
        sleep: how to wait.
        uniform: draws a float between its two arguments.
        clock: a monotonic clock in seconds, the one that `Request.deadline` is on.

    A server's `Retry-After` (or the wait named in the text of a 429) is kept to and never undercut; one of more than
    two minutes is not waited for. A connection that was idle, and that the server closed just then, is replaced at
    once, whatever the budget. A wait that would end after the deadline of the call is not begun: the failure is raised
    at once. So it is where the budget is used up, or a slow attempt is not to be repeated; a note on the exception says
    which. Every exception has what was sent in `.attempts`, and each request its number in `.attempt`; one `Retry`
    around another counts on.

    Raises:
        ConfigurationError: a number cannot be meant.
        TypeError: `max_retries` is no whole number, `budget` no budget, or `sleep`, `uniform` or `clock` no function.
    """

    keeps_deadline: ClassVar = True

    def __init__(
        self,
        max_retries: int = DEFAULT_MAX_RETRIES,
        *,
        initial: float = 0.5,
        maximum: float = 8.0,
        budget: RetryBudget | None = None,
        slow_after: float = 60.0,
        retry_slow: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if budget is not None and not isinstance(budget, RetryBudget):
            raise TypeError(f"budget must be a RetryBudget, not {type(budget).__name__}")
        check_max_retries(max_retries)
        check_retry_slow(retry_slow)
        for name, function in (("sleep", sleep), ("uniform", uniform), ("clock", clock)):
            check_function(name, function)
        for name, value in (("initial", initial), ("maximum", maximum), ("slow_after", slow_after)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ConfigurationError(f"{name} must be a number of seconds, 0 or more, not {value!r}")
        self.max_retries = max_retries
        self.budget = RetryBudget() if budget is None else budget
        self._backoff = Backoff(initial, maximum, uniform)
        self._slow_after = slow_after
        self._retry_slow = retry_slow
        self._sleep = sleep
        self._clock = clock

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        started = self._clock()
        budget = self.budget
        budget.enter(started)
        try:
            try:
                return await call_next(request)
            except APIError as error:
                call = _Call(self, request, call_next)
                call.note(request, error, started)
                if not call.may_repeat(error):
                    error.attempts = call.attempts
                    raise
                # In a list, which is emptied: an exception that a frame of its own traceback holds, and with it the
                # request, would stay until a garbage collection.
                pending = [error]
            return await call.again(pending)
        finally:
            budget.leave()


class _Call:
    """One call whose first attempt failed, and what became of it since."""

    def __init__(self, retry: Retry, request: Request, call_next: Handler) -> None:
        self._retry = retry
        self._request = request
        self._call_next = call_next
        self._failed: list[Attempt] = []
        # How often this layer tried, and how long it took the last time: not every try is a sending, or only one.
        self._tries = 0
        self._elapsed = 0.0
        self._most = retry.max_retries if request.max_retries is None else request.max_retries
        self._paid = False

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All sendings that failed, also before this layer was asked."""
        return (*self._request.earlier, *self._failed)

    def note(self, request: Request, error: APIError, started: float) -> None:
        """A try failed."""
        now = self._retry._clock()
        failed = sendings(request, error, now - started)
        self._failed += failed
        self._tries += 1
        self._elapsed = failed[-1].elapsed if failed else now - started
        if error.retryable and not is_free(error, self._elapsed):
            self._retry.budget.failed(now, started)
        kept = FAILED_SO_FAR.get()
        if kept is not None and kept.started == request.started:
            # Another `Retry` further inside has told of its own already.
            kept.attempts.extend([attempt for attempt in failed if attempt not in kept.attempts])

    def may_repeat(self, error: BaseException) -> bool:
        """Whether to send it again, as far as the last error says; a note tells where that is not plain from it."""
        if self._tries > self._most or not isinstance(error, APIError) or not error.retryable:
            return False
        # A 429 says that nothing was done; after other failures it may have been.
        if self._request.once and not isinstance(error, RateLimitError):
            return False
        asked = self._retry._retry_slow if self._request.retry_slow is None else self._request.retry_slow
        if asked or self._elapsed < self._retry._slow_after or not is_slow(error):
            return True
        _add_note(error, _SLOW, self._elapsed)
        return False

    async def again(self, pending: list[APIError]) -> Response:
        """Let tenacity take over, with the first attempt already made."""
        from tenacity import AsyncRetrying, retry_if_exception

        async def attempt() -> Response:
            if pending:
                raise pending.pop()
            return await self._send()

        retrying = AsyncRetrying(
            retry=retry_if_exception(self.may_repeat),
            stop=self._stop,
            wait=lambda state: self._retry._backoff.wait(_error(state), self._tries, self._elapsed),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except APIError as error:
            error.attempts = self.attempts
            # Without the frames of tenacity, which hold it too.
            raise error.with_traceback(None)  # noqa: B904  # its cause stays what it was

    async def _send(self) -> Response:
        request = self._request.replace(attempt=self._request.attempt + len(self._failed), earlier=self.attempts)
        started = self._retry._clock()
        try:
            response = await self._call_next(request)
        except APIError as error:
            self.note(request, error, started)
            raise
        if self._paid:
            self._retry.budget.give_back()
        if response.request is None:
            response.request = request
        return response

    async def _sleep(self, seconds: float) -> None:
        if self._failed:
            self._failed[-1].waited += seconds
        await self._retry._sleep(seconds)

    def _stop(self, state: "RetryCallState") -> bool:
        """Stop where the wait would outlive the deadline, or is longer than anyone waits, or the budget is used up."""
        error, due, wait = _error(state), self._request.deadline, state.upcoming_sleep
        if (asked := asked_wait(error) or 0.0) > LONGEST_HINT:
            _add_note(error, _TOO_LONG, math.ceil(asked), LONGEST_HINT)
            return True
        if due is not None and (left := due - self._retry._clock()) <= wait:
            _add_note(error, _TOO_LATE, wait, max(0.0, left))
            return True
        free = is_free(error, self._elapsed)
        if free or self._retry.budget.take():
            self._paid = not free
            return False
        _add_note(error, _USED_UP)
        return True


def _error(state: "RetryCallState") -> APIError:
    error = None if state.outcome is None else state.outcome.exception()
    assert isinstance(error, APIError), "nothing else is repeated"
    return error


def _add_note(error: APIError, note: str, *numbers: float) -> None:
    # Where one `Retry` stands around another, both may say so, each with numbers of its own.
    beginning = note.partition("{")[0]
    if not any(said.startswith(beginning) for said in getattr(error, "__notes__", ())):
        error.add_note(note.format(*numbers))
