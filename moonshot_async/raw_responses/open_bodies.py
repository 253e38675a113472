"""Answers of which nothing but the head was read: the body is read as it is asked for."""

import codecs
import io
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, overload

from moonshot_async.clocks import BodyClocks
from moonshot_async.errors import ResponseTooLargeError
from moonshot_async.pipeline import Pipeline, read_piece
from moonshot_async.raw_responses.heads import ResponseHead
from moonshot_async.status_errors import with_attempts
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.casting import decoder_of, is_response_type
from moonshot_async.types.model import Decode
from moonshot_async.wire import DEFAULT_MAX_BODY_BYTES, Request, Response

T = TypeVar("T")
U = TypeVar("U")

# Bytes that go to the disk together, and how long they may wait for that, in seconds: each time takes a worker thread
# and 0.1 ms.
_WRITTEN_AT_ONCE: Final = 1024 * 1024
_WRITTEN_AFTER: Final = 0.2


class APIResponse(ResponseHead, Generic[T]):
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

    def iter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body piece by piece as it arrives, or in pieces of `chunk_size` bytes, but for the last.

        Raises:
            RuntimeError: the body was read piece by piece before.
            APIError: it broke off, or a clock ran out. What came before was handed out.
        """
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be 1 or more, not {chunk_size}")
        return self._pieces() if chunk_size is None else self._chunks(chunk_size)

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
            held: list[bytes] = []
            size, written = 0, time.monotonic()
            try:
                async for piece in self.iter_bytes(chunk_size):
                    held.append(piece)
                    size += len(piece)
                    if size >= _WRITTEN_AT_ONCE or time.monotonic() - written > _WRITTEN_AFTER:
                        # Let go of first: what fails, or is cancelled, is not written twice.
                        whole, held = held, []
                        await out.writelines(whole)
                        size, written = 0, time.monotonic()
            finally:
                # All that came is in the file, whatever came of the rest.
                if held:
                    with anyio.CancelScope(shield=True):
                        await out.writelines(held)

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

    async def _chunks(self, chunk_size: int) -> AsyncIterator[bytes]:
        # Large chunks come in many pieces: bytes would be copied for each of them.
        held = bytearray()
        async for piece in self._pieces():
            held += piece
            whole = len(held) - len(held) % chunk_size
            for start in range(0, whole, chunk_size):
                yield bytes(held[start : start + chunk_size])
            del held[:whole]
        if held:
            yield bytes(held)

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
