"""The clients that are compared: what each is, what it needs, and what a scenario may ask of it."""

import importlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.answers import Ask

Take = Callable[[str], object]


class Client(Protocol):
    """What every client can do.

    Those that can do more have more methods, by the names that `Scenario.needs` gives: `snapshots`, `parse`, `upload`.
    Two have no method, they are about `unary`: `retries`, which comes back after a refusal, and `history`, which takes
    messages of the assistant (kimi-agents-python refuses them).
    """

    async def unary(self, ask: Ask) -> tuple[str, int]:
        """Ask for a whole answer: its text, and `usage.prompt_tokens`."""
        ...

    async def stream(self, ask: Ask, take: Take) -> None:
        """Ask for a stream, and hand each text to `take` as soon as it is there."""
        ...


class Uploading(Protocol):
    """A client that can send files."""

    async def upload(self, path: Path) -> int:
        """Send a file as `files.create` does; returns how many bytes the body had, as the server counted them."""
        ...


class Snapshots(Protocol):
    """A client that can keep the answer so far."""

    async def snapshots(self, ask: Ask, take: Take) -> None:
        """Stream with the helper that keeps the answer so far, and hand each text to `take`."""
        ...


class Parsing(Protocol):
    """A client that can make answers objects of a type of the user's."""

    async def parse(self, ask: Ask) -> tuple[str, int]:
        """Ask for an answer of a type with `title`, `steps` and `answer`; returns `title` and `answer`."""
        ...


@dataclass(frozen=True)
class ClientSpec:
    """One row of the tables.

    Attributes:
        name: on the command line and in the results.
        label: in the tables.
        module: of `benchmarks.clients`, with `connect(url)`, an async context manager that gives a `Client`.
        needs: importable modules, and the names of what brings them in the package registry.
        uvloop: run on uvloop instead of on asyncio's own event loop.
        can: the methods that it has.
    """

    name: str
    label: str
    module: str
    needs: dict[str, str]
    uvloop: bool = False
    can: tuple[str, ...] = ("unary", "stream", "history")

    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        """A client of this base URL, with the connections of its own. Imports what it needs."""
        connect: Callable[[str], AbstractAsyncContextManager[Any]]
        connect = importlib.import_module(f"benchmarks.clients.{self.module}").connect
        return connect(url)


_AIOHTTP = {"aiohttp": "aiohttp", "msgspec": "msgspec"}
_OURS = {**_AIOHTTP, "anyio": "anyio", "tenacity": "tenacity"}
_UVLOOP = {"uvloop": "uvloop"}
_BOTH = ("unary", "stream", "history")
_SDK = (*_BOTH, "snapshots", "parse", "upload", "retries")

OURS, RAW, OPENAI = "ours", "raw-aiohttp", "openai"
"""What is compared, and the two that the ratios are to."""

CLIENTS = {
    spec.name: spec
    for spec in (
        ClientSpec(OURS, "moonshot_async", "ours", _OURS, can=_SDK),
        ClientSpec(RAW, "aiohttp + msgspec", "raw_aiohttp", _AIOHTTP, can=(*_BOTH, "upload")),
        ClientSpec("raw-fed", "aiohttp, body fed by hand", "raw_aiohttp_fed", _AIOHTTP, can=("upload",)),
        ClientSpec(OPENAI, "openai", "openai", {"openai": "openai"}, can=_SDK),
        ClientSpec(
            "openai-aiohttp",
            "openai[aiohttp]",
            "openai_aiohttp",
            {"openai": "openai", "aiohttp": "openai[aiohttp]"},
            can=_SDK,
        ),
        ClientSpec(
            "kimi-agents",
            "kimi-agents-python",
            "kimi_agents",
            {"kimi_agents_python": "kimi-agents-python"},
            can=("unary", "stream", "parse", "upload", "retries"),
        ),
        ClientSpec("raw-httpx", "httpx + json", "raw_httpx", {"httpx": "httpx"}),
        ClientSpec("ours-uvloop", "moonshot_async, uvloop", "ours", {**_OURS, **_UVLOOP}, uvloop=True),
        ClientSpec("raw-uvloop", "aiohttp + msgspec, uvloop", "raw_aiohttp", {**_AIOHTTP, **_UVLOOP}, uvloop=True),
        ClientSpec(
            "limit",
            "limit: httptools, msgspec, uvloop",
            "protocol_limit",
            {"httptools": "httptools", **_AIOHTTP, **_UVLOOP},
            uvloop=True,
        ),
    )
}
