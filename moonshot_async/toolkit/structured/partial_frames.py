"""What is open of a JSON text: objects and arrays with what came of them, and strings that end in the middle."""

import re
from typing import Any, Final

from moonshot_async.toolkit.structured.partial_shapes import UNSET, ArrayShape, ObjectShape, Plan

# Where no value is.
NOTHING: Final[Any] = object()

SPACE: Final = re.compile(r"[ \t\n\r]*+")
# As much of a string as is sound, the quotes aside.
SOUND: Final = re.compile(r'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
SCALAR: Final = re.compile(r"[-+.0-9A-Za-z]*+")
FENCE: Final = re.compile(r"```[A-Za-z0-9_-]*+[ \t]*+(\r?\n)?")
CLOSERS: Final = {"{": "}", "[": "]"}
_HALF_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")


class ContradictionError(ValueError):
    """The text is no JSON, or no value of the type: reading all of it will say what is wrong."""


class Open:
    """An object or an array that has not ended: what came of it, and what comes next."""

    __slots__ = ("key", "name", "plan", "shape", "start", "values")

    def __init__(self, shape: ObjectShape | ArrayShape, plan: Plan, start: int) -> None:
        self.shape = shape
        # Reads it when it is whole, from its beginning in the text.
        self.plan = plan
        self.start = start
        self.values: Any = {} if isinstance(shape, ObjectShape) else []
        self.key: Any = None
        self.name = ""

    def put(self, value: Any) -> None:
        if isinstance(self.shape, ObjectShape):
            self.values[self.key] = value
        else:
            self.values.append(value)

    def made(self, inner: Any) -> Any:
        """The value so far, with what is open in it."""
        if isinstance(self.shape, ObjectShape):
            members = {**self.shape.blank, **self.values}
            if inner is not NOTHING:
                members[self.key] = inner
            return self.shape.make(members)
        return self.shape.make([*self.values] if inner is NOTHING else [*self.values, inner])

    def becomes_more(self, whole: Any) -> bool:
        """Whether it says more now that it is whole than all that came: defaults, or what its class makes of it."""
        shape = self.shape
        if not isinstance(shape, ObjectShape):
            return False
        if shape.remade:
            return bool(self.made(NOTHING) != whole)
        return any(getattr(whole, name) is not UNSET for name in shape.blank if name not in self.values)

    @property
    def units(self) -> int:
        return len(self.values) + (len(self.shape.blank) if isinstance(self.shape, ObjectShape) else 0)

    @property
    def step(self) -> str:
        return f".{self.name}" if isinstance(self.shape, ObjectShape) else f"[{len(self.values)}]"


def half_pair(text: str) -> int:
    """How many characters at the end of a text are an escape that means something only with the next one."""
    before, last = text[:-6], text[-6:]
    slashes = len(before) - len(before.rstrip("\\"))
    return len(last) if _HALF_PAIR.fullmatch(last) is not None and slashes % 2 == 0 else 0


def expect(fact: bool) -> None:
    """Raise `ContradictionError` unless it is so."""
    if not fact:
        raise ContradictionError
