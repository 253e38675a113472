# ruff: noqa: T201  # what it prints is what is compared
"""The package as a module: everything reached through its name, types included."""

import asyncio

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam


async def main() -> None:
    client = openai.AsyncOpenAI(timeout=openai.Timeout(30.0), max_retries=openai.DEFAULT_MAX_RETRIES)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say this is a test"}]
    completion = await client.chat.completions.create(
        model="kimi-k2.6", messages=messages, stop=openai.NOT_GIVEN, tools=openai.omit, seed=openai.NotGiven()
    )
    print(isinstance(completion, ChatCompletion), isinstance(completion, openai.BaseModel))
    stream = await client.chat.completions.create(model="kimi-k2.6", messages=messages, stream=True)
    print(isinstance(stream, openai.AsyncStream), {isinstance(one, ChatCompletionChunk) async for one in stream})
    try:
        await client.chat.completions.create(model="gpt-5.5", messages=messages)
    except openai.OpenAIError as error:
        print(type(error).__name__, isinstance(error, openai.NotFoundError))


asyncio.run(main())
