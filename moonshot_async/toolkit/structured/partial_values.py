"""A value of a type while its JSON text arrives.

What is open is a stack of frames. A value is made of them when it is asked for: parts that are whole are shared with
the values before, and only what is open is made anew.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec

from moonshot_async.toolkit.structured.partial_frames import NOTHING, Open
from moonshot_async.toolkit.structured.partial_plans import plan_of
from moonshot_async.toolkit.structured.partial_shapes import ArrayShape, ObjectShape, Plan, TaggedShapes
from moonshot_async.toolkit.structured.partial_text import ArrivingText, ContradictionError

T = TypeVar("T")

# What is nested deeper is told when it is whole. So each character is read so often at most, however it is nested.
MOST_LEVELS: Final = 64
# A value costs what is copied for it: a unit for each member and item that is open, or for so many characters of a
# text. It is made once the text that came has paid for it, so that the cost of all grows as the text does.
_UNITS_PER_CHARACTER: Final = 256
_CHARACTERS_PER_UNIT: Final = 64


class PartialValue(ArrivingText, Generic[T]):
    """Takes the text of a value piece by piece, and tells what there is of it.

    Each value extends the one before: texts grow, lists grow, fields that have not come are `UNSET`, and what cannot be
    extended (numbers, enums, dates) comes when it is whole. It is no validator: where the text contradicts the type,
    or is no JSON, it tells no more. What an object makes of itself when it is whole (defaults, `__post_init__`) comes
    at its end, but for the outermost, which has to be read as a whole.

    Args:
        type_: a type whose values are JSON objects.
        pydantic: whether pydantic validates it.

    Attributes:
        twice: where in the text a name came a second time, for example `$.people[0].name`. What came first had been
            told by then; readers of whole texts take what came last.
    """

    def __init__(self, type_: Any, *, pydantic: bool = False) -> None:
        super().__init__()
        self.twice: str | None = None
        # What is open and told, from the outside in. What is open beyond that is held, until it is whole.
        self._frames: list[Open] = []
        # What is held: where it begins, and what reads it.
        self._held_from = 0
        self._held_plan: Plan | None = None
        # The plan of the value that comes next; None where it is not told.
        self._plan: Plan | None = plan_of(type_, pydantic=pydantic)
        # What is told of a text that is open.
        self._growing: str | None = None
        # An object that waits for the member that says what it is; whether that is the one at hand.
        self._waiting: TaggedShapes | None = None
        self._is_tag = False
        self._news = False
        self._paid = 0

    def feed(self, piece: str) -> bool:
        """Take a piece of the text; whether there is a new value to tell."""
        if self.over:
            return False
        self._paid += len(piece) * _UNITS_PER_CHARACTER
        self._walk(piece)
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

    def has_told(self, whole: Any) -> bool:
        """Whether all of the whole value was in the one that was told last."""
        return not self._news and len(self._frames) == 1 and not self._frames[0].becomes_more(whole)

    def _cost(self) -> int:
        return sum([frame.units for frame in self._frames]) + len(self._growing or "") // _CHARACTERS_PER_UNIT

    @property
    def _held(self) -> int:
        """How many brackets are open in what is held."""
        return len(self._open) - len(self._frames)

    # What comes in the text.

    def _opens(self, mark: str) -> None:
        if self._held > 1:
            return
        plan, shape = self._plan, None
        if plan is not None and len(self._frames) < MOST_LEVELS:
            shape = plan.takes.object if mark == "{" else plan.takes.array
        if plan is not None and isinstance(shape, (ObjectShape, ArrayShape)):
            self._tell(shape, plan, self._start)
            return
        self._held_from, self._held_plan = self._start, plan
        self._waiting = shape if isinstance(shape, TaggedShapes) else None

    def _tell(self, shape: ObjectShape | ArrayShape, plan: Plan, start: int) -> None:
        self._frames.append(Open(shape, plan, start))
        self._news = True

    def _closes(self) -> None:
        held = self._held
        if not self._open or held > 0:
            return
        if held == 0:
            self._plan, self._waiting = self._held_plan, None
            self._put(self._text[self._held_from : self._at])
        else:
            frame = self._frames[-1]
            value = frame.plan.read(self._text[frame.start : self._at])
            self._news = self._news or frame.becomes_more(value)
            self._frames.pop()
            self._frames[-1].put(value)

    def _named(self, name: str) -> None:
        if self._held:
            self._is_tag = self._waiting is not None and self._held == 1 and name == self._waiting.field
            return
        frame = self._frames[-1]
        assert isinstance(frame.shape, ObjectShape), "lists have no names"
        self._plan, member = None, frame.shape.member(name)
        if member is not None:
            frame.name = name
            frame.key, self._plan = member
            if frame.key in frame.values:
                self.twice = "$" + "".join([one.step for one in self._frames])
                raise ContradictionError

    def _item_follows(self) -> None:
        if not self._held:
            shape = self._frames[-1].shape
            assert isinstance(shape, ArrayShape), "objects have no items"
            self._plan = shape.item

    def _text_begins(self) -> bool:
        if self._held or self._plan is None or self._plan.takes.text is not True:
            return False
        self._growing, self._news = "", True
        return True

    def _text_grows(self, more: str) -> None:
        # Taken out, so that it grows in place.
        grown, self._growing = self._growing, None
        grown = (grown or "") + more
        self._growing, self._news = grown, True

    def _came(self, raw: str) -> None:
        if not self._held:
            self._put(raw)
        elif self._waiting is not None and self._is_tag and self._held == 1:
            self._tagged(raw)

    def _put(self, raw: str) -> None:
        """A value has come that was not told part by part."""
        if self._plan is None:
            # Nobody wants to know it, but it has to be JSON.
            msgspec.json.decode(raw, type=msgspec.Raw)
            return
        value = self._plan.read(raw)
        self._frames[-1].put(value)
        self._news = self._news or self._growing is None or value != self._growing
        # Last, so that a text that turns out to be no value stays as it was told.
        self._growing = None

    def _tagged(self, raw: str) -> None:
        """The tag has come of an object that is held: it may say what that is."""
        assert self._waiting is not None, "it waits for the tag"
        shape, plan = self._waiting.shape(msgspec.json.decode(raw)), self._held_plan
        self._waiting = None
        if shape is not None and plan is not None:
            # Again from its beginning, since members may have come before.
            self._again(self._held_from, len(self._frames))
            self._tell(shape, plan, self._held_from)
