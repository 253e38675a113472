# ruff: noqa: T201  # what it prints is what is compared
"""Chunks as they come, and three ways to stop early."""

import asyncio
import json

from openai import AsyncOpenAI, AsyncStream

client = AsyncOpenAI()
ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Write a bedtime story about a unicorn."}]}


async def main() -> None:
    stream = await client.chat.completions.create(**ASK, stream=True)
    print(isinstance(stream, AsyncStream), stream.response.status_code, stream.response.headers["content-type"])
    async for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="")
        # Usage within a choice is a field that openai does not know and keeps in the order in which it came.
        print(json.dumps(chunk.to_dict(), sort_keys=True))
        print(json.dumps(json.loads(chunk.model_dump_json(exclude_unset=True)), sort_keys=True))
    print()

    stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    async for chunk in stream:
        print(chunk.id, chunk.created, chunk.model, chunk.system_fingerprint)
        for choice in chunk.choices:
            print(choice.delta.role, choice.delta.tool_calls, choice.finish_reason)
        if chunk.usage:
            print(chunk.usage.total_tokens, len(chunk.choices))

    stream = await client.chat.completions.create(**ASK, stream=True)
    print((await anext(stream)).choices[0].delta.role)
    await stream.close()

    async with await client.chat.completions.create(**ASK, stream=True) as stream:
        async for chunk in stream:
            print(chunk.object)
            break

    async with AsyncOpenAI() as own:
        async for chunk in await own.chat.completions.create(**ASK, stream=True, max_tokens=3):
            print(repr(chunk.choices[0].delta.content), chunk.choices[0].finish_reason)


asyncio.run(main())
