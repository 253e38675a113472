# ruff: noqa: T201  # what it prints is what is compared
"""Parameters that are dictionaries, and every keyword that openai has and the service takes."""

import asyncio
import base64
import json

from openai import NOT_GIVEN, AsyncOpenAI, omit


async def main() -> None:
    async with AsyncOpenAI() as client:
        completion = await client.chat.completions.create(
            messages=[{"role": "user", "content": "How much? Answer in JSON."}],
            model="kimi-k2.6",
            response_format={"type": "json_object"},
        )
        print(json.loads(completion.choices[0].message.content or ""))
        picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode("utf-8")
        content = [
            {"type": "text", "text": "What is in this image?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        ]
        completion = await client.chat.completions.create(
            model="kimi-k3", messages=[{"role": "user", "content": content}], reasoning_effort="low"
        )
        print(completion.choices[0].message.content)
        completion = await client.chat.completions.create(
            model="kimi-k2.6",
            messages=[{"role": "user", "content": "Say this is a test"}],
            temperature=1.0,
            top_p=0.95,
            n=1,
            presence_penalty=0,
            frequency_penalty=0,
            max_completion_tokens=7,
            stop=NOT_GIVEN,
            tools=omit,
            tool_choice=NOT_GIVEN,
            safety_identifier="user-1",
            prompt_cache_key="session-1",
            stream=False,
        )
        print(completion.choices[0].finish_reason, repr(completion.choices[0].message.content))
        print(completion.usage.completion_tokens, completion.usage.completion_tokens_details.reasoning_tokens)


asyncio.run(main())
