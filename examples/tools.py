"""Let the model call your functions until it can answer. Needs MOONSHOT_API_KEY."""

import asyncio

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.functions import run_tools, tool


@tool
async def get_weather(city: str) -> str:
    """The weather in a city at this moment.

    Args:
        city: its English name.
    """
    return f"14 degrees and light rain in {city}"


async def main() -> None:
    question = {"role": "user", "content": "What is the weather in Chengdu and Oslo?"}
    async with AsyncMoonshot() as client:
        async for event in run_tools(client, model="kimi-k2.6", messages=[question], tools=[get_weather]):
            if event.type == "tool.started":
                print(f"{event.name}({event.arguments})")
            elif event.type == "tool.finished":
                print(f"-> {event.content}")
            elif event.type == "content.delta":
                print(event.delta, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main())
