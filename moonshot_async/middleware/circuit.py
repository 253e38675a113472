"""One circuit: what its last calls came to, and whether the next may be sent. No I/O, no clock of its own.

closed     calls are sent, and their outcomes counted
open       none is sent, until a moment
half open  from that moment on one at a time is sent, to try: if it is answered the circuit closes, else it opens
           for twice as long
"""

from threading import Lock
from typing import Final, Literal, NamedTuple

State = Literal["closed", "open", "half_open"]

# The window moves in steps of this part of it.
_STEPS: Final = 10


class Rules(NamedTuple):
    """When circuits open, and for how long; see `CircuitBreaker`."""

    failures: int
    share: float
    window: float
    open_for: float
    open_at_most: float


class Circuit:
    """The circuit of one host and model; for any number of threads.

    Attributes:
        why: what opened it last.
        used: when it was asked last.
    """

    __slots__ = (
        "_calls",
        "_failed",
        "_lock",
        "_opened",
        "_probe",
        "_rules",
        "_step",
        "_turn",
        "_until",
        "_wait",
        "used",
        "why",
    )

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._lock = Lock()
        self._wait = rules.open_for
        self.why = ""
        self.used = 0.0
        # Calls of before a change of state are not counted after it: each has the turn in which it was admitted.
        self._turn = 0
        self._opened = 0
        # When it is half open; None while it is closed.
        self._until: float | None = None
        # When the call that is out to try has had its time.
        self._probe: float | None = None
        self._step = 0
        self._calls = [0] * _STEPS
        self._failed = [0] * _STEPS

    def admit(self, now: float) -> int | None:
        """Whether a call may be sent: its turn, to be given to what tells the outcome, or None where it may not."""
        self.used = now
        # Without the lock, since almost every call ends here. One that slips through while another thread opens the
        # circuit has a turn that is over.
        until = self._until
        if until is None:
            return self._turn
        with self._lock:
            until = self._until
            if until is None:
                return self._turn
            if now < until or (self._probe is not None and now < self._probe):
                return None
            self._turn += 1
            # One that hangs keeps the others waiting only so long.
            self._probe = now + self._rules.open_for
            return self._turn

    def answered(self, turn: int, now: float) -> bool:
        """A call was answered; whether this has closed the circuit."""
        with self._lock:
            if self._until is None:
                if turn == self._turn:
                    self._calls[self._at(now)] += 1
                return False
            if turn <= self._opened:
                return False
            self._change(None)
            self._wait = self._rules.open_for
            return True

    def failed(self, turn: int, now: float, cause: str) -> bool:
        """A call failed; whether this has opened the circuit."""
        with self._lock:
            if self._until is not None:
                if turn <= self._opened:
                    return False
                self._wait = min(2 * self._wait, self._rules.open_at_most)
                self.why = f"the call that was sent to try failed with {cause}"
            elif turn == self._turn and self._too_many(now):
                calls, failed = sum(self._calls), sum(self._failed)
                window = self._rules.window
                self.why = f"{failed} of {calls} calls failed within {window:g} s, the last with {cause}"
            else:
                return False
            self._change(now + self._wait)
            return True

    def given_up(self, turn: int) -> None:
        """A call came to nothing that says anything: it was cancelled, or not sent. Another may try in its place."""
        with self._lock:
            if turn == self._turn:
                self._probe = None

    def state(self, now: float) -> State:
        """What it is at a moment."""
        until = self._until
        if until is None:
            return "closed"
        return "open" if now < until else "half_open"

    def counts(self, now: float) -> tuple[int, int]:
        """How many calls of the window had an outcome, and how many of them failed."""
        with self._lock:
            self._at(now)
            return sum(self._calls), sum(self._failed)

    def retry_after(self, now: float) -> float:
        """Seconds until a call is let through at the latest; 0 where it is now."""
        until, probe = self._until, self._probe
        return max(0.0, (until or now) - now, (probe or now) - now)

    def _too_many(self, now: float) -> bool:
        """Count a failure; whether there are too many now."""
        at = self._at(now)
        self._calls[at] += 1
        self._failed[at] += 1
        calls, failed = sum(self._calls), sum(self._failed)
        return failed >= self._rules.failures and failed >= self._rules.share * calls

    def _at(self, now: float) -> int:
        """The place of this moment in the window, with what is too old taken out."""
        step = int(now * _STEPS / self._rules.window)
        if step != self._step:
            for old in range(max(self._step + 1, step - _STEPS + 1), step + 1):
                self._calls[old % _STEPS] = self._failed[old % _STEPS] = 0
            self._step = max(step, self._step)
        return self._step % _STEPS

    def _change(self, until: float | None) -> None:
        self._turn += 1
        self._opened = self._turn
        self._until = until
        self._probe = None
        self._calls = [0] * _STEPS
        self._failed = [0] * _STEPS
