"""What the tests of the resources share: a client, and what it speaks to."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.fake import FakeMoonshot


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
def service(fake: FakeMoonshot) -> Any:
    """What `client` speaks to, in memory; files whose tests need another service have their own."""
    return fake


@pytest.fixture
async def client(service: Any) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(service)) as client:
        yield client
