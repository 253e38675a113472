"""What a quick script does: httpx and the standard library's JSON, dicts handed out as they are."""

import contextlib
import json
from collections.abc import AsyncIterator

import httpx

from benchmarks.answers import Ask
from benchmarks.clients.registry import Take


class RawHttpx:
    """See `benchmarks.clients.registry.Client`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def unary(self, ask: Ask) -> tuple[str, int]:
        response = await self._client.post("/chat/completions", json=ask)
        completion = response.raise_for_status().json()
        return completion["choices"][0]["message"]["content"], completion["usage"]["prompt_tokens"]

    async def stream(self, ask: Ask, take: Take) -> None:
        async with self._client.stream("POST", "/chat/completions", json={**ask, "stream": True}) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                if text := json.loads(line[6:])["choices"][0]["delta"].get("content"):
                    take(text)


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[RawHttpx]:
    """A client with as many connections as are needed."""
    # As many as are needed, and as many kept as httpx keeps by itself.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    headers = {"Authorization": "Bearer sk-benchmark"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600, limits=limits) as client:
        yield RawHttpx(client)
