"""Bytes that may be too many for memory: written once, read in parts.

What is large lies in a temporary file that no name leads to, so that it is gone with the last reference to it, or with
the process. Nothing is copied to take a part of a blob, and a file of 100 MB is never in memory as a whole.
"""

import weakref
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

from moonshot_async.wire import ByteStream

if TYPE_CHECKING:
    from typing import BinaryIO

# What is larger than this is kept on disk, and worked on in a worker thread.
LARGE: Final = 1024 * 1024
# How much of it stays with its request.
BEGINNING: Final = 64 * 1024

_PIECE: Final = 256 * 1024


class Blob:
    """Bytes that do not change, in memory or on disk; a part of a blob is one that shares its bytes."""

    __slots__ = ("_end", "_source", "_start")

    def __init__(self, content: bytes = b"") -> None:
        self._source: _Source = _Memory(content)
        self._start, self._end = 0, len(content)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._end - self._start

    @property
    def is_large(self) -> bool:
        """Whether reading all of it takes so long that it belongs into a worker thread."""
        return self.size > LARGE

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` to `end`, fewer where the blob ends before."""
        stop = self._end if end is None else min(self._end, self._start + end)
        return self._source.read(self._start + start, stop)

    def part(self, start: int, end: int) -> "Blob":
        """The bytes from `start` to `end`, without copying them."""
        part = Blob()
        part._source = self._source
        part._start, part._end = self._start + start, self._start + end
        return part

    def find(self, needle: bytes, start: int = 0) -> int:
        """Where `needle` begins, from `start` on; -1 if it is not there."""
        while start < self.size:
            # A needle that straddles the edge of a piece lies in the piece and the bytes after it.
            piece = self.read(start, start + _PIECE + len(needle) - 1)
            found = piece.find(needle)
            if found >= 0:
                return start + found
            start += _PIECE
        return -1

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces."""
        for start in range(0, self.size, _PIECE):
            yield self.read(start, start + _PIECE)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with the place where it begins; the line feed at its end belongs to it."""
        start, rest = 0, b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield start, line + b"\n"
                start += len(line) + 1
        if rest:
            yield start, rest

    def __repr__(self) -> str:
        return f"Blob({self.size} bytes)"


class Spool:
    """A blob while it is written: in memory first, on disk once it has become large."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._pending = 0
        self._file: _File | None = None
        self.size = 0

    def write(self, data: bytes) -> bool:
        """Append bytes; True if it is time to `flush`, which may wait for a disk."""
        self._pieces.append(data)
        self._pending += len(data)
        self.size += len(data)
        return self._pending >= (LARGE if self._file is None else _PIECE)

    def flush(self) -> None:
        """Move to the disk what lies in memory."""
        if self._file is None:
            self._file = _File()
        self._file.append(b"".join(self._pieces))
        self._pieces.clear()
        self._pending = 0

    def blob(self) -> Blob:
        """Everything; nothing may be written after it."""
        if self._file is None:
            return Blob(b"".join(self._pieces))
        self.flush()
        blob = Blob()
        blob._source, blob._end = self._file, self.size
        return blob


class PiecesBody:
    """The body of an answer that is made while it is read.

    Args:
        pieces: makes it. Each step takes milliseconds, so that no read needs its deadline.
        in_thread: whether a step may wait for a disk or is much work.
    """

    def __init__(self, pieces: Iterator[bytes], *, in_thread: bool) -> None:
        self._pieces = pieces
        self._in_thread = in_thread

    async def read(self, deadline: float | None = None) -> bytes:
        piece: bytes | None = b""
        while piece == b"":
            if self._in_thread:
                from anyio import to_thread

                piece = await to_thread.run_sync(next, self._pieces, None)
            else:
                piece = next(self._pieces, None)
        return piece or b""

    def close(self) -> None:
        self._pieces = iter(())


class _Source(Protocol):
    def read(self, start: int, end: int) -> bytes: ...


class _Memory:
    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, start: int, end: int) -> bytes:
        # A slice of everything is the same object: nothing is copied.
        return self._content[start:end]


class _File:
    """A temporary file that several threads may read, and that closes itself without a `ResourceWarning`."""

    def __init__(self) -> None:
        from tempfile import TemporaryFile

        self._file: BinaryIO = TemporaryFile(buffering=0)  # noqa: SIM115  # the finalizer closes it
        self._lock = Lock()
        weakref.finalize(self, self._file.close)

    def append(self, data: bytes) -> None:
        with self._lock:
            self._file.seek(0, 2)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def read(self, start: int, end: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            wanted = max(0, end - start)
            pieces: list[bytes] = []
            while wanted and (piece := self._file.read(wanted)):
                pieces.append(piece)
                wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


FITS: type[ByteStream] = PiecesBody
