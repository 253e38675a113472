"""Thousands of calls against a server that fails in every way at once: each ends whole, or as an error of ours.

`MOONSHOT_ASYNC_SOAK` says how many calls are made, 20,000 unless it is set.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MoonshotError, RateLimits, StreamInterruptedError, Timeout
from tests.soak_server import SoakServer, answer_to
from tests.stalls import Stalls

pytestmark = pytest.mark.usefixtures("no_leaks")

CALLS = int(os.environ.get("MOONSHOT_ASYNC_SOAK", "20000"))
CONCURRENCY = min(1000, max(50, CALLS // 10))
# What every call may take, and what one in twenty may.
PATIENT = Timeout(total=20, first_token=2.5, idle=2.5, read=2.5)
HASTY = 1.2
GRACE = 0.25


class Soak:
    """Makes the calls, and keeps what came of them."""

    def __init__(self, client: AsyncMoonshot, ask: Callable[[AsyncMoonshot, int], Awaitable[str]]) -> None:
        self.client = client
        self.ask = ask
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.strangers: list[BaseException] = []
        self.latest = 0.0
        self.memory: list[int] = []

    async def run(self, calls: int, concurrency: int) -> None:
        numbers, stalls = iter(range(calls)), Stalls()
        await asyncio.gather(*(self._work(numbers, calls // 4) for _ in range(concurrency)))
        stalls.close()
        self.memory.append(resident())
        # What is late by that is not late by our doing. Only once: this loop is never idle.
        self.latest -= stalls.longest

    async def _work(self, numbers: Iterator[int], sample: int) -> None:
        for number in numbers:
            if number and number % sample == 0:
                self.memory.append(resident())
            await self._one(number)

    async def _one(self, number: int) -> None:
        seconds = allowed(number)
        started = time.monotonic()
        try:
            text = await self.ask(self.client, number)
        except MoonshotError as error:
            self.outcomes[type(error).__name__] += 1
            partial = getattr(error, "partial", None)
            if partial is not None and not is_prefix(partial.choices[0].message.content or "", number):
                self.wrong.append(f"{number}: {partial.choices[0].message.content!r}")
        except Exception as error:  # noqa: BLE001  # what is none of ours is told by the test
            self.strangers.append(error)
        else:
            self.outcomes["whole"] += 1
            if text != answer_to(prompt(number))[1]:
                self.wrong.append(f"{number}: {text!r}")
        self.latest = max(self.latest, time.monotonic() - started - seconds)


def prompt(number: int) -> str:
    return f"item {number}"


def is_prefix(text: str, number: int) -> bool:
    return answer_to(prompt(number))[1].startswith(text)


def allowed(number: int) -> float:
    assert PATIENT.total is not None
    return HASTY if number % 20 == 7 else PATIENT.total


def options(number: int) -> dict[str, Any]:
    hasty = {"timeout": HASTY} if allowed(number) == HASTY else {}
    return {"model": "kimi-k2.6", "messages": [{"role": "user", "content": prompt(number)}], **hasty}


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def in_turns(client: AsyncMoonshot, number: int) -> str:
    """One call of each kind after the other: unary, a stream of chunks, a stream of events."""
    if number % 3 == 0:
        completion = await client.chat.completions.create(**options(number))
        return completion.choices[0].message.content or ""
    if number % 3 == 1:
        text = ""
        async for chunk in await client.chat.completions.create(**options(number), stream=True):
            text += (chunk.choices and chunk.choices[0].delta.content) or ""
        return text
    async with client.chat.completions.stream(**options(number)) as stream:
        return (await stream.get_final_completion()).choices[0].message.content or ""


async def resumed(client: AsyncMoonshot, number: int) -> str:
    text = ""
    async with client.chat.completions.stream(**options(number), resume=3) as stream:
        async for event in stream:
            if event.type == "stream.resumed" and event.how == "restarted":
                text = ""
            elif event.type == "content.delta":
                text += event.delta
                assert is_prefix(text, number)
        assert (await stream.get_final_completion()).choices[0].message.content == text
        return text


@pytest.fixture
def server() -> Iterator[SoakServer]:
    with SoakServer(seed=1) as server:
        yield server


@pytest.fixture
def limits() -> RateLimits:
    return RateLimits(concurrency=CONCURRENCY)


@pytest.fixture
async def client(server: SoakServer, limits: RateLimits) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(
        api_key="sk-soak", base_url=server.url, timeout=PATIENT, max_retries=3, limits=limits
    ) as client:
        yield client


async def test_every_call_ends_whole_or_as_an_error_of_ours(
    server: SoakServer, client: AsyncMoonshot, limits: RateLimits
) -> None:
    soak = Soak(client, in_turns)
    await soak.run(CALLS, CONCURRENCY)

    counts = server.counts()
    assert not soak.strangers, soak.strangers[:3]
    assert not soak.wrong, soak.wrong[:3]
    assert soak.outcomes.total() == CALLS
    # Resets, limits and failures before the head pass; what was cut, stalled or garbage, and haste, does not.
    lost = 0.05 + 0.02 + 0.02 + 0.01
    assert soak.outcomes["whole"] >= CALLS * (1 - lost - 0.02), soak.outcomes
    assert counts["requests"] <= CALLS * 1.25
    assert soak.latest <= GRACE, f"a call ended {soak.latest:.3f} s after its deadline"
    # From the first quarter on, when all that may be in flight at once has been.
    assert max(soak.memory) - soak.memory[0] < 32 * 1024 * 1024, soak.memory
    left = limits.snapshot()
    assert (left.in_flight, left.waiting, client.in_flight) == (0, 0, 0)


async def test_no_stream_is_lost_to_a_cut_when_it_may_be_resumed(
    server: SoakServer, client: AsyncMoonshot, limits: RateLimits
) -> None:
    soak = Soak(client, resumed)
    await soak.run(CALLS // 4, CONCURRENCY)

    counts = server.counts()
    assert not soak.strangers, soak.strangers[:3]
    assert not soak.wrong, soak.wrong[:3]
    assert not soak.outcomes[StreamInterruptedError.__name__], soak.outcomes
    assert counts["continued"] > 0
    assert not counts.get("wrong prefix")
    assert soak.latest <= GRACE, f"a call ended {soak.latest:.3f} s after its deadline"
    assert limits.snapshot().in_flight == client.in_flight == 0
