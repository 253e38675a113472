"""A value of a type while its JSON text arrives.

The text is walked once, whatever the pieces are that it comes in: `_state` is the step that comes next. What is open is
a stack of frames. A value is made of them when it is asked for: parts that are whole are shared with the values before,
and only what is open is made anew.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from moonshot_async.toolkit.structured.partial_frames import (
    CLOSERS,
    FENCE,
    NOTHING,
    SCALAR,
    SOUND,
    SPACE,
    ContradictionError,
    Open,
    expect,
    half_pair,
)
from moonshot_async.toolkit.structured.partial_plans import plan_of
from moonshot_async.toolkit.structured.partial_shapes import ArrayShape, ObjectShape, Plan, TaggedShapes

T = TypeVar("T")

# What is nested deeper is told when it is whole. So each character is read so often at most, however it is nested.
MOST_LEVELS: Final = 64
# A value costs what is copied for it: a unit for each member and item that is open, or for so many characters of a
# text. It is made once the text that came has paid for it, so that the cost of all grows as the text does.
_UNITS_PER_CHARACTER: Final = 256
_CHARACTERS_PER_UNIT: Final = 64

Step: TypeAlias = "Callable[[PartialValue[Any]], bool]"


class PartialValue(Generic[T]):
    """Takes the text of a value piece by piece, and tells what there is of it.

    Each value extends the one before: texts grow, lists grow, fields that have not come are `UNSET`, and what cannot be
    extended (numbers, enums, dates) comes when it is whole. It is no validator: where the text contradicts the type,
    or is no JSON, it tells no more. The end of the text is not looked for, and what an object makes of itself when it
    is whole (defaults, `__post_init__`) comes at its end, but for the outermost, which has to be read as a whole.

    Args:
        type_: a type whose values are JSON objects.
        pydantic: whether pydantic validates it.

    Attributes:
        twice: where in the text a name came a second time, for example `$.people[0].name`. What came first had been
            told by then; readers of whole texts take what came last.
    """

    def __init__(self, type_: Any, *, pydantic: bool = False) -> None:
        self.twice: str | None = None
        self._text = ""
        self._at = 0
        # A plain function: a bound one would refer back to this object.
        self._state: Step = PartialValue._begin
        # What is open and told, from the outside in.
        self._frames: list[Open] = []
        # What is open and not told: its brackets. Where it begins, and what reads it.
        self._held: list[str] = []
        self._held_from = 0
        self._held_plan: Plan | None = None
        # The plan of the value that comes next; None where it is not told.
        self._plan: Plan | None = plan_of(type_, pydantic=pydantic)
        # Of an open string: where it begins, whether it is a name, and the text that is told of it.
        self._start = 0
        self._is_name = False
        self._growing: str | None = None
        # An object that waits for the member that says what it is; whether that is the one at hand.
        self._waiting: TaggedShapes | None = None
        self._is_tag = False
        self._over = False
        self._news = False
        self._paid = 0

    def feed(self, piece: str) -> bool:
        """Take a piece of the text; whether there is a new value to tell."""
        if self._over:
            return False
        self._paid += len(piece) * _UNITS_PER_CHARACTER
        # Python: a text that nobody else holds grows in place, if a local name is all that holds it.
        text, self._text = self._text, ""
        text += piece
        self._text = text
        try:
            while self._state(self):
                pass
        except (ValueError, TypeError, msgspec.DecodeError, RecursionError):
            # A `__post_init__` may fail with anything; these are what decoders turn into errors of theirs.
            self._over = True
        return self._news and self._cost() <= self._paid

    def value(self) -> T:
        """What there is; after `feed` said so."""
        self._paid -= self._cost()
        self._news = False
        inner: Any = NOTHING if self._growing is None else self._growing
        for frame in reversed(self._frames):
            inner = frame.made(inner)
        value: T = inner
        return value

    def _cost(self) -> int:
        return sum([frame.units for frame in self._frames]) + len(self._growing or "") // _CHARACTERS_PER_UNIT

    # Steps. Each goes as far as the text does, and says whether there is more to do.

    def _next(self) -> str:
        """The next character that is no space; empty where the text has ended."""
        found = SPACE.match(self._text, self._at)
        assert found is not None, "it may be empty"
        self._at = found.end()
        return self._text[self._at : self._at + 1]

    def _begin(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        if mark == "`":
            fence = FENCE.match(self._text, self._at)
            if fence is None or not fence[1]:
                return False
            self._at = fence.end()
        return self._go(PartialValue._value)

    def _value(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        self._start = self._at
        if mark in CLOSERS:
            return self._opened(mark)
        if mark == '"':
            self._at += 1
            if not self._held and self._plan is not None and self._plan.takes.text is True:
                self._growing, self._news = "", True
            return self._go(PartialValue._string)
        return self._go(PartialValue._scalar)

    def _opened(self, mark: str) -> bool:
        plan = self._plan
        self._at += 1
        if not self._held:
            shape = None
            if plan is not None and len(self._frames) < MOST_LEVELS:
                shape = plan.takes.object if mark == "{" else plan.takes.array
            if plan is not None and isinstance(shape, (ObjectShape, ArrayShape)):
                return self._told(shape, plan, self._start)
            self._held_from, self._held_plan = self._start, plan
            self._waiting = shape if isinstance(shape, TaggedShapes) else None
        self._held.append(mark)
        return self._go(PartialValue._first_name if mark == "{" else PartialValue._first_item)

    def _told(self, shape: ObjectShape | ArrayShape, plan: Plan, start: int) -> bool:
        self._frames.append(Open(shape, plan, start))
        self._at, self._news = start + 1, True
        return self._go(PartialValue._first_name if isinstance(shape, ObjectShape) else PartialValue._first_item)

    def _first_name(self) -> bool:
        return self._ended("}") if self._next() == "}" else self._name()

    def _name(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        expect(mark == '"')
        self._start, self._is_name = self._at, True
        self._at += 1
        return self._go(PartialValue._string)

    def _named(self, raw: str) -> bool:
        """A name has come: which value will follow."""
        name = msgspec.json.decode(raw)
        if self._held:
            self._is_tag = self._waiting is not None and len(self._held) == 1 and name == self._waiting.field
            return self._go(PartialValue._colon)
        frame = self._frames[-1]
        assert isinstance(frame.shape, ObjectShape), "lists have no names"
        self._plan, member = None, frame.shape.member(name)
        if member is not None:
            frame.name = name
            frame.key, self._plan = member
            if frame.key in frame.values:
                self.twice = "$" + "".join([one.step for one in self._frames])
                raise ContradictionError
        return self._go(PartialValue._colon)

    def _colon(self) -> bool:
        mark = self._next()
        if not mark:
            return False
        expect(mark == ":")
        self._at += 1
        return self._go(PartialValue._value)

    def _first_item(self) -> bool:
        return self._ended("]") if self._next() == "]" else self._item()

    def _item(self) -> bool:
        if not self._next():
            return False
        if not self._held:
            shape = self._frames[-1].shape
            assert isinstance(shape, ArrayShape), "objects have no items"
            self._plan = shape.item
        return self._go(PartialValue._value)

    def _after(self) -> bool:
        """A value has ended in what is open: another one follows, or that ends too."""
        mark = self._next()
        if not mark:
            return False
        inside = self._held[-1] if self._held else "{" if isinstance(self._frames[-1].shape, ObjectShape) else "["
        if mark != ",":
            expect(mark == CLOSERS[inside])
            return self._ended(mark)
        self._at += 1
        return self._go(PartialValue._name if inside == "{" else PartialValue._item)

    def _ended(self, mark: str) -> bool:
        """A bracket closes."""
        self._at += 1
        if self._held:
            self._held.pop()
            if self._held:
                return self._go(PartialValue._after)
            self._plan, self._waiting = self._held_plan, None
            return self._whole(self._text[self._held_from : self._at])
        if len(self._frames) == 1:
            self._over = True
            return False
        frame = self._frames[-1]
        value = frame.plan.read(self._text[frame.start : self._at])
        self._news = self._news or frame.becomes_more(value)
        self._frames.pop()
        self._frames[-1].put(value)
        return self._go(PartialValue._after)

    def _string(self) -> bool:
        found = SOUND.match(self._text, self._at)
        assert found is not None, "it may be empty"
        end = found.end()
        if self._growing is not None:
            end = self._grown(end)
        self._at = end
        mark = self._text[end : end + 1]
        if mark != '"':
            # More has to come of an escape, or of a pair of them. Where that cannot be, this is the end of the telling.
            return False
        self._at = end + 1
        raw = self._text[self._start : self._at]
        if self._is_name:
            self._is_name = False
            return self._named(raw)
        return self._whole(raw)

    def _grown(self, end: int) -> int:
        """Tell more of the open text, up to `end`; gives how far that was."""
        more = self._text[self._at : end]
        if "\\" in more:
            half = half_pair(more)
            end -= half
            more = msgspec.json.decode(f'"{more[: len(more) - half]}"')
        if more:
            grown, self._growing = self._growing, None
            grown = (grown or "") + more
            self._growing, self._news = grown, True
        return end

    def _scalar(self) -> bool:
        found = SCALAR.match(self._text, self._at)
        assert found is not None, "it may be empty"
        self._at = found.end()
        if self._at == len(self._text):
            return False
        return self._whole(self._text[self._start : self._at])

    def _whole(self, raw: str) -> bool:
        """A value has come that was not told part by part."""
        if self._held:
            return self._inside(raw)
        expect(bool(self._frames))
        if self._plan is None:
            # Nobody wants to know it, but it has to be JSON.
            msgspec.json.decode(raw, type=msgspec.Raw)
        else:
            value = self._plan.read(raw)
            self._frames[-1].put(value)
            self._news = self._news or self._growing is None or value != self._growing
            # Last, so that a text that turns out to be no value stays as it was told.
            self._growing = None
        return self._go(PartialValue._after)

    def _inside(self, raw: str) -> bool:
        """A text, number or word has come in what is not told: it may say what that is."""
        if self._waiting is not None and self._is_tag and len(self._held) == 1:
            shape, plan = self._waiting.shape(msgspec.json.decode(raw)), self._held_plan
            self._waiting = None
            if shape is not None and plan is not None:
                # Again from its beginning, since members may have come before.
                self._held.clear()
                return self._told(shape, plan, self._held_from)
        return self._go(PartialValue._after)

    def _go(self, state: Step) -> bool:
        self._state = state
        return True
