# ruff: noqa: T201  # what it prints is what is compared
"""Answers that are parsed into pydantic models."""

import asyncio

from openai import AsyncOpenAI, LengthFinishReasonError
from pydantic import BaseModel


class Step(BaseModel):
    explanation: str
    output: str


class MathResponse(BaseModel):
    steps: list[Step]
    final_answer: str


client = AsyncOpenAI()
ASK = {
    "model": "kimi-k2.6",
    "messages": [
        {"role": "system", "content": "You are a helpful math tutor."},
        {"role": "user", "content": "solve 8x + 31 = 2"},
    ],
}


async def main() -> None:
    completion = await client.chat.completions.parse(**ASK, response_format=MathResponse)
    message = completion.choices[0].message
    if message.parsed:
        print(message.parsed.steps)
        print("answer: ", message.parsed.final_answer)
    else:
        print(message.refusal)
    print(message.content)
    print(isinstance(message.parsed, MathResponse))

    completion = await client.beta.chat.completions.parse(**ASK)
    print(completion.choices[0].message.parsed, completion.choices[0].message.content)

    async with client.chat.completions.stream(**ASK, response_format=MathResponse) as stream:
        async for event in stream:
            if event.type == "content.delta":
                print(event.parsed)
            elif event.type == "content.done":
                print(event.parsed.final_answer)
        print((await stream.get_final_completion()).choices[0].message.parsed.steps)

    try:
        await client.chat.completions.parse(**ASK, response_format=MathResponse, max_tokens=20)
    except LengthFinishReasonError as error:
        print(error.completion.choices[0].finish_reason, isinstance(error.completion.usage.total_tokens, int))


asyncio.run(main())
