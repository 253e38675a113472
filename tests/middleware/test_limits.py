"""The limiter as a middleware: who is let in, when, and what is left of those who were."""

import asyncio
import gc
import json
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.catalog import CATALOG, Tier
from moonshot_async.clocks import NO_TIMEOUT
from moonshot_async.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    EngineOverloadedError,
    LimitReachedError,
    RateLimitError,
)
from moonshot_async.exchange import compose, exchange
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware.limit_body import HeldBody
from moonshot_async.middleware.limit_store import Counted, Limits, MemoryLimitStore, Need, Refusal, Reservation
from moonshot_async.middleware.limits import LimitsSnapshot, RateLimits
from moonshot_async.wire import Request, Response
from tests import virtual_time
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT
from tests.stalls import Stalls

URL = "http://moonshot.test/v1/chat/completions"
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": CANARY_PROMPT}]}
BODY = json.dumps({**ASK, "max_completion_tokens": 100}).encode()
# About what it counts.
PROMPT_TOKENS = -(-len(json.dumps(ASK["messages"][0])) // 4)
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
ANSWER = json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()


def request(**fields: Any) -> Request:
    return Request("POST", URL, {"Authorization": f"Bearer {CANARY_KEY}"}, BODY, **{"timeout": NO_TIMEOUT, **fields})


def refusal(message: str = "Too many", kind: str = "rate_limit_reached_error", **headers: str) -> Response:
    return Response(429, headers, json.dumps({"error": {"type": kind, "message": message}}))


class Server:
    """Answers when it is told to, and knows how many it has to answer."""

    def __init__(self) -> None:
        self.received: list[Request] = []
        self.waiting: list[asyncio.Future[Response]] = []

    async def __call__(self, request: Request) -> Response:
        self.received.append(request)
        coming = asyncio.get_running_loop().create_future()
        self.waiting.append(coming)
        return await coming

    def answer(self, response: Response | None = None) -> None:
        self.waiting.pop(0).set_result(response or Response(200, {}, ANSWER))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def server() -> Server:
    return Server()


def caller(limits: RateLimits, app: Any) -> Callable[..., Coroutine[Any, Any, Response]]:
    """Make a call through the limiter and read its answer."""
    handler = compose([limits], exchange(MemoryTransport(app)))

    async def call(**fields: Any) -> Response:
        response = await handler(request(**fields))
        await response.read()
        return response

    return call


async def ok(request: Request) -> Response:
    return Response(200, {}, ANSWER)


# What is counted


async def test_a_place_is_held_from_the_sending_to_the_end_of_the_body(server: Server) -> None:
    limits = RateLimits(concurrency=1)
    call = caller(limits, server)
    first, second = asyncio.create_task(call()), asyncio.create_task(call())
    await settle()
    assert len(server.received) == 1
    assert (limits.snapshot().in_flight, limits.snapshot().waiting) == (1, 1)

    server.answer()
    await settle()

    assert first.done()
    assert len(server.received) == 2
    server.answer()
    await second
    assert (limits.snapshot().in_flight, limits.snapshot().waiting) == (0, 0)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", URL),
        ("POST", "http://moonshot.test/v1/files"),
        ("POST", "http://moonshot.test/v1/tokenizers/estimate-token-count?path=/chat/completions"),
    ],
)
async def test_what_is_no_inference_passes_as_it_is(method: str, url: str) -> None:
    limits = RateLimits(rpm=1, concurrency=1)

    async def answer() -> Response:
        return Response()

    coming = answer()

    def call_next(request: Request) -> Any:
        return coming

    for _ in range(3):
        assert limits(request().replace(method=method, url=url), call_next) is coming
    await coming
    assert limits.snapshot().requests == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions/?a=b", "/v1/responses", "/anthropic/v1/messages"])
async def test_every_kind_of_inference_counts(path: str) -> None:
    limits = RateLimits()

    await limits(request().replace(url="http://moonshot.test" + path), ok)

    assert limits.snapshot().requests == 1


async def test_tokens_are_reserved_at_admission_and_settled_by_the_usage() -> None:
    limits = RateLimits()
    response = await limits(request(), ok)
    reserved = limits.snapshot()
    assert (reserved.tokens, reserved.day_tokens) == (PROMPT_TOKENS + 100, PROMPT_TOKENS)

    await response.read()

    settled = limits.snapshot()
    assert (settled.tokens, settled.day_tokens) == (20 + 100, 25)


async def test_what_texts_really_count_is_learned() -> None:
    limits = RateLimits()
    message = {"role": "user", "content": "x" * 4000}
    long = request().replace(body=json.dumps({"messages": [message], "max_tokens": 1}).encode())

    async def app(request: Request) -> Response:
        return Response(200, {}, '{"usage": {"prompt_tokens": 2000, "completion_tokens": 1}}')

    await (await limits(long, app)).read()
    counted = limits.snapshot().tokens
    await limits(long, app)

    assert limits.snapshot().tokens - counted == pytest.approx(2001, abs=1)


async def test_with_refund_only_what_was_used_counts() -> None:
    limits = RateLimits(refund=True)

    await (await limits(request(), ok)).read()

    assert limits.snapshot().tokens == 25


async def test_without_usage_what_was_reserved_stays() -> None:
    limits = RateLimits()

    async def silent(request: Request) -> Response:
        return Response(200, {}, "{}")

    await (await limits(request(), silent)).read()

    assert limits.snapshot().tokens == PROMPT_TOKENS + 100
    assert limits.snapshot().in_flight == 0


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
async def test_usage_is_found_however_the_body_is_cut(size: int) -> None:
    body = b"x" * 20_000 + ANSWER
    limits = RateLimits()

    async def app(request: Request) -> Response:
        return Response(200, {}, [body[place : place + size] for place in range(0, len(body), size)])

    response = await limits(request(), app)

    assert await response.read() == body
    assert limits.snapshot().day_tokens == 25


# The end of a body


async def never_ending() -> AsyncIterator[bytes]:
    yield b"data: {}\n\n"
    await asyncio.get_running_loop().create_future()


async def broken() -> AsyncIterator[bytes]:
    yield b"data: {}\n\n"
    raise ConnectionResetError


async def test_a_stream_holds_its_place_until_it_is_closed() -> None:
    limits = RateLimits(concurrency=1)

    async def app(request: Request) -> Response:
        return Response(200, {}, never_ending())

    response = await limits(request(), app)
    await response.body.read()
    with pytest.raises(TimeoutError):
        await response.body.read(time.monotonic())
    assert limits.snapshot().in_flight == 1, "until it is closed the service goes on with it"

    response.close()
    response.close()
    assert limits.snapshot().in_flight == 0


async def test_a_stream_that_is_dropped_or_breaks_off_gives_its_place_back() -> None:
    limits = RateLimits(concurrency=1)

    async def app(request: Request) -> Response:
        return Response(200, {}, broken())

    response = await limits(request(), app)
    del response
    gc.collect()
    assert limits.snapshot().in_flight == 0

    response = await limits(request(), app)
    await response.body.read()
    with pytest.raises(ConnectionResetError):
        await response.body.read()
    assert limits.snapshot().in_flight == 0


async def test_streams_of_a_client_hold_their_places(no_leaks: None) -> None:
    limits = RateLimits(concurrency=2)
    fake = FakeMoonshot()
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), limits=limits) as client:
        async with await client.chat.completions.create(**ASK, stream=True) as first:
            await anext(first)
            second = await client.chat.completions.create(**ASK, stream=True)
            third = asyncio.create_task(client.chat.completions.create(**ASK))
            await settle()
            assert not third.done()
            assert limits.snapshot().in_flight == 2
        await third
        assert limits.snapshot().in_flight == 1

        async for _ in second:
            pass
        assert limits.snapshot().in_flight == 0
        assert limits.snapshot().day_tokens > 2 * 10

        async def read() -> None:
            async with client.chat.completions.stream(**ASK) as stream:
                async for _ in stream:
                    await asyncio.get_running_loop().create_future()

        reading = asyncio.create_task(read())
        await settle()
        assert limits.snapshot().in_flight == 1
        reading.cancel()
        await asyncio.wait([reading])
        assert limits.snapshot().in_flight == 0


async def test_of_a_long_body_only_the_end_is_kept() -> None:
    limits = RateLimits()

    async def app(request: Request) -> Response:
        return Response(200, {}, (b"x" * 4000 for _ in range(1000)))

    response = await limits(request(), app)
    kept = 0
    while await response.body.read():
        assert isinstance(response.body, HeldBody)
        kept = max(kept, sum(map(len, response.body._pieces)))

    assert kept < 100_000


# Who goes first, and who gives up


async def test_priorities_of_calls_go_first(server: Server) -> None:
    limits = RateLimits(concurrency=1)
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(server), limits=limits) as client:
        calls = [
            asyncio.create_task(client.chat.completions.create(**ASK, max_completion_tokens=n, priority=n % 3))
            for n in range(1, 10)
        ]
        await settle()
        while server.waiting:
            server.answer()
            await settle()
        for call in calls:
            await call

    assert [request.json()["max_completion_tokens"] for request in server.received] == [1, 2, 5, 8, 4, 7, 3, 6, 9]


async def test_the_deadline_of_a_call_ends_its_wait(server: Server, stalls: Stalls) -> None:
    limits = RateLimits(concurrency=1)
    async with AsyncMoonshot(
        api_key=CANARY_KEY, transport=MemoryTransport(server), limits=limits, max_retries=0
    ) as client:
        first = asyncio.create_task(client.chat.completions.create(**ASK))
        await settle()
        started = time.monotonic()
        with pytest.raises(APITimeoutError, match="while it waited for the limits of the account") as caught:
            await client.chat.completions.create(**ASK, timeout=0.1)
        assert 0.0 <= stalls.late(started + 0.1) < 0.5
        assert caught.value.clock == "total"
        with pytest.raises(APITimeoutError) as caught, client.deadline(0.05):
            await client.chat.completions.create(**ASK)
        assert caught.value.clock == "deadline"
        assert limits.snapshot().waiting == 0
        server.answer()
        await first
        assert len(server.received) == 1


def test_the_deadline_is_kept_to_the_moment() -> None:
    async def main() -> float:
        clock = asyncio.get_running_loop().time
        call = caller(RateLimits(rpm=1, clock=clock), ok)
        await call()
        with pytest.raises(APITimeoutError):
            await call(deadline=clock() + 59.0)
        return clock()

    assert virtual_time.run(main()) == pytest.approx(59.0, abs=0.01)


async def test_a_deadline_that_is_over_sends_nothing(server: Server) -> None:
    limits = RateLimits(concurrency=1)
    call = caller(limits, server)
    first = asyncio.create_task(call())
    await settle()

    with pytest.raises(APITimeoutError):
        await call(deadline=time.monotonic() - 1)
    server.answer()
    await first


@pytest.mark.parametrize("turns", range(0, 40, 1))
async def test_a_call_that_is_cancelled_at_any_turn_leaves_nothing(turns: int, no_leaks: None) -> None:
    limits = RateLimits(concurrency=1, call_later=lambda s, f: timers.setdefault(len(timers), Timer(s, f)))
    timers: dict[int, Timer] = {}
    fake = FakeMoonshot()
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), limits=limits) as client:
        calls = [asyncio.create_task(client.chat.completions.create(**ASK, priority=n)) for n in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[3].cancel()
        calls[1].cancel()
        done, _ = await asyncio.wait(calls)

        assert len(done) == 4
        assert not calls[0].cancelled()
        assert not calls[2].cancelled()
        left = limits.snapshot()
        assert (left.waiting, left.in_flight) == (0, 0)
        assert all(timer.cancelled for timer in timers.values())
        await client.chat.completions.create(**ASK)


class Timer:
    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


async def test_closing_a_client_ends_its_calls_in_the_queue(server: Server) -> None:
    limits = RateLimits(concurrency=1)
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(server), limits=limits) as client:
        calls = [asyncio.create_task(client.chat.completions.create(**ASK)) for _ in range(3)]
        await settle()

    done, _ = await asyncio.wait(calls, timeout=5)
    assert len(done) == 3
    for call in calls:
        assert isinstance(call.exception(), APIConnectionError)
    assert (limits.snapshot().waiting, limits.snapshot().in_flight) == (0, 0)


def test_clients_in_threads_share_one_limiter() -> None:
    limits = RateLimits(concurrency=3)
    fake = FakeMoonshot(limits=Tier(9, 0, concurrency=3, rpm=10**6, tpm=10**12), latency=0.001)
    failures: list[BaseException] = []

    def run() -> None:
        async def main() -> None:
            transport = MemoryTransport(fake)
            async with (
                AsyncMoonshot(api_key=CANARY_KEY, transport=transport, limits=limits, max_retries=0) as one,
                AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), limits=limits, max_retries=0) as two,
            ):
                calls = [client.chat.completions.create(**ASK) for client in (one, two) for _ in range(25)]
                await asyncio.wait_for(asyncio.gather(*calls), 20)

        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    left = limits.snapshot()
    assert (left.waiting, left.in_flight, left.requests) == (0, 0, 150)


# What is not sent at all


async def test_what_never_fits_is_refused_before_it_is_sent(server: Server) -> None:
    call = caller(RateLimits(tpm=110), server)

    with pytest.raises(LimitReachedError) as caught:
        await call()

    error = caught.value
    assert (error.limit, error.needed, error.allowed, error.retry_after) == ("tpm", PROMPT_TOKENS + 100, 110, None)
    assert "Lower max_completion_tokens" in str(error)
    assert not error.retryable
    assert server.received == []


async def test_a_prompt_that_is_more_than_a_day_has_is_refused(server: Server) -> None:
    with pytest.raises(LimitReachedError, match="Shorten the messages") as caught:
        await caller(RateLimits(tpd=PROMPT_TOKENS - 1), server)()

    assert (caught.value.limit, caught.value.retry_after, server.received) == ("tpd", None, [])


async def test_for_the_tokens_of_a_day_nobody_waits() -> None:
    now = 0.0
    limits = RateLimits(tpd=40, clock=lambda: now)
    call = caller(limits, ok)
    await call()

    with pytest.raises(LimitReachedError) as caught:
        await call()

    error = caught.value
    assert (error.limit, error.allowed) == ("tpd", 40)
    assert error.retry_after == pytest.approx(86_400.9)
    assert "There will be enough in 86401 s" in str(error)
    now += 86_401
    await call()


async def test_whoever_comes_behind_others_hears_of_the_tokens_of_the_day_at_once(server: Server) -> None:
    limits = RateLimits(tpd=2 * PROMPT_TOKENS, concurrency=1)
    call = caller(limits, server)
    first = asyncio.create_task(call())
    second = asyncio.create_task(call())
    third = asyncio.create_task(call())
    await settle()
    assert limits.snapshot().waiting == 2
    limits._learned.limits = Limits(concurrency=1, tpd=2 * PROMPT_TOKENS - 1)

    with pytest.raises(LimitReachedError) as caught:
        await call()

    assert caught.value.limit == "tpd"
    assert caught.value.retry_after == pytest.approx(86_400, abs=5)
    assert limits.snapshot().waiting == 2
    for task in (first, second, third):
        task.cancel()
    await asyncio.wait([first, second, third])


async def test_a_retry_is_admitted_anew() -> None:
    limits = RateLimits(rpm=10)
    fake = FakeMoonshot()
    fake.fail(503)
    retry = Retry(1, uniform=lambda low, high: 0.0)
    async with AsyncMoonshot(
        api_key=CANARY_KEY, transport=MemoryTransport(fake), limits=limits, middleware=[retry]
    ) as client:
        await client.chat.completions.create(**ASK)

    assert limits.snapshot().requests == 2
    assert limits.snapshot().in_flight == 0


# What 429s do


async def refused_once(limits: RateLimits, response: Response) -> None:
    async def app(request: Request) -> Response:
        return response

    with pytest.raises(RateLimitError):
        await caller(limits, app)()


async def test_a_429_pauses_everybody_until_the_moment_it_names() -> None:
    now = 0.0
    limits = RateLimits(clock=lambda: now)

    await refused_once(limits, refusal(**{"Retry-After": "7"}))
    assert limits.snapshot().paused_for == 7
    await refused_while_paused(limits)
    now += 5
    assert limits.snapshot().paused_for == 2
    now += 2.1
    await caller(limits, ok)()
    assert limits.snapshot().paused_for == 0


async def refused_while_paused(limits: RateLimits) -> None:
    call = asyncio.create_task(caller(limits, ok)())
    await settle()
    assert limits.snapshot().waiting == 1
    call.cancel()
    await asyncio.wait([call])


async def test_nobody_is_paused_for_longer_than_a_minute() -> None:
    limits = RateLimits(clock=lambda: 0.0)

    await refused_once(limits, refusal(**{"Retry-After": "3600"}))

    assert limits.snapshot().paused_for == 60


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("request reached organization TPD rate limit, current: 90, limit: 80", "rate_limit_reached_error"),
        ("You exceeded your current token quota", "exceeded_current_quota_error"),
    ],
)
async def test_what_waiting_does_not_help_pauses_nobody(message: str, kind: str) -> None:
    limits = RateLimits()

    await refused_once(limits, refusal(message, kind, **{"Retry-After": "5"}))

    left = limits.snapshot()
    assert (left.paused_for, left.in_flight) == (0, 0)
    assert left.limits.concurrency is left.limits.rpm is None


@pytest.mark.parametrize(
    ("message", "learned"),
    [
        ("request reached organization max RPM: 3, please try again after 1 seconds", Limits(rpm=3)),
        ("request reached organization max concurrency: 15", Limits(concurrency=15)),
        ("reached organization TPM rate limit, current: 2000010, limit: 2000000", Limits(tpm=2_000_000)),
        ("request reached organization max TPM: 10000", Limits(tpm=10_000)),
        ("request reached organization TPD rate limit, current: 90, limit: 80", Limits(tpd=80)),
    ],
)
async def test_the_limit_that_a_429_names_is_kept_from_then_on(message: str, learned: Limits) -> None:
    limits, told = RateLimits(), RateLimits(concurrency=2, rpm=2, tpm=200, tpd=20)

    await refused_once(limits, refusal(message))
    assert limits.snapshot().limits == learned
    for field in ("concurrency", "rpm", "tpm", "tpd"):
        assert f"{field}={getattr(learned, field)}" in repr(limits)

    before = told.snapshot().limits
    await refused_once(told, refusal(message))
    assert told.snapshot().limits == before, "never more than was told"


async def test_an_overloaded_service_gets_fewer_at_once(server: Server) -> None:
    limits = RateLimits(concurrency=20)
    call = caller(limits, server)
    calls = [asyncio.create_task(call()) for _ in range(10)]
    await settle()
    server.waiting.reverse()

    server.answer(refusal("The engine is currently overloaded", "engine_overloaded_error"))
    await settle()

    assert limits.snapshot().limits == Limits(concurrency=int(9 * 0.7))
    assert isinstance(next(call for call in calls if call.done()).exception(), EngineOverloadedError)
    while server.waiting:
        server.answer()
    await asyncio.wait(calls)


async def test_when_one_is_served_after_a_refusal_the_next_ones_go_at_once(server: Server) -> None:
    limits = RateLimits(clock=lambda: 0.0)

    async def call() -> Response:
        return await limits(request(), exchange(MemoryTransport(server)))

    calls = [asyncio.create_task(call()) for _ in range(10)]
    await settle()
    server.waiting.reverse()
    server.answer(refusal())
    while server.waiting:
        server.answer()
    await settle()
    for done in calls[:9]:
        done.result().close()
    later = [asyncio.create_task(call()) for _ in range(3)]
    await settle()
    assert len(server.waiting) == 1

    server.answer()
    await settle()

    # Its body is still being read.
    assert len(server.waiting) == 2
    while server.waiting:
        server.answer()
        await settle()
    for done in later:
        done.result().close()
    assert isinstance(calls[9].exception(), RateLimitError)


async def test_what_is_not_adaptive_learns_nothing() -> None:
    limits = RateLimits(rpm=50, adaptive=False)

    await refused_once(limits, refusal("max RPM: 3", **{"Retry-After": "9"}))

    assert limits.snapshot().limits == Limits(rpm=50)
    assert limits.snapshot().paused_for == 0


async def test_a_refused_request_counts_no_tokens_but_stays_a_request() -> None:
    limits = RateLimits()

    await refused_once(limits, refusal())

    left = limits.snapshot()
    assert (left.requests, left.tokens, left.day_tokens, left.in_flight) == (1, 0, 0, 0)


async def test_other_failures_give_the_place_back_and_keep_what_was_counted(server: Server) -> None:
    limits = RateLimits()

    async def fail(request: Request) -> Response:
        raise ConnectionResetError

    with pytest.raises(APIConnectionError):
        await caller(limits, fail)()

    left = limits.snapshot()
    assert (left.requests, left.tokens, left.in_flight) == (1, PROMPT_TOKENS + 100, 0)


# A store of the caller's


class Elsewhere:
    """A store that other processes use, too: it takes its time, and says nothing when they leave."""

    def __init__(self) -> None:
        self.inner = MemoryLimitStore()
        self.full = 0
        self.asked = 0
        self.told: list[str] = []

    async def reserve(self, need: Need, limits: Limits) -> Reservation | Refusal:
        self.asked += 1
        await asyncio.sleep(0)
        if self.full < 0:
            raise OSError("the store is not there")
        if self.full:
            self.full -= 1
            return Refusal("concurrency", 30 if self.full % 2 else None)
        return await self.inner.reserve(need, limits)

    def settle(self, reservation: Reservation, *, tokens: int, day_tokens: int) -> None:
        self.told.append(f"settle {tokens} {day_tokens}")

    def release(self, reservation: Reservation) -> None:
        self.told.append("release")

    def counted(self) -> Counted:
        return Counted(in_flight=77)


async def test_a_store_of_the_callers_does_the_counting() -> None:
    store = Elsewhere()
    limits = RateLimits(store=store)
    assert not limits.keeps_deadline

    await caller(limits, ok)()

    assert store.told == ["settle 120 25", "release"]
    assert limits.snapshot().in_flight == 77


def test_a_store_of_the_callers_is_asked_again_and_again() -> None:
    store = Elsewhere()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        store.full = 4
        await caller(RateLimits(store=store, clock=loop.time), ok)()
        return loop.time()

    assert virtual_time.run(main()) == pytest.approx(1.5, abs=0.1)
    # At once, once more as the head of the queue, and then twice a second.
    assert store.asked == 5


async def test_what_a_store_raises_reaches_the_caller_and_the_next_one_asks() -> None:
    store = Elsewhere()
    store.full = 2
    limits = RateLimits(store=store)
    first = asyncio.create_task(caller(limits, ok)())
    await settle()
    second = asyncio.create_task(caller(limits, ok)())
    await settle()
    store.full = -1
    limits._queue.nudge()

    for call in (first, second):
        with pytest.raises(OSError, match="not there"):
            await call
    assert limits.snapshot().waiting == 0


# Forks, arguments, appearance


def test_a_forked_process_begins_anew() -> None:
    limits = RateLimits(concurrency=1)

    async def hold() -> Response:
        return await limits(request(), ok)

    async def again(inherited: Response) -> None:
        await caller(limits, ok)()
        inherited.close()
        assert limits.snapshot().in_flight == 0

    open_in_parent = asyncio.run(hold())
    child = os.fork()
    if child == 0:  # pragma: no cover  # in another process
        try:
            asyncio.run(asyncio.wait_for(again(open_in_parent), 5))
        except BaseException:  # noqa: BLE001  # told by the status
            os._exit(1)
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert limits.snapshot().in_flight == 1
    open_in_parent.close()
    assert limits.snapshot().in_flight == 0


async def test_calls_of_the_parent_do_not_count_in_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = RateLimits(concurrency=1)
    inherited = await limits(request(), ok)
    monkeypatch.setattr("moonshot_async.middleware.limits.getpid", lambda: -1)

    await caller(limits, ok)()
    inherited.close()

    assert limits.snapshot().in_flight == 0
    assert limits.snapshot().requests == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency must be a positive whole number or None, not 0"),
        ({"rpm": -1}, "rpm must be"),
        ({"tpm": 1.5}, "tpm must be"),
        ({"tpd": True}, "tpd must be"),
        ({"rpm": "100"}, "rpm must be"),
        ({"minute": 0}, "minute must be a positive number of seconds, not 0"),
        ({"minute": math.inf}, "minute must be"),
        ({"minute": True}, "minute must be"),
        ({"minute": "60"}, "minute must be"),
        ({"store": {}}, "store must be a LimitStore, not dict"),
        ({"adaptive": "no"}, "adaptive must be True or False, not 'no'"),
        ({"refund": None}, "refund must be True or False"),
        ({"clock": 5}, "clock and call_later must be functions"),
        ({"call_later": 5}, "clock and call_later must be functions"),
        ({"catalog": {}}, "catalog must be a Catalog, not dict"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RateLimits(**options)


@pytest.mark.parametrize("tier", [6, -1, "1", True, None])
def test_a_tier_that_does_not_exist_is_refused(tier: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no tier .* in the catalog, but 0, 1, 2, 3, 4, 5"):
        RateLimits.tier(tier)


def test_a_tier_has_the_limits_of_the_catalog() -> None:
    catalog = CATALOG.extended(tiers=[Tier(7, 0, concurrency=1, rpm=2, tpm=3, tpd=4)])

    assert RateLimits.tier(0).snapshot().limits == Limits(1, 3, 500_000, 1_500_000)
    assert RateLimits.tier(7, catalog=catalog).snapshot().limits == Limits(1, 2, 3, 4)


async def test_minutes_can_be_scaled() -> None:
    limits = RateLimits(rpm=1, minute=0.05)
    call = caller(limits, ok)
    started = time.monotonic()

    for _ in range(3):
        await call()

    assert 0.1 <= time.monotonic() - started < 1


def test_it_shows_its_limits_and_nothing_else() -> None:
    limits = RateLimits.tier(1)

    assert repr(limits) == "RateLimits(concurrency=15, rpm=100, tpm=2000000, tpd=None)"
    assert limits.snapshot() == LimitsSnapshot(0, 0, 0, 0, 0, Limits(15, 100, 2_000_000), 0.0)
    assert limits.keeps_deadline
