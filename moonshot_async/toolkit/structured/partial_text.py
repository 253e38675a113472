"""A JSON text while it arrives: what comes in it, told once, whatever the pieces are."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
# As much of a string as is sound, the quotes aside.
_SOUND: Final = re.compile(r'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_SCALAR: Final = re.compile(r"[-+.0-9A-Za-z]*+")
# Models name the language of a block in a few letters. No more of it is looked at, each time that more has come.
_FENCE: Final = re.compile(r"```[A-Za-z0-9_-]{0,32}+[ \t]{0,32}+(\r?\n)?")
_HALF_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_CLOSERS: Final = {"{": "}", "[": "]"}

Step: TypeAlias = "Callable[[Any], bool]"


class ContradictionError(ValueError):
    """The text is no JSON, or no value of the type: reading all of it will say what is wrong."""


class ArrivingText(ABC):
    """Walks the text of an object or array; what comes in it is heard of by the methods of a subclass.

    `_state` is the step that comes next. A step goes as far as the text does, and says whether there is more to do. The
    end of the text is not looked for: with the outermost bracket it is over.

    Attributes:
        over: whether nothing more is heard of.
    """

    def __init__(self) -> None:
        self.over = False
        self._text = ""
        self._at = 0
        # A plain function: a bound one would refer back to this object.
        self._state: Step = ArrivingText._begin
        # The brackets that are open.
        self._open: list[str] = []
        # Of the value or name at hand: where it begins. Whether it is a name, and whether it is told as it grows.
        self._start = 0
        self._is_name = False
        self._grows = False

    def _walk(self, piece: str) -> None:
        """Go through a piece of the text; what is no JSON ends it."""
        # Python: a text that nobody else holds grows in place, if a local name is all that holds it.
        text, self._text = self._text, ""
        text += piece
        self._text = text
        try:
            while not self.over and self._state(self):
                pass
        except Exception:  # noqa: BLE001  # what a type makes of its values may fail with anything; so will the whole
            self.over = True

    # What a subclass hears of; it may raise anything.

    @abstractmethod
    def _opens(self, mark: str) -> None:
        """An object or array has begun, at `_start`; its bracket is in `_open`."""

    @abstractmethod
    def _closes(self) -> None:
        """The innermost of them has ended, at `_at`; its bracket is no more in `_open`."""

    @abstractmethod
    def _named(self, name: str) -> None:
        """The name of a member has come."""

    @abstractmethod
    def _item_follows(self) -> None:
        """An item of an array is next."""

    @abstractmethod
    def _text_begins(self) -> bool:
        """A text has begun that is no name; whether it is told as it grows."""

    @abstractmethod
    def _text_grows(self, more: str) -> None:
        """More has come of it."""

    @abstractmethod
    def _came(self, raw: str) -> None:
        """A text, number or word has come."""

    def _again(self, start: int, levels: int) -> None:
        """Go back into an object that begins at `start`, below so many open brackets."""
        self._at = start + 1
        del self._open[levels + 1 :]
        self._state = ArrivingText._first_name

    # Steps.

    def _next(self) -> str:
        """The next character that is no space; empty where the text has ended."""
        found = _SPACE.match(self._text, self._at)
        assert found is not None, "it may be empty"
        self._at = found.end()
        return self._text[self._at : self._at + 1]

    def _go(self, state: Step) -> bool:
        self._state = state
        return True

    def _begin(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        if mark == "`":
            fence = _FENCE.match(self._text, self._at)
            if fence is None or not fence[1]:
                return False
            self._at = fence.end()
        return self._go(ArrivingText._value)

    def _value(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        self._start = self._at
        if mark in _CLOSERS:
            self._at += 1
            self._open.append(mark)
            self._state = ArrivingText._first_name if mark == "{" else ArrivingText._first_item
            self._opens(mark)
            return True
        if mark == '"':
            self._at += 1
            self._grows = self._text_begins()
            return self._go(ArrivingText._string)
        return self._go(ArrivingText._scalar)

    def _first_name(self) -> bool:
        return self._ended() if self._next() == "}" else self._name()

    def _name(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        _expect(mark == '"')
        self._start, self._is_name = self._at, True
        self._at += 1
        return self._go(ArrivingText._string)

    def _colon(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        _expect(mark == ":")
        self._at += 1
        return self._go(ArrivingText._value)

    def _first_item(self) -> bool:
        return self._ended() if self._next() == "]" else self._item()

    def _item(self) -> bool:
        if not self._next():
            return False
        self._item_follows()
        return self._go(ArrivingText._value)

    def _after(self) -> bool:
        """A value has ended in what is open: another one follows, or that ends too."""
        mark = self._next()
        if not mark:
            return False
        inside = self._open[-1]
        if mark != ",":
            _expect(mark == _CLOSERS[inside])
            return self._ended()
        self._at += 1
        return self._go(ArrivingText._name if inside == "{" else ArrivingText._item)

    def _ended(self) -> bool:
        """A bracket closes."""
        self._at += 1
        self._open.pop()
        self.over = not self._open
        self._closes()
        return self._go(ArrivingText._after)

    def _string(self) -> bool:
        found = _SOUND.match(self._text, self._at)
        assert found is not None, "it may be empty"
        end = found.end()
        if self._grows:
            end = self._grown(end)
        self._at = end
        mark = self._text[end : end + 1]
        if mark != '"':
            # More has to come of an escape, or of a pair of them. Where that cannot be, this is the end of the telling.
            return False
        self._at = end + 1
        raw = self._text[self._start : self._at]
        self._grows = False
        if self._is_name:
            self._is_name = False
            self._named(msgspec.json.decode(raw))
            return self._go(ArrivingText._colon)
        return self._whole(raw)

    def _grown(self, end: int) -> int:
        """Tell more of the open text, up to `end`; gives how far that was."""
        more = self._text[self._at : end]
        if "\\" in more:
            half = _half_pair(more)
            end -= half
            more = msgspec.json.decode(f'"{more[: len(more) - half]}"')
        if more:
            self._text_grows(more)
        return end

    def _scalar(self) -> bool:
        found = _SCALAR.match(self._text, self._at)
        assert found is not None, "it may be empty"
        self._at = found.end()
        if self._at == len(self._text):
            return False
        return self._whole(self._text[self._start : self._at])

    def _whole(self, raw: str) -> bool:
        _expect(bool(self._open))
        self._state = ArrivingText._after
        self._came(raw)
        return True


def _half_pair(text: str) -> int:
    """How many characters at the end of a text are an escape that means something only with the next one."""
    before, last = text[:-6], text[-6:]
    slashes = len(before) - len(before.rstrip("\\"))
    return len(last) if _HALF_PAIR.fullmatch(last) is not None and slashes % 2 == 0 else 0


def _expect(fact: bool) -> None:
    """Raise `ContradictionError` unless it is so."""
    if not fact:
        raise ContradictionError
