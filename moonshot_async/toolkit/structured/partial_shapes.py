"""How open objects and arrays are told: which parts of them, and what holds those."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import msgspec

# What has not come.
UNSET: Final = msgspec.UNSET

Read: TypeAlias = Callable[[str], Any]
Fields: TypeAlias = "Mapping[str, tuple[str, Plan]]"


class ObjectShape:
    """An open object: which members it tells of, and what holds them.

    Args:
        make: from members to the value; they are its own.
        fields: the members by their names in JSON; asked once, and late: types may contain themselves.
        blank: what holds the place of members that have not come.
        remade: whether the whole object says more than all members that came.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any]], Any],
        fields: Callable[[], Fields],
        blank: Mapping[str, Any],
        *,
        remade: bool = False,
    ) -> None:
        self.make = make
        self.blank = blank
        self.remade = remade
        self._load = fields

    @cached_property
    def _fields(self) -> Fields:
        return self._load()

    def member(self, name: str) -> "tuple[Any, Plan] | None":
        """Under which key a member is held, and its plan; None where it is not told of."""
        return self._fields.get(name)


class DictShape(ObjectShape):
    """An open object whose members have any names.

    Args:
        plan: gives that of its values.
        key: makes a key of a name; None where they are the same.
    """

    def __init__(self, plan: "Callable[[], Plan]", key: Callable[[str], Any] | None) -> None:
        super().__init__(lambda members: members, dict, {})
        self._plan_of_values = plan
        self._key = key

    @cached_property
    def _plan(self) -> "Plan":
        return self._plan_of_values()

    def member(self, name: str) -> "tuple[Any, Plan] | None":
        """The same; raises ValueError for a name that is no key."""
        return (name if self._key is None else self._key(name)), self._plan


class TaggedShapes:
    """An object of one of several types: which one is said by a member of it."""

    def __init__(self, field: str, shapes: Mapping[Any, ObjectShape]) -> None:
        self.field = field
        self._shapes = shapes

    def shape(self, tag: Any) -> ObjectShape | None:
        """The shape for a tag, a JSON value."""
        return self._shapes.get(tag) if type(tag) in (str, int) else None


class ArrayShape:
    """An open array.

    Args:
        make: from items to the value; they are its own.
        plan: gives that of its items.
    """

    def __init__(self, make: Callable[[list[Any]], Any], plan: "Callable[[], Plan]") -> None:
        self.make = make
        self._plan_of_items = plan

    @cached_property
    def item(self) -> "Plan":
        """The plan of its items."""
        return self._plan_of_items()


class Held:
    """What is told when it is whole."""


HOLD: Final = Held()


@dataclass(frozen=True)
class Takes:
    """What JSON a type takes, beside numbers and words: None where it takes none of that kind.

    Attributes:
        text: True for a text that grows.
        object, array: how it is told while it is open; `HOLD` for not at all.
    """

    text: "Literal[True] | Held | None" = None
    object: ObjectShape | TaggedShapes | Held | None = None
    array: ArrayShape | Held | None = None
    # Of a struct: the name and the value of its tag.
    tag: tuple[str, Any] | None = None


HELD: Final = Takes(HOLD, HOLD, HOLD)
_WORD: Final = Takes()


class Plan:
    """How values of one type are told.

    Attributes:
        takes: what grows.
    """

    def __init__(self, takes: Takes, read: Callable[[], Read]) -> None:
        self.takes = takes
        self._load = read

    @cached_property
    def read(self) -> Read:
        """Makes a value of a whole JSON text; raises ValueError."""
        return self._load()
