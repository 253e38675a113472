"""A bulk run over HTTP that is killed again and again, once for want of room, and loses and repeats nothing.

`MOONSHOT_ASYNC_SOAK` says how large it is: with 20,000 it is killed ten times. Unless it is set it is a twentieth,
which is killed three times.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.bulk import Journal
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.blobs import Blob
from moonshot_async.fake.faults import CHAT_PATH
from moonshot_async.fake.jobs import BatchTimes
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import number_of
from tests.bulk.killed_program import request as request_of

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files"),
]

ROOT = Path(__file__).parent.parent.parent
ITEMS = int(os.environ.get("MOONSHOT_ASYNC_SOAK", "1000"))
KILLS = 10 if ITEMS >= 20_000 else 3
CONCURRENCY = int(os.environ.get("MOONSHOT_ASYNC_CONCURRENCY", "64"))
SEED = int(os.environ.get("MOONSHOT_ASYNC_SEED", "1"))


class Counting(FakeMoonshot):
    """Counts what it is asked, and takes its time.

    Attributes:
        asked: how often each item was.
        batches: how many were created.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"latency": 0.02, "max_recorded": 1, **options})
        self.asked: Counter[int] = Counter()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.batches = 0

    async def answer(self, request: Request, body: Blob) -> Response:
        if request.path == CHAT_PATH:
            self.asked[number_of(request)] += 1
            await self.goes_on.wait()
        self.batches += request.method == "POST" and request.path == "/v1/batches"
        return await super().answer(request, body)


class Program:
    """The program of `killed_program.py`, on one journal."""

    def __init__(self, url: str, journal: Path, items: int = ITEMS) -> None:
        self._arguments = (url, str(journal), str(items), str(CONCURRENCY))

    async def start(self, *more: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "faulthandler", "-m", "tests.bulk.killed_program", *self._arguments, *more),
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
            stdout=pipe,
            stderr=pipe,
        )

    async def end(self, *more: str) -> tuple[int | None, str, str]:
        process = await self.start(*more)
        # One that hangs tells where.
        watch = asyncio.get_running_loop().call_later(50, process.send_signal, signal.SIGABRT)
        out, err = await process.communicate()
        watch.cancel()
        return process.returncode, out.decode(), err.decode()


async def test_a_run_that_is_killed_again_and_again_ends_with_each_answer_once(journal: Path) -> None:
    fake, draw = Counting(), random.Random(SEED)
    async with fake.serve() as url:
        program = Program(url, journal)
        for number in range(KILLS):
            process = await program.start()
            # Somewhere in the next part of the work, each time in another moment of it.
            before = fake.asked.total()
            watch = asyncio.get_running_loop().call_later(50, process.send_signal, signal.SIGABRT)
            while process.returncode is None and fake.asked.total() - before < draw.randrange(1, ITEMS // (KILLS + 2)):
                await asyncio.sleep(0.002)
            if number < 2:
                # However slow this machine is, something is left for what is tried next.
                fake.goes_on.clear()
            await asyncio.sleep(draw.uniform(0, 0.05))
            if number == 1:
                code, _, refused = await program.end()
                assert code == 1
                assert refused.startswith(
                    f"JournalInUseError: the journal {journal} is in use by process {process.pid}"
                )
            watch.cancel()
            assert process.returncode is None, await process.communicate()
            process.kill()
            await process.communicate()
            fake.goes_on.set()
            if number == 0:
                room = journal.with_name(journal.name + "-wal").stat().st_size + journal.stat().st_size + 100_000
                code, _, full = await program.end(f"room={room}")
                assert code == 1
                assert full.startswith(f"JournalError: the journal {journal} cannot be written: ")
                assert "run it again: it goes on from there" in full
                # Where it is known from the start, nothing is asked in vain.
                before = fake.asked.total()
                assert (await program.end("room=65536"))[2].startswith(f"JournalError: the journal {journal} ")
                assert fake.asked.total() == before
        code, out, err = await program.end()
        assert (code, err) == (0, "")
        assert out.endswith(f" {ITEMS} done, None\n")
        assert (await program.end())[1] == f"0 now, {ITEMS} done, None\n"

    # What was in flight when it was killed, or could not be written down, may have been asked twice; nothing else.
    assert set(fake.asked) == set(range(ITEMS))
    assert fake.asked.total() <= ITEMS + (KILLS + 1) * CONCURRENCY
    await every_answer_is_right(journal, ITEMS)


async def test_a_batch_run_that_is_killed_again_and_again_creates_no_batch_twice(journal: Path) -> None:
    items = ITEMS // 5
    fake, draw = Counting(batch_times=BatchTimes(0.05, 0.3, 0.05, 0.05), latency=0.0), random.Random(SEED)
    async with fake.serve() as url:
        program = Program(url, journal, items)
        for _ in range(KILLS):
            process = await program.start("via=batch")
            await begun(journal, process)
            await asyncio.sleep(draw.uniform(0, 0.4))
            # The last ones may have come to the end.
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
        code, out, err = await program.end("via=batch")
        assert (code, err) == (0, "")
        assert out.endswith(f" {items} done, None\n")
        with closing(sqlite3.connect(journal)) as db:
            made, named = db.execute("SELECT count(*), count(DISTINCT batch_id) FROM batch").fetchone()
        assert fake.batches == made == named
        async with AsyncMoonshot(api_key="sk-bulk", base_url=url) as client:
            names = [file.filename async for file in client.files.list()]
            # Inputs are deleted, but for those of batches that were uploaded and then not created.
            assert len([name for name in names if "_output" not in name]) <= KILLS * 8
    await every_answer_is_right(journal, items)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
async def test_a_program_that_is_told_to_stop_loses_nothing_that_it_waits_for(
    number: signal.Signals, times: int, journal: Path
) -> None:
    fake = Counting(latency=0.08)
    async with fake.serve() as url:
        program = Program(url, journal, 200)
        process = await program.start("signals")
        while fake.asked.total() < min(CONCURRENCY + 20, 100):
            await asyncio.sleep(0.005)
        for _ in range(times):
            process.send_signal(number)
            await asyncio.sleep(0.03)
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert b" done, stopped\n" in out
        with Journal(journal) as read:
            done = read.totals.done
            assert read.db.execute("SELECT reason FROM start").fetchall() == [("stopped",)]
        assert done == fake.asked.total() if times == 1 else done <= fake.asked.total()
        assert (await program.end())[1] == f"{200 - done} now, 200 done, None\n"
    assert fake.asked.total() <= 200 + (0 if times == 1 else CONCURRENCY)


async def begun(journal: Path, process: asyncio.subprocess.Process) -> None:
    """Wait until a process has the journal, or has ended."""
    while process.returncode is None:
        try:
            with closing(sqlite3.connect(journal)) as db:
                if db.execute("SELECT 1 FROM lease WHERE pid = ?", (process.pid,)).fetchone():
                    return
        except sqlite3.Error:
            pass
        await asyncio.sleep(0.005)


async def every_answer_is_right(journal: Path, items: int) -> None:
    ids: set[str] = set()
    fake = FakeMoonshot(max_recorded=1)
    async with AsyncMoonshot(api_key="sk-x", transport=MemoryTransport(fake)) as client:
        with Journal(journal) as read:
            assert read.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert (read.totals.done, read.totals.failed, read.totals.open) == (items, 0, 0)
            for result in read.results():
                number = int(result.request["messages"][-1]["content"].removeprefix("Item "))
                assert result.request["messages"] == request_of(number)["messages"]
                assert (result.id == f"item-{number}") == bool(number % 2)
                expected = await client.chat.completions.create(**result.request)
                assert result.completion is not None
                assert result.completion.choices == expected.choices
                ids.add(result.id)
    assert len(ids) == items
