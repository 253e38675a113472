"""Cancelled at any moment, a call ends there and then, leaves nothing behind, and hurts no other call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from moonshot_async import AsyncMoonshot, Retry, Timeout
from moonshot_async.errors import APITimeoutError, ClientClosedError
from moonshot_async.transports import AiohttpTransport
from tests.conftest import open_sockets
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Start,
    answer,
    chunk,
    events,
    silent,
)

pytestmark = pytest.mark.usefixtures("no_leaks")


async def answering(peer: Peer) -> None:
    """Answer whole or streamed, as asked."""
    while True:
        body = await peer.request()
        if b'"stream":true' in body:
            await peer.send(SSE_HEAD + chunk(events(DELTA)), chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
        else:
            await peer.send(answer(COMPLETION))


@pytest.fixture
def client_of(client_of: Any) -> Callable[..., AsyncMoonshot]:
    """A client with a pool of five."""
    return lambda server, **options: client_of(server, transport=AiohttpTransport(max_connections=5), **options)


async def whole(client: AsyncMoonshot) -> str:
    return (await client.chat.completions.create(**ASK)).choices[0].message.content or ""


async def streamed(client: AsyncMoonshot) -> str:
    stream = await client.chat.completions.create(**ASK, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def works(client: AsyncMoonshot) -> None:
    async with asyncio.timeout(1):
        for _ in range(3):
            assert await whole(client) == "x"


@pytest.mark.parametrize("call", [whole, streamed])
@pytest.mark.parametrize("fresh", [True, False], ids=["connecting", "pooled"])
async def test_a_call_can_be_cancelled_at_every_step_of_the_loop(
    scripted: Start, client_of: Any, call: Callable[[AsyncMoonshot], Awaitable[str]], fresh: bool
) -> None:
    server = await scripted(answering)
    sockets = open_sockets()
    client = client_of(server)
    cancelled = 0
    for count in range(81):
        if fresh:
            await client.aclose()
            client = client_of(server)
        task = asyncio.ensure_future(call(client))
        await steps(count)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
            cancelled += 1
        else:
            assert await task == "x"
        await works(client)
        await server.until(lambda: server.open <= 1, seconds=1)
    assert cancelled > 5
    await client.aclose()
    await server.until(lambda: server.open == 0, seconds=1)
    assert open_sockets() <= sockets


@pytest.mark.parametrize("call", [whole, streamed])
async def test_a_call_can_be_cancelled_after_any_time(scripted: Start, client_of: Any, call: Any) -> None:
    async def slow(peer: Peer) -> None:
        while True:
            body = await peer.request()
            await asyncio.sleep(0.003)
            if b'"stream":true' in body:
                await peer.send(SSE_HEAD + chunk(events(DELTA)))
                await asyncio.sleep(0.003)
                await peer.send(chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
            else:
                await peer.send(answer(COMPLETION))

    server = await scripted(slow)
    client = client_of(server)
    for milliseconds in range(1, 11):
        task = asyncio.create_task(call(client))
        await asyncio.sleep(milliseconds / 1000)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await task == "x"
        await works(client)


@pytest.mark.parametrize("scope", ["asyncio", "anyio", "ours"])
async def test_calls_killed_by_a_timeout_give_their_place_in_the_pool_back(
    scripted: Start, client_of: Any, scope: str
) -> None:
    async def silent_at_first(peer: Peer) -> None:
        while True:
            body = await peer.request()
            if b"silence" in body:
                await peer.gone()
            await peer.send(answer(COMPLETION))

    server = await scripted(silent_at_first)
    client = client_of(server, max_retries=0)
    quiet = {**ASK, "messages": [{"role": "user", "content": "silence"}]}

    async def killed() -> bool:
        if scope == "anyio":
            with anyio.move_on_after(0.1) as cancel_scope:
                await client.chat.completions.create(**quiet)
            return cancel_scope.cancelled_caught
        try:
            if scope == "ours":
                await client.chat.completions.create(**quiet, timeout=0.1)
            else:
                async with asyncio.timeout(0.1):
                    await client.chat.completions.create(**quiet)
        except TimeoutError:
            return True
        return False

    calls = [asyncio.create_task(killed()) for _ in range(40)]
    await server.until(lambda: len(server.requests) == 5)
    assert len(server.peers) == 5
    assert all(await asyncio.gather(*calls))
    await works(client)
    await server.until(lambda: server.open == 1, seconds=1)


async def test_cancelling_the_wait_before_a_retry_sends_nothing_more(scripted: Start, client_of: Any) -> None:
    async def refuse(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"{}", status=b"503 No"))

    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    server = await scripted(refuse)
    client = client_of(server, middleware=[Retry(5, sleep=sleep)])
    task = asyncio.create_task(whole(client))
    await waiting.wait()
    task.cancel()
    await asyncio.wait([task], timeout=0.1)
    assert task.cancelled()
    await steps(50)
    assert len(server.requests) == 1


async def test_a_task_group_around_a_timeout_of_ours_works_as_ever(scripted: Start, client_of: Any) -> None:
    client = client_of(await scripted(silent), timeout=Timeout(read=0.05), max_retries=0)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(whole(client))
            group.create_task(asyncio.Event().wait())
    assert [type(error) for error in caught.value.exceptions] == [APITimeoutError]
    await asyncio.sleep(0)


@pytest.mark.parametrize("call", [whole, streamed])
async def test_our_timeout_and_the_callers_at_the_same_moment_leave_no_cancellation_behind(
    scripted: Start, client_of: Any, call: Any
) -> None:
    client = client_of(await scripted(silent), max_retries=0)
    task = asyncio.current_task()
    assert task is not None
    for step in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02 + step / 4000):
                await call(client.with_options(timeout=0.02))
        assert task.cancelling() == 0
        await asyncio.sleep(0)


@pytest.mark.parametrize("instead", [None, OSError(5, "swallowed")])
async def test_a_cancellation_that_a_library_swallows_is_taken_back(mocked_http: Any, instead: OSError | None) -> None:
    # Nothing in aiohttp swallows one today; if something does, the call has timed out all the same.
    async def swallow(url: object, **kwargs: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if instead is not None:
                raise instead from None

    task = asyncio.current_task()
    assert task is not None
    url = "http://moonshot.test/v1"
    mocked_http.post(f"{url}/chat/completions", callback=swallow, body=COMPLETION)
    async with AsyncMoonshot(api_key="sk-test", base_url=url, transport=AiohttpTransport(), max_retries=0) as client:
        with pytest.raises(APITimeoutError):
            await client.chat.completions.create(**ASK, timeout=0.05)
    assert task.cancelling() == 0


async def test_closing_the_client_in_the_middle_of_many_calls_ends_all_of_them(scripted: Start, client_of: Any) -> None:
    server = await scripted(silent)
    client = client_of(server)
    calls = [asyncio.create_task(whole(client)) for _ in range(12)]
    await server.until(lambda: len(server.requests) == 5)
    await client.aclose()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
    await server.until(lambda: server.open == 0, seconds=1)
