"""A program that asks a hostile server all it is told to, and says how each call ended and what it cost.

python -m tests.hostile_client URL CASE … prints one JSON object a line.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moonshot_async import APIError, AsyncMoonshot, ResponseTooLargeError

ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}
_TICK = 0.01


def status_kib(name: str) -> int:
    """A figure of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def forget_the_peak() -> None:
    """From here on VmHWM is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")


@asynccontextmanager
async def watching(cost: dict[str, Any]) -> AsyncIterator[None]:
    """Take note of the time, of how long the event loop was held up, and of how much memory grew."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK)
            worst = max(worst, time.monotonic() - before - _TICK)

    gc.collect()
    forget_the_peak()
    memory, started = status_kib("VmRSS"), time.monotonic()
    ticking = asyncio.create_task(tick())
    yield
    cost["seconds"] = time.monotonic() - started
    # The last delay, which it may be in.
    await asyncio.sleep(2 * _TICK)
    ticking.cancel()
    cost["lag"] = worst
    cost["grown_kib"] = status_kib("VmHWM") - memory


async def asked(client: AsyncMoonshot, stream: bool) -> str | APIError:
    """The text of an answer, or the error that came instead."""
    try:
        if stream:
            chunks = await client.chat.completions.create(**ASK, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        return (await client.chat.completions.create(**ASK)).choices[0].message.content or ""
    except APIError as error:
        return error


async def outcome(url: str, case: str) -> dict[str, Any]:
    """Ask for a case; ten times at once, or with a pause before the client is closed, where its name says so."""
    said: dict[str, Any] = {"case": case}
    async with (
        AsyncMoonshot(api_key="sk-test", base_url=f"{url}/{case}", max_retries=0, timeout=60) as client,
        watching(said),
    ):
        times = 10 if case.endswith("-ten-times") else 1
        answers = await asyncio.gather(*(asked(client, case.startswith("stream")) for _ in range(times)))
        if case.endswith("-lasting"):
            await asyncio.sleep(0.3)
    first = answers[0]
    if isinstance(first, APIError):
        said |= {"error": type(first).__name__, "message": str(first)[:300]}
        said["bound"] = first.bound if isinstance(first, ResponseTooLargeError) else None
    else:
        said |= {"error": None, "characters": [len(answer) for answer in answers if isinstance(answer, str)]}
    return said


async def main() -> None:
    url, *cases = sys.argv[1:]
    # What is loaded when first needed is no growth.
    await outcome(url, "whole")
    await outcome(url, "stream-whole")
    for case in cases:
        print(json.dumps(await outcome(url, case)), flush=True)  # noqa: T201  # this is what the program is for


if __name__ == "__main__":
    asyncio.run(main())
