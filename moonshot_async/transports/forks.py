"""What a fork leaves to the child: nothing that its parent still uses.

The child gets a copy of every socket and of the event loop's selector, and both are shared with the parent: what the
child writes, closes with a farewell, or takes out of the selector, the parent loses. And as long as the child holds its
copy, no connection that the parent closes ends for the server. So the copies are led nowhere at once, and whatever is
done to them later, also by an event loop that cancels its tasks while the child exits, stays in the child.
"""

import functools
import os
import socket
import weakref
from typing import Final, Protocol


class Heir(Protocol):
    """Something that a child must not use as its parent does."""

    def disown(self) -> None:
        """Let go of it; called in the child, before anything else runs there."""
        ...


# What belongs to the process, because a fork copies all of it. Held weakly.
_HEIRS: Final["weakref.WeakSet[Heir]"] = weakref.WeakSet()


def after_fork(heir: Heir) -> None:
    """Have `heir` disowned in every child that is forked while it lives."""
    _watch_forks()
    _HEIRS.add(heir)


@functools.cache
def _watch_forks() -> None:
    # Windows knows no forks.
    if hasattr(os, "register_at_fork"):  # pragma: no branch
        os.register_at_fork(after_in_child=disown_all)


def disown_all() -> None:
    """Let go of all that is the parent's; Python calls it in each child."""
    for heir in list(_HEIRS):
        heir.disown()


def lead_nowhere(sockets: "weakref.WeakSet[socket.socket]") -> None:
    """Put a socket whose other side is gone in the place of each of these; their numbers stay taken.

    A number that was free could be given to a connection of the child, and a transport of the parent write into that.
    """
    nowhere, other = socket.socketpair()
    other.close()
    with nowhere:
        for inherited in [sock.fileno() for sock in sockets if sock.fileno() >= 0]:
            os.dup2(nowhere.fileno(), inherited, inheritable=False)
