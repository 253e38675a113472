"""Ask many questions, a few at a time, and keep going when one of them fails. Needs MOONSHOT_API_KEY."""

import asyncio

from moonshot_async import APIError, AsyncMoonshot

AT_ONCE = 3
CITIES = ["Beijing", "Chengdu", "Guangzhou", "Hangzhou", "Kunming", "Nanjing", "Shanghai", "Wuhan"]


async def describe(client: AsyncMoonshot, turns: asyncio.Semaphore, city: str) -> str:
    async with turns:
        try:
            completion = await client.chat.completions.create(
                model="kimi-k2.6", messages=[{"role": "user", "content": f"One sentence about {city}."}]
            )
        except APIError as error:
            return f"{city}: {error}"
    return f"{city}: {completion.choices[0].message.content}"


async def main() -> None:
    turns = asyncio.Semaphore(AT_ONCE)
    async with AsyncMoonshot(timeout=300) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(describe(client, turns, city)) for city in CITIES]
    for task in tasks:
        print(task.result())


if __name__ == "__main__":
    asyncio.run(main())
