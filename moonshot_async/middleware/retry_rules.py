"""Judging a failure: how long it is to be waited for, and whether an answer to it may have been on its way."""

from collections.abc import Callable
from typing import Final

from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    Attempt,
    CircuitOpenError,
    ConfigurationError,
    EngineOverloadedError,
    LimitReachedError,
    RateLimitError,
)
from moonshot_async.wire import Request

# A server that asks for more patience than this is told no: the error goes to the caller, who may know better.
LONGEST_HINT: Final = 120.0
# Added to what a server asks for, so that callers told the same do not come back together.
_HINT_JITTER: Final = 1.0
# An overloaded engine is given so much more time than others, up to so many seconds.
_OVERLOAD: Final = 4.0
_LONGEST_OVERLOAD: Final = 30.0
# A connection that was idle and fails this soon was being closed when it was used, in seconds.
_STALE: Final = 1.0
# Doubled so often, any wait has passed its maximum; more would leave the range of floats.
_DOUBLINGS: Final = 64
# The clocks of the whole call, which may run out before anything was sent.
_CALL_CLOCKS: Final = ("total", "deadline")
# What sums of differences of a clock may be off by, in seconds.
_ROUNDING: Final = 0.001


class Backoff:
    """How long to wait before the next attempt, in seconds. The arguments are those of `Retry`."""

    def __init__(self, initial: float, maximum: float, uniform: Callable[[float, float], float]) -> None:
        self._initial = initial
        self._maximum = maximum
        self._uniform = uniform

    def wait(self, error: APIError, failures: int, elapsed: float) -> float:
        """What the server asks for, else a draw from an interval that doubles with each failure.

        `failures` counts them, and the last one came after `elapsed` seconds.
        """
        if is_stale(error, elapsed):
            return 0.0
        if (asked := asked_wait(error)) is not None:
            return asked + self._uniform(0.0, _HINT_JITTER)
        doubled = self._initial * 2.0 ** min(failures - 1, _DOUBLINGS)
        if isinstance(error, EngineOverloadedError):
            longest = min(_OVERLOAD * self._maximum, max(_LONGEST_OVERLOAD, self._maximum))
            bound = min(longest, _OVERLOAD * doubled)
            return self._uniform(bound / 2, bound)
        return self._uniform(0.0, min(self._maximum, doubled))


def asked_wait(error: APIError) -> float | None:
    """How long the server asks to wait."""
    return error.retry_after if isinstance(error, APIStatusError) else None


def is_slow(error: APIError) -> bool:
    """Whether it ended a wait for an answer that may have been on its way."""
    if isinstance(error, APITimeoutError):
        return error.clock == "read"
    return isinstance(error, APIStatusError) and error.status_code == 504


def is_stale(error: APIError, elapsed: float) -> bool:
    """Whether the connection alone was at fault. It happens at most once for each answer that came before."""
    return isinstance(error, APIConnectionError) and error.reused and elapsed < _STALE


def is_free(error: APIError, elapsed: float) -> bool:
    """Whether nothing is multiplied by sending it again: the service itself says when, or a connection is replaced."""
    return (isinstance(error, RateLimitError) and error.retry_after is not None) or is_stale(error, elapsed)


def was_sent(error: APIError) -> bool:
    """Whether a request that failed so reached the transport; where no more is known, it did."""
    if isinstance(error, APITimeoutError):
        # Whoever waits for a free connection has none to send anything by.
        return error.clock != "pool" and (error.sent or error.clock not in _CALL_CLOCKS)
    return not isinstance(error, (CircuitOpenError, LimitReachedError))


def sendings(request: Request, error: APIError, elapsed: float) -> list[Attempt]:
    """The records of what was sent for `request`, which failed with `error` after `elapsed` seconds.

    That is one, or none; or as many as another `Retry` further inside has listed in the error.
    """
    before = len(request.earlier)
    listed = error.attempts[before:]
    # An exception object that is raised again and again lists what was sent for another call, which took its own time.
    took = sum(attempt.elapsed + attempt.waited for attempt in listed)
    if listed and error.attempts[:before] == request.earlier and took <= elapsed + _ROUNDING:
        return list(listed)
    return [Attempt.failed(request.attempt, error, elapsed)] if was_sent(error) else []


def check_function(name: str, value: object) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: says so.
    """
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")


def check_max_retries(value: object) -> None:
    """Refuse what is no number of repetitions.

    Raises:
        ConfigurationError: it is negative.
        TypeError: it is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_retries must be a whole number, not {type(value).__name__}; 0 for no retries")
    if value < 0:
        raise ConfigurationError(f"max_retries must be 0 or more, not {value}")


def check_retry_slow(value: object) -> None:
    """Refuse what is neither yes nor no.

    Raises:
        TypeError: says so.
    """
    if not isinstance(value, bool):
        raise TypeError(f"retry_slow must be True or False, not {type(value).__name__}")
