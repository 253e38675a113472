import asyncio
import sys

from kimi_agents_python import AsyncKimiClient  # type: ignore[import-untyped]  # it has no types


async def main() -> None:
    async with AsyncKimiClient(api_key="sk-benchmark", base_url=sys.argv[1]) as client:
        messages = [{"role": "user", "content": "Why is the sky blue?"}]
        completion = await client.chat.create(model="kimi-k2.6", messages=messages)
        print(completion.choices[0].message.content)


asyncio.run(main())
