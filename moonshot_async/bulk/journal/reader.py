"""Reading a journal without a run: what was asked, and what became of it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from moonshot_async.bulk.journal.rows import READ_OUTCOMES, outcome_of
from moonshot_async.bulk.journal.sqlite_files import check_kind, some_rows, unreadable
from moonshot_async.bulk.journal.totals import Totals, totals
from moonshot_async.bulk.outcomes import amount
from moonshot_async.bulk.plan import parse_of
from moonshot_async.bulk.results import BulkResult, result_of
from moonshot_async.errors import ConfigurationError
from moonshot_async.types.chat import ChatCompletion

T = TypeVar("T")

# Results that are read at a time.
_PAGE: Final = 256


class Journal:
    """The journal of a bulk run, read only; also while the run goes on. It blocks as files do.

        with Journal("run.db") as journal:
            for result in journal.results():
                ...

    Args:
        path: of the file.
        response_format: the type that the run had, for `result.parsed`.

    Raises:
        ConfigurationError: there is no such file, or it is no journal.
        JournalError: it cannot be read.
    """

    def __init__(self, path: "str | os.PathLike[str]", *, response_format: Any = None) -> None:
        self.path = str(path)
        self._parse: Callable[[ChatCompletion], Any] | None = parse_of(response_format)[0]
        if not Path(path).is_file():
            raise ConfigurationError(f"journal: there is no file {self.path!r}")
        try:
            self._db = _opened(Path(path).absolute(), self.path)
        except sqlite3.Error as error:
            problem = unreadable(self.path, error)
        else:
            return
        raise problem

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for queries of your own; the tables are told in `moonshot_async.bulk.journal.rows`."""
        return self._db

    @property
    def totals(self) -> Totals:
        """How many items are done, failed and open, and what they used."""
        return self._ask(totals) if self._begun else Totals()

    @property
    def cost(self) -> Decimal:
        """What all answers cost, in `currency`, as far as prices were known."""
        return amount(self.totals.cost) or Decimal(0)

    @property
    def currency(self) -> str:
        """`"usd"` or `"cny"`; empty where the run was never begun."""
        row = self._row("SELECT currency FROM start LIMIT 1", ())
        return "" if row is None else str(row[0])

    def results(self) -> Iterator[BulkResult]:
        """What was recorded, in the order in which the requests were first read."""
        last = 0
        query = f"{READ_OUTCOMES} WHERE item.number > ? ORDER BY item.number LIMIT {_PAGE}"
        while found := self._page(query, last):
            for row in found:
                yield result_of(outcome_of(row), self._parse, replayed=True)
            last = found[-1][0]

    def get(self, id: str) -> BulkResult | None:
        """The result of the request with this id; None where there is none (yet)."""
        try:
            digest = bytes.fromhex(id)
        except ValueError:
            digest = b""
        query = f"{READ_OUTCOMES} WHERE item.id = ? OR (item.id IS NULL AND item.digest = ?)"
        row = self._row(query, (id, digest))
        return None if row is None else result_of(outcome_of(row), self._parse, replayed=True)

    @property
    def _begun(self) -> bool:
        return (
            self._ask(lambda db: db.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcome'").fetchone())
            is not None
        )

    def _page(self, query: str, last: int) -> list[tuple[Any, ...]]:
        """Rows of `READ_OUTCOMES`; its columns 2 and 17 are request and answer."""
        return self._ask(lambda db: some_rows(db, query, (last,), 2, 17)) if self._begun else []

    def _row(self, query: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return self._ask(lambda db: db.execute(query, values).fetchone()) if self._begun else None

    def _ask(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return read(self._db)
        except sqlite3.Error as error:
            problem = unreadable(self.path, error)
        raise problem

    def close(self) -> None:
        """Let go of the file. May be repeated."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Journal({self.path!r})"


def _opened(path: Path, named: str) -> sqlite3.Connection:
    """A connection to a journal, which was looked at.

    Raises:
        ConfigurationError: it is no journal.
    """
    # Who could write cleans up what readers share; a connection that could not would leave two more files behind.
    db = _connected(path, "mode=rw")
    try:
        try:
            check_kind(db, named)
        except sqlite3.OperationalError:
            if path.with_name(path.name + "-wal").exists():
                raise
            # Where nothing can be written SQLite has no place for what readers share; nor has it a need for that.
            db.close()
            db = _connected(path, "immutable=1")
            check_kind(db, named)
    except BaseException:
        db.close()
        raise
    return db


def _connected(path: Path, how: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=30.0, isolation_level=None)
    db.execute("PRAGMA query_only = 1")
    return db
