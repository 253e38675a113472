"""What the tests of the fake share: a fake, and ways to ask it in memory."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request, Response

Send = Callable[..., Awaitable[Response]]
KEY = {"Authorization": "Bearer sk-test"}


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot(clock=lambda: 1794200000.9)


@pytest.fixture
def send(fake: FakeMoonshot) -> Send:
    """Send one request; JSON payloads may be given as keywords."""

    async def send(
        method: str = "POST",
        path: str = "/v1/chat/completions",
        *,
        headers: dict[str, str] = KEY,
        body: bytes | None = None,
        to: FakeMoonshot = fake,
        **payload: Any,
    ) -> Response:
        if payload:
            payload = {"model": "kimi-k3", "messages": [{"role": "user", "content": "Hello, fake!"}]} | payload
            body = json.dumps(payload).encode()
        return await to(Request(method, "http://fake.test" + path, headers, body or b""))

    return send


@pytest.fixture
def ask(send: Send) -> Callable[..., Awaitable[Any]]:
    """Send a chat request that is in order, and return the decoded answer."""

    async def ask(prompt: str = "Hello, fake!", **payload: Any) -> Any:
        response = await send(**{"messages": [{"role": "user", "content": prompt}]} | payload)
        content = await response.read()
        assert response.status == 200, content
        return json.loads(content)

    return ask


@pytest.fixture
def refused(send: Send) -> Callable[..., Awaitable[tuple[int, str, str]]]:
    """Send a chat request that is not in order, and return status, type and message of the error."""

    async def refused(**payload: Any) -> tuple[int, str, str]:
        response = await send(**payload)
        error = json.loads(await response.read())["error"]
        return response.status, error["type"], error["message"]

    return refused


@pytest.fixture
def listen(send: Send) -> Callable[..., Awaitable[list[Any]]]:
    """Send a chat request that streams, and return its decoded frames; "[DONE]" stays text."""

    async def listen(prompt: str = "Hello, fake!", **payload: Any) -> list[Any]:
        response = await send(**{"messages": [{"role": "user", "content": prompt}], "stream": True} | payload)
        return [item async for item in frames(response)]

    return listen


async def frames(response: Response) -> Any:
    while piece := await response.body.read():
        assert piece.startswith(b"data: ")
        assert piece.endswith(b"\n\n")
        text = piece[6:-2].decode()
        yield text if text == "[DONE]" else json.loads(text)
