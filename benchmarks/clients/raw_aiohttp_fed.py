"""aiohttp with a body that is fed by hand: form data around blocks of a file, which a thread reads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.clients.raw_aiohttp import File, connect_session

BLOCK_BYTES = 256 * 1024
BOUNDARY = "benchmark-6f1c2a9d8e7b4c5f"


class Fed:
    """See `benchmarks.clients.registry.Uploading`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._files = session, f"{url}/files"

    async def upload(self, path: Path) -> int:
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfile-extract\r\n--{BOUNDARY}\r\n'
        part += f'Content-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        start = (part + "Content-Type: application/octet-stream\r\n\r\n").encode()
        end = f"\r\n--{BOUNDARY}--\r\n".encode()

        async def body() -> AsyncIterator[bytes]:
            yield start
            with await asyncio.to_thread(path.open, "rb") as file:
                while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                    yield block
            yield end

        length = len(start) + path.stat().st_size + len(end)  # noqa: ASYNC240 (once, of a file that is there)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(length)}
        async with self._session.post(self._files, data=body(), headers=headers) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=File).bytes


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[Fed]:
    """A session with as many connections as are needed."""
    async with connect_session() as session:
        yield Fed(session, url)
