import asyncio
import sys

from openai import AsyncOpenAI


async def main() -> None:
    async with AsyncOpenAI(api_key="sk-benchmark", base_url=sys.argv[1]) as client:
        completion = await client.chat.completions.create(
            model="kimi-k2.6", messages=[{"role": "user", "content": "Why is the sky blue?"}]
        )
        print(completion.choices[0].message.content)


asyncio.run(main())
