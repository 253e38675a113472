"""What is built on calls and streams: the answer so far, answers of a type, retries, and very many calls at once."""

from functools import partial

from benchmarks.answers import ASK, LostBytesError, burst, check_text, flaky, number_of, typed_answer, whole
from benchmarks.meters import Meter, PeakMemory
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size, repeat
from benchmarks.scenarios.streams import CPU_A_CHUNK
from benchmarks.scenarios.unary import CPU_A_CALL

TIMES_PLAIN = Figure("times_plain", "× its plain stream")
PEAK = Figure("peak_mib", "extra memory at most, MiB", compared=True)


def scenarios(size: Size) -> list[Scenario]:
    """The helpers of the SDKs, and 20,000 calls."""
    figures = (CPU_A_CHUNK, TIMES_PLAIN)
    calls, at_once = size.count(20_000), size.count(512, 16)
    return [
        *(
            Scenario(
                f"snapshots-{chunks}",
                f"Streams in bursts with the answer so far, {chunks} chunks",
                figures,
                partial(snapshots, chunks=chunks),
                burst(chunks),
                "snapshots",
            )
            for chunks in (size.count(1000, 20), size.count(4000, 40))
        ),
        Scenario("parse", "Calls of `parse`, 1 in flight", (CPU_A_CALL,), parse, typed_answer(), "parse"),
        Scenario("retry", "Calls that are refused once, 1 in flight", (CPU_A_CALL,), retried, flaky(), "retries"),
        Scenario(
            f"calls-{calls}",
            f"{calls} calls, {at_once} in flight, opening connections included",
            (CPU_A_CALL, PEAK),
            partial(many, calls=calls, at_once=at_once),
            whole(),
        ),
    ]


async def snapshots(run: Run, chunks: int) -> Figures:
    """Read streams with the helper, and as they are, in turns."""
    async with run.client() as client:

        async def read(method: str) -> None:
            parts: list[str] = []
            await getattr(client, method)(ASK, parts.append)
            check_text(parts, chunks)

        cpu_us: dict[str, list[float]] = {"snapshots": [], "stream": []}
        for method in cpu_us:
            await read(method)
        for _ in range(3):
            for method, times in cpu_us.items():
                with Meter(run.server_pid) as meter:
                    done = await repeat(partial(read, method), 1, run.size.seconds / 4)
                times.append(meter.cpu_s / done / chunks * 1e6)
    helped, plain = (min(times) for times in cpu_us.values())
    return {"cpu_us": helped, "times_plain": helped / plain}


async def parse(run: Run) -> Figures:
    """Ask for answers of a type; every one has another number."""
    async with run.client() as client:
        answers: list[int] = []

        async def call() -> None:
            title, answer = await client.parse(ASK)
            if title != "Blue":
                raise LostBytesError("another answer than was sent")
            answers.append(answer)

        await repeat(call, 1, run.size.seconds / 5)
        with Meter(run.server_pid) as meter:
            done = await repeat(call, 1, run.size.seconds)
    if len(set(answers)) != len(answers):
        raise LostBytesError("an answer was handed out twice")
    return meter.figures(done)


async def retried(run: Run) -> Figures:
    """Call; each call is sent twice."""
    repeats = run.size.count(200, 4)
    async with run.client() as client:
        numbers = [number_of((await client.unary(ASK))[0]) for _ in range(2)]
        with Meter(run.server_pid) as meter:
            for _ in range(repeats):
                text, _ = await client.unary(ASK)
                numbers.append(number_of(text))
    if len(set(numbers)) != repeats + 2:
        raise LostBytesError("an answer was handed out twice")
    return meter.figures(repeats)


async def many(run: Run, calls: int, at_once: int) -> Figures:
    """Make a number of calls, so many at once, with a client that has made but one."""
    async with run.client() as client:
        numbers = [number_of((await client.unary(ASK))[0])]
        left = calls

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                text, _ = await client.unary(ASK)
                numbers.append(number_of(text))

        with PeakMemory() as memory, Meter(run.server_pid) as meter:
            await repeat(work, at_once, 0)
    if len(set(numbers)) != calls + 1:
        raise LostBytesError(f"{len(set(numbers))} answers of {calls + 1}")
    return meter.figures(calls) | {"peak_mib": memory.extra_bytes / 2**20}
