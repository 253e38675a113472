"""Ask once and print the answer. Needs MOONSHOT_API_KEY."""

import asyncio

from moonshot_async import AsyncMoonshot


async def main() -> None:
    async with AsyncMoonshot() as client:
        completion = await client.chat.completions.create(
            model="kimi-k2.6", messages=[{"role": "user", "content": "Name three rivers of Asia."}]
        )
    print(completion.choices[0].message.content)


if __name__ == "__main__":
    asyncio.run(main())
