"""What is behind a `Stream`: its response, how far that has been read, and whether the answer is whole."""

import copy
import time
from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from moonshot_async.bounds import Bounds
from moonshot_async.clocks import BodyClocks
from moonshot_async.errors import APIError, APIResponseValidationError, StreamInterruptedError
from moonshot_async.sse import SSEDecoder
from moonshot_async.status_errors import complete, with_attempts
from moonshot_async.types.chat import ChatCompletion
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


class Source(Generic[T]):
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
        self.decoder = SSEDecoder(bounds=bounds)
        self.clocks = BodyClocks(request, events=True)
        # An iterator, so that a generator that takes over goes on where the one before it stopped.
        self.events: Iterator[bytes] = iter(())
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
        if self.begun:
            # The idle clock starts here: the time that a consumer takes for its items is not held against the server.
            self.clocks.event_seen()
        self.reading = True
        try:
            while True:
                try:
                    data = await self.response.body.read(self.clocks.next_deadline())
                    events = self._events_in(data)
                except APIError as error:
                    data = None
                    raise self.failed(error) from error.__cause__
                except TimeoutError:
                    data = None
                if data is None:
                    raise self.failed(self.clocks.error())
                if not data:
                    return self._ended()
                if events:
                    self.events = iter(events)
                    return True
        finally:
            self.reading = False

    def _events_in(self, data: bytes) -> list[bytes]:
        """What is complete with these bytes.

        Raises:
            ResponseTooLargeError: a bound is passed.
        """
        self.size += len(data)
        if self.size > self.bounds.max_stream_bytes:
            raise self.bounds.passed("max_stream_bytes")
        events = self.decoder.feed_data(data)
        if not self.begun:
            if events:
                self.begun, self.opening = True, b""
            elif len(self.opening) < _OPENING_BYTES:
                self.opening += data
        return events

    def _ended(self) -> bool:
        if not self.begun and self.opening.lstrip()[:1] in (b"{", b"<"):
            raise self.failed(no_stream(self.opening, self.decode))
        # A last `[DONE]` whose blank line is missing is as good as one that has it.
        if self.decoder.pending:
            if [data.strip() for data in self.decoder.feed_data(b"\n\n")] != [b"[DONE]"]:
                raise self.interrupted("in the middle of an event")
        elif not self.progress.finished:
            raise self.interrupted("before the answer was complete")
        self.done = True
        return False

    def not_an_item(self, odd: list[Any]) -> bool:
        """Decide about an event that is no item: True where it ends the stream, False where it says nothing.

        Args:
            odd: its error and data. Taken out: what a server repeats of a prompt stays in no frame that raises.
        """
        data, error = odd.pop(), odd.pop()
        name = getattr(data, "event", "message")
        data = data.strip()
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
