"""Streams: what one chunk costs, where chunks come in bursts and where they come one by one."""

import asyncio
from functools import partial

from benchmarks.answers import ASK, burst, check_text, paced
from benchmarks.meters import Meter
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size, repeat
from benchmarks.scenarios.opening import OpenStreams

CPU_A_CHUNK = Figure("cpu_us", "CPU µs a chunk")
CHUNKS_A_SECOND = Figure("chunks_per_s", "chunks a second")
# All streams together: what the slowest client can just keep up with.
PACED_CHUNKS_PER_S = 1000


def scenarios(size: Size) -> list[Scenario]:
    """Streams in bursts and paced, 1 to 1,000 at once."""
    shapes = ((1, 1, 1000), (100, 10, 1000), (1000, 20, 200))
    bursts = [_burst(size.count(streams, least), size.count(chunks, 20)) for streams, least, chunks in shapes]
    return [*bursts, *(paced_scenario(size.count(*streams)) for streams in ((1, 1), (100, 10), (1000, 20)))]


def _burst(streams: int, chunks: int) -> Scenario:
    title = f"Streams in bursts, {streams} at once, {chunks} chunks each, opening them included"
    measure = partial(bursts, streams=streams, chunks=chunks)
    figures, script = (CPU_A_CHUNK, CHUNKS_A_SECOND), burst(chunks)
    return Scenario(f"burst-{streams}", title, figures, measure, script, "stream", curve="burst", at=streams)


async def bursts(run: Run, streams: int, chunks: int) -> Figures:
    """Read whole streams for a while."""
    async with run.client() as client:

        async def read() -> None:
            parts: list[str] = []
            await client.stream(ASK, parts.append)
            check_text(parts, chunks)

        await repeat(read, min(streams, 100), 0)
        with Meter(run.server_pid) as meter:
            done = await repeat(read, streams, run.size.seconds) * chunks
    return meter.figures(done) | {"chunks_per_s": done / meter.wall_s}


def paced_scenario(streams: int) -> Scenario:
    """So many paced streams at once."""
    every_us = max(10_000, streams * 1_000_000 // PACED_CHUNKS_PER_S)
    title = f"Paced streams, {streams} at once, a chunk every {every_us // 1000} ms each"
    measure = partial(pacing, streams=streams)
    # More than any client gets to see: the streams are left when the time is over.
    script = paced(20_000_000 // every_us * 5 + 10, every_us)
    return Scenario(f"paced-{streams}", title, (CPU_A_CHUNK,), measure, script, "stream", curve="paced", at=streams)


async def pacing(run: Run, streams: int) -> Figures:
    """Open the streams; once each has begun, count what comes in a while, and leave them."""
    async with run.client() as client:
        opened = OpenStreams(client)
        await opened.open(streams)
        before = sum(map(len, opened.texts))
        with Meter(run.server_pid) as meter:
            await asyncio.sleep(run.size.seconds * 2)
        done = sum(map(len, opened.texts)) - before
        await opened.close()
    for parts in opened.texts:
        check_text(parts)
    return meter.figures(max(done, 1))
