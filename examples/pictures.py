"""Show a model pictures: small ones go into the request, large ones are uploaded. Needs MOONSHOT_API_KEY."""

import asyncio
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit import media

MODEL = "kimi-k2.6"


def write_png(path: Path, side: int, color: bytes) -> Path:
    """A square of one color; take pictures and videos of your own instead."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + color * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    # Not compressed, so that the large one is large.
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
    )
    return path


async def main(directory: Path) -> None:
    small = write_png(directory / "red.png", 64, b"\xff\x00\x00")
    large = write_png(directory / "blue.png", 512, b"\x00\x00\xff")

    # Uploads are deleted at the end of the block. The same content is uploaded once.
    async with AsyncMoonshot() as client, media.Uploads(client, inline_up_to=100_000) as uploads:
        parts = [await uploads.part(small), await uploads.part(large), await uploads.part(large)]
        for part in parts:
            print("sent as", media.file_id(part) or "a part of the request")

        content = [*parts, media.text("Which colors are these squares?")]
        print("about", await media.estimate_tokens(client, content, model=MODEL), "tokens")

        completion = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
        print(completion.choices[0].message.content)


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))
