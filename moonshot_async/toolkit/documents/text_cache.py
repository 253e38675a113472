"""Where texts of documents are kept, so that nothing is uploaded twice: in memory, in a directory, or elsewhere.

Keys are hexadecimal digits that stand for the content of a file and for the end of its name; values are what the
service read in it, as JSON, without the name.
"""

import asyncio
import os
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from moonshot_async.errors import ConfigurationError
from moonshot_async.middleware.log import logger
from moonshot_async.types.encoding import NotGiven

MEMORY_BYTES: Final = 64 * 1024 * 1024
DIRECTORY_BYTES: Final = 1024 * 1024 * 1024
# Making room goes on to this part of the bound, so that it is not made anew with each text.
_LOW: Final = 0.9
# How much of the bound may be written before other processes are looked at.
_LOOK: Final = 0.1
# What a process leaves behind that dies while it writes; in seconds.
_STALE: Final = 3600.0
_TEMPORARY: Final = ".writing"
_TEXT: Final = ".json"


class TextCache(Protocol):
    """Keeps texts. What it raises, the extraction raises: a cache that may fail answers None and goes on."""

    async def get(self, key: str) -> bytes | None:
        """The value that was put, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Keep a value, for as long as there is room."""
        ...


class MemoryCache:
    """Keeps texts in memory; the one that was not asked for the longest goes first.

    Args:
        max_bytes: what all values may have together; a larger one is not kept.

    Raises:
        ConfigurationError: it is no whole number of bytes.
    """

    def __init__(self, max_bytes: int = MEMORY_BYTES) -> None:
        self._max_bytes = _checked(max_bytes)
        self._bytes = 0
        self._values: OrderedDict[str, bytes] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        if (value := self._values.get(key)) is not None:
            self._values.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes) -> None:
        self._bytes -= len(self._values.pop(key, b""))
        if len(value) > self._max_bytes:
            return
        self._values[key] = value
        self._bytes += len(value)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._values.popitem(last=False)[1])

    def __repr__(self) -> str:
        return f"<MemoryCache: {len(self._values)} texts, {self._bytes} bytes>"


class DirectoryCache:
    """Keeps texts in a directory, a file each, for any number of processes at once.

    A text is written under another name and then renamed, so that nobody reads half of one. The one that was not asked
    for the longest goes first; since processes look at each other's texts only from time to time, there may be a tenth
    of `max_bytes` more for each of them. A directory that cannot be read or written is told in the log, and costs
    uploads, not texts. The texts lie there as they are, for this user to read: mind what is in your documents.

    Args:
        path: of the directory; it is made when it is first needed.
        max_bytes: what all files may have together; a larger one is not kept.

    Raises:
        ConfigurationError: `max_bytes` is no whole number of bytes.
    """

    def __init__(self, path: os.PathLike[str], max_bytes: int = DIRECTORY_BYTES) -> None:
        self._path = Path(path)
        self._max_bytes = _checked(max_bytes)
        # Of this process; others keep out of each other's way by renaming.
        self._lock = Lock()
        self._written: int | None = None

    async def get(self, key: str) -> bytes | None:
        return await asyncio.to_thread(self._get, key)

    async def put(self, key: str, value: bytes) -> None:
        await asyncio.to_thread(self._put, key, value)

    def _get(self, key: str) -> bytes | None:
        path = self._path / (key + _TEXT)
        try:
            value = path.read_bytes()
            # When it was asked for; on some disks the time of reading is not kept.
            with suppress(OSError):
                os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("the text of a document cannot be read in %s: %s", self._path, error.strerror)
            return None
        return value

    def _put(self, key: str, value: bytes) -> None:
        if len(value) > self._max_bytes:
            return
        try:
            with self._lock:
                self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(self._path / (key + _TEXT), value)
                self._make_room(len(value))
        except OSError as error:
            logger.warning("the text of a document cannot be kept in %s: %s", self._path, error.strerror)

    def _write(self, path: Path, value: bytes) -> None:
        # Imported late: most programs keep texts in memory.
        from tempfile import mkstemp

        # Nobody but this user may read it.
        handle, name = mkstemp(suffix=_TEMPORARY, dir=self._path)
        written = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(value)
            written.replace(path)
        except BaseException:
            written.unlink(missing_ok=True)
            raise

    def _make_room(self, added: int) -> None:
        if self._written is not None and self._written + added <= self._max_bytes * _LOOK:
            self._written += added
            return
        self._written = 0
        files = sorted(self._files(), reverse=True)
        size = sum(file_size for _, file_size, _ in files)
        most = self._max_bytes * _LOW if size > self._max_bytes else size
        while size > most:
            _, file_size, path = files.pop()
            # Another process may have been faster.
            path.unlink(missing_ok=True)
            size -= file_size

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each text was asked for last, how large it is, and where; what was left half written is removed."""
        files: list[tuple[float, int, Path]] = []
        with os.scandir(self._path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    if entry.name.endswith(_TEXT):
                        files.append((status.st_mtime, status.st_size, Path(entry.path)))
                    elif entry.name.endswith(_TEMPORARY) and status.st_mtime < time.time() - _STALE:
                        Path(entry.path).unlink()
        return files

    def __repr__(self) -> str:
        return f"DirectoryCache({str(self._path)!r})"


def cache_of(given: TextCache | os.PathLike[str] | NotGiven | None) -> TextCache | None:
    """The cache that a caller means: a directory, one of his own, none, or one in memory where he says nothing.

    Raises:
        TypeError: it is nothing that keeps texts.
    """
    if given is None:
        return None
    if isinstance(given, NotGiven):
        return MemoryCache()
    if isinstance(given, os.PathLike):
        return DirectoryCache(given)
    if not all(callable(getattr(given, name, None)) for name in ("get", "put")):
        raise TypeError(f"cache must be a Path, None, or have get() and put(), not {type(given).__name__}")
    return given


def _checked(max_bytes: int) -> int:
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
        raise ConfigurationError(f"max_bytes must be a number of bytes, 0 or more, not {max_bytes!r}")
    return max_bytes


_memory: type[TextCache] = MemoryCache
_directory: type[TextCache] = DirectoryCache
