"""One timer for many deadlines: none is missed, none comes early, and none costs a timer of its own."""

import asyncio
import time

import pytest

from moonshot_async.transports.watch import Wait, Watch


class Waiting:
    """A wait that takes note of what it is told."""

    def __init__(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.ended = asyncio.Event()
        self.at: float | None = None
        self.failed = False

    def expire(self) -> None:
        self.at = time.monotonic()
        self.ended.set()

    def fail(self) -> None:
        self.failed = True


WAITING_FITS: type[Wait] = Waiting


@pytest.fixture
async def watch() -> Watch:
    return Watch(asyncio.get_running_loop())


async def expired(wait: Waiting, watch: Watch) -> float:
    await asyncio.wait_for(wait.ended.wait(), 2)
    assert wait.at is not None
    assert wait.deadline is not None
    return wait.at - wait.deadline


async def test_waits_expire_at_their_deadlines_in_whatever_order_they_came(watch: Watch) -> None:
    waits = [Waiting(seconds) for seconds in (0.06, 0.02, None, 0.04, 0.02, -1.0)]
    for wait in waits:
        watch.add(wait)
    late = [await expired(wait, watch) for wait in waits if wait.deadline is not None]
    assert all(0.0 <= seconds < 0.1 for seconds in late[:-1])
    assert waits[2].at is None
    watch.close()


async def test_a_wait_that_was_removed_is_left_alone(watch: Watch) -> None:
    gone, there = Waiting(0.01), Waiting(0.03)
    watch.add(gone)
    watch.add(there)
    watch.remove(gone)
    watch.remove(gone)
    await expired(there, watch)
    assert gone.at is None


async def test_a_deadline_may_move_forward_and_back(watch: Watch) -> None:
    forward, back, off = Waiting(0.01), Waiting(5.0), Waiting(0.01)
    for wait in (forward, back, off):
        watch.add(wait)
    forward.deadline = time.monotonic() + 0.05
    back.deadline = time.monotonic() + 0.02
    off.deadline = None
    for wait in (forward, back, off):
        watch.moved(wait)
    assert await expired(back, watch) >= 0.0
    assert await expired(forward, watch) >= 0.0
    assert off.at is None
    watch.close()


async def test_closing_fails_every_wait_once_and_stops_the_clock(watch: Watch) -> None:
    waits = [Waiting(0.01), Waiting(None)]
    for wait in waits:
        watch.add(wait)
    watch.close()
    watch.close()
    assert watch.closed
    await asyncio.sleep(0.03)
    assert [(wait.failed, wait.at) for wait in waits] == [(True, None)] * 2


async def test_many_deadlines_at_once_are_one_timer(watch: Watch) -> None:
    loop, timers = asyncio.get_running_loop(), 0
    original = loop.call_later

    class Counting:
        def call_later(self, delay: float, callback: object, *args: object) -> asyncio.TimerHandle:
            nonlocal timers
            timers += 1
            return original(delay, callback, *args)  # type: ignore[arg-type]  # passed on

    watch.loop = Counting()  # type: ignore[assignment]  # all that is used of it
    waits = [Waiting(0.02 + number / 1_000_000) for number in range(1000)]
    for wait in waits:
        watch.add(wait)
    for wait in waits:
        await expired(wait, watch)
    assert timers <= 5
