"""A file of a batch while it arrives: split into lines, and the id that each of them has."""

from typing import IO, Literal

import msgspec

from moonshot_async.errors import APIResponseValidationError, ResponseTooLargeError
from moonshot_async.types.model import parse

Kind = Literal["request", "result"]


class _Id(msgspec.Struct):
    """All that is read of a line to find where it belongs."""

    custom_id: str


class Arriving:
    """A file that arrives in pieces, split into lines."""

    def __init__(self, kind: Kind, file: IO[bytes], max_line_bytes: int) -> None:
        self.kind = kind
        self._max_line_bytes = max_line_bytes
        self.count = 0
        self.duplicates = 0
        self.unreadable = 0
        self._file = file
        self._begin = self._start = file.seek(0, 2)
        self._rest = b""

    def lines(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lines that are whole now, and where each begins."""
        self._file.write(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (self._rest, *whole))) > self._max_line_bytes:
            raise ResponseTooLargeError(self._max_line_bytes)
        found: list[tuple[int, bytes]] = []
        for line in whole:
            found.append((self._start, line))
            self._start += len(line) + 1
        return found

    def rest(self) -> tuple[int, bytes]:
        """What came behind the last end of a line."""
        if self._rest:
            # Whatever is appended begins a line of its own.
            self._file.write(b"\n")
        return self._start, self._rest

    def undo(self) -> None:
        self._file.seek(self._begin)
        self._file.truncate()


def custom_id_of(line: bytes) -> str | None:
    """The id in a line; None where it has none, or is no JSON."""
    try:
        return _decode_id(line).custom_id
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        tree = parse(line)
    except APIResponseValidationError:
        return None
    custom_id = tree.get("custom_id") if isinstance(tree, dict) else None
    return custom_id if isinstance(custom_id, str) else None


_decode_id = msgspec.json.Decoder(_Id).decode
