"""One call: its thread, its clock, and how it is cancelled."""

import asyncio
import copy
import gc
import pickle
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from moonshot_async.clocks import deadline, time_left
from moonshot_async.errors import APITimeoutError, MoonshotError, ToolCancelledError, ToolTimeoutError
from moonshot_async.toolkit.functions import tool

pytestmark = pytest.mark.usefixtures("no_leaks")

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


@tool
async def forever() -> str:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


# Threads.


async def test_a_function_that_may_block_runs_in_a_thread_with_the_context() -> None:
    @tool
    def where() -> list[Any]:
        thread = threading.current_thread()
        return [NAME.get(), thread is threading.main_thread(), thread.daemon, time_left() < 60]

    token = NAME.set("me")
    try:
        with deadline(60):
            assert await where.call("") == '["me",false,true,true]'
    finally:
        NAME.reset(token)


async def test_a_function_that_is_async_runs_in_the_task() -> None:
    tasks: list[object] = []

    @tool
    async def where() -> None:
        tasks.append(asyncio.current_task())

    await where.call("")
    assert tasks == [asyncio.current_task()]


async def test_the_loop_goes_on_while_a_function_blocks() -> None:
    loop, released = asyncio.get_running_loop(), threading.Event()

    @tool
    def block() -> bool:
        return released.wait(10)

    call = asyncio.ensure_future(block.call(""))
    loop.call_later(0.01, released.set)
    assert await call == "true"


async def test_what_a_function_gives_to_be_awaited_is_awaited_here() -> None:
    async def later(x: int) -> int:
        return x

    @tool
    def now(x: int) -> Coroutine[Any, Any, int]:
        return later(x)

    assert await now.call('{"x": 3}') == "3"


# The clock.


async def test_what_takes_too_long_is_cancelled() -> None:
    cleaned: list[str] = []

    @tool(timeout=0.01)
    async def slow() -> None:
        try:
            await forever()
        finally:
            cleaned.append("up")

    with pytest.raises(ToolTimeoutError, match=r"The tool slow did not end within 0\.01 s") as caught:
        await slow.call("")
    assert isinstance(caught.value, MoonshotError)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.tool, caught.value.seconds, cleaned) == ("slow", 0.01, ["up"])
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
    assert pickle.loads(pickle.dumps(caught.value)).seconds == 0.01
    assert copy.copy(caught.value).tool == "slow"


async def test_a_tool_may_take_as_long_as_it_likes() -> None:
    endless = tool(forever, timeout=float("inf"))

    assert endless.timeout == float("inf")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(endless.call(""), 0.01)


async def test_a_thread_that_takes_too_long_is_left_alone() -> None:
    released, ended = threading.Event(), threading.Event()

    @tool(timeout=0.01)
    def slow() -> None:
        released.wait(10)
        ended.set()

    with pytest.raises(ToolTimeoutError):
        await slow.call("")
    assert not ended.is_set()
    released.set()
    assert ended.wait(10)


async def test_a_timeout_of_the_function_is_not_that_of_the_tool() -> None:
    @tool(timeout=10)
    async def own() -> None:
        async with asyncio.timeout(0):
            await forever()

    @tool(timeout=10)
    def threaded() -> None:
        raise TimeoutError("mine")

    for one in (own, threaded):
        with pytest.raises(TimeoutError) as caught:
            await one.call("")
        assert type(caught.value) is TimeoutError


async def test_a_function_that_will_not_be_cancelled_is_cancelled_again() -> None:
    turns: list[int] = []

    @tool(timeout=0.01)
    async def stubborn() -> None:
        for turn in range(3):
            try:
                await forever()
            except asyncio.CancelledError:
                turns.append(turn)

    @tool(timeout=0.01)
    async def answers() -> str:
        try:
            return await forever()
        except asyncio.CancelledError:
            return "half of it"

    assert await stubborn.call("") == "Done. The function returned no value (null)."
    assert turns == [0, 1, 2]
    assert await answers.call("") == "half of it"


async def test_a_deadline_around_a_call_bounds_it() -> None:
    for one in (tool(forever, timeout=10), forever):
        with deadline(0.01), pytest.raises(APITimeoutError, match="while the tool forever was at work") as caught:
            await one.call("")
        assert caught.value.clock == "deadline"
    with deadline(10), pytest.raises(ToolTimeoutError):
        await tool(forever, timeout=0.01).call("")


async def test_nothing_is_called_after_the_deadline() -> None:
    called: list[int] = []

    @tool
    def act() -> None:
        called.append(1)

    with deadline(1e-9), pytest.raises(APITimeoutError):
        await act.call("")
    assert not called


# Cancellation.


@pytest.mark.parametrize("timeout", [None, 10])
async def test_whoever_cancels_the_call_cancels_the_function(timeout: float | None) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @tool(timeout=timeout)
    async def slow() -> None:
        begun.set()
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(slow.call(""))
    await begun.wait()
    task.cancel("by me")
    with pytest.raises(asyncio.CancelledError, match="by me"):
        await task
    assert cancelled.is_set()
    assert task.cancelled()


async def test_a_thread_is_not_waited_for_when_its_call_is_cancelled() -> None:
    loop, begun, released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    @tool
    def block() -> None:
        loop.call_soon_threadsafe(begun.set)
        released.wait(10)

    task = asyncio.create_task(block.call(""))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    released.set()


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("earlier", [-0.002, -0.0001, 0.0, 0.0001, 0.002])
async def test_the_clock_never_eats_a_cancellation_from_outside(earlier: float, threaded: bool) -> None:
    released = threading.Event()

    @tool
    def blocked() -> None:
        released.wait(10)

    loop = asyncio.get_running_loop()
    for turns in range(4):
        # A function that cleans up takes so many turns longer.
        @tool(timeout=0.005)
        async def slow(turns: int = turns) -> None:
            try:
                await (blocked.call("") if threaded else forever())
            finally:
                for _ in range(turns):
                    try:
                        await asyncio.sleep(0)
                    except asyncio.CancelledError:
                        pass

        task = asyncio.create_task(slow.call(""))
        heard: list[bool] = []
        told = asyncio.Event()

        def cancel(task: asyncio.Task[str] = task, heard: list[bool] = heard, told: asyncio.Event = told) -> None:
            heard.append(task.cancel())
            told.set()

        loop.call_later(0.005 - earlier, cancel)
        await asyncio.sleep(0)
        time.sleep(0.01)  # noqa: ASYNC251  # both are due in the same turn
        await asyncio.wait([task])
        await told.wait()
        if heard[0]:
            assert task.cancelled() or turns
        else:
            assert isinstance(task.exception(), ToolTimeoutError)
    released.set()


async def test_a_cancellation_that_waits_to_be_heard_is_heard() -> None:
    called: list[int] = []

    @tool
    async def act() -> None:
        called.append(1)

    async def call() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        await act.call("")

    task = asyncio.create_task(call())
    await asyncio.wait([task])
    assert task.cancelled()
    assert not called


async def test_a_call_in_a_task_that_was_cancelled_before_works() -> None:
    @tool
    async def act() -> str:
        await asyncio.sleep(0)
        return "cleaned up"

    async def cancelled() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            return await act.call("")
        raise AssertionError

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"


@pytest.mark.parametrize("timeout", [None, 10])
async def test_a_function_that_is_cancelled_from_within_is_not_the_call(timeout: float | None) -> None:
    inner = asyncio.get_running_loop().create_future()
    inner.cancel()

    @tool(timeout=timeout)
    async def waits() -> None:
        await inner

    @tool(timeout=timeout)
    def raises() -> None:
        raise asyncio.CancelledError

    for one in (waits, raises):
        with pytest.raises(ToolCancelledError, match=f"The tool {one.name} was cancelled from within") as caught:
            await one.call("")
        assert pickle.loads(pickle.dumps(caught.value)).tool == one.name


# Exceptions.


def raising(error: BaseException, *, threaded: bool) -> Any:
    def now() -> None:
        raise error

    async def later() -> None:
        raise error

    return tool(now if threaded else later)


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
async def test_what_a_function_raises_is_raised(error: BaseException, threaded: bool) -> None:
    with pytest.raises(type(error)) as caught:
        await raising(error, threaded=threaded).call("")
    assert caught.value is error


@pytest.mark.parametrize("threaded", [False, True])
async def test_an_iterator_that_ends_in_a_function_ends_nothing_else(threaded: bool) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await raising(StopIteration(), threaded=threaded).call("")


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_failure_shows_nothing_of_the_arguments_in_our_frames(threaded: bool) -> None:
    @tool
    def now(text: str) -> None:
        del text
        raise ValueError("mine")

    @tool
    async def later(text: str) -> None:
        del text
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        await (now if threaded else later).call('{"text": "hush"}', context="hush")
    trace = caught.value.__traceback__
    seen = []
    while trace is not None:
        if "moonshot_async" in trace.tb_frame.f_code.co_filename and "tests" not in trace.tb_frame.f_code.co_filename:
            seen.append(repr(trace.tb_frame.f_locals))
        trace = trace.tb_next
    assert seen
    assert "hush" not in "".join(seen)


async def test_a_failure_leaves_no_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        for one in (raising(ValueError(), threaded=False), tool(forever, timeout=0.00125)):
            with pytest.raises((ValueError, TimeoutError)):
                await one.call("")
        assert not [one for one in gc.get_objects() if isinstance(one, ToolTimeoutError) and one.seconds == 0.00125]
    finally:
        gc.enable()


async def test_many_calls_run_beside_each_other() -> None:
    barrier = threading.Barrier(20)

    @tool
    def meet(number: int) -> int:
        barrier.wait(10)
        return number

    calls: list[Callable[[], Any]] = [lambda n=n: meet.call(f'{{"number": {n}}}') for n in range(20)]
    assert await asyncio.gather(*(call() for call in calls)) == [str(n) for n in range(20)]
