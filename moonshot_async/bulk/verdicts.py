"""What an error means for a run: for this request, for all of them, or for the moment."""

from enum import Enum
from typing import Final

from moonshot_async.errors import (
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    LimitReachedError,
    MoonshotError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
)

# Waits of a request that was put back, in seconds: they double, up to the longest.
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
# When nothing was answered for so long, in seconds, a run that had answers gives up.
PATIENCE: Final = 600.0


class Verdict(Enum):
    """What to do about a request that failed.

    Attributes:
        LATER: put it back to the end; the reason passes.
        WAITING: the same; it was not sent at all, so that it has not failed either.
        FAILED: the reason is in the request, or it may be paid for: keep the error.
        FATAL: every other request would fail as well: stop, and leave it open.
    """

    LATER = "later"
    WAITING = "waiting"
    FAILED = "failed"
    FATAL = "fatal"


def verdict(error: MoonshotError, *, any_success: bool) -> Verdict:
    """What an error of one call means.

    Args:
        error: after the client's own retries.
        any_success: whether this start has had a good answer: then a refusal is for the one request.
    """
    if isinstance(error, (QuotaExceededError, AuthenticationError, ClientClosedError, ConfigurationError)):
        return Verdict.FATAL
    if isinstance(error, LimitReachedError):
        return Verdict.FAILED if error.retry_after is None else Verdict.FATAL
    if isinstance(error, RateLimitError) and not error.retryable:
        # The tokens of the day.
        return Verdict.FATAL
    if isinstance(error, CircuitOpenError):
        return Verdict.WAITING
    if isinstance(error, APITimeoutError) and not error.attempts:
        return Verdict.WAITING
    if error.retryable:
        return Verdict.LATER
    if isinstance(error, (PermissionDeniedError, NotFoundError)) and not any_success:
        return Verdict.FATAL
    return Verdict.FAILED


def may_be_paid(error: MoonshotError) -> bool:
    """Whether the service may bill for a call that failed so."""
    if isinstance(error, APIStatusError):
        return error.status_code >= 500
    return isinstance(error, APIError) and bool(error.attempts)


def wait_of(error: MoonshotError, tries: int, jitter: float) -> float:
    """How long a request that was put back waits, in seconds.

    Args:
        tries: how often it was put back, this time included.
        jitter: from 0 to 1.
    """
    asked = getattr(error, "retry_after", None) or 0.0
    doubled = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 16))
    return float(max(asked, doubled / 2) + jitter * doubled / 2)
