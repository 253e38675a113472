"""What answers teach about the limits: numbers that 429s name, moments to wait for, and guesses where neither is said.

Too many at once, or too many in a minute? Where the words do not tell, the first is believed, and requests are sent one
by one until one is served: if the service refuses what is under way alone, it was the minute.

See: https://platform.kimi.ai/docs/pricing/limits
"""

import math
import re
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from moonshot_async.errors import EngineOverloadedError, RateLimitError
from moonshot_async.middleware.limit_guesses import ConcurrencyGuess, RateGuess
from moonshot_async.middleware.limit_store import MINUTE, Limits
from moonshot_async.middleware.limit_windows import Bucket

_AXIS: Final = re.compile(r"\b(RPM|TPM|TPD|concurrency)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"\b(RPM|TPM|TPD|concurrency)(?: rate limit, current: ?\d{1,12}, limit)?: ?(\d{1,12})\b", re.IGNORECASE
)
# Seconds between requests that are sent to find out: refusals come at once, answers may take minutes.
_TRIAL: Final = 1.0


class Sending(msgspec.Struct, frozen=True, gc=False):
    """One request as it was sent.

    Attributes:
        number: its place among all.
        in_flight: how many were under way, this one included.
        bucket: where it is counted.
    """

    number: int
    in_flight: int
    bucket: Bucket


class Learned:
    """The limits as told, as named by 429s, and as guessed.

    Args:
        told: what the caller says; nothing that is learned goes above it.
        adaptive: whether anything is learned.
        clock: the time in seconds.
        minute: how many of its seconds make a minute.

    Attributes:
        told: as given.
        limits: those that hold at the moment.
    """

    def __init__(self, told: Limits, *, adaptive: bool, clock: Callable[[], float], minute: float) -> None:
        self.told = self.limits = told
        self._asked_until = self._trial_until = -math.inf
        self._adaptive = adaptive
        self._clock = clock
        self._longest_pause = minute
        self._named = Limits()
        self._sent = 0
        # What was sent up to here has nothing new to say of the limits as they were lowered then.
        self._judged = 0
        self._for_rate = False
        self._trial = self._guessing = False
        self._trial_pause = minute * _TRIAL / MINUTE
        self._concurrency = ConcurrencyGuess()
        self._rate = RateGuess(minute)
        self._lock = threading.Lock()

    @property
    def paused_until(self) -> float:
        """Nothing is admitted before this moment, on the clock."""
        return max(self._asked_until, self._trial_until)

    def sent(self, in_flight: int) -> Sending | None:
        """A request was admitted, and is sent now."""
        if not self._adaptive:
            return None
        with self._lock:
            now = self._clock()
            self._sent += 1
            if self._trial:
                self._trial_until = now + self._trial_pause
            return Sending(self._sent, in_flight, self._rate.sent(now))

    def accepted(self, sending: Sending | None) -> bool:
        """The head of a good answer came; whether more may be admitted from now on."""
        # Mostly there is nothing that a success could change.
        if sending is None or not self._guessing:
            return False
        with self._lock:
            news = sending.number > self._judged
            passed = self._trial and news
            if passed:
                self._trial, self._trial_until = False, -math.inf
            higher = news and self._concurrency.accepted(sending.in_flight)
            higher |= self._rate.accepted(self._clock())
            if higher or passed:
                self._conclude()
            return higher or passed

    def refused(self, sending: Sending | None, error: RateLimitError) -> None:
        """The service answered 429."""
        if sending is None:
            return
        with self._lock:
            now = self._clock()
            self._rate.not_taken(sending.bucket)
            if not self._hear(error.message):
                self._judge(error, sending, now)
            # A day is not waited for.
            if error.retryable and error.retry_after is not None:
                self._asked_until = max(self._asked_until, now + min(error.retry_after, self._longest_pause))
            self._conclude()

    def _hear(self, text: str) -> bool:
        """Whether the words name a limit."""
        match = _NUMBER.search(text)
        if match is None or int(match[2]) < 1:
            return False
        axis = match[1].lower()
        self._named = msgspec.structs.replace(self._named, **{axis: int(match[2])})
        # What is known needs no guess.
        if axis == "concurrency":
            self._concurrency = ConcurrencyGuess()
        elif axis != "tpd":
            self._rate.limit = None
        return True

    def _judge(self, error: RateLimitError, sending: Sending, now: float) -> None:
        """Guess which limit it was, and lower it: once for all that were sent before."""
        if sending.number <= self._judged:
            if self._for_rate:
                self._rate.refused(now)
            return
        match = _AXIS.search(error.message)
        axis = "" if match is None else match[1].lower()
        if axis == "tpd":
            return
        level, self._judged = sending.in_flight, self._sent
        overloaded = isinstance(error, EngineOverloadedError)
        if axis or overloaded:
            self._for_rate = axis in ("rpm", "tpm")
        else:
            beyond = self._concurrency.explains(level)
            self._for_rate = level == 1 or (not beyond and self._rate.explains(now))
        if self._for_rate:
            self._concurrency.acquit()
            self._rate.refused(now)
        else:
            self._concurrency.refused(level, edge=not overloaded)
        # How far to lower is known for the rate alone; else it is felt for.
        self._trial = not self._for_rate or self._rate.limit is None

    def _conclude(self) -> None:
        told, named = self.told, self._named
        self._guessing = self._trial or self._concurrency.limit is not None or self._rate.limit is not None
        self.limits = Limits(
            concurrency=_least(told.concurrency, named.concurrency, self._concurrency.limit),
            rpm=_least(told.rpm, named.rpm, self._rate.limit),
            tpm=_least(told.tpm, named.tpm),
            tpd=_least(told.tpd, named.tpd),
        )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
