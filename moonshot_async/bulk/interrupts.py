"""Ctrl-C, and what ends services, for a run that listens to them."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any, Final

from moonshot_async.errors import ConfigurationError

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Has signals call a function, for a while.

    Args:
        stop: what they call.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Begin to listen.

        Raises:
            ConfigurationError: it cannot be done here.
        """
        loop = asyncio.get_running_loop()
        try:
            for number in _NUMBERS:
                before = signal.getsignal(number)
                loop.add_signal_handler(number, self._stop)
                self._before[number] = before
            return
        except (NotImplementedError, RuntimeError, ValueError):
            pass
        raise ConfigurationError(
            "handle_signals needs the main thread, and a system that tells event loops of signals: call run.stop() "
            "from a handler of your own"
        )

    def unlisten(self) -> None:
        """Leave signals to whoever had them before."""
        loop = asyncio.get_running_loop()
        while self._before:
            number, before = self._before.popitem()
            loop.remove_signal_handler(number)
            # Of handlers of a loop there is only an empty function to be seen, which would swallow the signal.
            if before is not None and not str(getattr(before, "__module__", "")).startswith("asyncio."):
                signal.signal(number, before)
