"""Bodies that came compressed, although nobody asked for that: made readable piece by piece, within bounds.

A few bytes can become a thousand times as many, so no piece is larger than what memory holds of a body anyway, and the
sum is bounded. What can be made of the bytes so far is handed out at once: the events of a stream do not wait.

See: https://www.rfc-editor.org/rfc/rfc9110#section-8.4
"""

import asyncio
import copy
import zlib
from typing import Any, Final

from moonshot_async.bounds import Bounds
from moonshot_async.errors import APIError, APIResponseValidationError
from moonshot_async.transports import interrupted_error
from moonshot_async.wire import ByteStream

# The most that is made in one go, which takes half a millisecond; and how often, before the event loop has a turn.
_PIECE: Final = 256 * 1024
_PIECES_IN_A_ROW: Final = 16
# What zlib calls the formats.
_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15


def inflated(body: ByteStream, coding: str, bounds: Bounds) -> ByteStream:
    """The body as it was before it was compressed as its `Content-Encoding` says."""
    names = [name for part in coding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    return Inflated(body, ", ".join(names), bounds) if names else body


class Inflated:
    """A body in gzip or deflate, which may be raw as some servers send it. Others raise at the first read."""

    def __init__(self, body: ByteStream, coding: str, bounds: Bounds) -> None:
        self._body = body
        self._coding = coding
        self._bounds = bounds
        self._coder: Any = None
        # What was received and not made readable yet; and whether there is more of what was.
        self._rest = b""
        self._more = False
        self._pieces = 0
        self._received = 0
        self._size = 0
        self._ended: APIError | None = None

    async def read(self, deadline: float | None = None) -> bytes:
        while self._ended is None:
            self._pieces += 1
            if self._pieces % _PIECES_IN_A_ROW == 0:
                await asyncio.sleep(0)
            if not self._rest and not self._more:
                self._rest = await self._body.read(deadline)
                self._received += len(self._rest)
                if not self._rest and (self._coder is None or self._coder.eof):
                    return b""
            if data := self._next():
                return data
        raise copy.copy(self._ended)

    def close(self) -> None:
        self._body.close()

    def _next(self) -> bytes:
        """Make the next piece, and take note of what is wrong."""
        coder = self._coder if self._coder is not None and not self._coder.eof else self._begin()
        if coder is None:
            self._ended = APIResponseValidationError(message=_REFUSED.format(self._coding[:100]))
            return b""
        if not self._rest and not self._more:
            self._ended = interrupted_error("its compressed data was cut short")
            return b""
        spare = coder.copy()
        try:
            data: bytes = coder.decompress(self._rest, _PIECE)
        except zlib.error:
            data = _before_the_fault(spare, self._rest)
            self._ended = APIResponseValidationError(message=f"The answer is no valid {self._coding} data.")
        # What zlib holds back is all of a full piece, or nothing.
        self._more = len(data) == _PIECE and not coder.eof
        self._rest = coder.unused_data if coder.eof else coder.unconsumed_tail
        self._size += len(data)
        if max(self._size, self._received) > self._bounds.max_decompressed_bytes:
            self._ended = self._bounds.passed("max_decompressed_bytes")
            return b""
        return data

    def _begin(self) -> Any:
        """Begin to read the first of several that may follow each other; None for what cannot be read."""
        if self._coding in ("gzip", "x-gzip"):
            self._coder = zlib.decompressobj(_GZIP)
        elif self._coding == "deflate":
            self._coder = zlib.decompressobj(_ZLIB if self._rest[0] & 15 == zlib.DEFLATED else _RAW)
        return self._coder


_REFUSED: Final = "The answer is compressed with {!r}, which nobody asked for; only gzip and deflate can be read."


def _before_the_fault(coder: Any, data: bytes) -> bytes:
    made = bytearray()
    try:
        for position in range(len(data)):  # pragma: no branch - what failed fails again
            made += coder.decompress(data[position : position + 1])
    except zlib.error:
        pass
    return bytes(made)


FITS: type[ByteStream] = Inflated
