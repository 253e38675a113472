# ruff: noqa: T201  # what it prints is what is compared
"""All batches, by items and by pages."""

import asyncio
import json

from openai import AsyncOpenAI

client = AsyncOpenAI()


async def main() -> None:
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}
    line = {"custom_id": "q", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = await client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    for _ in range(5):
        await client.batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id)

    every = []
    async for job in client.batches.list(limit=2):
        every.append(job)  # noqa: PERF401  # as people write it
    print([job.id for job in every])

    first_page = await client.batches.list(limit=2)
    if first_page.has_next_page():
        print(f"will fetch next page using these details: {first_page.next_page_info()}")
        next_page = await first_page.get_next_page()
        print(f"number of items we just fetched: {len(next_page.data)}")
        print([job.id for job in next_page.data], next_page.has_more, next_page.object)
    for job in first_page.data:
        print(job.id)
    async for page in first_page.iter_pages():
        print(len(page.data), page.has_next_page())
    async for job in first_page:
        print(job.id)
    last = await client.batches.list(after=every[-2].id)
    print([job.id for job in last.data], last.has_next_page(), last.has_more)


asyncio.run(main())
