"""Images and videos in a prompt: where they come from, and what they count."""

import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec

FILE_SCHEME: Final = "ms://"

# One token of an image stands for a square of this many pixels; larger images are shrunk to the most tokens.
_TOKEN_PIXELS: Final = 28
_MOST_IMAGE_TOKENS: Final = 4096
# For what cannot be measured: an uploaded file, or a format that is not read here.
_IMAGE_TOKENS: Final = 1024
_VIDEO_TOKENS: Final = 8192

# Enough of a file to find its size in pixels, in characters of base64.
_HEAD: Final = 64 * 1024


class DataURL(msgspec.Struct, frozen=True):
    """A `data:` address in base64, taken apart but not decoded."""

    media_type: str
    content: str

    @classmethod
    def parse(cls, url: str) -> "DataURL | None":
        """Take an address apart; None for any other one."""
        head, comma, content = url.partition(",")
        if not comma or not head.startswith("data:") or not head.endswith(";base64"):
            return None
        return cls(head.removeprefix("data:").split(";")[0].strip().lower(), content)

    def is_sound(self) -> bool:
        """Whether it holds something, and nothing that is not base64. Missing padding is forgiven."""
        try:
            return bool(_decoded(self.content))
        except (binascii.Error, ValueError):
            return False

    def head(self) -> bytes:
        """The first bytes; none where they are not base64."""
        try:
            return _decoded(self.content[:_HEAD])
        except (binascii.Error, ValueError):
            return b""


def url_of(part: Mapping[str, Any]) -> Any:
    """The address in a part: `{"image_url": {"url": ...}}`, or without the object around it."""
    holder = part.get(str(part.get("type")))
    return holder.get("url") if isinstance(holder, Mapping) else holder


def tokens_of(part: Mapping[str, Any]) -> int:
    """Estimate what an image or a video counts, by its pixels where they can be told; never by the size of its file."""
    if part.get("type") == "video_url":
        return _VIDEO_TOKENS
    url = url_of(part)
    data = DataURL.parse(url) if isinstance(url, str) else None
    size = None if data is None else _pixels(data.head())
    if size is None:
        return _IMAGE_TOKENS
    width, height = (math.ceil(side / _TOKEN_PIXELS) for side in size)
    return min(max(1, width * height), _MOST_IMAGE_TOKENS)


def _decoded(content: str) -> bytes:
    content = content.replace("\r", "").replace("\n", "").rstrip("=")
    return binascii.a2b_base64(content + "=" * (-len(content) % 4), strict_mode=True)


def _pixels(head: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF or JPEG image."""
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", head[16:24])
        if head.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack("<HH", head[6:10])
        return _jpeg_pixels(head) if head.startswith(b"\xff\xd8") else None
    except struct.error:
        return None


def _jpeg_pixels(head: bytes) -> tuple[int, int] | None:
    """Walk from segment to segment until the one that starts the frame."""
    place = 2
    while place + 4 <= len(head):
        marker, length = struct.unpack(">HH", head[place : place + 4])
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack(">HH", head[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return None
