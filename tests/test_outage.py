"""Outages, recoveries and bursts of faults, among many calls: in a time of its own, which passes only by sleeping."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.errors import APIError, APITimeoutError
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response
from tests import virtual_time
from tests.scripted import ASK, COMPLETION

KEY = "sk-canary-0a1b2c3d4e5f6a7b"
OVERLOADED = b'{"error":{"type":"engine_overloaded_error","message":"The engine is currently overloaded"}}'
LATER = b'{"error":{"type":"rate_limit_reached_error","message":"max RPM: 3, please try again after 1 seconds"}}'


def now() -> float:
    return asyncio.get_running_loop().time()


class Service:
    """Answers as `fault` says: a status, an exception to raise, or None for a whole answer.

    Attributes:
        sends: how often something was sent.
        took: how long an answer takes.
    """

    def __init__(self) -> None:
        self.sends = 0
        self.took = 0.5
        self.fault: Callable[[Request], int | bytes | Exception | None] = lambda request: None

    async def app(self, request: Request) -> Response:
        self.sends += 1
        fault = self.fault(request)
        await asyncio.sleep(self.took)
        if isinstance(fault, Exception):
            raise fault
        if isinstance(fault, int):
            return Response(fault)
        return Response(200, {}, COMPLETION) if fault is None else Response(429, {}, fault)

    def client(self, *layers: Any, **options: Any) -> AsyncMoonshot:
        retry = Retry(clock=now, uniform=random.Random(1).uniform, **options)
        return AsyncMoonshot(
            api_key=KEY, transport=MemoryTransport(self.app), timeout=None, middleware=[retry, *layers]
        )


async def answered(client: AsyncMoonshot) -> bool:
    """Whether a call is answered."""
    try:
        completion = await client.chat.completions.create(**ASK)
    except APIError:
        return False
    return completion.choices[0].message.content == "x"


async def together(client: AsyncMoonshot, calls: int) -> list[bool]:
    return await asyncio.gather(*[answered(client) for _ in range(calls)])


async def by_workers(client: AsyncMoonshot, calls: int, workers: int = 1) -> list[bool]:
    left = iter(range(calls))

    async def work() -> list[bool]:
        return [await answered(client) for _ in left]

    return [outcome for outcomes in await asyncio.gather(*[work() for _ in range(workers)]) for outcome in outcomes]


async def one_by_one(client: AsyncMoonshot, calls: int) -> list[bool]:
    return await by_workers(client, calls)


Way = Callable[[AsyncMoonshot, int], Awaitable[list[bool]]]


# --- everything fails


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        *[(fault, together) for fault in (503, 500, 408, 429, OVERLOADED, ConnectionResetError("reset"))],
        (503, one_by_one),
    ],
)
def test_a_total_outage_is_hardly_multiplied(fault: Any, way: Way) -> None:
    async def story() -> None:
        service = Service()
        service.fault = lambda request: fault
        assert not any(await way(service.client(), 400))
        assert 1.1 * 400 <= service.sends <= 1.2 * 400

    virtual_time.run(story())


@pytest.mark.parametrize("max_retries", [1, 9])
def test_an_outage_is_hardly_multiplied_however_often_a_call_may_be_sent(max_retries: int) -> None:
    async def story() -> None:
        service = Service()
        service.fault = lambda request: 503
        await together(service.client(max_retries=max_retries), 400)
        assert service.sends <= 1.2 * 400

    virtual_time.run(story())


@pytest.mark.parametrize("way", [together, one_by_one])
def test_a_host_that_does_not_answer_is_no_quiet_time(way: Way) -> None:
    """Each connection times out after ten seconds, in which nothing else fails."""

    async def times_out(request: Request, call_next: Handler) -> Response:
        service.sends += 1
        await asyncio.sleep(10.0)
        raise APITimeoutError(request, clock="connect")

    async def story() -> None:
        await way(service.client(times_out), 400)
        assert service.sends <= 1.2 * 400

    service = Service()
    virtual_time.run(story())


def test_what_the_service_itself_puts_off_is_no_outage() -> None:
    """A 429 that names a wait is no sign of trouble: all come back when they were told to."""

    async def story() -> None:
        service = Service()
        service.fault = lambda request: LATER if request.attempt == 1 else None
        assert all(await together(service.client(), 400))
        assert service.sends == 800

    virtual_time.run(story())


# --- before, and afterwards


@pytest.mark.parametrize("before", [together, by_workers])
def test_an_outage_after_good_calls_is_hardly_multiplied_and_over_at_once(before: Way) -> None:
    async def story() -> None:
        service = Service()
        client = service.client()
        assert all(await before(client, 1000))
        assert service.sends == 1000

        service.fault = lambda request: 503
        assert not any(await by_workers(client, 400, 8))
        assert service.sends - 1000 <= 1.2 * 400

        draw = random.Random(2).random
        service.fault = lambda request: 503 if draw() < 0.05 else None
        began = now()
        outcomes = await by_workers(client, 600, 20)
        assert sum(outcomes) >= 0.995 * 600
        # A worker asks twice a second; what is sent again waits for a quarter of a second.
        assert now() - began <= 1.2 * 600 * service.took / 20

    virtual_time.run(story())


def test_an_outage_that_begins_among_concurrent_calls_is_hardly_multiplied() -> None:
    """Workers go on while it begins, so that there is no moment in which all is quiet."""

    async def story() -> None:
        service = Service()
        client = service.client()

        async def work(number: int) -> None:
            await asyncio.sleep(number * service.took / 50)
            for turn in range(20):
                if turn == 10 and not began:
                    began.append(service.sends)
                    service.fault = lambda request: 503
                calls.append(service.sends)
                await answered(client)

        began: list[int] = []
        calls: list[int] = []
        await asyncio.gather(*[work(number) for number in range(50)])
        # Those who were waiting when it began are part of it.
        since = sum(sends >= began[0] - 50 for sends in calls)
        assert service.sends - began[0] <= 1.2 * since

    virtual_time.run(story())


def test_after_an_outage_the_full_rate_is_back_within_seconds() -> None:
    async def story() -> None:
        service = Service()
        client = service.client()
        service.fault = lambda request: 503
        end = now() + 60.0
        while now() < end:
            await together(client, 10)
        service.fault = lambda request: None
        service.took = 0.1
        began = now()
        assert all(await by_workers(client, 300, 10))
        assert now() - began <= 1.01 * 300 / 10 * 0.1

    virtual_time.run(story())


# --- a part fails


@pytest.mark.parametrize("way", [together, one_by_one, lambda client, calls: by_workers(client, calls, 30)])
def test_five_failures_in_a_hundred_are_not_seen(way: Way) -> None:
    async def story() -> None:
        service = Service()
        draw = random.Random(3).random
        service.fault = lambda request: 503 if draw() < 0.05 else None
        assert sum(await way(service.client(), 1000)) >= 995

    virtual_time.run(story())


@pytest.mark.parametrize("after", [0.0, 0.9, 4.0, 20.0], ids=["before", "among", "after", "long after"])
def test_a_burst_of_faults_among_many_calls_is_not_seen(after: float) -> None:
    """15 of 100 fail together: before the others are answered, meanwhile, or when nobody else is left."""

    def fails(number: int) -> bool:
        return number % 20 < 3

    async def layer(request: Request, call_next: Handler) -> Response:
        number, places[0] = places[0], places[0] + 1
        if request.attempt == 1:
            await asyncio.sleep(after if fails(number) else number / 500)
        return await call_next(request.replace(stream=fails(number) and request.attempt == 1))

    async def story() -> None:
        service = Service()
        service.fault = lambda request: 503 if request.stream else None
        outcomes = await together(service.client(layer), 1000)
        assert sum(outcomes) >= 995
        assert service.sends == 1150

    places = [0]
    virtual_time.run(story())
