"""What is promised under faults and load, over real sockets: what is sent again, when, and how much in all."""

import asyncio
import email.utils
import itertools
import random
import resource
import socket
import statistics
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, Retry, Timeout
from moonshot_async.errors import APIError, APITimeoutError, MoonshotError, StreamInterruptedError
from tests.scripted import ASK, COMPLETION, Peer, Start, answer
from tests.soak_server import SoakServer, answer_to

pytestmark = pytest.mark.usefixtures("no_leaks")

ClientOf = Callable[..., AsyncMoonshot]


async def answered(client: AsyncMoonshot, **options: Any) -> bool:
    """Whether a call is answered."""
    try:
        return (await client.chat.completions.create(**ASK, **options)).choices[0].message.content == "x"
    except APIError:
        return False


async def failing(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"503 No"))


# --- one call


async def test_a_server_that_listens_only_later_answers_in_full(client_of: ClientOf) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started: list[asyncio.Server] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        writer.write(answer(COMPLETION, headers=b"Connection: close\r\n"))
        writer.close()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            started.append(await asyncio.start_server(take, "127.0.0.1", port))

    slept: list[float] = []
    assert await answered(client_of(f"http://127.0.0.1:{port}/v1", middleware=[Retry(2, sleep=sleep)]))
    assert len(slept) == 2
    started[0].close()
    await started[0].wait_closed()


async def test_a_call_says_how_often_it_is_sent(scripted: Start, client_of: ClientOf) -> None:
    async def at_once(seconds: float) -> None:
        pass

    for max_retries, sends in ((None, 3), (0, 1), (1, 2), (5, 6)):
        server = await scripted(failing)
        client = client_of(server, middleware=[Retry(2, sleep=at_once)])
        assert not await answered(client, **({} if max_retries is None else {"max_retries": max_retries}))
        assert len(server.requests) == sends
        assert len(set(server.requests)) == 1


async def test_many_clients_wait_longer_each_time_and_not_alike(scripted: Start, client_of: ClientOf) -> None:
    server = await scripted(failing)
    draw = random.Random(11).uniform
    waits: list[list[float]] = [[] for _ in range(24)]

    async def call(slept: list[float]) -> None:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        client = client_of(server, timeout=None, middleware=[Retry(5, sleep=sleep, uniform=draw)])
        assert not await answered(client)

    await asyncio.gather(*map(call, waits))
    assert len(server.requests) == 24 * 6
    steps = list(zip(*waits, strict=True))
    means = [statistics.mean(step) for step in steps]
    assert all(statistics.stdev(step) >= 0.12 * mean for step, mean in zip(steps, means, strict=True))
    assert all(later >= 1.3 * mean for mean, later in itertools.pairwise(means))
    assert all(max(step) <= 8.0 for step in steps)


async def test_a_wait_that_the_server_names_is_kept_by_the_clock_on_the_wall(
    scripted: Start, client_of: ClientOf
) -> None:
    moment = int(time.time()) + 2
    date = email.utils.formatdate(moment, usegmt=True).encode()
    cases: list[tuple[bytes, bytes, float | None]] = [
        (b"429 No", b"Retry-After: 1", 1.0),
        (b"503 No", b"Retry-After: 1", 1.0),
        (b"429 No", b"retry-after-ms: 300\r\nRetry-After: 9", 0.3),
        (b"429 No", b"Retry-After: " + date, None),
        (b"503 No", b"Retry-After: " + date, None),
        (b"429 No", b"Retry-After: soon", 0.0),
        (b"503 No", b"Retry-After: -1", 0.0),
    ]

    async def sent_again(status: bytes, header: bytes) -> list[float]:
        async def play(peer: Peer) -> None:
            while True:
                await peer.request()
                arrived.append(time.time())
                first = len(arrived) == 1
                await peer.send(answer(b"{}", status=status, headers=header + b"\r\n") if first else answer(COMPLETION))

        arrived: list[float] = []
        assert await answered(client_of(await scripted(play), timeout=None))
        return arrived

    outcomes = await asyncio.gather(*(sent_again(status, header) for status, header, _ in cases))
    for (_, header, asked), (first, second) in zip(cases, outcomes, strict=True):
        earliest = float(moment) if asked is None else first + asked
        assert earliest <= second <= earliest + 2.5, header


# --- many calls


async def test_an_outage_is_hardly_multiplied_and_over_at_once(scripted: Start, client_of: ClientOf) -> None:
    draw, faults = random.Random(13).random, [1.0]

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            fails = draw() < faults[0]
            await peer.send(answer(b"{}", status=b"503 No") if fails else answer(COMPLETION))

    server = await scripted(play)
    # A twentieth of the waits that are usual, so that the test is short.
    client = client_of(server, timeout=None, middleware=[Retry(2, initial=0.025)])
    assert not any(await asyncio.gather(*(answered(client) for _ in range(400))))
    assert 400 < len(server.requests) <= 1.2 * 400

    async def work(calls: Any) -> list[bool]:
        return [await answered(client) for _ in calls]

    # The budget fills again, and a few faults are not seen.
    faults[0] = 0.05
    sent, calls = len(server.requests), iter(range(600))
    outcomes = list(itertools.chain(*await asyncio.gather(*(work(calls) for _ in range(20)))))
    assert len(outcomes) == 600
    assert sum(outcomes) >= 0.995 * 600
    assert len(server.requests) - sent <= 1.1 * 600


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have both ends of a thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def asked_for(number: int) -> dict[str, Any]:
    return {"model": "kimi-k2.6", "messages": [{"role": "user", "content": f"item {number}"}]}


async def lag(worst: list[float]) -> None:
    """Take note of how long the event loop is held up by its own work, not by that of others on this machine."""
    while True:
        before, at_work = time.monotonic(), time.thread_time()
        await asyncio.sleep(0.01)
        worst[0] = max(worst[0], min(time.monotonic() - before - 0.01, time.thread_time() - at_work))


async def streamed(client: AsyncMoonshot, number: int) -> str:
    """How a stream ended: whole, with the wrong text, or as what error."""
    text, truth = "", answer_to(f"item {number}")[1]
    try:
        async for chunk in await client.chat.completions.create(**asked_for(number), stream=True):
            text += (chunk.choices and chunk.choices[0].delta.content) or ""
    except MoonshotError as error:
        return type(error).__name__ if truth.startswith(text) else "wrong"
    return "whole" if text == truth else "wrong"


async def test_of_a_thousand_streams_among_faults_all_are_accounted_for_and_few_are_lost(client_of: ClientOf) -> None:
    """5 of 100 are reset, 5 are put off and 5 fail; 2 are cut and 2 fall silent. One call each, two repetitions."""
    faults = {"reset": 0.05, "limited": 0.05, "failed": 0.05, "clean_cut": 0.01, "cut": 0.01, "stall": 0.02}
    timeout = Timeout(total=30, first_token=4.0, idle=4.0, read=4.0)
    worst = [0.0]
    with SoakServer(seed=3) as server:
        server.set_faults(faults)
        client = client_of(server.url, timeout=timeout)
        watching, started = asyncio.create_task(lag(worst)), time.monotonic()
        outcomes = Counter(await asyncio.gather(*(streamed(client, number) for number in range(1000))))
        took = time.monotonic() - started
        watching.cancel()
        counts = server.counts()
    cut, stalled = counts["cut"] + counts["clean_cut"], counts["stall"]
    assert outcomes["wrong"] == 0
    assert outcomes[StreamInterruptedError.__name__] == cut > 0
    assert outcomes[APITimeoutError.__name__] == stalled > 0
    assert outcomes["whole"] >= 0.995 * (1000 - cut - stalled)
    assert outcomes.total() == 1000
    assert counts["requests"] <= 1250
    assert took < 40
    assert worst[0] < 1.5


async def test_a_burst_of_faults_among_a_thousand_calls_is_not_seen(
    scripted: Start, client_of: ClientOf, many_files: None
) -> None:
    """15 of 100 fail, all at the same moment, when a thousand are under way."""

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            if not all_there.is_set():
                if len(server.requests) == 1000:
                    all_there.set()
                await all_there.wait()
                if peer.number % 20 < 3:
                    await peer.send(answer(b"{}", status=b"503 No"))
                    continue
            await peer.send(answer(COMPLETION))

    all_there = asyncio.Event()
    server = await scripted(play)
    # Short waits, as before; the budget is the usual one.
    client = client_of(server, middleware=[Retry(2, initial=0.025)])
    outcomes = await asyncio.gather(*(answered(client) for _ in range(1000)))
    assert sum(outcomes) >= 995
    assert len(server.requests) == 1150


# --- what it stands on


def test_no_aiohttp_with_known_holes_is_taken() -> None:
    """Before 3.14.3 a hostile server can keep its parser busy for ever, and worse."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert "aiohttp>=3.14.3" in project["dependencies"]
    assert tuple(map(int, metadata.version("aiohttp").split(".")[:3])) >= (3, 14, 3)
