"""What a source of an image or a video is: a reference or bytes, an image or a video; and what its file is called."""

from inspect import iscoroutinefunction
from os import PathLike
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.errors import ConfigurationError
from moonshot_async.resources.upload_reading import Source as Bytes
from moonshot_async.toolkit.media.parts import MAX_INLINE_BYTES, Kind, image, video
from moonshot_async.toolkit.media.types import IMAGE_TYPES, VIDEO_TYPES, media_type_of
from moonshot_async.types.chat_params import ImagePart, VideoPart

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

SCHEME: Final = "ms://"
_SUFFIXES: Final[dict[Kind, dict[str, str]]] = {"image": IMAGE_TYPES, "video": VIDEO_TYPES}


def is_reference(source: object) -> bool:
    """Whether a source is text, or a file that was uploaded, and not bytes, a path or an open file."""
    if isinstance(source, str):
        return True
    held = isinstance(source, (bytes, bytearray, memoryview, tuple, PathLike)) or hasattr(source, "read")
    return not held and isinstance(getattr(source, "id", None), str)


async def kind_of_reference(source: Any, client: "AsyncMoonshot | None", *, pass_url: bool) -> Kind:
    """Whether a reference is to an image or to a video; the service is asked where nothing else tells.

    Raises:
        ConfigurationError: it is neither, or nobody can be asked; says what to do.
        APIError: in all its kinds.
    """
    if isinstance(source, str):
        head = source.strip()[:32].lower()
        if head.startswith("data:"):
            return "video" if head.startswith("data:video/") else "image"
        if head.startswith(("http:", "https:")) and pass_url:
            raise ConfigurationError("what is behind a URL is not looked at: say kind='image' or kind='video'")
        # Refuses what is no id.
        await image(source)
        id, purpose = source.strip().removeprefix(SCHEME), None
    else:
        id, purpose = source.id, getattr(source, "purpose", None)
    if purpose is None:
        if client is None:
            raise ConfigurationError(f"whether file {id} is an image or a video: say kind=, or give client= to look")
        purpose = (await client.files.retrieve(id)).purpose
    if purpose not in ("image", "video"):
        raise ConfigurationError(f"file {id} was uploaded for {purpose!r}: upload it for 'image' or for 'video'")
    return "video" if purpose == "video" else "image"


async def inline(kind: Kind, source: Any, media_type: str | None, *, pass_url: bool = False) -> ImagePart | VideoPart:
    """A part of what is known to be an image or a video."""
    if kind not in ("image", "video"):
        raise ConfigurationError(f"kind must be 'image' or 'video', not {kind!r}")
    make = image if kind == "image" else video
    return await make(source, media_type=media_type, pass_url=pass_url)


def told(head: bytes, name: str, kind: Kind | None, media_type: str | None, else_type: str | None) -> tuple[Kind, str]:
    """What bytes are that begin so: an image or a video, and of what type; `else_type` where nothing tells.

    Raises:
        ConfigurationError: they are neither, or of a type that the API does not take.
    """
    found = media_type or media_type_of(head, name) or else_type
    if found is None:
        raise ConfigurationError(
            f"{name!r} is neither an image nor a video that the API takes, as far as its content tells: convert it, or "
            "say what it is with media_type="
        )
    is_of: Kind = "video" if found.startswith("video/") else "image"
    if kind is not None and kind != is_of:
        raise ConfigurationError(f"{name!r} is {found}, not of the kind {kind!r}")
    if media_type is None and found not in _SUFFIXES[is_of].values():
        raise ConfigurationError(f"the API takes no {found}, which {name!r} is: convert it")
    return is_of, found


def file_name(name: str, kind: Kind, media_type: str) -> str:
    """A name whose end says what the file is, since the service goes by that."""
    suffixes = _SUFFIXES[kind]
    if PurePath(name).suffix.lower().removeprefix(".") in suffixes:
        return name
    fitting = next((suffix for suffix, told in suffixes.items() if told == media_type), next(iter(suffixes)))
    return f"{PurePath(name).stem or kind}.{fitting}"


async def readable(source: Any) -> Any:
    """A source as `client.files.create` takes it: what is read by coroutines is read."""
    if iscoroutinefunction(read := getattr(source, "read", None)):
        name = PurePath(str(getattr(source, "name", "") or "upload")).name
        return (name, await read(MAX_INLINE_BYTES + 1))
    if isinstance(source, memoryview) and not source.c_contiguous:
        return source.tobytes()
    return source


async def all_of(source: Bytes) -> bytes:
    """The bytes of a source; for what is not large."""
    reading = source.reading()
    pieces: list[bytes] = []
    done = 0
    try:
        while done < source.size:
            pieces.append(await reading.next(done))
            done += len(pieces[-1])
        return b"".join(pieces)
    finally:
        reading.close()
        pieces.clear()


async def head_of(source: Bytes) -> bytes:
    """How the bytes of a source begin."""
    reading = source.reading()
    try:
        return (await reading.next(0))[:4096]
    finally:
        reading.close()
