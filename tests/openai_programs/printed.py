# ruff: noqa: T201  # what it prints is what is compared
"""Objects that are printed and dumped whole."""

import asyncio

import openai
from openai import AsyncOpenAI
from pydantic import BaseModel

client = AsyncOpenAI()
ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "query the table"}]}


class Query(BaseModel):
    table_name: str
    columns: list[str]


async def main() -> None:
    response = await client.chat.completions.with_raw_response.create(**ASK)
    completion = response.parse()
    print(completion)
    print(completion.choices[0].message)
    print(completion.model_dump())
    print(completion.model_dump_json(indent=2))
    print(completion.choices[0].message.model_extra, completion.usage.model_extra, completion.model_extra)
    print(completion.to_dict(use_api_names=False, exclude_none=True))
    silent = await client.chat.completions.create(**ASK, extra_body={"thinking": {"type": "disabled"}})
    print(silent.choices[0], silent.usage)
    print(silent.choices[0].message.model_dump_json())
    print(silent.metadata, silent.usage.prompt_tokens_details.image_tokens)

    completion = await client.chat.completions.create(**ASK, tools=[openai.pydantic_function_tool(Query)])
    print(completion.choices[0].message.tool_calls)
    completion = await client.chat.completions.parse(**ASK, tools=[openai.pydantic_function_tool(Query)])
    tool_call = (completion.choices[0].message.tool_calls or [])[0]
    print(tool_call.function)
    print(tool_call)

    async for chunk in await client.chat.completions.create(**ASK, stream=True, logprobs=True):
        if not chunk.choices[0].finish_reason:
            print(chunk.choices[0].delta, chunk.choices[0].delta.model_extra)
            print(chunk)
            print(chunk.model_dump())

    file = await client.files.create(file=("a.txt", b"abc"), purpose="file-extract")
    print(file)
    print(file.model_dump(), file.expires_at)
    print(await client.files.delete(file.id))
    print((await client.models.list()).data[0])
    print((await client.models.retrieve("kimi-k3")).model_dump())


asyncio.run(main())
