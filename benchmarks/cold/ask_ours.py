import asyncio
import sys

from moonshot_async import AsyncMoonshot


async def main() -> None:
    async with AsyncMoonshot(api_key="sk-benchmark", base_url=sys.argv[1]) as client:
        messages = [{"role": "user", "content": "Why is the sky blue?"}]
        completion = await client.chat.completions.create(model="kimi-k2.6", messages=messages)
        print(completion.choices[0].message.content)


asyncio.run(main())
