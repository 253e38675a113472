"""Many things at once, but not too many."""

import asyncio

import pytest

from moonshot_async.toolkit.many import each

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_results_are_in_the_order_of_the_things() -> None:
    async def late(number: int) -> int:
        for _ in range(number):
            await asyncio.sleep(0)
        return number

    assert await each(late, [5, 0, 3], parallel=2) == [5, 0, 3]


async def test_what_fails_ends_the_others_and_is_raised_as_it_is() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(0 if number == 1 else 60)
            raise KeyError(number)
        finally:
            ended.append(number)

    with pytest.raises(KeyError, match="1"):
        await each(work, range(9), parallel=3)
    assert sorted(ended) == [0, 1, 2]


async def test_what_was_cancelled_by_others_is_not_left_out() -> None:
    async def work(number: int) -> int:
        if number == 1:
            raise asyncio.CancelledError
        return number

    with pytest.raises(asyncio.CancelledError):
        await each(work, range(3), parallel=3)
