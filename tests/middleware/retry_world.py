"""A server that plays a list of outcomes, in a time that passes only by sleeping."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.clocks import Timeout
from moonshot_async.errors import APIError
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response

URL = "http://moonshot.test/v1/chat/completions"
KEY = "sk-canary-0a1b2c3d4e5f6a7b"
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
RPM = "Your account org request reached organization max RPM: 3, please try again after 7 seconds"
TPD = "Your account org request reached organization max TPD: 3, please try again after 7 seconds"
QUOTA = "You exceeded your current token quota, please check your account balance"
OK = 200

Outcome = Callable[[], Response]


class World:
    """The last outcome is played again and again.

    Attributes:
        received: every request.
        slept: every wait.
        bounds: the upper bound of every draw.
        now: the time; each request takes a while.
    """

    def __init__(self, *outcomes: int | Outcome | Exception, draw: float = 1.0, takes: float = 0.25) -> None:
        self.outcomes = list(outcomes)
        self.received: list[Request] = []
        self.slept: list[float] = []
        self.bounds: list[float] = []
        # Its own time, but one that nothing which looks at the real clock finds to be over.
        self.now = time.monotonic() + 1e6
        self._draw = draw
        self._takes = takes

    async def app(self, request: Request) -> Response:
        self.received.append(request)
        self.now += self._takes
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return Response(outcome) if isinstance(outcome, int) else outcome()

    async def faults(self, request: Request, call_next: Handler) -> Response:
        """The innermost layer: raises what a transport says in its own words."""
        return await (self.app if isinstance(self.outcomes[0], APIError) else call_next)(request)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def uniform(self, low: float, high: float) -> float:
        self.bounds.append(high)
        return low + (high - low) * self._draw

    def retry(self, max_retries: int = 2, **options: Any) -> Retry:
        return Retry(max_retries, sleep=self.sleep, uniform=self.uniform, clock=lambda: self.now, **options)

    async def send(self, retries: int = 2, *, through: Retry | None = None, **request: Any) -> Response:
        """Send one request, through a layer of the caller's, or through one with so many retries."""
        handler = compose([through or self.retry(retries), self.faults], exchange(MemoryTransport(self.app)))
        request = {"timeout": Timeout.of(None)} | request
        return await handler(Request("POST", URL, [("Authorization", f"Bearer {KEY}")], b"body", **request))

    def client(self, *, max_retries: int = 2, **options: Any) -> AsyncMoonshot:
        ours: dict[str, Any] = {"timeout": Timeout.of(None), "middleware": [self.retry(max_retries)]}
        return AsyncMoonshot(api_key=KEY, **{"transport": MemoryTransport(self.app), **ours, **options})


def refusal(status: int, headers: dict[str, str] | None = None, **error: str) -> Outcome:
    return lambda: Response(status, headers or {}, json.dumps({"error": error}))


OVERLOADED = refusal(429, type="engine_overloaded_error", message="The engine is currently overloaded")


async def failure_of(world: World, retries: int = 2, **request: Any) -> APIError:
    """What a request raises."""
    with pytest.raises(APIError) as caught:
        await world.send(retries, **request)
    return caught.value


def notes_of(error: BaseException) -> list[str]:
    notes: list[str] = getattr(error, "__notes__", [])
    return notes
