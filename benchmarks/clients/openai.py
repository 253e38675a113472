"""The openai package as it comes, but for its limit of connections."""

import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pydantic

from benchmarks.clients.sdk import Sdk

# As many as are needed (None is 100 with aiohttp), and as many kept as it keeps by itself.
LIMITS = httpx2.Limits(
    max_connections=100_000,
    max_keepalive_connections=openai.DEFAULT_CONNECTION_LIMITS.max_keepalive_connections,
)


class OpenAI(Sdk):
    """See `Sdk`."""

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
        yield OpenAI(client, plan_type())
