"""What crosses the wire: Request, Response and the byte stream of a body.

Nothing here does I/O. A transport turns a `Request` into a `Response` whose body is an open `ByteStream`; whoever
receives a `Response` closes it.
"""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from moonshot_async.bounds import DEFAULT_BOUNDS
from moonshot_async.clocks import DEFAULT_TIMEOUT, Timeout
from moonshot_async.errors import Attempt, ResponseTooLargeError, UploadError
from moonshot_async.headers import HeaderItems, Unshown, shown_url
from moonshot_async.headers import Headers as Headers

Content: TypeAlias = "ByteStream | bytes | str | Iterable[bytes] | AsyncIterable[bytes]"

DEFAULT_MAX_BODY_BYTES: Final = DEFAULT_BOUNDS.max_body_bytes


class Upload(Protocol):
    """The body of a request that is not held in memory: it is made while it is sent."""

    @property
    def length(self) -> int:
        """How many bytes it has; known before anything is sent."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body from its beginning, in pieces of 256 KiB at most; asked for once for each sending.

        Who iterates comes back when a piece went out, and calls `aclose`, where there is one, when it stops early.

        Raises:
            UploadError: the body cannot be sent as it was promised.
        """
        ...


async def counted(upload: Upload) -> AsyncGenerator[bytes, None]:
    """The pieces of an upload, as many bytes as its length says.

    Raises:
        UploadError: they are more or fewer; the body that was sent so far is not whole.
    """
    missing = upload.length
    pieces = upload.pieces()
    try:
        async for piece in pieces:
            missing -= len(piece)
            if missing < 0:
                break
            yield piece
        if missing:
            fault = "more" if missing < 0 else f"{missing} fewer"
            raise UploadError(f"The upload gave {fault} bytes than the {upload.length} that it promised.")
    finally:
        # Error trackers record the locals of frames.
        piece = b""
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


class Request(Unshown, msgspec.Struct, frozen=True):
    """One HTTP request; immutable, so that a middleware passes on a changed copy and concurrent calls share nothing.

    Attributes:
        method: upper case.
        url: absolute, query included.
        headers: case-insensitive.
        body: the bytes to send, empty for none; or an `Upload`, which makes them while they are sent.
        timeout: the clocks of the call.
        deadline: when the whole call must have ended, on the `time.monotonic` clock; None for never.
        attempt: 1 for the first sending, counted up by the retry middleware.
        stream: whether the caller will read the body piece by piece.
        once: whether what it does must not be done twice; then it is sent again only where it was surely not done.
        started: when the call began, on the `time.monotonic` clock; None if unknown.
        earlier: the sendings before this one, which failed.
        max_retries: how often it is sent again, where the call says so; None for what the client does.
        retry_slow: whether it is sent again after a failure that took long, and may be billed twice; None as above.
        priority: the place in the queue for the limits of the account; higher ones go first.
    """

    method: str
    url: str
    headers: Headers = Headers()
    body: bytes | Upload = b""
    timeout: Timeout = DEFAULT_TIMEOUT
    deadline: float | None = None
    attempt: int = 1
    stream: bool = False
    once: bool = False
    started: float | None = None
    earlier: tuple[Attempt, ...] = ()
    max_retries: int | None = None
    retry_slow: bool | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        if type(self.headers) is not Headers:
            msgspec.structs.force_setattr(self, "headers", Headers(self.headers))

    def replace(self, **changes: Any) -> "Request":
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    @property
    def path(self) -> str:
        """The path of the URL, without its query."""
        return urlsplit(self.url).path

    @property
    def length(self) -> int:
        """How many bytes the body has."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    @property
    def content(self) -> bytes:
        """The body in memory, under the name that httpx uses.

        Raises:
            RuntimeError: it is an `Upload`, of which nothing is in memory.
        """
        if not isinstance(self.body, bytes):
            raise RuntimeError("the body is an upload, which is made while it is sent: await request.read() first")
        return self.body

    def json(self) -> Any:
        """Decode the body as JSON."""
        return json.loads(self.content)

    async def read(self) -> bytes:
        """The body in memory: an upload is made for it from its beginning.

        Raises:
            UploadError: it cannot be made, or is not as long as it was to be.
        """
        if isinstance(self.body, bytes):
            return self.body
        async with aclosing(counted(self.body)) as pieces:
            return b"".join([piece async for piece in pieces])

    def redacted(self) -> "Request":
        """What an exception may carry: no key and no prompt."""
        headers = self.headers.redacted()
        return Request(self.method, shown_url(self.url), headers, attempt=self.attempt, stream=self.stream)

    def __repr__(self) -> str:
        return f"Request({self.method} {shown_url(self.url)}, {self.length} bytes, attempt {self.attempt})"

    # As in `Headers`: a copy must not lose the body and the key, which pickling leaves out.
    def __copy__(self) -> "Request":
        return self

    def __deepcopy__(self, memo: object) -> "Request":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _request, (self.method, shown_url(self.url), self.headers, self.attempt, self.stream)


def _request(method: str, url: str, headers: Headers, attempt: int, stream: bool) -> Request:
    return Request(method, url, headers, attempt=attempt, stream=stream)


class ByteStream(Protocol):
    """The body of a response while it arrives."""

    async def read(self, deadline: float | None = None) -> bytes:
        """Return the next bytes as soon as there are any, and `b""` at a clean end, again and again.

        Args:
            deadline: when to stop waiting, on the `time.monotonic` clock.

        Raises:
            TimeoutError: the deadline came first; the body can only be closed now.
            APIConnectionError: the body broke off. Everything that arrived before was handed out.
        """
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else cut it. Never waits; may be repeated."""
        ...


class Response:
    """The head of an answer and its open body.

    `body` may be given as bytes, text, an iterable or async iterable of bytes, or a `ByteStream`.
    """

    __slots__ = ("_content", "body", "headers", "request", "status")

    def __init__(
        self, status: int = 200, headers: HeaderItems = (), body: Content = b"", *, request: Request | None = None
    ) -> None:
        self.status = status
        self.headers = Headers(headers)
        self.body = as_stream(body)
        self.request = request
        self._content: bytes | None = None

    @property
    def status_code(self) -> int:
        """The status, under the name that httpx uses."""
        return self.status

    @property
    def url(self) -> str | None:
        """The address that was asked."""
        return None if self.request is None else self.request.url

    @property
    def content(self) -> bytes:
        """The body, once it was read."""
        if self._content is None:
            raise RuntimeError("the body has not been read yet: await response.read() first")
        return self._content

    @property
    def is_read(self) -> bool:
        """Whether the body was read to its end."""
        return self._content is not None

    @property
    def text(self) -> str:
        """The body as text, once it was read."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body decoded as JSON, once it was read."""
        return json.loads(self.content)

    async def read(self, *, deadline: float | None = None, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> bytes:
        """Read the body to its end and close it.

        Raises:
            ResponseTooLargeError: more than `max_bytes` came.
            TimeoutError: the deadline (`time.monotonic`) came first.
        """
        if self._content is None:
            pieces: list[bytes] = []
            size = 0
            try:
                while piece := await self.body.read(deadline):
                    size += len(piece)
                    if size > max_bytes:
                        raise ResponseTooLargeError(max_bytes)
                    pieces.append(piece)
            finally:
                self.body.close()
            self._content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._content

    def keep(self, content: bytes) -> None:
        """Remember `content` as the body that was read, and close the stream."""
        self.body.close()
        self._content = content

    def close(self) -> None:
        """Close the body. Never waits."""
        self.body.close()

    async def aclose(self) -> None:
        """Close the body. Never waits; awaitable for the sake of `async with aclosing(...)`."""
        self.body.close()

    def __repr__(self) -> str:
        # As httpx shows it, for programs that print it.
        from http import HTTPStatus

        names = {status.value: f" {status.phrase}" for status in HTTPStatus}
        return f"<Response [{self.status}{names.get(self.status, '')}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        request = None if self.request is None else self.request.redacted()
        return _response, (self.status, self.headers, self._content, request)


def _response(status: int, headers: Headers, content: bytes | None, request: Request | None) -> Response:
    response = Response(status, headers, content or b"", request=request)
    response._content = content
    return response


def as_stream(content: Content) -> ByteStream:
    """Make a `ByteStream` of whatever a test or a small app has at hand."""
    if isinstance(content, (bytes, bytearray)):
        return PieceStream([bytes(content)] if content else [])
    if isinstance(content, str):
        return PieceStream([content.encode()])
    # What the classes of `collections.abc` look for; asking those costs 1 µs for each answer.
    if hasattr(content, "__aiter__"):
        return IteratorStream(cast("AsyncIterable[bytes]", content))
    if hasattr(content, "__iter__"):
        return PieceStream(cast("Iterable[bytes]", content))
    return content


class PieceStream:
    """A body that is already in memory."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    async def read(self, deadline: float | None = None) -> bytes:
        return next((piece for piece in self._pieces if piece), b"")

    def close(self) -> None:
        self._pieces = iter(())


class IteratorStream:
    """A body that an async iterator produces."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces: AsyncIterator[bytes] | None = aiter(pieces)

    async def read(self, deadline: float | None = None) -> bytes:
        while self._pieces is not None:
            if deadline is None:
                piece = await anext(self._pieces, None)
            else:
                # anyio is imported late: most programs never come here.
                import anyio

                with anyio.fail_after(max(0.0, deadline - time.monotonic())):
                    piece = await anext(self._pieces, None)
            if piece:
                return piece
            if piece is None:
                self._pieces = None
        return b""

    def close(self) -> None:
        # The iterator is finished by being dropped: closing a body never waits.
        self._pieces = None


STREAM_FITS: type[ByteStream] = PieceStream
ITERATOR_FITS: type[ByteStream] = IteratorStream
