"""How long the first text of a stream takes from the server's send to the user's hands, with other streams going on."""

import statistics
import time
from functools import partial

from benchmarks.answers import ASK, check_text, clocked
from benchmarks.meters import Meter
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size, repeat

CHUNKS, EVERY_US = 8, 100_000


def scenarios(size: Size) -> list[Scenario]:
    """200 streams at once, each followed by the next."""
    streams = size.count(200, 20)
    figures = (Figure("p99_ms", "p99 ms"), Figure("p50_ms", "p50 ms"))
    every_us = int(EVERY_US * min(1, size.seconds))
    title = f"First text, {streams} paced streams, a chunk every {every_us // 1000} ms each"
    measure = partial(first_texts, streams=streams)
    return [Scenario(f"first-token-{streams}", title, figures, measure, clocked(CHUNKS, every_us), "stream")]


async def first_texts(run: Run, streams: int) -> Figures:
    """Read streams for a while, and take the time of each first text."""
    late: list[float] = []
    async with run.client() as client:

        async def read() -> None:
            parts: list[str] = []

            def take(text: str) -> None:
                if not parts:
                    late.append((time.monotonic_ns() - int(text)) / 1e6)
                parts.append(text)

            await client.stream(ASK, take)
            check_text(parts[1:], CHUNKS)

        await repeat(read, streams, 0)
        late.clear()
        with Meter(run.server_pid) as meter:
            await repeat(read, streams, run.size.seconds * 3)
    cuts = statistics.quantiles(late, n=100, method="inclusive")
    return {"p99_ms": cuts[98], "p50_ms": cuts[49], "server_share": meter.server_share}
