"""A service in memory that answers when a test lets it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.wire import Request, Response
from tests.scripted import COMPLETION, DELTA, FINISH, events
from tests.secrets_scan import CANARY_KEY as KEY

SSE = [("Content-Type", "text/event-stream")]
JSON = [("Content-Type", "application/json")]


class Service:
    """Answers in memory, each request when it is let go; streams give a chunk at once, and the rest then."""

    def __init__(self) -> None:
        self.received: list[Request] = []
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.received.append(request)
        self.arrived.set()
        if request.stream:
            return Response(200, SSE, self._events())
        await self.go.wait()
        return Response(200, JSON, COMPLETION)

    async def _events(self) -> AsyncIterator[bytes]:
        yield events(DELTA)
        await self.go.wait()
        yield events(FINISH, b"[DONE]")

    def client(self, **options: Any) -> AsyncMoonshot:
        return AsyncMoonshot(**{"api_key": KEY, "transport": MemoryTransport(self), **options})
