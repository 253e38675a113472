"""kimi-agents-python as it comes, but for its limit of connections."""

import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import kimi_agents_python as kimi  # type: ignore[import-untyped]  # it has no types
import pydantic

from benchmarks.answers import Ask
from benchmarks.clients.registry import Take

# As many as are needed, and as many kept as it keeps by itself.
LIMITS = httpx.Limits(
    max_connections=None,
    max_keepalive_connections=kimi.client.DEFAULT_LIMITS.max_keepalive_connections,
)


class KimiAgents:
    """See `benchmarks.clients.registry.Client`."""

    def __init__(self, client: kimi.AsyncKimiClient) -> None:
        self._client = client

    async def unary(self, ask: Ask) -> tuple[str, int]:
        completion = await self._client.chat.create(**ask)
        return completion.choices[0].message.content or "", completion.usage.prompt_tokens if completion.usage else 0

    async def stream(self, ask: Ask, take: Take) -> None:
        async for chunk in await self._client.chat.create(**ask, stream=True):
            if text := chunk.choices[0].delta.content:
                take(text)

    async def parse(self, ask: Ask) -> tuple[str, int]:
        parsed = (await self._client.chat.parse(**ask, response_format=plan_type())).parsed
        return parsed.title, parsed.answer

    async def upload(self, path: Path) -> int:
        file = await self._client.files.create(file=path, purpose="file-extract")
        return int(file.bytes)


@functools.cache
def plan_type() -> Any:
    """What `Parsing.parse` asks for, as a model of pydantic."""
    return pydantic.create_model("Plan", title=str, steps=list[str], answer=int)


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[KimiAgents]:
    """A client with as many connections as are needed; everything else as it comes."""
    async with kimi.AsyncKimiClient(api_key="sk-benchmark", base_url=url, limits=LIMITS) as client:
        yield KimiAgents(client)
