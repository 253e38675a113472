"""One connection: it counts what comes over it beside bodies, keeps nothing that nobody asked for, and is heard out.

aiohttp bounds the lines of a head, and stops reading while a body is not taken. What it does not bound is counted here:
a head without end, or an endless row of interim ones; what a chunked body has around its pieces; answers to no request.
"""

import asyncio
import select
from typing import Any, Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

from moonshot_async.bounds import Bounds

# Windows has none, and finds out later what lies in a socket.
_POLL: Final = getattr(select, "poll", None)
_LAST_WORDS: Final = 64 * 1024
# A piece of one byte has five around it; more than so many each are no pieces.
_AROUND_EACH: Final = 16
# aiohttp: what the parser is allowed; so much that a head is found to be too large here, after at most one more read.
_ONE_READ: Final = 512 * 1024


class Protocol(ResponseHandler):
    """aiohttp's own, with a hand in six of its seams.

    Attributes:
        idle: whether it lies in the pool: nobody has asked anything.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        super().__init__(loop=loop)
        self.idle = False
        self._paused_once = False
        self._bounds = bounds
        self._answered = False
        # Bytes since the beginning of the head, or since it was looked whether they went into the body.
        self._quiet = 0
        # Of those behind the head, how many were none of the body.
        self._around = 0
        self._enough = min(bounds.max_head_bytes, bounds.max_trailer_bytes)
        self._body_bytes = 0
        self._most = bounds.max_head_bytes + _ONE_READ
        self._poll: Any = None

    def set_response_params(self, **params: Any) -> None:
        self._start_anew()
        most = self._most
        ours = {"max_line_size": most, "max_field_size": most, "max_headers": most, "auto_decompress": False}
        super().set_response_params(**{**params, **ours})

    def expect_answer(self, read_buffer_bytes: int) -> None:
        """Get ready for the answer to a request, as a session does it with the method above."""
        self._start_anew()
        most = self._most
        super().set_response_params(
            read_until_eof=True,
            read_bufsize=read_buffer_bytes,
            auto_decompress=False,
            max_line_size=most,
            max_field_size=most,
            max_headers=most,
        )

    def _start_anew(self) -> None:
        """A request will be sent."""
        self.idle = self._answered = self._paused_once = False
        self._quiet = self._body_bytes = self._around = 0

    def unread(self) -> bool:
        """Whether something lies in the socket that the event loop has not read yet: bytes, or an end."""
        if self._poll is None:
            self._poll = _polling(self.transport)
        # Made once for each connection: 1 µs of each call.
        return self._poll is not None and bool(self._poll.poll(0))

    def pause_reading(self) -> None:
        self._paused_once = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp: said after every read and every answer, mostly for nothing, and costs a turn of the parser: 2 µs.
        # Once reading was paused it is not: the parser may stop later than it was told, with a rest in its hands.
        if self._paused_once:
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        if self.idle and data:
            self._cut()
            return
        self._quiet += len(data)
        super().data_received(data)
        if self._quiet > self._enough:
            self._look()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """A head was read, and is put into the queue for who waits for it."""
        message = data[0]
        if message.code == 101:
            # It wants to go on in another protocol; none was offered.
            self._give_up(BadHttpMessage("101"))
        elif self._quiet > self._bounds.max_head_bytes and _head_bytes(message) > self._bounds.max_head_bytes:
            self._give_up(self._bounds.passed("max_head_bytes"))
        else:
            if message.code >= 200:
                self._answered = True
                self._quiet = 0
            super().feed_data(data, size)

    def _look(self) -> None:
        """See whether what came is part of a body, now that it is a good deal."""
        payload = self._payload
        if not self._answered:
            if self._quiet > self._bounds.max_head_bytes:
                self._give_up(self._bounds.passed("max_head_bytes"))
        elif payload is not None and not payload.is_eof():
            most = self._bounds.max_trailer_bytes
            if grown := payload.total_bytes - self._body_bytes:
                self._around += self._quiet - grown
                self._body_bytes, self._quiet = payload.total_bytes, 0
            # What was read of a body that nobody takes is parsed later.
            if self._quiet > most or self._around > most + _ONE_READ + _AROUND_EACH * self._body_bytes:
                self._give_up(self._bounds.passed("max_trailer_bytes"))

    def _give_up(self, error: Exception) -> None:
        """End the answer with an error; what came of it before is still good."""
        self.set_exception(error)
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(error)
        # aiohttp: they would be told of the end of the connection, in other words.
        self._payload = self._parser = None
        self._cut()

    def _cut(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        # A server that refuses an upload hangs up on what it did not read. Where the next write noticed that first, the
        # event loop gives the connection up with the answer still in the socket.
        if isinstance(exc, OSError) and self._parser is not None:
            self._hear_out()
        super().connection_lost(exc)

    def _hear_out(self) -> None:
        transport = self.transport
        if transport is None or transport.get_extra_info("sslcontext") is not None:
            return
        try:
            with transport.get_extra_info("socket").dup() as last:
                last.setblocking(False)
                while self._parser is not None and (data := last.recv(_LAST_WORDS)):
                    self.data_received(data)
        except OSError:
            pass  # That was all.


def readable(transport: Any) -> bool:
    """Whether something lies in the socket of a transport that the event loop has not read yet: bytes, or an end."""
    return (poll := _polling(transport)) is not None and bool(poll.poll(0))


def _polling(transport: Any) -> Any:
    """What asks the socket of a transport; None where that cannot be asked."""
    if _POLL is None:
        return None
    poll = _POLL()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return poll


def _head_bytes(message: Any) -> int:
    """How large a head is, about: line ends and status as they usually are."""
    headers = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return headers + len(message.reason) + len("HTTP/1.1 200 \r\n\r\n")
