"""A service that gives the same answer to whatever it is asked, and remembers what it was asked."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from moonshot_async import AsyncMoonshot, MemoryTransport, Request, Response


class Canned:
    """Answers with `body` (bytes, or data for JSON) and a status, and counts."""

    def __init__(self, body: Any = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.body = body
        self.status = status
        self.headers = {"msh-request-id": "req-1", **(headers or {})}
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return Response(self.status, self.headers, body)

    @property
    def sent(self) -> Any:
        """The JSON body of the last request."""
        return self.requests[-1].json()

    @property
    def path(self) -> str:
        """Path and query of the last request, below the base URL, as they are on the wire."""
        return self.requests[-1].url.partition("/v1")[2]

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[AsyncMoonshot]:
        """A client whose service this is; it repeats nothing."""
        settings = {"api_key": "sk-canary-01", "max_retries": 0, **settings}
        async with AsyncMoonshot(transport=MemoryTransport(self), **settings) as client:
            yield client
