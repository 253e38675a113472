"""Rules about content: its parts, and the images and videos among them.

See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from moonshot_async.catalog import Model
from moonshot_async.fake import media
from moonshot_async.fake.rules.basics import Payload, RefusedError

# Which capability of a model a part needs; no other types of parts exist.
PART_TYPES: Final = {"text": "text", "image_url": "image", "video_url": "video"}

IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif"})
VIDEO_TYPES: Final = frozenset(
    "video/" + name
    for name in (
        "mp4",
        "mpeg",
        "mpg",
        "mov",
        "quicktime",
        "avi",
        "x-msvideo",
        "x-flv",
        "webm",
        "wmv",
        "x-ms-wmv",
        "3gpp",
    )
)

# How much of an address an error repeats.
_SHOWN: Final = 300


def check_content(place: int, message: Payload) -> None:
    """Content is text or a list of parts; a list in a string is text like any other."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise RefusedError(
            f"Invalid request: the content of the message at position {place} must be a string or a list"
        )
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in PART_TYPES:
            raise _unknown_part(place, message, kind)
        if kind == "text":
            if not isinstance(part.get("text"), str) or not part["text"]:
                raise RefusedError("Invalid request: text content is empty")
        else:
            _check_url(kind, media.url_of(part))


def check_media(payload: Payload, model: Model) -> None:
    """A model gets no images and videos that it cannot see."""
    for place, message, part in _media_parts(payload):
        if PART_TYPES[part["type"]] not in model.modalities:
            raise _unknown_part(place, message, part["type"])


def check_files(payload: Payload, purpose_of: Callable[[str], str | None]) -> None:
    """`ms://` names a file that was uploaded to be seen."""
    for _, _, part in _media_parts(payload):
        url = media.url_of(part)
        if not isinstance(url, str) or not url.startswith(media.FILE_SCHEME):
            continue
        id = url.removeprefix(media.FILE_SCHEME)
        purpose, wanted = purpose_of(id), PART_TYPES[part["type"]]
        if purpose is None:
            raise RefusedError(f"Invalid request: the file {id} is not found")
        if purpose != wanted:
            raise RefusedError(f"Invalid request: the purpose of the file {id} is {purpose}, not {wanted}")


def _check_url(kind: str, url: Any) -> None:
    if not isinstance(url, str) or not url:
        raise RefusedError(f"Invalid request: {kind} must have a url")
    noun, types = ("image", IMAGE_TYPES) if kind == "image_url" else ("video", VIDEO_TYPES)
    if url.startswith(media.FILE_SCHEME) and len(url) > len(media.FILE_SCHEME):
        return
    data = media.DataURL.parse(url)
    if data is None:
        raise RefusedError(f"Invalid request: unsupported {noun} url: {url[:_SHOWN]}")
    if data.media_type not in types:
        raise RefusedError(f"Invalid request: unsupported {noun} format: {data.media_type or 'unknown'}")
    if not data.is_sound():
        raise RefusedError(
            f"Invalid request: prepare {noun} failed error, status code: 400, message: failed to decode {noun}: "
            f"invalid or unsupported {noun} format"
        )


def _media_parts(payload: Payload) -> Iterator[tuple[int, Payload, Payload]]:
    for place, message in enumerate(payload["messages"]):
        content = message.get("content")
        if isinstance(content, list):
            yield from ((place, message, part) for part in content if part["type"] != "text")


def _unknown_part(place: int, message: Payload, kind: Any) -> RefusedError:
    return RefusedError(
        f"Invalid request: the message at position {place} with role '{message['role']}' contains an invalid part "
        f"type: {kind}"
    )
