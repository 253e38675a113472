"""A limiter and 429s that come at random, whatever is sent: they must not slow anybody down for long."""

import asyncio
import json
import random

import pytest

from moonshot_async import Retry
from moonshot_async.clocks import NO_TIMEOUT
from moonshot_async.errors import RateLimitError
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware.limit_store import Limits
from moonshot_async.middleware.limits import RateLimits
from moonshot_async.wire import Request, Response
from tests import virtual_time
from tests.middleware.test_limits_learning import World

REQUEST = Request(
    "POST",
    "http://moonshot.test/v1/chat/completions",
    {},
    json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 16}).encode(),
    timeout=NO_TIMEOUT,
)
RATE, OVERLOAD = "rate_limit_reached_error", "engine_overloaded_error"
NO_HINT: dict[str, str] = {}
SECOND = {"Retry-After": "1"}
MOMENT = {"Retry-After-Ms": "50", "Retry-After": "1"}
TIER_5 = {"concurrency": 100, "rpm": 300, "tpm": 5_000_000}


class Gateway:
    """Refuses a share of all, and whatever passes its places."""

    def __init__(self, share: float, headers: dict[str, str], kind: str, places: int = 10**9) -> None:
        self.served: list[float] = []
        self.places = places
        self._share = share
        self._draw = random.Random(4)
        self._headers = headers
        self._refusal = json.dumps({"error": {"type": kind, "message": "too many"}})
        self._clock = asyncio.get_running_loop().time

    async def aclose(self) -> None:
        """Nothing is open."""

    async def send(self, request: Request) -> Response:
        await asyncio.sleep(self._draw.uniform(0.01, 0.04))
        if self.places < 1 or self._draw.random() < self._share:
            return Response(429, self._headers, self._refusal)
        self.places -= 1
        await asyncio.sleep(self._draw.uniform(0.4, 2.4))
        self.places += 1
        self.served.append(self._clock())
        return Response(200, {}, "{}")

    async def keep_busy(self, limits: RateLimits, tasks: int, seconds: float) -> None:
        retry = Retry(3, uniform=self._draw.uniform, clock=self._clock)
        handler = compose([retry, limits], exchange(self))

        async def work() -> None:
            while self._clock() < seconds:
                try:
                    await (await handler(REQUEST)).read()
                except RateLimitError:
                    pass

        await asyncio.gather(*(work() for _ in range(tasks)))


def served(
    gateway: tuple[float, dict[str, str], str], told: dict[str, int], tasks: int, *, warm_up: float, adaptive: bool
) -> int:
    """How many were served after the warm-up, in as much time again."""

    async def main() -> list[float]:
        service = Gateway(*gateway)
        limits = RateLimits(**told, adaptive=adaptive, clock=asyncio.get_running_loop().time)
        await service.keep_busy(limits, tasks, 2 * warm_up)
        return service.served

    return sum(warm_up <= when < 2 * warm_up for when in virtual_time.run(main()))


@pytest.mark.parametrize(
    ("share", "headers", "kind", "told", "tasks", "warm_up"),
    [
        (0.05, NO_HINT, RATE, {}, 200, 8),
        (0.15, NO_HINT, RATE, {"concurrency": 1000}, 200, 8),
        (0.05, SECOND, OVERLOAD, {"concurrency": 1000}, 200, 8),
        (0.15, SECOND, RATE, {"concurrency": 1000}, 200, 8),
        (0.15, SECOND, OVERLOAD, {}, 200, 8),
        (0.15, MOMENT, RATE, TIER_5, 200, 60),
        (0.05, SECOND, RATE, TIER_5, 1000, 60),
        (0.05, MOMENT, RATE, {"concurrency": 1000}, 1000, 4),
        (0.15, SECOND, RATE, {}, 1000, 4),
        (0.15, NO_HINT, OVERLOAD, {"concurrency": 1000}, 1000, 4),
    ],
)
def test_random_429s_do_not_slow_others_down(
    share: float, headers: dict[str, str], kind: str, told: dict[str, int], tasks: int, warm_up: float
) -> None:
    gateway = share, headers, kind

    learning, plain = (served(gateway, told, tasks, warm_up=warm_up, adaptive=adaptive) for adaptive in (True, False))

    assert learning >= 0.8 * plain > 0


def crowd(world: World, count: int, every: int, *, level: int = 1) -> None:
    """So many, sent together; each so-manieth of them is refused."""
    sent = [world.send(level + place) for place in range(count)]
    world.now += 0.02
    for place, sending in enumerate(sent):
        if place % every == every - 1:
            world.refuse(sending, **{"Retry-After": "1"})
        else:
            world.learned.accepted(sending)
    world.now += 1


def random_world(**told: int) -> World:
    """One in which refusals are known to be random."""
    world = World(**told)
    crowd(world, 100, 15)
    crowd(world, 60, 15)
    assert world.limits == Limits(**told)
    return world


def test_what_was_lowered_for_random_refusals_is_taken_back() -> None:
    world = World()
    crowd(world, 100, 15)
    # The most that were taken at once, less three tenths of them.
    assert world.limits.concurrency == int(94 * 0.7)

    crowd(world, 60, 15)

    assert world.limits == Limits()
    assert world.pause == 0


def test_a_few_refusals_do_not_go_far_below_what_was_told() -> None:
    world = World(concurrency=100, rpm=80)

    world.refuse(world.send(2))

    assert world.limits == Limits(concurrency=25, rpm=80)


def test_while_refusals_are_random_one_concerns_nobody_else() -> None:
    world = random_world()

    world.refuse(world.send(100), **{"Retry-After": "9"})

    assert (world.limits, world.pause) == (Limits(), 0)


@pytest.mark.parametrize("told", [{}, {"concurrency": 1000}])
def test_what_refuses_nearly_everything_is_a_limit_all_the_same(told: dict[str, int]) -> None:
    world = random_world(**told)
    world.accept(2, in_flight=50)

    for sending in [world.send(101 + place) for place in range(20)]:
        world.refuse(sending, **{"Retry-After": "9"})

    assert world.limits == Limits(concurrency=70)
    assert world.pause == 9


def test_it_is_forgotten_in_a_minute_that_refusals_are_random() -> None:
    world = random_world()
    world.now += 61

    world.refuse(world.send(100))

    assert world.limits == Limits(concurrency=69)


def test_the_moment_for_requests_of_a_minute_is_one_for_all() -> None:
    world = random_world()

    world.refuse(message="max RPM: 200, please try again after 2 seconds")

    assert world.pause == 2
    assert world.limits == Limits(rpm=200)


def test_a_rate_that_was_guessed_from_a_random_refusal_is_taken_back() -> None:
    world = World()
    world.accept(20)
    world.refuse()
    assert world.limits == Limits(rpm=19)
    world.now += 70
    world.accept(10, apart=1.0)

    world.refuse()
    world.accept(10, apart=1.0)

    assert world.limits == Limits()


def test_what_has_no_answer_yet_counts_as_taken_once_refusals_would_have_come() -> None:
    world = World()
    crowd(world, 100, 15)
    sent = [world.send(20 + place) for place in range(40)]
    world.now += 0.02
    world.refuse(sent[0])
    assert world.limits.concurrency == 65
    world.now += 1.1

    world.send(60)

    assert world.limits == Limits()


def test_refusals_that_follow_each_other_lower_further() -> None:
    world = World()
    crowd(world, 100, 15)
    world.accept(20, in_flight=60)
    lowered = world.limits.concurrency

    world.refuse(world.send(50))
    assert world.limits.concurrency == lowered
    world.refuse(world.send(40))

    assert world.limits.concurrency == int(39 * 0.7)


def test_what_is_heard_late_does_not_bring_a_guess_back() -> None:
    world = World()
    sent = [world.send(1 + place) for place in range(20)]
    world.refuse(sent[10])
    world.refuse(sent[11], "max concurrency: 40")

    world.learned.accepted(sent[0])

    assert world.limits == Limits(concurrency=40)
