# ruff: noqa: T201  # what it prints is what is compared
"""How often is tried, by client and by call."""

import asyncio

from openai import AsyncOpenAI, InternalServerError, RateLimitError

ASK = {
    "messages": [{"role": "user", "content": "How can I get the name of the current day in JavaScript?"}],
    "model": "kimi-k2.6",
}


async def main() -> None:
    client = AsyncOpenAI(max_retries=0)
    try:
        await client.chat.completions.create(**ASK)
    except RateLimitError as error:
        print(error.status_code)
    completion = await client.with_options(max_retries=5).chat.completions.create(**ASK)
    print(completion.choices[0].finish_reason)
    raw = await client.with_options(max_retries=3).chat.completions.with_raw_response.create(**ASK)
    print(raw.retries_taken, raw.parse().choices[0].finish_reason)
    print(client.max_retries, AsyncOpenAI().max_retries)
    try:
        await client.with_options(max_retries=2).chat.completions.create(**ASK)
    except InternalServerError as error:
        print(error.status_code)
    for wrong in (None, -1, 1.5, "2"):
        try:
            AsyncOpenAI(max_retries=wrong)
        except (TypeError, ValueError) as error:
            print(wrong, isinstance(error, ValueError))


asyncio.run(main())
