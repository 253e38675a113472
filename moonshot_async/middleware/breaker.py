"""Stop sending where most fails: a service that is down gets no calls but a few that try, and callers no long waits.

See: https://martinfowler.com/bliki/CircuitBreaker.html
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import ClassVar, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from moonshot_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    StreamInterruptedError,
)
from moonshot_async.middleware import Handler
from moonshot_async.middleware.circuit import Circuit, Rules, State
from moonshot_async.middleware.log import logger
from moonshot_async.wire import Request, Response, Upload

# Circuits are made for whatever model is asked for; beyond so many the least used are forgotten, some at once.
_MOST_CIRCUITS: Final = 1000
_FORGOTTEN: Final = 100
# Names that are longer are no models.
_LONGEST_MODEL: Final = 200
# Bodies that the SDK encodes begin with the model, so that their size does not matter.
_LEADING: Final = b'{"model":"'
# Host and model.
_Key: TypeAlias = tuple[str, str | None]
# The clocks of the whole call, which may have run out in a queue, or by what was left for a last attempt.
_CALL_CLOCKS: Final = ("total", "deadline")


class _Named(msgspec.Struct):
    model: str | None = None


_named: Final = msgspec.json.Decoder(_Named).decode


class CircuitState(msgspec.Struct, frozen=True):
    """What a breaker knows of one host and model.

    Attributes:
        host: with its port, where the URL has one.
        model: None for the requests to this host that name none.
        state: "closed" (calls are sent), "open" (none is) or "half_open" (one at a time is sent, to try).
        calls: how many of the last `window` seconds had an outcome that counts.
        failures: how many of these failed.
        retry_after: seconds until a call is sent again; 0.0 where one is at once.
    """

    host: str
    model: str | None
    state: State
    calls: int
    failures: int
    retry_after: float


class CircuitBreaker:
    """Breaker middleware: `AsyncMoonshot(breaker=CircuitBreaker())`.

    It keeps a circuit for each host and model, and one for each host for the requests that name no model. When too many
    calls to one of them fail it opens: calls raise `CircuitOpenError` at once, which names the moment of the next try
    and is not retried. When that has come, one call at a time is sent to try: if it is answered the circuit closes,
    if it fails the circuit opens for twice as long. One that hangs makes way for another after `open_for` seconds,
    and one that is cancelled at once.

    What fails: 500 and above, and what keeps the head of an answer from coming: connections that are refused, reset or
    closed, names that are not found, and clocks that run out. Every other answer counts as one, those that refuse the
    request included, and 429 too: who is told to come later has reached a service that works, and to wait is for
    `Retry` and `RateLimits`. Nothing is learnt from what the client ends itself: cancellation, limits, closing, a queue
    for a connection or a limit in which time ran out, a later attempt that `total` or `deadline` left too little of.
    What happens after the head does not count.

    It stands inside `Retry`, so each attempt counts, and outside `limits`, so a call that is not sent takes no place
    there. One object may serve many clients, event loops and threads, which then learn from each other.

    Args:
        failures: so many calls must have failed within the window.
        share: so large a part of the calls in the window must have failed, from above 0.0 to 1.0.
        window: seconds that are looked back.
        open_for: seconds that a circuit is open at first; twice as many after each try that fails.
        open_at_most: where that ends.
        clock: a monotonic clock in seconds.

    Raises:
        ConfigurationError: a number cannot be meant.
        TypeError: `clock` is no function.
    """

    keeps_deadline: ClassVar = True

    def __init__(
        self,
        *,
        failures: int = 10,
        share: float = 0.5,
        window: float = 30.0,
        open_for: float = 15.0,
        open_at_most: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(failures, bool) or not isinstance(failures, int) or failures < 1:
            raise ConfigurationError(f"breaker: failures must be a whole number, 1 or more, not {failures!r}")
        for name, value in (("share", share), ("window", window), ("open_for", open_for)):
            _check(name, value)
        _check("open_at_most", open_at_most)
        if share > 1:
            raise ConfigurationError(f"breaker: share must be 1.0 at most, which is all calls, not {share!r}")
        if open_at_most < open_for:
            raise ConfigurationError("breaker: open_at_most must not be less than open_for")
        if not callable(clock):
            raise TypeError(f"breaker: clock must be a function, not {type(clock).__name__}")
        self._rules = Rules(failures, share, window, open_for, open_at_most)
        self._clock = clock
        self._lock = Lock()
        self._circuits: dict[_Key, Circuit] = {}

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        key = _key(request.url, _model(request.body))
        circuit = self._circuits.get(key) or self._made(key)
        turn = circuit.admit(self._clock())
        if turn is None:
            raise self._refusal(request, key, circuit)
        try:
            response = await call_next(request)
        except BaseException as error:
            self._ended(request, key, circuit, turn, error)
            raise
        if circuit.answered(turn, self._clock()):
            _tell_closed(key)
        return response

    def snapshot(self) -> tuple[CircuitState, ...]:
        """What is known of each host and model now; the one that was asked for last is the last."""
        now = self._clock()
        known = sorted(self._circuits.copy().items(), key=_used)
        return tuple(
            CircuitState(*key, circuit.state(now), *circuit.counts(now), circuit.retry_after(now))
            for key, circuit in known
        )

    def __repr__(self) -> str:
        rules = ", ".join(f"{name}={value!r}" for name, value in self._rules._asdict().items())
        return f"CircuitBreaker({rules})"

    def _made(self, key: _Key) -> Circuit:
        with self._lock:
            if len(self._circuits) >= _MOST_CIRCUITS:
                for old, _ in sorted(self._circuits.items(), key=_used)[:_FORGOTTEN]:
                    del self._circuits[old]
            return self._circuits.setdefault(key, Circuit(self._rules))

    def _ended(self, request: Request, key: _Key, circuit: Circuit, turn: int, error: BaseException) -> None:
        """Count what a call raised, where it says something of the service."""
        now = self._clock()
        if _is_failure(error, request):
            if circuit.failed(turn, now, type(error).__name__):
                logger.warning("circuit of %s opened: %s", _name(key), circuit.why)
        elif isinstance(error, APIStatusError):
            if circuit.answered(turn, now):
                _tell_closed(key)
        else:
            circuit.given_up(turn)

    def _refusal(self, request: Request, key: _Key, circuit: Circuit) -> CircuitOpenError:
        wait = circuit.retry_after(self._clock())
        moment = datetime.now(UTC) + timedelta(seconds=wait)
        return CircuitOpenError(
            f"Not sent to {_name(key)}: {circuit.why}. The next try is at {moment:%Y-%m-%d %H:%M:%S} UTC, "
            f"in {wait:.1f} s at the latest.",
            request,
            retry_after=wait,
        )


def _check(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"breaker: {name} must be a positive number, not {value!r}")


@lru_cache(maxsize=_MOST_CIRCUITS)
def _key(url: str, model: bytes) -> _Key:
    return urlsplit(url).netloc.lower(), model.decode("utf-8", "replace") or None


def _model(body: bytes | Upload) -> bytes:
    """The model that a JSON body names; empty where there is none."""
    if not isinstance(body, bytes):
        return b""
    if body.startswith(_LEADING):
        # Not found is -1: then nothing is left.
        model = body[len(_LEADING) : max(0, body.find(b'"', len(_LEADING), _LONGEST_MODEL))]
        if model and b"\\" not in model:
            return model
    if not body.startswith(b"{"):
        return b""
    try:
        named = _named(body).model or ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
    return named[:_LONGEST_MODEL].encode("utf-8", "replace")


def _is_failure(error: BaseException, request: Request) -> bool:
    if isinstance(error, APITimeoutError):
        if error.clock in _CALL_CLOCKS:
            return error.sent and request.attempt == 1
        return error.clock != "pool"
    if isinstance(error, APIConnectionError):
        return not isinstance(error, (CircuitOpenError, ClientClosedError, StreamInterruptedError))
    return isinstance(error, InternalServerError)


def _used(item: tuple[_Key, Circuit]) -> float:
    return item[1].used


def _name(key: _Key) -> str:
    host, model = key
    return host if model is None else f"{model} at {host}"


def _tell_closed(key: _Key) -> None:
    logger.info("circuit of %s closed", _name(key))
