import time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.bodies import PacedBody


async def no_sleep(seconds: float) -> None:
    await checkpoint()


async def test_a_body_that_ended_stays_at_its_end() -> None:
    body = PacedBody(iter([b"a"]), lambda: 0.0, no_sleep)

    assert [await body.read() for _ in range(3)] == [b"a", b"", b""]


async def test_a_body_that_broke_stays_broken(fake: FakeMoonshot, send: Any) -> None:
    fake.cut_stream(1)
    response = await send(stream=True)
    await response.body.read()

    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await response.body.read()
    response.close()
    assert await response.body.read() == b""


async def test_a_closed_body_gives_nothing_more(send: Any) -> None:
    response = await send(stream=True)

    response.close()
    response.close()

    assert await response.body.read() == b""


async def test_a_pause_ends_at_the_deadline_and_loses_no_chunk(send: Any) -> None:
    fake = FakeMoonshot(chunk_latency=3600.0)
    response = await send(stream=True, to=fake)

    with pytest.raises(TimeoutError):
        await response.body.read(time.monotonic())
    fake.chunk_latency = 0.0

    assert b'"role":"assistant"' in await response.body.read(time.monotonic() + 60)


async def test_a_pause_within_the_deadline_is_slept() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    body = PacedBody(iter([b"a", b"b"]), lambda: 0.25, sleep)

    assert await body.read(time.monotonic() + 60) == b"a"
    assert await body.read() == b"b"
    assert slept == [0.25, 0.25]


async def test_a_stalled_body_is_silent_until_the_reader_gives_up(fake: FakeMoonshot, send: Any) -> None:
    fake.stall(2)
    response = await send(stream=True)
    assert await response.body.read()
    assert await response.body.read()

    for _ in range(2):
        with pytest.raises(TimeoutError):
            await response.body.read(time.monotonic())
    with anyio.move_on_after(0) as scope:
        await response.body.read()

    assert scope.cancelled_caught
    assert (await (await send(stream=True)).read()).endswith(b"[DONE]\n\n")


async def test_closing_wakes_the_reader_of_a_stalled_body(fake: FakeMoonshot, send: Any) -> None:
    fake.stall(0)
    response = await send(stream=True)
    got: list[bytes] = []

    async def read() -> None:
        got.append(await response.body.read())

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await checkpoint()
        response.close()

    assert got == [b""]
