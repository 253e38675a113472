"""What the server plays: scripts, which both servers read from files, so that they need to know nothing of the API.

A script is a list of answers; each request of its name gets the next one, in turns. An answer is a list of pieces,
which go out one after another; a piece may wait before it goes, and have stamps, which the server writes over it.

On disk all numbers are unsigned, 32 bits, little endian: how many answers, and which one follows the last; for each how
many pieces; for each piece its delay, whether the delay is jittered, how many stamps, how many bytes, the stamps (kind,
offset), and the bytes.
"""

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

NEVER = 0xFFFFFFFF
STAMP_WIDTH = 20


class Stamp(IntEnum):
    """What a stamp shows, in 20 characters, filled with spaces from the left."""

    CLOCK = 1
    """CLOCK_MONOTONIC in nanoseconds, when the piece is handed to the kernel."""
    NUMBER = 2
    """A number that the server never gives again."""
    RECEIVED = 3
    """How many bytes the body of the request had."""


_PLACES = {b"{%s}" % stamp.name.ljust(STAMP_WIDTH - 2).encode(): stamp for stamp in Stamp}
_PLACE = re.compile(b"|".join(map(re.escape, _PLACES)))


def place(stamp: Stamp) -> str:
    """What to write into the bytes of a piece where the server is to put the stamp."""
    return "{" + stamp.name.ljust(STAMP_WIDTH - 2) + "}"


@dataclass(frozen=True)
class Piece:
    """Bytes that go out together.

    Attributes:
        bytes: what is sent, places of stamps included.
        delay_us: microseconds to wait after the piece before was due; `NEVER` to hold the answer open.
        jittered: wait a random part of the delay.
    """

    bytes: bytes
    delay_us: int = 0
    jittered: bool = False

    @property
    def stamps(self) -> list[tuple[Stamp, int]]:
        """The stamps and where they go."""
        return [(_PLACES[found.group()], found.start()) for found in _PLACE.finditer(self.bytes)]


@dataclass(frozen=True)
class Script:
    """What one name is answered with.

    Attributes:
        name: the first part of the path of requests for it; letters, digits and dashes.
        answers: given in turns.
        again_from: the index of the one that follows the last.
    """

    name: str
    answers: tuple[tuple[Piece, ...], ...]
    again_from: int = 0

    def write(self, directory: Path) -> None:
        """Put it where a server looks for it."""
        parts = [_numbers(len(self.answers), self.again_from)]
        for answer in self.answers:
            parts.append(_numbers(len(answer)))
            for piece in answer:
                stamps = piece.stamps
                parts.append(_numbers(piece.delay_us, piece.jittered, len(stamps), len(piece.bytes)))
                parts.extend(_numbers(*stamp) for stamp in stamps)
                parts.append(piece.bytes)
        (directory / self.name).write_bytes(b"".join(parts))

    @classmethod
    def read(cls, path: Path) -> "Script":
        """One that was written."""
        reader = _Reader(path.read_bytes())
        count, again_from = reader.number(), reader.number()
        answers = tuple(tuple(reader.piece() for _ in range(reader.number())) for _ in range(count))
        return cls(path.name, answers, again_from)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        (value,) = struct.unpack_from("<I", self._data, self._at)
        self._at += 4
        return int(value)

    def piece(self) -> Piece:
        delay_us, jittered, stamps, length = (self.number() for _ in range(4))
        # The places say the same again.
        self._at += 8 * stamps + length
        return Piece(self._data[self._at - length : self._at], delay_us, bool(jittered))


def _numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)
