"""Server-Sent Events: bytes in, events out, by the WHATWG rules and without I/O.

See: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from typing import Final, TypeAlias

import msgspec

from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds

_BOM: Final = b"\xef\xbb\xbf"
# More than any clock holds. Longer ones are ignored: `int` and float arithmetic raise on them sooner or later.
_MAX_RETRY_DIGITS: Final = 18

_Block: TypeAlias = tuple[str, bytes, str, int | None]


class TypedData(bytes):
    """The data of an event that has a type of its own.

    Attributes:
        event: that type.
    """

    event: str

    def __new__(cls, data: bytes, event: str) -> "TypedData":
        """Make one; it compares as its data do."""
        typed = super().__new__(cls, data)
        typed.event = event
        return typed


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event.

    Attributes:
        event: its type; "message" where the stream names none.
        data: the values of its `data` lines, joined with newlines.
        id: the last event id, of this or an earlier event; "" before the first.
        retry: the reconnection time given within this event, in milliseconds.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None


# Operations: take one read of any size, hand out every event whose blank line has arrived.
# Goals: the common read, whole `data: {json}` blocks ended by LF, costs a few C calls a line. The worst case is linear
# in the bytes received, in time and in memory, whatever the reads: one byte each, a line or an event without end.
# Plan:
# - CR and CRLF become LF read by read, so that one `split` finds the lines. A CR at the end of a read ends its line at
#   once; an LF that opens the next read is the rest of it.
# - Only the new read is searched. The unfinished line, and the data of an event of several lines, grow in a bytearray:
#   appending is amortised, and a piece costs its own length, where a list would hold 50 bytes for a piece of two.
# - Lines stay bytes. LF, CR, colon and space are never part of another UTF-8 character, so that splitting before
#   decoding gives what the standard's order gives.
# - A read that is all common blocks, but for a last line that is still arriving, is split at what stands between two of
#   them: 0.2 µs an event, where taking the lines one by one costs 0.6. One look at the number of LFs tells that it was.
class SSEDecoder:
    """Turns the reads of one event stream into its events; how the bytes are split over reads makes no difference.

    Attributes:
        last_event_id: what a reconnection sends as `Last-Event-ID`; set at an event's end, also of one without data.
        retry: the reconnection time last set, in milliseconds; None until the stream sets one.

    See: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    __slots__ = (
        "_at_start",
        "_begun",
        "_bounds",
        "_data",
        "_event",
        "_event_retry",
        "_id",
        "_max_bytes",
        "_silent",
        "_skip_lf",
        "_tail",
        "last_event_id",
        "retry",
    )

    def __init__(
        self,
        *,
        max_event_bytes: int = DEFAULT_BOUNDS.max_event_bytes,
        max_silent_lines: int = DEFAULT_BOUNDS.max_silent_lines,
        bounds: Bounds | None = None,
    ) -> None:
        """Start before the first byte of a stream.

        Args:
            max_event_bytes: the most that a line (its field name included), or the data of one event, may hold.
            max_silent_lines: how many lines in a row may bring no event: comments, empty ones, and other fields.
            bounds: both of them, instead.

        Raises:
            ConfigurationError: a bound is no positive number.
        """
        if bounds is None:
            bounds = Bounds(max_event_bytes=max_event_bytes, max_silent_lines=max_silent_lines)
        self._bounds = bounds
        self.last_event_id = ""
        self.retry: int | None = None
        self._max_bytes = bounds.max_event_bytes
        self._silent = 0
        self._at_start = True
        self._skip_lf = False
        self._tail = bytearray()
        self._begun = False
        self._event = ""
        self._data: bytes | bytearray | None = None
        self._id = ""
        self._event_retry: int | None = None

    @property
    def pending(self) -> bool:
        """Whether a line or an event has begun that a stream ending here would lose. Finished comments do not count."""
        return self._begun or self._data is not None or bool(self._tail)

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next read and return the events that it completes; invalid UTF-8 becomes U+FFFD.

        Raises:
            ResponseTooLargeError: a line or the data of an event passes `max_event_bytes`, or lines without an event
                are more than `max_silent_lines`. Feed nothing more then.
        """
        return [
            ServerSentEvent(event, content.decode("utf-8", "replace"), event_id, retry)
            for event, content, event_id, retry in self._blocks(data)
        ]

    def feed_data(self, data: bytes) -> list[bytes]:
        """Like `feed`, for callers that parse bytes: the data of each event, as received.

        Those of an event with a type of its own are `TypedData`.

        Raises:
            ResponseTooLargeError: as in `feed`.
        """
        if (plain := self._plain(data)) is not None:
            return plain
        return [
            content if event == "message" else TypedData(content, event) for event, content, _, _ in self._blocks(data)
        ]

    def _plain(self, data: bytes) -> list[bytes] | None:
        """The data of the events, where all that came are whole common blocks; None, and nothing done, otherwise."""
        tail = self._tail
        if tail:
            if len(tail) > len(data):
                # A line that arrives in small pieces would be copied again and again.
                return None
            data = bytes(tail) + data
        end = data.rfind(b"\n\n")
        common = end >= 0 and data.startswith(b"data: ") and b"\r" not in data
        if not common or self._begun or self._data is not None or self._skip_lf or len(data) > self._max_bytes:
            return None
        events = data[6:end].split(b"\n\ndata: ")
        if data.count(b"\n") != 2 * len(events):
            # Some lines belong to no such block.
            return None
        tail[:] = data[end + 2 :]
        self._at_start = False
        self._silent = 0
        return events

    def _blocks(self, data: bytes) -> list[_Block]:
        blocks: list[_Block] = []
        content = self._data
        # How many lines since the `counted`-th event brought none; nothing is counted where each block is an event.
        silent, counted = self._silent, 0
        for line in self._lines(data):
            if not line:
                if content is not None:
                    whole = content if isinstance(content, bytes) else bytes(content)
                    blocks.append((self._event or "message", whole, self._id, self._event_retry))
                    content = None
                    if self._begun:
                        self._end_block()
                    continue
                if self._begun:
                    self._end_block()
            elif content is None and line.startswith(b"data: "):
                content = line[6:]
                continue
            else:
                name, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if name == b"data":
                    content = value if content is None else self._joined(content, value)
                    continue
                if name:
                    self._field(name, value)
            silent, counted = silent + 1 if len(blocks) == counted else 1, len(blocks)
            if silent > self._bounds.max_silent_lines:
                raise self._bounds.passed("max_silent_lines")
        self._data = content
        self._silent = silent if len(blocks) == counted else 0
        return blocks

    def _lines(self, data: bytes) -> list[bytes]:
        if self._at_start:
            data = self._without_bom(data)
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        at_most = len(self._tail) + len(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._tail:
            self._tail += lines[0]
            lines[0] = bytes(self._tail)
            self._tail.clear()
        self._tail += rest
        if at_most > self._max_bytes and any(len(line) > self._max_bytes for line in (*lines, self._tail)):
            raise self._bounds.passed("max_event_bytes")
        return lines

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self._tail) + data
        self._tail.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._tail += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _field(self, name: bytes, value: bytes) -> None:
        self._begun = True
        if name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(digits := value.lstrip(b"0")) <= _MAX_RETRY_DIGITS:
            self.retry = self._event_retry = int(digits or b"0")

    def _end_block(self) -> None:
        self.last_event_id = self._id
        self._begun = False
        self._event = ""
        self._event_retry = None

    def _joined(self, content: bytes | bytearray, value: bytes) -> bytearray:
        joined = bytearray(content) if isinstance(content, bytes) else content
        joined += b"\n"
        joined += value
        if len(joined) > self._max_bytes:
            raise self._bounds.passed("max_event_bytes")
        return joined
