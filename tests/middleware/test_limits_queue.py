"""The queue: whose turn it is, and what those who leave it leave behind; over loops and threads."""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moonshot_async.middleware.limit_queue import Queue, Timer


class Timers:
    """Timers that fire when the test says so, and the time that they go by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.set: dict[object, tuple[float, Callable[[], None]]] = {}

    def __call__(self, seconds: float, callback: Callable[[], None]) -> Timer:
        handle = _Handle(self.set)
        self.set[handle] = (self.now + seconds, callback)
        return handle

    async def go_on(self, seconds: float) -> None:
        self.now += seconds
        for handle, (due, callback) in list(self.set.items()):
            if due <= self.now:
                del self.set[handle]
                callback()
        await settle()


class _Handle:
    def __init__(self, timers: dict[object, Any]) -> None:
        self._timers = timers

    def cancel(self) -> None:
        self._timers.pop(self, None)


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def queue(timers: Timers) -> Queue:
    return Queue(lambda: timers.now, timers)


class Gate:
    """Lets so many in; says how long to wait otherwise."""

    def __init__(self, places: int = 0, wait: float = math.inf) -> None:
        self.places = places
        self.wait = wait
        self.asked: list[Any] = []
        self.let_in: list[Any] = []

    def ask(self, name: Any) -> Callable[[], Awaitable[Any]]:
        async def attempt() -> Any:
            self.asked.append(name)
            if self.places <= 0:
                return self.wait
            self.places -= 1
            self.let_in.append(name)
            return name

        return attempt


async def test_who_came_first_goes_first_and_higher_priorities_before(queue: Queue) -> None:
    gate = Gate()
    waiting = [
        asyncio.create_task(queue.wait(gate.ask((priority, number)), priority=priority))
        for number, priority in enumerate([0, 5, 0, -1, 5, 10**30, 0, -1])
    ]
    await settle()
    assert len(queue) == 8

    gate.places = 8
    queue.nudge()
    await asyncio.gather(*waiting)

    assert gate.let_in == sorted(gate.let_in, key=lambda name: (-name[0], name[1]))
    assert (len(queue), bool(queue)) == (0, False)


async def test_only_the_head_asks(queue: Queue, timers: Timers) -> None:
    gate = Gate(wait=5.0)
    waiting = [asyncio.create_task(queue.wait(gate.ask(number))) for number in range(100)]
    await settle()
    assert gate.asked == [0]
    assert len(timers.set) == 1

    await timers.go_on(4.9)
    assert gate.asked == [0]
    await timers.go_on(0.2)
    assert gate.asked == [0, 0]
    for task in waiting:
        task.cancel()
    await settle()
    assert timers.set == {}


async def test_one_of_higher_priority_becomes_the_head_at_once(queue: Queue, timers: Timers) -> None:
    gate = Gate(wait=5.0)
    first = asyncio.create_task(queue.wait(gate.ask("first")))
    await settle()
    second = asyncio.create_task(queue.wait(gate.ask("second"), priority=1))
    await settle()
    assert gate.asked == ["first", "second"]

    gate.places = 1
    await timers.go_on(5.1)

    assert (second.done(), first.done()) == (True, False)
    gate.places = 1
    await timers.go_on(5.1)
    assert first.done()


async def test_time_that_is_over_ends_the_wait_wherever_one_stands(queue: Queue, timers: Timers) -> None:
    gate = Gate()
    waiting = [asyncio.create_task(queue.wait(gate.ask(n), seconds=float(10 - n))) for n in range(5)]
    late = asyncio.create_task(queue.wait(gate.ask("late"), seconds=-1.0))
    await settle()

    await timers.go_on(0)
    assert await late is None
    await timers.go_on(6.5)
    assert [task.done() for task in waiting] == [False, False, False, False, True]
    await timers.go_on(3.6)
    assert [await task for task in waiting] == [None] * 5
    assert (len(queue), timers.set) == (0, {})


async def test_ten_thousand_who_cancel_leave_nothing(queue: Queue, timers: Timers, no_leaks: None) -> None:
    gate = Gate(wait=60.0)
    head = asyncio.create_task(queue.wait(gate.ask("head"), seconds=1e6))
    waiting = [asyncio.create_task(queue.wait(gate.ask(n), priority=n % 7 - 9, seconds=1e6)) for n in range(10_000)]
    await settle()
    lane = next(iter(queue._lanes.values()))
    assert (len(queue), len(timers.set)) == (10_001, 10_002)

    started = time.process_time()
    for task in waiting:
        task.cancel()
    await settle()
    assert time.process_time() - started < 2, "each leaves in constant time"
    assert len(queue) == 1
    assert len(lane._heap) < 30
    assert len(timers.set) == 2

    head.cancel()
    await settle()
    assert (len(queue), timers.set, lane._heap, queue._lanes) == (0, {}, [], {})


async def test_when_heads_are_cancelled_in_turn_the_next_one_asks(queue: Queue) -> None:
    gate = Gate()
    waiting = [asyncio.create_task(queue.wait(gate.ask(n))) for n in range(1000)]
    await settle()
    for task in waiting[:999]:
        task.cancel()
        await asyncio.sleep(0)
    gate.places = 1
    queue.nudge()

    assert await waiting[999] == 999


@pytest.mark.parametrize("turns", range(12))
async def test_whenever_the_head_is_cancelled_its_turn_passes_on(queue: Queue, turns: int) -> None:
    gate = Gate()
    first, second, third = (asyncio.create_task(queue.wait(gate.ask(n))) for n in range(3))
    await settle()
    gate.places = 1
    queue.nudge()
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    await settle()

    # It was let in before it could be cancelled, or the next one was.
    assert gate.let_in == [0 if first.done() and not first.cancelled() else 1]
    gate.places = 2
    queue.nudge()
    await settle()
    assert second.done()
    assert third.done()
    assert not queue


async def test_a_nudge_while_the_head_asks_is_not_lost(queue: Queue) -> None:
    answered = asyncio.Event()
    asked = 0

    async def slow() -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            return "in"
        await answered.wait()
        return math.inf

    waiting = asyncio.create_task(queue.wait(slow))
    await settle()
    queue.nudge()
    await settle()
    answered.set()

    assert await asyncio.wait_for(waiting, 5) == "in"


async def test_what_an_attempt_raises_ends_the_wait_and_the_next_one_asks(queue: Queue) -> None:
    async def fail() -> Any:
        raise RuntimeError("the store is gone")

    gate = Gate(places=1)
    first, second = asyncio.create_task(queue.wait(fail)), asyncio.create_task(queue.wait(gate.ask("second")))

    with pytest.raises(RuntimeError, match="the store is gone"):
        await first
    assert await second == "second"


def loop_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


def in_thread(main: Callable[[], Any], results: list[Any]) -> threading.Thread:
    def run() -> None:
        results.append(asyncio.run(main()))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_loops_in_several_threads_share_one_queue() -> None:
    queue = Queue(time.monotonic, loop_later)
    lock = threading.Lock()
    inside, most, let_in = 0, 0, 0

    async def attempt() -> Any:
        nonlocal inside, most, let_in
        with lock:
            if inside >= 3:
                return math.inf
            inside += 1
            let_in += 1
            most = max(most, inside)
        return "in"

    async def use() -> None:
        nonlocal inside
        await queue.wait(attempt)
        await asyncio.sleep(0)
        with lock:
            inside -= 1
        queue.nudge()

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*(use() for _ in range(300))), 20)

    results: list[Any] = []
    for thread in [in_thread(main, results) for _ in range(4)]:
        thread.join()

    assert results == [None] * 4
    assert (let_in, most, inside) == (1200, 3, 0)
    assert not queue


async def test_loops_go_by_arrival_too(queue: Queue) -> None:
    gate = Gate()
    first_is_in = threading.Event()

    async def elsewhere() -> Any:
        waiting = asyncio.create_task(queue.wait(gate.ask("elsewhere")))
        await settle()
        first_is_in.set()
        return await asyncio.wait_for(waiting, 10)

    results: list[Any] = []
    thread = in_thread(elsewhere, results)
    await asyncio.to_thread(first_is_in.wait)
    here = asyncio.create_task(queue.wait(gate.ask("here")))
    await settle()
    assert gate.asked[:1] == ["elsewhere"]
    assert "here" not in gate.asked

    gate.places = 2
    queue.nudge()
    assert await asyncio.wait_for(here, 10) == "here"
    await asyncio.to_thread(thread.join)
    assert gate.let_in == ["elsewhere", "here"]


async def test_a_thread_without_a_loop_may_nudge(queue: Queue) -> None:
    gate = Gate()
    waiting = asyncio.create_task(queue.wait(gate.ask("in")))
    await settle()
    gate.places = 1

    await asyncio.to_thread(queue.nudge)

    assert await asyncio.wait_for(waiting, 10) == "in"


async def test_a_loop_that_is_blocked_is_passed_after_a_moment() -> None:
    queue = Queue(time.monotonic, loop_later)
    gate = Gate()
    waits, unblock = threading.Event(), threading.Event()

    async def blocked() -> Any:
        waiting = asyncio.create_task(queue.wait(gate.ask("blocked")))
        await settle()
        waits.set()
        await asyncio.sleep(0)
        # What this test is about: nothing runs in this loop.
        unblock.wait()
        return await asyncio.wait_for(waiting, 10)

    results: list[Any] = []
    thread = in_thread(blocked, results)
    await asyncio.to_thread(waits.wait)
    here = asyncio.create_task(queue.wait(gate.ask("here")))
    await settle()

    gate.places = 2
    queue.nudge()
    started = time.monotonic()
    assert await asyncio.wait_for(here, 10) == "here"
    assert time.monotonic() - started < 2
    unblock.set()
    await asyncio.to_thread(thread.join)
    assert results == ["blocked"]


async def test_the_waiters_of_a_loop_that_was_closed_are_forgotten(queue: Queue) -> None:
    gate = Gate()
    loop = asyncio.new_event_loop()

    def run() -> Any:
        task = loop.create_task(queue.wait(gate.ask("gone")))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        return task

    gone = await asyncio.to_thread(run)
    assert len(queue) == 1
    queue.nudge()
    assert not queue

    gate.places = 1
    assert await queue.wait(gate.ask("here")) == "here"
    # What is left of it is cleared away without harm.
    gone._log_destroy_pending = False
    gone.get_coro().close()
    del gone
    assert not queue
