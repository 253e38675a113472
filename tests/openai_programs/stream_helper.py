# ruff: noqa: T201  # what it prints is what is compared
"""`.stream()`: its events, its snapshots and its final completion."""

import asyncio

from openai import AsyncOpenAI

client = AsyncOpenAI()
ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Tell me of rain"}]}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def known(event: object) -> bool:
    """Events that only one of the libraries has: reasoning is no part of OpenAI's chat completions."""
    return not str(event.type).startswith(("reasoning", "usage"))


async def whole_answers() -> None:
    async with client.chat.completions.stream(**ASK) as stream:
        async for event in stream:
            if event.type == "content.delta":
                print(event.delta, flush=True, end="")
        print()
    completion = await stream.get_final_completion()
    print(completion.choices[0].message.content)
    print(completion.choices[0].message.reasoning_content)
    print(completion.choices[0].message.parsed, completion.choices[0].message.role)

    async with client.chat.completions.stream(**ASK, stream_options={"include_usage": True}) as stream:
        types = [event.type async for event in stream if known(event)]
        print(types)
        completion = await stream.get_final_completion()
        print(completion.id, completion.model, completion.created, completion.object, completion.usage.total_tokens)

    async with client.chat.completions.stream(**ASK) as stream:
        async for event in stream:
            if event.type == "content.delta":
                print(repr(event.delta), repr(event.snapshot), event.parsed)
            elif event.type == "content.done":
                print(event.type, event.content, event.parsed)
            elif event.type == "chunk":
                print(
                    event.chunk.id, event.snapshot.choices[0].message.content, event.snapshot.choices[0].finish_reason
                )

    async with client.chat.completions.stream(**ASK) as stream:
        await stream.until_done()
    print(stream.current_completion_snapshot.choices[0].message.content)


async def parts_of_answers() -> None:
    weather = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Weather in Oslo?"}], "tools": [TOOL]}
    async with client.chat.completions.stream(**weather) as stream:
        async for event in stream:
            if event.type == "tool_calls.function.arguments.delta":
                print(event.type, event.name, event.index, repr(event.arguments), repr(event.arguments_delta))
                print(event.parsed_arguments)
            elif event.type == "tool_calls.function.arguments.done":
                print(event.type, event.name, event.index, event.arguments, event.parsed_arguments)
        message = (await stream.get_final_completion()).choices[0].message
    print(message.tool_calls[0].id, message.tool_calls[0].type, message.tool_calls[0].function.parsed_arguments)

    async with client.chat.completions.stream(**ASK, logprobs=True, top_logprobs=2) as stream:
        async for event in stream:
            if event.type == "logprobs.content.delta":
                print(event.type, [one.token for one in event.content], len(event.snapshot))
            elif event.type == "logprobs.content.done":
                print(event.type, len(event.content), event.content[0].top_logprobs[0].token)


async def main() -> None:
    await whole_answers()
    await parts_of_answers()


asyncio.run(main())
