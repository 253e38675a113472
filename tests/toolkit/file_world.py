"""The fake as tests of documents and media see it: what is uploaded, what is left, and how much is under way."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from moonshot_async import AsyncMoonshot
from moonshot_async.fake import FakeMoonshot
from moonshot_async.transports import MemoryTransport
from moonshot_async.wire import Request, Response
from tests.secrets_scan import CANARY_KEY

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
MP4 = b"\0\0\0\x20ftypisom" + bytes(range(256))


class World:
    """A service in this process.

    Attributes:
        fake: behind it.
        most: how many uploaded files there were at a time.
        before: is awaited before the fake sees a request.
        after: is awaited after the fake has answered, while the answer is on its way.
    """

    def __init__(self, fake: FakeMoonshot | None = None) -> None:
        self.fake = FakeMoonshot() if fake is None else fake
        self.most = 0
        self.before: Callable[[Request], Awaitable[object]] = turn
        self.after: Callable[[Request], Awaitable[object]] = turn
        self.asked: Counter[str] = Counter()
        self._under_way = 0

    async def __call__(self, request: Request) -> Response:
        uploading = request.method == "POST" and request.path == "/v1/files"
        self._under_way += uploading
        self.most = max(self.most, self._under_way)
        self.asked[what(request)] += 1
        try:
            await self.before(request)
            response = await self.fake(request)
            await self.after(request)
        except BaseException:
            self._under_way -= uploading
            raise
        self._under_way -= request.method == "DELETE" or (uploading and response.status >= 300)
        return response

    def client(self, **options: Any) -> AsyncMoonshot:
        options = {"api_key": CANARY_KEY, "max_retries": 0} | options
        return AsyncMoonshot(base_url="http://world.test/v1", transport=MemoryTransport(self), **options)

    @property
    def uploads(self) -> int:
        """How many files were sent."""
        return self.asked["upload"]

    async def files(self) -> list[str]:
        """The names of the files that are there."""
        return await left_on(self.fake)


def what(request: Request) -> str:
    """A word for a request."""
    path = request.path.removeprefix("/v1")
    if path == "/files":
        return "upload" if request.method == "POST" else "list"
    if path.startswith("/files/"):
        return "delete" if request.method == "DELETE" else "content" if path.endswith("/content") else "look"
    return {"/chat/completions": "ask", "/tokenizers/estimate-token-count": "estimate"}.get(path, path)


async def left_on(fake: FakeMoonshot) -> list[str]:
    """The names of the files that a fake has."""
    headers = {"Authorization": "Bearer sk-looking"}
    response = await fake(Request("GET", "http://world.test/v1/files", headers, b""))
    listed = json.loads(await response.read())
    return [file["filename"] for file in listed["data"]]


async def turn(_: object = None) -> None:
    """One turn of the event loop."""
    await asyncio.sleep(0)


class Hold:
    """Holds requests of one kind until they are let go: `world.before = Hold("content")`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, request: Request) -> None:
        if what(request) == self._kind:
            self.reached.set()
            await self.go.wait()


async def served(fake: FakeMoonshot, **options: Any) -> AsyncIterator[AsyncMoonshot]:
    """A client of a fake over loopback."""
    async with fake.serve() as url, AsyncMoonshot(api_key=CANARY_KEY, base_url=url, max_retries=0, **options) as client:
        yield client
