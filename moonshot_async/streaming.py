"""`Stream`: an open answer, read event by event.

A stream is an object that owns its response and hands out async generators over it. The generators share one source,
so whoever drops the last of them drops the response too: the source cuts the connection when it is freed, without
waiting for a garbage collection. (One that was begun and dropped is finished by the event loop, a turn later.)

Nothing here times out by itself: each read is given the moment by which it must have ended, and the transport keeps it
(a cancel scope around a `yield` would cancel the consumer: PEP 789).
"""

import weakref
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable
from types import TracebackType
from typing import Generic, TypeVar

from moonshot_async.accumulate import ChatAccumulator
from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds
from moonshot_async.errors import APIError, StreamInterruptedError
from moonshot_async.stream_source import Progress as Progress
from moonshot_async.stream_source import Source
from moonshot_async.stream_source import no_stream as no_stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.types.model import NOT_STRICT, Decode, ModelDecoder
from moonshot_async.wire import Request, Response

T = TypeVar("T")


class Stream(Generic[T]):
    """A streamed answer: `async for` yields its items as they arrive.

    It ends only when the answer is whole. Anything else raises, with everything that arrived handed out before and in
    `.partial` of the error. Leaving the loop early closes the connection; to read in parts use `anext(stream)`.

    Attributes:
        response: status and headers of the answer.
    """

    __slots__ = ("__weakref__", "_loop", "_single", "_source", "response")

    def __init__(
        self,
        response: Response,
        request: Request,
        decode: Decode[T],
        progress: Progress[T],
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self.response = response
        self._source = Source(response, request, decode, progress, bounds)
        self._single: AsyncGenerator[T, None] | None = None
        self._loop: weakref.ref[AsyncGenerator[T, None]] | None = None

    def __aiter__(self) -> AsyncIterator[T]:
        self._close_if_left()
        loop = _items(self._source, looping=True)
        self._loop = weakref.ref(loop)
        return loop

    def __anext__(self) -> Awaitable[T]:
        self._close_if_left()
        # A generator that raised is used up and would end in silence; a new one raises again.
        if self._single is None or self.failed:
            self._single = _items(self._source, looping=False)
        return anext(self._single)

    def _close_if_left(self) -> None:
        """Close the stream if a loop over it was begun and is gone.

        The event loop does so too, some turns later; whoever reads on before that shall find the same.
        """
        if self._source.looped and self._loop is not None and self._loop() is None:
            self._source.close()

    @property
    def failed(self) -> bool:
        """Whether it broke off, or was closed before its end: reading on raises."""
        return self._source.error is not None

    @property
    def closed(self) -> bool:
        """Whether nothing more will be read: it ended, broke off, or was closed."""
        return self._source.done or self.failed

    async def aclose(self) -> None:
        """Close the connection if the answer is not complete; may be repeated. Never waits for the network."""
        self._source.close()

    async def close(self) -> None:
        """The same as `aclose`."""
        self._source.close()

    async def __aenter__(self) -> "Stream[T]":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._source.close()


async def _items(source: Source[T], *, looping: bool) -> AsyncGenerator[T, None]:
    """Yield what the source holds, then what it brings, until the answer is whole."""
    source.check()
    source.looped = source.looped or looping
    decode, add, shallow = source.decode, source.progress.add, source.bounds.max_depth
    # Called without a layer between: 0.15 µs of the 2 that a chunk costs.
    strict = decode.strict if isinstance(decode, ModelDecoder) else decode
    try:
        while not source.done:
            events = source.events
            for data in events:
                try:
                    if not 2 <= len(data) <= shallow and not source.says_something(data):
                        continue
                    try:
                        item = strict(data)
                    except NOT_STRICT:
                        item = None
                    if item is None:
                        item = decode(data)
                    add(item)
                except APIError as error:
                    odd = [error, data]
                    del data
                else:
                    yield item
                    continue
                # Out here, so that what it was taken for is not the context of an error.
                if source.not_an_item(odd):
                    await source.drain()
                    return
            # No local of a frame that an error tracker records: what is no answer may repeat a prompt.
            data = b""
            # Another generator may have read on in the meantime: then there are its events to hand out first.
            if source.events is events and (source.done or not await source.more()):
                return
    finally:
        # While another task is reading, this one was told so and leaves the stream alone.
        if not source.reading:
            source.close()


async def collect(chunks: AsyncIterable[ChatCompletionChunk]) -> ChatCompletion:
    """Read a stream to its end and return the whole answer.

    A `Stream` knows whether it is whole; of other iterables every choice must have had its `finish_reason`.

    Raises:
        StreamInterruptedError: no chunk came, or the answer is not whole; what came is in `.partial`.
    """
    answer = ChatAccumulator()
    async for chunk in chunks:
        answer.add(chunk)
    completion = answer.partial()
    if completion is None or not (answer.finished or isinstance(chunks, Stream)):
        error = StreamInterruptedError(message="The stream ended before the answer was complete.")
        error.partial = completion
        raise error
    return completion
