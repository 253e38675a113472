"""`Stream`: an open answer, read event by event.

A stream is an object that owns its response and hands out async generators over it. The generators share one source,
so whoever drops the last of them drops the response too: the source cuts the connection when it is freed, without
waiting for a garbage collection. (One that was begun and dropped is finished by the event loop, a turn later.)

Nothing here times out by itself: each read is given the moment by which it must have ended, and the transport keeps it
(a cancel scope around a `yield` would cancel the consumer: PEP 789).
"""

import copy
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Protocol, TypeVar

from moonshot_async.accumulate import ChatAccumulator
from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds
from moonshot_async.clocks import BodyClocks
from moonshot_async.errors import (
    APIError,
    APIResponseValidationError,
    StreamInterruptedError,
)
from moonshot_async.sse import SSEDecoder
from moonshot_async.status_errors import complete, with_attempts
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.types.json_text import check_depth, error_event, excerpt, parse
from moonshot_async.types.model import Decode
from moonshot_async.wire import Request, Response

T = TypeVar("T")
Item = TypeVar("Item", contravariant=True)

# What is kept of a body that holds no events, to tell what it is instead.
_OPENING_BYTES: Final = 64 * 1024


class Progress(Protocol[Item]):
    """What a stream must know of its items: whether the answer is whole, and what there is of it."""

    def add(self, item: Item) -> None:
        """Take note of an item."""
        ...

    @property
    def finished(self) -> bool:
        """Whether everything that began has ended, so that an end of the body is the end of the answer."""
        ...

    def partial(self) -> ChatCompletion | None:
        """The answer so far."""
        ...


class Stream(Generic[T]):
    """A streamed answer: `async for` yields its items as they arrive.

    It ends only when the answer is whole. Anything else raises, with everything that arrived handed out before and in
    `.partial` of the error. Leaving the loop early closes the connection; to read in parts use `anext(stream)`.

    Attributes:
        response: status and headers of the answer.
    """

    def __init__(
        self,
        response: Response,
        request: Request,
        decode: Decode[T],
        progress: Progress[T],
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self.response = response
        self._source = _Source(response, request, decode, progress, bounds)
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


class _Source(Generic[T]):
    """The response of a stream, and how far it has been read."""

    __slots__ = (
        "begun",
        "bounds",
        "clocks",
        "decode",
        "decoder",
        "done",
        "error",
        "events",
        "looped",
        "opening",
        "progress",
        "reading",
        "request",
        "response",
        "size",
        "wordless",
    )

    def __init__(
        self, response: Response, request: Request, decode: Decode[T], progress: Progress[T], bounds: Bounds
    ) -> None:
        self.response = response
        self.request = request
        self.decode = decode
        self.progress = progress
        self.bounds = bounds
        self.decoder = SSEDecoder(max_event_bytes=bounds.max_event_bytes, max_silent_lines=bounds.max_silent_lines)
        self.clocks = BodyClocks(request, events=True)
        # An iterator, so that a generator that takes over goes on where the one before it stopped.
        self.events: Iterator[tuple[str, bytes]] = iter(())
        self.begun = False
        # How many bytes came, and how many events that say nothing.
        self.size = 0
        self.wordless = 0
        self.opening = b""
        self.reading = False
        self.looped = False
        self.done = False
        self.error: APIError | None = None

    def __del__(self) -> None:
        self.response.close()

    def close(self) -> None:
        if not self.done and self.error is None:
            closed = StreamInterruptedError(
                message="The stream was closed before its end: leaving `async for` early closes it.",
                request=self.request,
            )
            self.error = with_attempts(closed, self.request)
            # A generator that is suspended among them shall find none.
            for _ in self.events:
                pass
        self.response.close()

    async def more(self) -> bool:
        """Read until there are events; False when the body ended and the answer is whole."""
        self.check()
        if self.reading:
            raise RuntimeError("this stream is being read by another task: one reads, and hands on what it gets")
        self.reading = True
        try:
            return await self._read()
        finally:
            self.reading = False

    async def _read(self) -> bool:
        if self.begun:
            # The idle clock starts here: the time that a consumer takes for its items is not held against the server.
            self.clocks.event_seen()
        while True:
            try:
                data = await self.response.body.read(self.clocks.next_deadline())
                self.size += len(data)
                if self.size > self.bounds.max_stream_bytes:
                    raise self.bounds.passed("max_stream_bytes")
                events = self.decoder.feed_raw(data)
            except APIError as error:
                data = None
                raise self.failed(error) from error.__cause__
            except TimeoutError:
                data = None
            if data is None:
                raise self.failed(self.clocks.error())
            if not data:
                return self._ended()
            if not self.begun and len(self.opening) < _OPENING_BYTES:
                self.opening += data
            if events:
                self.begun = True
                self.events = iter(events)
                return True

    def _ended(self) -> bool:
        if not self.begun and self.opening.lstrip()[:1] in (b"{", b"<"):
            raise self.failed(no_stream(self.opening, self.decode))
        # A last `[DONE]` whose blank line is missing is as good as one that has it.
        if self.decoder.pending:
            if [data.strip() for _, data in self.decoder.feed_raw(b"\n\n")] != [b"[DONE]"]:
                raise self.interrupted("in the middle of an event")
        elif not self.progress.finished:
            raise self.interrupted("before the answer was complete")
        self.done = True
        return False

    def not_an_item(self, odd: list[Any]) -> bool:
        """Decide about an event that is no item: True where it ends the stream, False where it says nothing.

        Args:
            odd: its error, data and name. Taken out: what a server repeats of a prompt stays in no frame that raises.
        """
        name, data, error = odd.pop(), odd.pop().strip(), odd.pop()
        if data.startswith(b"[DONE]"):
            return True
        if not data:
            self.wordless += 1
            if self.wordless <= self.bounds.max_silent_lines:
                return False
            error = self.bounds.passed("max_silent_lines")
        elif name == "error" and type(error) is APIResponseValidationError:
            error = _error_event(data)
        del data
        try:
            raise self.failed(error)
        finally:
            del error

    def says_something(self, data: bytes) -> bool:
        """Look at the data of an event that is uncommonly short or long: whether it is worth decoding.

        Raises:
            ResponseTooLargeError: it is nested too deep.
        """
        if data.strip():
            check_depth(data, self.decode, self.bounds)
            return True
        self.wordless += 1
        # One too many is told like whatever else is no item.
        return self.wordless > self.bounds.max_silent_lines

    async def drain(self) -> None:
        """Read what is left of the body, within bounds, so that the connection can be used again."""
        self.done = True
        body, left = self.response.body, self.bounds.drain_bytes
        deadline = time.monotonic() + self.bounds.drain_seconds
        try:
            while left > 0 and (data := await body.read(deadline)):
                left -= len(data)
        except (APIError, TimeoutError):
            pass  # The answer is complete; the connection is not worth an error.

    def interrupted(self, where: str) -> APIError:
        return self.failed(StreamInterruptedError(message=f"The stream broke off: it ended {where}."))

    def failed(self, error: APIError) -> APIError:
        """Complete an error with what is known here, and remember it for whoever asks again."""
        complete(error, self.request, self.response)
        error.partial = self.progress.partial()
        # A copy: the traceback of the one that is raised leads to this object.
        self.error = copy.copy(error)
        return error

    def check(self) -> None:
        """Raise what ended the stream, if something did."""
        if self.error is not None:
            if self.error.partial is None:
                self.error.partial = self.progress.partial()
            raise copy.copy(self.error)


def _error_event(data: bytes) -> APIError:
    try:
        return error_event(parse(data))
    except APIResponseValidationError:
        return error_event(excerpt(data))


def no_stream(content: bytes, decode: Decode[Any]) -> APIError:
    """The error for a whole document where events were asked for: an error object, or nothing that we know."""
    try:
        decode(content)
    except APIError as error:
        return error
    return APIResponseValidationError(
        body=excerpt(content), message="The answer is a whole document, although a stream was asked for."
    )


async def _items(source: _Source[T], *, looping: bool) -> AsyncGenerator[T, None]:
    """Yield what the source holds, then what it brings, until the answer is whole."""
    source.check()
    source.looped = source.looped or looping
    decode, add, shallow = source.decode, source.progress.add, source.bounds.max_depth
    try:
        while not source.done:
            events = source.events
            for name, data in events:
                try:
                    if not 2 <= len(data) <= shallow and not source.says_something(data):
                        continue
                    item = decode(data)
                    add(item)
                except APIError as error:
                    odd = [error, data, name]
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
