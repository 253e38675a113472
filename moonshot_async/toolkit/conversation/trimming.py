"""How much of a history goes when it becomes too long: whole turns, the oldest ones."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from moonshot_async.errors import ConfigurationError


class TrimPolicy(Protocol):
    """Decides how many turns go. One of your own is any object with this method."""

    def drop(self, turns: Sequence[int], *, tokens: int, room: int) -> int:
        """Say how many of the oldest turns go, once the prompt is longer than it may be.

        Where that is not enough, as many more go as have to.

        Args:
            turns: the tokens that dropping each of them frees, oldest first. The newest turn is not among them: it
                always stays.
            tokens: of the whole prompt.
            room: the most that a prompt may have.
        """
        ...


class DropOldest(msgspec.Struct, frozen=True):
    """Drop the oldest turns until a part of the room is free again.

    The service's cache knows a prompt by how it begins, and to drop a turn changes that. So it is done seldom, and then
    thoroughly: with `to=0.5` about half of the room fills up before the next time.

    Attributes:
        to: how much of the room the prompt may fill afterwards, above 0 and up to 1.

    Raises:
        ConfigurationError: `to` is not in that range.
    """

    to: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.to, bool) or not isinstance(self.to, (int, float)) or not 0 < self.to <= 1:
            raise ConfigurationError(f"to is the part of the room to fill, above 0 and up to 1, not {self.to!r}")

    def drop(self, turns: Sequence[int], *, tokens: int, room: int) -> int:
        return needed(turns, tokens, room * self.to)


def needed(turns: Sequence[float], tokens: float, room: float) -> int:
    """How many of the oldest turns have to go until a prompt fits, as far as they go."""
    count = 0
    for freed in turns:
        if tokens <= room:
            break
        tokens -= freed
        count += 1
    return count
