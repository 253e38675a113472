"""Where the bytes of an upload come from: memory, a path, a file object, or a stream that has to be copied first.

Files are read in worker threads, one piece at a time, so that neither the event loop waits for the disk nor memory
holds more than a piece. A read that is under way is not waited for when its call is cancelled.
"""

import inspect
import io
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import IO, Any, Final, Protocol, TypeAlias, TypeVar

from moonshot_async.errors import ConfigurationError, MoonshotError, UploadError
from moonshot_async.threads import in_daemon_thread

T = TypeVar("T")

Content: TypeAlias = bytes | bytearray | memoryview | IO[bytes] | os.PathLike[str]

# What a stream may have that must be copied to the disk before it can be sent.
MAX_STREAM_BYTES: Final = 100 * 1024 * 1024
_PIECE: Final = 256 * 1024
_TEXT: Final = "the file is open as text: open it with open(..., 'rb')"
_COROUTINES: Final = "the file object is read by coroutines: give its path, its bytes, or the file that it wraps"
_REASONS: Final[dict[type[OSError], str]] = {
    FileNotFoundError: "there is no such file",
    IsADirectoryError: "it is a directory",
    PermissionError: "this program may not read it",
}


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


def name_of(content: Any) -> str | None:
    """The last part of the path of a file; None where it has none.

    Raises:
        TypeError: the content is nothing that can be sent.
    """
    if isinstance(content, (bytes, bytearray, memoryview)):
        return None
    if isinstance(content, str):
        raise TypeError("file must not be a str: Path(...) for a file of that name, .encode() for the text itself")
    if isinstance(content, os.PathLike):
        return Path(os.fsdecode(content)).name
    if isinstance(content, io.TextIOBase):
        raise TypeError(_TEXT)
    if not callable(read := getattr(content, "read", None)):
        kind = type(content).__name__
        raise TypeError(f"file must be bytes, a Path, a file object or a tuple such as ('name.pdf', data), not {kind}")
    if inspect.iscoroutinefunction(read):
        raise TypeError(_COROUTINES)
    name = getattr(content, "name", None)
    if not isinstance(name, (str, bytes, os.PathLike)):
        return None
    last = PurePath(os.fsdecode(name)).name
    # As the standard streams are called.
    return None if last.startswith("<") else last


async def measured(content: Content) -> Source:
    """Find out how many bytes there are; whoever gets the source closes it.

    Raises:
        ConfigurationError: they cannot be read, or can be read only once and are too many.
        TypeError: a file object gives something else.
    """
    if isinstance(content, (bytes, bytearray, memoryview)):
        return _Memory(content)
    if isinstance(content, os.PathLike):
        return await _of_path(Path(os.fsdecode(content)))
    return await _of_object(content)


async def _of_path(path: Path) -> Source:
    handle = _Handle(lambda: path.open("rb", buffering=0))
    try:
        size = await _in_thread(handle.use, _size_on_disk)
        # What is no regular file is a pipe or a device.
        return await _copied(handle) if size is None else _OnDisk(path, size)
    except OSError as error:
        reason = _REASONS.get(type(error)) or error.strerror or str(error)
        raise ConfigurationError(f"file {str(path)!r} cannot be uploaded: {reason}.") from error
    finally:
        handle.close()


def _size_on_disk(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def _of_object(file: IO[bytes]) -> Source:
    handle = _Handle(lambda: file, owned=False)
    try:
        span = await _in_thread(handle.use, _span)
        return await _copied(handle) if span is None else _Open(handle, *span)
    except MoonshotError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the file object cannot be uploaded: {error}.") from error


def _span(file: IO[bytes]) -> tuple[int, int] | None:
    """Where a file object stands and how much it has from there; None where it cannot be wound back.

    One that stands at its end counts from its beginning: whoever has just written it, or read it through, means all
    of it.
    """
    _checked(file.read(0))
    try:
        start = file.tell()
        file.seek(0, io.SEEK_END)
        end = file.tell()
        file.seek(start)
    except (AttributeError, OSError):
        return None
    return (0, end) if start >= end else (start, end - start)


async def _copied(stream: "_Handle") -> Source:
    """What can be read only once, in a temporary file: its length must be known, and it may have to be sent again."""
    copy = _Handle(_temporary)

    def copy_piece(file: IO[bytes]) -> int:
        piece = _checked(file.read(_PIECE))
        return copy.use(lambda to: to.write(piece))

    size = 0
    try:
        while count := await _in_thread(stream.use, copy_piece):
            size += count
            if size > MAX_STREAM_BYTES:
                raise ConfigurationError(
                    f"the file cannot be uploaded: it has more than {MAX_STREAM_BYTES} bytes, and as it can be read "
                    "only once it would have to be copied first. Write it to the disk and give its path."
                )
    except BaseException:
        copy.close()
        raise
    return _Open(copy, 0, size)


class _Memory:
    """Bytes; a pass over them is the source itself."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def reading(self) -> Reading:
        return self

    async def next(self, sent: int) -> bytes:
        return bytes(self._view[sent : sent + _PIECE])

    def close(self) -> None:
        pass


class _OnDisk:
    """A file that is opened anew for each pass."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size

    def reading(self) -> Reading:
        handle = _Handle(self._open)
        return _Pass(handle, 0, self.size, handle.close, _in_worker)

    def close(self) -> None:
        pass

    def _open(self) -> IO[bytes]:
        file = self._path.open("rb", buffering=0)
        if (size := os.fstat(file.fileno()).st_size) != self.size:
            file.close()
            raise _changed(self.size, f"has {size} now")
        return file


class _Open:
    """A file that is open already, and stays so until the end of the call."""

    def __init__(self, handle: "_Handle", start: int, size: int) -> None:
        self._handle = handle
        self._start = start
        self.size = size

    def reading(self) -> Reading:
        return _Pass(self._handle, self._start, self.size, lambda: None, _in_thread)

    def close(self) -> None:
        self._handle.close()


class _Pass:
    """One pass over a file, which must be as long at its end as it was when it was measured."""

    def __init__(
        self, handle: "_Handle", start: int, size: int, close: Callable[[], None], in_thread: Callable[..., Any]
    ) -> None:
        self._handle = handle
        self._start = start
        self._size = size
        self._in_thread = in_thread
        self.close = close

    async def next(self, sent: int) -> bytes:
        try:
            piece: bytes = await self._in_thread(self._handle.use, lambda file: self._read(file, sent))
            return piece
        except (OSError, ValueError) as error:
            raise UploadError(f"The file cannot be read any more: {error}.") from error

    def _read(self, file: IO[bytes], sent: int) -> bytes:
        left = self._size - sent
        # Each time: a read for an earlier pass that was cancelled may have moved it.
        file.seek(self._start + sent)
        piece = _checked(file.read(min(_PIECE, left)))
        if not piece:
            raise _changed(self._size, f"ended after {sent}")
        # Looked for before the last piece goes out: the service shall not take for whole what is not.
        if len(piece) > left or (len(piece) == left and file.read(1)):
            raise _changed(self._size, "has more now")
        return piece


class _Handle:
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


def _temporary() -> IO[bytes]:
    # Imported late: few upload streams.
    import tempfile

    return tempfile.TemporaryFile()


def _checked(data: Any) -> bytes:
    if isinstance(data, str):
        raise TypeError(_TEXT)
    if inspect.iscoroutine(data):
        data.close()
        raise TypeError(_COROUTINES)
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


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    """For what may hang, a pipe or an object of the user's: costs 0.1 ms more, and the program can end without it."""
    from anyio.to_thread import current_default_thread_limiter

    # As many as anyio would start; one that hangs is not counted once its call is over.
    limiter, borrower = current_default_thread_limiter(), object()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        return await in_daemon_thread(function, *args)
    finally:
        limiter.release_on_behalf_of(borrower)
