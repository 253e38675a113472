"""What the journal asks of SQLite: files of ours, transactions with a lease, many rows with one statement."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, Final

from moonshot_async.bulk.journal.lease import Lease
from moonshot_async.errors import ConfigurationError, JournalError

# "MoBu": which files are journals of ours.
APPLICATION_ID: Final = 0x4D6F4275
VERSION: Final = 1

# Rows are read until they have so many bytes.
_MOST_BYTES: Final = 4 * 1024 * 1024

# Rows that one statement writes: the interpreter lock is let go once for all of them, and these few stay prepared.
# Older versions of SQLite take no more than 999 values in one.
_ROWS: Final = tuple(2**power for power in range(8 if sqlite3.sqlite_version_info >= (3, 32) else 5, -1, -1))


class Transaction:
    """All or nothing."""

    def __init__(self, db: sqlite3.Connection, lease: Lease | None = None) -> None:
        self._db = db
        self._lease = lease

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        if self._lease is not None:
            try:
                self._lease.renew(self._db)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            # A disk that is full may have ended it already, or leaves it to us.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def check_kind(db: sqlite3.Connection, path: str) -> None:
    """Refuse a file that is none of ours.

    Raises:
        ConfigurationError: so it is.
    """
    try:
        kind = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        kind, version, empty = None, 0, False
    if kind != APPLICATION_ID and not empty:
        raise ConfigurationError(f"journal: {path} is a file of another kind; name one that does not exist yet")
    if version > VERSION:
        raise ConfigurationError(f"journal: {path} was written by a newer version of moonshot_async; use that one")


def unusable(path: str, error: sqlite3.Error) -> JournalError:
    """What is said when SQLite gives up."""
    advice = "Make room" if "full" in str(error) else "See that it lies on a disk that can be written"
    return JournalError(
        f"the journal {path} cannot be written: {error}. What was recorded before stays; {advice.lower()}, and run it "
        "again: it goes on from there",
        path=path,
    )


def unreadable(path: str, error: sqlite3.Error) -> JournalError:
    """What is said when SQLite cannot read."""
    return JournalError(f"the journal {path} cannot be read: {error}", path=path)


def make_file(path: str) -> None:
    """Make the file, where there is none, for its owner alone, as what SQLite puts beside it will be.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"journal: {path} cannot be made: {error.strerror}") from None


def some_rows(db: sqlite3.Connection, query: str, values: Sequence[Any], *blobs: int) -> list[tuple[Any, ...]]:
    """The first rows that a query finds: all of them, unless they have too many bytes for once; one at least.

    Args:
        blobs: the columns that may have many.
    """
    found: list[tuple[Any, ...]] = []
    room = _MOST_BYTES
    with closing(db.execute(query, values)) as rows:
        for row in rows:
            found.append(row)
            room -= sum([len(row[blob] or b"") for blob in blobs])
            if room < 0:
                break
    return found


def insert(db: sqlite3.Connection, into: str, values: list[Any], on: str = "REPLACE") -> int:
    """Insert rows, many with each statement; how many were inserted.

    Args:
        into: table and columns.
        values: those of all rows, one after the other.
        on: what is done where there is such a row already.
    """
    done = inserted = 0
    columns = into.count(",") + 1
    left = len(values) // columns
    for rows in _ROWS:
        while left >= rows:
            some = values[done : done + rows * columns]
            inserted += db.execute(_statement(into, columns, rows, on), some).rowcount
            done += rows * columns
            left -= rows
    return inserted


@lru_cache(maxsize=64)
def _statement(into: str, columns: int, rows: int, on: str) -> str:
    row = f"({marks(columns)})"
    return f"INSERT OR {on} INTO {into} VALUES {', '.join([row] * rows)}"


def marks(count: int) -> str:
    return ", ".join(["?"] * count)


def slices(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
