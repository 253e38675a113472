"""Large texts of base64, in little memory."""

import mmap
from binascii import b2a_base64
from collections.abc import Iterable, Iterator


def base64_text(begin: str, pieces: Iterable[bytes | memoryview], size: int) -> str:
    """A text that goes on with the base64 of what pieces are together.

    Two copies of it are in memory for a moment, and one afterwards: what a list of pieces, or a `bytearray`, leaves
    free behind it the allocator keeps, as much again.

    Args:
        begin: of the text.
        pieces: not too large: to encode one holds the interpreter, and with it the event loop.
        size: about how many bytes there are.
    """
    space = _space(len(begin) + 4 * (size // 3 + 1))
    try:
        space.write(begin.encode())
        for encoded in _encoded(pieces):
            if space.tell() + len(encoded) > len(space):
                # A file that grows, or does not say how large it is.
                space, narrow = _space(2 * len(space) + len(encoded)), space
                with narrow, memoryview(narrow) as view, view[: narrow.tell()] as text:
                    space.write(text)
            space.write(encoded)
        with memoryview(space) as view, view[: space.tell()] as text:
            return str(text, "ascii")
    finally:
        space.close()


def _encoded(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    # Three bytes are written as four characters: what is left of a piece goes before the next one.
    left = b""
    for piece in pieces:
        data = left + bytes(piece) if left else piece
        whole = len(data) - len(data) % 3
        yield b2a_base64(data[:whole], newline=False)
        left = bytes(data[whole:])
    yield b2a_base64(left, newline=False)


def _space(size: int) -> mmap.mmap:
    # Where memory can be private, it is half as dear.
    private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
    return mmap.mmap(-1, size, flags=private) if private else mmap.mmap(-1, size)
