"""What is sent again, when, and how often; with a clock, a sleep and a die of our own."""

import asyncio
import email.utils
import itertools
import math
import random
import statistics
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    QuotaExceededError,
    RateLimitError,
)
from moonshot_async.exchange import compose, exchange
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.wire import Request, Response
from tests.middleware.retry_world import (
    ASK,
    OK,
    OVERLOADED,
    QUOTA,
    RPM,
    TPD,
    URL,
    World,
    failure_of,
    notes_of,
    refusal,
)

# --- when


@pytest.mark.parametrize("outcome", [500, 503, 408, ConnectionResetError("reset")])
async def test_what_must_not_be_done_twice_is_sent_again_only_if_it_was_not_done(outcome: Any) -> None:
    world = World(429, outcome, 200)
    with pytest.raises(APIError) as caught:
        await world.send(5, once=True)

    assert [request.attempt for request in world.received] == [1, 2]
    assert [attempt.number for attempt in caught.value.attempts] == [1, 2]

    world = World(outcome, 200)
    with pytest.raises(APIError):
        await world.send(5, once=True)
    assert len(world.received) == 1


async def test_waits_double_up_to_the_maximum() -> None:
    world = World(503)
    await failure_of(world, 7)
    assert world.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize(
    ("options", "draw", "waits"),
    [
        ({}, 1.0, [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
        ({}, 0.0, [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]),
        ({"initial": 0.1, "maximum": 1.0}, 1.0, [0.4, 0.8, 1.6, 3.2, 4.0, 4.0]),
        ({"initial": 20.0, "maximum": 60.0}, 1.0, [60.0, 60.0, 60.0, 60.0, 60.0, 60.0]),
    ],
)
async def test_an_overloaded_engine_is_given_more_time(options: Any, draw: float, waits: list[float]) -> None:
    world = World(OVERLOADED, draw=draw)
    await failure_of(world, through=world.retry(6, **options))
    assert world.slept == pytest.approx(waits)


async def test_an_overloaded_engine_that_says_when_is_asked_then() -> None:
    world = World(refusal(429, {"Retry-After": "3"}, type="engine_overloaded_error", message="overloaded"), OK)
    await world.send()
    assert world.slept == [4.0]


async def test_waits_end_at_the_maximum_however_often_something_is_sent() -> None:
    world = World(503)
    await failure_of(world, through=world.retry(1100, budget=RetryBudget.unlimited()))
    assert world.slept[-1] == 8.0
    assert len(world.slept) == 1100


def test_the_waits_of_many_clients_are_spread_and_grow() -> None:
    draw = random.Random(7).uniform
    waits: list[list[float]] = []
    for _ in range(24):
        world = World(503)
        asyncio.run(failure_of(world, through=Retry(5, sleep=world.sleep, uniform=draw)))
        waits.append(world.slept)
    steps = list(zip(*waits, strict=True))
    means = [statistics.mean(step) for step in steps]
    assert all(statistics.stdev(step) >= 0.12 * mean for step, mean in zip(steps, means, strict=True))
    assert all(later >= 1.3 * mean for mean, later in itertools.pairwise(means))
    assert all(max(step) <= 8.0 for step in steps)


async def test_the_first_and_the_longest_wait_can_be_chosen() -> None:
    world = World(503)
    handler = compose([world.retry(4, initial=1.0, maximum=3.0)], exchange(MemoryTransport(world.app)))
    with pytest.raises(APIStatusError):
        await handler(Request("GET", URL, timeout=Timeout.of(None)))
    assert world.slept == [1.0, 2.0, 3.0, 3.0]


@given(draw=st.floats(0.0, 1.0), retries=st.integers(1, 8))
def test_waits_are_drawn_from_zero_to_the_bound(draw: float, retries: int) -> None:
    world = World(500, draw=draw)
    asyncio.run(failure_of(world, retries))
    bounds = [min(8.0, 0.5 * 2**number) for number in range(retries)]
    assert world.bounds[:retries] == bounds
    assert world.slept == [bound * draw for bound in bounds]


async def test_the_default_draw_spreads_callers_over_the_whole_interval() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    retry, world = Retry(1, sleep=sleep, budget=RetryBudget.unlimited()), World(503)
    handler = compose([retry], exchange(MemoryTransport(world.app)))
    for _ in range(400):
        with pytest.raises(APIStatusError):
            await handler(Request("GET", URL, timeout=Timeout.of(None)))
    assert all(0.0 <= seconds <= 0.5 for seconds in slept)
    assert len({int(seconds / 0.05) for seconds in slept}) >= 9


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("headers", "text", "asked"),
    [
        ({"Retry-After": "3"}, "", 3.0),
        ({"Retry-After": "2.5"}, "", 2.5),
        ({"Retry-After": "0"}, "", 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, "", 1.5),
        ({"Retry-After": "120"}, "", 120.0),
        ({}, RPM, 7.0),
    ],
)
async def test_what_the_server_asks_for_is_never_undercut_and_hardly_exceeded(
    headers: dict[str, str], text: str, asked: float, draw: float
) -> None:
    world = World(refusal(429, headers, type="rate_limit_reached_error", message=text), OK, draw=draw)
    await world.send()
    assert asked <= world.slept[0] <= asked + 2.5
    # Callers that were told the same do not come back together.
    assert (world.slept[0] > asked) is (draw > 0)


async def test_an_http_date_is_waited_for() -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    world = World(refusal(503, {"Retry-After": date}), OK, draw=0.0)
    await world.send()
    assert 28.0 < world.slept[0] <= 30.0


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "1e3", "", "9" * 400])
async def test_a_malformed_hint_counts_as_none(value: str) -> None:
    world = World(refusal(503, {"Retry-After": value}), OK)
    await world.send()
    assert world.slept == [0.5]


async def test_a_hint_beyond_two_minutes_is_told_to_the_caller_at_once() -> None:
    world = World(refusal(429, {"Retry-After": "121"}, message="later"))
    error = await failure_of(world)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 121.0
    assert world.slept == []
    assert len(world.received) == 1
    assert notes_of(error) == [
        "Not sent again: the service asks to wait 121 s, and no more than 120 s are waited.",
    ]


async def test_a_hint_a_little_beyond_two_minutes_does_not_read_as_two_minutes() -> None:
    error = await failure_of(World(refusal(503, {"Retry-After": "120.01"}, message="later")))
    assert "asks to wait 121 s" in notes_of(error)[0]


@pytest.mark.parametrize("retries", [0, 1])
async def test_the_last_attempt_needs_no_note(retries: int) -> None:
    world = World(*[503] * retries, refusal(429, {"Retry-After": "121"}, message="later"))
    assert notes_of(await failure_of(world, retries, deadline=world.now + 600.0)) == []


async def test_a_wait_that_would_outlive_the_deadline_is_not_begun() -> None:
    world = World(503)
    error = await failure_of(world, 9, deadline=world.now + 4.0)
    # 0.25 s for each sending: after the waits of 0.5 and 1.0 s, 2.25 s are over and the next wait would take 2.0.
    assert world.slept == [0.5, 1.0]
    assert isinstance(error, APIStatusError)
    assert error.status_code == 503
    assert notes_of(error) == ["Not sent again: a wait of 2 s would outlast the 1.75 s that the call has left."]


async def test_a_wait_is_not_begun_where_no_time_is_left_at_all() -> None:
    world = World(503, takes=2.0)
    error = await failure_of(world, 9, deadline=world.now + 1.0)
    assert notes_of(error) == ["Not sent again: a wait of 0.5 s would outlast the 0 s that the call has left."]


# --- what


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
async def test_passing_statuses_are_sent_again(status: int) -> None:
    world = World(status, status, OK)
    assert (await world.send()).status == 200
    assert len(world.received) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"type": "invalid_request_error", "message": "no"}),
        (400, {"type": "content_filter", "message": "The request was rejected because it was considered high risk"}),
        (401, {"type": "invalid_authentication_error"}),
        (403, {}),
        (404, {}),
        (409, {}),
        (413, {}),
        (422, {}),
        (429, {"type": "exceeded_current_quota_error", "message": QUOTA}),
        (429, {"type": "rate_limit_reached_error", "message": QUOTA}),
        (429, {"type": "rate_limit_reached_error", "message": TPD}),
        (301, {}),
    ],
)
async def test_final_answers_are_not_sent_again(status: int, error: dict[str, str]) -> None:
    world = World(refusal(status, **error))
    failure = await failure_of(world)
    assert not failure.retryable
    assert len(world.received) == 1
    assert [attempt.number for attempt in failure.attempts] == [1]


async def test_a_fault_on_the_servers_side_that_looks_like_ours_is_sent_again() -> None:
    fault = refusal(400, type="invalid_request_error", message="missing required header Kimi-Api-Version")
    world = World(fault, OK)
    assert (await world.send()).status == 200


@pytest.mark.parametrize("fault", [ConnectionRefusedError, ConnectionResetError, BrokenPipeError, OSError])
async def test_connections_that_break_before_the_head_are_tried_again(fault: type[OSError]) -> None:
    world = World(fault("broken"), fault("broken"), OK)
    assert (await world.send()).status == 200
    assert world.slept == [0.5, 1.0]


async def test_a_total_timeout_is_not_repeated_and_a_read_timeout_is() -> None:
    async def never(request: Request) -> Response:
        world.received.append(request)
        await asyncio.Event().wait()
        raise AssertionError

    for timeout, sends in ((Timeout(total=0.02, read=None), 1), (Timeout(total=None, read=0.02), 3)):
        world = World(OK)
        deadline = None if timeout.total is None else time.monotonic() + timeout.total
        handler = compose([world.retry()], exchange(MemoryTransport(never)))
        with pytest.raises(APITimeoutError):
            await handler(Request("GET", URL, timeout=timeout, deadline=deadline))
        assert len(world.received) == sends


async def test_an_exception_that_is_not_ours_goes_straight_through() -> None:
    world = World(KeyError("bug"))
    with pytest.raises(KeyError):
        await world.send()
    assert len(world.received) == 1
    world = World(503, KeyError("bug"))
    with pytest.raises(KeyError):
        await world.send()
    assert len(world.received) == 2


# --- how often


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
async def test_sends_are_at_most_one_more_than_retries_all_alike_and_counted(max_retries: int) -> None:
    world = World(503)
    error = await failure_of(world, max_retries)
    assert [request.attempt for request in world.received] == list(range(1, max_retries + 2))
    assert {(request.method, request.url, request.body) for request in world.received} == {("POST", URL, b"body")}
    assert len({request.headers.multi_items() for request in world.received}) == 1
    assert [attempt.number for attempt in error.attempts] == list(range(1, max_retries + 2))
    assert [attempt.waited for attempt in error.attempts] == [*world.slept, 0.0]
    assert {attempt.error for attempt in error.attempts} == {"InternalServerError 503"}
    assert all(attempt.elapsed == 0.25 for attempt in error.attempts)


async def test_the_last_failure_is_raised_with_the_record_of_all() -> None:
    world = World(503, OSError("gone"), refusal(429, type="exceeded_current_quota_error", message=QUOTA))
    error = await failure_of(world, 5)
    assert isinstance(error, QuotaExceededError)
    assert [attempt.error for attempt in error.attempts] == [
        "InternalServerError 503",
        "APIConnectionError",
        "QuotaExceededError 429",
    ]
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_the_errors_before_are_no_context_and_tenacity_shows_nowhere() -> None:
    error = await failure_of(World(503))
    chain: list[BaseException | None] = [error, error.__cause__, error.__context__]
    assert chain == [error, None, None]
    assert type(error).__module__ == "moonshot_async.errors"


async def test_concurrent_calls_share_no_state() -> None:
    slept: dict[bytes, list[float]] = {}

    async def app(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(503 if request.attempt <= int(request.body) else 200)

    async def sleep(seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        slept.setdefault(task.get_name().encode(), []).append(seconds)
        await asyncio.sleep(0)

    retry = Retry(5, sleep=sleep, uniform=lambda low, high: high, budget=RetryBudget.unlimited())
    handler = compose([retry], exchange(MemoryTransport(app)))

    async def call(failures: int) -> None:
        await handler(Request("POST", URL, body=b"%d" % failures, timeout=Timeout.of(None)))

    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(call(number % 6), name=f"{number}")
    waits = [0.5, 1.0, 2.0, 4.0, 8.0]
    assert all(slept.get(b"%d" % number, []) == waits[: number % 6] for number in range(60))


async def test_a_cancellation_during_the_wait_is_passed_on_at_once() -> None:
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    world = World(503)
    handler = compose([Retry(3, sleep=sleep)], exchange(MemoryTransport(world.app)))
    call = asyncio.ensure_future(handler(Request("POST", URL, timeout=Timeout.of(None))))
    await waiting.wait()
    call.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert call.cancelled()
    assert len(world.received) == 1


async def test_a_cancellation_during_a_later_attempt_is_passed_on_and_not_repeated() -> None:
    world, waiting = World(503), asyncio.Event()

    async def app(request: Request) -> Response:
        if request.attempt == 2:
            waiting.set()
            await asyncio.Event().wait()
        return await world.app(request)

    handler = compose([world.retry(3)], exchange(MemoryTransport(app)))
    call = asyncio.ensure_future(handler(Request("POST", URL, timeout=Timeout.of(None))))
    await waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(world.received) == 1


async def test_nothing_is_repeated_once_the_head_was_handed_out() -> None:
    fake = FakeMoonshot()
    fake.cut_stream(after_chunks=2)
    client = AsyncMoonshot(api_key="sk-canary-01", base_url="http://m.test/v1", transport=MemoryTransport(fake))
    with pytest.raises(APIConnectionError):
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            pass
    assert len(fake.requests) == 1


# --- settings


@pytest.mark.parametrize("value", [None, True, 1.0, "2"])
def test_max_retries_must_be_a_whole_number(value: Any) -> None:
    with pytest.raises(TypeError, match="max_retries must be a whole number"):
        Retry(value)


def test_max_retries_must_not_be_negative() -> None:
    with pytest.raises(ConfigurationError, match="max_retries must be 0 or more, not -1"):
        Retry(-1)


@pytest.mark.parametrize("name", ["initial", "maximum", "slow_after"])
@pytest.mark.parametrize("value", [-1, math.nan, True, "1", None])
def test_seconds_that_cannot_be_meant_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a number of seconds, 0 or more, not "):
        Retry(**{name: value})


def test_a_budget_and_what_is_slow_are_of_their_types() -> None:
    with pytest.raises(TypeError, match="budget must be a RetryBudget, not float"):
        Retry(budget=0.2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="retry_slow must be True or False, not int"):
        Retry(retry_slow=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sleep", "uniform", "clock"])
def test_what_is_called_later_is_a_function(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a function, not float$"):
        Retry(**{name: 5.0})  # type: ignore[arg-type]


@pytest.mark.parametrize(("layer", "call", "sends"), [(2, 0, 1), (0, 2, 3), (2, 5, 6), (2, None, 3), (0, 0, 1)])
async def test_a_call_says_how_often_it_is_sent_again(layer: int, call: int | None, sends: int) -> None:
    world = World(503)
    await failure_of(world, layer, max_retries=call)
    assert len(world.received) == sends


async def test_a_call_of_a_client_says_how_often_it_is_sent_again_and_whether_after_a_long_wait() -> None:
    world = World(504, takes=60.0)
    client = world.client(max_retries=4)
    calls: list[tuple[dict[str, Any], int]] = [
        ({}, 1),
        ({"retry_slow": True}, 5),
        ({"retry_slow": True, "max_retries": 1}, 2),
        ({"retry_slow": True, "max_retries": 0}, 1),
    ]
    for options, sends in calls:
        before = len(world.received)
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(**ASK, **options)
        assert len(caught.value.attempts) == len(world.received) - before == sends
    assert len({request.content for request in world.received}) == 1


@pytest.mark.parametrize(
    ("options", "problem", "message"),
    [
        ({"max_retries": True}, TypeError, "max_retries must be a whole number, not bool"),
        ({"max_retries": 1.0}, TypeError, "max_retries must be a whole number, not float"),
        ({"max_retries": "2"}, TypeError, "max_retries must be a whole number, not str"),
        ({"max_retries": -1}, ConfigurationError, "max_retries must be 0 or more, not -1"),
        ({"retry_slow": 1}, TypeError, "retry_slow must be True or False, not int"),
        ({"retry_slow": "yes"}, TypeError, "retry_slow must be True or False, not str"),
    ],
)
async def test_a_call_that_says_nonsense_is_refused_before_anything_is_sent(
    options: dict[str, Any], problem: type[Exception], message: str
) -> None:
    world = World(OK)
    client = world.client()
    for call in (client.chat.completions.create(**ASK, **options), client.models.list(**options)):
        with pytest.raises(problem, match=message):
            await call
    assert world.received == []


@pytest.mark.parametrize(("failures", "loaded"), [(0, False), (1, True)])
def test_tenacity_is_loaded_only_after_a_failure(failures: int, loaded: bool) -> None:
    code = f"""
import asyncio, sys
from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.fake import FakeMoonshot
fake = FakeMoonshot()
if {failures}:
    fake.fail(503, retry_after=0, times={failures})
client = AsyncMoonshot(api_key="sk-canary-01", base_url="http://m.test/v1", transport=MemoryTransport(fake))
asyncio.run(client.chat.completions.create(**{ASK!r}))
sys.exit(("tenacity" in sys.modules) is not {loaded})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
