"""A file on its way to the service: what may be given, what is checked before anything is sent, and the form around it.

See: https://platform.kimi.ai/docs/api/files
"""

import inspect
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import PurePath
from typing import Any, Final, TypeAlias

from moonshot_async.errors import ConfigurationError
from moonshot_async.multipart import FormFile, form
from moonshot_async.resources.upload_reading import Source
from moonshot_async.resources.upload_sources import Content, measured, name_of

FileTypes: TypeAlias = (
    Content
    | tuple[str | None, Content]
    | tuple[str | None, Content, str | None]
    | tuple[str | None, Content, str | None, Mapping[str, str]]
)
"""What `file=` takes: content, or a tuple of name, content, media type and headers of its part."""

UploadProgress: TypeAlias = Callable[[int, int], Awaitable[object] | object]
"""Is told how many bytes of the file went out, and how many it has; from the beginning when the file is sent again."""

MAX_FILE_BYTES: Final = 100 * 1024 * 1024

# What the documentation lists.
_FORMATS: Final = {
    "image": ("png", "jpeg", "jpg", "webp", "gif"),
    "video": ("mp4", "mpeg", "mpg", "mov", "avi", "x-flv", "flv", "webm", "wmv", "3gpp", "3gp"),
    "batch": ("jsonl",),
}
# Names for content that has none: a batch must be called that, whatever it is.
_NAMELESS: Final = {"batch": "upload.jsonl"}


class FilePart:
    """What a caller gave as `file=`.

    Raises:
        TypeError: it is nothing that can be sent.
        ConfigurationError: a header cannot be sent.
    """

    def __init__(self, file: FileTypes, purpose: str) -> None:
        name, content, kind, headers = _parts(file)
        self.content: Content = content
        # Asked in any case, since it looks at what the content is.
        own_name = name_of(content)
        self.name = name or own_name or _NAMELESS.get(purpose, "upload")
        more = {header.lower(): value for header, value in headers.items()}
        given = more.pop("content-type", None)
        self.kind = kind or given
        self.headers = more

    def check_format(self, purpose: str) -> None:
        """Hold the name against what the documentation lists for a purpose; a purpose that it does not know passes.

        Raises:
            ConfigurationError: the service takes no such file for this purpose.
        """
        suffix = PurePath(self.name).suffix.lower().removeprefix(".")
        if purpose == "file-extract" and suffix in _FORMATS["video"]:
            raise self._refused("text is not read from videos; upload them with purpose='video'")
        formats = _FORMATS.get(purpose)
        named_by_type = not suffix and (self.kind or "").startswith(f"{purpose}/")
        if formats is not None and suffix not in formats and not named_by_type:
            advice = "" if suffix else f"; give it one: file=('name.{formats[0]}', data)"
            raise self._refused(f"purpose={purpose!r} takes names that end in .{', .'.join(formats)}{advice}")

    def check_size(self, size: int) -> None:
        """Refuse what is empty or too large.

        Raises:
            ConfigurationError: it is.
        """
        if size == 0:
            raise self._refused("it is empty")
        if size > MAX_FILE_BYTES:
            raise self._refused(f"it has {size} bytes, and the service takes {MAX_FILE_BYTES} (100 MB)")

    def _refused(self, reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"file {self.name!r} cannot be uploaded: {reason}. check=False sends it all the same."
        )


class FileUpload:
    """A form with a file in it, as an `Upload`.

    Attributes:
        length: the bytes of the whole form.
        content_type: the header that its request needs.
    """

    def __init__(
        self, part: FilePart, source: Source, fields: Mapping[str, str], progress: UploadProgress | None
    ) -> None:
        self._source = source
        self._progress = progress
        headed = FormFile("file", part.name, part.kind or _guess(part.name), part.headers)
        self._form = form(headed, fields.items())
        self.content_type = self._form.content_type
        self.length = len(self._form.head) + source.size + len(self._form.tail)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._form.head
        size = self._source.size
        reading = self._source.reading()
        sent = 0
        try:
            while sent < size:
                piece = await reading.next(sent)
                yield piece
                sent += len(piece)
                if self._progress is not None:
                    told = self._progress(sent, size)
                    if inspect.isawaitable(told):
                        await told
        finally:
            reading.close()
        yield self._form.tail

    def close(self) -> None:
        """Let go of what was opened; never waits."""
        self._source.close()


async def prepared(
    part: FilePart, fields: Mapping[str, str], *, progress: UploadProgress | None, check: bool
) -> FileUpload:
    """Look at a file and make an upload of it; whoever gets it closes it.

    Raises:
        ConfigurationError: it cannot be read, or is empty or too large and `check` is true.
    """
    source = await measured(part.content)
    try:
        if check:
            part.check_size(source.size)
        return FileUpload(part, source, fields, progress)
    except BaseException:
        source.close()
        raise


def form_fields(purpose: str, extra_body: Mapping[str, object] | None) -> dict[str, str]:
    """The fields of the form beside the file; what is no text is written as JSON."""
    fields: dict[str, object] = {"purpose": purpose, **(extra_body or {})}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def _parts(file: Any) -> tuple[str | None, Any, str | None, Mapping[str, str]]:
    if not isinstance(file, tuple):
        return None, file, None, {}
    if not 2 <= len(file) <= 4:
        raise TypeError(f"file as a tuple is (name, content[, media type[, headers]]), not {len(file)} items")
    name, content, kind, headers = (*file, None, None)[:4]
    for value, what in ((name, "name"), (kind, "media type")):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"file as a tuple: the {what} must be a str or None, not {type(value).__name__}")
    headers = {} if headers is None else headers
    if not isinstance(headers, Mapping) or not all(isinstance(text, str) for item in headers.items() for text in item):
        raise TypeError("file as a tuple: the headers must be a dict of texts")
    return name, content, kind, headers


def _guess(name: str) -> str:
    # The end alone: a name is no URL, and not all of it says what the file is.
    return mimetypes.guess_type("file" + PurePath(name).suffix, strict=False)[0] or "application/octet-stream"
