"""How much a server may send before it is told off: memory stays small whatever comes."""

from typing import Final

import msgspec

from moonshot_async.errors import ConfigurationError, ResponseTooLargeError

_KIB: Final = 1024
_MIB: Final = 1024 * 1024

# What an answer is that passes a bound. The others end in no error of their own.
_TOO_MUCH: Final = {
    "max_head_bytes": "The head of the answer is larger than {} bytes",
    "max_body_bytes": "The answer is larger than {} bytes",
    "max_file_bytes": "The content of the file is larger than {} bytes, which with_streaming_response takes in pieces",
    "max_decompressed_bytes": "The answer was compressed, and became larger than {} bytes",
    "max_stream_bytes": "The stream is larger than {} bytes",
    "max_trailer_bytes": "More than {} bytes came between the pieces of the answer, or behind them",
    "max_event_bytes": "A line or an event of the stream is larger than {} bytes",
    "max_silent_lines": "More than {} lines of the stream said nothing",
    "max_depth": "The answer is nested deeper than {} levels",
}


class Bounds(msgspec.Struct, frozen=True):
    """The most that an answer may have of each thing. What has more ends in a `ResponseTooLargeError` that names it.

    The defaults lie far above what the service sends. Heads, trailers and what is compressed are looked after by the
    transport: a transport of your own takes `bounds` for them, too. Heads and trailers are counted by reads of the
    network, so what is too much is found one or two of them (256 KiB each) later.

    Attributes:
        max_head_bytes: status line and headers, those of interim (1xx) answers included.
        max_body_bytes: a whole answer, as it is after decompression.
        max_file_bytes: the content of a file that is read into memory.
        max_decompressed_bytes: what a compressed body may become, a stream in all; compression is never asked for.
        max_stream_bytes: a stream in all, after decompression.
        max_trailer_bytes: what comes with a chunked body and is none of it: extensions of a chunk, headers behind it.
        max_event_bytes: a line of a stream, or the data of one event.
        max_silent_lines: lines of a stream in a row that bring no event (comments, empty lines, other fields); and
            events without data, in all.
        max_depth: how deep JSON may be nested; more than about 900 cannot be read however much is allowed.
        max_error_bytes: what is read of the body of an error; the rest is cut.
        drain_bytes: what is read after the end of a stream, so that its connection can serve the next call; one that
            says more is cut.
        drain_seconds: how long that may take.
    """

    max_head_bytes: int = 64 * _KIB
    max_body_bytes: int = 32 * _MIB
    max_file_bytes: int = 256 * _MIB
    max_decompressed_bytes: int = 32 * _MIB
    max_stream_bytes: int = 128 * _MIB
    max_trailer_bytes: int = 16 * _KIB
    max_event_bytes: int = 8 * _MIB
    max_silent_lines: int = 100_000
    max_depth: int = 500
    max_error_bytes: int = 64 * _KIB
    drain_bytes: int = 64 * _KIB
    drain_seconds: float = 0.1

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            whole = isinstance(value, int) or (name == "drain_seconds" and isinstance(value, float))
            if isinstance(value, bool) or not whole or not value >= (0 if name.startswith("drain") else 1):
                raise ConfigurationError(f"bounds: {name} must be {_wanted(name)}, not {value!r}")

    def passed(self, name: str) -> ResponseTooLargeError:
        """The error of an answer that has more than the bound of this name allows."""
        allowed = getattr(self, name)
        message = f"{_TOO_MUCH[name].format(allowed)}. If that is right, allow more: bounds=Bounds({name}=…)."
        return ResponseTooLargeError(allowed, bound=name, message=message)


def _wanted(name: str) -> str:
    if name.startswith("drain"):
        return "seconds, 0 or more" if name == "drain_seconds" else "a whole number, 0 or more"
    return "a positive whole number"


def checked_bounds(bounds: object) -> Bounds:
    """Bounds as they are.

    Raises:
        ConfigurationError: they are none.
    """
    if not isinstance(bounds, Bounds):
        raise ConfigurationError(f"bounds must be a Bounds(...), not {type(bounds).__name__}")
    return bounds


DEFAULT_BOUNDS: Final = Bounds()
