# ruff: noqa: T201  # what it prints is what is compared
"""Files in every form in which they can be given, and their way to deletion."""

import asyncio
import io
import tempfile
from pathlib import Path

from openai import AsyncOpenAI, BadRequestError, NotFoundError

client = AsyncOpenAI()
LINE = (
    '{"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", '
    '"body": {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}}\n'
)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input.jsonl")
        path.write_text(LINE, encoding="utf-8")
        file = await client.files.create(file=Path(path), purpose="batch")
        print(file.id, file.object, file.bytes, file.filename, file.purpose, file.status, file.created_at)
        with path.open("rb") as opened:  # noqa: ASYNC230  # nothing else runs here
            print((await client.files.create(file=opened, purpose="batch")).filename)
    named = io.BytesIO(b"It snows.")
    named.name = "snow.txt"
    for given in (
        named,
        ("hail.txt", io.BytesIO(b"It hails."), "text/plain"),
        ("fog.md", b"# Fog"),
        ("fog.md", b"# Fog", "text/markdown", {"X-Part": "1"}),
    ):
        file = await client.files.create(file=given, purpose="file-extract")
        print(file.filename, file.bytes, file.to_dict())
    print([(one.id, one.filename) for one in (await client.files.list()).data])
    async for one in client.files.list(order="asc"):
        print(one.id)
    content = await client.files.content(file.id)
    print(content.text)
    print(content.read() == content.content == await content.aread(), content.json()["filename"])
    print((await client.files.retrieve(file.id)).model_dump_json(exclude_none=True))
    print((await client.files.delete(file.id)).model_dump())
    try:
        await client.files.content(file.id)
    except NotFoundError as error:
        print(error.status_code, error.type)
    try:
        await client.files.create(file=("a.txt", b"text"), purpose="assistants")
    except BadRequestError as error:
        print(error.status_code, error.type)


asyncio.run(main())
