"""Where the bytes of an upload come from: memory, a path, a file object, or a stream that has to be copied first.

What is given is looked at here, and measured before anything is sent; `upload_reading` reads it then.
"""

import inspect
import io
import os
import stat
from pathlib import Path, PurePath
from typing import IO, Any, Final, TypeAlias

from moonshot_async.errors import ConfigurationError, MoonshotError
from moonshot_async.resources.upload_reading import (
    COROUTINES,
    PIECE_BYTES,
    TEXT,
    Handle,
    Memory,
    OnDisk,
    OpenFile,
    Source,
    checked,
    in_thread,
)

Content: TypeAlias = bytes | bytearray | memoryview | IO[bytes] | os.PathLike[str]

# What a stream may have that must be copied to the disk before it can be sent.
MAX_STREAM_BYTES: Final = 100 * 1024 * 1024
_REASONS: Final[dict[type[OSError], str]] = {
    FileNotFoundError: "there is no such file",
    IsADirectoryError: "it is a directory",
    PermissionError: "this program may not read it",
}


class Measured:
    """What was looked at before it is given as content: for helpers that must know a file before they upload it.

    Attributes:
        source: closed by the upload.
    """

    def __init__(self, source: Source) -> None:
        self.source = source


def name_of(content: Any) -> str | None:
    """The last part of the path of a file; None where it has none.

    Raises:
        TypeError: the content is nothing that can be sent.
    """
    if isinstance(content, (bytes, bytearray, memoryview, Measured)):
        return None
    if isinstance(content, str):
        raise TypeError("file must not be a str: Path(...) for a file of that name, .encode() for the text itself")
    if isinstance(content, os.PathLike):
        return Path(os.fsdecode(content)).name
    if isinstance(content, io.TextIOBase):
        raise TypeError(TEXT)
    if not callable(read := getattr(content, "read", None)):
        kind = type(content).__name__
        raise TypeError(f"file must be bytes, a Path, a file object or a tuple such as ('name.pdf', data), not {kind}")
    if inspect.iscoroutinefunction(read):
        raise TypeError(COROUTINES)
    name = getattr(content, "name", None)
    if not isinstance(name, (str, bytes, os.PathLike)):
        return None
    last = PurePath(os.fsdecode(name)).name
    # As the standard streams are called.
    return None if last.startswith("<") else last


async def measured(content: Content | Measured) -> Source:
    """Find out how many bytes there are; whoever gets the source closes it.

    Raises:
        ConfigurationError: they cannot be read, or can be read only once and are too many.
        TypeError: a file object gives something else.
    """
    if isinstance(content, (bytes, bytearray, memoryview)):
        return Memory(content)
    if isinstance(content, Measured):
        return content.source
    if isinstance(content, os.PathLike):
        return await _of_path(Path(os.fsdecode(content)))
    return await _of_object(content)


async def _of_path(path: Path) -> Source:
    handle = Handle(lambda: path.open("rb", buffering=0))
    try:
        size = await in_thread(handle.use, _size_on_disk)
        # What is no regular file is a pipe or a device.
        return await _copied(handle) if size is None else OnDisk(path, size)
    except OSError as error:
        reason = _REASONS.get(type(error)) or error.strerror or str(error)
        raise ConfigurationError(f"file {str(path)!r} cannot be uploaded: {reason}.") from error
    finally:
        handle.close()


def _size_on_disk(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def _of_object(file: IO[bytes]) -> Source:
    handle = Handle(lambda: file, owned=False)
    try:
        span = await in_thread(handle.use, _span)
        return await _copied(handle) if span is None else OpenFile(handle, *span)
    except MoonshotError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the file object cannot be uploaded: {error}.") from error


def _span(file: IO[bytes]) -> tuple[int, int] | None:
    """Where a file object stands and how much it has from there; None where it cannot be wound back.

    One that stands at its end counts from its beginning: whoever has just written it, or read it through, means all
    of it.
    """
    checked(file.read(0))
    try:
        start = file.tell()
        file.seek(0, io.SEEK_END)
        end = file.tell()
        file.seek(start)
    except (AttributeError, OSError):
        return None
    return (0, end) if start >= end else (start, end - start)


async def _copied(stream: "Handle") -> Source:
    """What can be read only once, in a temporary file: its length must be known, and it may have to be sent again."""
    copy = Handle(_temporary)

    def copy_piece(file: IO[bytes]) -> int:
        piece = checked(file.read(PIECE_BYTES))
        return copy.use(lambda to: to.write(piece))

    size = 0
    try:
        while count := await in_thread(stream.use, copy_piece):
            size += count
            if size > MAX_STREAM_BYTES:
                raise ConfigurationError(
                    f"the file cannot be uploaded: it has more than {MAX_STREAM_BYTES} bytes, and as it can be read "
                    "only once it would have to be copied first. Write it to the disk and give its path."
                )
    except BaseException:
        copy.close()
        raise
    return OpenFile(copy, 0, size)


def _temporary() -> IO[bytes]:
    # Imported late: few upload streams.
    import tempfile

    return tempfile.TemporaryFile()
