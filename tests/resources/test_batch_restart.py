"""Batches against the embedded service: many requests, and programs that are killed."""

import asyncio
import os
import signal
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import APIConnectionError, AsyncMoonshot, MemoryTransport, RateLimitError
from moonshot_async.errors import BatchFailedError
from moonshot_async.fake import BatchTimes, FakeMoonshot
from tests.resources.batch_service import ask

TIMES = BatchTimes(validating=0.02, in_progress=0.1, finalizing=0.02, cancelling=0.02)

# The service in a process of its own, so that its memory is not counted.
SERVICE = """
import asyncio
from moonshot_async.fake import BatchTimes, FakeMoonshot

async def main():
    times = BatchTimes(validating=0.02, in_progress=0.1, finalizing=0.02)
    async with FakeMoonshot(batch_times=times, max_recorded=10).serve() as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

# Handles results, writes down what it has handled, and is killed at a moment of the test's choice.
PROGRAM = """
import asyncio, os, pathlib, signal, sys
from moonshot_async import AsyncMoonshot, Response

url, moment, place = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
id_file, done_file = place / "batch_id", place / "done"

def killed(now):
    if now == moment:
        os.kill(os.getpid(), signal.SIGKILL)

async def fate(request, call_next):
    if request.method == "POST" and request.path == "/v1/batches":
        killed("uploaded")
    response = await call_next(request)
    if request.method == "POST" and request.path == "/v1/batches":
        killed("created")
    if request.method == "GET" and request.path.endswith("/content"):
        content = response.body

        async def pieces():
            yield await content.read()
            killed("downloading")
            while piece := await content.read():
                yield piece

        return Response(response.status, response.headers, pieces(), request=response.request)
    return response

def store(batch):
    id_file.write_text(batch.id)
    killed("stored")

async def main():
    requests = ({"model": "kimi-k2.6", "messages": [{"role": "user", "content": f"Hi {n}"}]} for n in range(300))
    done = done_file.read_text().split() if done_file.exists() else []
    batch_id = id_file.read_text() if id_file.exists() else None
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=url, middleware=[fate]) as client:
        run = client.batches.run(
            requests, batch_id=batch_id, resume=True, skip=done, on_batch=store, poll_interval=0.05
        )
        with done_file.open("a", buffering=1) as out:
            async for result in run:
                number = int(result.custom_id.removeprefix("request-")) - 1
                assert result.request["messages"][0]["content"] == f"Hi {number}"
                assert result.completion is not None
                out.write(result.custom_id + "\\n")
                if number == 150:
                    killed("handling")

asyncio.run(main())
"""


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot(batch_times=TIMES)


@pytest.fixture(params=["memory", "http"])
async def client(request: pytest.FixtureRequest, fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    if request.param == "memory":
        async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
            yield client
    else:
        async with fake.serve() as url, AsyncMoonshot(api_key="sk-canary-01", base_url=url) as client:
            yield client


def created(fake: FakeMoonshot) -> int:
    return sum(request.method == "POST" and request.path == "/v1/batches" for request in fake.requests)


async def test_a_batch_goes_all_its_way(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    requests = [("a", ask("one")), ("b", ask("")), ("c", ask("three"))]
    states: list[str] = []
    run = client.batches.run(
        requests, metadata={"job": "x"}, poll_interval=0.02, on_batch=lambda batch: states.append(batch.status)
    )
    results = [result async for result in run]
    assert [(result.custom_id, result.request) for result in results] == requests
    assert [result.status_code for result in results] == [200, 400, 200]
    assert states == ["validating"]
    assert run.batch is not None
    assert run.batch.request_counts is not None
    assert (run.batch.request_counts.completed, run.batch.request_counts.failed) == (2, 1)
    usages = [result.completion.usage for result in results if result.completion is not None]
    assert run.usage.total_tokens == sum(usage.total_tokens for usage in usages if usage is not None)
    again = [result async for result in client.batches.results(run.batch.id)]
    assert [(result.custom_id, result.request) for result in again] == requests


async def test_the_service_says_why_it_refused_a_file(client: AsyncMoonshot) -> None:
    with pytest.raises(BatchFailedError, match=r"line 2: .*temperature"):
        async for _ in client.batches.run([ask("a"), ask("b", temperature=0.5)], check=False, poll_interval=0.02):
            pass


@asynccontextmanager
async def client_of(fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake), max_retries=0) as client:
        yield client


async def test_a_cancelled_batch_tells_what_was_not_answered() -> None:
    slow = FakeMoonshot(batch_times=BatchTimes(validating=0.01, in_progress=3600, cancelling=0.01))
    async with client_of(slow) as client, client.batches.run([ask("a"), ask("b")], poll_interval=0.02) as run:
        await run.submit()
        slow.advance(1)
        await run.cancel()
        codes = [result.error.code async for result in run if result.error is not None]
    assert codes == ["batch_cancelled", "batch_cancelled"]


async def test_an_expired_batch_gives_what_was_answered_in_time() -> None:
    slow = FakeMoonshot(batch_times=BatchTimes(in_progress=24 * 3600))
    requests = (ask(f"{number}") for number in range(10))
    async with (
        client_of(slow) as client,
        client.batches.run(requests, poll_interval=0.02, completion_window="12h") as run,
    ):
        await run.submit()
        slow.advance(13 * 3600)
        codes = [result.error and result.error.code async for result in run]
    assert 0 < codes.count("batch_expired") < 10
    assert codes.count(None) == 10 - codes.count("batch_expired")


async def test_a_batch_is_created_once_though_connections_break(fake: FakeMoonshot) -> None:
    async with client_of(fake) as client:
        fake.disconnect(path="/files", method="POST")
        with pytest.raises(APIConnectionError):
            await client.batches.run([ask("a")]).submit()
        fake.fail(429, path="/batches", method="POST")
        with pytest.raises(RateLimitError):
            await client.batches.run([ask("a")]).submit()
        async with client.batches.run([ask("a")], poll_interval=0.02) as run:
            await run.submit()
            fake.disconnect(path="/batches/*", method="GET", times=3)
            assert [result.error async for result in run] == [None]
        assert [batch.status async for batch in client.batches.list()] == ["completed"]


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()
        # The transport of the pipe is closed one turn later.
        await asyncio.sleep(0)


def many(count: int) -> Iterator[dict[str, Any]]:
    return (ask(f"Hi {number}") for number in range(count))


async def test_ten_thousand_requests_get_ten_thousand_results_in_flat_memory() -> None:
    async def peak(client: AsyncMoonshot, count: int) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        number = 0
        async for result in client.batches.run(many(count), poll_interval=0.05):
            assert result.request == ask(f"Hi {number}")
            assert result.completion is not None
            number += 1
            assert result.custom_id == f"request-{number}"
        assert number == count
        return tracemalloc.get_traced_memory()[1] - before

    async with service() as url, AsyncMoonshot(api_key="sk-canary-01", base_url=url) as client:
        tracemalloc.start()
        try:
            await peak(client, 10)
            few, all_of_them = await peak(client, 1_000), await peak(client, 10_000)
        finally:
            tracemalloc.stop()
    assert all_of_them - few < 2 * 1024 * 1024


async def start(url: str, moment: str, place: Path) -> int:
    """Run the program to its end; its exit code."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, url, moment, str(place))
    async with asyncio.timeout(60):
        return await process.wait()


@pytest.mark.parametrize("moment", ["uploaded", "created", "stored", "downloading", "handling"])
async def test_a_program_that_is_killed_and_started_again_loses_and_repeats_nothing(
    moment: str, fake: FakeMoonshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, temporary = tmp_path / "place", tmp_path / "tmp"
    place.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    async with fake.serve() as url:
        assert await start(url, moment, place) == -signal.SIGKILL
        assert list(temporary.iterdir()) == []
        assert await start(url, "never", place) == 0
        assert await start(url, "never", place) == 0
    assert (place / "done").read_text().split() == [f"request-{number}" for number in range(1, 301)]
    assert created(fake) == 1
    assert os.listdir(temporary) == []  # noqa: PTH208
