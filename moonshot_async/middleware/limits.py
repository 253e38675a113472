"""Keep to the limits of an account before the service has to say so.

Each attempt is admitted anew: it waits until a request, its tokens and a place beside the others fit below the limits.
The service counts tokens when a request comes in: those of the prompt, and as many as the answer may have. So does the
limiter; what the prompt really had is known from the answer. A place is held until the body of the answer has ended.

See: https://platform.kimi.ai/docs/pricing/limits
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from os import getpid
from typing import TYPE_CHECKING, Final, Self

import msgspec

from moonshot_async.clocks import timeout_error
from moonshot_async.errors import ConfigurationError, QuotaExceededError, RateLimitError
from moonshot_async.middleware import Handler, Middleware
from moonshot_async.middleware.limit_body import HeldBody, usage_of
from moonshot_async.middleware.limit_errors import not_today, refuse_too_large
from moonshot_async.middleware.limit_estimates import Estimate, Estimates
from moonshot_async.middleware.limit_evidence import Sending
from moonshot_async.middleware.limit_learning import Learned
from moonshot_async.middleware.limit_queue import CallLater, Queue, Timer
from moonshot_async.middleware.limit_store import (
    MINUTE,
    Limits,
    LimitStore,
    MemoryLimitStore,
    Refusal,
    Reservation,
)
from moonshot_async.wire import Request, Response

if TYPE_CHECKING:
    from moonshot_async.catalog import Catalog

# What is counted; the other calls of the API are not limited.
_PATHS: Final = ("/chat/completions", "/responses", "/anthropic/v1/messages")
# What other processes give back is not heard of: a store of the caller's is asked again after so many seconds.
_POLL: Final = 0.5


class LimitsSnapshot(msgspec.Struct, frozen=True):
    """What a limiter is doing.

    Attributes:
        waiting: calls in its queue.
        in_flight: calls under way, streams that are being read included.
        requests, tokens: what counts against the minute.
        day_tokens: what counts against the day.
        limits: those that hold at the moment, as told or learned; None for none.
        paused_for: seconds until anything is admitted, after a 429.
        minute: how many seconds a minute has.
    """

    waiting: int
    in_flight: int
    requests: int
    tokens: int
    day_tokens: int
    limits: Limits
    paused_for: float
    minute: float = MINUTE


class RateLimits:
    """Admits chat requests as the limits of the account allow; the others wait, those of a higher priority less.

    They are the organisation's, so one object serves all clients that use the account: pass it to each of them, also
    in several threads. `RateLimits()` is told nothing, lets everything through, and learns from the 429s.

    A call waits until its deadline (`timeout=`). It is refused with a `LimitReachedError`, before anything is sent,
    where it alone needs more tokens than a minute has, or where the tokens of the day are used up.

    Args:
        concurrency: requests under way at once; None for no limit, or one that is not known.
        rpm, tpm, tpd: requests a minute, tokens a minute, tokens a day; None likewise.
        store: where to count, instead of in this process; see `LimitStore`.
        adaptive: learn from 429s: the limit that one names, the moment until which to wait, and fewer requests where
            it names none. Never more than was told. 429s that come at random, whatever is sent, change nothing for
            long: they are the retries' to deal with.
        refund: count what answers used, once that is known, instead of what they might have used; for services that
            do so, which Moonshot's does not.
        catalog: knows how long answers may be where a request does not say; `moonshot_async.CATALOG` unless given.
        clock: the time in seconds that everything here is measured by, and `Request.deadline` is on.
        call_later: `call_later(seconds, callback)` sets a timer in the running event loop and returns what has a
            `cancel()`; that of the loop itself unless given.
        minute: how many seconds of the clock the windows of a minute have; a day has 1440 of them.

    Raises:
        ConfigurationError: a limit is no positive whole number, or another argument cannot work.

    See: https://platform.kimi.ai/docs/pricing/limits
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        tpd: int | None = None,
        store: LimitStore | None = None,
        adaptive: bool = True,
        refund: bool = False,
        catalog: "Catalog | None" = None,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
        minute: float = MINUTE,
    ) -> None:
        told = _checked(Limits(concurrency, rpm, tpm, tpd))
        if isinstance(minute, bool) or not isinstance(minute, (int, float)) or not 0 < minute < math.inf:
            raise ConfigurationError(f"limits: minute must be a positive number of seconds, not {minute!r}")
        if store is not None and not all(hasattr(store, name) for name in ("reserve", "settle", "release", "counted")):
            raise ConfigurationError(f"limits: store must be a LimitStore, not {type(store).__name__}")
        _check_parts(adaptive, refund, clock, call_later, catalog)
        # What waits for a store of the caller's has to be stopped from outside.
        self.keeps_deadline = store is None
        self._poll = math.inf if store is None else _POLL
        self._refund = refund
        self._minute = minute
        self._clock = clock
        self._estimates = Estimates(catalog)

        def begin() -> None:
            self._process = getpid()
            self._store = MemoryLimitStore(clock=clock, minute=minute) if store is None else store
            self._learned = Learned(told, adaptive=adaptive, clock=clock, minute=minute)
            self._queue = Queue(clock, call_later or _loop_later)

        self._begin = begin
        begin()

    @classmethod
    def tier(
        cls,
        tier: int,
        *,
        catalog: "Catalog | None" = None,
        store: LimitStore | None = None,
        adaptive: bool = True,
        refund: bool = False,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
        minute: float = MINUTE,
    ) -> Self:
        """The limits of an account of this tier, by the catalog; see `RateLimits` for the other arguments.

        Raises:
            ConfigurationError: there is no such tier.
        """
        if catalog is None:
            # Imported late: most programs need none.
            from moonshot_async.catalog import CATALOG

            catalog = CATALOG
        found = next((entry for entry in catalog.tiers if entry.tier == tier), None)
        if found is None or isinstance(tier, bool):
            known = ", ".join(str(entry.tier) for entry in catalog.tiers)
            raise ConfigurationError(f"limits: there is no tier {tier!r} in the catalog, but {known}")
        return cls(
            concurrency=found.concurrency,
            rpm=found.rpm,
            tpm=found.tpm,
            tpd=found.tpd,
            store=store,
            adaptive=adaptive,
            refund=refund,
            catalog=catalog,
            clock=clock,
            call_later=call_later,
            minute=minute,
        )

    def snapshot(self) -> LimitsSnapshot:
        """What is going on at the moment."""
        counted = self._store.counted()
        return LimitsSnapshot(
            waiting=len(self._queue),
            in_flight=counted.in_flight,
            requests=counted.requests,
            tokens=counted.tokens,
            day_tokens=counted.day_tokens,
            limits=self._learned.limits,
            paused_for=max(0.0, self._learned.paused_until - self._clock()),
            minute=self._minute,
        )

    def heard(self, error: RateLimitError) -> bool:
        """Learn from a 429 of a call that did not come this way; whether it names a limit."""
        return self._learned.heard(error.message)

    def __repr__(self) -> str:
        limits = self._learned.limits
        shown = ", ".join(f"{name}={getattr(limits, name)}" for name in limits.__struct_fields__)
        return f"RateLimits({shown})"

    def __call__(self, request: Request, call_next: Handler) -> Awaitable[Response]:
        if request.method != "POST" or not request.url.partition("?")[0].rstrip("/").endswith(_PATHS):
            return call_next(request)
        return self._limited(request, call_next)

    async def _limited(self, request: Request, call_next: Handler) -> Response:
        if getpid() != self._process:
            # What a forked process inherits is its parent's: calls that end there, locks that nobody gives back.
            self._begin()
        store, need = self._store, self._estimates.of(request.body)
        admitted = await (self._look if self._queue else self._attempt)(request, need)
        reservation = await self._queued(request, need) if isinstance(admitted, float) else admitted
        sending = self._learned.sent(reservation.in_flight)
        try:
            response = await call_next(request)
        except RateLimitError as error:
            self._refused(store, reservation, sending, error)
            raise
        except BaseException:
            self._over(store, reservation)
            raise
        if isinstance(store, MemoryLimitStore):
            store.answered(reservation)
        response.body = HeldBody(response.body, partial(self._answered, store, reservation, need))
        if self._learned.accepted(sending):
            self._queue.nudge()
        return response

    async def _queued(self, request: Request, need: Estimate) -> Reservation:
        """Reserve what a request needs, in its turn."""
        seconds = None if request.deadline is None else request.deadline - self._clock()
        attempt = partial(self._attempt, request, need)
        reservation = await self._queue.wait(attempt, priority=request.priority, seconds=seconds)
        if reservation is None:
            raise timeout_error(request, "total", " while it waited for the limits of the account")
        return reservation

    async def _look(self, request: Request, need: Estimate) -> Reservation | float:
        """Refuse at once what its turn would not help; others come first."""
        limits = self._learned.limits
        refuse_too_large(need, limits, request)
        if limits.tpd is not None:
            outcome = await self._store.reserve(need, Limits(concurrency=0, tpd=limits.tpd))
            if isinstance(outcome, Refusal) and outcome.limit == "tpd":
                raise not_today(need, limits, outcome, request)
        return math.inf

    async def _attempt(self, request: Request, need: Estimate) -> Reservation | float:
        """Reserve it now, or return after how many seconds to try again; infinite for when something ends."""
        learned = self._learned
        limits = learned.limits
        refuse_too_large(need, limits, request)
        if (pause := learned.paused_until - self._clock()) > 0:
            return pause
        outcome = await self._store.reserve(need, limits)
        if isinstance(outcome, Reservation):
            return outcome
        if outcome.limit == "tpd":
            raise not_today(need, limits, outcome, request)
        return min(self._poll, math.inf if outcome.wait is None else float(outcome.wait))

    def _answered(self, store: LimitStore, reservation: Reservation, need: Estimate, tail: bytes) -> None:
        """The body of an answer is over; these are its last bytes. Called in any thread, at any time."""
        if (usage := usage_of(tail)) is not None:
            self._estimates.learn(need, usage.prompt_tokens)
            answer = usage.total_tokens - usage.prompt_tokens if self._refund else need.max_completion_tokens
            store.settle(reservation, tokens=usage.prompt_tokens + answer, day_tokens=usage.total_tokens)
        self._over(store, reservation)

    def _refused(
        self, store: LimitStore, reservation: Reservation, sending: Sending | None, error: RateLimitError
    ) -> None:
        if not isinstance(error, QuotaExceededError):
            # It is still one of the requests of the minute: the service is said to count those that it refuses.
            store.settle(reservation, tokens=0, day_tokens=0)
            self._learned.refused(sending, error)
        self._over(store, reservation)

    def _over(self, store: LimitStore, reservation: Reservation) -> None:
        store.release(reservation)
        if self._queue:
            self._queue.nudge()


def _check_parts(adaptive: object, refund: object, clock: object, call_later: object, catalog: object) -> None:
    for name, flag in (("adaptive", adaptive), ("refund", refund)):
        if not isinstance(flag, bool):
            raise ConfigurationError(f"limits: {name} must be True or False, not {flag!r}")
    if not callable(clock) or not (call_later is None or callable(call_later)):
        raise ConfigurationError("limits: clock and call_later must be functions")
    if catalog is not None and not hasattr(catalog, "current_ids"):
        raise ConfigurationError(f"limits: catalog must be a Catalog, not {type(catalog).__name__}")


def _checked(limits: Limits) -> Limits:
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigurationError(f"limits: {name} must be a positive whole number or None, not {value!r}")
    return limits


def _loop_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


FITS: Callable[..., Middleware] = RateLimits
