"""How long the first text of a stream takes from the server's send to the user's hands, with other streams going on."""

import asyncio
import statistics
import time
from functools import partial
from typing import Any

from benchmarks.answers import ASK, check_text, clocked
from benchmarks.meters import Meter
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size

CHUNKS, EVERY_US = 8, 100_000
# Streams that each of them reads before it counts.
NOT_COUNTED = 2


def scenarios(size: Size) -> list[Scenario]:
    """200 streams at once, each followed by the next; they begin one after the other."""
    streams = size.count(200, 20)
    figures = (Figure("p99_ms", "p99 ms"), Figure("p50_ms", "p50 ms"))
    every_us = int(EVERY_US * min(1, size.seconds))
    title = f"First text, {streams} paced streams, a chunk every {every_us // 1000} ms each"
    measure = partial(first_texts, streams=streams, every_us=every_us)
    return [Scenario(f"first-token-{streams}", title, figures, measure, clocked(CHUNKS, every_us), "stream")]


async def first_texts(run: Run, streams: int, every_us: int) -> Figures:
    """Read streams for a while, and take the time of each first text."""
    late: list[float] = []
    stream_s = CHUNKS * every_us / 1e6
    # Streams of many users do not begin together: each follows the one before it, and all are under way by then.
    counted_from = time.perf_counter() + NOT_COUNTED * stream_s
    until = counted_from + run.size.seconds * 3

    async def read(client: Any) -> None:
        parts: list[str] = []

        def take(text: str) -> None:
            if not parts and began >= counted_from:
                late.append((time.monotonic_ns() - int(text)) / 1e6)
            parts.append(text)

        began = time.perf_counter()
        await client.stream(ASK, take)
        check_text(parts[1:], CHUNKS)

    async def follow(client: Any, number: int) -> None:
        await asyncio.sleep(stream_s * number / streams)
        done = 0
        while done <= NOT_COUNTED or time.perf_counter() < until:
            await read(client)
            done += 1

    async with run.client() as client:
        with Meter(run.server_pid) as meter:
            async with asyncio.TaskGroup() as group:
                for number in range(streams):
                    group.create_task(follow(client, number))
    cuts = statistics.quantiles(late, n=100, method="inclusive")
    return {"p99_ms": cuts[98], "p50_ms": cuts[49], "server_share": meter.server_share}
