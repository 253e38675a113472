"""The body of a streamed answer: frames at a pace, with the ways in which a stream may end badly."""

import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Final

from moonshot_async.wire import ByteStream

Sleep = Callable[[float], Awaitable[object]]

# A frame of this value means that nothing more will come, nor an end.
SILENCE: Final = b""


class PacedBody:
    """Frames one by one, each after a pause.

    Args:
        frames: what to send; an exception that the iterator raises breaks the body off, `SILENCE` stalls it.
        pace: returns the pause before the next frame, in seconds, so that it may change while a stream runs.
        sleep: waits.
    """

    def __init__(self, frames: Iterator[bytes], pace: Callable[[], float], sleep: Sleep) -> None:
        self._frames = frames
        self._pace = pace
        self._sleep = sleep
        self._error: ConnectionResetError | None = None
        self._wake: Callable[[], object] | None = None

    async def read(self, deadline: float | None = None) -> bytes:
        if self._error is not None:
            raise self._error
        pause = self._pace()
        if pause > 0:
            # Pausing comes first: a pause that is cancelled or times out loses no frame.
            await _before(deadline, lambda: self._sleep(pause))
        try:
            frame = next(self._frames, None)
        except ConnectionResetError as error:
            self._error = error
            raise
        if frame is None:
            return b""
        if frame == SILENCE:
            self._frames = iter((SILENCE,))
            await _before(deadline, self._until_closed)
            return b""
        return frame

    async def _until_closed(self) -> None:
        import anyio

        closed = anyio.Event()
        self._wake = closed.set
        await closed.wait()

    def close(self) -> None:
        self._frames = iter(())
        self._error = None
        if self._wake is not None:
            self._wake()


async def _before(deadline: float | None, wait: Callable[[], Awaitable[object]]) -> None:
    if deadline is None:
        await wait()
        return
    import anyio

    with anyio.fail_after(max(0.0, deadline - time.monotonic())):
        await wait()


def cut(frames: Iterator[bytes], after: int) -> Iterator[bytes]:
    """The first `after` frames, and an orderly end of the body."""
    return islice(frames, after)


def reset(frames: Iterator[bytes], after: int) -> Iterator[bytes]:
    """The first `after` frames, then a broken connection."""
    yield from islice(frames, after)
    raise ConnectionResetError("the fake reset the connection")


def followed(frames: Iterator[bytes], after: int, last: bytes) -> Iterator[bytes]:
    """The first `after` frames, then `last` (an error event, or `SILENCE`), then an orderly end."""
    yield from islice(frames, after)
    yield last


PACED_BODY_FITS: type[ByteStream] = PacedBody
