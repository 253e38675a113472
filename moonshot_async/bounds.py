"""How much a server may send before it is told off: memory stays small whatever comes."""

from typing import Final

import msgspec

from moonshot_async.errors import ConfigurationError

_KIB: Final = 1024
_MIB: Final = 1024 * 1024


class Bounds(msgspec.Struct, frozen=True):
    """The most that an answer may have of each thing. What has more ends in a `ResponseTooLargeError` that names it.

    The defaults lie far above what the service sends.

    Attributes:
        max_head_bytes: status line and headers, those of interim (1xx) answers included.
        max_body_bytes: a whole answer, as it is after decompression. Contents of files have a bound of their own.
        max_decompressed_bytes: what a compressed body may become; compression is never asked for.
        max_trailer_bytes: headers that follow a chunked body.
        max_event_bytes: a line of a stream, or the data of one event.
        max_silent_lines: lines of a stream in a row that bring no data: comments, empty events, other fields.
        max_depth: how deep JSON may be nested.
        max_error_bytes: what is read of the body of an error.
        drain_bytes: what is read after the end of a stream, so that its connection can serve the next call; one that
            says more is cut.
        drain_seconds: how long that may take.
    """

    max_head_bytes: int = 64 * _KIB
    max_body_bytes: int = 64 * _MIB
    max_decompressed_bytes: int = 32 * _MIB
    max_trailer_bytes: int = 16 * _KIB
    max_event_bytes: int = 16 * _MIB
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
                raise ConfigurationError(f"bounds: {name} must be a positive number, not {value!r}")


DEFAULT_BOUNDS: Final = Bounds()
