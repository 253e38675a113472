"""The journal of bulk work: one SQLite file. Everything here blocks, and is called in the thread that made it.

An item is written when it was read, an outcome when the answer has come; each transaction is on the disk before
anybody hears of it (write-ahead log, `synchronous = FULL`), so that neither a process that is killed nor a power cut
takes back what was told. Both tables only grow at their end: that costs a tenth of what an index over keys would, whose
pages are all touched again and again. By key items are found in a table of this start, which is temporary.

See: https://www.sqlite.org/wal.html
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from moonshot_async.bulk.items import Item, item_of, key_of
from moonshot_async.bulk.journal.lease import LEASE, Lease
from moonshot_async.bulk.journal.rows import (
    ITEM,
    OUTCOME,
    PLAIN_OUTCOME,
    READ_OUTCOMES,
    SCHEMA,
    is_plain,
    outcome_of,
    plain_values,
    values,
)
from moonshot_async.bulk.journal.sqlite_files import (
    APPLICATION_ID,
    VERSION,
    Transaction,
    check_kind,
    insert,
    make_file,
    marks,
    slices,
    some_rows,
    unusable,
)
from moonshot_async.bulk.journal.totals import COUNT, SUMS, Group, Totals, totals
from moonshot_async.bulk.outcomes import FAILED, Outcome
from moonshot_async.errors import ConfigurationError, JournalError

T = TypeVar("T")


_KEYS: Final = 256
# So many bytes must find room when a journal is opened.
_ROOM: Final = 256 * 1024
# Of pages of 4 KiB, each would hold one answer of usual length, and be half empty.
_PRAGMAS: Final = """
PRAGMA page_size = 8192;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 2000;
PRAGMA cache_size = -4096;
PRAGMA temp.cache_size = -8192;
PRAGMA temp.journal_mode = MEMORY;
CREATE TEMP TABLE known (key INTEGER PRIMARY KEY, number INTEGER NOT NULL);
"""


class Start(msgspec.Struct):
    """How a start of a run is written down.

    Attributes:
        via: "live" or "batch".
        currency: of the account.
        concurrency: how many calls at once; None where it is found out.
        limits: of the account, as far as they are told: `{"rpm": ...}`; and `minute`, how many seconds theirs has.
    """

    via: str
    currency: str
    concurrency: int | None = None
    limits: dict[str, float | None] = {}


class Store:
    """A journal that is written.

    Args:
        path: of the file; it is made where there is none.
        retry_failed: whether what failed in earlier starts is open again.
        clock: the time, in Unix seconds.

    Attributes:
        number: of this start.
    """

    def __init__(self, path: str, *, retry_failed: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.number = 0
        self._retry_failed = retry_failed
        self._clock = clock
        self._lease = Lease(path, clock)
        self._last = 0
        self._db: sqlite3.Connection | None = None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection.

        Raises:
            JournalError: it was closed.
        """
        if self._db is None:
            raise JournalError(f"the journal {self.path} is closed", path=self.path)
        return self._db

    def open(self, start: Start) -> Totals:
        """Open it, make it where there is none, and take the lease.

        Raises:
            JournalInUseError: another run has it.
            ConfigurationError: the file is no journal, or the account bills in another currency than it did.
            JournalError: it cannot be opened or written.
        """
        make_file(self.path)
        try:
            self._db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, cached_statements=64)
            check_kind(self._db, self.path)
            self._db.executescript(_PRAGMAS)
            with Transaction(self._db):
                self._db.execute(LEASE)
                self._lease.take(self._db)
                self._begin(start)
            self._check_room()
            self._know()
            return totals(self._db)
        except sqlite3.Error as error:
            problem = unusable(self.path, error)
        except BaseException:
            self._drop()
            raise
        self._drop()
        raise problem

    def _begin(self, start: Start) -> None:
        db = self.db
        for statement in SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        made = db.execute(
            "INSERT INTO start (began, pid, via, currency, concurrency, limits) VALUES (?, ?, ?, ?, ?, ?)",
            (
                self._clock(),
                os.getpid(),
                start.via,
                start.currency,
                start.concurrency,
                msgspec.json.encode(start.limits).decode(),
            ),
        )
        self.number = made.lastrowid or 0
        other = db.execute("SELECT currency FROM start WHERE currency <> ? LIMIT 1", (start.currency,)).fetchone()
        if other is not None:
            raise ConfigurationError(
                f"the journal {self.path} counts its costs in {other[0].upper()}, and this account bills in "
                f"{start.currency.upper()}: use another journal"
            )

        under_way = db.execute("SELECT count(*) FROM batch WHERE ended IS NULL").fetchone()[0]
        if under_way and start.via == "live":
            raise ConfigurationError(
                f"the journal {self.path} has {under_way} batches under way, which are paid for: go on with via='batch'"
            )
        if self._retry_failed:
            db.execute("DELETE FROM outcome WHERE state = ?", (FAILED,))
            db.execute("UPDATE start SET failed = 0")

    def _check_room(self) -> None:
        """See to it that a disk that is full is met here, and not by answers that are paid for."""
        db = self.db
        for statement in (
            "DROP TABLE IF EXISTS room",
            f"CREATE TABLE room AS SELECT zeroblob({_ROOM}) AS bytes",
            "DROP TABLE room",
        ):
            with Transaction(db):
                db.execute(statement)

    def _know(self) -> None:
        """Make the tables in which items are found: all of them by key, and those that are open."""
        db = self.db
        db.execute("CREATE TEMP TABLE unanswered AS SELECT number FROM item EXCEPT SELECT number FROM outcome")
        self._last = db.execute("SELECT coalesce(max(number), 0) FROM item").fetchone()[0]
        db.create_function("key_of", 2, key_of, deterministic=True)
        db.execute("INSERT OR IGNORE INTO known SELECT key_of(id, digest) AS key, number FROM item ORDER BY key")

    def write(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[str]:
        """The same as `write_group`, for outcomes that are in no group yet."""
        return self.write_group(items, Group(outcomes))

    def write_group(self, items: Sequence[Item], group: Group) -> list[str]:
        """Take items in, and write outcomes down, in one transaction; it is on the disk when this returns.

        Returns:
            The state of each item, which has its number now: "new"; "open"; "now" for what became of it in this start;
            "done" or "failed" in an earlier one.

        Raises:
            ConfigurationError: an item has the id of another one, and is none of it.
            JournalError: it cannot be written; nothing of it was.
        """
        try:
            with self.writing():
                # First, so that what is said of items holds when it is heard.
                if group.outcomes:
                    self._write_down(group.outcomes)
                    group.totals.count(group.outcomes)
                if group.pending:
                    self.db.execute(COUNT, [*(getattr(group.totals, name) for name in SUMS), self.number])
                return self._taken_in(items) if items else []
        except sqlite3.Error as error:
            problem = unusable(self.path, error)
        raise problem

    def _write_down(self, outcomes: Sequence[Outcome]) -> None:
        plain: list[Any] = []
        others: list[Any] = []
        for outcome in outcomes:
            if is_plain(outcome):
                plain += plain_values(outcome, self.number)
            else:
                others += values(outcome, self.number)
        insert(self.db, PLAIN_OUTCOME, plain)
        insert(self.db, OUTCOME, others)

    def _taken_in(self, items: Sequence[Item]) -> list[str]:
        """Number items, and write down those that are new."""
        before = self._last
        keys: list[Any] = []
        for number, item in enumerate(items, before + 1):
            item.number = number
            keys += (item.key, number)
        self._last += len(items)
        added = insert(self.db, "known (key, number)", keys, on="IGNORE")
        states = ["new"] * len(items)
        new = items
        if added < len(items):
            self._recognise(items, states, before)
            new = [item for item, state in zip(items, states, strict=True) if state == "new"]
        now = self._clock()
        rows: list[Any] = []
        for item in new:
            rows += (item.number, item.id, item.digest, now, item.body)
        insert(self.db, ITEM, rows)
        return states

    def _recognise(self, items: Sequence[Item], states: list[str], before: int) -> None:
        """Some of these items are known: give them the numbers that they have, and say what is known of them."""
        known: dict[int, int] = {}
        for some in slices(items, _KEYS):
            query = f"SELECT key, number FROM known WHERE key IN ({marks(len(some))})"
            known.update(self.db.execute(query, [item.key for item in some]))
        recorded = self._states([number for number in known.values() if number <= before])
        digests: dict[int, bytes] = {}
        for place, item in enumerate(items):
            number = known[item.key]
            if number == item.number:
                digests[number] = item.digest
                continue
            item.number = number
            states[place], digest = recorded.get(number) or ("open", digests.get(number))
            if digest != item.digest:
                raise ConfigurationError(
                    f"request {item.position} has the custom_id {item.id!r}, which another request has in the journal "
                    f"{self.path}: ids must be unique. If it was changed on purpose, give it another id"
                )

    def _states(self, numbers: Sequence[int]) -> dict[int, tuple[str, bytes | None]]:
        states: dict[int, tuple[str, bytes | None]] = {}
        for some in slices(numbers, _KEYS):
            rows = self.db.execute(
                "SELECT item.number, CASE WHEN outcome.start = ? THEN 'now' ELSE coalesce(outcome.state, 'open') END, "
                f"digest FROM item LEFT JOIN outcome USING (number) WHERE item.number IN ({marks(len(some))})",
                (self.number, *some),
            )
            states.update((number, (state, digest)) for number, state, digest in rows)
        return states

    def unanswered(self, after: int, most: int) -> list[Item]:
        """Items that were open when the journal was opened, and are so still, behind this number, in order."""
        query = (
            "SELECT number, item.id, body FROM unanswered JOIN item USING (number) "
            "WHERE number > ? AND NOT EXISTS (SELECT 1 FROM outcome WHERE outcome.number = unanswered.number) "
            "ORDER BY number LIMIT ?"
        )
        rows = some_rows(self.db, query, (after, most), 2)
        return [item_of(id, body, number) for number, id, body in rows]

    def recorded(self, numbers: Sequence[int]) -> list[Outcome]:
        """The outcomes of these items."""
        found: list[Outcome] = []
        for some in slices(numbers, _KEYS):
            rows = self.db.execute(f"{READ_OUTCOMES} WHERE item.number IN ({marks(len(some))})", some)
            found += map(outcome_of, rows)
        return found

    def close(self, reason: str | None, limits: dict[str, float | None] | None = None) -> None:
        """Write down why the start ended, and which limits it learned, and give the journal back. May be repeated."""
        if self._db is None:
            return
        learned = None if limits is None else msgspec.json.encode(limits).decode()
        try:
            with self.writing():
                self._db.execute(
                    "UPDATE start SET ended = ?, reason = ?, limits = coalesce(?, limits) WHERE number = ?",
                    (self._clock(), reason, learned, self.number),
                )
                self._lease.give_back(self._db)
        except (sqlite3.Error, JournalError):
            # What matters was said before.
            self._lease.give_up()
        finally:
            self._drop()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def writing(self) -> "Transaction":
        """A transaction, which gives a sign of life.

        Raises:
            JournalError: another process has the journal by now.
        """
        return Transaction(self.db, self._lease)

    def now(self) -> float:
        """The time, in Unix seconds."""
        return self._clock()

    def do(self, function: Callable[..., T], *args: Any) -> T:
        """Call what works on the journal, with the store first.

        Raises:
            JournalError: SQLite gave up.
        """
        try:
            return function(self, *args)
        except sqlite3.Error as error:
            problem = unusable(self.path, error)
        raise problem
