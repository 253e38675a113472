"""Items that are put together to one batch: of one model, and no more than a file may hold."""

from array import array
from typing import Final

from moonshot_async.bulk.budget import Reserved
from moonshot_async.bulk.items import Item
from moonshot_async.resources.uploads import MAX_FILE_BYTES

# What a line has beside the body of its request and its id, at most; and where a file is full. The service names no
# number of lines: this one keeps what is known of open items small, and lets first results come early.
_AROUND: Final = 160
_FULL: Final = MAX_FILE_BYTES
_MOST_LINES: Final = 50_000


class Group:
    """Items that will be one batch.

    Attributes:
        numbers: of the items, in the order in which they came.
        size: bytes of their lines.
        tokens, cost: what is reserved for them.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._positions: list[int] = []
        self.size = self.tokens = self.cost = 0

    def has_room(self, item: Item) -> bool:
        """Whether an item goes into the same file."""
        return self.size + _size(item) <= _FULL and len(self.numbers) < _MOST_LINES

    def add(self, item: Item, reserved: Reserved | None) -> None:
        """Put an item in, and what is reserved for it."""
        self.numbers.append(item.number)
        self._positions.append(item.position)
        self.size += _size(item)
        if reserved is not None:
            self.tokens += reserved.tokens
            self.cost += reserved.cost

    def positions(self) -> "array[int]":
        """The places of the items among the requests, in the order of their numbers, as small as it gets."""
        return array("Q", [position for _, position in sorted(zip(self.numbers, self._positions, strict=True))])


def _size(item: Item) -> int:
    return len(item.body) + len(item.name.encode()) + _AROUND
