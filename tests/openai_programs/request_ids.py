# ruff: noqa: T201  # what it prints is what is compared
"""The ids under which calls are found again."""

import asyncio

import openai
from openai import AsyncOpenAI


async def main() -> None:
    client = AsyncOpenAI(max_retries=0)
    completion = await client.chat.completions.create(
        model="kimi-k2.6", messages=[{"role": "user", "content": "Say this is a test"}]
    )
    print(completion._request_id)
    print((await client.models.list())._request_id)
    try:
        completion = await client.chat.completions.create(
            messages=[{"role": "user", "content": "Say this is a test"}], model="gpt-5.5"
        )
    except openai.APIStatusError as exc:
        print(exc.request_id)


asyncio.run(main())
