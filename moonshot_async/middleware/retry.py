"""Send again what failed for a reason that passes.

tenacity runs the repetitions and is entered only after a first failure: a call that succeeds pays one function call.

What is sent again: connections that were refused, reset or closed before the head; 408, 429 (limits and overload),
500 and above; the 400 of a known fault on the server's side. What is not: an exhausted quota or daily limit, every
other 4xx, and anything after the head of an answer has arrived. The service knows no idempotency keys for chat, so a
call that timed out and is sent again may be billed twice; `max_retries=0` switches repetition off.

See: https://platform.kimi.ai/docs/api/errors
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Final

from moonshot_async.errors import (
    APIError,
    APIStatusError,
    Attempt,
    ConfigurationError,
    EngineOverloadedError,
    RateLimitError,
)
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response

if TYPE_CHECKING:
    from tenacity import RetryCallState

DEFAULT_MAX_RETRIES: Final = 2
# A server that asks for more patience than this is told no: the error goes to the caller, who may know better.
LONGEST_HINT: Final = 120.0
# Added to what a server asks for, so that callers told the same do not come back together.
_HINT_JITTER: Final = 1.0


class Retry:
    """Retry middleware.

    Args:
        max_retries: how often a request is sent again; 0 for never.
        initial: upper bound of the first wait in seconds; doubles with each attempt, and for an overloaded engine
            starts twice as high. The wait is drawn evenly between 0 and the bound ("full jitter").
        maximum: upper bound of every wait that the server did not ask for.
        sleep: how to wait.
        uniform: draws a float between its two arguments.
        clock: a monotonic clock in seconds, the one that `Request.deadline` is on.

    A server's `Retry-After` (or the wait named in the text of a 429) is kept to and never undercut. A wait that would
    end after the deadline of the call is not begun: the failure is raised at once.
    """

    keeps_deadline: ClassVar = True

    def __init__(
        self,
        max_retries: int = DEFAULT_MAX_RETRIES,
        *,
        initial: float = 0.5,
        maximum: float = 8.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int):
            raise TypeError(f"max_retries must be a whole number, not {type(max_retries).__name__}; 0 for no retries")
        if max_retries < 0:
            raise ConfigurationError(f"max_retries must be 0 or more, not {max_retries}")
        self.max_retries = max_retries
        self._initial = initial
        self._maximum = maximum
        self._sleep = sleep
        self._uniform = uniform
        self._clock = clock

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        started = self._clock()
        try:
            return await call_next(request)
        except APIError as error:
            failed = Attempt(request.attempt, _cause(error), self._clock() - started)
            if not self.max_retries or not _may_repeat(request, error):
                error.attempts = (failed,)
                raise
            # In a list, which is emptied: an exception that a frame of its own traceback holds, and with it the
            # request, would stay until a garbage collection.
            pending = [error]
        return await self._again(request, call_next, pending, failed)

    async def _again(self, request: Request, call_next: Handler, pending: list[APIError], failed: Attempt) -> Response:
        """Let tenacity take over, with the first attempt already made."""
        attempts = [failed]

        async def attempt() -> Response:
            if pending:
                raise pending.pop()
            number = request.attempt + len(attempts)
            started = self._clock()
            try:
                return await call_next(request.replace(attempt=number))
            except APIError as error:
                attempts.append(Attempt(number, _cause(error), self._clock() - started))
                raise

        async def sleep(seconds: float) -> None:
            attempts[-1].waited = seconds
            await self._sleep(seconds)

        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        enough = stop_after_attempt(self.max_retries + 1)
        too_long = self._too_long(request)
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, APIError) and _may_repeat(request, error)),
            stop=lambda state: enough(state) or too_long(state),
            wait=self._wait,
            sleep=sleep,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except APIError as error:
            error.attempts = tuple(attempts)
            # Without the frames of tenacity, which hold it too.
            raise error.with_traceback(None)  # noqa: B904  # its cause stays what it was

    def _wait(self, state: "RetryCallState") -> float:
        """Seconds until the next attempt: what the server asks for, else full jitter."""
        error = _error(state)
        hint = error.retry_after if isinstance(error, APIStatusError) else None
        if hint is not None:
            return hint + self._uniform(0.0, _HINT_JITTER)
        initial, maximum = self._initial, self._maximum
        if isinstance(error, EngineOverloadedError):
            initial, maximum = 2 * initial, 2 * maximum
        return self._uniform(0.0, min(maximum, initial * 2.0 ** (state.attempt_number - 1)))

    def _too_long(self, request: Request) -> Callable[["RetryCallState"], bool]:
        """Stop where the wait would outlive the deadline, or is longer than anyone should be kept waiting."""

        def stop(state: "RetryCallState") -> bool:
            error = _error(state)
            hint = error.retry_after if isinstance(error, APIStatusError) else None
            if hint is not None and hint > LONGEST_HINT:
                return True
            return request.deadline is not None and self._clock() + state.upcoming_sleep >= request.deadline

        return stop


def _may_repeat(request: Request, error: APIError) -> bool:
    """Whether to send it again: a 429 says that nothing was done; after other failures it may have been."""
    return error.retryable and (not request.once or isinstance(error, RateLimitError))


def _error(state: "RetryCallState") -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _cause(error: APIError) -> str:
    status = f" {error.status_code}" if isinstance(error, APIStatusError) else ""
    return type(error).__name__ + status
