"""Fixtures for programs that use this SDK: the embedded service, and a client of it. No network, no key.

pytest finds them by itself where the package is installed. They stand in no event loop: tests may be synchronous or
asynchronous, under pytest-asyncio (in either mode), anyio or nothing. What they need is imported when a test asks.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.fake import FakeMoonshot


@pytest.fixture
def moonshot_fake() -> "Iterator[FakeMoonshot]":
    """A fresh `FakeMoonshot`: script it, and look at the requests that it received. Its files go with the test."""
    from moonshot_async.fake import FakeMoonshot

    fake = FakeMoonshot()
    yield fake
    fake.reset()


@pytest.fixture
def moonshot_client(moonshot_fake: "FakeMoonshot") -> "Iterator[AsyncMoonshot]":
    """A client whose requests go to `moonshot_fake`, in memory; closed when the test has ended."""
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.transports.memory import MemoryTransport

    client = AsyncMoonshot(api_key="sk-fake", base_url="http://fake.test/v1", transport=MemoryTransport(moonshot_fake))
    yield client
    # Nothing in memory waits, so closing needs no event loop: one step takes the coroutine to its end.
    with pytest.raises(StopIteration):
        client.aclose().send(None)
