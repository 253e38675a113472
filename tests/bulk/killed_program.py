"""A program that does bulk work and may be killed: `python -m tests.bulk.killed_program URL JOURNAL ITEMS CONCURRENCY`.

Half of its requests have ids. More arguments: `room=N`, no file that it writes may become larger than so many bytes;
`via=batch`; `signals`, it stops in good order when it is told to.
"""

import asyncio
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

from moonshot_async import AsyncMoonshot
from moonshot_async.errors import MoonshotError


def request(number: int) -> dict[str, Any]:
    """What is asked."""
    named = {"custom_id": f"item-{number}"} if number % 2 else {}
    return {**named, "messages": [{"role": "user", "content": f"Item {number}"}]}


def requests(count: int) -> Iterator[dict[str, Any]]:
    return (request(number) for number in range(count))


async def main(url: str, journal: str, count: int, concurrency: int, options: dict[str, Any]) -> None:
    if options.get("via") == "batch":
        from moonshot_async.bulk.batches import groups, work

        # Many small batches, of which each kill meets some.
        groups._MOST_LINES, work._POLL = max(20, count // 20), 0.05  # type: ignore[misc]  # constants
    async with AsyncMoonshot(api_key="sk-bulk", base_url=url) as client:
        run = client.bulk(requests(count), model="kimi-k2.6", journal=journal, concurrency=concurrency, **options)
        taken = 0
        async for result in run:
            assert result.ok, result.error
            taken += 1
        sys.stdout.write(f"{taken} now, {run.progress.done} done, {run.reason}\n")


if __name__ == "__main__":
    told: dict[str, Any] = {}
    for argument in sys.argv[5:]:
        name, _, value = argument.partition("=")
        if name == "room":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), resource.RLIM_INFINITY))
        elif name == "signals":
            told["handle_signals"] = True
        else:
            told[name] = value
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), told))
    except MoonshotError as error:
        sys.exit(f"{type(error).__name__}: {error}")
