"""Many things at once, but not too many."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from moonshot_async.errors import ConfigurationError

T = TypeVar("T")
R = TypeVar("R")


async def each(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, parallel: int) -> list[R]:
    """Do the same with each of many things, at most `parallel` at a time; the results in the order of the things.

    Raises:
        whatever `work` raises, the first of it; the others are cancelled and waited for.
    """
    left = list(enumerate(items))
    results: dict[int, R] = {}
    total = len(left)
    left.reverse()

    async def worker() -> None:
        while left:
            place, item = left.pop()
            results[place] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(parallel, total)):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        error = errors.exceptions[0]
    else:
        if len(results) < total:
            # One was cancelled, and not by us.
            raise asyncio.CancelledError
        return [results[place] for place in range(total)]
    try:
        raise error
    finally:
        del error


def check_parallel(parallel: int) -> int:
    """How many things may be done at a time.

    Raises:
        ConfigurationError: it is no number, or less than 1.
    """
    if isinstance(parallel, bool) or not isinstance(parallel, int) or parallel < 1:
        raise ConfigurationError(f"parallel must be a number of 1 or more, not {parallel!r}")
    return parallel
