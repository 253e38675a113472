"""Streams that are opened a few at a time, so that they do not wait for each other, and left together."""

import asyncio
import time
from typing import Any

from benchmarks.answers import ASK

TOGETHER = 50
_LONGEST_S = 120


class OpenStreams:
    """Streams that are open, and what they have said.

    Attributes:
        texts: of each stream, what it handed out.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._tasks: list[asyncio.Task[None]] = []
        self.texts: list[list[str]] = []

    async def open(self, count: int) -> None:
        """Open so many more, until each has said something.

        Raises:
            TimeoutError: one does not.
            Exception: what ended one.
        """
        for start in range(0, count, TOGETHER):
            fresh = [list[str]() for _ in range(min(TOGETHER, count - start))]
            self.texts += fresh
            self._tasks += (asyncio.create_task(self._client.stream(ASK, parts.append)) for parts in fresh)
            await self._begun(len(fresh))

    async def close(self) -> None:
        """Leave them all.

        Raises:
            Exception: what ended one before.
        """
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _begun(self, count: int) -> None:
        until = time.monotonic() + _LONGEST_S
        while not all(self.texts[-count:]):
            if ended := next((task for task in self._tasks[-count:] if task.done()), None):
                ended.result()
                raise ConnectionError("a stream ended before it had begun")
            if time.monotonic() > until:
                raise TimeoutError("a stream does not begin")
            await asyncio.sleep(0.002)
