"""What a bulk run meets rarely: layers and loops that end it, answers of other kinds, closing before it began."""

import asyncio
import signal
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moonshot_async import Bounds
from moonshot_async.bulk.journal.sqlite_files import check_kind
from moonshot_async.bulk.journal.store import Store
from moonshot_async.errors import JournalError
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import MODEL, World, ask, asks, rows, taken

pytestmark = pytest.mark.usefixtures("no_leaks")

JSON = {"Content-Type": "application/json"}


class Alarm(BaseException):
    """No error, but an end, as that of a program."""


async def test_what_ends_programs_ends_a_run(world: World, journal: Path) -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        if len(world.asked) == 3:
            raise Alarm
        return await call_next(request)

    client = world.client(middleware=[layer])
    with pytest.raises(Alarm):
        await taken(client.bulk(asks(10_000), model=MODEL, journal=journal, concurrency=1))
    assert rows(journal, "SELECT count(*) FROM outcome") == [(3,)]


async def test_sendings_of_the_client_itself_are_told(world: World, journal: Path) -> None:
    world.fake.fail(503, retry_after=0.01, times=2)
    (result,) = await taken(world.client(max_retries=3).bulk([ask(1)], model=MODEL, journal=journal))
    assert [attempt.error for attempt in result.attempts] == ["InternalServerError 503"] * 2
    assert result.ok
    assert result.retry_wait > 0


async def test_a_layer_in_place_of_the_limits_says_nothing_of_them(world: World, journal: Path) -> None:
    class Mine:
        async def __call__(self, request: Request, call_next: Handler) -> Response:
            return await call_next(request)

    client = world.client(limits=Mine())
    assert len(await taken(client.bulk(asks(30), model=MODEL, journal=journal))) == 30
    assert rows(journal, "SELECT limits FROM start")[0][0].startswith('{"concurrency":null,"rpm":null')


async def test_calls_of_a_search_have_their_price(world: World, journal: Path) -> None:
    async def before(number: int) -> Response | None:
        call = {"id": "c", "type": "function", "function": {"name": "$web_search", "arguments": "{}"}}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [call]}}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        return Response(
            200, JSON, msgspec.json.encode({"id": "c", "model": MODEL, "choices": [choice], "usage": usage})
        )

    world.before = before
    client = world.client()
    cached = {**ask(1), "prompt_cache_options": {"ttl": "1h"}}
    results = await taken(client.bulk([cached, ask(2)], model=MODEL, journal=journal, max_cost=1))
    for result in results:
        assert result.completion is not None
        assert result.cost == client.cost(result.completion) is not None


async def test_a_run_of_the_journal_alone_is_closed_before_it_began(world: World, journal: Path) -> None:
    await world.client().bulk(None, journal=journal).aclose()
    assert not journal.exists()


async def test_a_task_that_is_cancelled_while_the_journal_is_opened_leaves_it_free(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    opening = Store.open

    def slowly(store: Store, start: Any) -> Any:
        time.sleep(0.1)
        return opening(store, start)

    monkeypatch.setattr(Store, "open", slowly)
    client = world.client()
    task = asyncio.create_task(taken(client.bulk(asks(3), model=MODEL, journal=journal)))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await taken(client.bulk(asks(3), model=MODEL, journal=journal))) == 3


async def test_in_order_what_was_held_back_is_handed_out_at_a_stop(world: World, journal: Path) -> None:
    hold = asyncio.Event()

    async def before(number: int) -> None:
        if number == 0:
            await hold.wait()

    world.before = before
    run = world.client().bulk(asks(5), model=MODEL, journal=journal, ordered=True)
    taking = asyncio.create_task(taken(run))
    while run.progress.done < 4:
        await asyncio.sleep(0.01)
    run.stop()
    run.stop()
    assert [result.position for result in await taking] == [2, 3, 4, 5]


async def test_a_handler_that_a_loop_had_is_not_replaced_by_one_that_does_nothing(world: World, journal: Path) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print)
    await taken(world.client().bulk(asks(2), model=MODEL, journal=journal, handle_signals=True))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_run_that_does_nothing_gives_signs_of_life(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.journal.recorder.BEAT", 0.01)
    hold = asyncio.Event()

    async def before(number: int) -> None:
        await hold.wait()

    world.before = before
    async with world.client().bulk(asks(1), model=MODEL, journal=journal) as run:
        while not world.asked:
            await asyncio.sleep(0.01)
        ((before_it,),) = rows(journal, "SELECT beat FROM lease")
        await asyncio.sleep(0.1)
        assert rows(journal, "SELECT beat FROM lease")[0][0] > before_it
        hold.set()
        assert len(await taken(run)) == 1


async def test_a_journal_that_fails_at_the_end_is_told_as_why_it_ended(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write_group

    def full(store: Store, items: Any, group: Any) -> list[str]:
        if group.outcomes:
            raise JournalError("the disk is full", path=store.path)
        return write(store, items, group)

    monkeypatch.setattr(Store, "write_group", full)
    run = world.client().bulk(asks(3), model=MODEL, journal=journal)
    with pytest.raises(JournalError) as caught:
        await taken(run)
    assert len(caught.value.unrecorded) == 3
    assert run.reason == "the journal could not be written"


async def test_what_a_journal_could_not_take_at_first_is_in_it_at_the_end(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write_group
    failed: list[int] = []

    def full(store: Store, items: Any, group: Any) -> list[str]:
        if group.outcomes and not failed:
            failed.append(len(group.outcomes))
            raise JournalError("the disk is full", path=store.path)
        return write(store, items, group)

    monkeypatch.setattr(Store, "write_group", full)
    run = world.client().bulk(asks(3), model=MODEL, journal=journal)
    with pytest.raises(JournalError) as caught:
        await taken(run)
    assert failed == [3]
    assert caught.value.unrecorded == ()
    assert rows(journal, "SELECT count(*) FROM outcome") == [(3,)]
    assert run.reason == "the journal could not be written"


def test_a_database_that_cannot_be_asked_is_no_file_of_another_kind() -> None:
    class Busy:
        def execute(self, query: str) -> Any:
            raise sqlite3.OperationalError("database is locked")

    with pytest.raises(sqlite3.OperationalError):
        check_kind(Busy(), "run.db")  # type: ignore[arg-type]  # it has what is asked of it


async def test_bounds_of_the_client_hold_in_bulk_too(world: World, journal: Path) -> None:
    client = world.client(bounds=Bounds(max_depth=4))
    assert (await taken(client.bulk([ask(1)], model=MODEL, journal=journal)))[0].ok
