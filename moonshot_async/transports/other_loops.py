"""Things to be done in the event loop of another thread, which may be closed at any moment."""

import asyncio
from collections.abc import Callable


def call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Have `callback` called once: by that loop, soon; or, where it is closed before, wherever that is found out."""
    later = _Later(callback)
    try:
        loop.call_soon_threadsafe(later)
    except RuntimeError:
        pass  # It is closed; `is_closed` says so now.
    if loop.is_closed():
        later()


class _Later:
    """Called by its loop; or, if that forgets it, which it does when it is closed, when it is dropped."""

    __slots__ = ("_callbacks",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callbacks = [callback]

    def __call__(self) -> None:
        while self._callbacks:
            self._callbacks.pop()()

    def __del__(self) -> None:
        self()
