"""Do refusals come of the load, or at random? What was sent, in its order, with what became of it.

A limit refuses all that is sent beyond it: after its first refusal nothing is taken that is sent with as many under
way. Other processes of the same account, and gateways in trouble, refuse now and then, whatever is sent. So a refusal
is suspected of the load, and what was sent after it, under no less of it, tells: most was refused, or most was taken.

Refusals come soon and answers late, so that what has no answer yet counts as taken once refusals would have come. The
outcomes are looked at in the order of sending, and no further than to the first that is still open.
"""

import enum
import math
from collections import deque
from itertools import takewhile
from typing import Final

import msgspec

from moonshot_async.middleware.limit_windows import Bucket

# So many of the last outcomes are kept, and so many refusals among them show a limit even where many are random.
_LAST: Final = 12
_MOST: Final = 10
# So many that were taken show that a level is nothing special, and so many acquit the load of a refusal.
_USUAL: Final = 4
_ENOUGH: Final = 8
# Of so many that were taken it is known under which load.
_LEVELS: Final = 64
# What is less by this part is no less of a load.
_SLACK: Final = 40
# So many refusals show a limit where one of them was alone under way: that means to wait for a minute.
_ALONE: Final = 3
# A refusal is suspected for so many of the requests that follow it.
_SUSPECTED: Final = 40


class Outcome(enum.Enum):
    """What became of a request, as far as the limits are concerned."""

    OPEN = enum.auto()
    TAKEN = enum.auto()
    REFUSED = enum.auto()
    # Refused for a limit that was named: nothing is left to be found out.
    NAMED = enum.auto()


class Finding(enum.Enum):
    """What the outcomes show."""

    # Refusals do not depend on the load.
    RANDOM = enum.auto()
    # A refusal was followed by more of them.
    REPEATED = enum.auto()
    # Nearly everything is refused.
    DOMINANT = enum.auto()


class Sending(msgspec.Struct, gc=False):
    """One request as it was sent.

    Attributes:
        number: its place among all.
        in_flight: how many were under way, this one included.
        bucket: where it is counted.
        at: when it was sent.
        outcome: what became of it.
        over: when that was known.
        overloaded: whether it was refused for an overload.
        level: how many were under way that were not refused, this one included; once it is known.
    """

    number: int
    in_flight: int
    bucket: Bucket
    at: float
    outcome: Outcome = Outcome.OPEN
    over: float = math.inf
    overloaded: bool = False
    level: int = 0


class _Suspect:
    """A refusal, and what followed it.

    Attributes:
        first: the refusal.
        level: the least load under which it or a later one was refused.
        refused, taken: how many were, this one included.
    """

    __slots__ = ("first", "level", "refused", "taken")

    def __init__(self, first: Sending) -> None:
        self.first = first
        self.level = first.in_flight
        self.refused = 1
        self.taken = 0


class Evidence:
    """Outcomes in the order of sending.

    Args:
        patience: seconds after which what is still open was taken, at most; less where refusals come sooner.

    Attributes:
        level: the least load under which one of the refusals of the last finding was refused.
    """

    def __init__(self, patience: float) -> None:
        self.level = 0
        self._longest = self._patience = patience
        self._open: deque[Sending] = deque()
        self._last: deque[Sending] = deque(maxlen=_LAST)
        self._refused = 0
        self._levels: deque[int] = deque(maxlen=_LEVELS)
        # When it was heard of refusals: until then they seemed to be under way.
        self._ghosts: deque[float] = deque()
        self._suspect: _Suspect | None = None

    def sent(self, sending: Sending) -> None:
        self._open.append(sending)

    def answered(self, sending: Sending, outcome: Outcome, now: float) -> None:
        """The service took it, or refused it."""
        sending.outcome, sending.over = outcome, now
        if outcome is not Outcome.TAKEN:
            # Twice what it took, and slowly less where others take less.
            self._patience = min(self._longest, max(2 * (now - sending.at), 0.9 * self._patience))

    @property
    def mostly_refused(self) -> bool:
        """Whether most of the last ones were."""
        return 2 * self._refused > len(self._last)

    @property
    def nearly_all_refused(self) -> bool:
        """Whether more of the last ones were than chance brings about."""
        return self._refused >= _MOST

    def peak(self, level: int) -> int:
        """The most that were under way lately: what is sent at about one time may arrive in any order."""
        return max((sending.in_flight for sending in self._open), default=level)

    def usual(self, level: int) -> bool:
        """Whether requests were taken under such a load."""
        least = _no_less(level)
        return sum(each >= least for each in self._levels) >= _USUAL

    def next(self, now: float, judged: int) -> tuple[Sending, Finding | None] | None:
        """The next request whose outcome is known, and what is found with it; None for no more.

        Args:
            now: the time.
            judged: the last that was sent before the limits were lowered; later ones were sent under another load.
        """
        waiting = self._open
        if not waiting:
            return None
        sending = waiting[0]
        if sending.outcome is Outcome.OPEN:
            if now - sending.at <= self._patience:
                return None
            sending.outcome = Outcome.TAKEN
        waiting.popleft()
        if sending.outcome is Outcome.NAMED:
            return sending, None
        refused = sending.outcome is Outcome.REFUSED
        if len(self._last) == _LAST:
            self._refused -= self._last[0].outcome is Outcome.REFUSED
        self._last.append(sending)
        self._refused += refused
        return sending, self._refusal(sending, judged) if refused else self._success(sending, judged)

    def _refusal(self, sending: Sending, judged: int) -> Finding | None:
        self._exorcise(sending.at)
        self._ghosts.append(sending.over)
        suspect = self._suspect
        if suspect is None or sending.number > suspect.first.number + _SUSPECTED:
            suspect = self._suspect = _Suspect(sending)
        elif suspect.first.number <= judged < sending.number:
            # Under another load it begins anew, but for having been refused before.
            before, suspect = suspect, _Suspect(sending)
            suspect.refused += min(before.refused, _ALONE - 1) if before.refused > 2 * before.taken else 0
            self._suspect = suspect
        else:
            suspect.refused += 1
            suspect.level = min(suspect.level, sending.in_flight)
        if self.nearly_all_refused:
            row = takewhile(lambda each: each.outcome is Outcome.REFUSED, reversed(self._last))
            self.level = min(each.in_flight for each in row)
            return Finding.DOMINANT
        if suspect.refused >= (_ALONE if suspect.level == 1 else 2) and suspect.refused > 2 * suspect.taken:
            self.level = suspect.level
            return Finding.REPEATED
        return None

    def _success(self, sending: Sending, judged: int) -> Finding | None:
        self._exorcise(sending.at)
        level = sending.level = max(1, sending.in_flight - len(self._ghosts))
        self._levels.append(level)
        suspect = self._suspect
        if suspect is None:
            return None
        if (suspect.first.number <= judged) is not (sending.number <= judged):
            self._suspect = None
            return None
        suspect.taken += level >= _no_less(suspect.level)
        if suspect.taken >= _ENOUGH and suspect.taken >= 2 * suspect.refused:
            self._suspect = None
            return Finding.RANDOM
        return None

    def _exorcise(self, at: float) -> None:
        """Forget the refusals that had been heard of when something was sent."""
        while self._ghosts and self._ghosts[0] <= at:
            self._ghosts.popleft()


def _no_less(level: int) -> int:
    return level - level // _SLACK
