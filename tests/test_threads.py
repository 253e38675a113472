"""Work in threads that nobody waits for."""

import asyncio
import gc
import threading
import time
import weakref
from contextvars import ContextVar

import pytest

from moonshot_async.threads import in_daemon_thread

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


async def test_a_function_is_called_elsewhere_with_its_arguments_and_the_context() -> None:
    def work(number: int) -> tuple[int, str, bool, bool]:
        thread = threading.current_thread()
        return number, NAME.get(), thread is threading.main_thread(), thread.daemon

    token = NAME.set("me")
    try:
        assert await in_daemon_thread(work, 3) == (3, "me", False, True)
    finally:
        NAME.reset(token)


async def test_what_it_raises_is_raised_and_not_kept() -> None:
    class FaultError(Exception):
        pass

    threads: list[threading.Thread] = []

    def fail() -> None:
        threads.append(threading.current_thread())
        raise FaultError

    gc.disable()
    try:
        try:
            await in_daemon_thread(fail)
        except FaultError as error:
            left = weakref.ref(error)
        threads[0].join(5)
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()


async def test_an_iterator_that_ends_in_it_ends_nothing_else() -> None:
    with pytest.raises(RuntimeError, match="StopIteration was raised"):
        await in_daemon_thread(next, iter(()))


@pytest.mark.parametrize("fails", [False, True])
async def test_a_task_that_is_cancelled_does_not_wait_for_it(fails: bool) -> None:
    loop, begun, over = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        over.wait(5)
        if fails:
            raise KeyError("nobody hears of it")

    task = asyncio.create_task(in_daemon_thread(work))
    await begun.wait()
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 1
    over.set()
    threads[0].join(5)
    # What it tells the loop now is heard by nobody.
    await asyncio.sleep(0)


def test_the_end_of_the_event_loop_does_not_wait_for_it_and_is_not_troubled_by_it() -> None:
    over = threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        over.wait(5)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await in_daemon_thread(work)

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 1
    over.set()
    threads[0].join(5)
    assert not threads[0].is_alive()
