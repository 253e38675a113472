"""Documents that are given up at any moment: nothing stays on the server, in a task, or on the disk."""

import asyncio
import io
import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest

from moonshot_async import Retry
from moonshot_async.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    ClientClosedError,
    DocumentsError,
    UploadError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.resources.upload_reading import Memory
from moonshot_async.toolkit import flights
from moonshot_async.toolkit.documents import Documents, Leftover
from moonshot_async.toolkit.file_sources import HashedSource
from moonshot_async.toolkit.flights import Flight, Flights
from moonshot_async.wire import Request
from tests.cut_service import no_sleep
from tests.toolkit.file_world import Hold, World, left_on, served, turn, what

pytestmark = pytest.mark.usefixtures("no_leaks")

FILES: list[Any] = [("a.txt", b"alike"), ("b.txt", b"alike"), ("c.txt", b"other"), ("d.xyz", b"refused")]


class Once(io.RawIOBase):
    """A stream that is copied to a temporary file before it is sent."""

    name = "once.txt"

    def __init__(self) -> None:
        self._data = io.BytesIO(b"x" * 300_000)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


@pytest.fixture
def world() -> World:
    return World()


async def slowly(_: Request) -> None:
    await turns(4)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("scope", [False, True])
async def test_a_call_that_is_cancelled_at_any_turn_leaves_nothing(scope: bool, single: bool) -> None:
    for count in range(1000):
        world = World()
        world.before = world.after = slowly
        async with world.client() as client, Documents(client) as documents:
            asking: Any = documents.extract(FILES[2]) if single else documents.ask(FILES, "What?", model="kimi-k2.6")
            if scope:
                async with anyio.create_task_group() as group:
                    done = asyncio.Event()

                    async def run(asking: Any = asking, done: asyncio.Event = done) -> None:
                        await asking
                        done.set()

                    group.start_soon(run)
                    await turns(count)
                    group.cancel_scope.cancel()
                ended = done.is_set()
            else:
                call = asyncio.create_task(asking)
                await turns(count)
                ended = not call.cancel()
                if not ended:
                    with pytest.raises(asyncio.CancelledError):
                        await call
            assert documents.leftovers == ()
            assert await world.files() == [], count
            # Whatever was given up does not stand in the way.
            assert await documents.extract(FILES[0]) == "alike"
        if ended:
            break
    assert 20 < count < 999


async def test_one_who_gives_up_leaves_the_others_what_they_wait_for(world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client, Documents(client) as documents:
        first, second = (asyncio.create_task(documents.extract(file)) for file in FILES[:2])
        await hold.reached.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        hold.go.set()
        assert await second == "alike"
    assert dict(world.asked) == {"upload": 1, "content": 1, "delete": 1}


async def test_the_time_of_a_call_runs_while_others_have_their_turn(world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client, Documents(client, parallel=1) as documents:
        first = asyncio.create_task(documents.extract(FILES[0]))
        await hold.reached.wait()
        with pytest.raises(APITimeoutError):
            await documents.extract(FILES[2], timeout=0.02)
        hold.go.set()
        assert await first == "alike"
        assert await documents.extract(FILES[2]) == "other"


async def test_one_who_has_no_more_time_leaves_the_others_theirs(world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client, Documents(client) as documents:
        hurried = asyncio.create_task(documents.extract(FILES[0], timeout=0.05))
        patient = asyncio.create_task(documents.extract(FILES[1]))
        with pytest.raises(APITimeoutError) as caught:
            await hurried
        assert caught.value.clock == "deadline"
        hold.go.set()
        assert await patient == "alike"
    assert world.uploads == 1


async def test_an_upload_whose_answer_is_on_its_way_is_waited_for(world: World) -> None:
    hold = world.after = Hold("upload")
    async with world.client() as client, Documents(client) as documents:
        call = asyncio.create_task(documents.extract(FILES[0]))
        await hold.reached.wait()
        assert await world.files() == ["a.txt"]
        call.cancel()
        await turns(5)
        assert not call.done()
        hold.go.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert documents.leftovers == ()
    # Its content was not asked for any more.
    assert dict(world.asked) == {"upload": 1, "delete": 1}
    assert await world.files() == []


@pytest.mark.parametrize("again", [False, True])
async def test_an_answer_that_never_comes_is_not_waited_for_without_end(
    again: bool, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(flights, "TIDY_SECONDS", 60.0 if again else 0.05)
    hold = world.after = Hold("upload")
    async with world.client() as client, Documents(client) as documents:
        call = asyncio.create_task(documents.extract(FILES[0]))
        await hold.reached.wait()
        call.cancel()
        await turns(3)
        if again:
            call.cancel()
        with caplog.at_level(logging.WARNING, "moonshot_async"), pytest.raises(asyncio.CancelledError):
            await call
        left = documents.leftovers
    assert [(one.name, one.file_id) for one in left] == [("a.txt", None)]
    assert "waited for" in left[0].reason
    assert caplog.records[-1].getMessage().startswith("file of an unknown id was not deleted: ")


@pytest.mark.parametrize("lost", [1, 2])
async def test_an_answer_that_is_lost_is_told_also_where_the_file_was_sent_again(lost: int, world: World) -> None:
    uploads = 0

    async def lose(request: Request) -> None:
        nonlocal uploads
        uploads += what(request) == "upload"
        if what(request) == "upload" and uploads <= lost:
            raise ConnectionResetError

    world.after = lose
    async with world.client(middleware=[Retry(1, sleep=no_sleep)]) as client, Documents(client) as documents:
        if lost > 1:
            with pytest.raises(APIConnectionError):
                await documents.extract(FILES[0])
        else:
            assert await documents.extract(FILES[0]) == "alike"
        await documents.aclose()
        assert (
            documents.leftovers
            == (Leftover("a.txt", None, "APIConnectionError while its answer was waited for"),) * lost
        )
    assert await world.files() == ["a.txt"] * lost


@pytest.mark.parametrize(("status", "left"), [(429, 0), (500, 0), (504, 1), (200, 1)])
async def test_a_refusal_is_no_lost_answer_and_what_a_gateway_says_is(status: int, left: int, world: World) -> None:
    world.fake.fail(status, path="/files", method="POST", body="<html>")
    async with world.client(middleware=[Retry(1, sleep=no_sleep)]) as client, Documents(client) as documents:
        if status == 200:
            with pytest.raises(APIResponseValidationError):
                await documents.extract(FILES[0])
        else:
            assert await documents.extract(FILES[0]) == "alike"
        assert len(documents.leftovers) == left


async def test_what_is_given_up_is_not_sent_again(world: World) -> None:
    hold = world.before = Hold("upload")
    world.fake.fail(429, path="/files", method="POST")
    async with world.client(middleware=[Retry(1, sleep=no_sleep)]) as client, Documents(client) as documents:
        call = asyncio.create_task(documents.extract(FILES[0]))
        await hold.reached.wait()
        call.cancel()
        hold.go.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert [one.reason for one in documents.leftovers] == ["UploadError while its answer was waited for"]
    assert await world.files() == []
    assert world.asked["delete"] == 0


async def test_what_could_not_be_deleted_is_told_and_tried_once_more(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fake.fail(500, path="/files/*", method="DELETE", times=2)
    async with world.client() as client:
        async with Documents(client) as documents:
            with caplog.at_level(logging.WARNING, "moonshot_async"):
                assert await documents.extract(FILES[0]) == "alike"
                assert await documents.extract(FILES[2]) == "other"
            assert [(one.name, one.reason) for one in documents.leftovers] == [
                ("a.txt", "InternalServerError"),
                ("c.txt", "InternalServerError"),
            ]
            assert len(await world.files()) == 2
        assert await world.files() == []
        assert documents.leftovers == ()
    assert [record.getMessage().endswith("was not deleted: InternalServerError") for record in caplog.records] == [
        True,
        True,
    ]


async def test_what_can_still_not_be_deleted_stays_on_the_list(world: World) -> None:
    world.fake.fail(500, path="/files/*", method="DELETE", times=None)
    async with world.client() as client:
        async with Documents(client) as documents:
            await documents.extract(FILES[0])
        assert len(documents.leftovers) == 1
        # Somebody else has deleted it meanwhile.
        world.fake.reset()
        await documents.janitor()
        assert documents.leftovers == ()


async def test_closing_takes_no_longer_than_it_must(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.client() as client:
        documents = Documents(client)
        world.fake.fail(500, path="/files/*", method="DELETE")
        await documents.extract(FILES[0])
        world.before = Hold("delete")
        with client.deadline(0.05):
            await documents.aclose()
        assert [one.reason for one in documents.leftovers] == ["APITimeoutError"] or "not within" in (
            documents.leftovers[0].reason
        )


async def test_a_deletion_that_hangs_ends_with_the_patience_of_who_waits(world: World) -> None:
    world.before = Hold("delete")
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(APITimeoutError):
            await documents.extract(FILES[0], timeout=0.05)
        assert [one.reason for one in documents.leftovers] == ["cancelled"]
        world.before = turn
    assert await world.files() == []


async def test_a_file_that_is_gone_already_is_no_trouble(world: World) -> None:
    async def clear(request: Request) -> None:
        if what(request) == "delete":
            world.fake.reset()

    world.before = clear
    async with world.client() as client, Documents(client) as documents:
        assert await documents.extract(FILES[0]) == "alike"
        assert documents.leftovers == ()


async def test_a_client_that_is_drained_lets_a_document_come_to_its_end(world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client, Documents(client) as documents:
        reading = asyncio.create_task(documents.extract(FILES[0]))
        await hold.reached.wait()
        draining = asyncio.create_task(client.drain())
        await turns(3)
        hold.go.set()
        assert await reading == "alike"
        assert (await draining).complete
        assert await world.files() == []
        with pytest.raises(ClientClosedError):
            await documents.extract(FILES[2])


async def test_a_client_that_is_closed_ends_it_and_says_what_is_left(world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client:
        documents = Documents(client)
        reading = asyncio.create_task(documents.extract_many([FILES[0], FILES[2]]))
        await hold.reached.wait()
        await turns(5)
        await client.aclose()
        assert {type(document.error) for document in await reading} == {ClientClosedError}
        assert [one.reason for one in documents.leftovers] == ["ClientClosedError"] * 2


async def test_kept_files_that_nobody_waits_for_any_more_are_not_kept(world: World) -> None:
    hold = world.after = Hold("content")
    async with world.client() as client, Documents(client, keep_uploaded=True) as documents:
        call = asyncio.create_task(documents.extract(FILES[0]))
        await hold.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert await world.files() == []


class Watched(FakeMoonshot):
    """A fake that says when it has got a number of requests."""

    def __init__(self) -> None:
        super().__init__(latency=0.001)
        self.left = 0
        self.reached = asyncio.Event()

    async def answer(self, request: Request, body: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            self.reached.set()
        return await super().answer(request, body)


async def test_over_a_network_nothing_is_left_either(tmp_path: Path) -> None:
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_bytes(b"%d" % number * 100_000)
    fake = Watched()
    async for client in served(fake):
        async with Documents(client, cache=None) as documents:
            for count in range(1, 37, 5):
                fake.left, fake.reached = count, asyncio.Event()
                call = asyncio.create_task(documents.extract_many(paths))
                await fake.reached.wait()
                call.cancel()
                await asyncio.wait([call])
                assert documents.leftovers == ()
                assert await left_on(fake) == []


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_copies_of_what_can_be_read_once_do_not_stay_open(world: World) -> None:
    before = open_files()
    async with world.client() as client, Documents(client, cache=None) as documents:
        assert len(await documents.extract(Once())) == 300_000
        for kind in ("upload", "content", "delete"):
            hold = world.before = Hold(kind)
            call = asyncio.create_task(documents.extract(Once()))
            await hold.reached.wait()
            call.cancel()
            hold.go.set()
            with pytest.raises(asyncio.CancelledError):
                await call

        async def refuse(request: Request) -> None:
            raise ConnectionRefusedError

        world.before = refuse
        with pytest.raises(DocumentsError):
            await documents.extract_many([("a.log", Once()), ("b.log", Once())], errors="raise")
    assert open_files() == before


async def test_the_last_piece_of_an_upload_that_was_given_up_never_goes_out() -> None:
    source = HashedSource(Memory(b"text"), sha256(b"text").hexdigest())
    reading = source.reading()
    assert not source.give_up()
    with pytest.raises(UploadError, match="given up"):
        await reading.next(0)


# --- Flights by themselves


def late() -> APITimeoutError:
    return APITimeoutError(clock="deadline")


async def test_work_that_never_began_lets_go_of_what_it_has() -> None:
    flights_: Flights[int] = Flights()
    done: list[str] = []

    async def work(flight: Flight[int]) -> int:
        raise AssertionError("never begun")

    call = asyncio.create_task(flights_.join("k", work, lambda: done.append("done"), late))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert done == ["done"]


async def test_what_waits_for_work_that_others_cancel_is_cancelled() -> None:
    async def work(flight: Flight[int]) -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Flights[int]().join("k", work, lambda: None, late)


async def test_work_that_is_being_ended_is_begun_anew_for_others() -> None:
    flights_: Flights[int] = Flights()
    tidying, go = asyncio.Event(), asyncio.Event()

    async def slow(flight: Flight[int]) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            tidying.set()
            await go.wait()
        return 1

    async def quick(flight: Flight[int]) -> int:
        return 2

    first = asyncio.create_task(flights_.join("k", slow, lambda: None, late))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await tidying.wait()
    assert await flights_.join("k", quick, lambda: None, late) == 2
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await first
