"""The openai package as it comes, but for its limit of connections."""

import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pydantic

from benchmarks.answers import Ask
from benchmarks.clients.registry import Take

# As many as are needed (None is 100 with aiohttp), and as many kept as it keeps by itself.
LIMITS = httpx2.Limits(
    max_connections=100_000,
    max_keepalive_connections=openai.DEFAULT_CONNECTION_LIMITS.max_keepalive_connections,
)


class OpenAI:
    """See `benchmarks.clients.registry.Client`."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
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
        completion = await self._client.chat.completions.parse(**ask, response_format=plan_type())
        parsed: Any = completion.choices[0].message.parsed
        return parsed.title, parsed.answer

    async def upload(self, path: Path) -> int:
        purpose: Any = "file-extract"  # which OpenAI's service does not have
        return (await self._client.files.create(file=path, purpose=purpose)).bytes


@functools.cache
def plan_type() -> Any:
    """What `Parsing.parse` asks for, as a model of pydantic."""
    return pydantic.create_model("Plan", title=str, steps=list[str], answer=int)


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[OpenAI]:
    """A client with as many connections as are needed; everything else as it comes."""
    http_client = openai.DefaultAsyncHttpxClient(limits=LIMITS)
    async with openai.AsyncOpenAI(api_key="sk-benchmark", base_url=url, http_client=http_client) as client:
        yield OpenAI(client)
