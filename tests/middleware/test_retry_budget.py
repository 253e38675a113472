"""What may be sent again in all: counted without a clock, and as part of `Retry`."""

import asyncio
import math
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.errors import APIError, ConfigurationError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.wire import Response
from tests.middleware.retry_world import ASK, KEY, OVERLOADED, RPM, World, failure_of, notes_of, refusal
from tests.scripted import COMPLETION

USED_UP = (
    "Not sent again: the budget for retries is used up, since much failed lately. "
    "It fills with each new call, and in quiet seconds; see RetryBudget."
)


def granted(budget: RetryBudget, now: float = 0.0, *, lasted: float = 0.0) -> bool:
    """Whether what fails now may be sent again."""
    budget.failed(now, now - lasted)
    return budget.take()


# --- counting


def test_each_call_brings_a_share_and_the_reserve_is_there_at_once() -> None:
    budget = RetryBudget(0.25, 2.0)
    assert (budget.balance, budget.cap) == (2.0, 2.25)
    assert [granted(budget) for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.enter(0.0)
        budget.leave()
    assert [granted(budget) for _ in range(2)] == [True, False]


def test_many_calls_in_flight_bring_more_than_the_reserve_and_take_it_with_them() -> None:
    budget = RetryBudget(0.2, 10.0)
    for _ in range(1000):
        budget.enter(0.0)
    assert (budget.balance, budget.cap) == (pytest.approx(210.0), 210.0)
    for _ in range(999):
        budget.leave()
    assert budget.balance == pytest.approx(210.0)
    budget.leave()
    assert budget.balance == budget.cap == pytest.approx(10.2)


def test_a_peak_is_forgotten_after_a_while_although_somebody_is_always_there() -> None:
    budget = RetryBudget(0.2, 10.0)
    for _ in range(100):
        budget.enter(0.0)
    for _ in range(99):
        budget.leave()
    caps = []
    for second in range(12):
        budget.enter(float(second))
        budget.leave()
        caps.append(round(budget.cap, 3))
    assert caps == [30.0] * 10 + [10.4] * 2


def test_those_that_stay_long_keep_what_they_brought() -> None:
    budget = RetryBudget(0.2, 10.0)
    for _ in range(100):
        budget.enter(0.0)
    for _ in range(85):
        budget.leave()
    assert [granted(budget, 300.0, lasted=300.0) for _ in range(15)] == [True] * 15


def test_ten_quiet_seconds_fill_the_reserve() -> None:
    budget = RetryBudget(0.0, 3.0)
    assert [granted(budget) for _ in range(4)] == [True, True, True, False]
    assert not granted(budget, 9.9)
    budget.failed(19.8, 19.8)
    assert not granted(budget, 29.7)
    assert granted(budget, 39.7)
    assert budget.balance == 2.0


def test_seconds_of_waiting_for_a_failure_are_not_quiet() -> None:
    budget = RetryBudget(0.0, 1.0)
    assert granted(budget, 10.0, lasted=10.0)
    # Connections that time out after ten seconds, one after the other.
    assert not any(granted(budget, 10.5 * number, lasted=10.0) for number in range(2, 20))


def test_a_budget_without_a_bound_is_never_used_up() -> None:
    budget = RetryBudget.unlimited()
    budget.enter(0.0)
    assert all(granted(budget) for _ in range(10_000))
    budget.leave()
    assert budget.balance == budget.cap == math.inf


def test_it_shows_what_there_is() -> None:
    assert repr(RetryBudget(0.5, 3)) == "RetryBudget(ratio=0.5, reserve=3, balance=3.00)"


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan, True, "1", None])
def test_a_ratio_that_cannot_be_meant_is_refused(ratio: Any) -> None:
    with pytest.raises(ConfigurationError, match="ratio must be a number from 0 to 1, not"):
        RetryBudget(ratio)


@pytest.mark.parametrize("reserve", [-1, math.nan, False, "1", None])
def test_a_reserve_that_cannot_be_meant_is_refused(reserve: Any) -> None:
    with pytest.raises(ConfigurationError, match="reserve must be a number of 0 or more, not"):
        RetryBudget(reserve=reserve)


@given(
    ratio=st.floats(0, 1),
    reserve=st.floats(0, 50),
    steps=st.lists(st.tuples(st.sampled_from(["enter", "leave", "take"]), st.floats(0, 4), st.floats(0, 30))),
)
def test_the_balance_stays_between_nothing_and_the_cap(
    ratio: float, reserve: float, steps: list[tuple[str, float, float]]
) -> None:
    budget = RetryBudget(ratio, reserve)
    now = taken = brought = 0.0
    running = most = 0
    refills = 1
    last = -math.inf
    for step, seconds, lasted in steps:
        now += seconds
        if step == "enter":
            budget.enter(now)
            running += 1
            brought += ratio
        elif step == "leave" and running:
            budget.leave()
            running -= 1
        elif step == "take":
            refills += now - lasted - last >= 10.0
            taken += granted(budget, now, lasted=lasted)
            last = now
        most = max(most, running)
        assert 0.0 <= budget.balance <= budget.cap <= reserve + ratio * max(1, most) + 1e-9
        assert taken <= refills * reserve + brought + 1e-6


def test_threads_that_share_it_do_no_harm() -> None:
    budget = RetryBudget(0.17, 10.0)
    all_taken: list[int] = []
    wrong: list[float] = []

    def hammer() -> None:
        taken = 0
        for number in range(3000):
            now = number / 1000
            budget.enter(now)
            taken += granted(budget, now)
            if not 0.0 <= budget.balance <= budget.cap + 1.0:
                wrong.append(budget.balance)
            budget.leave()
        all_taken.append(taken)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
    assert 0.0 <= budget.balance <= budget.cap
    # A count that two threads change at once may be lost, and no more than that.
    assert sum(all_taken) <= 1.1 * (10.0 + 0.17 * 8 * 3000)


# --- in the layer


async def test_a_failure_that_finds_the_budget_used_up_is_raised_at_once_and_says_so() -> None:
    world = World(503)
    retry = world.retry(budget=RetryBudget(0.0, 3.0))
    notes = [notes_of(await failure_of(world, through=retry)) for _ in range(3)]

    assert len(world.received) == 3 + 3
    assert notes == [[], [USED_UP], [USED_UP]]


@pytest.mark.parametrize(
    ("outcome", "free"),
    [
        (refusal(429, {"Retry-After": "1"}), True),
        (refusal(429, message=RPM), True),
        (refusal(429, {"Retry-After": "1"}, type="engine_overloaded_error"), True),
        (OVERLOADED, False),
        (429, False),
        (503, False),
        (refusal(503, {"Retry-After": "1"}), False),
        (408, False),
        (OSError("reset"), False),
        (refusal(400, message="missing required header Kimi-Api-Version"), False),
    ],
)
async def test_only_a_429_that_says_when_costs_nothing(outcome: Any, free: bool) -> None:
    world = World(outcome)
    budget = RetryBudget(0.0, 10.0)
    await failure_of(world, through=world.retry(budget=budget))
    assert len(world.received) == 3
    assert budget.balance == (10.0 if free else 8.0)


async def test_what_was_sent_again_and_answered_gives_back_what_it_took() -> None:
    world = World(503, 503, lambda: Response(200, [("Content-Type", "application/json")], COMPLETION))
    budget = RetryBudget(0.0, 10.0)
    retry = world.retry(budget=budget)
    async with AsyncMoonshot(
        api_key=KEY, transport=MemoryTransport(world.app), middleware=[retry], timeout=None
    ) as client:
        await client.chat.completions.create(**ASK)
        # The first of the two helped nobody.
        assert (len(world.received), budget.balance) == (3, 9.0)
        await client.chat.completions.create(**ASK)
    assert (len(world.received), budget.balance) == (4, 9.0)


async def test_what_is_not_sent_again_costs_nothing() -> None:
    budget = RetryBudget(0.0, 10.0)
    cases: list[tuple[World, dict[str, Any]]] = [
        (World(400), {}),
        (World(503), {"max_retries": 0}),
        (World(504, takes=60.0), {}),
        (World(503), {"deadline": time.monotonic() + 1e5}),
        (World(refusal(503, {"Retry-After": "121"})), {}),
    ]
    for world, request in cases:
        await failure_of(world, through=world.retry(budget=budget), **request)
        assert len(world.received) == 1
    assert budget.balance == 10.0


@pytest.mark.parametrize(
    ("outcome", "quiet"), [(400, True), (refusal(429, {"Retry-After": "0"}), True), (503, False), (OVERLOADED, False)]
)
async def test_a_time_is_quiet_although_calls_are_refused_or_put_off(outcome: Any, quiet: bool) -> None:
    world = World(503, takes=0.0)
    retry = world.retry(1, budget=RetryBudget(0.0, 1.0))
    await failure_of(world, through=retry)
    world.now += 8.0
    world.outcomes = [outcome]
    await failure_of(world, through=retry)
    world.now += 8.0
    world.outcomes = [503]
    assert notes_of(await failure_of(world, through=retry)) == ([] if quiet else [USED_UP])


async def test_a_call_that_was_left_in_any_way_is_no_longer_in_flight() -> None:
    budget = RetryBudget()
    for world in (World(200), World(400), World(503), World(KeyError("bug")), World(503, KeyError("bug"))):
        try:
            await world.send(through=world.retry(budget=budget))
        except (APIError, KeyError):
            pass
    assert budget._in_flight == 0


async def test_clients_made_from_one_another_share_a_budget() -> None:
    fake = FakeMoonshot()
    fake.fail(503, times=None)
    budget = RetryBudget(0.0, 4.0)

    async def at_once(seconds: float) -> None: ...

    own = Retry(1, sleep=at_once, budget=budget)
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(fake), middleware=[own])
    first = client.with_options(max_retries=1)
    for one in (client, first, first.with_options(timeout=5).copy(max_retries=2)):
        with pytest.raises(APIError):
            await one.chat.completions.create(**ASK)
    assert budget.balance == 0.0
    client.max_retries = 5
    with pytest.raises(APIError) as caught:
        await client.chat.completions.create(**ASK)
    assert len(notes_of(caught.value)) == 1
    assert len(fake.requests) == 2 + 2 + 3 + 1


async def test_the_budget_is_the_clients_whatever_its_options() -> None:
    fake = FakeMoonshot()
    fake.fail(503, times=None)
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(fake), max_retries=1)

    async def failure(client: AsyncMoonshot) -> APIError:
        with pytest.raises(APIError) as caught:
            await client.chat.completions.create(**ASK)
        return caught.value

    errors = await asyncio.gather(*[failure(client) for _ in range(30)])
    assert sum(not notes_of(error) for error in errors) == 15

    other = client.with_options(max_retries=7, timeout=3)
    client.max_retries = 3
    for one in (client, other, other.with_options(api_key=KEY)):
        assert len(notes_of(await failure(one))) == 1
