"""Files that are read while they are sent: in worker threads, some pieces at a time.

Neither the event loop waits for the disk nor memory holds more than those pieces. A read that is under way is not
waited for when its call is cancelled.
"""

import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeVar

from moonshot_async.errors import UploadError
from moonshot_async.threads import in_daemon_thread

T = TypeVar("T")

PIECE_BYTES: Final = 256 * 1024
# A thread reads so many pieces at a time, unless that takes longer: to go to a thread and back takes as long as to
# read one, or three in a thread of its own.
_PIECES: Final = 8
_SECONDS: Final = 0.02
TEXT: Final = "the file is open as text: open it with open(..., 'rb')"
COROUTINES: Final = "the file object is read by coroutines: give its path, its bytes, or the file that it wraps"


class Reading(Protocol):
    """One pass over the bytes of a source."""

    async def next(self, sent: int) -> bytes:
        """The piece after the first `sent` bytes; never empty.

        Raises:
            UploadError: there is none, or more than there was when the source was measured.
        """
        ...

    def close(self) -> None:
        """Let go of what the pass has opened; never waits."""
        ...


class Source(Protocol):
    """The bytes of a file.

    Attributes:
        size: how many.
    """

    @property
    def size(self) -> int: ...

    def reading(self) -> Reading:
        """A pass from its beginning."""
        ...

    def close(self) -> None:
        """Let go of what was opened; never waits."""
        ...


class Memory:
    """Bytes; a pass over them is the source itself."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def reading(self) -> Reading:
        return self

    async def next(self, sent: int) -> bytes:
        return bytes(self._view[sent : sent + PIECE_BYTES])

    def close(self) -> None:
        pass


class OnDisk:
    """A file that is opened anew for each pass."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size

    def reading(self) -> Reading:
        handle = Handle(self._open)
        return _Pass(handle, 0, self.size, handle.close, _in_worker)

    def close(self) -> None:
        pass

    def _open(self) -> IO[bytes]:
        file = self._path.open("rb", buffering=0)
        if (size := os.fstat(file.fileno()).st_size) != self.size:
            file.close()
            raise _changed(self.size, f"has {size} now")
        return file


class OpenFile:
    """A file that is open already, and stays so until the end of the call."""

    def __init__(self, handle: "Handle", start: int, size: int) -> None:
        self._handle = handle
        self._start = start
        self.size = size

    def reading(self) -> Reading:
        return _Pass(self._handle, self._start, self.size, lambda: None, in_thread)

    def close(self) -> None:
        self._handle.close()


class _Pass:
    """One pass over a file, which must be as long at its end as it was when it was measured."""

    def __init__(
        self, handle: "Handle", start: int, size: int, close: Callable[[], None], in_thread: Callable[..., Any]
    ) -> None:
        self._handle = handle
        self._start = start
        self._size = size
        self._in_thread = in_thread
        self._ahead: deque[bytes] = deque()
        self.close = close

    async def next(self, sent: int) -> bytes:
        if not self._ahead:
            try:
                self._ahead = await self._in_thread(self._handle.use, lambda file: self._pieces(file, sent))
            except (OSError, ValueError) as error:
                raise UploadError(f"The file cannot be read any more: {error}.") from error
        return self._ahead.popleft()

    def _pieces(self, file: IO[bytes], sent: int) -> deque[bytes]:
        """What follows the first `sent` bytes: as much as is read soon."""
        enough = time.monotonic() + _SECONDS
        pieces: deque[bytes] = deque()
        # Each time: a read for an earlier pass that was cancelled may have moved it.
        file.seek(self._start + sent)
        while True:
            piece = self._piece(file, sent)
            pieces.append(piece)
            sent += len(piece)
            if sent == self._size or len(pieces) == _PIECES or time.monotonic() > enough:
                return pieces

    def _piece(self, file: IO[bytes], sent: int) -> bytes:
        left = self._size - sent
        piece = checked(file.read(min(PIECE_BYTES, left)))
        if not piece:
            raise _changed(self._size, f"ended after {sent}")
        # Looked for before the last piece goes out: the service shall not take for whole what is not.
        if len(piece) > left or (len(piece) == left and file.read(1)):
            raise _changed(self._size, "has more now")
        return piece


class Handle:
    """A file that worker threads use, one at a time, and the event loop closes without waiting for them.

    Whoever is last closes it: the closer, or a thread that it found at work.
    """

    def __init__(self, opens: Callable[[], IO[bytes]], *, owned: bool = True) -> None:
        self._opens = opens
        self._owned = owned
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def use(self, function: Callable[[IO[bytes]], T]) -> T:
        """Call `function` with the file, opened when first used; for worker threads."""
        try:
            with self._lock:
                if self._closed:
                    raise UploadError("The upload has ended.")
                if self._file is None:
                    self._file = self._opens()
                return function(self._file)
        finally:
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close the file, now or when the thread that uses it is done."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            file, self._file = self._file, None
            if file is not None and self._owned:
                file.close()
            self._lock.release()


def checked(data: Any) -> bytes:
    if isinstance(data, str):
        raise TypeError(TEXT)
    if inspect.iscoroutine(data):
        data.close()
        raise TypeError(COROUTINES)
    if data is None:
        raise UploadError("The file is in non-blocking mode and has nothing at the moment: give its bytes instead.")
    return bytes(data)


def _changed(size: int, now: str) -> UploadError:
    return UploadError(
        f"The file changed while it was uploaded: it had {size} bytes and {now}. Upload it again once it is complete."
    )


async def _in_worker(function: Callable[..., T], *args: Any) -> T:
    """For files on a disk, which end by themselves."""
    # anyio is imported late: only uploads need it.
    from anyio import to_thread

    return await to_thread.run_sync(function, *args, abandon_on_cancel=True)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """For what may hang, a pipe or an object of the user's: costs 0.1 ms more, and the program can end without it."""
    from anyio.to_thread import current_default_thread_limiter

    # As many as anyio would start; one that hangs is not counted once its call is over.
    limiter, borrower = current_default_thread_limiter(), object()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        return await in_daemon_thread(function, *args)
    finally:
        limiter.release_on_behalf_of(borrower)
