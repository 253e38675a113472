"""What a call costs while many streams are open, and a chunk where even more are."""

import dataclasses
from functools import partial

from benchmarks.answers import ASK, LostBytesError, number_of, whole_after
from benchmarks.meters import Meter
from benchmarks.scenarios.base import Figures, Run, Scenario, Size, repeat
from benchmarks.scenarios.opening import OpenStreams
from benchmarks.scenarios.streams import paced_scenario
from benchmarks.scenarios.unary import CPU_A_CALL

# The others take minutes to open so many.
CLIENTS = ("ours", "ours-uvloop", "raw-aiohttp", "protocol-limit")


def scenarios(size: Size) -> list[Scenario]:
    """Up to 10,000 open streams."""
    chunks = [paced_scenario(size.count(*streams)) for streams in ((10, 2), (10_000, 30))]
    calls = [_calls_beside(size.count(*streams)) for streams in ((1, 1), (1000, 10), (10_000, 30))]
    return [dataclasses.replace(scenario, clients=CLIENTS) for scenario in (*chunks, *calls)]


def _calls_beside(streams: int) -> Scenario:
    title = f"Calls, 1 in flight, while {streams} silent streams are open"
    measure = partial(calls_beside, streams=streams)
    script = whole_after(streams)
    return Scenario(f"beside-{streams}", title, (CPU_A_CALL,), measure, script, curve="beside", at=streams)


async def calls_beside(run: Run, streams: int) -> Figures:
    """Open the streams, then call for a while; every answer has another number."""
    async with run.client() as client:
        streams_beside = OpenStreams(client)
        await streams_beside.open(streams)
        numbers: list[int] = []

        async def call() -> None:
            text, _ = await client.unary(ASK)
            numbers.append(number_of(text))

        await repeat(call, 1, run.size.seconds / 5)
        with Meter(run.server_pid) as meter:
            done = await repeat(call, 1, run.size.seconds)
        await streams_beside.close()
    if len(set(numbers)) != len(numbers):
        raise LostBytesError("an answer was handed out twice")
    return meter.figures(done)
