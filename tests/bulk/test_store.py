"""The journal itself: what it keeps, who has it, and what it says when it cannot go on."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from moonshot_async import ConfigurationError, MoonshotError
from moonshot_async.bulk import Journal
from moonshot_async.bulk.items import Item, ItemMaker
from moonshot_async.bulk.journal import reader
from moonshot_async.bulk.journal import store as store_module
from moonshot_async.bulk.journal.lease import STALE_AFTER
from moonshot_async.bulk.journal.recorder import Recorder
from moonshot_async.bulk.journal.store import Start, Store
from moonshot_async.bulk.outcomes import Outcome, Tokens, amount, error_of, error_text
from moonshot_async.bulk.progress import Meter
from moonshot_async.errors import APITimeoutError, JournalError, JournalInUseError
from moonshot_async.types.chat import decode_completion
from tests.bulk.bulk_world import MODEL, World, ask, asks, rows, taken

LIVE = Start("live", "usd")
ANSWER = b'{"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'


class Time:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def items(*numbers: int) -> list[Item]:
    maker = ItemMaker({"model": "m"})
    return [item for number in numbers if (item := maker.item(ask(number)))]


def done(item: Item, error: MoonshotError | None = None) -> Outcome:
    if error is not None:
        return Outcome(item, 1.0, 2.0, error=error)
    return Outcome(item, 1.0, 2.0, answer=ANSWER, completion=decode_completion(ANSWER), tokens=Tokens(3, 4), cost=5)


def opened(journal: Path, **options: object) -> Store:
    store = Store(str(journal), **options)  # type: ignore[arg-type]  # as they come
    store.open(LIVE)
    return store


def test_what_is_written_is_there_in_the_next_start(journal: Path) -> None:
    store = opened(journal)
    first = items(*range(300))
    assert store.write(first, ()) == ["new"] * 300
    assert store.write(items(1, 301, 301), [done(item) for item in first[:200]]) == ["now", "new", "open"]
    assert store.write((), [done(first[200], MoonshotError("words"))]) == []
    store.close(None)
    store.close(None)

    store = Store(str(journal))
    totals = store.open(LIVE)
    assert (totals.done, totals.failed, totals.open) == (200, 1, 100)
    assert (totals.prompt_tokens, totals.completion_tokens, totals.cost) == (600, 800, 1000)
    assert store.write(items(0, 200, 250, 400), ()) == ["done", "failed", "open", "new"]
    assert [item.body for item in store.unanswered(0, 2)] == [item.body for item in items(201, 202)]
    assert [outcome.error is None for outcome in store.recorded([1, 201])] == [True, False]
    store.close("stopped")
    assert rows(journal, "SELECT number, reason, ended IS NOT NULL FROM start") == [(1, None, 1), (2, "stopped", 1)]

    store = Store(str(journal), retry_failed=True)
    totals = store.open(LIVE)
    assert (totals.done, totals.failed, totals.open) == (200, 0, 102)
    store.close(None)


def test_a_journal_belongs_to_one_account_and_kind_of_file(journal: Path, tmp_path: Path) -> None:
    opened(journal).close(None)
    with pytest.raises(ConfigurationError, match="counts its costs in USD"):
        Store(str(journal)).open(Start("live", "cny"))
    opened(journal).close(None)

    other = tmp_path / "other.db"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    text = tmp_path / "text.db"
    text.write_text("Once upon a time there was a file that was no database at all." * 50)
    for path in (other, text):
        before = path.read_bytes()
        for use in (lambda path=path: Store(str(path)).open(LIVE), lambda path=path: Journal(path)):
            with pytest.raises(ConfigurationError, match="of another kind"):
                use()
        assert path.read_bytes() == before
    with pytest.raises(ConfigurationError, match="there is no file"):
        Journal(tmp_path / "none.db")

    db = sqlite3.connect(journal)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        Journal(journal)


def test_a_file_that_cannot_be_made_or_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Store(str(tmp_path / "none" / "run.db")).open(LIVE)
    with pytest.raises(JournalError, match="cannot be written"):
        Store(str(tmp_path)).open(LIVE)
    with pytest.raises(JournalError, match="is closed"):
        assert Store(str(tmp_path)).db


# --- the lease


def test_a_lease_is_free_once_its_process_is_gone_or_gives_no_sign(journal: Path) -> None:
    clock = Time()
    first = opened(journal, clock=clock)
    clock.now += STALE_AFTER / 2
    with pytest.raises(JournalInUseError, match=r"15 s ago.*try again in 15 s"):
        Store(str(journal), clock=clock).open(LIVE)
    first.write((), ())
    clock.now += STALE_AFTER - 1
    with pytest.raises(JournalInUseError):
        Store(str(journal), clock=clock).open(LIVE)
    clock.now += 2
    second = opened(journal, clock=clock)

    # Who slept so long finds out before anything of it is written.
    for act in (lambda: first.write(items(1), ()), first.writing().__enter__):
        with pytest.raises(JournalError, match="was taken over"):
            act()
    first.close(None)
    assert second.write(items(1), ()) == ["new"]
    second.close(None)


@pytest.mark.parametrize(
    ("pid", "host", "free"),
    [("gone", socket.gethostname(), True), ("gone", "elsewhere", False), (1, socket.gethostname(), False)],
)
def test_who_has_a_journal_is_looked_for_on_this_machine_alone(
    journal: Path, pid: int | str, host: str, free: bool
) -> None:
    if pid == "gone":
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        pid = process.pid
    clock = Time()
    store = opened(journal, clock=clock)
    store.db.execute("UPDATE lease SET pid = ?, host = ?", (pid, host))
    if free:
        opened(journal, clock=clock).close(None)
    else:
        with pytest.raises(JournalInUseError):
            opened(journal, clock=clock)
    store.close(None)


def test_a_process_of_somebody_else_lives(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    store = opened(journal)
    store.db.execute("UPDATE lease SET pid = 1")
    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(JournalInUseError):
        opened(journal)
    store.close(None)


# --- no room


def test_a_full_disk_is_told_and_takes_nothing_back(journal: Path) -> None:
    store = opened(journal)
    first = items(*range(50))
    store.write(first, [])
    store.write((), [done(item) for item in first[:10]])
    pages = store.db.execute("PRAGMA page_count").fetchone()[0]
    store.db.execute(f"PRAGMA max_page_count = {pages}")
    many = items(*range(1000, 7000))
    with pytest.raises(JournalError, match=r"is full.*make room, and run it again") as caught:
        store.write(many, [done(item) for item in first[10:]])
    assert caught.value.path == str(journal)
    store.db.execute("PRAGMA max_page_count = 1000000")
    assert store.write(many, [done(item) for item in first[10:20]])[0] == "new"
    store.close(None)
    with Journal(journal) as read:
        assert (read.totals.done, read.totals.open) == (20, 6030)
        assert read.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_done_with_the_store_tells_when_sqlite_gives_up(journal: Path) -> None:
    store = opened(journal)

    def work(store: Store, number: int) -> int:
        store.db.execute("SELECT * FROM elsewhere")
        return number

    with pytest.raises(JournalError, match="no such table"):
        store.do(work, 1)
    assert store.do(lambda store, number: number, 2) == 2
    store.close(None)


def test_closing_a_journal_that_cannot_be_written_is_quiet(journal: Path) -> None:
    store = opened(journal)
    store.db.execute("PRAGMA query_only = 1")
    store.close("stopped")
    assert rows(journal, "SELECT reason FROM start") == [(None,)]
    # Its lease could not be given back, and holds nobody up.
    assert rows(journal, "SELECT count(*) FROM lease") == [(1,)]
    opened(journal).close(None)
    assert rows(journal, "SELECT count(*) FROM lease") == [(0,)]


# --- errors that are kept


def test_an_error_comes_back_as_what_it_was() -> None:
    late = APITimeoutError(message="too late", clock="total", elapsed=5.0)
    back = error_of(error_text(late))
    assert type(back) is APITimeoutError
    assert str(back) == "too late"
    assert (back.retryable, back.clock, back.elapsed, back.request) == (False, "total", 5.0, None)
    stranger = type("StrangeError", (MoonshotError,), {})("words")
    assert type(error_of(error_text(stranger))) is MoonshotError


def test_a_journal_is_read_while_it_is_written(journal: Path) -> None:
    store = opened(journal)
    made = items(1, 2)
    store.write(made, [])
    store.write((), [done(made[1])])
    with Journal(journal) as read:
        assert repr(read) == f"Journal({str(journal)!r})"
        assert (read.totals.done, read.totals.open, read.currency) == (1, 1, "usd")
        (result,) = read.results()
        assert result.id == made[1].name
        assert read.get(made[1].name) is not None
        assert read.cost == result.cost
    store.close(None)


def test_a_file_without_a_run_holds_nothing_and_one_that_is_broken_says_so(journal: Path) -> None:
    empty = journal.with_name("empty.db")
    empty.touch()
    with Journal(empty) as read:
        assert (read.totals.done, list(read.results()), read.get("x"), read.currency) == (0, [], None, "")
    store = opened(journal)
    made = items(*range(100))
    store.write(made, [])
    store.write((), [done(item) for item in made])
    store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close(None)
    data = bytearray(journal.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    journal.write_bytes(data)
    with Journal(journal) as read, pytest.raises(JournalError, match="cannot be read"):
        list(read.results())


# --- processes


def test_a_process_of_the_same_number_that_is_gone_has_no_journal(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In containers every program has the same one.
    store = opened(journal)
    with pytest.raises(JournalInUseError):
        opened(journal)
    monkeypatch.setattr("moonshot_async.bulk.journal.lease._LIFE", "another")
    opened(journal).close(None)
    store.close(None)


def test_a_number_of_a_process_says_nothing_in_another_container(journal: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    store = opened(journal)
    store.db.execute("UPDATE lease SET pid = ?, place = 'elsewhere'", (process.pid,))
    with pytest.raises(JournalInUseError):
        opened(journal)
    store.close(None)


def test_without_proc_the_name_of_the_machine_has_to_do(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    store = opened(journal)
    with pytest.raises(JournalInUseError):
        opened(journal)
    monkeypatch.undo()
    store.close(None)


# --- what a killed process leaves, and what cannot be written


def test_what_was_not_moved_into_the_file_yet_is_found_beside_it(journal: Path, tmp_path: Path) -> None:
    store = opened(journal)
    made = items(*range(50))
    store.write(made, [])
    store.write((), [done(item) for item in made])
    left = tmp_path / "left"
    left.mkdir()
    for name in (journal.name, journal.name + "-wal"):
        (left / name).write_bytes((tmp_path / name).read_bytes())
    store.close(None)
    with Journal(left / journal.name) as read:
        assert read.totals.done == 50
    taken_over = Store(str(left / journal.name), clock=lambda: time.time() + 2 * STALE_AFTER)
    assert taken_over.open(LIVE).done == 50
    taken_over.close(None)


def test_a_journal_where_nothing_can_be_written_is_read_all_the_same(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(journal)
    store.write(items(1), [])
    check = reader.check_kind
    times = 0

    def refuse_once(db: sqlite3.Connection, path: str) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise sqlite3.OperationalError("unable to open database file")
        check(db, path)

    monkeypatch.setattr(reader, "check_kind", refuse_once)
    # While it is written that would not be what it holds.
    with pytest.raises(JournalError, match="cannot be read: unable to open"):
        Journal(journal)
    store.close(None)
    times = 0
    with Journal(journal) as read:
        assert read.totals.open == 1
    assert times == 2


def test_a_journal_of_a_newer_version_is_not_touched(journal: Path) -> None:
    opened(journal).close(None)
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA user_version = 99")
    before = journal.read_bytes()
    with pytest.raises(ConfigurationError, match="newer version"):
        opened(journal)
    assert journal.read_bytes() == before


def test_a_file_that_was_made_and_never_written_is_a_new_journal(journal: Path) -> None:
    # As a process leaves it that was killed while it opened.
    journal.touch()
    opened(journal).close(None)
    other = journal.with_name("other.db")
    with closing(sqlite3.connect(other)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    opened(other).close(None)


async def test_a_run_whose_journal_is_full_tells_what_it_could_not_keep(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    client = world.client()
    monkeypatch.setattr("moonshot_async.bulk.journal.recorder._LINGER", 0.001)
    with monkeypatch.context() as full:
        full.setattr(
            "moonshot_async.bulk.journal.store._PRAGMAS", f"{store_module._PRAGMAS} PRAGMA max_page_count = 40;"
        )
        seen = []
        run = client.bulk(asks(2000), model=MODEL, journal=journal, concurrency=32, max_tokens=10**7)
        with pytest.raises(JournalError, match="is full") as caught:
            async for result in run:
                seen.append(result.id)  # noqa: PERF401  # what came before the error counts
    assert run.reason == "the journal could not be written"
    lost = caught.value.unrecorded
    assert 0 < len(lost) <= 32
    assert len(seen) + len(lost) == len(world.asked)
    assert not {result.id for result in lost} & set(seen)
    rest = await taken(client.bulk(asks(2000), model=MODEL, journal=journal, concurrency=32))
    assert len(rest) == 2000 - len(seen)
    assert len(world.asked) == 2000 + len(lost)
    await client.aclose()


async def test_a_recorder_that_failed_takes_nothing_more_and_keeps_it(journal: Path) -> None:
    store = Store(str(journal))
    failures: list[Exception] = []
    recorder = Recorder(store, lambda group: None, failures.append)
    await recorder.open(LIVE)
    first, second = items(1, 2)
    assert await recorder.admit([first, second]) == ["new", "new"]
    await recorder.read(lambda store: store.db.execute("PRAGMA query_only = 1"))
    recorder.lose(7, 8)
    await recorder.record(done(first))
    assert [str(failure) for failure in failures]
    with pytest.raises(JournalError):
        await recorder.admit(items(3))
    await recorder.record(done(second))
    recorder.lose(1, 1)
    assert [outcome.item for outcome in recorder.kept] == [first, second]
    with pytest.raises(JournalError):
        await recorder.settle()
    await recorder.read(lambda store: store.db.execute("PRAGMA query_only = 0"))
    await recorder.settle()
    assert recorder.kept == []
    # Who is no longer there is told nothing.
    asking = asyncio.create_task(recorder.admit(items(4)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await recorder.settle()
    await recorder.close(None)
    assert rows(journal, "SELECT lost_tokens, lost_cost, done FROM start") == [(8, 9, 2)]


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Time()
    meter = Meter(clock)
    for _ in range(100):
        clock.now += 1
        meter.finished(5)
    assert meter.rate() == pytest.approx(5, rel=0.11)
    clock.now += 60
    assert meter.rate() < 0.2


def test_who_reads_a_journal_leaves_no_file_beside_it(journal: Path) -> None:
    opened(journal).close(None)
    with Journal(journal) as read:
        assert read.totals.done == 0
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            read.db.execute("DELETE FROM item")
    assert list(journal.parent.iterdir()) == [journal]


@pytest.mark.parametrize(("pico", "told"), [(9_172_000_000, "0.009172"), (0, "0"), (20 * 10**12, "20"), (1, "1E-12")])
def test_a_cost_has_no_more_digits_than_it_needs(pico: int, told: str) -> None:
    assert str(amount(pico)) == told
