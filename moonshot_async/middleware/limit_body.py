"""The body of an answer on its way through the limiter: when it ends, and what it says was used."""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from moonshot_async.wire import ByteStream

# Usage stands at the end of an answer, streamed or not, within so many bytes.
_TAIL: Final = 4096
# Small pieces are put together this many at a time.
_PIECES: Final = 16

# All fields of a usage object stand within so many bytes of its beginning.
_OBJECT: Final = 600


def _field(name: str) -> re.Pattern[bytes]:
    # In texts the quotes are escaped, so that only the name of a field looks like this.
    return re.compile(rb'"' + name.encode() + rb'"\s*:\s*(\d{1,12})(?!\d)')


_PROMPT: Final = _field("prompt_tokens")
_INPUT: Final = _field("input_tokens")
_ANSWER: Final = (_field("completion_tokens"), _field("output_tokens"))
_CACHED: Final = (_field("cache_read_input_tokens"), _field("cache_creation_input_tokens"))
_TOTAL: Final = _field("total_tokens")


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What a call used in the end."""

    prompt_tokens: int
    total_tokens: int


class HeldBody:
    """Hands a body through, and says once that it is over: with its last bytes, at its end or when it is closed.

    A body that is dropped unclosed is over, too.
    """

    __slots__ = ("_body", "_finish", "_pieces")

    def __init__(self, body: ByteStream, finish: Callable[[bytes], None]) -> None:
        self._body = body
        self._finish: Callable[[bytes], None] | None = finish
        self._pieces: list[bytes] = []

    async def read(self, deadline: float | None = None) -> bytes:
        try:
            piece = await self._body.read(deadline)
        except TimeoutError:
            # Until it is closed the service goes on with it.
            raise
        except Exception:
            self._end()
            raise
        if not piece:
            self._end()
            return piece
        pieces = self._pieces
        if len(piece) >= _TAIL:
            pieces[:] = (piece[-_TAIL:],)
        else:
            pieces.append(piece)
            if len(pieces) > _PIECES:
                pieces[:] = (b"".join(pieces)[-_TAIL:],)
        return piece

    def close(self) -> None:
        self._body.close()
        self._end()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(b"".join(self._pieces))
            self._pieces.clear()


def usage_of(tail: bytes) -> Usage | None:
    """What the last usage in the last bytes of a body says; None where there is none."""
    place = tail.rfind(b'"prompt_tokens"')
    if place >= 0:
        found = _PROMPT.match(tail, place)
    else:
        place = tail.rfind(b'"input_tokens"')
        found = _INPUT.match(tail, place) if place >= 0 else None
    if found is None:
        return None
    prompt = int(found[1])
    # The order of the fields is nobody's promise.
    start = max(0, tail.rfind(b"{", 0, place))
    if found.re is _INPUT:
        # Where these two are told, what came from the cache is not in the first.
        prompt += sum(_told(field, tail, start) or 0 for field in _CACHED)
    total = _told(_TOTAL, tail, start)
    if total is None:
        total = prompt + max(_told(field, tail, start) or 0 for field in _ANSWER)
    return Usage(prompt, total)


def _told(field: re.Pattern[bytes], tail: bytes, start: int) -> int | None:
    found = field.search(tail, start, start + _OBJECT)
    return None if found is None else int(found[1])


FITS: type[ByteStream] = HeldBody
