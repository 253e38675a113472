"""Make records of many web pages: at most at a fixed price, and killed and started again as often as you like.

`python examples/bulk.py` has 40 pages read by the embedded fake, with no key and no network. With MOONSHOT_API_KEY, and
`python examples/bulk.py pages.db 10000` (and `batch` behind it for the Batch API), the real API reads that many; the
same command goes on after Ctrl-C, a crash, or a top-up.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from moonshot_async import AsyncMoonshot, MoonshotError
from moonshot_async.bulk import Journal, Progress, report_of
from moonshot_async.catalog import CATALOG, currency_of
from moonshot_async.fake import FakeMoonshot

MODEL = "kimi-k2.6"
MAX_COST = 60  # In the currency of the account.
USAGE = {"prompt_tokens": 3000, "completion_tokens": 300}  # Of a page, more or less.


class Record(msgspec.Struct):
    """What a page is about."""

    title: str
    kind: Literal["article", "product", "listing", "other"]
    topics: Annotated[list[str], msgspec.Meta(description="three at most, of one or two words")]
    summary: Annotated[str, msgspec.Meta(description="two sentences")]


def pages(count: int) -> Iterator[tuple[str, str]]:
    """The address and the text of each page. A crawler may wait in here: it runs in a thread of its own."""
    for number in range(count):
        yield f"https://shop.example/{number}", f"Lamp no. {number}. Brass, 40 W. Ships within {number % 9 + 1} days."


def requests(count: int) -> Iterator[dict[str, Any]]:
    for address, text in pages(count):
        system = {"role": "system", "content": "Make a record of the page that the user sends."}
        yield {"custom_id": address, "messages": [system, {"role": "user", "content": text}]}


def show(progress: Progress) -> None:
    print(
        f"\r{progress.done} done, {progress.failed} failed, {progress.rate:.0f}/s, "
        f"{progress.cost:.4f} {progress.currency.upper()}",
        end="",
        flush=True,
    )


async def run(client: AsyncMoonshot, journal: Path, count: int, via: Literal["live", "batch"]) -> None:
    currency = currency_of(client.base_url)
    live, batch = (count * CATALOG.cost(USAGE, MODEL, currency=currency, batch=way) for way in (False, True))
    print(f"{count} pages may cost {live:.2f} {currency.upper()} live, and {batch:.2f} in batches.")
    bulk = client.bulk(
        requests(count),
        model=MODEL,
        journal=journal,
        response_format=Record,
        max_completion_tokens=1000,
        thinking={"type": "disabled"},
        max_cost=MAX_COST,
        via=via,
        on_progress=show,
        handle_signals=True,
    )
    try:
        async for result in bulk:
            if not result.ok:
                print(f"\n{result.id}: {result.error}")
    except MoonshotError as error:
        # No money, a budget that is used up, a key that was revoked: the same command goes on later.
        print(f"\n{type(error).__name__}: {error}")
    print(f"\n{bulk.reason or 'All pages were read.'}\n")


def print_records(journal: Path) -> None:
    with Journal(journal, response_format=Record) as read:
        for result in islice((result for result in read.results() if result.ok), 3):
            print(result.id, msgspec.json.encode(result.parsed).decode())
    print(f"\n{report_of(journal).text()}")


async def main(journal: Path, count: int, via: Literal["live", "batch"]) -> None:
    async with AsyncExitStack() as stack:
        if os.environ.get("MOONSHOT_API_KEY"):
            client = await stack.enter_async_context(AsyncMoonshot())
        else:
            url = await stack.enter_async_context(FakeMoonshot(latency=0.02).serve(port=0))
            client = await stack.enter_async_context(AsyncMoonshot(api_key="sk-fake", base_url=url))
            print("There is no MOONSHOT_API_KEY: the embedded fake answers, and nothing leaves this machine.")
        await run(client, journal, count, via)
    print_records(journal)


if __name__ == "__main__":
    name, count, via, *_ = [*sys.argv[1:], *("", "40", "live")[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(name) if name else Path(directory, "pages.db")
        asyncio.run(main(journal, int(count), "batch" if via == "batch" else "live"))
