"""Bulk work beside a service that keeps limits, and counts money: as fast as it may be, and no faster."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, QuotaExceededError, RateLimits
from moonshot_async.catalog import CATALOG
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.faults import CHAT_PATH
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import MODEL, asks, taken
from tests.secrets_scan import CANARY_KEY

pytestmark = pytest.mark.usefixtures("no_leaks")

TIER = CATALOG.tiers[2]
# So many minutes of the service pass in a second.
FASTER = 60.0


class Service:
    """A fake whose minutes take a second.

    Attributes:
        admitted: when each request was let in, in seconds.
        refused: how many were not.
    """

    def __init__(self) -> None:
        self.fake = FakeMoonshot(limits=TIER, clock=lambda: time.monotonic() * FASTER, max_recorded=1, latency=0.05)
        self.admitted: list[float] = []
        self.refused = 0

    async def __call__(self, request: Request) -> Response:
        started = time.monotonic()
        response = await self.fake(request)
        if request.path == CHAT_PATH:
            if response.status == 200:
                self.admitted.append(started)
            else:
                self.refused += 1
        return response


async def paced(journal: Path) -> float:
    """Which part of the allowed rate a run makes use of."""
    service = Service()
    limits = RateLimits.tier(TIER.tier, minute=60 / FASTER)
    async with AsyncMoonshot(
        api_key=CANARY_KEY, transport=MemoryTransport(service), limits=limits, max_retries=0
    ) as client:
        results = await taken(client.bulk(asks(4 * TIER.rpm), model=MODEL, journal=journal))
    assert len(results) == 4 * TIER.rpm
    assert all(result.ok for result in results)
    assert service.refused == 0
    # The first minute's worth comes at once; from then on as many as a minute allows.
    admitted = sorted(service.admitted)
    took = admitted[-1] - admitted[TIER.rpm - 1]
    return (len(results) - TIER.rpm) / took / (TIER.rpm * FASTER / 60)


async def test_a_run_keeps_to_the_limits_of_the_account_and_uses_nearly_all_of_them(tmp_path: Path) -> None:
    used: list[float] = []
    # A machine may have other things to do, once or twice.
    while not used or (used[-1] < 0.95 and len(used) < 3):
        used.append(await paced(tmp_path / f"run{len(used)}.db"))
    assert max(used) >= 0.95, used


async def test_a_run_stops_within_a_second_when_the_money_is_used_up_and_goes_on_after_a_top_up(
    journal: Path,
) -> None:
    fake = FakeMoonshot(balance="0.5", currency="CNY", latency=0.02)
    dry: list[float] = []

    async def service(request: Request) -> Response:
        response = await fake(request)
        if response.status == 429 and not dry:
            dry.append(time.monotonic())
        return response

    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(service)) as client:
        run = client.bulk(asks(1000), model=MODEL, journal=journal, concurrency=32)
        with pytest.raises(QuotaExceededError, match="top up in the console") as caught:
            await taken(run)
        assert time.monotonic() - dry[0] < 1
        assert run.reason == "QuotaExceededError"
        assert 0 < run.progress.done < 1000
        assert run.progress.failed == 0
        assert f"{run.progress.done} are done" in caught.value.__notes__[0]
        fake.account.cash = Decimal(1000)
        rest = await taken(client.bulk(asks(1000), model=MODEL, journal=journal, concurrency=32))
    assert len(rest) == 1000 - run.progress.done
    await asyncio.sleep(0)
