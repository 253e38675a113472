"""Punctuality on a machine that is busy with other things: what is late because nothing could run is not late."""

import asyncio
import time


class Stalls:
    """When the event loop stood still, for want of a processor or because something held it: no timer is kept then.

    Counts from its making until `close()`, in the loop that runs. Moments are those of `time.monotonic()`, in seconds.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stood: list[tuple[float, float]] = []
        self._come_round()

    def late(self, due: float, ended: float | None = None) -> float:
        """How long after `due` something ended (or: it is now), without what the loop stood still in between."""
        now = time.monotonic()
        ended = now if ended is None else ended
        stood = [*self._stood, (self._due, now)] if now > self._due + _PUNCTUAL else self._stood
        return ended - due - sum(max(0.0, min(until, ended) - max(since, due)) for since, until in stood)

    @property
    def longest(self) -> float:
        """The longest time, in seconds, that the loop did not come round."""
        return max((until - since for since, until in self._stood), default=0.0)

    def close(self) -> None:
        self._timer.cancel()

    def _come_round(self) -> None:
        self._due = time.monotonic() + _EVERY
        self._timer = self._loop.call_later(_EVERY, self._came_round)

    def _came_round(self) -> None:
        now = time.monotonic()
        if now > self._due + _PUNCTUAL:
            self._stood.append((self._due, now))
        self._come_round()


# In seconds: how often the loop is asked, and how much later than that it comes when nothing is amiss.
_EVERY = 0.005
_PUNCTUAL = 0.005
