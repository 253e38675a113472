"""The clocks of a call: what `timeout=` may say, and when the next read of a body must have ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.errors import APITimeoutError, Clock, ConfigurationError

if TYPE_CHECKING:
    from moonshot_async.wire import Request


class Timeout(msgspec.Struct, frozen=True):
    """The clocks of one call, each in seconds; None switches a clock off.

    Attributes:
        total: the whole call: queueing, every attempt, every wait, and the body to its end, streams too. Two hours,
            the longest that the vendor lets a request run.
        connect: one TCP and TLS handshake.
        read: silence on the socket while an answer is awaited. The gateway gives up after 900 s, so the default
            lies a little above: the server's own answer is better than a guess.
        write: sending the body of the request.
        pool: waiting for a free connection; off, since a crawler that queues on purpose is not in trouble.
        first_token: from the head of a stream to its first decoded data event.
        idle: between two decoded data events of a stream; comments that keep a connection alive do not feed it.

    A plain number passed as `timeout=` means `Timeout(total=number)`.

    See: https://platform.kimi.ai/docs/api/errors
    """

    total: float | None = 7200.0
    connect: float | None = 10.0
    read: float | None = 930.0
    write: float | None = 300.0
    pool: float | None = None
    first_token: float | None = 930.0
    idle: float | None = 300.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
                raise ConfigurationError(f"timeout: {name} must be a positive number of seconds or None, not {value!r}")

    @classmethod
    def of(cls, value: Any) -> "Timeout":
        """Read what callers pass as `timeout=`.

        A number is `total`, None switches every clock off, and an object with the attributes connect, read, write and
        pool (as httpx has one) is taken field by field.
        """
        if isinstance(value, Timeout):
            return value
        if value is None:
            return NO_TIMEOUT
        if isinstance(value, (int, float)):
            return cls(total=value)
        if all(hasattr(value, name) for name in ("connect", "read", "write", "pool")):
            return cls(connect=value.connect, read=value.read, write=value.write, pool=value.pool)
        raise ConfigurationError(f"timeout: expected seconds, None or Timeout(...), not {type(value).__name__}")


NO_TIMEOUT: Final = Timeout(None, None, None, None, None, None, None)
DEFAULT_TIMEOUT: Final = Timeout()


# When everything in this context must have ended, on the `time.monotonic` clock.
CONTEXT_DEADLINE: Final[ContextVar[float | None]] = ContextVar("CONTEXT_DEADLINE", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all calls that are made inside, together; what has less time left outside keeps to that.

    Raises:
        ConfigurationError: `seconds` is no positive number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ConfigurationError(f"deadline: expected a positive number of seconds, not {seconds!r}")
    due, outer = time.monotonic() + seconds, CONTEXT_DEADLINE.get()
    token = CONTEXT_DEADLINE.set(due if outer is None else min(due, outer))
    try:
        yield
    finally:
        CONTEXT_DEADLINE.reset(token)


class BodyClocks:
    """Says for each read of a body by when it must end, and names the clock when it did not."""

    __slots__ = ("_clock", "_event_clock", "_event_due", "_request")

    def __init__(self, request: "Request", *, events: bool) -> None:
        self._request = request
        self._event_clock: Clock = "first_token"
        first = request.timeout.first_token if events else None
        self._event_due = None if first is None else time.monotonic() + first
        self._clock: Clock = "read"

    def next_deadline(self) -> float | None:
        """The `time.monotonic` moment at which the coming read has failed; None for never.

        Raises:
            TimeoutError: the call has no time left, whatever may lie in the buffers.
        """
        request = self._request
        due, clock = deadline_of(request, "read")
        if self._event_due is not None and (due is None or self._event_due < due):
            due, clock = self._event_due, self._event_clock
        self._clock = clock
        if request.deadline is not None and request.deadline <= time.monotonic():
            self._clock = "total"
            raise TimeoutError
        return due

    def event_seen(self) -> None:
        """A data event was decoded: the idle clock starts again."""
        idle = self._request.timeout.idle
        self._event_clock = "idle"
        self._event_due = None if idle is None else time.monotonic() + idle

    def error(self) -> APITimeoutError:
        """The error for the clock that ended the last read."""
        return timeout_error(self._request, self._clock, " while the answer was arriving")


def deadline_of(request: "Request", clock: Clock) -> tuple[float | None, Clock]:
    """When a clock that starts now ends, or the whole call if that comes first; and which of the two it is."""
    seconds = getattr(request.timeout, clock)
    due = None if seconds is None else time.monotonic() + seconds
    total = request.deadline
    return (total, "total") if total is not None and (due is None or total < due) else (due, clock)


def timeout_error(request: "Request", clock: Clock, where: str = "") -> APITimeoutError:
    """Say which clock ran out, what it was set to, and where."""
    limit = getattr(request.timeout, clock)
    setting = "" if limit is None else f" of {limit:g} s"
    return APITimeoutError(
        request,
        message=f"Request timed out: the {clock} timeout{setting} ran out{where} (attempt {request.attempt}).",
        clock=clock,
    )
