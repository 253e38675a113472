# ruff: noqa: T201  # what it prints is what is compared
"""The state of the stream helper on its own, fed with the chunks of a plain stream."""

import asyncio

from openai import AsyncOpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState

client = AsyncOpenAI()


async def main() -> None:
    state = ChatCompletionStreamState()
    stream = await client.chat.completions.create(
        model="kimi-k2.6", messages=[{"role": "user", "content": "Tell me of rain"}], stream=True
    )
    async for chunk in stream:
        for event in state.handle_chunk(chunk):
            if event.type == "content.delta":
                print(repr(event.delta))
        print(state.current_completion_snapshot.choices[0].message.content)
    completion = state.get_final_completion()
    print(completion.choices[0].message.content, completion.choices[0].finish_reason)


asyncio.run(main())
