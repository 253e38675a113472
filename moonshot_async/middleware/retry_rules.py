"""Judging a failure: how long it is to be waited for, and whether an answer to it may have been on its way."""

from collections.abc import Callable, Sequence
from typing import Final

from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    Attempt,
    ConfigurationError,
    EngineOverloadedError,
    RateLimitError,
)

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


class Backoff:
    """How long to wait before the next attempt, in seconds. The arguments are those of `Retry`."""

    def __init__(self, initial: float, maximum: float, uniform: Callable[[float, float], float]) -> None:
        self._initial = initial
        self._maximum = maximum
        self._uniform = uniform

    def wait(self, error: APIError, failed: Sequence[Attempt]) -> float:
        """What the server asks for, else a draw from an interval that doubles with each failure."""
        if is_stale(error, failed[-1]):
            return 0.0
        if (asked := asked_wait(error)) is not None:
            return asked + self._uniform(0.0, _HINT_JITTER)
        doubled = self._initial * 2.0 ** min(len(failed) - 1, _DOUBLINGS)
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


def is_stale(error: APIError, attempt: Attempt) -> bool:
    """Whether the connection alone was at fault. It happens at most once for each answer that came before."""
    return isinstance(error, APIConnectionError) and error.reused and attempt.elapsed < _STALE


def is_free(error: APIError, attempt: Attempt) -> bool:
    """Whether nothing is multiplied by sending it again: the service itself says when, or a connection is replaced."""
    return (isinstance(error, RateLimitError) and error.retry_after is not None) or is_stale(error, attempt)


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
