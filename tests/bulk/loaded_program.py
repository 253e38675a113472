"""A program that makes many short calls, in a pool of tasks and in bulk, and tells what that took.

`python -m tests.bulk.loaded_program URL JOURNAL ITEMS CONCURRENCY PARTS` prints JSON: the bytes of memory that the
process held now and then during a bulk run, its most, and how many seconds of CPU time, of all threads, a pool of tasks
and a bulk run took for the same calls, each of the times that this was tried.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moonshot_async import AsyncMoonshot


def request(number: int) -> dict[str, Any]:
    return {
        "model": "kimi-k2.6",
        "messages": [{"role": "user", "content": f"Say something about the number {number}."}],
    }


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def most_resident() -> int:
    """Of this program; what `getrusage` tells may be that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def pool(client: AsyncMoonshot, numbers: Iterator[int], concurrency: int) -> float:
    """Seconds of CPU time."""

    async def work() -> None:
        for number in numbers:
            completion = await client.chat.completions.create(**request(number))
            assert completion.choices

    started = time.process_time()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.process_time() - started


async def bulk(client: AsyncMoonshot, journal: str, numbers: range, concurrency: int, held: list[int]) -> float:
    """Seconds of CPU time, from the first request to the last result, opening and closing the journal included."""
    started = time.process_time()
    requests = (request(number) for number in numbers)
    taken = 0
    async for result in client.bulk(requests, journal=journal, concurrency=concurrency):
        assert result.ok
        taken += 1
        if taken % (len(numbers) // 10) == 0:
            held.append(resident())
    assert taken == len(numbers)
    return time.process_time() - started


async def main(url: str, journal: str, count: int, concurrency: int, parts: int) -> None:
    held: list[int] = []
    pools: list[float] = []
    bulks: list[float] = []
    async with AsyncMoonshot(api_key="sk-bulk", base_url=url) as client:
        await pool(client, iter(range(2 * concurrency)), concurrency)
        await bulk(client, journal, range(count), concurrency, held)
        most = most_resident()
        # In turns, since machines have moods.
        part = count // 5
        for number in range(parts):
            pools.append(await pool(client, iter(range(part)), concurrency))
            bulks.append(await bulk(client, f"{journal}-{number}", range(part), concurrency, []))
    sys.stdout.write(json.dumps({"held": held, "most": most, "pools": pools, "bulks": bulks}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
