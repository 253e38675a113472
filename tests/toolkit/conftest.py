"""An embedded service, and a client of it, for tests of helpers that need no others."""

from collections.abc import AsyncIterator

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.fake import FakeMoonshot
from tests.toolkit.conversations import client_for


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot(legacy_models=True)


@pytest.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    async with client_for(fake) as client:
        yield client
