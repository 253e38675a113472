"""Answers as they came, beside what they mean: status, headers and bytes.

The body of a `RawResponse` was read, and is decoded when that is asked for; of an `APIResponse` nothing was read yet.
"""

import codecs
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, overload

from moonshot_async.clocks import BodyClocks
from moonshot_async.errors import ResponseTooLargeError, request_id_of
from moonshot_async.headers import shown_url
from moonshot_async.pipeline import Pipeline, read_piece
from moonshot_async.status_errors import with_attempts
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.casting import decoder_of, is_response_type
from moonshot_async.types.model import Decode
from moonshot_async.wire import DEFAULT_MAX_BODY_BYTES, Headers, Request, Response

T = TypeVar("T")
U = TypeVar("U")

# What both transports speak.
_HTTP_VERSION: Final = "HTTP/1.1"


class _Head:
    """What is known of an answer once its head is there.

    Attributes:
        http_request: what was sent in the end: the last attempt, its key and body included. Its repr hides both.
        http_response: status, headers, and the body as far as it was read.
        elapsed: from the call to the end of the body; where nothing was read yet, to the head.
    """

    def __init__(self, pipeline: Pipeline, request: Request, response: Response, elapsed: float) -> None:
        self._pipeline = pipeline
        self.http_request = request
        self.http_response = response
        self.elapsed = timedelta(seconds=elapsed)

    @property
    def status_code(self) -> int:
        """The status; always below 300, since all else raises."""
        return self.http_response.status

    @property
    def headers(self) -> Headers:
        """The headers, found whatever their case."""
        return self.http_response.headers

    @property
    def request_id(self) -> str | None:
        """The id under which the vendor finds the call again."""
        return request_id_of(self.http_response.headers)

    @property
    def retries_taken(self) -> int:
        """How often the request had been sent before."""
        return self.http_request.attempt - 1

    @property
    def url(self) -> str:
        """The address that was asked, query included."""
        return self.http_request.url

    @property
    def method(self) -> str:
        """The HTTP method, in upper case."""
        return self.http_request.method

    @property
    def http_version(self) -> str:
        """The protocol."""
        return _HTTP_VERSION

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.status_code}] {self.method} {shown_url(self.url)}>"


class RawResponse(_Head, Generic[T]):
    """An answer whose body was read, and `parse` for what the call returns else.

    With `stream=True` the body is not read: `parse` gives the `Stream`, which closes it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        request: Request,
        response: Response,
        elapsed: float,
        *,
        decode: Decode[T] | None = None,
        stream: Any = None,
    ) -> None:
        super().__init__(pipeline, request, response, elapsed)
        self._decode = decode
        self._stream: Stream[Any] | None = stream
        self._parsed: dict[Any, Any] = {}

    @overload
    def parse(self) -> T: ...

    @overload
    def parse(self, *, to: type[U]) -> U: ...

    @overload
    def parse(self, *, to: Any) -> Any: ...

    def parse(self, *, to: Any = None) -> Any:
        """What the call returns else; the same object each time.

        Args:
            to: decode to this type instead: a msgspec struct or any type that msgspec knows, a pydantic model, `str`
                or `bytes` for the body as it came.

        Raises:
            APIResponseValidationError: the answer is not what the documentation, or `to`, says.
            TypeError: `to` is given for a stream.
        """
        if self._stream is not None:
            if to is not None:
                raise TypeError("a stream is read as what it is: parse() takes no to= here")
            return self._stream
        if is_response_type(to):
            return self.http_response
        if to not in self._parsed:
            decode: Any = self._decode if to is None else decoder_of(to)
            response = self.http_response
            self._parsed[to] = self._pipeline.answer(self.http_request, response, response.content, decode)
        return self._parsed[to]

    @property
    def content(self) -> bytes:
        """The body."""
        self._check_read()
        return self.http_response.content

    @property
    def text(self) -> str:
        """The body as text."""
        self._check_read()
        return self.http_response.text

    def json(self) -> Any:
        """The body decoded as JSON."""
        return json.loads(self.content)

    @property
    def is_closed(self) -> bool:
        """Whether the body was read to its end or closed."""
        return self._stream is None or self._stream.closed

    def _check_read(self) -> None:
        if self._stream is not None:
            raise RuntimeError("the body of a stream is not read at once: parse() gives the Stream of its events")


class APIResponse(_Head, Generic[T]):
    """An answer of which nothing but the head was read; its body is read as you ask for it.

    Made by `with_streaming_response`, whose `async with` closes it. The clocks of the call are those of its body, too.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        request: Request,
        response: Response,
        elapsed: float,
        *,
        decode: Decode[Any],
        bound: str = "max_body_bytes",
        progress: Progress[Any] | None = None,
    ) -> None:
        super().__init__(pipeline, request, response, elapsed)
        self._decode = decode
        self._bound = bound
        self._progress = progress
        self._parsed: dict[Any, Any] = {}
        self._used = False
        self.is_closed = False

    @overload
    async def parse(self) -> T: ...

    @overload
    async def parse(self, *, to: type[U]) -> U: ...

    @overload
    async def parse(self, *, to: Any) -> Any: ...

    async def parse(self, *, to: Any = None) -> Any:
        """Read the body and return what the call returns else; the same object each time. A stream is not read.

        Args:
            to: decode to this type instead, as `RawResponse.parse` does.

        Raises:
            APIError: in all its kinds.
            RuntimeError: the body was read piece by piece before.
            TypeError: `to` is given for a stream.
        """
        if to in self._parsed:
            return self._parsed[to]
        if is_response_type(to):
            return self.http_response
        if self._progress is not None and to is not None:
            raise TypeError("a stream is read as what it is: parse() takes no to= here")
        pipeline, request, response = self._pipeline, self.http_request, self.http_response
        if self._progress is not None:
            self._use()
            parsed: Any = await pipeline.events(request, response, self._decode, self._progress)
        else:
            decode = self._decode if to is None else decoder_of(to)
            parsed = pipeline.answer(request, response, await self.read(), decode)
        self._parsed[to] = parsed
        return parsed

    async def read(self) -> bytes:
        """Read the body to its end; again and again the same bytes.

        Raises:
            ResponseTooLargeError: it is larger than a body in memory may be; use `iter_bytes`.
            RuntimeError: the body was read piece by piece before.
            APIError: in all its kinds.
        """
        response = self.http_response
        if response.is_read:
            return response.content
        self._use()
        try:
            return await self._pipeline.read(self.http_request, response, bound=self._bound)
        finally:
            self.is_closed = True

    async def text(self) -> str:
        """Read the body as text."""
        await self.read()
        return self.http_response.text

    async def json(self) -> Any:
        """Read the body and decode it as JSON."""
        return json.loads(await self.read())

    async def iter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body piece by piece as it arrives, or in pieces of `chunk_size` bytes, but for the last.

        Raises:
            RuntimeError: the body was read piece by piece before.
            APIError: it broke off, or a clock ran out. What came before was handed out.
        """
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be 1 or more, not {chunk_size}")
        # Large chunks come in many pieces: bytes would be copied for each of them.
        held = bytearray()
        async for piece in self._pieces():
            if chunk_size is None:
                yield piece
                continue
            held += piece
            whole = len(held) - len(held) % chunk_size
            for start in range(0, whole, chunk_size):
                yield bytes(held[start : start + chunk_size])
            del held[:whole]
        if held:
            yield bytes(held)

    async def iter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """The body as text, piece by piece; no character is cut. `chunk_size` is in bytes. Raises as `iter_bytes`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async for piece in self.iter_bytes(chunk_size):
            if text := decoder.decode(piece):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    async def iter_lines(self) -> AsyncIterator[str]:
        r"""The body line by line, without their ends (`\n`, `\r\n` or `\r`). Raises as `iter_bytes`.

        Raises:
            ResponseTooLargeError: a line is longer than a body in memory may be (32 Mi characters).
        """
        ends = io.IncrementalNewlineDecoder(None, translate=True)
        held: list[str] = []
        size = 0
        async for text in self.iter_text():
            first, *rest = ends.decode(text).split("\n")
            held.append(first)
            size += len(first)
            if size > DEFAULT_MAX_BODY_BYTES:
                raise self._too_large()
            if rest:
                yield "".join(held)
                for line in rest[:-1]:
                    yield line
                held, size = [rest[-1]], len(rest[-1])
        *lines, last = ("".join(held) + ends.decode("", final=True)).split("\n")
        for line in lines:
            yield line
        if last:
            yield last

    async def stream_to_file(self, file: str | os.PathLike[str], *, chunk_size: int | None = None) -> None:
        """Write the body to a file as it arrives; the event loop does not wait for the disk. Raises as `iter_bytes`."""
        # anyio is imported late: it is needed by nobody who keeps answers in memory.
        import anyio

        async with await anyio.open_file(file, "wb") as out:
            async for piece in self.iter_bytes(chunk_size):
                await out.write(piece)

    async def close(self) -> None:
        """Close the body; may be repeated. Never waits for the network."""
        self.is_closed = True
        if isinstance(stream := self._parsed.get(None), Stream):
            await stream.aclose()
        self.http_response.close()

    async def aclose(self) -> None:
        """The same as `close`."""
        await self.close()

    async def _pieces(self) -> AsyncIterator[bytes]:
        response = self.http_response
        if response.is_read:
            if response.content:
                yield response.content
            return
        self._use()
        clocks = BodyClocks(self.http_request, events=False)
        try:
            while piece := await read_piece(self.http_request, response, clocks):
                yield piece
        finally:
            self.is_closed = True
            response.close()

    def _too_large(self) -> ResponseTooLargeError:
        error = ResponseTooLargeError(DEFAULT_MAX_BODY_BYTES)
        error.request = self.http_request.redacted()
        return with_attempts(error, self.http_request)

    def _use(self) -> None:
        if self._used or self.is_closed:
            raise RuntimeError("the body was used up, or closed: it can be read in one way, once")
        self._used = True


class ResponseContext(Generic[T]):
    """A call that is sent when `async with` is entered; its response is closed when it is left."""

    def __init__(self, call: Callable[[], Awaitable[APIResponse[T]]]) -> None:
        self._call = call

    async def __aenter__(self) -> APIResponse[T]:
        self._response = await self._call()
        return self._response

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._response.close()
