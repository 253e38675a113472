"""Events on their way from the loop to whoever reads the run.

The loop never waits to hand one over, so that a slow reader keeps no tool from starting. What piles up stays small:
pieces of a text that nobody has taken become one event, and the loop sends no further request before all were taken.
"""

import asyncio
from collections import deque

from moonshot_async.chat_events import ContentDeltaEvent, ReasoningDeltaEvent
from moonshot_async.toolkit.functions.loop.events import RunEvent


class Outbox:
    """A queue for one reader."""

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        # The texts that the last event stands for, where it is a piece of text.
        self._pieces: list[str] = []
        self._ended = False
        self._error: BaseException | None = None
        self._changed: set[asyncio.Future[None]] = set()

    def put(self, event: RunEvent) -> None:
        """Add an event, unless nobody will take it; never waits."""
        if self._ended:
            return
        if isinstance(event, (ContentDeltaEvent, ReasoningDeltaEvent)):
            if self._events and type(self._events[-1]) is type(event):
                # The newer one takes the place of the older: its snapshot reaches further.
                self._events[-1] = event
                self._pieces.append(event.delta)
                return
            self._seal()
            self._pieces = [event.delta]
        else:
            self._seal()
        self._events.append(event)
        self._tell()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come but, once, this error."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._tell()

    def broke_off(self, _: object) -> None:
        """Nothing more will come, and unless that was said before, nobody knows why."""
        self.end(asyncio.CancelledError())

    def close(self) -> None:
        """Nothing more will come, not even what waits here."""
        self._events.clear()
        self._pieces = []
        self.end()
        self._error = None
        self._tell()

    async def get(self) -> RunEvent | None:
        """The next event; None at the end.

        Raises:
            BaseException: what ended the loop.
        """
        while not self._events and not self._ended:
            await self._change()
        if self._events:
            return self._take()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # An exception that is held where its own traceback leads stays until a garbage collection.
                del error
        return None

    async def taken(self) -> None:
        """Wait until the reader has taken all there is."""
        while self._events:
            await self._change()

    def _take(self) -> RunEvent:
        if len(self._events) == 1:
            self._seal()
        event = self._events.popleft()
        if not self._events:
            self._tell()
        return event

    def _seal(self) -> None:
        """No more text is added to the last event."""
        if len(self._pieces) > 1:
            last = self._events[-1]
            assert isinstance(last, (ContentDeltaEvent, ReasoningDeltaEvent)), "others have no pieces"
            last.delta = "".join(self._pieces)
        self._pieces = []

    async def _change(self) -> None:
        changed = asyncio.get_running_loop().create_future()
        self._changed.add(changed)
        try:
            await changed
        finally:
            self._changed.discard(changed)

    def _tell(self) -> None:
        for changed in self._changed:
            if not changed.done():
                changed.set_result(None)
