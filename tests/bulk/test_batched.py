"""Bulk runs through the Batch API: the same results, from batches that nobody loses or pays for twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moonshot_async import AsyncMoonshot, BatchFailedError, ConfigurationError, NotFoundError, QuotaExceededError
from moonshot_async.bulk import BulkResult, Journal, Progress
from moonshot_async.bulk.journal.store import Store
from moonshot_async.errors import BudgetReachedError, JournalError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.jobs import BatchTimes
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import MODEL, World, ask, asks, rows, taken

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.bulk.batches.work._POLL", 0.02)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(batch_times=BatchTimes(0.01, 0.05, 0.01, 0.01))
    yield world
    for client in world.clients:
        await client.aclose()


def plain(number: int) -> dict[str, Any]:
    return {"custom_id": f"item-{number}", **ask(number)} if number % 2 else ask(number)


def batches(world: World) -> int:
    return len([1 for request in world.fake.requests if request.method == "POST" and request.path == "/v1/batches"])


def forget_batches(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute("UPDATE batch SET batch_id = NULL")
        db.commit()


def refusing(numbers: set[int], status: int, error: dict[str, str]) -> Callable[[Request, Response], Any]:
    """The first batch that is read has this error for these items."""
    read: set[str] = set()

    async def after(request: Request, response: Response) -> Response:
        if not (request.path.startswith("/v1/files/") and request.path.endswith("/content")):
            return response
        read.add(request.path)
        content = await response.read()
        lines = [msgspec.json.decode(line) for line in content.splitlines()]
        for line in lines:
            if int(line["custom_id"].removeprefix("item-")) in numbers and len(read) == 1:
                line["response"] = {"status_code": status, "request_id": "r", "body": {"error": error}}
        return Response(200, {}, b"\n".join(map(msgspec.json.encode, lines)))

    return after


def named(*numbers: int) -> list[dict[str, Any]]:
    return [{"custom_id": f"item-{number}", **ask(number)} for number in numbers]


async def test_a_batch_gives_the_same_results_as_calls_for_less_money(world: World, journal: Path) -> None:
    client = world.client()
    requests = [plain(number) for number in range(40)]
    requests += [("cut", {**ask(50), "max_completion_tokens": 3}), ("odd", {**ask(51), "tool_choice": "nonsense"})]

    live = await taken(client.bulk(requests, model=MODEL, journal=journal.with_name("live.db")))
    run = client.bulk(requests, model=MODEL, journal=journal, via="batch", ordered=True)
    batched = await taken(run)

    assert [result.id for result in batched] == [result.id for result in sorted(live, key=lambda one: one.position)]
    alone = {result.id: result for result in live}
    for result in batched:
        other = alone[result.id]
        assert (result.request, result.text, result.usage) == (other.request, other.text, other.usage)
        assert result.position == other.position
        assert type(result.error) is type(other.error)
        if result.completion is not None and other.completion is not None:
            assert result.completion.choices == other.completion.choices
            assert result.cost == (other.cost or 0) * 6 / 10 == client.cost(result.completion, batch=True)
    assert not alone["odd"].ok
    assert len(world.asked) == 42
    assert batches(world) == 1
    assert run.progress.done == 41


async def test_each_model_has_batches_of_its_own_and_no_file_is_too_large(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.batches.groups._FULL", 4000)
    requests = [{"model": ("kimi-k2.6", "kimi-k2.7-code")[number % 2], **ask(number)} for number in range(40)]
    results = await taken(world.client().bulk(requests, journal=journal, via="batch"))
    assert len(results) == 40
    assert batches(world) == 4
    assert all(row == (None,) for row in rows(journal, "SELECT ended FROM batch WHERE ended IS NULL"))
    assert rows(journal, "SELECT count(*) FROM batch_item") == [(0,)]


@pytest.mark.parametrize("known", [True, False])
async def test_a_run_that_was_stopped_goes_on_with_the_batch_that_was_made(
    world: World, journal: Path, known: bool
) -> None:
    client = world.client()
    run = client.bulk(asks(20), model=MODEL, journal=journal, via="batch", ordered=True)
    taking = asyncio.create_task(taken(run))
    while not (journal.exists() and rows(journal, "SELECT name FROM sqlite_master WHERE name = 'batch'")):
        await asyncio.sleep(0.005)
    while not rows(journal, "SELECT number FROM batch WHERE batch_id IS NOT NULL"):
        await asyncio.sleep(0.002)
    run.stop()
    before = await taking
    assert run.reason == "stopped"
    if not known:
        # As if it had been killed between the answer of the service and the next commit.
        forget_batches(journal)

    with pytest.raises(ConfigurationError, match="go on with via='batch'"):
        await taken(client.bulk(asks(20), model=MODEL, journal=journal))
    after = await taken(
        client.bulk(asks(25), model=MODEL, journal=journal, via="batch", ordered=True, max_tokens=10**6)
    )
    assert len({result.id for result in [*before, *after]}) == len(before) + len(after) == 25
    assert batches(world) == 2
    with Journal(journal) as read:
        assert (read.totals.done, read.totals.open) == (25, 0)


async def test_what_a_batch_did_not_come_to_is_put_into_another_one(world: World, journal: Path) -> None:
    client = world.client()
    cancelled = False

    async def cancel(batch_id: str) -> None:
        nonlocal cancelled
        if not cancelled:
            cancelled = True
            await client.batches.cancel(batch_id)

    run = client.bulk(asks(30), model=MODEL, journal=journal, via="batch")
    taking = asyncio.create_task(taken(run))
    while not (page := (await client.batches.list()).data):
        await asyncio.sleep(0.002)
    await cancel(page[0].id)
    results = await taking
    assert len(results) == 30
    assert all(result.ok for result in results)
    assert batches(world) == 2
    assert run.progress.put_back > 0


async def test_a_batch_that_the_service_refuses_stops_the_run_and_its_requests_are_free(
    world: World, journal: Path
) -> None:
    client = world.client()
    body = {"id": "batch-1", "status": "failed", "errors": {"data": [{"message": "no"}]}}
    world.fake.fail(200, path="/batches", method="POST", body=body)
    with pytest.raises(BatchFailedError):
        await taken(client.bulk(asks(5), model=MODEL, journal=journal, via="batch"))
    assert len(await taken(client.bulk(None, journal=journal))) == 5


async def test_what_no_batch_takes_is_refused_before_anything_is_sent(world: World, journal: Path) -> None:
    client = world.client()
    for request, words in (
        ({**ask(1), "temperature": 1}, "request 1 .*sampling"),
        (
            {**ask(1), "model": "moonshot-v1-8k"},
            r"request 1 .*did not take moonshot-v1-8k on [-\d]+, but .*kimi-k2.6\n",
        ),
    ):
        with pytest.raises(ConfigurationError, match=words):
            await taken(client.bulk([request], model=MODEL, journal=journal, via="batch"))
        assert not world.fake.requests


async def test_a_failure_of_the_batch_calls_stops_the_run(world: World, journal: Path) -> None:
    client = world.client()
    world.fake.fail(404, path="/batches", method="POST")
    with pytest.raises(NotFoundError):
        await taken(client.bulk(asks(5), model=MODEL, journal=journal, via="batch"))
    assert len(await taken(client.bulk(asks(5), model=MODEL, journal=journal, via="batch"))) == 5


async def test_a_budget_holds_for_batches_too(world: World, journal: Path) -> None:
    run = world.client().bulk(asks(200), model=MODEL, journal=journal, via="batch", max_tokens=6000)
    with pytest.raises(BudgetReachedError):
        await taken(run)
    assert 4000 < run.progress.tokens <= 6000
    assert batches(world) > 1


async def test_nothing_to_do_makes_no_batch(world: World, journal: Path) -> None:
    client = world.client()
    assert await taken(client.bulk([], model=MODEL, journal=journal, via="batch")) == []
    assert not world.fake.requests


async def test_over_http_a_batch_gives_the_same_results_as_calls(journal: Path) -> None:
    fake = FakeMoonshot(batch_times=BatchTimes(0.01, 0.05, 0.01, 0.01))
    requests = [plain(number) for number in range(30)]
    requests += [("cut", {**ask(50), "max_completion_tokens": 3}), ("odd", {**ask(51), "tool_choice": "nonsense"})]
    told = []
    async with fake.serve() as url, AsyncMoonshot(api_key="sk-x", base_url=url) as client:
        for via in ("live", "batch"):
            run = client.bulk(requests, model=MODEL, journal=journal.with_name(via), via=via, response_format=Words)
            told.append(sorted(map(essence, await taken(run))))
    assert told[0] == told[1]
    assert len(told[0]) == 32


class Words(msgspec.Struct):
    text: str


def essence(result: BulkResult) -> tuple[Any, ...]:
    said = None if result.completion is None else [choice.to_dict() for choice in result.completion.choices]
    parsed = result.parsed if result.ok else type(result.error).__name__
    return result.id, result.ok, repr(parsed), result.request, said, result.usage and result.usage.to_dict()


async def test_a_batch_has_no_more_lines_than_are_handled_well(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.batches.groups._MOST_LINES", 10)
    # So many batches that reading waits for them.
    monkeypatch.setattr("moonshot_async.bulk.batches.work._MOST", 2)
    monkeypatch.setattr("moonshot_async.bulk.batches.work._CHUNK", 8)
    run = world.client().bulk(map(ask, range(75)), model=MODEL, journal=journal, via="batch")
    assert len(await taken(run)) == 75
    assert batches(world) == 8


async def test_no_money_within_a_batch_stops_the_run_once_its_other_answers_are_recorded(
    world: World, journal: Path
) -> None:
    client = world.client()
    world.after = refusing({2, 3}, 429, {"type": "exceeded_current_quota_error", "message": "no money"})
    run = client.bulk(named(*range(6)), model=MODEL, journal=journal, via="batch")
    with pytest.raises(QuotaExceededError):
        await taken(run)
    assert (run.progress.done, run.reason) == (4, "QuotaExceededError")
    rest = await taken(client.bulk(None, journal=journal, via="batch"))
    assert sorted(result.id for result in rest) == ["item-2", "item-3"]
    assert batches(world) == 2


async def test_the_same_requests_make_another_batch_when_they_are_asked_again(world: World, journal: Path) -> None:
    client = world.client()
    world.after = refusing({0, 1}, 400, {"type": "invalid_request_error", "message": "no"})
    first = await taken(client.bulk(named(0, 1), model=MODEL, journal=journal, via="batch"))
    assert [result.ok for result in first] == [False, False]
    second = await taken(client.bulk(None, journal=journal, via="batch", retry_failed=True))
    assert [result.ok for result in second] == [True, True]
    assert batches(world) == 2
    other = await taken(client.bulk(named(0, 1), model=MODEL, journal=journal.with_name("other.db"), via="batch"))
    assert len(other) == 2
    assert batches(world) == 3


async def test_a_batch_that_was_never_created_is_in_the_next_start(world: World, journal: Path) -> None:
    client = world.client()
    world.fake.fail(404, path="/batches", method="POST")
    with pytest.raises(NotFoundError):
        await taken(client.bulk(named(0, 1), model=MODEL, journal=journal, via="batch"))
    await taken(client.bulk(named(7), model=MODEL, journal=journal.with_name("other.db"), via="batch"))
    assert len(await taken(client.bulk(None, journal=journal, via="batch"))) == 2
    assert batches(world) == 3


@pytest.mark.parametrize("models", [1, 2])
async def test_in_order_results_that_are_held_back_wait_for_no_batch_that_waits_for_them(
    world: World, journal: Path, models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.run._BOUND", 8)
    monkeypatch.setattr("moonshot_async.bulk.batches.groups._MOST_LINES", 10)
    monkeypatch.setattr("moonshot_async.bulk.batches.work._CHUNK", 4)
    monkeypatch.setattr("moonshot_async.bulk.batches.work._AT_ONCE", 2)
    requests = named(*range(60))
    if models == 2:
        # The first of all is alone in a batch that would not be full before the end.
        requests[0]["model"] = "kimi-k2.7-code"
    else:
        world.after = refusing({1, 4}, 429, {"type": "engine_overloaded_error", "message": "later"})
    run = world.client().bulk(requests, model=MODEL, journal=journal, via="batch", ordered=True)
    async with asyncio.timeout(10):
        results = await taken(run)
    assert [result.id for result in results] == [f"item-{number}" for number in range(60)]
    assert all(result.ok for result in results)


async def test_a_run_that_is_stopped_while_results_come_asks_for_none_of_them_again(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.run._BOUND", 4)
    monkeypatch.setattr("moonshot_async.bulk.batches.work._CHUNK", 4)
    client = world.client()
    seen: list[str] = []
    async for result in client.bulk(named(*range(40)), model=MODEL, journal=journal, via="batch"):
        seen.append(result.id)
        await asyncio.sleep(0.01)
        if len(seen) == 6:
            break
    while True:
        run = client.bulk(None, journal=journal, via="batch", replay=True)
        if (progress := await run.wait()).done == 40:
            break
    assert progress.failed == 0
    assert batches(world) == 1
    with Journal(journal) as read:
        assert {result.id for result in read.results()} == {f"item-{number}" for number in range(40)}


async def test_a_journal_that_cannot_be_written_while_results_come_leaves_the_batch_for_the_next_start(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.batches.work._CHUNK", 4)
    monkeypatch.setattr("moonshot_async.bulk.journal.recorder._LINGER", 0.0)
    write = Store.write_group

    def full(store: Store, items: Any, group: Any) -> list[str]:
        if group.outcomes:
            raise JournalError("the disk is full", path=store.path)
        return write(store, items, group)

    client = world.client()
    monkeypatch.setattr(Store, "write_group", full)
    with pytest.raises(JournalError) as caught:
        await taken(client.bulk(named(*range(40)), model=MODEL, journal=journal, via="batch"))
    assert caught.value.unrecorded
    monkeypatch.setattr(Store, "write_group", write)
    assert len(await taken(client.bulk(None, journal=journal, via="batch"))) == 40
    assert batches(world) == 1


async def test_an_answer_of_a_batch_that_does_not_say_what_it_used_counts_with_the_most(
    world: World, journal: Path
) -> None:
    async def after(request: Request, response: Response) -> Response:
        if not request.path.endswith("/content"):
            return response
        return Response(200, {}, (await response.read()).replace(b'"usage"', b'"used"'))

    world.after = after
    client = world.client()
    results = await taken(client.bulk(named(0, 1), model=MODEL, journal=journal, via="batch", max_tokens=5000))
    assert [result.usage for result in results] == [None, None]
    ((lost,),) = rows(journal, "SELECT lost_tokens FROM start")
    assert 800 < lost < 1100
    with pytest.raises(BudgetReachedError):
        await taken(client.bulk(named(2), model=MODEL, journal=journal, via="batch", max_tokens=lost + 100))
    # Without a budget nobody counts.
    results = await taken(client.bulk(named(2), model=MODEL, journal=journal, via="batch"))
    assert [result.cost for result in results] == [None]
    assert results[0].ok


@pytest.mark.parametrize("via", ["live", "batch"])
async def test_empty_lines_are_none_of_the_requests(world: World, journal: Path, via: Any) -> None:
    lines = ["\n", msgspec.json.encode(ask(1)), b"  "]
    results = await taken(world.client().bulk(lines, model=MODEL, journal=journal, via=via, max_cost=1))
    assert len(results) == 1


async def test_a_batch_run_that_nobody_takes_results_of_waits_and_can_be_cut(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.batches.groups._MOST_LINES", 4)
    monkeypatch.setattr("moonshot_async.bulk.batches.work._CHUNK", 4)
    monkeypatch.setattr("moonshot_async.bulk.batches.work._MOST", 2)
    monkeypatch.setattr("moonshot_async.bulk.run._BOUND", 4)
    client = world.client()
    run = client.bulk(asks(5), model=MODEL, journal=journal, via="batch")
    run.stop()
    assert await taken(run) == []

    def source() -> Iterator[dict[str, Any]]:
        yield from asks(60)

    # Once it is told to stop while it waits for room, and once its tasks are cancelled.
    async with client.bulk(source(), model=MODEL, journal=journal, via="batch") as run:
        results = aiter(run)
        await anext(results)
        await asyncio.sleep(0.3)
        run.stop()
    assert run.reason == "stopped"
    async with client.bulk(source(), model=MODEL, journal=journal, via="batch") as run:
        results = aiter(run)
        await anext(results)
        await asyncio.sleep(0.3)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "moonshot_async bulk"]
        for _ in range(3):
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait(tasks)
        assert len([result async for result in results]) < 60
    assert run.reason == "cancelled"
    progress: Progress = await client.bulk(asks(60), model=MODEL, journal=journal, via="batch").wait()
    assert (progress.done, progress.failed) == (60, 0)
