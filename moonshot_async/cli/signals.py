"""SIGTERM, and a terminal that is closed, end a command as Ctrl-C does: what it holds is let go of first."""

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

# What shells say of a program that a signal ended.
TERMINATED: Final = 128 + signal.SIGTERM
HUNG_UP: Final = 129
# There is no SIGHUP on Windows.
_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def signals_end() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the program as exceptions do, outside event loops too; an ignored one stays so."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, _end)
    except ValueError:
        # Not the main thread.
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def until_terminated(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or to a SIGTERM or SIGHUP.

    Raises:
        SystemExit: it came, and the work was cancelled.
    """
    import asyncio

    task = asyncio.current_task()
    assert task is not None, "asyncio.run makes one"
    codes: list[int] = []

    def terminate(code: int) -> None:
        codes.append(code)
        task.cancel()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        handled = _handle(loop, terminate)
    except (NotImplementedError, RuntimeError, ValueError):
        # Windows, or a thread that is not the main one: there the system's way of ending has to do.
        return await work
    try:
        return await work
    except asyncio.CancelledError:
        if codes:
            raise SystemExit(codes[0]) from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
            # The event loop leaves the default behind.
            signal.signal(number, before[number])


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _handle(loop: "asyncio.AbstractEventLoop", terminate: Callable[[int], None]) -> list[signal.Signals]:
    """Have the signals handled; gives which. SIGHUP is left to nohup, which has it ignored."""
    loop.add_signal_handler(signal.SIGTERM, terminate, TERMINATED)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return [signal.SIGTERM]
    loop.add_signal_handler(signal.SIGHUP, terminate, HUNG_UP)
    return [signal.SIGTERM, signal.SIGHUP]
