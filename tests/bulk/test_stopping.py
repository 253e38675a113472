"""Bulk runs that are stopped, left or out of money: at once, in good order, and with nothing lost that was paid for."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import (
    AsyncMoonshot,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    MemoryTransport,
    QuotaExceededError,
    RateLimits,
)
from moonshot_async.bulk import BulkResult, Journal, Progress
from moonshot_async.bulk.journal.store import Store
from moonshot_async.fake import FakeMoonshot
from tests.bulk.bulk_world import MODEL, World, ask, asks, rows, taken

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_a_run_that_is_left_after_its_last_result_was_not_ended_before_its_requests(
    world: World, journal: Path
) -> None:
    seen = 0
    async with world.client().bulk(asks(40), model=MODEL, journal=journal) as run:
        async for _ in run:
            seen += 1
            if seen == 40:
                break
    assert run.reason is None
    assert rows(journal, "SELECT reason FROM start") == [(None,)]
    run.stop()
    assert run.reason is None


async def test_a_stop_when_all_requests_are_under_way_changes_nothing(world: World, journal: Path) -> None:
    client = world.client()
    hold = asyncio.Event()
    ended = threading.Event()

    def source() -> Iterator[dict[str, Any]]:
        yield from asks(3)
        ended.set()

    async def before(number: int) -> None:
        await hold.wait()

    world.before = before
    run = client.bulk(source(), model=MODEL, journal=journal)
    taking = asyncio.create_task(taken(run))
    while len(world.asked) < 3 or not ended.is_set():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    run.stop()
    hold.set()
    assert len(await taking) == 3
    assert run.reason is None


async def test_two_stops_before_it_has_begun_end_it(world: World, journal: Path) -> None:
    run = world.client().bulk(asks(3), model=MODEL, journal=journal)
    run.stop()
    run.stop()
    assert await taken(run) == []
    assert run.reason == "stopped"
    async with world.client().bulk(asks(3), model=MODEL, journal=journal) as run:
        run.stop()
        run.stop()
    assert not world.asked


async def test_what_waits_for_a_limit_is_not_begun_after_a_stop(world: World, journal: Path) -> None:
    client = world.client(limits=RateLimits(rpm=4))
    run = client.bulk(asks(30), model=MODEL, journal=journal, concurrency=16)
    taking = asyncio.create_task(taken(run))
    while run.progress.done < 4:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    run.stop()
    assert len(await taking) == len(world.asked) == 4
    assert time.monotonic() - began < 1
    assert run.reason == "stopped"


async def test_what_waits_to_be_sent_again_is_left_after_a_stop_and_what_is_at_the_service_is_not(
    world: World, journal: Path
) -> None:
    hold = asyncio.Event()

    async def before(number: int) -> None:
        if number == 2:
            await hold.wait()

    world.before = before
    # The first of them while it waits already, the second when it comes back.
    world.fake.fail(503, retry_after=30, times=None)
    run = world.client(max_retries=2).bulk(asks(3), model=MODEL, journal=journal, concurrency=3)
    taking = asyncio.create_task(taken(run))
    while len(world.asked) < 3:
        await asyncio.sleep(0.01)
    run.stop()
    await asyncio.sleep(0.1)
    assert not taking.done()
    hold.set()
    async with asyncio.timeout(2):
        assert await taking == []
    assert (run.progress.in_flight, run.progress.failed) == (0, 0)


async def test_what_came_is_written_down_however_often_the_run_is_ended(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write_group
    writing = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly(store: Store, *args: Any) -> list[str]:
        if args[1].outcomes:
            loop.call_soon_threadsafe(writing.set)
            time.sleep(0.1)
        return write(store, *args)

    monkeypatch.setattr(Store, "write_group", slowly)
    run = world.client().bulk(asks(30), model=MODEL, journal=journal, concurrency=4)
    taking = asyncio.create_task(taken(run))
    await writing.wait()
    for _ in range(3):
        run.stop()
        await asyncio.sleep(0.01)
    # As `asyncio.run` does at its end.
    for task in asyncio.all_tasks():
        if task.get_name() == "moonshot_async bulk":
            task.cancel()
    results = await taking
    assert len(results) == len(world.asked) >= 4
    assert rows(journal, "SELECT count(*) FROM outcome") == [(len(results),)]


async def test_a_loop_that_ends_all_its_tasks_leaves_everything_recorded(world: World, journal: Path) -> None:
    hold = asyncio.Event()

    async def before(number: int) -> None:
        if number >= 4:
            await hold.wait()

    world.before = before
    run = world.client().bulk(asks(8), model=MODEL, journal=journal, concurrency=8)
    taking = asyncio.create_task(taken(run))
    while run.progress.done < 4:
        await asyncio.sleep(0.01)
    for task in asyncio.all_tasks():
        if task.get_name() == "moonshot_async bulk":
            task.cancel()
    assert len(await taking) == 4
    assert run.reason == "cancelled"


async def test_a_callback_that_fails_at_the_very_end_is_told(world: World, journal: Path) -> None:
    def told(progress: Progress) -> None:
        if progress.done == 3:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await taken(world.client().bulk(asks(3), model=MODEL, journal=journal, on_progress=told))


@asynccontextmanager
async def client_of(fake: FakeMoonshot, over_http: bool) -> AsyncIterator[AsyncMoonshot]:
    if over_http:
        async with fake.serve() as url, AsyncMoonshot(api_key="sk-x", base_url=url) as client:
            yield client
    else:
        async with AsyncMoonshot(api_key="sk-x", transport=MemoryTransport(fake)) as client:
            yield client


@pytest.mark.parametrize(("over_http", "concurrency"), [(False, 512), (True, 64)])
@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({"status": 429, "type": "exceeded_current_quota_error"}, QuotaExceededError),
        ({"status": 401}, AuthenticationError),
    ],
)
async def test_no_money_and_a_key_that_was_revoked_stop_a_run_of_many_calls_within_a_second(
    failure: dict[str, Any], error: type[Exception], over_http: bool, concurrency: int, journal: Path
) -> None:
    fake = FakeMoonshot(latency=0.05, max_recorded=1)
    async with client_of(fake, over_http) as client:
        run = client.bulk(asks(700), model=MODEL, journal=journal, concurrency=concurrency)
        began = 0.0
        results: list[BulkResult] = []
        with pytest.raises(error) as caught:
            async for result in run:
                results.append(result)
                if not began and len(results) >= 60:
                    fake.fail(**failure, times=None)
                    began = time.monotonic()
        # Hundreds of refusals at once take a busy machine a while.
        assert time.monotonic() - began < (1 if over_http else 3)
        assert caught.value.__notes__
        assert (run.reason, run.progress.failed) == (error.__name__, 0)
        fake.reset()
        rest = await taken(client.bulk(asks(700), model=MODEL, journal=journal, concurrency=concurrency))
    assert len({result.id for result in [*results, *rest]}) == len(results) + len(rest) == 700


async def test_a_balance_that_runs_dry_over_http_is_topped_up(journal: Path) -> None:
    fake = FakeMoonshot(balance="0.2", currency="CNY", latency=0.02, max_recorded=1)
    async with fake.serve() as url, AsyncMoonshot(api_key="sk-x", base_url=url) as client:
        run = client.bulk(asks(400), model=MODEL, journal=journal, concurrency=512)
        with pytest.raises(QuotaExceededError):
            await taken(run)
        assert 0 < run.progress.done < 400
        fake.account.cash = Decimal(1000)
        rest = await taken(client.bulk(asks(400), model=MODEL, journal=journal, concurrency=512))
    assert len(rest) == 400 - run.progress.done
    with Journal(journal) as read:
        assert (read.totals.done, read.totals.failed, read.totals.open) == (400, 0, 0)


@pytest.mark.usefixtures("quick")
async def test_signals_that_nobody_can_listen_to_are_refused(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
    with pytest.raises(ConfigurationError, match=r"call run\.stop\(\) from a handler of your own"):
        await taken(world.client().bulk([ask(1)], model=MODEL, journal=journal, handle_signals=True))
    assert not world.asked


async def test_an_error_of_a_call_counts_for_it_alone_where_others_are_answered(world: World, journal: Path) -> None:
    world.fake.fail(400, type="content_filter", times=1)
    results = await taken(world.client().bulk(asks(5), model=MODEL, journal=journal, concurrency=1))
    assert [result.ok for result in results].count(False) == 1
    assert not any(isinstance(result.error, InternalServerError) for result in results)
