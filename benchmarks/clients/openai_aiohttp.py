"""The openai package with its aiohttp transport, `openai[aiohttp]`."""

import contextlib
from collections.abc import AsyncIterator

import openai

from benchmarks.clients.openai import LIMITS, OpenAI, plan_type


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[OpenAI]:
    """A client with as many connections as are needed; everything else as it comes."""
    http_client = openai.DefaultAioHttpClient(limits=LIMITS)
    async with openai.AsyncOpenAI(api_key="sk-benchmark", base_url=url, http_client=http_client) as client:
        yield OpenAI(client, plan_type())
