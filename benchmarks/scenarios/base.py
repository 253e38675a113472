"""What a scenario is, and what it is given to measure with."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.clients.registry import ClientSpec
from benchmarks.server.scripts import Script

Figures = dict[str, float]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        name: `full` or `smoke`.
        seconds: of wall time that a measurement goes on for, where it may choose; warm-up not included.
        scale: what counts are multiplied by: calls, bytes, streams.
        longest_s: seconds after which a measurement has failed.
        together: all scenarios of a client in one process, which costs one import.
    """

    name: str
    seconds: float
    scale: float
    longest_s: float
    together: bool = False

    def count(self, full: int, least: int = 1) -> int:
        """A count that is `full` in a full run; `least` where that is little anyway."""
        return min(full, max(least, int(full * self.scale)))


SIZES = {
    size.name: size
    for size in (
        Size("full", 2.0, 1.0, 600),
        # Enough for a ratio, in a few seconds.
        Size("guard", 0.15, 1.0, 60, together=True),
        # Only to see that everything works.
        Size("smoke", 0.05, 0.01, 20, together=True),
    )
}


@dataclass(frozen=True)
class Figure:
    """One column of a table. Less is better, unless it says otherwise.

    Attributes:
        name: the key in what a measurement gives.
        title: with its unit.
        compared: ratios are shown of it.
    """

    name: str
    title: str
    compared: bool = False


@dataclass(frozen=True)
class Run:
    """One measurement, in the process of a client.

    Attributes:
        spec: the client.
        url: the base URL that has the scenario's script played; empty where there is no server.
        server_pid: 0 where there is none.
    """

    spec: ClientSpec
    size: Size
    url: str
    server_pid: int

    def client(self) -> AbstractAsyncContextManager[Any]:
        """A new client; see `benchmarks.clients.registry.Client`."""
        return self.spec.connect(self.url)


@dataclass(frozen=True)
class Scenario:
    """One table.

    Attributes:
        name: on the command line.
        title: what one operation is, and how many go at once.
        figures: what `measure` gives; of the first, ratios are always shown.
        measure: runs in a process of its own, with the event loop of the client.
        script: what the server plays; None for no server.
        needs: the method that a client must have.
        clients: the only ones that can take part; empty for all that have the method.
        curve, at: the curve of the plots that it is a point of, and where on it.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    measure: Callable[[Run], Coroutine[Any, Any, Figures]]
    script: Script | None
    needs: str = "unary"
    tls: bool = False
    clients: tuple[str, ...] = ()
    curve: str = ""
    at: int = 0

    def over_tls(self) -> "Scenario":
        """The same over TLS."""
        name, title = f"{self.name}-tls", f"{self.title}, over TLS"
        return dataclasses.replace(self, name=name, title=title, tls=True, curve="")


async def repeat(operation: Callable[[], Awaitable[object]], at_once: int, seconds: float) -> int:
    """Do it again and again, so many at once, each at least once, until the time is over; returns how often."""
    until = time.perf_counter() + seconds
    done = 0

    async def work() -> None:
        nonlocal done
        while True:
            await operation()
            done += 1
            if time.perf_counter() >= until:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return done
