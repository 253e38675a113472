"""What is in a file, once it was downloaded."""

import codecs
import io
import json
import os
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any, Generic, TypeVar

from moonshot_async.errors import APIError, APIResponseValidationError, request_id_of
from moonshot_async.types.files import ExtractedFile, decode_extracted
from moonshot_async.wire import Headers, Response

T = TypeVar("T")


class FileContent:
    """The bytes of a file, all in memory, under the names of openai's `HttpxBinaryResponseContent`.

    For a file that was uploaded with the purpose "file-extract" the service gives the JSON of an `ExtractedFile`: its
    `text` as it is goes into a system message, one for each file.
    """

    def __init__(self, response: Response) -> None:
        self.response = response

    @property
    def content(self) -> bytes:
        """The bytes."""
        return self.response.content

    @property
    def text(self) -> str:
        """The bytes as text; what is none is replaced."""
        return self.content.decode(self._codec, "replace")

    @property
    def extracted(self) -> ExtractedFile:
        """What the service read in the file.

        Raises:
            APIResponseValidationError: this is not the content of a file with the purpose "file-extract".
        """
        try:
            return decode_extracted(self.content)
        except APIError:
            pass
        raise APIResponseValidationError(
            message="This is not what the service reads in a file: only the purpose 'file-extract' gives that.",
        )

    @property
    def encoding(self) -> str:
        """The charset that the service names, else "utf-8"."""
        return self.charset_encoding or "utf-8"

    @property
    def charset_encoding(self) -> str | None:
        """The charset that the service names, if it does."""
        message = Message()
        message["content-type"] = self.headers.get("content-type", "")
        return message.get_content_charset()

    @property
    def headers(self) -> Headers:
        """The headers of the answer."""
        return self.response.headers

    @property
    def request_id(self) -> str | None:
        """The id under which the vendor finds the call again."""
        return request_id_of(self.headers)

    @property
    def status_code(self) -> int:
        """The status of the answer; always below 300, since all else raises."""
        return self.response.status

    def json(self) -> Any:
        """The bytes decoded as JSON."""
        return json.loads(self.content)

    def read(self) -> bytes:
        """The bytes."""
        return self.content

    async def aread(self) -> bytes:
        """The bytes."""
        return self.content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The bytes in pieces of `chunk_size`, but for the last; all at once without one."""
        return _pieces(self.content, chunk_size)

    def iter_text(self, chunk_size: int | None = None) -> Iterator[str]:
        """The text in pieces of `chunk_size` characters, but for the last; all at once without one."""
        return _pieces(self.text, chunk_size)

    def iter_lines(self) -> Iterator[str]:
        """The lines of the text, without their ends: one by one the results of a batch."""
        # Not splitlines(): it parts at characters that JSON may hold as they are.
        for line in io.TextIOWrapper(io.BytesIO(self.content), self._codec, "replace", newline="\n"):
            yield line.removesuffix("\n").removesuffix("\r")

    def aiter_bytes(self, chunk_size: int | None = None) -> "Items[bytes]":
        """`iter_bytes` for `async for`."""
        return Items(self.iter_bytes(chunk_size))

    def aiter_text(self, chunk_size: int | None = None) -> "Items[str]":
        """`iter_text` for `async for`."""
        return Items(self.iter_text(chunk_size))

    def aiter_lines(self) -> "Items[str]":
        """`iter_lines` for `async for`."""
        return Items(self.iter_lines())

    def write_to_file(self, file: str | os.PathLike[str]) -> None:
        """Write the bytes to a file. The event loop waits for the disk: inside of one, `astream_to_file` is better."""
        Path(file).write_bytes(self.content)

    def stream_to_file(self, file: str | os.PathLike[str], *, chunk_size: int | None = None) -> None:
        """The same as `write_to_file`."""
        self.write_to_file(file)

    async def astream_to_file(self, file: str | os.PathLike[str], *, chunk_size: int | None = None) -> None:
        """Write the bytes to a file; the event loop does not wait for the disk.

        A body too large for memory: `client.files.with_streaming_response.content(…)`.
        """
        # anyio is imported late: most programs never come here.
        from anyio import to_thread

        await to_thread.run_sync(self.write_to_file, file)

    def close(self) -> None:
        """Nothing is left to close; here since openai's has it."""

    async def aclose(self) -> None:
        """Nothing is left to close; here since openai's has it."""

    @property
    def _codec(self) -> str:
        try:
            return codecs.lookup(self.encoding).name
        except LookupError:
            return "utf-8"

    def __repr__(self) -> str:
        return f"FileContent({len(self.content)} bytes)"


class Items(Generic[T]):
    """What lies in memory, for `async for`; it may be awaited first, as openai's has to be."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)

    def __await__(self) -> "Generator[Any, None, Items[T]]":
        yield from ()
        return self

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        for item in self._items:
            return item
        raise StopAsyncIteration


class ContentDecoder:
    """Make a `FileContent` of bytes, and of the response they came in where that is known."""

    cls: Any = FileContent
    # It need not be JSON.
    takes_anything = True

    def __init__(self, response: Response | None = None) -> None:
        self._response = response

    def __call__(self, data: bytes, /) -> FileContent:
        response = self._response or Response()
        response.keep(data)
        return FileContent(response)


def _pieces(whole: Any, size: int | None) -> Iterator[Any]:
    if size is not None and size < 1:
        raise ValueError(f"chunk_size must be 1 or more, not {size}")
    step = size or max(1, len(whole))
    return (whole[start : start + step] for start in range(0, len(whole), step))
