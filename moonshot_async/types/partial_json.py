"""The value of a JSON text that has not arrived in full.

The text is walked once, token by token, up to the last place where closing what is open makes it whole; the rest is
left to the decoder. The cost is that of the text, however it is nested.
"""

import re
from typing import Any, Final

import msgspec

_TOKEN: Final = re.compile(r'[ \t\n\r]*+(?:([{}\[\],:])|("(?:[^"\\]++|\\.)*+")|([^ \t\n\r{}\[\],:"]++))', re.DOTALL)
# A string as far as it is sound: the last escape may be cut in the middle.
_OPEN_STRING: Final = re.compile(r'"(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_HALF_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*+)\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_LITERALS: Final = frozenset(("true", "false", "null"))
_CLOSERS: Final = {"{": "}", "[": "]"}


def partial_json(text: str, *, strings: bool = True, numbers: bool = False) -> Any | None:
    """Read a JSON text that may be cut anywhere: what is whole so far, with everything that is open closed.

    A key without its value, and a literal that is not whole, are left out.

    Args:
        text: the beginning of a JSON text, or all of it.
        strings: whether a string that is still open is handed out as far as it goes.
        numbers: whether a number at the very end is handed out, although more digits may follow.

    Returns:
        Plain data; None where nothing is whole yet, and where the text is no beginning of JSON.
    """
    place = _Place()
    end, position = 0, 0
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        mark, string, scalar = token.groups()
        if mark:
            if not place.take(mark):
                return None
            # A comma or a colon asks for more.
            if mark not in ",:":
                end = position
        elif string:
            if not place.key:
                end = position
        elif place.key or not _is_whole(scalar, more=position < len(text) or numbers):
            break
        else:
            end = position
    whole = text[:end]
    if strings and not place.key and (tail := _open_string(text, position)):
        whole = text[:position] + tail
    return _decoded(whole + place.closers()) if whole else None


class _Place:
    """Where in the nesting the text is; `key` while the next string names a member."""

    __slots__ = ("_open", "key")

    def __init__(self) -> None:
        self._open: list[str] = []
        self.key = False

    def take(self, mark: str) -> bool:
        """Go past a bracket, a comma or a colon; False where none can stand."""
        opened = self._open
        if mark in _CLOSERS:
            opened.append(mark)
            self.key = mark == "{"
        elif not opened:
            return False
        elif mark == ",":
            self.key = opened[-1] == "{"
        else:
            self.key = False
            return mark == ":" or _CLOSERS[opened.pop()] == mark
        return True

    def closers(self) -> str:
        return "".join([_CLOSERS[mark] for mark in reversed(self._open)])


def _is_whole(scalar: str, *, more: bool) -> bool:
    return scalar in _LITERALS or (more and _NUMBER.fullmatch(scalar) is not None)


def _open_string(text: str, position: int) -> str:
    """The string that begins at `position` and has no end, closed; empty where there is none."""
    start = len(text) - len(text[position:].lstrip(" \t\n\r"))
    found = _OPEN_STRING.match(text, start)
    return _HALF_PAIR.sub(r"\1", found[0]) + '"' if found else ""


def _decoded(text: str) -> Any | None:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
