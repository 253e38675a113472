"""Limits that nobody told, from the refusal on that names one: until then a call passes at next to no cost."""

import time
from collections import deque
from collections.abc import Awaitable
from typing import ClassVar, Final

from moonshot_async.catalog import Catalog
from moonshot_async.errors import RateLimitError
from moonshot_async.middleware import Handler
from moonshot_async.middleware.limit_learning import named_limit
from moonshot_async.middleware.limit_store import MINUTE, Limits
from moonshot_async.middleware.limits import LimitsSnapshot, RateLimits
from moonshot_async.wire import Request, Response

# So many answers of the last minute are known; no tier has more.
_MOST: Final = 20_000
# A number is believed when so many were refused, and what was let in is no further from it than this part.
_ENOUGH: Final = 5
_SLACK: Final = 0.1


class LateLimits:
    """Keeps the limits of the account once the service has named one of them.

    How many requests a minute may have is believed where about as many were answered within a minute: else the words
    are a test's, or others use the account, and what they left was no limit. What is still open may be refused yet.
    429s that name no limit change nothing; their requests are put back.

    Args:
        catalog: knows how long answers may be where a request does not say.
    """

    keeps_deadline: ClassVar = True

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._limits: RateLimits | None = None
        self._answered: deque[float] = deque(maxlen=_MOST)
        self._refused: deque[float] = deque(maxlen=_MOST)

    def __call__(self, request: Request, call_next: Handler) -> Awaitable[Response]:
        if self._limits is not None:
            return self._limits(request, call_next)
        return call_next(request)

    def answered(self) -> None:
        """A call was answered."""
        if self._limits is None:
            self._answered.append(time.monotonic())

    def refused(self, error: RateLimitError) -> None:
        """The service answered 429. A layer further inside says so, since this one is to cost nothing."""
        if self._limits is not None:
            return
        self._refused.append(time.monotonic())
        if (named := named_limit(error.message)) is not None and self._believes(*named):
            self._limits = RateLimits(catalog=self._catalog)
            self._limits.heard(error)
            self._answered.clear()
            self._refused.clear()

    def snapshot(self) -> LimitsSnapshot:
        """What is known of the limits; nothing at first."""
        return LimitsSnapshot(0, 0, 0, 0, 0, Limits(), 0.0) if self._limits is None else self._limits.snapshot()

    def _believes(self, axis: str, number: int) -> bool:
        if axis != "rpm":
            return True
        since = time.monotonic() - MINUTE
        for times in (self._answered, self._refused):
            while times and times[0] < since:
                times.popleft()
        return len(self._refused) >= _ENOUGH and abs(len(self._answered) - number) <= 1 + _SLACK * number
