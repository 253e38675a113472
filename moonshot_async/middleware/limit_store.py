"""Where a limiter counts: the protocol that every store keeps to, and the store in this process.

A store is dumb. It is told with each request what the limits are at the moment, and says whether the request fits
below what is counted already. Queueing, priorities, estimates and what 429s teach are the limiter's (`limits.py`), so
that a store over a network (one script in Redis, say) stays a page of code. Limiters in several processes that use one
such store keep the limits together; each of them tells the limits that it knows.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from moonshot_async.errors import Limit
from moonshot_async.middleware.limit_windows import Bucket, Window

MINUTE: Final = 60.0
MINUTES_A_DAY: Final = 1440
# What was counted stays for so much longer than the window of the service, as part of a minute: a request arrives
# there later than it was sent from here, and not always by the same time.
MARGIN: Final = 0.015
# What was under way for longer than others may have arrived so much later: in seconds, and as part of a minute.
_LATEST: Final = 0.3
_LATEST_PART: Final = 0.2

_FOREIGN: Final = "the reservation is not of this store"


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What the account may do; None where there is no limit, or none is known.

    Attributes:
        concurrency: requests under way at once.
        rpm, tpm, tpd: requests a minute, tokens a minute, tokens a day.
    """

    concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    tpd: int | None = None


class Need(msgspec.Struct, frozen=True, gc=False):
    """What one request counts when it is admitted.

    Attributes:
        prompt_tokens: of its prompt, as estimated; they count against the day.
        max_completion_tokens: what its answer may have; prompt and answer count against the minute.
    """

    prompt_tokens: int
    max_completion_tokens: int

    @property
    def tokens(self) -> int:
        """What counts against the minute."""
        return self.prompt_tokens + self.max_completion_tokens


class Reservation(msgspec.Struct, eq=False):
    """A request that was admitted. A store may return a subclass that holds what it needs to find it again.

    Attributes:
        need: what was reserved.
        in_flight: how many requests were under way when it was admitted, this one included.
    """

    need: Need
    in_flight: int


class Refusal(msgspec.Struct, frozen=True):
    """A request that does not fit at the moment; nothing was counted.

    Attributes:
        limit: the limit that it would pass; `tpd` before any other.
        wait: seconds after which it may fit; None where nobody can tell: some request has to end first.
    """

    limit: Limit
    wait: float | None


class Counted(msgspec.Struct, frozen=True):
    """What a store counts at the moment.

    Attributes:
        in_flight: requests under way.
        requests, tokens: of the last minute.
        day_tokens: of the last day.
    """

    in_flight: int = 0
    requests: int = 0
    tokens: int = 0
    day_tokens: int = 0


class LimitStore(Protocol):
    """Where a limiter counts.

    A request goes `reserve`, then `settle` at most once, then `release` once. What was reserved but for the slot stays
    counted for its minute (and its day) whatever becomes of the request; a store whose processes may die lets slots
    expire by itself.
    """

    async def reserve(self, need: Need, limits: Limits) -> Reservation | Refusal:
        """Admit a request, if it passes none of the limits, in one step.

        One slot and one request are counted, `need.tokens` for the minute, `need.prompt_tokens` for the day. When it
        is cancelled it must leave nothing behind. A concurrency of 0 admits nothing: it asks what would refuse. What
        it raises reaches the caller of the client.
        """
        ...

    def settle(self, reservation: Reservation, *, tokens: int, day_tokens: int) -> None:
        """From now on the request counts `tokens` in its minute and `day_tokens` in its day, not what was reserved.

        Like `release`, it must not wait and not raise: it is called when bodies are closed, in any thread, also by the
        garbage collector. A store over a network queues what it has to tell.
        """
        ...

    def release(self, reservation: Reservation) -> None:
        """The request is not under way any more. Calling it again does nothing."""
        ...

    def counted(self) -> Counted:
        """What is counted, as far as known here; it must not wait."""
        ...


class _Held(Reservation, eq=False, gc=False):
    """A reservation of the store in this process.

    Attributes:
        tokens, day_tokens: what it counts.
        minute, day: where it is counted.
        at: when it was made.
        open: whether it holds a slot.
    """

    tokens: int
    day_tokens: int
    minute: Bucket
    day: Bucket
    at: float
    open: bool = True


class MemoryLimitStore:
    """Counts in this process, for any number of event loops and threads.

    Args:
        clock: the time in seconds, never going back.
        minute: how many of its seconds make a minute; tests scale it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, minute: float = MINUTE) -> None:
        self._clock = clock
        margin = minute * MARGIN
        self._minute = Window(minute, margin, min(_LATEST, minute * _LATEST_PART))
        self._day = Window(minute * MINUTES_A_DAY, margin)
        self._in_flight = 0
        self._lock = threading.Lock()
        # What was settled (tokens, tokens of the day) and released (None). Bodies may be closed by the garbage
        # collector in the middle of anything, also of what holds the lock: so nobody waits for it.
        self._told: deque[tuple[_Held, tuple[int, int] | None]] = deque()

    async def reserve(self, need: Need, limits: Limits) -> Reservation | Refusal:
        with self._lock:
            self._hear()
            outcome = self._reserve(need, limits, self._clock())
        self._hear_soon()
        return outcome

    def _reserve(self, need: Need, limits: Limits, now: float) -> Reservation | Refusal:
        prompt, tokens = need.prompt_tokens, need.tokens
        if limits.tpd is not None and (wait := self._day.wait_for_amount(prompt, limits.tpd, now)):
            return Refusal("tpd", _finite(wait))
        if limits.concurrency is not None and self._in_flight >= limits.concurrency:
            return Refusal("concurrency", None)
        if limits.rpm is not None and (wait := self._minute.wait_for_count(limits.rpm, now)):
            return Refusal("rpm", wait)
        if limits.tpm is not None and (wait := self._minute.wait_for_amount(tokens, limits.tpm, now)):
            return Refusal("tpm", _finite(wait))
        self._in_flight += 1
        minute, day = self._minute.add(tokens, now), self._day.add(prompt, now)
        return _Held(need, self._in_flight, tokens, prompt, minute, day, now)

    def answered(self, reservation: Reservation) -> None:
        """The head of an answer came; how long that took tells how late the request arrived, at most."""
        assert isinstance(reservation, _Held), _FOREIGN
        self._minute.arrived(reservation.minute, self._clock() - reservation.at)

    def settle(self, reservation: Reservation, *, tokens: int, day_tokens: int) -> None:
        assert isinstance(reservation, _Held), _FOREIGN
        # Taken in by whoever asks next.
        self._told.append((reservation, (tokens, day_tokens)))

    def release(self, reservation: Reservation) -> None:
        assert isinstance(reservation, _Held), _FOREIGN
        self._told.append((reservation, None))
        self._hear_soon()

    def counted(self) -> Counted:
        with self._lock:
            self._hear()
            now = self._clock()
            self._minute.sweep(now)
            self._day.sweep(now)
            counted = Counted(self._in_flight, self._minute.count, self._minute.amount, self._day.amount)
        self._hear_soon()
        return counted

    def _hear_soon(self) -> None:
        """Take in what was told, or leave it to the one that holds the lock, and looks again when it gives it back."""
        while self._told and self._lock.acquire(blocking=False):
            try:
                self._hear()
            finally:
                self._lock.release()

    def _hear(self) -> None:
        told = self._told
        while told:
            held, settled = told.popleft()
            if settled is not None:
                tokens, day_tokens = settled
                self._minute.change(held.minute, tokens - held.tokens)
                self._day.change(held.day, day_tokens - held.day_tokens)
                held.tokens, held.day_tokens = settled
            elif held.open:
                held.open = False
                self._in_flight -= 1


def _finite(wait: float) -> float | None:
    """No wait helps where a request alone is too large."""
    return None if math.isinf(wait) else wait


FITS: type[LimitStore] = MemoryLimitStore
