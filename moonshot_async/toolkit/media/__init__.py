"""Images and videos for messages: from paths, bytes, open files, uploaded files and `data:` URLs.

    part = await media.image(Path("roof.png"))                      # in the request itself
    messages = [{"role": "user", "content": [part, media.text("What is shown?")]}]

    async with media.Uploads(client) as uploads:                    # by size: in the request, or uploaded
        part = await uploads.part(Path("rain.mp4"))
        tokens = await media.estimate_tokens(client, part, model="kimi-k2.6")
        ...                                                         # what was uploaded is deleted at the end

Reading and encoding happen in a worker thread. What is large, or sent more than once, is better uploaded: files may
have 100 MB, and messages only carry their ids.

Nothing is fetched here, and Moonshot's own hosts fetch nothing either: an http(s) URL is refused, or with
`pass_url=True` handed on to a host that fetches it itself.

See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
"""

from typing import TYPE_CHECKING, Any, Final

from moonshot_async.toolkit.media.parts import MAX_INLINE_BYTES as MAX_INLINE_BYTES
from moonshot_async.toolkit.media.parts import MAX_REQUEST_BYTES as MAX_REQUEST_BYTES
from moonshot_async.toolkit.media.parts import Kind as Kind
from moonshot_async.toolkit.media.parts import Source as Source
from moonshot_async.toolkit.media.parts import UploadedFile as UploadedFile
from moonshot_async.toolkit.media.parts import image as image
from moonshot_async.toolkit.media.parts import text as text
from moonshot_async.toolkit.media.parts import video as video

if TYPE_CHECKING:
    from moonshot_async.toolkit.media.tokens import estimate_tokens as estimate_tokens
    from moonshot_async.toolkit.media.uploads import INLINE_UP_TO as INLINE_UP_TO
    from moonshot_async.toolkit.media.uploads import Uploads as Uploads
    from moonshot_async.toolkit.media.uploads import file_id as file_id
    from moonshot_async.toolkit.media.uploads import part as part
    from moonshot_async.toolkit.media.uploads import upload_image as upload_image
    from moonshot_async.toolkit.media.uploads import upload_video as upload_video

__all__ = [
    "INLINE_UP_TO",
    "MAX_INLINE_BYTES",
    "MAX_REQUEST_BYTES",
    "Kind",
    "Source",
    "UploadedFile",
    "Uploads",
    "estimate_tokens",
    "file_id",
    "image",
    "part",
    "text",
    "upload_image",
    "upload_video",
    "video",
]

# What uploads is imported by those who use it.
_HOMES: Final = {
    "INLINE_UP_TO": "uploads",
    "Uploads": "uploads",
    "estimate_tokens": "tokens",
    "file_id": "uploads",
    "part": "uploads",
    "upload_image": "uploads",
    "upload_video": "uploads",
}


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = value = getattr(import_module(f"moonshot_async.toolkit.media.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
