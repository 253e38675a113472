"""The clocks of a call: what `timeout=` may say, what bounds many calls together, and when each wait must end."""

import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import msgspec

from moonshot_async.errors import APITimeoutError, Clock, ConfigurationError

if TYPE_CHECKING:
    from moonshot_async.wire import Request

T = TypeVar("T")


class Timeout(msgspec.Struct, frozen=True):
    """The clocks of one call, each in seconds; None switches a clock off.

    Attributes:
        total: the whole call: queueing, every attempt, every wait, and the body to its end, streams too. Two hours,
            the longest that the vendor lets a request run.
        connect: one connection: its name looked up, TCP, the answer of a proxy, TLS. 10 s: what takes longer is down.
        read: silence on the socket: from the request to the head of its answer, then between bytes of the body,
            comments of a stream included. An answer that is not streamed is silent until all of it was thought, and
            the gateway gives up after 900 s: 930 s, since the server's own answer is better than a guess.
        write: one piece (256 KiB at most) of the body of a request. 300 s: on a slow line that is what it takes until
            there is room again in the buffers of the system.
        pool: waiting for a free connection. Off: a crawler that queues on purpose is not in trouble, and `total` runs.
        first_token: from the head of a stream to its first decoded data event; comments do not feed it. 930 s, since
            thinking can be silent for minutes, and the gateway ends it.
        idle: between two decoded data events of a stream; comments that keep a connection alive do not feed it. 300 s:
            once a model has begun it streams its thoughts, too, and so much silence is a fault.

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
            if value is not None and not _is_duration(value):
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


def _is_duration(seconds: object) -> bool:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return False
    # A whole number may be larger than any float, and a moment is one.
    return seconds > 0 and (isinstance(seconds, float) or seconds <= sys.float_info.max)


NO_TIMEOUT: Final = Timeout(None, None, None, None, None, None, None)
DEFAULT_TIMEOUT: Final = Timeout()


class Moment(float):
    """When a `deadline` ends, on the `time.monotonic` clock.

    A float, so that it can be the deadline of a request; whose it was is said by its class.

    Attributes:
        seconds: how long was given.
    """

    __slots__ = ("seconds",)

    def __new__(cls, due: float, seconds: float) -> "Moment":
        """Make one; `due` is when it is."""
        moment = super().__new__(cls, due)
        moment.seconds = seconds
        return moment

    seconds: float


# When everything in this context must have ended.
CONTEXT_DEADLINE: Final[ContextVar[Moment | None]] = ContextVar("CONTEXT_DEADLINE", default=None)


def deadline(seconds: float) -> AbstractContextManager[None]:
    """Bound all calls that are made inside, together: `with deadline(8):`.

    It is kept by tasks that are started inside, too; what has less time left outside keeps to that. Usable without a
    client. Not in a generator, whose caller it would bound as well, and go on bounding when the generator is dropped:
    there `timeout=` of each call does, or put it around whatever consumes the generator.

    Raises:
        ConfigurationError: `seconds` is no positive number; or, on entering, it is entered in a generator.
    """
    if not _is_duration(seconds):
        raise ConfigurationError(f"deadline: expected a positive number of seconds, not {seconds!r}")
    return _Deadline(seconds)


class _Deadline:
    """Sets the deadline of the context on entering, and what it was before on leaving."""

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._token: Token[Moment | None] | None = None

    def __enter__(self) -> None:
        if self._token is not None:
            raise RuntimeError("a deadline is entered once: make another one")
        if sys._getframe(1).f_code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
            raise ConfigurationError(
                "deadline: not inside a generator: it would bound its consumer, also after that left it early. Give "
                "its calls timeout=..., or put the deadline around whatever consumes the generator"
            )
        due, outer = Moment(time.monotonic() + self._seconds, self._seconds), CONTEXT_DEADLINE.get()
        self._token = CONTEXT_DEADLINE.set(due if outer is None or due < outer else outer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None, "it was entered"
        try:
            CONTEXT_DEADLINE.reset(self._token)
        except ValueError:
            pass  # Left in another context, as fixtures and dropped generators are; that one never had it.

    async def __aenter__(self) -> NoReturn:
        raise TypeError("a deadline is entered with `with`, not `async with`: entering and leaving never wait")

    async def __aexit__(self, *_: object) -> None:
        """Never called; it has to be there for `__aenter__` to be."""


async def until(
    due: float | None, waiting: Awaitable[T], late: Callable[[], APITimeoutError], *, grace: float = 0.0
) -> T:
    """Await what knows no deadline, for example a function of the user's.

    Args:
        due: when to stop it, on the `time.monotonic` clock; None for never.
        waiting: what to await.
        late: makes the error to raise then.
        grace: how many seconds later to stop it, where something in it keeps to `due` and knows better.
    """
    if due is None:
        return await waiting
    # anyio is imported late: few calls have something foreign in them.
    import anyio

    with anyio.move_on_after(max(0.0, due - time.monotonic()) + grace):
        return await waiting
    raise late()


async def pause(seconds: float, sleep: Callable[[float], Awaitable[None]]) -> bool:
    """Wait, at most until the deadline of the context; whether that came first."""
    left = time_left()
    await sleep(max(0.0, min(seconds, left)))
    return left <= seconds


def time_left() -> float:
    """Seconds until the deadline of the context; infinity where there is none."""
    due = CONTEXT_DEADLINE.get()
    return float("inf") if due is None else due - time.monotonic()


class BodyClocks:
    """Says for each read of a body by when it must end, and names the clock when it did not."""

    __slots__ = ("_clock", "_due", "_event_clock", "_event_due", "_request")

    def __init__(self, request: "Request", *, events: bool) -> None:
        self._request = request
        self._due = request.deadline
        self._event_clock: Clock = "first_token"
        first = request.timeout.first_token if events else None
        self._event_due = None if first is None else time.monotonic() + first
        self._clock: Clock = "read"

    def next_deadline(self) -> float | None:
        """The `time.monotonic` moment at which the coming read has failed; None for never.

        Raises:
            TimeoutError: the call has no time left, whatever may lie in the buffers.
        """
        now = time.monotonic()
        request = self._request
        total = request.deadline
        # A body may be read under a deadline that was set after its call was made.
        outer = CONTEXT_DEADLINE.get()
        if outer is not None and (total is None or outer < total):
            total = outer
        self._due = total
        if total is not None and total <= now:
            self._clock = "total"
            raise TimeoutError
        read = request.timeout.read
        due, self._clock = None if read is None else now + read, "read"
        if self._event_due is not None and (due is None or self._event_due < due):
            due, self._clock = self._event_due, self._event_clock
        if total is not None and (due is None or total < due):
            due, self._clock = total, "total"
        return due

    def event_seen(self) -> None:
        """A data event was decoded: the idle clock starts again."""
        idle = self._request.timeout.idle
        self._event_clock = "idle"
        self._event_due = None if idle is None else time.monotonic() + idle

    def error(self) -> APITimeoutError:
        """The error for the clock that ended the last read."""
        request = self._request
        if self._due is not request.deadline:
            request = request.replace(deadline=self._due)
        return timeout_error(request, self._clock, " while the answer was arriving")


def deadline_of(request: "Request", clock: Clock) -> tuple[float | None, Clock]:
    """When a clock that starts now ends, or the whole call if that comes first; and which of the two it is."""
    seconds = getattr(request.timeout, clock)
    due = None if seconds is None else time.monotonic() + seconds
    total = request.deadline
    return (total, "total") if total is not None and (due is None or total < due) else (due, clock)


def timeout_error(request: "Request", clock: Clock, where: str = "") -> APITimeoutError:
    """Say which clock ran out, what it was set to, where, after how long in all, and what to do about it.

    `total` is told as `deadline` where a `with deadline(…)` was what ended the call.
    """
    due = request.deadline
    if clock == "total" and isinstance(due, Moment):
        clock, setting = "deadline", f"deadline of {due.seconds:g} s"
    else:
        limit = getattr(request.timeout, clock, None)
        setting = f"{clock} timeout" + ("" if limit is None else f" of {limit:g} s")
    elapsed = None if request.started is None else time.monotonic() - request.started
    when = "" if elapsed is None else f", {round(elapsed, 2):g} s after the call began"
    return APITimeoutError(
        request,
        message=f"Request timed out: the {setting} ran out{where} (attempt {request.attempt}{when}). {_ADVICE[clock]}.",
        clock=clock,
        elapsed=elapsed,
    )


_ADVICE: Final[dict[Clock, str]] = {
    "total": "timeout=… gives the whole call longer",
    "deadline": "It bounds all calls inside of it together",
    "connect": "Look at the address, the network and the proxy, or raise Timeout(connect=…)",
    "read": "An answer that is streamed is silent for less long; else raise Timeout(read=…)",
    "write": "The network or the server takes no more; for a slow line raise Timeout(write=…)",
    "pool": "Raise max_connections of AiohttpTransport, or close streams that are not read to their end",
    "first_token": "Thinking can be silent for minutes: raise Timeout(first_token=…)",
    "idle": "For models that pause for longer raise Timeout(idle=…)",
}
