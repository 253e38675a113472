"""Whole answers: what one call costs, by how many are in flight."""

from functools import partial

from benchmarks.answers import ASK, LostBytesError, number_of, whole
from benchmarks.meters import Meter
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size, repeat

CPU_A_CALL = Figure("cpu_us", "CPU µs a call")
CALLS_A_SECOND = Figure("calls_per_s", "calls a second")


def scenarios(size: Size) -> list[Scenario]:
    """Calls over kept connections, 1 to 512 in flight, some of them over TLS."""
    plain = [_scenario(size.count(*at_once)) for at_once in ((1, 1), (64, 8), (512, 16))]
    return [*plain, *(scenario.over_tls() for scenario in plain[:2])]


def _scenario(at_once: int) -> Scenario:
    title = f"Calls, {at_once} in flight"
    measure = partial(calls, at_once=at_once)
    figures = (CPU_A_CALL, CALLS_A_SECOND)
    return Scenario(f"unary-{at_once}", title, figures, measure, whole(), curve="unary", at=at_once)


async def calls(run: Run, at_once: int) -> Figures:
    """Call for a while; every answer has another number."""
    async with run.client() as client:
        numbers: list[int] = []

        async def call() -> None:
            text, _ = await client.unary(ASK)
            numbers.append(number_of(text))

        await repeat(call, at_once, run.size.seconds / 5)
        with Meter(run.server_pid) as meter:
            done = await repeat(call, at_once, run.size.seconds)
    if len(set(numbers)) != len(numbers):
        raise LostBytesError("an answer was handed out twice")
    return meter.figures(done) | {"calls_per_s": done / meter.wall_s}
