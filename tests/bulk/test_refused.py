"""Bulk work that is refused for want of room: nobody told it the limits of the account."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import InternalServerError, MemoryTransport
from moonshot_async.bulk import report_of
from moonshot_async.catalog import CATALOG
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import MODEL, World, ask, asks, taken

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.usefixtures("quick")]


def refusal() -> Response:
    return Response(429, {}, b'{"error": {"type": "rate_limit_reached_error", "message": "Your request was limited"}}')


async def test_limits_that_nobody_told_are_learned_whatever_was_asked_for(journal: Path) -> None:
    tier = CATALOG.tiers[1]
    world = World(limits=tier, latency=0.01)
    refused = 0

    async def counting(request: Request) -> Response:
        nonlocal refused
        response = await world(request)
        refused += response.status == 429
        return response

    # Fewer than a minute has.
    count = tier.rpm - 1
    client = world.client(transport=MemoryTransport(counting))
    results = await taken(client.bulk(asks(count), model=MODEL, journal=journal, concurrency=tier.concurrency + 8))
    assert len([result for result in results if result.ok]) == count
    # Those that were sent before anything was known, and those that taught it.
    assert refused <= 2 * 8


async def test_a_request_that_meets_a_limit_again_and_again_is_not_given_up(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.verdicts.LONGEST_WAIT", 0.02)

    async def before(number: int) -> Response | None:
        return refusal() if number == 1 and world.asked.count(1) <= 12 else None

    world.before = before
    run = world.client().bulk(asks(200), model=MODEL, journal=journal, concurrency=2)
    results = await taken(run)
    assert [result.ok for result in results] == [True] * 200
    assert world.asked.count(1) == 13


async def test_a_service_that_answers_no_more_is_waited_for_and_nothing_is_given_up(
    world: World, journal: Path
) -> None:
    async def before(number: int) -> Response | None:
        return Response(503, {}, b"{}") if number else None

    world.before = before
    run = world.client().bulk(asks(4), model=MODEL, journal=journal, concurrency=1)
    with pytest.raises(InternalServerError):
        await taken(run)
    assert run.reason == "the service fails"
    assert (run.progress.done, run.progress.failed) == (1, 0)
    assert len(world.asked) > 1 + 2 * 3


@pytest.mark.parametrize("concurrency", [4, None])
async def test_a_number_that_does_not_fit_what_was_let_in_is_not_believed(
    concurrency: int | None, world: World, journal: Path
) -> None:
    # It names 3 requests a minute.
    world.fake.fail(429, retry_after=0.01, times=4)
    run = world.client().bulk(asks(50), model=MODEL, journal=journal, concurrency=concurrency)
    assert [result.ok for result in await taken(run)] == [True] * 50
    assert run.progress.put_back == 4


@pytest.mark.parametrize("concurrency", [8, None])
async def test_what_is_still_open_was_not_let_in(concurrency: int | None, world: World, journal: Path) -> None:
    # Of eight that are sent at once the first five are refused, for 3 requests a minute, while three are still open.
    world.fake.latency = 0.005
    world.fake.fail(429, times=20)
    run = world.client().bulk(asks(50), model=MODEL, journal=journal, concurrency=concurrency)
    async with asyncio.timeout(10):
        assert [result.ok for result in await taken(run)] == [True] * 50
    assert run.progress.put_back == 20


async def test_what_was_answered_in_an_earlier_minute_says_nothing_of_this_one(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.late_limits.MINUTE", 0.2)

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(30):
            if number == 3:
                await asyncio.sleep(0.3)
                world.fake.fail(429, times=10)
            yield ask(number)

    async with asyncio.timeout(10):
        results = await taken(world.client().bulk(requests(), model=MODEL, journal=journal, concurrency=4))
    assert [result.ok for result in results] == [True] * 30


async def test_requests_a_minute_are_learned_from_refusals(journal: Path) -> None:
    world = World(limits=CATALOG.tiers[1], latency=0.001)
    allowed = CATALOG.tiers[1].rpm
    run = world.client().bulk(asks(2 * allowed), model=MODEL, journal=journal, concurrency=10)
    async with run:
        results = aiter(run)
        for _ in range(allowed):
            await anext(results)
        await asyncio.sleep(1)
        asked = len(world.asked)
        await asyncio.sleep(0.5)
        # All that is left waits for the next minute.
        assert len(world.asked) == asked <= allowed + 3 * 10
        assert run.progress.done == allowed
    # What was learned is kept, for the report.
    assert report_of(journal).requests.limit == allowed
