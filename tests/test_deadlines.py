"""What `timeout=` and `with client.deadline(…)` bound: all that is waited for inside; and nothing is lost by it."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry, Timeout
from moonshot_async.clocks import deadline
from moonshot_async.errors import APITimeoutError, StreamInterruptedError
from moonshot_async.middleware import Handler
from moonshot_async.toolkit import media
from moonshot_async.wire import Request, Response
from tests.resources.batch_service import BatchService, answer, ask, batches_of
from tests.scripted import ASK, DELTA, FINISH, SSE_HEAD, Peer, Start, chunk, events
from tests.stalls import Stalls

pytestmark = pytest.mark.usefixtures("no_leaks")

# What anything may be late, in seconds.
LATE = 0.25
JSON = {"Content-Type": "application/json"}
App = Callable[[Request], Awaitable[Response]]


def client_in_memory(app: App, **options: Any) -> AsyncMoonshot:
    options = {"max_retries": 0, **options}
    return AsyncMoonshot(
        api_key="sk-canary-01", base_url="https://service.test/v1", transport=MemoryTransport(app), **options
    )


async def never(request: object = None) -> Any:
    await asyncio.Event().wait()


@contextmanager
def ends_by(seconds: float) -> Iterator[pytest.ExceptionInfo[APITimeoutError]]:
    """What is inside is ended by a deadline, which lies `seconds` away."""
    due, stalls = time.monotonic() + seconds, Stalls()
    with pytest.raises(APITimeoutError) as caught:
        yield caught
    assert -0.01 <= stalls.late(due) < LATE
    stalls.close()
    assert caught.value.clock == "deadline"
    assert not caught.value.retryable


# --- calls


async def test_the_total_spans_queues_attempts_waits_and_the_body(stalls: Stalls) -> None:
    began = 0.0

    async def queue(request: Request, call_next: Handler) -> Response:
        await asyncio.sleep(0.03)
        return await call_next(request)

    async def app(request: Request) -> Response:
        nonlocal began
        assert request.started is not None
        began = request.started
        await asyncio.sleep(0.03)
        if request.attempt < 3:
            return Response(503)

        async def body() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.02)

        return Response(200, JSON, body())

    client = client_in_memory(app, middleware=[Retry(5, uniform=lambda low, high: 0.03)], limits=queue)
    for bounds, clock in ((nullcontext(), "total"), (client.deadline(0.4), "deadline")):
        started = time.monotonic()
        with pytest.raises(APITimeoutError) as caught, bounds:
            await client.chat.completions.create(**ASK, timeout=0.4 if clock == "total" else Timeout())
        assert 0.0 <= stalls.late(started + 0.4) < LATE
        assert (caught.value.clock, caught.value.attempt) == (clock, 3)
        elapsed = caught.value.elapsed
        assert elapsed is not None
        # A deadline counts from where it was entered, and what has elapsed from where the call began.
        assert started + 0.4 <= began + elapsed <= time.monotonic()
        assert f"while the answer was arriving (attempt 3, {round(elapsed, 2):g} s after" in caught.value.message


async def test_calls_side_by_side_share_one_deadline_and_calls_outside_have_none(stalls: Stalls) -> None:
    async def app(request: Request) -> Response:
        return Response(200, JSON, await asyncio.sleep(0.3, '{"data": []}'))

    client = client_in_memory(app)
    outside = asyncio.create_task(listed(client))
    started = time.monotonic()
    with client.deadline(0.15):
        ended = await asyncio.gather(*(listed(client) for _ in range(5)), return_exceptions=True)
        assert {type(error) for error in ended} == {APITimeoutError}
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(listed(client))
        assert caught.group_contains(APITimeoutError, match=r"deadline of 0\.15 s ran out before the call began")
    assert stalls.late(started + 0.15) < LATE
    assert await outside == []


async def listed(client: AsyncMoonshot) -> list[Any]:
    return (await client.models.list()).data


async def test_the_shorter_of_timeout_and_deadline_ends_a_call() -> None:
    client = client_in_memory(never)
    with client.deadline(30), pytest.raises(APITimeoutError, match=r"total timeout of 0\.05 s"):
        await client.models.list(timeout=0.05)
    for timeout in (30, None, Timeout(total=None)):
        with ends_by(0.05), deadline(0.05):
            await client.models.list(timeout=timeout)
    with ends_by(0.05), deadline(0.05), deadline(30):
        await client.models.list()


async def test_after_the_deadline_nothing_is_begun(tmp_path: Path) -> None:
    touched: list[object] = []

    async def app(request: Request) -> Response:
        touched.append(request)
        return Response(200)

    async def key() -> str:
        touched.append("key")
        return "sk-canary-01"

    async def layer(request: Request, call_next: Handler) -> Response:
        touched.append("layer")
        return await call_next(request)

    def requests() -> Iterator[Any]:
        touched.append("requests")
        yield ask("a")

    client = client_in_memory(app, middleware=[layer]).with_options(api_key=key)
    stream = client.chat.completions.stream(**ASK)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: client.chat.completions.create(**ASK),
        lambda: client.chat.completions.create(**ASK, stream=True),
        stream.__aenter__,
        lambda: client.models.with_raw_response.list(),
        lambda: client.files.with_streaming_response.content("f-1").__aenter__(),
        lambda: client.files.create(file=tmp_path / "none.txt", purpose="file-extract"),
        lambda: client.files.extract(tmp_path / "none.txt"),
        lambda: client.files.wait_for_processing("f-1"),
        lambda: client.batches.run(requests()).submit(),
        lambda: client.get("/models", cast_to=object),
    ]
    with deadline(1e-9):
        for call in calls:
            with pytest.raises(APITimeoutError) as caught:
                await call()
            assert caught.value.clock == "deadline"
    assert touched == []


async def test_a_stream_keeps_to_the_deadline_it_was_opened_under_and_to_that_of_its_reader(
    scripted: Start, client_of: Any, stalls: Stalls
) -> None:
    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        while True:
            await peer.send(chunk(events(DELTA)))
            await asyncio.sleep(0.03)

    client = client_of(await scripted(slow))
    with client.deadline(0.15):
        stream = await client.chat.completions.create(**ASK, stream=True)
        await anext(stream)
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"deadline of 0\.15 s ran out while the answer was arriving") as caught:
        async for _ in stream:
            pass
    assert stalls.late(started + 0.15) < LATE
    assert caught.value.partial is not None
    assert (caught.value.partial.choices[0].message.content or "").startswith("xx")

    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    with ends_by(0.1), client.deadline(0.1):
        async for _ in stream:
            pass

    async with client.chat.completions.stream(**ASK) as told:
        with ends_by(0.1), client.deadline(0.1):
            await told.get_final_completion()


async def test_a_deadline_that_is_kept_leaves_no_trace(scripted: Start, client_of: Any) -> None:
    async def quick(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")) + b"0\r\n\r\n")

    server = await scripted(quick)
    client = client_of(server)
    with client.deadline(5):
        stream = await client.chat.completions.create(**ASK, stream=True)
    assert len([chunk async for chunk in stream]) == 2
    assert len([chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]) == 2
    assert len(server.peers) == 1


async def test_the_body_of_a_download_ends_by_the_deadline(tmp_path: Path) -> None:
    async def app(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0.02)

        return Response(200, {}, body())

    client = client_in_memory(app)
    with ends_by(0.1), deadline(0.1):
        await client.files.content("f-1")
    with ends_by(0.1), deadline(0.1):
        async with client.files.with_streaming_response.content("f-1") as response:
            await response.stream_to_file(tmp_path / "content")
    async with client.files.with_streaming_response.content("f-1") as response:
        with ends_by(0.1), deadline(0.1):
            async for _ in response.iter_bytes():
                pass


async def test_a_body_of_a_transport_in_memory_that_knows_no_deadlines_is_stopped_all_the_same() -> None:
    class Endless:
        async def read(self, deadline: float | None = None) -> bytes:
            await never()
            raise AssertionError

        def close(self) -> None:
            pass

    async def app(request: Request) -> Response:
        return Response(200, JSON, Endless())

    with ends_by(0.1), deadline(0.1):
        await client_in_memory(app).models.list()


async def test_every_page_of_a_listing_is_under_the_deadline() -> None:
    service = BatchService()
    for number in range(5):
        service.create({"input_file_id": f"file-{number}"})
    service.fault("GET", "/batches", service.answer, never)
    batches = aiter(client_in_memory(service).batches.list(limit=2))
    with ends_by(0.1), deadline(0.1):
        assert [(await anext(batches)).id, (await anext(batches)).id] == ["batch-5", "batch-4"]
        await anext(batches)


# --- files


async def test_waiting_for_a_file_ends_by_the_deadline() -> None:
    asked: list[float] = []

    async def app(request: Request) -> Response:
        asked.append(time.monotonic())
        return Response(200, JSON, json.dumps({"id": "f-1", "object": "file", "status": "processing"}))

    entered = time.monotonic()
    with ends_by(0.1) as caught, deadline(0.1):
        await client_in_memory(app).files.wait_for_processing("f-1")
    assert str(caught.value) == "File f-1 is still 'processing' at the deadline."
    # The deadline counts from where it was entered, and what has elapsed from where the waiting began.
    elapsed = caught.value.elapsed
    assert elapsed is not None
    assert entered + 0.1 <= asked[0] + elapsed
    assert entered + elapsed <= time.monotonic()


@pytest.mark.parametrize("deletable", [True, False])
async def test_a_document_whose_time_is_up_is_deleted_or_named(
    deletable: bool, caplog: pytest.LogCaptureFixture, stalls: Stalls
) -> None:
    asked: list[str] = []

    async def app(request: Request) -> Response:
        asked.append(request.method)
        if request.method == "GET" or (request.method == "DELETE" and not deletable):
            await never()
        return Response(200, JSON, json.dumps({"id": "f-1", "object": "file", "deleted": True}))

    client = client_in_memory(app)
    for options in ({}, {"timeout": 0.5}):
        asked.clear()
        caplog.clear()
        started = time.monotonic()
        with (
            caplog.at_level(logging.WARNING, "moonshot_async"),
            pytest.raises(APITimeoutError) as caught,
            nullcontext() if options else deadline(0.5),
        ):
            await client.files.extract(("a.pdf", b"%PDF"), **options)  # type: ignore[arg-type]
        assert -0.01 <= stalls.late(started + 0.5) < LATE
        assert caught.value.clock == ("total" if options else "deadline")
        assert (caught.value.elapsed or 0) >= 0.5
        assert asked == ["POST", "GET", "DELETE"]
        logged = [] if deletable else ["file f-1 was not deleted: APITimeoutError"]
        assert [record.getMessage() for record in caplog.records] == logged


async def test_what_progress_raises_is_not_taken_for_a_lost_connection(scripted: Start, client_of: Any) -> None:
    async def read_on(peer: Peer) -> None:
        await peer.request()

    def progress(sent: int, total: int) -> None:
        raise asyncio.CancelledError("enough")

    client = client_of(await scripted(read_on))
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await client.files.create(file=("a.txt", b"x" * 100), purpose="file-extract", progress=progress)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
async def test_a_picture_that_is_a_pipe_is_not_waited_for_after_the_deadline(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with ends_by(0.1), deadline(0.1):
        await media.image(pipe)
    # Lets go of the thread that opens it.
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


# --- batches


@pytest.fixture
def service() -> BatchService:
    return BatchService()


async def texts(run: Any) -> list[str]:
    return [result.completion.choices[0].message.content async for result in run]


async def test_a_run_whose_time_is_up_goes_on_later(service: BatchService) -> None:
    service.states = ["in_progress"]
    run = batches_of(service, None).run([ask("a")], poll_interval=300)
    await run.submit()
    with ends_by(0.1) as caught, deadline(0.1):
        await texts(run)
    assert str(caught.value) == (
        "The deadline ran out first. Batch batch-1 goes on: batches.run(…, batch_id='batch-1') goes on with it."
    )
    assert caught.value.elapsed is not None
    service.states = ["completed"]
    again = batches_of(service, None).run([ask("a")], batch_id=run.batch_id, poll_interval=0.01)
    assert await texts(again) == ["A"]
    assert service.seen.count("POST /batches") == 1


async def test_a_batch_can_be_waited_for_again_after_a_deadline(service: BatchService) -> None:
    service.states = ["in_progress"]
    async with batches_of(service, None).run([ask("a")], poll_interval=0.02) as run:
        for _ in range(2):
            with ends_by(0.1), deadline(0.1):
                await run.wait()
        service.states = ["completed"]
        assert (await run.wait()).done
        assert await texts(run) == ["A"]
    assert service.seen.count("POST /batches") == 1


@pytest.mark.parametrize("path", ["/batches/batch-1", "/files/.*/content"])
async def test_a_poll_or_a_download_that_hangs_ends_by_the_deadline(path: str, service: BatchService) -> None:
    service.states = ["completed"]
    service.fault("GET", path, never)
    run = batches_of(service, None).run([ask("a")], poll_interval=0.01)
    with ends_by(0.4), deadline(0.4):
        await texts(run)
    assert await texts(batches_of(service, None).run([ask("a")], batch_id=run.batch_id, poll_interval=0.01)) == ["A"]


async def test_a_download_that_breaks_off_is_not_begun_again_when_time_is_up(
    service: BatchService, stalls: Stalls
) -> None:
    async def broken(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"{"
            raise ConnectionResetError("reset by peer")

        return Response(200, body=pieces())

    service.states = ["completed"]
    service.fault("GET", "/files/.*/content", *[broken] * 9)
    started = time.monotonic()
    with pytest.raises(StreamInterruptedError), deadline(0.5):
        await texts(batches_of(service, None).run([ask("a")], poll_interval=0.01))
    assert stalls.late(started) < 0.5
    assert len([seen for seen in service.seen if seen.endswith("/content")]) == 1


async def test_results_that_were_asked_for_too_early_are_not_asked_for_again_after_the_deadline(
    service: BatchService,
) -> None:
    async def cut(request: Request) -> Response:
        return Response(200, body=b"")

    service.states = ["completed"]
    service.fault("GET", "/files/.*/content", cut)
    run = batches_of(service, None).run([ask("a")], poll_interval=0.01)
    with ends_by(0.4) as caught, deadline(0.4):
        await texts(run)
    assert "before the call began" in str(caught.value)


async def test_a_batch_whose_creation_is_not_answered_in_time_is_not_created_twice(service: BatchService) -> None:
    async def made_in_silence(request: Request) -> Response:
        await service.answer(request)
        return await never()

    service.fault("POST", "/batches", made_in_silence)
    with ends_by(0.3) as caught, deadline(0.3):
        await texts(batches_of(service, None).run([ask("a")], resume=True))
    assert "look for input_file_id 'file-1' in batches.list() before you run it again" in caught.value.__notes__[0]
    assert service.seen.count("POST /batches") == 1
    assert await texts(batches_of(service, None).run([ask("a")], resume=True, poll_interval=0.01)) == ["A"]
    assert service.seen.count("POST /batches") == 1


async def test_requests_that_do_not_come_are_not_waited_for_after_the_deadline(service: BatchService) -> None:
    async def requests() -> AsyncIterator[Any]:
        yield ask("a")
        await never()

    with ends_by(0.1) as caught, deadline(0.1):
        await texts(batches_of(service, None).run(requests()))
    assert str(caught.value) == "The deadline ran out before the batch was created: run it again."
    assert service.seen == []


async def test_a_batch_is_named_though_its_listener_hangs(service: BatchService) -> None:
    with ends_by(0.3) as caught, deadline(0.3):
        await texts(batches_of(service, None).run([ask("a")], on_batch=never))
    assert "Batch batch-1 goes on" in str(caught.value)


async def test_a_run_within_a_generous_deadline_is_as_ever(service: BatchService) -> None:
    with deadline(30):
        assert await texts(batches_of(service, None).run([ask("a"), ask("b")], poll_interval=0.01)) == ["A", "B"]
    assert answer("A")["id"] == "chatcmpl-A"
