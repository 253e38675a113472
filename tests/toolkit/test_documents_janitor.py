"""The janitor: what it deletes, what it leaves alone, and what it says."""

import json
from datetime import timedelta
from typing import Any

import pytest

from moonshot_async.errors import ConfigurationError, InternalServerError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.documents import Documents, cleaning, janitor
from moonshot_async.wire import Request
from tests.toolkit.file_world import MP4, PNG, World

pytestmark = pytest.mark.usefixtures("no_leaks")

DAY = 24 * 3600.0
NOW = 1_794_200_000.0


class Days:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def days() -> Days:
    return Days()


@pytest.fixture
def world(days: Days) -> World:
    return World(FakeMoonshot(clock=days))


async def fill(client: Any, days: Days, count: int = 5) -> list[str]:
    """One document a day, the oldest first; their ids."""
    ids = []
    for number in range(count):
        created = await client.files.create(file=(f"{number}.txt", b"x" * 10), purpose="file-extract")
        ids.append(created.id)
        days.now += DAY
    return ids


async def test_documents_older_than_a_day_are_deleted(world: World, days: Days) -> None:
    async with world.client() as client:
        ids = await fill(client, days)
        days.now -= DAY / 2
        report = await Documents(client).janitor(clock=days)
        assert [file.id for file in report.deleted] == ids[:4]
        assert (report.files, report.bytes, report.kept, report.kept_bytes) == (5, 50, 1, 10)
        assert (report.freed_bytes, report.failures, report.spared, report.dry_run) == (40, (), (), False)
        assert report.fullness == 0.001
        assert str(report) == ("deleted 4 files of 40 bytes; 1 of 1000 files and 10 of 10,737,418,240 bytes are left")
    assert await world.files() == ["4.txt"]


async def test_a_dry_run_deletes_nothing(world: World, days: Days) -> None:
    async with world.client() as client:
        await fill(client, days)
        report = await janitor(client, clock=days, dry_run=True)
        assert str(report).startswith("would delete 5 files of 50 bytes; 0 of 1000")
    assert len(await world.files()) == 5


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"older_than": timedelta(days=3)}, ["3", "4"]),
        ({"older_than": timedelta(0), "max_files": 2}, ["3", "4"]),
        ({"max_bytes": 25}, ["3", "4"]),
        ({"max_files": 4, "max_bytes": 1000}, ["1", "2", "3", "4"]),
        ({"max_files": 9}, ["0", "1", "2", "3", "4"]),
        ({"max_files": 0, "older_than": timedelta(days=4)}, ["2", "3", "4"]),
        ({"purposes": ()}, ["0", "1", "2", "3", "4"]),
    ],
)
async def test_what_is_deleted_can_be_told(options: Any, left: list[str], world: World, days: Days) -> None:
    async with world.client() as client:
        await fill(client, days)
        await janitor(client, clock=days, **options)
    assert sorted(await world.files()) == [f"{name}.txt" for name in left]


@pytest.mark.parametrize("function", [False, True])
async def test_files_may_be_kept(function: bool, world: World, days: Days) -> None:
    async with world.client() as client:
        ids = await fill(client, days)
        keep: Any = (lambda file: file.filename == "1.txt") if function else [ids[1]]
        report = await janitor(client, clock=days, keep=keep, max_files=3)
    assert [file.id for file in report.spared] == [ids[1]]
    assert sorted(await world.files()) == ["1.txt", "3.txt", "4.txt"]


def line() -> bytes:
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}).encode()


async def test_what_a_batch_under_way_needs_is_left_alone(world: World, days: Days) -> None:
    async with world.client() as client:
        for purpose, file in (("image", ("a.png", PNG)), ("video", ("b.mp4", MP4)), ("file-extract", ("c.txt", b"x"))):
            await client.files.create(file=file, purpose=purpose)
        await client.files.create(file=("stray.jsonl", line()), purpose="batch")
        needed = await client.files.create(file=("needed.jsonl", line()), purpose="batch")
        days.now += 2 * DAY
        batch = await client.batches.create(
            input_file_id=needed.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        everything = ("file-extract", "image", "video", "batch", "batch_output")
        report = await janitor(client, clock=days, purposes=everything)
        assert {file.filename for file in report.spared} == {"a.png", "b.mp4", "needed.jsonl"}
        assert {file.filename for file in report.deleted} == {"c.txt", "stray.jsonl"}

        days.now += 2 * DAY
        assert (await client.batches.retrieve(batch.id)).status == "completed"
        days.now += 2 * DAY
        report = await janitor(client, clock=days, purposes=everything)
        assert {file.purpose for file in report.deleted} == {"image", "video", "batch"}
        assert (report.files, report.kept) == (4, 0)
    assert await world.files() == []


async def test_what_services_give_does_not_count(world: World) -> None:
    file = {"id": "file-1", "purpose": "batch_output", "bytes": 10, "created_at": 5}
    world.fake.fail(200, body={"object": "list", "data": [file]}, path="/files", method="GET")
    async with world.client() as client:
        report = await janitor(client, purposes=["batch_output"], dry_run=True)
    assert (report.files, report.kept, report.kept_bytes, report.freed_bytes) == (0, 0, 0, 10)


async def test_a_host_without_batches_needs_nothing_for_them(world: World, days: Days) -> None:
    async with world.client() as client:
        await client.files.create(file=("a.png", PNG), purpose="image")
        world.fake.fail(404, path="/batches")
        days.now += 2 * DAY
        assert len((await janitor(client, clock=days, purposes=["image"])).deleted) == 1


async def test_batches_that_cannot_be_listed_save_everything(world: World, days: Days) -> None:
    async with world.client() as client:
        await client.files.create(file=("a.png", PNG), purpose="image")
        world.fake.fail(500, path="/batches")
        with pytest.raises(InternalServerError):
            await janitor(client, clock=days, purposes=["image"], older_than=timedelta(0))
    assert await world.files() == ["a.png"]


async def test_what_cannot_be_deleted_is_told(world: World, days: Days) -> None:
    async with world.client() as client:
        ids = await fill(client, days, 3)
        world.fake.fail(500, path=f"/files/{ids[0]}", method="DELETE")
        world.fake.fail(404, path=f"/files/{ids[1]}", method="DELETE")
        report = await janitor(client, clock=days)
    assert [(failure.file.id, type(failure.error)) for failure in report.failures] == [(ids[0], InternalServerError)]
    assert [file.id for file in report.deleted] == ids[1:]
    assert "1 could not be deleted" in str(report)


async def test_deletions_are_a_few_at_a_time(world: World, days: Days) -> None:
    under_way = most = 0

    async def enter(request: Request) -> None:
        nonlocal under_way, most
        under_way += request.method == "DELETE"
        most = max(most, under_way)

    async def leave(request: Request) -> None:
        nonlocal under_way
        under_way -= request.method == "DELETE"

    async with world.client() as client:
        await fill(client, days, 20)
        world.before, world.after = enter, leave
        world.fake.latency = 0.001
        await janitor(client, clock=days, parallel=3)
    assert most == 3
    assert await world.files() == []


async def test_of_too_many_files_the_oldest_are_remembered(
    world: World, days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_MOST", 2)
    async with world.client() as client:
        ids = await fill(client, days)
        assert [file.id for file in (await janitor(client, clock=days)).deleted] == ids[:2]
        assert [file.id for file in (await janitor(client, clock=days)).deleted] == ids[2:4]


async def test_a_file_of_an_unknown_age_is_not_old(world: World) -> None:
    listed = {"object": "list", "data": [{"id": "file-1", "purpose": "file-extract"}]}
    world.fake.fail(200, body=listed, path="/files", method="GET")
    async with world.client() as client:
        assert (await janitor(client, older_than=timedelta(0))).deleted == ()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"older_than": 5}, "timedelta"),
        ({"older_than": timedelta(-1)}, "timedelta"),
        ({"purposes": "image"}, "collections"),
        ({"keep": "file-1"}, "collections"),
        ({"max_files": -1}, "max_files"),
        ({"max_bytes": 1.5}, "max_bytes"),
        ({"max_files": True}, "max_files"),
        ({"parallel": 0}, "parallel"),
        ({"olderthan": 1}, "unexpected keyword argument 'olderthan'"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_sent(options: Any, problem: str, world: World) -> None:
    async with world.client() as client:
        with pytest.raises((ConfigurationError, TypeError), match=problem):
            await janitor(client, **options)
    assert not world.asked
