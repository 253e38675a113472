"""What grows while a stream arrives: texts, and fields that the SDK does not know."""

from typing import Any

from msgspec import UnsetType

from moonshot_async.types.model import Model

# How many pieces of a text are kept apart before they are joined to a block.
_PIECES = 512


class Text:
    """A text that grows by pieces: appending costs what the piece costs, reading joins what is new to the rest once."""

    __slots__ = ("_blocks", "_pieces", "length", "seen")

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._pieces: list[str] = []
        self.length = 0
        self.seen = False

    def add(self, piece: str) -> None:
        self.seen = True
        self.length += len(piece)
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) >= _PIECES:
            self._blocks.append("".join(pieces))
            pieces.clear()

    def __str__(self) -> str:
        if self._pieces or len(self._blocks) > 1:
            self._blocks = ["".join(self._blocks + self._pieces)]
            self._pieces.clear()
        return self._blocks[0] if self._blocks else ""

    def prefix(self, length: int) -> str:
        """The first `length` characters."""
        text = str(self)
        return text if length == len(text) else text[:length]

    def value(self) -> str | None:
        """The text; None where no piece came, which is not the same as an empty one."""
        return str(self) if self.seen else None


class Extras:
    """Unknown fields while their values arrive: of each the last that is not null counts.

    Args:
        grow: they belong to something that arrives in pieces, so texts and lists grow.
    """

    __slots__ = ("_grow", "_values")

    def __init__(self, *, grow: bool) -> None:
        self._grow = grow
        self._values: dict[str, Any] = {}

    def add(self, model: Model) -> None:
        if isinstance(model._extra, UnsetType):
            return
        values = self._values
        for name, value in model._extra.items():
            before = values.get(name)
            if not self._grow:
                values[name] = before if value is None else value
            elif isinstance(value, str) and (before is None or isinstance(before, Text)):
                if before is None:
                    before = values[name] = Text()
                before.add(value)
            elif isinstance(value, list) and isinstance(before, list):
                before.extend(value)
            elif isinstance(value, list):
                values[name] = value.copy()
            elif value is not None or before is None:
                values[name] = value

    def put_into(self, model: Model) -> None:
        if self._values:
            model._extra = {name: _value(value) for name, value in self._values.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Text):
        return str(value)
    return value.copy() if isinstance(value, list) else value
