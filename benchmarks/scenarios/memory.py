"""How much memory the client needs for each stream that is open."""

import gc
from functools import partial

from benchmarks.answers import check_text, held
from benchmarks.meters import resident_bytes
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size
from benchmarks.scenarios.opening import TOGETHER, OpenStreams


def scenarios(size: Size) -> list[Scenario]:
    """1,000 and 5,000 streams that have begun and say nothing."""
    return [_scenario(size.count(streams, least)) for streams, least in ((1000, 10), (5000, 20))]


def _scenario(streams: int) -> Scenario:
    figures = (Figure("bytes_each", "bytes a stream"),)
    title = f"Memory of open streams, {streams} at once, the task that reads each included"
    measure = partial(holding, streams=streams)
    return Scenario(f"memory-{streams}", title, figures, measure, held(), "stream", curve="memory", at=streams)


async def holding(run: Run, streams: int) -> Figures:
    """Open streams, and hold them."""
    async with run.client() as client:
        opened = OpenStreams(client)
        # What is loaded at the first call, and what the first calls leave behind, is not of the streams.
        await opened.open(min(streams, TOGETHER))
        gc.collect()
        before = resident_bytes()
        await opened.open(streams)
        gc.collect()
        extra = resident_bytes() - before
        await opened.close()
    for parts in opened.texts:
        check_text(parts)
    return {"bytes_each": extra / streams}
