"""Where a limiter counts: rolling windows, and the store in this process; for any order of whatever may happen."""

import random
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moonshot_async.errors import Limit
from moonshot_async.middleware.limit_store import (
    Counted,
    Limits,
    LimitStore,
    MemoryLimitStore,
    Need,
    Refusal,
    Reservation,
)
from moonshot_async.middleware.limit_windows import STEPS

DAY = 1440 * 60.0


def at_once(coming: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coming.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


def reserve(store: LimitStore, prompt: int = 10, most: int = 90, **limits: int | None) -> Reservation | Refusal:
    outcome: Reservation | Refusal = at_once(store.reserve(Need(prompt, most), Limits(**limits)))
    return outcome


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryLimitStore:
    return MemoryLimitStore(clock=clock)


def held(outcome: Reservation | Refusal) -> Reservation:
    assert isinstance(outcome, Reservation)
    return outcome


def test_a_slot_is_held_until_it_is_released(store: MemoryLimitStore) -> None:
    first = held(reserve(store, concurrency=2))
    second = held(reserve(store, concurrency=2))

    assert (first.in_flight, second.in_flight) == (1, 2)
    assert reserve(store, concurrency=2) == Refusal("concurrency", None)
    store.release(first)
    store.release(first)
    assert store.counted().in_flight == 1
    assert held(reserve(store, concurrency=2)).in_flight == 2


@pytest.mark.parametrize(
    ("limits", "refused"),
    [({"rpm": 1}, "rpm"), ({"tpm": 199}, "tpm"), ({"tpd": 19}, "tpd"), ({"rpm": 1, "tpm": 1, "tpd": 19}, "tpd")],
)
def test_what_counts_stays_for_its_time_and_a_little_longer(
    store: MemoryLimitStore, clock: Clock, limits: dict[str, int], refused: Limit
) -> None:
    store.release(held(reserve(store)))
    window = DAY if refused == "tpd" else 60.0

    refusal = reserve(store, **limits)
    assert isinstance(refusal, Refusal)
    assert refusal.limit == refused
    assert refusal.wait == pytest.approx(window + 0.9)
    clock.now += window + 0.8
    assert isinstance(reserve(store, **{refused: limits[refused]}), Refusal)
    clock.now += 0.2
    assert isinstance(reserve(store, **{refused: limits[refused]}), Reservation)


def test_what_alone_is_too_large_has_no_time(store: MemoryLimitStore) -> None:
    assert reserve(store, 10, 90, tpm=99) == Refusal("tpm", None)
    assert reserve(store, 10, 90, tpd=9) == Refusal("tpd", None)
    assert store.counted() == Counted()


def test_what_is_settled_counts_from_the_time_of_the_request(store: MemoryLimitStore, clock: Clock) -> None:
    first = held(reserve(store, 10, 90))
    clock.now += 30
    second = held(reserve(store, 20, 80))

    store.settle(first, tokens=150, day_tokens=70)
    assert store.counted() == Counted(in_flight=2, requests=2, tokens=250, day_tokens=90)
    store.settle(first, tokens=40, day_tokens=15)
    assert store.counted() == Counted(2, 2, 140, 35)
    clock.now += 31
    assert store.counted() == Counted(2, 1, 100, 35)
    store.settle(first, tokens=1000, day_tokens=20)
    store.settle(second, tokens=90, day_tokens=30)
    assert store.counted() == Counted(2, 1, 90, 50)
    clock.now += DAY
    store.settle(second, tokens=1000, day_tokens=1000)
    assert store.counted() == Counted(2, 0, 0, 0)


def test_memory_is_bounded_however_much_comes(store: MemoryLimitStore, clock: Clock) -> None:
    for _ in range(20_000):
        store.release(held(reserve(store)))
        clock.now += 0.05

    # Nobody has looked at the sums so far, and there are no limits.
    assert len(store._minute) <= 2 * STEPS + 1
    assert len(store._day) <= 2 * STEPS + 1
    assert store.counted().requests == pytest.approx(60.9 / 0.05, rel=0.01)


def test_of_what_came_at_about_one_time_nothing_leaves_early(store: MemoryLimitStore, clock: Clock) -> None:
    while len(store._minute) < STEPS:
        held(reserve(store))
        clock.now += 0.01
    held(reserve(store))
    clock.now += 0.2
    held(reserve(store))

    # Most are known one by one, the last three together.
    clock.now += 60.8
    assert store.counted().requests == 3
    clock.now += 0.2
    assert store.counted().requests == 0


def test_what_was_long_under_way_may_have_arrived_late(store: MemoryLimitStore, clock: Clock) -> None:
    def answered_after(seconds: float) -> None:
        reservation = held(reserve(store))
        clock.now += seconds
        store.answered(reservation)

    def stays() -> float:
        began = clock.now
        while store.counted().requests:
            clock.now += 0.01
        return clock.now - began

    # In the beginning nobody knows how long is usual; more than a little nobody waits for it.
    answered_after(0.05)
    assert stays() == pytest.approx(60.9 - 0.05, abs=0.02)
    answered_after(7)
    assert stays() == pytest.approx(60.9 - 7, abs=0.02)


def test_a_reservation_may_be_released_while_the_store_is_at_work(clock: Clock) -> None:
    class Interrupted(Clock):
        """A clock that is asked under the lock, where the garbage collector drops a body, and so releases."""

        def __call__(self) -> float:
            while waiting:
                store.release(waiting.pop())
            return self.now

    waiting: list[Reservation] = []
    store = MemoryLimitStore(clock=Interrupted())
    first = held(reserve(store))
    waiting.append(first)

    held(reserve(store))

    assert store._in_flight == 1, "taken in at once, not by the next one who asks"
    assert store.counted().in_flight == 1


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 50) | st.just(0.0), st.integers(1, 30), st.integers(0, 30)), min_size=1, max_size=60
    ),
    rpm=st.integers(1, 6),
    tpm=st.integers(60, 300),
)
def test_no_minute_ever_has_more_than_the_limits(steps: list[tuple[float, int, int]], rpm: int, tpm: int) -> None:
    clock = Clock()
    store = MemoryLimitStore(clock=clock)
    admitted: list[tuple[float, int]] = []
    for pause, prompt, most in steps:
        clock.now += pause
        outcome = reserve(store, prompt, most, rpm=rpm, tpm=tpm)
        # The time that is named suffices for the limit that is named; one may stand behind the other.
        for _ in range(2):
            if isinstance(outcome, Refusal):
                assert outcome.wait is not None
                clock.now += outcome.wait + 1e-9
                outcome = reserve(store, prompt, most, rpm=rpm, tpm=tpm)
        store.release(held(outcome))
        admitted.append((clock.now, prompt + most))

    for start, _ in admitted:
        # Whichever minute the service looks at, and though its clock runs a little apart from ours.
        minute = [tokens for when, tokens in admitted if start <= when < start + 60.8]
        assert len(minute) <= rpm
        assert sum(minute) <= tpm


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: the sums are those of what was admitted."""

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.store = MemoryLimitStore(clock=self.clock)
        self.open: list[Reservation] = []
        self.over: list[Reservation] = []
        # When it was admitted, and what it counts for the minute and for the day.
        self.counts: dict[int, tuple[float, int, int]] = {}
        self.kept: list[Reservation] = []

    @rule(
        prompt=st.integers(1, 50),
        most=st.integers(0, 50),
        concurrency=st.none() | st.integers(1, 4),
        rpm=st.none() | st.integers(1, 8),
        tpm=st.none() | st.integers(100, 400),
        tpd=st.none() | st.integers(100, 400),
    )
    def ask(self, prompt: int, most: int, concurrency: Any, rpm: Any, tpm: Any, tpd: Any) -> None:
        before = self.store.counted()
        outcome = reserve(self.store, prompt, most, concurrency=concurrency, rpm=rpm, tpm=tpm, tpd=tpd)
        after = self.store.counted()
        if isinstance(outcome, Refusal):
            assert after == before
            return
        assert after.in_flight == outcome.in_flight == before.in_flight + 1
        assert concurrency is None or after.in_flight <= concurrency
        assert rpm is None or after.requests <= rpm
        assert tpm is None or after.tokens <= tpm
        assert tpd is None or after.day_tokens <= tpd
        self.open.append(outcome)
        self.kept.append(outcome)
        self.counts[id(outcome)] = (self.clock.now, prompt + most, prompt)

    @precondition(lambda self: self.kept)
    @rule(place=st.integers(0, 99), tokens=st.integers(0, 200), day_tokens=st.integers(0, 200))
    def settle(self, place: int, tokens: int, day_tokens: int) -> None:
        chosen = self.kept[place % len(self.kept)]
        self.store.settle(chosen, tokens=tokens, day_tokens=day_tokens)
        self.counts[id(chosen)] = (self.counts[id(chosen)][0], tokens, day_tokens)

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 99))
    def release(self, place: int) -> None:
        chosen = self.open.pop(place % len(self.open))
        self.store.release(chosen)
        self.over.append(chosen)

    @precondition(lambda self: self.over)
    @rule(place=st.integers(0, 99))
    def release_again(self, place: int) -> None:
        self.store.release(self.over[place % len(self.over)])

    @rule(seconds=st.floats(0, 100) | st.floats(0, 2 * DAY))
    def go_on(self, seconds: float) -> None:
        self.clock.now += seconds

    def within(self, seconds: float) -> list[tuple[float, int, int]]:
        return [counted for counted in self.counts.values() if self.clock.now - counted[0] < seconds]

    @invariant()
    def sums_are_those_of_what_was_admitted(self) -> None:
        counted = self.store.counted()
        assert counted.in_flight == len(self.open)
        for least, most, field, amounts in (
            (60.0, 61.2, 1, counted.tokens),
            (DAY, DAY * (1 + 1 / STEPS) + 1, 2, counted.day_tokens),
        ):
            assert sum(c[field] for c in self.within(least)) <= amounts <= sum(c[field] for c in self.within(most))
        assert len(self.within(60.0)) <= counted.requests <= len(self.within(61.2))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            for reservation in self.open:
                self.store.release(reservation)
            self.clock.now += 2 * DAY
            assert self.store.counted() == Counted()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=40)


def test_threads_that_hammer_it_lose_and_invent_nothing() -> None:
    store = MemoryLimitStore()
    worst: list[int] = []
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def hammer(seed: int) -> None:
        try:
            die = random.Random(seed)
            mine: list[Reservation] = []
            start.wait()
            for _ in range(3000):
                outcome = reserve(store, 1, 1, concurrency=7)
                if isinstance(outcome, Reservation):
                    worst.append(outcome.in_flight)
                    mine.append(outcome)
                if mine and die.random() < 0.6:
                    chosen = mine.pop()
                    store.settle(chosen, tokens=5, day_tokens=2)
                    store.release(chosen)
            for left in mine:
                store.release(left)
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert max(worst) <= 7
    counted = store.counted()
    assert counted.in_flight == 0
    assert counted.requests == len(worst)
