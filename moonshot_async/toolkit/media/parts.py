"""Parts of messages, made of images and videos: read and encoded in a worker thread.

See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
"""

import os
from collections.abc import Callable, Iterable, Iterator
from inspect import iscoroutinefunction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol, TypeAlias, TypeVar

from moonshot_async.clocks import CONTEXT_DEADLINE, until
from moonshot_async.errors import APITimeoutError, ConfigurationError
from moonshot_async.threads import in_daemon_thread
from moonshot_async.toolkit.media.base64_text import base64_text
from moonshot_async.toolkit.media.types import IMAGE_TYPES, VIDEO_TYPES, media_type_of
from moonshot_async.types.chat_params import ImagePart, TextPart, VideoPart

Kind: TypeAlias = Literal["image", "video"]
T = TypeVar("T")

# A request body may have 100 MB, and base64 writes 3 bytes as 4; the rest is for the text.
MAX_REQUEST_BYTES: Final = 100 * 1024 * 1024
MAX_INLINE_BYTES: Final = (MAX_REQUEST_BYTES - 1024 * 1024) // 4 * 3
# A multiple of 3, since that is what base64 takes.
_PIECE: Final = 192 * 1024


class UploadedFile(Protocol):
    """What `client.files.create` returns, as far as it counts here."""

    @property
    def id(self) -> str: ...


Source: TypeAlias = "os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | UploadedFile | str"
"""Where an image or a video is.

A path (`Path("roof.png")`), bytes, a file open for reading bytes, what `client.files.create` returned, or text: a
`data:` URL, `ms://` and a file id, or a file id. Text is never a path.
"""


def text(content: str) -> TextPart:
    """A text part, to stand beside images and videos.

    Raises:
        ConfigurationError: it is empty, which the API refuses.
    """
    if not content:
        raise ConfigurationError("a text part must not be empty: leave it out")
    return {"type": "text", "text": content}


async def image(source: Source, *, media_type: str | None = None, pass_url: bool = False) -> ImagePart:
    """An image part: PNG, JPEG, WebP or GIF (an animated one is billed as a video).

    Args:
        source: see `Source`; a file is read from where it stands and stays open.
        media_type: for example "image/png"; else told by the content, then by the name.
        pass_url: hand an http(s) URL on as it is, for hosts that fetch URLs themselves. Moonshot's do not.

    Raises:
        ConfigurationError: it is no such image, larger than a request may be, empty, or a URL; says what to do.
        OSError: the file cannot be read.

    See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
    """
    return {"type": "image_url", "image_url": {"url": await _url("image", source, media_type, pass_url)}}


async def video(source: Source, *, media_type: str | None = None, pass_url: bool = False) -> VideoPart:
    """A video part: MP4, MOV, AVI, WebM, MPEG, FLV, WMV or 3GPP; see `image` for the rest.

    See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
    """
    return {"type": "video_url", "video_url": {"url": await _url("video", source, media_type, pass_url)}}


async def _url(kind: Kind, source: Any, media_type: str | None, pass_url: bool) -> str:
    if media_type is not None:
        _check_type(kind, media_type)
    if isinstance(source, str):
        return _from_text(kind, source.strip(), pass_url)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return await _in_thread(lambda: _of_bytes(kind, source, "", media_type))
    if isinstance(source, os.PathLike):
        path = Path(source)
        return await _in_thread(lambda: _of_path(kind, path, media_type))
    if callable(read := getattr(source, "read", None)):
        name = str(getattr(source, "name", ""))
        if iscoroutinefunction(read):
            data = _checked_bytes(await read(MAX_INLINE_BYTES + 1))
            return await _in_thread(lambda: _of_bytes(kind, data, name, media_type))
        return await _in_thread(lambda: _of_file(kind, source, name, media_type))
    if isinstance(id := getattr(source, "id", None), str):
        return _from_upload(kind, id, getattr(source, "purpose", None))
    raise ConfigurationError(
        f"{_article(kind)} can be a path, bytes, an open file, an uploaded file or a data: URL, "
        f"not {type(source).__name__}"
    )


def _from_text(kind: Kind, source: str, pass_url: bool) -> str:
    if source.startswith("ms://"):
        return source
    scheme = source[:16].partition(":")[0].lower() if ":" in source[:16] else ""
    if scheme == "data":
        _check_type(kind, source[5:].partition(",")[0].partition(";")[0])
        _check_size(kind, len(source), MAX_REQUEST_BYTES)
        return source
    if scheme in ("http", "https"):
        if pass_url:
            return source
        raise ConfigurationError(
            f"the API fetches no http(s) URLs, and neither does this package: download the {kind} and pass its bytes, "
            f"or upload it with client.files.create(purpose={kind!r}). A host that does fetch URLs: pass_url=True"
        )
    if not source or any(mark in source for mark in "/\\.: "):
        raise ConfigurationError(
            f"text stands for a data: URL, ms:// and a file id, or a file id. For {_article(kind)} on disk pass Path(…)"
        )
    return f"ms://{source}"


def _from_upload(kind: Kind, id: str, purpose: object) -> str:
    if isinstance(purpose, str) and purpose not in ("image", "video"):
        raise ConfigurationError(
            f"file {id} was uploaded for {purpose!r}: upload it with purpose={kind!r} to show it to a model"
        )
    return f"ms://{id}"


def _of_path(kind: Kind, path: Path, media_type: str | None) -> str:
    with path.open("rb") as file:
        _check_size(kind, os.fstat(file.fileno()).st_size)
        return _of_file(kind, file, path.name, media_type)


def _of_file(kind: Kind, file: Any, name: str, media_type: str | None) -> str:
    """Read a file and encode it piece by piece: nothing but its URL is in memory as a whole."""
    pieces = _pieces(kind, file)
    return _data_url(kind, next(pieces, b""), pieces, _size_of(file), name, media_type)


def _size_of(file: Any) -> int:
    """About how large a file is."""
    try:
        return min(os.fstat(file.fileno()).st_size, MAX_INLINE_BYTES)
    except (AttributeError, OSError, TypeError, ValueError, RuntimeError):
        return _PIECE


def _pieces(kind: Kind, file: Any) -> Iterator[bytes]:
    """What a file has, up to a byte more than may be sent."""
    size = 0
    while piece := _piece(file, min(_PIECE, MAX_INLINE_BYTES + 1 - size)):
        size += len(piece)
        if size > MAX_INLINE_BYTES:
            _check_size(kind, size)
        yield piece


def _piece(file: Any, size: int) -> bytes:
    """So much of a file, less only at its end: a pipe gives less at a time, too little to tell its type."""
    piece = _checked_bytes(file.read(size))
    while len(piece) < size and (more := _checked_bytes(file.read(size - len(piece)))):
        piece += more
    return piece


def _checked_bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise ConfigurationError(f"the file must be open for bytes, with 'rb': reading it gave {type(data).__name__}")
    return data


def _of_bytes(kind: Kind, data: bytes | bytearray | memoryview, name: str, media_type: str | None) -> str:
    view = memoryview(data)
    view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    _check_size(kind, len(view))
    rest = (view[at : at + _PIECE] for at in range(_PIECE, len(view), _PIECE))
    return _data_url(kind, bytes(view[:_PIECE]), rest, len(view), name, media_type)


def _data_url(
    kind: Kind, first: bytes, rest: Iterable[bytes | memoryview], size: int, name: str, media_type: str | None
) -> str:
    _check_size(kind, len(first))
    found = media_type or media_type_of(first, name)
    if found is not None:
        _check_type(kind, found)
    if found is None or not (media_type or found in _types(kind)):
        raise ConfigurationError(
            f"the API takes no such {kind} ({found or 'of an unknown type'}), but {_known(kind)}: convert it. If it is "
            "one of these, say so with media_type="
        )
    return base64_text(f"data:{found};base64,", chain((first,), rest), size)


def _check_type(kind: Kind, media_type: str) -> None:
    lower = media_type.strip().lower()
    if not media_type.isascii():
        raise ConfigurationError("a media type has ASCII characters only, as in image/png")
    if lower.startswith("image/svg"):
        raise ConfigurationError("the API takes no SVG: render it to PNG first")
    if not lower.startswith(f"{kind}/"):
        other = lower.partition("/")[0]
        hint = f"; use media.{other}()" if other in ("image", "video") else f": {_article(kind)} is {_known(kind)}"
        raise ConfigurationError(f"this is {media_type or 'of no type'}, not {_article(kind)}{hint}")


def _check_size(kind: Kind, size: int, limit: int | None = None) -> None:
    if size == 0:
        raise ConfigurationError(f"the {kind} is empty")
    limit = MAX_INLINE_BYTES if limit is None else limit
    if size > limit:
        raise ConfigurationError(
            f"the {kind} is too large for a request: {limit} bytes of it fit into the 100 MB of a body. Upload it "
            f"with client.files.create(file=Path(…), purpose={kind!r}), up to 100 MB, and pass what that returns"
        )


def _types(kind: Kind) -> Iterable[str]:
    return (IMAGE_TYPES if kind == "image" else VIDEO_TYPES).values()


def _known(kind: Kind) -> str:
    return ", ".join(sorted({media_type.partition("/")[2] for media_type in _types(kind)}))


def _article(kind: Kind) -> str:
    return "an image" if kind == "image" else "a video"


async def _in_thread(work: Callable[[], T]) -> T:
    # A path may be that of a pipe.
    return await until(
        CONTEXT_DEADLINE.get(),
        in_daemon_thread(work),
        lambda: APITimeoutError(message="The deadline ran out while the file was read.", clock="deadline"),
    )
