"""How many calls a run makes at once, where nobody says: what the limiter knows, else more while all goes well."""

from typing import Any, Final

from moonshot_async.bulk.late_limits import LateLimits

# To begin with, and at most.
_FIRST: Final = 8
_MOST: Final = 256


class Crew:
    """The number of workers that are wanted.

    Args:
        concurrency: fixed; None to find it out.
        limits: the limiter of the client, which may tell.
    """

    def __init__(self, concurrency: int | None, limits: object) -> None:
        self._fixed = concurrency
        self._limits = limits
        self._late = limits if isinstance(limits, LateLimits) else None
        self._felt = _FIRST
        self._good = 0
        self.wanted = self._look()

    def good(self) -> bool:
        """A call went well; whether more are wanted now."""
        if self._late is not None:
            self._late.answered()
        self._good += 1
        if self._fixed is not None or self._good < self._felt:
            return False
        self._good = 0
        self._felt = min(2 * self._felt, _MOST)
        before, self.wanted = self.wanted, self._look()
        return self.wanted > before

    def refused(self) -> None:
        """A limit was reached: not more before as many went well again."""
        self._good = 0

    def _look(self) -> int:
        if self._fixed is not None:
            return self._fixed
        known = self._known()
        # Some wait for the limiter while others wait for the journal, so that none of its places stays empty.
        return self._felt if known is None else known + 1 + known // 2

    def _known(self) -> int | None:
        snapshot: Any = getattr(self._limits, "snapshot", None)
        if not callable(snapshot):
            return None
        known = getattr(getattr(snapshot(), "limits", None), "concurrency", None)
        return known if isinstance(known, int) else None
