"""A client of the embedded service, in memory: what `--offline` asks."""

import time
from typing import Any, Final

from moonshot_async.catalog import currency_of
from moonshot_async.client import AsyncMoonshot
from moonshot_async.fake import BatchTimes, FakeMoonshot
from moonshot_async.settings import region_url
from moonshot_async.transports.memory import MemoryTransport

_DOCUMENT: Final = b"The lease of the observatory ends in May. The telescope stays.\n"
_BALANCE: Final = 100
_HOUR: Final = 3600.0
_AGE: Final = 4 * _HOUR
# Who sends a batch does not want to wait; in an account that has some already, one is to be under way.
_QUICK: Final = BatchTimes(validating=0.01, in_progress=0.01, finalizing=0.01)
_SLOW: Final = BatchTimes(validating=_HOUR, in_progress=_HOUR, finalizing=_HOUR)


async def offline_client(url: str | None, *, samples: bool = False, pace: float = 0.0, **options: Any) -> AsyncMoonshot:
    """A client whose requests go to a service in this process, which is gone with it.

    Args:
        url: where the API would be; decides the currency.
        samples: whether the account has a document, a batch that has ended and one that has not.
        pace: seconds before each piece of an answer, where somebody watches it.
        **options: of the client.
    """
    url = url or region_url(None)
    fake = FakeMoonshot(
        balance=_BALANCE,
        currency=currency_of(url),
        batch_times=_SLOW if samples else _QUICK,
        chunk_latency=pace,
        # What the account has is some hours old.
        clock=(lambda: time.time() - _AGE) if samples else time.time,
    )
    options.setdefault("transport", MemoryTransport(fake))
    client = AsyncMoonshot(api_key="sk-offline", base_url=url, **options)
    if samples:
        await client.files.create(file=("lease.txt", _DOCUMENT), purpose="file-extract")
        await _create_batch(client, "What is 1 + 1?", "What is 2 + 2?")
        fake.advance(_AGE)
        await _create_batch(client, "What is 3 + 3?")
    return client


async def _create_batch(client: AsyncMoonshot, *questions: str) -> None:
    asks = [{"messages": [{"role": "user", "content": question}]} for question in questions]
    async with client.batches.run(asks, model="kimi-k2.6") as run:
        await run.submit()
