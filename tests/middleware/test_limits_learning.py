"""What a limiter makes of 429s: which limit it was, how far it is lowered, and how it rises again."""

import itertools
import json
from typing import Any

import pytest

from moonshot_async.errors import EngineOverloadedError, RateLimitError
from moonshot_async.middleware.limit_evidence import Sending
from moonshot_async.middleware.limit_learning import Learned
from moonshot_async.middleware.limit_store import Limits
from moonshot_async.status_errors import status_error
from moonshot_async.wire import Request, Response


class World:
    """A service that says yes and no, and a clock."""

    def __init__(self, **told: int) -> None:
        self.now = 0.0
        self.learned = Learned(Limits(**told), adaptive=True, clock=lambda: self.now, minute=60.0)

    @property
    def limits(self) -> Limits:
        return self.learned.limits

    @property
    def pause(self) -> float:
        return max(0.0, self.learned.paused_until - self.now)

    def send(self, in_flight: int = 1) -> Sending:
        sending = self.learned.sent(in_flight)
        assert sending is not None
        return sending

    def accept(self, count: int = 1, in_flight: int = 1, *, apart: float = 0.0) -> None:
        for _ in range(count):
            self.now += apart
            self.learned.accepted(self.send(in_flight))

    def refuse(self, sending: Sending | None = None, message: str = "No", **headers: str) -> None:
        self.learned.refused(sending or self.send(), error(message, **headers))


def error(message: str, kind: str = "rate_limit_reached_error", **headers: str) -> RateLimitError:
    body = json.dumps({"error": {"type": kind, "message": message}}).encode()
    made: Any = status_error(Request("POST", "http://moonshot.test/"), Response(429, headers), body)
    return made  # type: ignore[no-any-return]  # a 429 is one


@pytest.fixture
def world() -> World:
    return World()


def test_numbers_that_are_named_follow_the_service(world: World) -> None:
    world.refuse(message="max RPM: 3")
    assert world.limits == Limits(rpm=3)
    world.refuse(message="organization max RPM: 200, please try again after 2 seconds")
    assert world.limits == Limits(rpm=200)
    assert world.pause == 2


@pytest.mark.parametrize("message", ["max RPM: 0", "max RPM", "RPM is 5 now"])
def test_words_without_a_number_name_the_axis(world: World, message: str) -> None:
    world.accept(20)

    world.refuse(message=message)

    assert world.limits == Limits(rpm=19)


def test_a_concurrency_without_a_number_is_guessed(world: World) -> None:
    world.accept(100)

    world.refuse(world.send(11), "max concurrency reached")

    assert world.limits == Limits(concurrency=7)


def test_of_a_day_without_a_number_nothing_is_guessed(world: World) -> None:
    world.accept(100)

    world.refuse(message="TPD limit reached", **{"Retry-After": "9"})

    assert (world.limits, world.pause) == (Limits(), 0)


def test_a_limit_that_is_named_replaces_what_was_guessed(world: World) -> None:
    world.accept(20)
    world.refuse()
    world.refuse(world.send(11))
    assert world.limits == Limits(concurrency=7, rpm=19)

    world.refuse(message="max concurrency: 40")
    world.refuse(message="TPM rate limit, current: 7000, limit: 6000")

    assert world.limits == Limits(concurrency=40, tpm=6000)


def test_a_burst_that_is_refused_lowers_once(world: World) -> None:
    burst = [world.send(level) for level in range(1, 41)]
    for sending in burst[:20]:
        world.learned.accepted(sending)

    for sending in burst[20:]:
        world.refuse(sending)

    assert world.limits == Limits(concurrency=int(20 * 0.7))


def test_until_one_is_served_requests_are_sent_one_by_one(world: World) -> None:
    world.accept(20, in_flight=20)
    world.refuse(world.send(21))
    assert world.pause == 0
    trial = world.send(5)
    assert world.pause == 1
    world.now += 0.2

    assert world.learned.accepted(trial)

    assert world.pause == 0
    world.send(5)
    assert world.pause == 0


def test_what_was_sent_before_the_refusal_is_no_trial(world: World) -> None:
    early = world.send(20)
    world.refuse(world.send(21))
    world.send(5)

    assert not world.learned.accepted(early)
    assert world.pause == 1


def test_what_is_refused_alone_is_refused_for_its_rate(world: World) -> None:
    world.accept(100, in_flight=50)
    world.refuse(world.send(21))
    world.refuse(world.send(8))
    assert world.limits == Limits(concurrency=4)

    world.refuse(world.send(1))

    # The number at once is acquitted.
    assert world.limits == Limits(rpm=95)
    world.now += 120
    late = world.send(1)
    world.now += 120
    world.refuse(world.send(1))
    world.refuse(late)
    assert world.limits == Limits(rpm=95), "of a minute in which nothing was taken nothing is learned"


def test_where_nothing_was_taken_no_rate_is_guessed_but_one_is_sent_at_a_time(world: World) -> None:
    world.refuse()

    assert world.limits == Limits()
    world.send()
    assert world.pause == 1


def test_all_refusals_of_a_burst_tell_the_rate(world: World) -> None:
    burst = [world.send(1) for _ in range(60)]

    for sending in burst[40:]:
        world.refuse(sending)

    assert world.limits == Limits(rpm=38)


def test_the_rate_rises_slowly_and_faster_where_it_was_never_refused(world: World) -> None:
    world.accept(100)
    world.refuse()
    assert world.limits == Limits(rpm=95)

    seen = []
    for _ in range(6):
        for _ in range(4):
            world.accept(world.limits.rpm or 0, apart=0.001)
            world.now += 60.0
        seen.append(world.limits.rpm)

    assert seen == sorted(seen)
    steps = [later - earlier for earlier, later in itertools.pairwise(seen) if later and earlier]
    assert steps[0] <= 4
    assert steps[-1] > 50


def test_a_rate_that_is_not_made_use_of_does_not_rise(world: World) -> None:
    world.accept(100)
    world.refuse()

    world.accept(1000, apart=5.0)

    assert world.limits == Limits(rpm=95)


def test_a_refusal_right_after_the_rate_rose_is_one_for_the_rate(world: World) -> None:
    world.accept(100, in_flight=20)
    world.refuse(world.send(1))
    while world.limits.rpm == 95:
        world.now += 31.0
        world.accept(48, in_flight=20)
    assert world.limits.rpm == 96

    world.refuse(world.send(20))

    assert world.limits.concurrency is None
    assert (world.limits.rpm or 0) < 96
    # Where it did not rise since, it is another reason.
    world.refuse(world.send(20))
    assert world.limits.concurrency == 13


def test_the_concurrency_rises_by_one_with_each_round_and_seldom_to_what_was_refused(world: World) -> None:
    world.refuse(world.send(11))
    assert world.limits.concurrency == 7
    world.accept(7, in_flight=7)
    assert world.limits.concurrency == 8
    world.accept(8, in_flight=3)
    assert world.limits.concurrency == 8, "what was not made use of says nothing"
    world.accept(8 + 9, in_flight=8)
    assert world.limits.concurrency == 10
    world.accept(299, in_flight=10)
    assert world.limits.concurrency == 10
    world.accept(1, in_flight=10)
    assert world.limits.concurrency == 11

    # Refused again at that number, it is known for what it is, though the rate may have risen.
    world.refuse(world.send(11))
    assert world.limits.concurrency == 7


def test_beyond_what_was_refused_the_concurrency_rises_fast(world: World) -> None:
    world.refuse(world.send(5))
    while (world.limits.concurrency or 0) < 5:
        world.accept(1, in_flight=4)
    world.accept(2000, in_flight=200)

    assert (world.limits.concurrency or 0) > 100


def test_an_overload_has_no_edge(world: World) -> None:
    overloaded = error("The engine is overloaded", "engine_overloaded_error")
    assert isinstance(overloaded, EngineOverloadedError)
    world.learned.refused(world.send(21), overloaded)
    assert world.limits == Limits(concurrency=14)

    world.accept(14 + 17 + 21, in_flight=14)

    assert (world.limits.concurrency or 0) == 26


def test_nothing_goes_above_what_was_told() -> None:
    world = World(concurrency=3, rpm=96, tpm=5, tpd=6)
    world.refuse(world.send(3))
    assert world.limits.concurrency == 1
    world.accept(1000, in_flight=3)
    world.refuse(message="max RPM: 1000")

    assert world.limits == Limits(3, 96, 5, 6)
