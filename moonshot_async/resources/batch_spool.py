"""What a batch needs on disk, so that memory does not grow with it: requests, results, and which belong together.

Everything here blocks and is called in worker threads. The files have no name and vanish with the process, however it
ends; ids and places in the files are kept in a temporary SQLite database, which has no name either.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from threading import Lock
from typing import IO, Final

import msgspec

from moonshot_async.errors import ConfigurationError, StreamInterruptedError
from moonshot_async.headers import Unshown
from moonshot_async.resources.batch_arriving import Arriving, custom_id_of
from moonshot_async.resources.batch_arriving import Kind as Kind

_KINDS: Final[tuple[Kind, ...]] = ("request", "result")

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
# How much is read for results at a time: rows, and bytes unless a single one has more.
_ROWS: Final = 256
_BYTES: Final = 1024 * 1024

# `position` is that of a request among those given, and null where it came out of a file.
_SCHEMA: Final = """
CREATE TABLE entry (
    number INTEGER PRIMARY KEY, custom_id TEXT NOT NULL UNIQUE, position INTEGER, skipped INTEGER NOT NULL DEFAULT 0,
    request_start INTEGER, request_size INTEGER, result_start INTEGER, result_size INTEGER
)
"""
_INSERT: Final[dict[Kind, str]] = {
    "request": "INSERT INTO entry (custom_id, request_start, request_size) VALUES (?, ?, ?) "
    "ON CONFLICT (custom_id) DO NOTHING",
    "result": "INSERT INTO entry (custom_id, result_start, result_size) VALUES (?, ?, ?) ON CONFLICT (custom_id) "
    "DO UPDATE SET result_start = excluded.result_start, result_size = excluded.result_size WHERE result_start IS NULL",
}
_JOIN: Final = """
SELECT number, custom_id, request_start, request_size, result_start, result_size FROM entry
WHERE number > ? AND NOT skipped ORDER BY number LIMIT ?
"""
_UNKNOWN: Final = "SELECT count(*) FROM entry WHERE request_start IS NULL AND result_start IS NOT NULL AND NOT skipped"


class Joined(Unshown, msgspec.Struct, gc=False):
    """A request and its result, as lines; None for what there is none of."""

    number: int
    custom_id: str
    request: bytes | None
    result: bytes | None


class Spool:
    """The requests of a batch and its results, on disk.

    Attributes:
        requests: how many lines were added.
        request_bytes: how long they are together.
        duplicates: result lines for an id that had one before.
        unreadable: result lines that are no JSON or have no `custom_id`.
    """

    def __init__(self) -> None:
        # A call that was given up goes on in its thread, and may still run when the next one comes.
        self._lock = Lock()
        self._files: dict[Kind, IO[bytes]] = {}
        # Transactions are ours; an empty name makes a database that is on disk as far as it does not fit the cache.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        for kind in _KINDS:
            self._files[kind] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._hash = sha256()
        self._arriving: Arriving | None = None
        self.requests = 0
        self.request_bytes = 0
        self.duplicates = 0
        self.unreadable = 0

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything. May be repeated."""
        with self._lock:
            self._db.close()
            for file in self._files.values():
                file.close()

    def skip(self, ids: Iterable[str]) -> None:
        """Leave requests and results with these ids out."""
        with self._lock, self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO entry (custom_id, skipped) VALUES (?, 1) ON CONFLICT (custom_id) DO NOTHING",
                ((custom_id,) for custom_id in ids),
            )

    def add(self, lines: Sequence[tuple[int, str, bytes]]) -> None:
        """Append requests: the position of each among those given, its id, and its line without an end.

        Raises:
            ConfigurationError: an id is given twice.
        """
        file = self._files["request"]
        with self._lock, self._db:
            self._db.execute("BEGIN")
            for position, custom_id, line in lines:
                data = line + b"\n"
                # The same requests are the same, whatever is skipped of them.
                self._hash.update(data)
                if not self._added(position, custom_id, len(line)):
                    continue
                file.write(data)
                self.requests += 1
                self.request_bytes += len(data)

    def _added(self, position: int, custom_id: str, size: int) -> bool:
        """Whether a request is to be written: False for one that is skipped."""
        done = self._db.execute(
            "INSERT INTO entry (custom_id, position, request_start, request_size) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (custom_id) DO NOTHING",
            (custom_id, position, self.request_bytes, size),
        )
        if done.rowcount:
            return True
        before, skipped = self._db.execute(
            "SELECT position, skipped FROM entry WHERE custom_id = ?", (custom_id,)
        ).fetchone()
        if skipped:
            return False
        raise ConfigurationError(
            f"request {position}: its custom_id {custom_id!r} is that of request {before}, too; "
            "results are joined by it, so it must be unique"
        )

    def input(self) -> tuple[IO[bytes], str]:
        """The file of the requests, at its beginning, and the SHA-256 of all that were added, skipped ones included."""
        with self._lock:
            file = self._files["request"]
            file.flush()
            file.seek(0)
            return file, self._hash.hexdigest()

    def begin(self, kind: Kind) -> None:
        """A file begins to arrive; one that did not arrive to its end is forgotten."""
        with self._lock:
            if self._arriving is not None:
                self._db.execute("ROLLBACK")
                self._arriving.undo()
            self._arriving = Arriving(kind, self._files[kind], MAX_LINE_BYTES)
            self._db.execute("BEGIN")

    def feed(self, data: bytes) -> None:
        """Append what arrived.

        Raises:
            ResponseTooLargeError: a line is longer than any answer.
        """
        with self._lock:
            assert self._arriving is not None
            self._index(self._arriving, self._arriving.lines(data))

    def finish(self) -> int:
        """The file has arrived: how many lines it had.

        Raises:
            StreamInterruptedError: it ends within a line.
        """
        with self._lock:
            arriving = self._arriving
            assert arriving is not None
            start, rest = arriving.rest()
            if rest.strip():
                if custom_id_of(rest) is None:
                    raise StreamInterruptedError(message="The answer broke off: the file ends within a line.")
                self._index(arriving, [(start, rest)])
            self._db.execute("COMMIT")
            self._arriving = None
            if arriving.kind == "result":
                self.duplicates += arriving.duplicates
                self.unreadable += arriving.unreadable
            return arriving.count

    def _index(self, arriving: Arriving, lines: Iterable[tuple[int, bytes]]) -> None:
        rows = []
        for start, line in lines:
            if not line.strip():
                continue
            arriving.count += 1
            custom_id = custom_id_of(line)
            if custom_id is None:
                arriving.unreadable += 1
            else:
                rows.append((custom_id, start, len(line)))
        if rows:
            done = self._db.executemany(_INSERT[arriving.kind], rows)
            arriving.duplicates += len(rows) - done.rowcount

    def forget_results(self) -> None:
        """Begin the results anew."""
        with self._lock:
            self._db.execute("DELETE FROM entry WHERE request_start IS NULL AND NOT skipped")
            self._db.execute("UPDATE entry SET result_start = NULL, result_size = NULL")
            self._files["result"].seek(0)
            self._files["result"].truncate()
            self.duplicates = self.unreadable = 0

    def unknown(self) -> int:
        """How many results have an id that no request has."""
        with self._lock:
            return int(self._db.execute(_UNKNOWN).fetchone()[0])

    def joined(self, after: int) -> list[Joined]:
        """Some of the requests with their results, in the order of the requests, behind the entry `after`.

        Results without a request come last; empty at the end.
        """
        with self._lock:
            found: list[Joined] = []
            size = 0
            for number, custom_id, *places in self._db.execute(_JOIN, (after, _ROWS)).fetchall():
                size += (places[1] or 0) + (places[3] or 0)
                if found and size > _BYTES:
                    break
                request, result = self._read("request", *places[:2]), self._read("result", *places[2:])
                found.append(Joined(number, custom_id, request, result))
            return found

    def _read(self, kind: Kind, start: int | None, size: int) -> bytes | None:
        if start is None:
            return None
        file = self._files[kind]
        file.seek(start)
        return file.read(size)
