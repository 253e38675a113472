"""What is not simply sent again: failures after a long wait; and connections that the server had closed."""

import math
from typing import Any

import pytest

from moonshot_async import MemoryTransport
from moonshot_async.errors import APIConnectionError, APIStatusError, APITimeoutError
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.wire import Request, Response
from tests.middleware.retry_world import OK, OVERLOADED, URL, World, failure_of, notes_of


def timed_out(clock: Any) -> APITimeoutError:
    return APITimeoutError(message="late", clock=clock)


SLOW: list[Any] = [504, timed_out("read")]


@pytest.mark.parametrize("status", [True, False])
@pytest.mark.parametrize(("took", "sends"), [(59.9, 3), (60.0, 1), (930.0, 1)])
async def test_what_took_a_minute_is_not_sent_again(status: bool, took: float, sends: int) -> None:
    world = World(504 if status else timed_out("read"), takes=took)
    error = await failure_of(world)

    assert len(world.received) == sends
    assert error.retryable
    note = (
        f"Not sent again: it failed after {took:.0f} s of waiting, and may be billed although no answer came. "
        "retry_slow=True, for the call or for Retry, sends it again all the same."
    )
    assert notes_of(error) == ([note] if sends == 1 else [])


@pytest.mark.parametrize("outcome", SLOW)
@pytest.mark.parametrize(
    ("layer", "call", "sends"), [(True, None, 2), (False, True, 2), (True, True, 2), (True, False, 1), (False, None, 1)]
)
async def test_what_took_long_is_sent_again_where_that_is_asked_for(
    outcome: Any, layer: bool, call: bool | None, sends: int
) -> None:
    world = World(outcome, OK, takes=900.0)
    retry = world.retry(retry_slow=layer)
    if sends == 2:
        assert (await world.send(through=retry, retry_slow=call)).status == 200
    else:
        await failure_of(world, through=retry, retry_slow=call)
    assert len(world.received) == sends


async def test_a_later_attempt_that_took_long_is_not_repeated_either() -> None:
    world = World(503, 504, OK)

    async def app(request: Request) -> Response:
        world.now += 60.0 * (request.attempt - 1)
        return await world.app(request)

    with pytest.raises(APIStatusError) as caught:
        await compose([world.retry(5)], exchange(MemoryTransport(app)))(Request("GET", URL))
    assert [attempt.error for attempt in caught.value.attempts] == [
        "InternalServerError 503",
        "InternalServerError 504",
    ]
    assert len(notes_of(caught.value)) == 1


@pytest.mark.parametrize(
    "outcome", [500, 502, 503, 408, OVERLOADED, OSError("reset"), timed_out("connect"), timed_out("write")]
)
async def test_other_failures_are_sent_again_however_long_they_took(outcome: Any) -> None:
    world = World(outcome, OK, takes=900.0)
    assert (await world.send()).status == 200


@pytest.mark.parametrize(("slow_after", "sends"), [(0.0, 1), (5.0, 1), (5.1, 3), (math.inf, 3)])
async def test_what_long_means_can_be_chosen(slow_after: float, sends: int) -> None:
    world = World(504, takes=5.0)
    await failure_of(world, through=world.retry(slow_after=slow_after))
    assert len(world.received) == sends


async def test_the_last_attempt_needs_no_reason_for_not_being_repeated() -> None:
    assert notes_of(await failure_of(World(504, takes=900.0), 0)) == []


async def test_a_gateway_timeout_says_how_to_ask_for_another_attempt() -> None:
    assert "only with retry_slow=True, since it may be billed twice" in str(await failure_of(World(504), 0))


def reset(*, reused: bool = True) -> APIConnectionError:
    error = APIConnectionError(message="Connection error: reset.")
    error.reused = reused
    return error


async def test_an_idle_connection_that_was_closed_is_replaced_at_once_whatever_the_budget() -> None:
    world = World(reset(), OK)
    assert (await world.send(through=world.retry(budget=RetryBudget(0.0, 0.0)))).status == 200
    assert world.slept == [0.0]


async def test_what_must_not_be_done_twice_is_not_sent_over_another_connection() -> None:
    world = World(reset(), OK)
    await failure_of(world, once=True)
    assert len(world.received) == 1


@pytest.mark.parametrize(("reused", "took"), [(False, 0.1), (True, 1.0)])
async def test_a_connection_that_was_new_or_broke_later_is_waited_for_and_costs(reused: bool, took: float) -> None:
    world = World(reset(reused=reused), takes=took)
    budget = RetryBudget(0.0, 1.0)
    await failure_of(world, through=world.retry(budget=budget))
    assert world.slept == [0.5]
    assert budget.balance == 0.0
