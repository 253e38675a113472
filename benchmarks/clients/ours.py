"""This SDK with all its defaults: retries, deadlines, the clocks for first token and silence, bounds."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from benchmarks.answers import Ask
from benchmarks.clients.registry import Take
from moonshot_async import AiohttpTransport, AsyncMoonshot


class Plan(msgspec.Struct):
    title: str
    steps: list[str]
    answer: int


class Ours:
    """See `benchmarks.clients.registry.Client`."""

    def __init__(self, client: AsyncMoonshot) -> None:
        self._client = client

    async def unary(self, ask: Ask) -> tuple[str, int]:
        completion = await self._client.chat.completions.create(**ask)
        return completion.choices[0].message.content or "", completion.usage.prompt_tokens if completion.usage else 0

    async def stream(self, ask: Ask, take: Take) -> None:
        async for chunk in await self._client.chat.completions.create(**ask, stream=True):
            if text := chunk.choices[0].delta.content:
                take(text)

    async def snapshots(self, ask: Ask, take: Take) -> None:
        async with self._client.chat.completions.stream(**ask) as stream:
            async for event in stream:
                if event.type == "content.delta" and event.delta:
                    take(event.delta)

    async def parse(self, ask: Ask) -> tuple[str, int]:
        completion = await self._client.chat.completions.parse(**ask, response_format=Plan)
        parsed = completion.choices[0].message.parsed
        assert parsed is not None
        return parsed.title, parsed.answer

    async def upload(self, path: Path) -> int:
        # The check for the 100 MB that the service takes is not what is measured.
        return (await self._client.files.create(file=path, purpose="file-extract", check=False)).bytes


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[Ours]:
    """A client with as many connections as are needed; everything else as it comes."""
    transport = AiohttpTransport(max_connections=0)
    async with AsyncMoonshot(api_key="sk-benchmark", base_url=url, transport=transport) as client:
        yield Ours(client)
