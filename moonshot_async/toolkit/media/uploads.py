"""Images and videos that go into the request where they are small, and are uploaded where they are not.

See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
"""

from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from moonshot_async.errors import ConfigurationError
from moonshot_async.resources.upload_reading import Source as Bytes
from moonshot_async.toolkit.documents.reading import Leftover, Uploaded
from moonshot_async.toolkit.file_sources import GivenFile, given_file, late
from moonshot_async.toolkit.flights import Flight, Flights
from moonshot_async.toolkit.media.choice import (
    SCHEME,
    all_of,
    file_name,
    head_of,
    inline,
    is_reference,
    kind_of_reference,
    readable,
    told,
)
from moonshot_async.toolkit.media.parts import Kind, Source, image, video
from moonshot_async.types.chat_params import ImagePart, TextPart, VideoPart

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.resources.uploads import FileTypes

INLINE_UP_TO: Final = 4 * 1024 * 1024
"""How many bytes are sent in the request itself; each turn of a conversation sends them again."""


class Uploads:
    """Makes parts, uploads what is large, each content once, and deletes it at the end: use it with `async with`.

    Belongs to one event loop.

    Args:
        client: uploads.
        inline_up_to: bytes; what has no more goes into the request itself.
        keep: leave the files in the account.
        poll_interval: seconds between two looks at a file that the service is still at work on.

    Raises:
        ConfigurationError: `inline_up_to` or `poll_interval` cannot be.
    """

    def __init__(
        self,
        client: "AsyncMoonshot",
        *,
        inline_up_to: int = INLINE_UP_TO,
        keep: bool = False,
        poll_interval: float = 1.0,
    ) -> None:
        self._client = client
        self._inline_up_to = _checked(inline_up_to)
        self._keep = keep
        self._uploaded = Uploaded(client, poll_interval)
        self._flights: Flights[str] = Flights()
        # By content and kind: the id of the file, and its name.
        self._files: dict[str, tuple[str, str]] = {}

    async def part(
        self,
        source: "Source | FileTypes",
        *,
        kind: Kind | None = None,
        media_type: str | None = None,
        pass_url: bool = False,
    ) -> ImagePart | VideoPart:
        """An image or a video for a message: what it is, is told by its content.

        Args:
            source: as for `media.image`, or a tuple of a name and one of these. The id of a file is looked up, unless
                `kind` is given.
            kind: "image" or "video", where it is known.
            media_type: for example "image/png"; else told by the content, then by the name.
            pass_url: hand an http(s) URL on as it is, for hosts that fetch URLs themselves; needs `kind`.

        Raises:
            ConfigurationError: it is no such image or video, empty, larger than 100 MB, or a URL; says what to do.
            UploadError: it changed while it was read or uploaded.
            APIError: in all its kinds.
        """
        if is_reference(source):
            kind = kind or await kind_of_reference(source, self._client, pass_url=pass_url)
            return await inline(kind, source, media_type, pass_url=pass_url)
        return await _from_bytes(await readable(source), kind, media_type, self, self._inline_up_to)

    async def delete(self, part: ImagePart | VideoPart) -> None:
        """Delete the file of a part, if it was uploaded here; parts with the same content are of no use then."""
        gone = file_id(part)
        for key, (id, name) in list(self._files.items()):
            if id == gone:
                del self._files[key]
                await self._uploaded.delete_many([(id, name)])

    @property
    def file_ids(self) -> tuple[str, ...]:
        """The files that were uploaded, and not deleted yet."""
        return tuple(id for id, _ in self._files.values())

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """What may have been left in the account, since it could not be deleted."""
        return tuple(self._uploaded.leftovers)

    async def aclose(self) -> None:
        """Delete what was uploaded, unless it is kept. The client stays open."""
        files = [] if self._keep else list(self._files.values())
        self._files.clear()
        await self._uploaded.delete_many([*files, *self._uploaded.take_left()])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Uploads of {self._client!r}: {len(self._files)} files>"

    async def upload(self, given: GivenFile, source: Bytes, kind: Kind, media_type: str) -> str:
        """The id of an uploaded file with this content; it closes the source."""
        file = await given.known(source)
        key = file.key(kind)
        if (there := self._files.get(key)) is not None:
            file.close()
            return there[0]
        name = file_name(given.name, kind, media_type)

        async def work(flight: Flight[str]) -> str:
            # While the client is drained it goes on to the end.
            with self._client.files.as_one_call():
                return await uploaded(flight)

        async def uploaded(flight: Flight[str]) -> str:
            created = await self._uploaded.upload(file, kind, flight, name=name)
            done = False
            try:
                flight.check()
                await self._uploaded.processed(created, given.shown)
                flight.check()
                self._files[key] = created.id, name
                done = True
                return created.id
            finally:
                if not done:
                    await self._uploaded.delete(created.id, name, flight)

        return await self._flights.join(key, work, file.close, late)


async def part(
    source: "Source | FileTypes",
    *,
    client: "AsyncMoonshot | None" = None,
    inline_up_to: int = INLINE_UP_TO,
    kind: Kind | None = None,
    media_type: str | None = None,
    pass_url: bool = False,
) -> ImagePart | VideoPart:
    """An image or a video for a message, by its size in the request itself or uploaded; see `Uploads.part`.

    What is uploaded stays in the account: `client.files.delete(media.file_id(part))` deletes it. `Uploads` does so by
    itself, and uploads equal files once.

    Args:
        source: as for `Uploads.part`.
        client: uploads what is large; without one everything goes into the request.
        inline_up_to: bytes; what has no more goes into the request itself.
        kind, media_type, pass_url: as for `Uploads.part`.

    Raises:
        whatever `Uploads.part` raises.
    """
    if client is not None:
        uploads = Uploads(client, inline_up_to=inline_up_to)
        making = uploads.part(source, kind=kind, media_type=media_type, pass_url=pass_url)
        del source
        try:
            return await making
        except BaseException:
            # Nobody else knows of it.
            await uploads.aclose()
            raise
    _checked(inline_up_to)
    if is_reference(source):
        kind = kind or await kind_of_reference(source, None, pass_url=pass_url)
        return await inline(kind, source, media_type, pass_url=pass_url)
    return await _from_bytes(await readable(source), kind, media_type, None, inline_up_to)


def file_id(part: ImagePart | VideoPart | TextPart) -> str | None:
    """The id of the uploaded file that a part shows; None for one that carries its bytes itself, or is text."""
    held: Any = part
    shown = held.get(part["type"]) if part["type"] in ("image_url", "video_url") else None
    # The API takes both forms.
    url = shown.get("url") if isinstance(shown, dict) else shown
    return url.removeprefix(SCHEME) if isinstance(url, str) and url.startswith(SCHEME) else None


async def upload_image(client: "AsyncMoonshot", file: "FileTypes") -> ImagePart:
    """Upload an image and make a part of it that only carries its id; for what is large, or sent more than once.

    The file stays in the account until `client.files.delete` is called with its id.

    Args:
        client: uploads it.
        file: as for `client.files.create`: a path, bytes, an open file, or a tuple with a name.

    Raises:
        ConfigurationError: the file cannot be sent.
        APIError: in all its kinds.

    See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
    """
    return await image(await client.files.create(file=file, purpose="image"))


async def upload_video(client: "AsyncMoonshot", file: "FileTypes") -> VideoPart:
    """Upload a video and make a part of it that only carries its id; see `upload_image`.

    See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
    """
    return await video(await client.files.create(file=file, purpose="video"))


async def _from_bytes(
    source: Any, kind: Kind | None, media_type: str | None, uploads: Uploads | None, inline_up_to: int
) -> ImagePart | VideoPart:
    given = given_file(source, "")
    found = await given.measured()
    handed_on = False
    try:
        kind, media_type = told(await head_of(found), given.name, kind, media_type, given.media_type)
        if uploads is None or found.size <= inline_up_to:
            # What can be read again is encoded piece by piece.
            again = isinstance(source, (PathLike, bytes, bytearray, memoryview))
            return await inline(kind, source if again else await all_of(found), media_type)
        handed_on = True
    finally:
        if not handed_on:
            found.close()
    return await inline(kind, SCHEME + await uploads.upload(given, found, kind, media_type), None)


def _checked(inline_up_to: int) -> int:
    if isinstance(inline_up_to, bool) or not isinstance(inline_up_to, int) or inline_up_to < 0:
        raise ConfigurationError(f"inline_up_to must be a number of bytes, 0 or more, not {inline_up_to!r}")
    return inline_up_to
