"""Let the model call a function, and answer with what it returned. Needs MOONSHOT_API_KEY."""

import asyncio
import json
from typing import Any

from moonshot_async import AsyncMoonshot

MODEL = "kimi-k2.6"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city at this moment",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def get_weather(city: str) -> str:
    return f"14 degrees and light rain in {city}"


async def main() -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Chengdu?"}]
    async with AsyncMoonshot() as client:
        while True:
            completion = await client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
            message = completion.choices[0].message
            # Put back as it came: the API wants its reasoning again beside the results of its calls.
            messages.append(message)
            if not message.tool_calls:
                break
            for call in message.tool_calls:
                result = get_weather(**json.loads(call.function.arguments))
                print(f"{call.function.name}({call.function.arguments}) -> {result}")
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    print(message.content)


if __name__ == "__main__":
    asyncio.run(main())
