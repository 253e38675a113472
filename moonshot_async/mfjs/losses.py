"""What the dialect has no words for, as it is left out of a schema."""

from collections.abc import Collection, Set
from typing import Final

from moonshot_async.mfjs.findings import step_of
from moonshot_async.mfjs.joining import text_of
from moonshot_async.mfjs.vocabulary import CONSTRAINTS, Schema

# Of `default` it is said where it may stand; what definitions hold is looked at where it is referred to.
_KEPT: Final = frozenset(("default", "$defs", "definitions"))


class Losses:
    """Where something was left out.

    Args:
        pointers: takes the places, each once, as JSON pointers.
    """

    def __init__(self, pointers: list[str]) -> None:
        self._pointers = pointers
        self._known: set[str] = set()

    def add(self, words: Collection[str], path: str, lost: Set[str]) -> None:
        """Those of the words of a schema that are lost."""
        for word in words:
            # It was made an `enum` to be put together with others.
            name = "const" if word == "enum" and "const" in words else word
            pointer = f"{path.removeprefix('#')}/{step_of(name)}"
            if word in lost and pointer not in self._known:
                self._known.add(pointer)
                self._pointers.append(pointer)

    def notes(self, schema: Schema, path: str) -> None:
        """What says nothing of values, but for the description."""
        kept = _KEPT | ({"$id"} if path == "#" else set()) | ({"description"} if text_of(schema) is not None else set())
        self.add(schema, path, schema.keys() - CONSTRAINTS - kept)
