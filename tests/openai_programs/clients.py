# ruff: noqa: T201  # what it prints is what is compared
"""Clients: how they are made, copied, shared and closed."""

import asyncio
import os

from openai import AsyncClient, AsyncOpenAI

ASK = {"messages": [{"role": "user", "content": "Say this is a test"}], "model": "kimi-k2.6"}


async def key() -> str:
    return "sk-rotating"


async def main() -> None:
    url = os.environ["OPENAI_BASE_URL"]
    async with AsyncOpenAI() as client:
        print(str(client.base_url) == url + "/", client.api_key, client.max_retries)
        print((await client.chat.completions.create(**ASK)).choices[0].finish_reason)
        copied = client.copy(max_retries=1, default_headers={"X-Copy": "1"})
        print(copied.max_retries, client.max_retries, str(copied.base_url) == str(client.base_url))
        print((await copied.chat.completions.create(**ASK)).choices[0].finish_reason)
        print(copied.copy(set_default_headers={"X-Only": "1"}).default_headers["X-Only"])
        print(client.is_closed())
    print(client.is_closed())

    rotating = AsyncOpenAI(api_key=key, base_url=url, organization="org", project="proj", timeout=None)
    print((await rotating.chat.completions.create(**ASK)).choices[0].finish_reason)
    await rotating.close()

    moved = AsyncOpenAI(api_key="sk-moved", base_url="http://127.0.0.1:1/v1")
    moved.base_url = url
    print((await moved.chat.completions.create(**ASK)).choices[0].finish_reason)
    moved.api_key = "sk-other"
    print((await moved.chat.completions.create(**ASK)).choices[0].finish_reason)
    await moved.close()

    print(AsyncClient is AsyncOpenAI, AsyncOpenAI(_strict_response_validation=True).is_closed())
    try:
        AsyncOpenAI(no_such_option=1)
    except TypeError:
        print("TypeError")
    async with asyncio.TaskGroup() as group:
        own = AsyncOpenAI()
        tasks = [group.create_task(own.chat.completions.create(**ASK)) for _ in range(4)]
    print([task.result().choices[0].finish_reason for task in tasks])
    await own.close()


asyncio.run(main())
