# ruff: noqa: T201  # what it prints is what is compared
"""Heads and bodies as they came, eager and streamed."""

import asyncio

import openai
from openai import AsyncOpenAI

client = AsyncOpenAI(max_retries=0)
ASK = {"messages": [{"role": "user", "content": "Say this is a test"}], "model": "kimi-k2.6"}


async def main() -> None:
    response = await client.chat.completions.with_raw_response.create(**ASK)
    print(response.headers.get("X-My-Header"), response.headers["content-type"], response.headers.get("nothing"))
    print(response.status_code, response.method, str(response.url), response.request_id, response.retries_taken)
    completion = response.parse()
    print(completion.choices[0].message.content)
    print(response.text == response.content.decode(), response.http_response.status_code)
    print(response.http_request.method, response.elapsed.total_seconds() >= 0)
    print((await client.with_raw_response.models.list()).parse().data[0].id)

    response = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
    async for chunk in response.parse():
        print(chunk.choices[0].delta.content)

    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        print(response.headers.get("X-My-Header"), response.status_code)
        async for line in response.iter_lines():
            print(line)
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        async for line in response.iter_lines():
            print(line)
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        print((await response.parse()).id)
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        async for chunk in await response.parse():
            print(chunk.choices[0].finish_reason)
    async with client.models.with_streaming_response.list() as response:
        print(len(await response.read()) > 100, (await response.json())["object"])
    async with client.models.with_streaming_response.list() as response:
        print(await response.text())
    async with client.with_streaming_response.models.list() as response:
        print(len(b"".join([piece async for piece in response.iter_bytes(chunk_size=16)])))
    async with client.models.with_streaming_response.list() as response:
        print(len("".join([piece async for piece in response.iter_text()])))
        await response.close()
    file = await client.files.create(file=("a.md", b"# Rain"), purpose="file-extract")
    async with client.files.with_streaming_response.content(file.id) as response:
        print(b"".join([piece async for piece in response.iter_bytes()]))
    try:
        await client.chat.completions.with_raw_response.create(**ASK | {"model": "gpt-5.5"})
    except openai.NotFoundError as error:
        print(error.status_code)
    try:
        async with client.chat.completions.with_streaming_response.create(**ASK | {"model": "gpt-5.5"}):
            print("not reached")
    except openai.NotFoundError as error:
        print(error.status_code)


asyncio.run(main())
