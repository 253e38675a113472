"""Where requests come from, and that memory is bounded whatever comes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from moonshot_async import AsyncMoonshot, ConfigurationError, MemoryTransport
from moonshot_async.bulk import BulkResult, Journal
from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import MODEL, World, ask, asks, taken

pytestmark = pytest.mark.usefixtures("no_leaks")

LARGE = 30 * 1024 * 1024


def line(number: int, **more: Any) -> bytes:
    return msgspec.json.encode({**ask(number), **more})


async def test_a_file_may_have_a_mark_at_its_front_ends_of_windows_empty_lines_and_one_that_is_huge(
    world: World, journal: Path, tmp_path: Path
) -> None:
    file = tmp_path / "in.jsonl"
    lines = [line(0), b"", line(1, user="x" * LARGE), b"   ", line(2), line(3)]
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    results = await taken(world.client().bulk(file, model=MODEL, journal=journal, ordered=True))
    assert [len(result.request.get("user", "")) for result in results] == [0, LARGE, 0, 0]
    with Journal(journal) as read:
        assert [result.id for result in read.results()] == [result.id for result in results]
    # What was left of it is read from the journal a few at a time, too.
    again = world.client().bulk(file, model=MODEL, journal=journal, replay=True)
    assert len(await taken(again)) == 4


@pytest.mark.parametrize("bad", [b'{"messages": [', b"\x00\xff", b"[1]", b'{"messages": 5}'])
async def test_a_line_that_is_no_request_is_named_and_those_before_it_are_done(
    world: World, journal: Path, tmp_path: Path, bad: bytes
) -> None:
    file = tmp_path / "in.jsonl"
    lines = [line(number) for number in range(775)]
    file.write_bytes(b"\n".join([*lines[:100], b"", *lines[100:], bad, line(1000)]))
    run = world.client().bulk(file, model=MODEL, journal=journal, concurrency=64)
    with pytest.raises(ConfigurationError, match=r"^request 776 \(line 777\): "):
        await taken(run)
    assert sorted(world.asked) == list(range(775))
    assert run.progress.done == 775


async def test_a_generator_that_blocks_holds_nothing_up(world: World, journal: Path) -> None:
    more = threading.Event()

    def source() -> Iterator[dict[str, Any]]:
        yield ask(1)
        more.wait(5)
        yield ask(2)

    results: list[BulkResult] = []
    async for result in world.client().bulk(source(), model=MODEL, journal=journal):
        results.append(result)
        more.set()
    assert len(results) == 2

    # Nor does it when the run is stopped.
    more.clear()
    run = world.client().bulk(source(), model=MODEL, journal=journal.with_name("other.db"))
    async for _ in run:
        run.stop()
    assert run.reason == "stopped"
    more.set()


async def test_an_async_generator_is_read_no_further_than_there_is_room_and_closed_in_the_end(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.run._BOUND", 8)
    read, closed = 0, False

    async def source() -> AsyncIterator[dict[str, Any]]:
        nonlocal read, closed
        try:
            for read in range(1000):  # it is looked at outside
                yield ask(read)
        finally:
            closed = True

    async with world.client().bulk(source(), model=MODEL, journal=journal, concurrency=2) as run:
        async for _ in run:
            await asyncio.sleep(0.1)
            break
        assert read < 100
    assert closed

    class Endless:
        def __aiter__(self) -> "Endless":
            return self

        async def __anext__(self) -> dict[str, Any]:
            await asyncio.sleep(10)
            raise StopAsyncIteration

    run = world.client().bulk(Endless(), model=MODEL, journal=journal.with_name("other.db"))
    taking = asyncio.create_task(taken(run))
    await asyncio.sleep(0.05)
    run.stop()
    assert await taking == []

    async def empty_lines() -> AsyncIterator[str]:
        yield "\n"

    assert await taken(world.client().bulk(empty_lines(), model=MODEL, journal=journal.with_name("third.db"))) == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_source_that_is_cancelled_by_itself_has_not_come_to_its_end(
    world: World, journal: Path, asynchronous: bool
) -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield ask(1)
        raise asyncio.CancelledError

    async def waiting() -> AsyncIterator[dict[str, Any]]:
        yield ask(1)
        page = asyncio.create_task(asyncio.sleep(10))
        page.cancel()
        await page

    run = world.client().bulk(waiting() if asynchronous else source(), model=MODEL, journal=journal)
    with pytest.raises(RuntimeError, match="broke off: what they come from was cancelled") as caught:
        await taken(run)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert (run.progress.done, run.reason) == (1, "the requests could not be read")


@pytest.mark.parametrize("ordered", [False, True])
async def test_large_results_that_nobody_takes_hold_the_rest_back(
    journal: Path, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.outbox._MOST_BYTES", 1024 * 1024)
    monkeypatch.setattr("moonshot_async.bulk.live._READY_BYTES", 1024 * 1024)
    monkeypatch.setattr("moonshot_async.bulk.sources._MOST_BYTES", 512 * 1024)
    fake = FakeMoonshot(max_recorded=1)
    asked = 0

    async def service(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return await fake(request)

    requests = ({**ask(number), "user": f"{number}" + "x" * 128 * 1024} for number in range(200))
    async with AsyncMoonshot(api_key="sk-x", transport=MemoryTransport(service)) as client:
        run = client.bulk(requests, model=MODEL, journal=journal, concurrency=4, ordered=ordered)
        results = []
        async for result in run:
            results.append(result.id)
            if len(results) == 1:
                await asyncio.sleep(0.3)
                assert asked <= 8 + 2 * 4 + 1
    assert len(results) == 200


async def test_messages_and_tools_may_be_objects(world: World, journal: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    client = world.client()
    answer = (await client.chat.completions.create(model=MODEL, **ask(1))).choices[0].message
    requests = [
        {"messages": [answer, *ask(1)["messages"]], "tools": [tool], "thinking": MappingProxyType({"type": "disabled"})}
    ]
    (result,) = await taken(client.bulk(requests, model=MODEL, journal=journal, tools=[tool]))
    assert [message["role"] for message in result.request["messages"]] == ["assistant", "user"]
    assert result.request["thinking"] == {"type": "disabled"}
    with pytest.raises(TypeError, match="pickle"):
        result.__reduce__()
    assert "Item" not in repr(result)
    assert result.parsed is None


async def test_what_was_left_open_is_read_a_few_bytes_at_a_time(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.journal.sqlite_files._MOST_BYTES", 100)
    client = world.client()
    world.fake.fail(401)
    with pytest.raises(Exception, match="401"):
        await taken(client.bulk(asks(20), model=MODEL, journal=journal, concurrency=1))
    assert len(await taken(client.bulk(None, journal=journal))) == 20


async def test_a_slow_source_is_read_to_its_end(world: World, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading stops and begins again at every moment.
    monkeypatch.setattr("moonshot_async.bulk.sources._PATIENCE", 0.001)
    monkeypatch.setattr("moonshot_async.bulk.sources._LONGEST", 0.001)

    def source() -> Iterator[bytes]:
        for number in range(150):
            time.sleep((number % 7) / 3000)
            yield line(number)
            yield b""
        time.sleep(0.01)
        yield b""

    results = await taken(world.client().bulk(source(), model=MODEL, journal=journal, concurrency=16))
    assert len(results) == len(world.asked) == 150
