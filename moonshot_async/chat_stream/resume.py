"""What it takes to go on with an answer that was cut: whether it can be, with which request, and after what wait."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from moonshot_async.clocks import CONTEXT_DEADLINE
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
)
from moonshot_async.partial_mode import continue_from, extended
from moonshot_async.types.chat import ChatCompletion
from moonshot_async.types.encoding import to_json
from moonshot_async.wire import Request

# Kinds of error events that tell of the service, not of the request. Whether a limit passes is said by the answer to
# the next request. See: https://platform.kimi.ai/docs/api/errors
_PASSING_TYPES: Final = frozenset(
    {
        "server_error",
        "unexpected_output",
        "internal_error",
        "internal_server_error",
        "engine_overloaded_error",
        "overloaded_error",
        "rate_limit_reached_error",
    }
)
_PASSING_CODES: Final = frozenset({"500", "502", "503", "504", "529"})
# Clocks that start anew with the next request; the others bound the whole call.
_OWN_CLOCKS: Final = ("read", "first_token", "idle")
_MOST_DOUBLINGS: Final = 16


class Plan:
    """How often an answer may be gone on with.

    Args:
        resume: after a cut.
        continue_on_length: after an end with `length`; never where there is an obstacle.
        obstacle: why Partial Mode cannot go on with any answer to this request, if so.

    Raises:
        TypeError: a number is no whole number.
        ConfigurationError: it is negative.
    """

    def __init__(self, resume: int = 0, continue_on_length: int = 0, obstacle: str | None = None) -> None:
        self.resume = _times(resume, "resume")
        times = _times(continue_on_length, "continue_on_length")
        self.continue_on_length = 0 if obstacle else times
        self.obstacle = obstacle


class Backoff:
    """Waits before an answer is resumed: not at all the first time, then drawn evenly between 0 and a bound.

    Args:
        initial: the first bound in seconds; it doubles with each attempt.
        maximum: the highest bound.
        sleep: how to wait.
        uniform: draws a float between its two arguments.
        clock: a monotonic clock in seconds, the one that `Request.deadline` is on.
    """

    def __init__(
        self,
        *,
        initial: float = 0.5,
        maximum: float = 8.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._sleep = sleep
        self._uniform = uniform
        self._clock = clock

    async def wait(self, attempt: int, deadline: float | None) -> None:
        """Wait before an attempt (from 1), at most until the deadline."""
        if attempt < 2:
            return
        bound = min(self._maximum, self._initial * 2.0 ** min(attempt - 2, _MOST_DOUBLINGS))
        seconds = self._uniform(0.0, bound)
        if deadline is not None:
            seconds = min(seconds, deadline - self._clock())
        if seconds > 0:
            await self._sleep(seconds)


def is_cut(error: APIError) -> bool:
    """Whether a stream ended with an error that another request may not meet again."""
    if isinstance(error, APITimeoutError):
        return error.clock in _OWN_CLOCKS
    if isinstance(error, APIConnectionError):
        return not isinstance(error, (CircuitOpenError, ClientClosedError))
    return type(error) is APIError and (error.type in _PASSING_TYPES or error.code in _PASSING_CODES)


def was_filtered(answer: ChatCompletion) -> bool:
    """Whether moderation ended an answer."""
    return any(choice.finish_reason == "content_filter" for choice in answer.choices)


def obstacle_in(answer: ChatCompletion) -> str | None:
    """Why what arrived of an answer cannot be gone on with, if so."""
    if was_filtered(answer):
        return "the content filter ended it"
    if len(answer.choices) > 1:
        return "it has several choices"
    for choice in answer.choices:
        message = choice.message
        if message.tool_calls or message.function_call:
            return "tool calls have begun"
        if message.refusal:
            return "a refusal has begun"
    return None


def same_again(request: Request) -> Request:
    """The request once more; a deadline that was set since counts, too."""
    outer = CONTEXT_DEADLINE.get()
    if outer is None or (request.deadline is not None and request.deadline <= outer):
        return request
    return request.replace(deadline=outer)


def going_on(request: Request, answer: ChatCompletion) -> Request:
    """The request that brings the rest of an answer, whose one choice has text: the same, but for its last message.

    All but that stays as it was, byte for byte. A prefix that the caller began the answer with grows by what arrived.
    """
    body = msgspec.json.decode(request.content, type=dict[str, msgspec.Raw])
    messages = msgspec.json.decode(body["messages"], type=list[msgspec.Raw])
    more: dict[str, Any] = dict(continue_from(answer, choice=answer.choices[0].index))
    last = msgspec.json.decode(messages[-1]) if messages else None
    if isinstance(last, dict) and last.get("partial"):
        more = extended(last, more)
        messages.pop()
    messages.append(msgspec.Raw(to_json(more)))
    body["messages"] = msgspec.Raw(to_json(messages))
    return same_again(request).replace(body=to_json(body))


def _times(times: object, name: str) -> int:
    if isinstance(times, bool) or not isinstance(times, int):
        raise TypeError(f"{name} must be a whole number, not {type(times).__name__}; 0 for never")
    if times < 0:
        raise ConfigurationError(f"{name} must be 0 or more, not {times}")
    return times
