"""A limiter against a service that keeps limits of its own, both on one clock: minutes pass, nobody waits."""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.catalog import CATALOG, Tier
from moonshot_async.clocks import NO_TIMEOUT
from moonshot_async.errors import RateLimitError
from moonshot_async.exchange import compose, exchange
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.counting import prompt_tokens
from moonshot_async.fake.limits import Limiter
from moonshot_async.middleware import Handler
from moonshot_async.middleware.limits import RateLimits
from moonshot_async.wire import Request, Response
from tests import virtual_time
from tests.secrets_scan import CANARY_KEY

URL = "http://moonshot.test/v1/chat/completions"
SMALL = {"model": "kimi-k2.6", "max_completion_tokens": 16}
DEFAULT = {"model": "kimi-k2.6"}
WIDE = 10**9


class Service:
    """The fake at some distance; refusals come at once, answers take their time.

    Args:
        tier: its limits.
        latency: seconds that an answer takes.
        silent: whether its 429s name no limit and no moment.
        hint: the `Retry-After` of silent 429s.
    """

    def __init__(self, tier: Tier, *, latency: float = 0.2, silent: bool = False, hint: str | None = None) -> None:
        self.clock = asyncio.get_running_loop().time
        self._fake = FakeMoonshot(limits=tier, clock=self.clock, sleep=asyncio.sleep)
        self._latency = latency
        self._silent = silent
        self._headers = {} if hint is None else {"Retry-After": hint}
        self.statuses: list[int] = []
        self.served: list[float] = []

    async def aclose(self) -> None:
        """It is a transport, too: the shortest way there is."""

    async def send(self, request: Request) -> Response:
        await asyncio.sleep(0.02)
        response = await self._fake(request)
        self.statuses.append(response.status)
        if response.status == 200:
            self.served.append(self.clock())
            await asyncio.sleep(self._latency)
        elif self._silent:
            refusal = {"error": {"type": "rate_limit_reached_error", "message": "Too many requests"}}
            return Response(429, self._headers, json.dumps(refusal))
        return response

    def share_refused(self, warm_up: float = 0.0) -> float:
        """The part that was refused, after the first so many of all."""
        statuses = self.statuses[int(len(self.statuses) * warm_up) :]
        return statuses.count(429) / len(statuses)

    async def ask(self, limits: RateLimits, calls: int, tasks: int, **params: Any) -> None:
        """Let so many tasks make so many calls together, each until it is answered."""
        handler = compose([limits], exchange(self))
        body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], **params}).encode()
        request = Request("POST", URL, {"Authorization": f"Bearer {CANARY_KEY}"}, body, timeout=NO_TIMEOUT)
        left = itertools.repeat(None, calls)

        async def work() -> None:
            for _ in left:
                while not await self._answered(handler, request):
                    pass

        await asyncio.gather(*(work() for _ in range(tasks)))

    async def _answered(self, handler: Handler, request: Request) -> bool:
        try:
            response = await handler(request)
        except RateLimitError:
            await asyncio.sleep(1.0)
            return False
        await response.read()
        return True


def check_pace(service: Service, per_minute: int) -> None:
    """All windows were used to 95 %: no call was served later than it had to be, but for so much."""
    earliest = [place // per_minute * 60.0 for place in range(len(service.served))]
    assert service.served[-1] <= earliest[-1] / 0.95 + 1


@pytest.mark.parametrize(
    ("params", "per_minute"),
    [(SMALL, 100), (DEFAULT, 2_000_000 // (32_768 + 10))],
    ids=["the requests of a minute", "the tokens of a minute"],
)
def test_200_tasks_keep_to_the_limits_of_tier_1_and_use_them(params: dict[str, Any], per_minute: int) -> None:
    async def main() -> Service:
        service = Service(CATALOG.tiers[1])
        limits = RateLimits.tier(1, clock=service.clock)
        await service.ask(limits, 2000, 200, **params)
        left = limits.snapshot()
        assert (left.waiting, left.in_flight) == (0, 0)
        return service

    service = virtual_time.run(main())

    assert service.statuses == [200] * 2000
    check_pace(service, per_minute)


def test_a_limiter_that_is_told_nothing_learns_from_what_429s_name() -> None:
    async def main() -> tuple[Service, RateLimits]:
        service = Service(CATALOG.tiers[1])
        limits = RateLimits(clock=service.clock)
        await service.ask(limits, 600, 60, **SMALL)
        return service, limits

    service, limits = virtual_time.run(main())

    learned = limits.snapshot().limits
    assert (learned.concurrency, learned.rpm) == (15, 100)
    assert 0 < service.share_refused() < 0.15
    assert service.share_refused(0.3) == 0
    check_pace(service, 100)


@pytest.mark.parametrize(
    ("tier", "params", "latency", "hint", "per_minute"),
    [
        (Tier(9, 0, concurrency=15, rpm=100, tpm=2_000_000), SMALL, 0.2, None, 100),
        (Tier(9, 0, concurrency=15, rpm=100, tpm=2_000_000), DEFAULT, 0.2, "5", 61),
        (Tier(9, 0, concurrency=WIDE, rpm=100, tpm=WIDE), SMALL, 20.0, None, 100),
        (Tier(9, 0, concurrency=15, rpm=WIDE, tpm=WIDE), SMALL, 4.0, "1", 225),
    ],
    ids=["requests and concurrency", "tokens and concurrency", "requests, slowly", "concurrency, slowly"],
)
def test_it_learns_from_429s_that_name_nothing(
    tier: Tier, params: dict[str, Any], latency: float, hint: str | None, per_minute: int
) -> None:
    async def main() -> Service:
        service = Service(tier, latency=latency, silent=True, hint=hint)
        await service.ask(RateLimits(clock=service.clock), 1000, 60, **params)
        return service

    service = virtual_time.run(main())

    assert service.share_refused(0.2) < 0.01
    late = [when for when in service.served if when > service.served[-1] / 2]
    assert len(late) / (late[-1] - late[0]) * 60 > 0.8 * per_minute


def test_what_is_told_too_high_is_learned_too() -> None:
    async def main() -> tuple[Service, RateLimits]:
        service = Service(Tier(9, 0, concurrency=3, rpm=20, tpm=WIDE))
        limits = RateLimits(concurrency=10, rpm=10, tpm=WIDE, clock=service.clock)
        await service.ask(limits, 60, 10, **SMALL)
        return service, limits

    service, limits = virtual_time.run(main())

    learned = limits.snapshot().limits
    assert (learned.concurrency, learned.rpm) == (3, 10), "never more than was told"
    assert service.share_refused(0.3) == 0


def test_long_prompts_do_not_pass_the_tokens_of_a_minute() -> None:
    async def main() -> Service:
        service = Service(Tier(9, 0, concurrency=WIDE, rpm=WIDE, tpm=100_000))
        limits = RateLimits(tpm=100_000, clock=service.clock)
        sizes = deque([10, 20_000, 400, 60_000, 3_000, 100_000] * 10)
        async with AsyncMoonshot(
            api_key=CANARY_KEY, transport=MemoryTransport(service.send), timeout=None, max_retries=0, limits=limits
        ) as client:

            async def work() -> None:
                while sizes:
                    text = "你好 and hello " * (sizes.popleft() // 20)
                    messages: Any = [
                        {"role": "system", "content": "Be brief."},
                        {"role": "user", "content": text + "."},
                    ]
                    await client.chat.completions.create(messages=messages, model="kimi-k3", max_completion_tokens=2000)

            await asyncio.gather(*(work() for _ in range(20)))
        return service

    service = virtual_time.run(main())

    assert service.statuses == [200] * 60


MESSAGE = {"role": "user", "content": "Hi, you"}
PROMPT = prompt_tokens({"messages": [MESSAGE]})[0]


class Asked(NamedTuple):
    """A call: when it is made, how long its answer takes, what it may have, and when its caller gives up."""

    after: float
    takes: float
    most: int
    priority: int
    patience: float | None
    broken: bool


calls = st.builds(
    Asked,
    after=st.just(0.0) | st.floats(0, 30),
    takes=st.just(0.0) | st.floats(0, 90),
    most=st.integers(1, 300),
    priority=st.integers(-1, 1),
    patience=st.none() | st.just(0.0) | st.floats(0, 100),
    broken=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=60)
@given(
    schedule=st.lists(calls, min_size=1, max_size=25),
    concurrency=st.integers(1, 4),
    rpm=st.integers(1, 8),
    tpm=st.integers(400, 900),
)
def test_no_schedule_passes_a_limit_or_leaves_anything(
    schedule: list[Asked], concurrency: int, rpm: int, tpm: int
) -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        service = Limiter(Tier(9, 0, concurrency=concurrency, rpm=rpm, tpm=tpm), clock)
        # What the service itself brings up beside its limits teaches nothing here.
        limits = RateLimits(concurrency=concurrency, rpm=rpm, tpm=tpm, clock=clock, adaptive=False)

        async def call(asked: Asked) -> None:
            body = json.dumps({"messages": [MESSAGE], "max_completion_tokens": asked.most}).encode()
            request = Request("POST", URL, {}, body, timeout=NO_TIMEOUT, priority=asked.priority)

            async def app(request: Request) -> Response:
                # Raises where a limit is passed.
                service.admit(PROMPT, asked.most)
                response = Response(200, {}, _pieces(asked))
                service.attach(response, PROMPT)
                return response

            response = await limits(request, app)
            try:
                await response.read()
            except ConnectionResetError:
                pass

        tasks = []
        for asked in schedule:
            await asyncio.sleep(asked.after)
            task = asyncio.create_task(call(asked))
            tasks.append(task)
            if asked.patience is not None:
                asyncio.get_running_loop().call_later(asked.patience, task.cancel)
        done, _ = await asyncio.wait(tasks)

        for task in done:
            assert task.cancelled() or task.exception() is None
        await asyncio.sleep(100)
        left = limits.snapshot()
        assert (left.waiting, left.in_flight, left.requests, left.tokens) == (0, 0, 0, 0)

    virtual_time.run(main())


async def _pieces(asked: Asked) -> AsyncIterator[bytes]:
    yield b"data: {}\n\n"
    await asyncio.sleep(asked.takes)
    if asked.broken:
        raise ConnectionResetError
    usage = {"prompt_tokens": PROMPT, "completion_tokens": 5, "total_tokens": PROMPT + 5}
    yield b"data: " + json.dumps({"usage": usage}).encode() + b"\n\n"
