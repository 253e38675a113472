"""Calls that are made in the same words by this SDK and by the openai package."""

from typing import Any

from benchmarks.answers import Ask
from benchmarks.clients.registry import Take


class Sdk:
    """See `benchmarks.clients.registry.Client`.

    Args:
        client: `AsyncMoonshot` or `AsyncOpenAI`.
        plan: the type that `parse` asks for, with `title`, `steps` and `answer`.
    """

    def __init__(self, client: Any, plan: Any) -> None:
        self._client = client
        self._plan = plan

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
        completion = await self._client.chat.completions.parse(**ask, response_format=self._plan)
        parsed = completion.choices[0].message.parsed
        return parsed.title, parsed.answer
