"""What somebody who knows both would write by hand for exactly these answers, with aiohttp and msgspec.

Structs with all fields of the answers; one clock, `sock_read`; the defaults that are known to be slow turned off. No
retry, no errors told apart, no bounds, no clocks for the first token or for silence.
"""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.answers import Ask
from benchmarks.clients.registry import Take


class CutStreamError(Exception):
    """The stream ended without `[DONE]`."""


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0


class Message(msgspec.Struct):
    role: str | None = None
    content: str | None = None


class Choice(msgspec.Struct):
    index: int
    message: Message
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Message
    finish_reason: str | None = None
    usage: Usage | None = None


class Chunk(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class File(msgspec.Struct):
    id: str
    bytes: int


decode_completion = msgspec.json.Decoder(Completion).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode
encode = msgspec.json.Encoder().encode


async def chunks(blocks: AsyncIterable[bytes]) -> AsyncIterator[Chunk]:
    """The chunks in blocks of bytes that may be cut anywhere, up to `[DONE]`.

    Raises:
        CutStreamError: it did not come.
    """
    rest = b""
    async for block in blocks:
        *events, rest = (rest + block).split(b"\n\n")
        for event in events:
            if event == b"data: [DONE]":
                return
            yield decode_chunk(event[6:])
    raise CutStreamError


class RawAiohttp:
    """See `benchmarks.clients.registry.Client`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._chat, self._files = f"{url}/chat/completions", f"{url}/files"

    async def unary(self, ask: Ask) -> tuple[str, int]:
        async with self._session.post(self._chat, data=encode(ask)) as response:
            response.raise_for_status()
            completion = decode_completion(await response.read())
        return completion.choices[0].message.content or "", completion.usage.prompt_tokens if completion.usage else 0

    async def stream(self, ask: Ask, take: Take) -> None:
        async with self._session.post(self._chat, data=encode({**ask, "stream": True})) as response:
            response.raise_for_status()
            async for chunk in chunks(response.content.iter_any()):
                if text := chunk.choices[0].delta.content:
                    take(text)
            # What follows [DONE] is read, so that the connection can be used again.
            await response.read()

    async def upload(self, path: Path) -> int:
        form = aiohttp.FormData({"purpose": "file-extract"})
        with path.open("rb") as file:
            form.add_field("file", file, filename=path.name, content_type="application/octet-stream")
            body = form()
            headers = {"Content-Type": body.content_type}
            async with self._session.post(self._files, data=body, headers=headers) as response:
                response.raise_for_status()
                return msgspec.json.decode(await response.read(), type=File).bytes


def connect_session() -> aiohttp.ClientSession:
    """A session with as many connections as are needed."""
    headers = {"Authorization": "Bearer sk-benchmark", "Content-Type": "application/json"}
    clock = aiohttp.ClientTimeout(total=None, sock_read=600)
    connector, jar = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(headers=headers, timeout=clock, connector=connector, cookie_jar=jar)


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[RawAiohttp]:
    """See `connect_session`."""
    async with connect_session() as session:
        yield RawAiohttp(session, url)
