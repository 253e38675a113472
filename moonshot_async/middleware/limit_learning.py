"""What answers teach about the limits: numbers that 429s name, moments to wait for, and guesses where neither is said.

Too many at once, or too many in a minute? Where the words do not tell, the first is believed, and requests are sent one
by one until one is served: if the service refuses what is under way alone, it was the minute.

A few refusals may mean neither (`limit_evidence.py`): what was lowered for such is taken back, and for a minute from
then on only what refuses nearly everything is taken for a limit.

See: https://platform.kimi.ai/docs/pricing/limits
"""

import math
import re
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from moonshot_async.errors import EngineOverloadedError, RateLimitError
from moonshot_async.middleware.limit_evidence import Evidence, Finding, Outcome, Sending
from moonshot_async.middleware.limit_guesses import ConcurrencyGuess, RateGuess
from moonshot_async.middleware.limit_store import MINUTE, Limits

_AXIS: Final = re.compile(r"\b(RPM|TPM|TPD|concurrency)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"\b(RPM|TPM|TPD|concurrency)(?: rate limit, current: ?\d{1,12}, limit)?: ?(\d{1,12})\b", re.IGNORECASE
)
# Seconds between requests that are sent to find out: refusals come at once, answers may take minutes.
_TRIAL: Final = 1.0
# A few refusals do not lower what was told by more than to this part.
_FLOOR: Final = 4


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
        self._asked_until = self._trial_until = self._random_until = -math.inf
        self._adaptive = adaptive
        self._clock = clock
        self._minute = minute
        self._named = Limits()
        self._sent = 0
        # What was sent up to here has nothing new to say of the limits as they were lowered then.
        self._judged = 0
        self._for_rate = False
        self._trial = self._guessing = False
        self._trial_pause = minute * _TRIAL / MINUTE
        self._evidence = Evidence(self._trial_pause)
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
            self._weigh(now)
            self._sent += 1
            if self._trial:
                self._trial_until = now + self._trial_pause
            sending = Sending(self._sent, in_flight, self._rate.sent(now), now)
            self._evidence.sent(sending)
            return sending

    def accepted(self, sending: Sending | None) -> bool:
        """The head of a good answer came; whether more may be admitted from now on."""
        if sending is None:
            return False
        with self._lock:
            now = self._clock()
            self._evidence.answered(sending, Outcome.TAKEN, now)
            more = self._weigh(now)
            # Mostly there is nothing that a success could change.
            if not self._guessing:
                return more
            news = sending.number > self._judged
            passed = news and self._pass_trial()
            higher = news and self._concurrency.accepted(sending.in_flight)
            higher |= self._rate.accepted(now)
            if higher or passed:
                self._conclude()
            return more or higher or passed

    def refused(self, sending: Sending | None, error: RateLimitError) -> None:
        """The service answered 429."""
        if sending is None:
            return
        with self._lock:
            now = self._clock()
            self._rate.not_taken(sending.bucket)
            sending.overloaded = isinstance(error, EngineOverloadedError)
            match = _AXIS.search(error.message)
            axis = "" if match is None else match[1].lower()
            named = self._hear(error.message) or axis == "tpd"
            self._evidence.answered(sending, Outcome.NAMED if named else Outcome.REFUSED, now)
            cut = not named and self._suspect(sending, axis, now)
            self._weigh(now)
            # A day is not waited for.
            if error.retryable and error.retry_after is not None and (cut or self._for_all(axis, now)):
                self._asked_until = max(self._asked_until, now + min(error.retry_after, self._minute))
            self._conclude()

    def heard(self, text: str) -> bool:
        """The words of a 429 that something else met; whether they name a limit."""
        with self._lock:
            named = self._adaptive and self._hear(text)
            self._conclude()
            return named

    def _hear(self, text: str) -> bool:
        """Whether the words name a limit."""
        if (named := named_limit(text)) is None:
            return False
        axis, number = named
        self._named = msgspec.structs.replace(self._named, **{axis: number})
        # What is known needs no guess.
        if axis == "concurrency":
            self._concurrency = ConcurrencyGuess()
        elif axis != "tpd":
            self._rate.forget()
        return True

    def _for_all(self, axis: str, now: float) -> bool:
        """Whether the moment that a 429 names is one for all requests, and not for that one alone."""
        if axis in ("rpm", "tpm"):
            return True
        return self._evidence.nearly_all_refused if now < self._random_until else self._evidence.mostly_refused

    def _suspect(self, sending: Sending, axis: str, now: float) -> bool:
        """Lower the limits for a refusal whose reason is plain enough; whether that was done."""
        level = sending.in_flight
        if sending.number <= self._judged:
            if self._for_rate:
                self._rate.refused(now)
            return False
        if now < self._random_until:
            return False
        peak = self._evidence.peak(level)
        if level == 1:
            # It was sent alone, but others may have joined it.
            level = peak
        if not axis and self._lowered:
            # Where the guess is not in force, because much more was told, it explains nothing.
            if self.limits.concurrency == self._concurrency.limit and self._concurrency.explains(peak):
                level = peak
            elif self._evidence.usual(level) and not self._rate.explains(now):
                return False
        self._cut(sending, level, axis, now)
        return True

    def _weigh(self, now: float) -> bool:
        """Look at the outcomes that are known by now; whether more may be admitted."""
        more = False
        while (known := self._evidence.next(now, self._judged)) is not None:
            sending, finding = known
            news = sending.number > self._judged
            if sending.outcome is Outcome.TAKEN:
                more |= self._pass_trial() if news else self._hear_late(sending)
            if finding is Finding.RANDOM and (now < self._random_until or (news and self._lowered)):
                more |= self._take_back(now)
            elif finding is Finding.DOMINANT:
                if news:
                    self._cut(sending, self._evidence.level, "", now)
                guess: ConcurrencyGuess | RateGuess = self._rate if self._for_rate else self._concurrency
                guess.sure = guess.limit is not None
            elif finding is Finding.REPEATED and news and now >= self._random_until:
                self._cut(sending, self._evidence.level, "", now)
        if more:
            self._conclude()
        return more

    def _cut(self, sending: Sending, level: int, axis: str, now: float) -> None:
        """Guess which limit it was, and lower it: once for all that were sent before."""
        self._judged = self._sent
        if axis or sending.overloaded:
            self._for_rate = axis in ("rpm", "tpm")
        else:
            beyond = self._concurrency.explains(level)
            self._for_rate = level == 1 or (not beyond and self._rate.explains(now))
        if self._for_rate:
            self._concurrency.acquit()
            self._rate.refused(now)
        else:
            self._concurrency.refused(level, edge=not sending.overloaded)
        # How far to lower is known for the rate alone; else it is felt for.
        self._trial = not self._for_rate or self._rate.limit is None

    @property
    def _lowered(self) -> bool:
        """Whether anything was guessed."""
        return self._concurrency.limit is not None or self._rate.limit is not None

    def _hear_late(self, sending: Sending) -> bool:
        """One was taken that was sent before the limits were lowered; whether that was too much."""
        if self._for_rate or self._concurrency.sure:
            return False
        before = self._concurrency.limit
        self._concurrency.took(sending.level)
        return self._concurrency.limit != before

    def _pass_trial(self) -> bool:
        """One was served; whether that was what was waited for."""
        passed = self._trial
        if passed:
            self._trial, self._trial_until = False, -math.inf
        return passed

    def _take_back(self, now: float) -> bool:
        """Refusals are random, for some time; whether something was lowered for one of them."""
        self._random_until = now + self._minute
        lowered = self._pass_trial() or self._asked_until > now
        self._asked_until = -math.inf
        if not self._concurrency.sure and self._concurrency.limit is not None:
            self._concurrency = ConcurrencyGuess()
            lowered = True
        if not self._rate.sure and self._rate.limit is not None:
            self._rate.forget()
            lowered = True
        return lowered

    def _conclude(self) -> None:
        told, named = self.told, self._named
        self._guessing = self._trial or self._lowered
        self.limits = Limits(
            concurrency=_least(told.concurrency, named.concurrency, _bounded(self._concurrency, told.concurrency)),
            rpm=_least(told.rpm, named.rpm, _bounded(self._rate, told.rpm)),
            tpm=_least(told.tpm, named.tpm),
            tpd=_least(told.tpd, named.tpd),
        )


def named_limit(text: str) -> tuple[str, int] | None:
    """The limit that the words of a 429 name: "rpm", "tpm", "tpd" or "concurrency", and its number; None for none."""
    match = _NUMBER.search(text)
    return None if match is None or int(match[2]) < 1 else (match[1].lower(), int(match[2]))


def _bounded(guess: ConcurrencyGuess | RateGuess, told: int | None) -> int | None:
    """A guess; what the caller says weighs more than a few refusals do."""
    if guess.limit is None or told is None or guess.sure:
        return guess.limit
    return max(guess.limit, told // _FLOOR)


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
