# ruff: noqa: T201  # what it prints is what is compared
"""Ask, and look at the answer in every way that response objects offer."""

import asyncio

from openai import AsyncOpenAI

client = AsyncOpenAI()


async def main() -> None:
    completion = await client.chat.completions.create(
        model="kimi-k2.6",
        messages=[
            {"role": "system", "content": "Talk like a pirate."},
            {"role": "user", "content": "How do I check if a Python object is an instance of a class?"},
        ],
    )
    print(completion.choices[0].message.content)
    print(completion.model_dump_json(exclude_none=True))
    print(completion.model_dump_json(indent=2, exclude_unset=True))
    print(completion.to_json())
    print(completion.to_dict())
    print(completion.model_dump(exclude_none=True), completion.model_dump(mode="json")["id"])
    print(completion.choices[0].message.to_dict())
    print(completion.choices[0].message.reasoning_content)
    print(completion.usage.prompt_tokens_details.cached_tokens, completion.usage.cached_tokens)
    print(completion == completion.model_copy(), completion.model_copy(update={"model": "other"}).model)
    message = completion.choices[0].message
    print(message.refusal, "refusal" in message.model_fields_set, "content" in message.model_fields_set)
    print(completion.system_fingerprint is None, "system_fingerprint" in completion.model_fields_set)
    print(type(completion).model_validate(completion.model_dump()) == completion)
    print(type(completion).construct(**completion.to_dict()).id == completion.id)


asyncio.run(main())
