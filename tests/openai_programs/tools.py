# ruff: noqa: T201  # what it prints is what is compared
"""A conversation with tools, whose messages are the response objects themselves."""

import asyncio
import json

from openai import AsyncOpenAI

client = AsyncOpenAI()
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {what} of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Its name"}},
                "required": ["city"],
            },
        },
    }
    for name, what in (("get_weather", "weather"), ("get_time", "time"))
]


async def main() -> None:
    messages = [{"role": "user", "content": "The weather and the time in Paris?"}]
    for _ in range(5):
        completion = await client.chat.completions.create(
            model="kimi-k2.6", messages=messages, tools=TOOLS, tool_choice="auto", parallel_tool_calls=True
        )
        message = completion.choices[0].message
        messages.append(message)
        print(message.content, message.reasoning_content, completion.choices[0].finish_reason)
        for call in message.tool_calls or []:
            print(call.id, call.type, call.function.name, json.loads(call.function.arguments))
            print(call.model_dump())
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "fine"})
        if not message.tool_calls:
            break

    stream = await client.chat.completions.create(model="kimi-k2.6", messages=messages[:1], tools=TOOLS, stream=True)
    pieces: dict[int, str] = {}
    async for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                pieces[call.index] = pieces.get(call.index, "") + (call.function.arguments or "")
                if call.function.name:
                    print(call.index, call.id, call.type, call.function.name)
    print(pieces)


asyncio.run(main())
