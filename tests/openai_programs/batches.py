# ruff: noqa: T201  # what it prints is what is compared
"""A batch, from the upload of its requests to its cancellation."""

import asyncio
import json

from openai import AsyncOpenAI

client = AsyncOpenAI()


async def main() -> None:
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}
    lines = [
        json.dumps({"custom_id": f"q{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})
        for number in range(3)
    ]
    file = await client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = await client.batches.create(
        completion_window="24h",
        endpoint="/v1/chat/completions",
        input_file_id=file.id,
        metadata={"job": "nightly"},
    )
    print(batch.id, batch.object, batch.endpoint, batch.input_file_id, batch.completion_window, batch.metadata)
    print(batch.status, batch.output_file_id, batch.error_file_id, batch.completed_at, batch.created_at)
    batch = await client.batches.retrieve(batch.id)
    print(batch.to_dict(exclude_none=True))
    if batch.request_counts:
        print(batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed)
    batch = await client.batches.cancel(batch.id)
    print(batch.status, batch.model_dump_json(exclude_none=True))


asyncio.run(main())
