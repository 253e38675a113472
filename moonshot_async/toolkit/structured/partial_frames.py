"""What is open of a value that arrives: objects and arrays, with what came of them."""

from typing import Any, Final

from moonshot_async.toolkit.structured.partial_shapes import UNSET, ArrayShape, ObjectShape, Plan

# Where no value is.
NOTHING: Final[Any] = object()


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
        """Whether it says more now that it is whole than all that came: defaults, or what its class makes of it.

        Not asked of `==`, which a class may have of its own.
        """
        shape = self.shape
        if not isinstance(shape, ObjectShape):
            return False
        if isinstance(whole, dict):
            return bool(whole.keys() != self.values.keys())
        missing = [name for name in shape.blank if name not in self.values]
        return shape.remade or any(getattr(whole, name) is not UNSET for name in missing)

    @property
    def units(self) -> int:
        return len(self.values) + (len(self.shape.blank) if isinstance(self.shape, ObjectShape) else 0)

    @property
    def step(self) -> str:
        return f".{self.name}" if isinstance(self.shape, ObjectShape) else f"[{len(self.values)}]"
