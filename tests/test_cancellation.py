"""Cancelled at any moment, a call ends there and then, leaves nothing behind, and hurts no other call."""

import asyncio
import contextlib
import io
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from moonshot_async import AsyncMoonshot, Retry, Timeout, collect
from moonshot_async.errors import APITimeoutError, ClientClosedError
from moonshot_async.fake import BatchTimes, FakeMoonshot
from moonshot_async.middleware.limits import RateLimits
from moonshot_async.middleware.retry_budget import RetryBudget
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
    Play,
    Start,
    answer,
    chunk,
    endless,
    events,
    silent,
)
from tests.secrets_scan import CANARY_KEY

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
    """A client with a pool of five, or another number."""
    return lambda server, pool=5, **options: client_of(
        server, transport=AiohttpTransport(max_connections=pool), **options
    )


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
        for _ in range(5):
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
    for count in range(121):
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
    for milliseconds in range(1, 13):
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
    quiet = {**ASK, "messages": [{"role": "user", "content": "Canary prompt: silence"}]}

    async def killed() -> bool:
        if scope == "anyio":
            with anyio.move_on_after(0.5) as cancel_scope:
                await client.chat.completions.create(**quiet)
            return cancel_scope.cancelled_caught
        try:
            if scope == "ours":
                await client.chat.completions.create(**quiet, timeout=0.5)
            else:
                async with asyncio.timeout(0.5):
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
    url = "https://moonshot.test/v1"
    mocked_http.post(f"{url}/chat/completions", callback=swallow, body=COMPLETION)
    async with AsyncMoonshot(
        api_key="sk-canary-01", base_url=url, transport=AiohttpTransport(), max_retries=0
    ) as client:
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


# --- every kind of call, at every step


PART = events(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":"ab"},"finish_reason":null}]}')
REST = events(b'{"choices":[{"index":0,"delta":{"content":"cd"},"finish_reason":"stop"}]}', b"[DONE]")
FILE = b'{"id":"file-1","object":"file","bytes":200000,"filename":"f.txt","purpose":"file-extract","status":"ok"}'
UPLOAD = b"0123456789" * 20_000


def said(words: str) -> dict[str, Any]:
    return {**ASK, "messages": [{"role": "user", "content": f"Canary prompt: {words}"}]}


def service() -> Play:
    """Chat whole or streamed, cut or refused at first, files up and down."""
    refused = 0

    async def play(peer: Peer) -> None:
        nonlocal refused
        while True:
            body = await peer.request()
            head = peer.received[-1][0]
            if b"/content" in head:
                await peer.send(SSE_HEAD + chunk(b"12"), chunk(b"34"), LAST_CHUNK)
            elif b"/files" in head:
                await peer.send(answer(FILE))
            elif b'"partial":true' in body:
                await peer.send(SSE_HEAD, chunk(REST), LAST_CHUNK)
            elif b"cut me" in body:
                await peer.send(SSE_HEAD, chunk(PART), LAST_CHUNK)
            elif b"refuse me" in body and (refused := refused + 1) % 2:
                await peer.send(answer(b"{}", status=b"503 No"))
            elif b'"stream":true' in body:
                await peer.send(SSE_HEAD + chunk(events(DELTA)), chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
            else:
                await peer.send(answer(COMPLETION))

    return play


async def told(client: AsyncMoonshot) -> str:
    async with client.chat.completions.stream(**ASK) as stream:
        return (await stream.get_final_completion()).choices[0].message.content or ""


async def resumed(client: AsyncMoonshot) -> str:
    async with client.chat.completions.stream(**said("cut me"), resume=2) as stream:
        return "x" if (await stream.get_final_completion()).choices[0].message.content == "abcd" else "not whole"


async def sent_again(client: AsyncMoonshot) -> str:
    completion = await client.chat.completions.create(**said("refuse me"))
    return completion.choices[0].message.content or ""


async def upload_of_bytes(client: AsyncMoonshot) -> str:
    return "x" if await client.files.create(file=UPLOAD, purpose="file-extract") else ""


async def upload_of_path(client: AsyncMoonshot) -> str:
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(UPLOAD)
        file.flush()
        return "x" if await client.files.create(file=Path(file.name), purpose="file-extract") else ""


async def upload_of_file(client: AsyncMoonshot) -> str:
    return "x" if await client.files.create(file=("f.txt", io.BytesIO(UPLOAD)), purpose="file-extract") else ""


async def download(client: AsyncMoonshot) -> str:
    return "x" if (await client.files.content("file-1")).read() == b"1234" else ""


KINDS = [told, resumed, sent_again, upload_of_bytes, upload_of_path, upload_of_file, download]


async def turns(count: int) -> None:
    """Let so many turns of the loop pass; beyond 120, milliseconds."""
    await (steps(count) if count <= 120 else asyncio.sleep((count - 120) / 1000))


@pytest.mark.parametrize("call", KINDS)
async def test_every_kind_of_call_can_be_cancelled_at_every_step(
    scripted: Start, client_of: Any, call: Callable[[AsyncMoonshot], Awaitable[str]]
) -> None:
    server = await scripted(service())
    client = client_of(server, middleware=[Retry(3, initial=0.002, maximum=0.002, budget=RetryBudget(reserve=1000))])
    cancelled = 0
    for count in range(133):
        task = asyncio.ensure_future(call(client))
        await turns(count)
        if task.cancel():
            await asyncio.wait([task], timeout=0.1)
            assert task.cancelled()
            cancelled += 1
        else:
            assert await task == "x"
        assert await whole(client) == "x"
    assert cancelled > 5
    # Nothing is sent later, and the pool is whole.
    sent = len(server.requests)
    await asyncio.gather(*(works(client) for _ in range(5)))
    assert len(server.requests) == sent + 25
    await client.aclose()
    await server.until(lambda: server.open == 0, seconds=1)


async def test_a_call_that_waits_for_a_place_among_the_limits_can_be_cancelled_at_every_step(
    scripted: Start, client_of: Any
) -> None:
    limits = RateLimits(concurrency=1)
    server = await scripted(answering_or_silent)
    client = client_of(server, limits=limits)
    holder = asyncio.create_task(client.chat.completions.create(**said("silence")))
    await server.until(lambda: len(server.requests) == 1)
    for call in (whole, streamed, told):
        for count in range(121):
            task = asyncio.ensure_future(call(client))
            await turns(count)
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
            assert task.cancelled()
    assert limits.snapshot().waiting == 0
    assert len(server.requests) == 1
    holder.cancel()
    await asyncio.wait([holder])
    for call in (whole, streamed, told):
        for count in range(121):
            task = asyncio.ensure_future(call(client))
            await turns(count)
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
            assert task.done()
    assert (limits.snapshot().waiting, limits.snapshot().in_flight) == (0, 0)
    await works(client)


async def answering_or_silent(peer: Peer) -> None:
    while True:
        body = await peer.request()
        if b"silence" in body:
            await peer.gone()
            return
        if b'"stream":true' in body:
            await peer.send(SSE_HEAD + chunk(events(DELTA)), chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
        else:
            await peer.send(answer(COMPLETION))


async def test_a_place_that_a_cancelled_call_was_given_goes_to_the_next(scripted: Start, client_of: Any) -> None:
    # The place becomes free and the call that waits for it is cancelled in one turn of the loop.
    server = await scripted(answering)
    client = client_of(server, pool=1)
    for count in range(60):
        first = asyncio.create_task(whole(client))
        waiting = [asyncio.create_task(whole(client)) for _ in range(3)]
        await steps(count)
        for task in waiting[:2]:
            task.cancel()
        async with asyncio.timeout(1):
            assert await asyncio.gather(first, waiting[2]) == ["x", "x"]
        await asyncio.wait(waiting)
    assert len(server.peers) <= 61


async def test_a_batch_can_be_cancelled_at_any_time() -> None:
    fake = FakeMoonshot(batch_times=BatchTimes(validating=0.001, in_progress=0.002, finalizing=0.001))
    async with fake.serve() as url, AsyncMoonshot(api_key=CANARY_KEY, base_url=url, max_retries=0) as client:

        async def batch() -> set[str]:
            async with client.batches.run([ASK, ASK], poll_interval=0.002) as run:
                return {result.custom_id async for result in run}

        cancelled = 0
        for count in [*range(0, 121, 12), *range(120, 170, 3)]:
            task = asyncio.create_task(batch())
            await turns(count)
            if task.cancel():
                await asyncio.wait([task], timeout=0.5)
                assert task.cancelled()
                cancelled += 1
            seen = len(fake.requests)
            await steps(20)
            assert len(fake.requests) <= seen + 1
        assert cancelled > 10
        assert len(await batch()) == 2


@pytest.mark.parametrize("call", [whole, streamed, told])
async def test_cancel_scopes_and_timeouts_of_the_caller_are_theirs(scripted: Start, client_of: Any, call: Any) -> None:
    server = await scripted(answering)
    client = client_of(await scripted(silent), max_retries=2)
    well = client_of(server)

    with anyio.move_on_after(0.02) as scope:
        await call(client)
    assert scope.cancelled_caught

    with pytest.raises(TimeoutError), anyio.fail_after(0.02):
        await call(client)

    async with anyio.create_task_group() as group:
        group.start_soon(call, client)
        group.start_soon(call, client)
        await asyncio.sleep(0.02)
        group.cancel_scope.cancel()

    with anyio.CancelScope() as outer:
        outer.cancel()
        with anyio.CancelScope(shield=True):
            assert await call(well) == "x"
        with pytest.raises(asyncio.CancelledError):
            await call(well)
        await anyio.lowlevel.checkpoint()
    assert outer.cancelled_caught

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await call(client)
    shielded = asyncio.ensure_future(call(well))
    waiter = asyncio.ensure_future(asyncio.shield(shielded))
    await asyncio.sleep(0)
    waiter.cancel()
    assert await shielded == "x"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await works(well)


async def test_no_answer_is_swapped_among_calls_of_which_many_are_cancelled(scripted: Start, client_of: Any) -> None:
    async def echo(peer: Peer) -> None:
        while True:
            body = await peer.request()
            words = json.loads(body)["messages"][0]["content"].encode()
            await asyncio.sleep(len(words) % 3 * 0.002)
            if b'"stream":true' in body:
                await peer.send(SSE_HEAD + chunk(events(DELTA.replace(b'"x"', b'"%s"' % words))))
                await peer.send(chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
            else:
                await peer.send(answer(COMPLETION.replace(b'"x"', b'"%s"' % words)))

    server = await scripted(echo)
    client = client_of(server, pool=50)

    async def own(number: int, round_: int) -> bool:
        words = f"Canary prompt: {number} {'.' * (number % 7)}"
        ask = {**ASK, "messages": [{"role": "user", "content": words}]}
        if number % 2:
            stream = await client.chat.completions.create(**ask, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == words
        return (await client.chat.completions.create(**ask)).choices[0].message.content == words

    for round_ in range(4):
        calls = [asyncio.create_task(own(number, round_)) for number in range(200)]
        await asyncio.sleep(0.01 * round_)
        for task in calls[round_::4] if round_ else []:
            task.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(outcome is True or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert outcomes.count(True) >= 150


@pytest.mark.parametrize("how", ["cancel", "timeout", "break", "close", "drop"])
@pytest.mark.parametrize("count", [20, 50])
async def test_streams_that_are_left_are_closed_for_the_server_too(
    scripted: Start, client_of: Any, how: str, count: int
) -> None:
    server = await scripted(endless)
    client = client_of(server, pool=count)

    async def left() -> None:
        stream = await client.chat.completions.create(**ASK, stream=True)
        if how == "close":
            await anext(stream)
            await stream.aclose()
        elif how == "timeout":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await collect(stream)
        elif how in ("break", "cancel"):
            async for _ in stream:
                if how == "break":
                    break

    tasks = [asyncio.create_task(left()) for _ in range(count)]
    await server.until(lambda: len(server.requests) == count)
    if how == "cancel":
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
    await server.until(lambda: server.open == 0, seconds=1 if count == 20 else 1.5)
    await asyncio.wait(tasks)
