"""This SDK with all its defaults: retries, deadlines, the clocks for first token and silence, bounds."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from benchmarks.clients.sdk import Sdk
from moonshot_async import AiohttpTransport, AsyncMoonshot


class Plan(msgspec.Struct):
    title: str
    steps: list[str]
    answer: int


class Ours(Sdk):
    """See `Sdk`."""

    async def upload(self, path: Path) -> int:
        # The check for the 100 MB that the service takes is not what is measured.
        return (await self._client.files.create(file=path, purpose="file-extract", check=False)).bytes


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[Ours]:
    """A client with as many connections as are needed; everything else as it comes."""
    transport = AiohttpTransport(max_connections=0)
    async with AsyncMoonshot(api_key="sk-benchmark", base_url=url, transport=transport) as client:
        yield Ours(client, Plan)
