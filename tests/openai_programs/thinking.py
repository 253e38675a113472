# ruff: noqa: T201  # what it prints is what is compared
"""Thinking, read as the vendor's guide says: the library does not know the field, so programs ask whether it is there.

See: https://platform.kimi.ai/docs/guide/use-thinking-models
"""

import asyncio

from openai import AsyncOpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState

client = AsyncOpenAI()
ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Please explain why 1+1=2."}]}


async def tell(**more: object) -> None:
    stream = await client.chat.completions.create(**ASK, **more, stream=True)
    state = ChatCompletionStreamState()
    thinking = False
    thoughts = ""
    async for chunk in stream:
        for _ in state.handle_chunk(chunk):
            pass
        if chunk.choices:
            delta = chunk.choices[0].delta
            if hasattr(delta, "reasoning_content"):
                if not thinking:
                    thinking = True
                    print("=============Start Reasoning=============")
                thoughts += delta.reasoning_content
                print(delta.reasoning_content, end="")
            if delta.content:
                if thinking:
                    thinking = False
                    print("\n=============End Reasoning=============")
                print(delta.content, end="")
    print()
    message = state.get_final_completion().choices[0].message
    print(getattr(message, "reasoning_content", None) == (thoughts or None), message.content)


async def main() -> None:
    await tell()
    await tell(stream_options={"include_usage": True})
    await tell(extra_body={"thinking": {"type": "disabled"}})

    response = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
    print([hasattr(chunk.choices[0].delta, "reasoning_content") async for chunk in response.parse()])


asyncio.run(main())
