"""What tests of bulk work share: a fake, a client of it, requests, and what came of them."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.bulk import BulkResult, BulkRun
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.faults import CHAT_PATH
from moonshot_async.wire import Request, Response
from tests.secrets_scan import CANARY_KEY

MODEL = "kimi-k2.6"


def ask(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Item {number}"}], "max_completion_tokens": 400}


def asks(count: int) -> Iterator[dict[str, Any]]:
    return (ask(number) for number in range(count))


def number_of(request: Request) -> int:
    """Which of `ask` a request is."""
    return int(request.json()["messages"][-1]["content"].removeprefix("Item "))


class World:
    """A fake in memory, and a client of it that does not repeat.

    Attributes:
        asked: the numbers of the items that the service was asked, in order.
        before: called with each request before it is answered; may wait, raise, or answer instead.
        after: called with every request and its answer; gives what is answered instead.
    """

    def __init__(self, **options: Any) -> None:
        self.fake = FakeMoonshot(**options)
        self.asked: list[int] = []
        self.before: Callable[[int], Awaitable[Response | None]] | None = None
        self.after: Callable[[Request, Response], Awaitable[Response]] | None = None
        self.clients: list[AsyncMoonshot] = []

    async def __call__(self, request: Request) -> Response:
        if request.path == CHAT_PATH:
            number = number_of(request)
            self.asked.append(number)
            if self.before is not None and (instead := await self.before(number)) is not None:
                return instead
        response = await self.fake(request)
        return response if self.after is None else await self.after(request, response)

    def client(self, **options: Any) -> AsyncMoonshot:
        settings = {"api_key": CANARY_KEY, "transport": MemoryTransport(self), "max_retries": 0, **options}
        client = AsyncMoonshot(**settings)
        self.clients.append(client)
        return client


async def taken(run: BulkRun) -> list[BulkResult]:
    """All results of a run."""
    return [result async for result in run]


def rows(journal: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query of the journal finds."""
    with closing(sqlite3.connect(journal)) as db:
        return db.execute(query).fetchall()
