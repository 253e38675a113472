"""`batches.run` and `batches.results`: from requests to results."""

import asyncio
import json
import logging
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import (
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    Request,
    Response,
    StreamInterruptedError,
)
from moonshot_async.errors import BatchFailedError, InternalServerError, ResponseTooLargeError
from moonshot_async.resources import batch_files, batch_spool, batch_wait
from moonshot_async.resources.batch_results import BatchResult
from moonshot_async.resources.batch_run import BatchRun
from moonshot_async.resources.batch_spool import Spool
from moonshot_async.resources.batches import Batches
from moonshot_async.types.batches import Batch
from tests.resources.batch_service import (
    KEY,
    BatchService,
    Waits,
    answer,
    ask,
    batches_of,
    output_line,
    reply,
)

pytestmark = pytest.mark.usefixtures("no_files_left")


@pytest.fixture
def service() -> BatchService:
    return BatchService()


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def batches(service: BatchService, waits: Waits) -> Batches:
    return batches_of(service, waits)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
async def no_files_left() -> AsyncIterator[None]:
    """Fail if the test leaves a file open."""
    before = open_files()
    yield
    for _ in range(100):
        if open_files() <= before:
            break
        await asyncio.sleep(0.01)
    assert open_files() <= before


def text_of(result: BatchResult) -> str | None:
    return None if result.completion is None else result.completion.choices[0].message.content


async def outcome(run: BatchRun) -> dict[str, str]:
    """What became of each request: the answer, or the code or status of the error."""
    found = {}
    async for result in run:
        assert result.custom_id not in found
        code = getattr(result.error, "code", None) or result.status_code
        found[result.custom_id] = text_of(result) or f"error {code}"
    return found


def broken(content: bytes, at: int) -> Response:
    """A body that breaks off."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content[:at]
        raise ConnectionResetError("reset by peer")

    return Response(200, body=pieces())


async def test_every_request_gets_its_result_in_the_order_of_the_requests(
    batches: Batches, service: BatchService, waits: Waits
) -> None:
    run = batches.run([("a", ask("one")), ("b", ask("bad two")), ask("three")], completion_window="3d")
    assert (run.batch, run.batch_id, repr(run)) == (None, None, "BatchRun(no batch yet, not begun)")
    results = [result async for result in run]
    assert [result.custom_id for result in results] == ["a", "b", "request-3"]
    assert [text_of(result) for result in results] == ["ONE", None, "THREE"]
    assert type(results[1].error) is BadRequestError
    assert KEY not in str(results[1].error)
    assert [result.request for result in results] == [ask("one"), ask("bad two"), ask("three")]
    assert service.seen == [
        "POST /files",
        "POST /batches",
        "GET /batches/batch-1",
        "GET /batches/batch-1",
        "GET /batches/batch-1",
        "GET /files/output_file_id-batch-1/content",
        "GET /files/error_file_id-batch-1/content",
    ]
    assert (run.usage.prompt_tokens, run.usage.total_tokens, run.usage.cached_tokens) == (4, 10, 2)
    assert (run.batch_id, repr(run)) == ("batch-1", "BatchRun(batch-1, completed)")
    assert service.batches["batch-1"]["completion_window"] == "3d"
    assert "metadata" not in service.batches["batch-1"]


async def test_the_file_that_is_uploaded_is_as_the_api_wants_it(batches: Batches, service: BatchService) -> None:
    await outcome(batches.run([("a", {"messages": [{"role": "user", "content": "é\n"}]})], model="kimi-k2.6"))
    assert service.names["file-1"].endswith(".jsonl")
    assert service.files["file-1"].endswith(b"}\n")
    assert json.loads(service.files["file-1"]) == {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": ask("é\n"),
    }


async def test_requests_are_read_one_by_one_from_any_iterable(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_files, "_LINES", 2)
    ahead: list[int] = []

    async def later() -> AsyncIterator[dict[str, Any]]:
        for number in range(5):
            ahead.append(number)
            yield ask(f"text {number}")

    run = batches.run(later())
    assert ahead == []
    assert await outcome(run) == {f"request-{number + 1}": f"TEXT {number}" for number in range(5)}
    lines = (json.dumps({"custom_id": name, "body": ask(name)}) + "\n" for name in "ab")
    assert await outcome(batches.run(lines)) == {"a": "A", "b": "B"}


@pytest.mark.parametrize("awaited", [True, False])
async def test_the_id_is_told_before_anything_is_waited_for(
    awaited: bool, batches: Batches, service: BatchService, waits: Waits
) -> None:
    told: list[tuple[str, int]] = []

    def note(batch: Batch) -> None:
        told.append((batch.id, len(waits.seconds)))

    async def note_later(batch: Batch) -> None:
        await asyncio.sleep(0)
        note(batch)

    await outcome(batches.run([ask("a")], on_batch=note_later if awaited else note, metadata={"job": "x"}))
    assert told == [("batch-1", 0)]
    assert service.batches["batch-1"]["metadata"] == {"job": "x"}


async def test_when_the_id_cannot_be_stored_the_error_names_it(batches: Batches) -> None:
    def full(batch: Batch) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full") as caught:
        await outcome(batches.run([ask("a")], on_batch=full))
    assert "Batch batch-1 was created before" in caught.value.__notes__[0]


async def test_polling_slows_down(batches: Batches, service: BatchService, waits: Waits) -> None:
    service.states = ["in_progress"] * 12 + ["completed"]
    await outcome(batches.run([ask("a")]))
    assert len(waits.seconds) == 13
    assert 1.8 <= waits.seconds[0] <= 2.2
    assert 2.7 <= waits.seconds[1] <= 3.3
    assert 54 <= waits.seconds[-1] <= 66
    waits.seconds.clear()
    service.states = ["in_progress"] * 2 + ["completed"]
    await outcome(batches.run([ask("a")], poll_interval=300))
    assert all(270 <= seconds <= 330 for seconds in waits.seconds)


async def test_passing_failures_of_polling_are_survived(batches: Batches, service: BatchService) -> None:
    service.fault("GET", "/batches/batch-1", *[lambda request: Response(503)] * 12)
    assert await outcome(batches.run([ask("a")])) == {"request-1": "A"}


async def test_polling_gives_up_after_many_failures_and_at_once_where_they_do_not_pass(
    batches: Batches, service: BatchService
) -> None:
    service.fault("GET", "/batches/batch-1", *[lambda request: Response(503)] * 15)
    with pytest.raises(Exception, match="503"):
        await outcome(batches.run([ask("a")]))
    assert len(service.seen) == 2 + 15
    service.fault("GET", "/batches/batch-2", lambda request: Response(401))
    with pytest.raises(AuthenticationError):
        await outcome(batches.run([ask("a")]))


async def test_failures_of_polling_count_in_a_row(service: BatchService, waits: Waits) -> None:
    service.states = ["in_progress"] * 3 + ["completed"]
    down = [lambda request: Response(503)] * 4
    polls = [*down, service.answer, *down, service.answer, *down]
    service.fault("GET", "/batches/batch-1", *polls)
    assert await outcome(batches_of(service, waits, max_retries=0).run([ask("a")])) == {"request-1": "A"}


async def test_a_refused_file_is_an_error_with_its_reasons(batches: Batches, service: BatchService) -> None:
    reasons = [{"line": 2, "message": "model is missing"}, {"message": "odd"}, *[{"message": "more"}] * 9]
    service.fault(
        "GET",
        "/batches/batch-1",
        lambda request: reply({"id": "batch-1", "status": "failed", "errors": {"data": reasons}}),
    )
    with pytest.raises(
        BatchFailedError, match=r"Batch batch-1 failed: line 2: model is missing; odd; .*1 more"
    ) as caught:
        await outcome(batches.run([ask("a")]))
    assert caught.value.batch.status == "failed"
    service.states = ["failed"]
    with pytest.raises(BatchFailedError, match="the service does not say why"):
        await batches.run([ask("a")]).wait()


@pytest.mark.parametrize("state", ["expired", "cancelled", "completed"])
async def test_a_request_without_a_result_is_told(state: str, batches: Batches, service: BatchService) -> None:
    service.states = [state]
    code = {"completed": "batch_incomplete"}.get(state, f"batch_{state}")
    found = await outcome(batches.run([("a", ask("one")), ("b", ask("lost")), ("c", ask("bad"))]))
    assert found == {"a": "ONE", "b": f"error {code}", "c": "error 400"}


async def test_a_batch_that_answered_nothing_has_no_files(batches: Batches, service: BatchService) -> None:
    service.states = ["expired"]
    assert await outcome(batches.run([("a", ask("lost"))])) == {"a": "error batch_expired"}
    assert service.seen[-1] == "GET /batches/batch-1"


async def test_what_is_odd_in_the_output_is_told(
    batches: Batches, service: BatchService, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [output_line("x", answer("X")), b"nonsense", output_line("a", answer("first")), output_line("a", answer("2"))]
    service.fault("GET", "output_file_id-batch-1/content", lambda request: Response(200, body=b"\n".join(odd)))
    run = batches.run([("a", ask("one")), ("b", ask("two"))])
    with caplog.at_level(logging.WARNING, "moonshot_async"):
        assert await outcome(run) == {"a": "first", "b": "error batch_incomplete", "x": "X"}
    assert (run.unknown, run.duplicates, run.unreadable) == (1, 1, 1)
    assert "batch batch-1: odd result lines: 1 of unknown ids, 1 duplicates, 1 unreadable" in caplog.text


async def test_files_with_fewer_lines_than_there_are_results_are_fetched_again(
    batches: Batches, service: BatchService
) -> None:
    half = output_line("a", answer("half")) + b"\n"
    service.fault("GET", "output_file_id-batch-1/content", lambda request: Response(200, body=half))
    run = batches.run([("a", ask("one")), ("b", ask("two"))])
    assert await outcome(run) == {"a": "ONE", "b": "TWO"}
    assert run.duplicates == 0


async def test_a_download_that_breaks_off_is_begun_again(batches: Batches, service: BatchService, waits: Waits) -> None:
    content = output_line("a", answer("ONE")) + b"\n" + output_line("b", answer("TWO")) + b"\n"
    service.fault(
        "GET",
        "output_file_id-batch-1/content",
        lambda request: broken(content, 20),
        lambda request: Response(200, {"Content-Length": str(len(content))}, content[:-20]),
        lambda request: Response(200, body=content[:-20]),
    )
    run = batches.run([("a", ask("one")), ("b", ask("two"))])
    assert await outcome(run) == {"a": "ONE", "b": "TWO"}
    assert (run.duplicates, waits.seconds[-3:]) == (0, [1.0, 2.0, 4.0])


async def test_a_download_that_always_breaks_off_is_an_error_in_the_end(
    batches: Batches, service: BatchService
) -> None:
    content = output_line("a", answer("ONE"))
    service.fault("GET", "output_file_id-batch-1/content", *[lambda request: broken(content, 20)] * 4)
    with pytest.raises(StreamInterruptedError) as caught:
        await outcome(batches.run([("a", ask("one"))]))
    assert caught.value.request is not None
    assert caught.value.request.url.endswith("/content")
    assert KEY not in repr(caught.value.request.headers)


@pytest.mark.parametrize("clock", ["read", "total"])
async def test_a_download_that_stalls_is_begun_again_unless_the_call_has_no_time_left(
    clock: str, batches: Batches, service: BatchService
) -> None:
    from moonshot_async import Timeout

    async def never(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        return Response(200, body=pieces())

    service.fault("GET", "output_file_id-batch-1/content", never)
    timeout = Timeout(read=0.02) if clock == "read" else Timeout(total=0.2)
    run = batches.run([("a", ask("one"))], timeout=timeout)
    if clock == "read":
        assert await outcome(run) == {"a": "ONE"}
    else:
        with pytest.raises(APITimeoutError, match="total"):
            await outcome(run)


async def test_large_files_arrive_in_pieces(
    batches: Batches, service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_files, "_PIECE_BYTES", 10)

    async def dripping(request: Request) -> Response:
        content = (await service.answer(request)).body

        async def pieces() -> AsyncIterator[bytes]:
            whole = await content.read()
            for start in range(0, len(whole), 7):
                yield whole[start : start + 7]

        return Response(200, body=pieces())

    service.fault("GET", "output_file_id-batch-1/content", dripping)
    assert await outcome(batches.run([("a", ask("one")), ("b", ask("two"))])) == {"a": "ONE", "b": "TWO"}


async def test_a_file_may_be_empty_or_end_with_a_piece(
    batches: Batches, service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_files, "_PIECE_BYTES", 1)
    service.fault("GET", "output_file_id-batch-1/content", *[lambda request: Response(200, body=b"")] * 2)
    assert await outcome(batches.run([("a", ask("one"))])) == {"a": "error batch_incomplete"}


class Body:
    """A body that knows whether it was closed."""

    closed = False

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, deadline: float | None = None) -> bytes:
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("content", [output_line("a", answer("ONE")), b"x" * 1000])
async def test_a_download_is_closed_however_it_ends(
    content: bytes, batches: Batches, service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_spool, "MAX_LINE_BYTES", 900)
    body = Body(content)
    service.fault("GET", "output_file_id-batch-1/content", lambda request: Response(200, body=body))
    with suppress(ResponseTooLargeError):
        await outcome(batches.run([("a", ask("one"))]))
    assert body.closed
    assert service.requests[-1].headers["accept"] == "*/*"


async def test_a_line_that_is_too_long_is_an_error_at_once(
    batches: Batches, service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_spool, "MAX_LINE_BYTES", 100)
    with pytest.raises(ResponseTooLargeError):
        await outcome(batches.run([("a", ask("one"))]))
    assert len([seen for seen in service.seen if seen.endswith("/content")]) == 1


# Going on after a restart.


@pytest.fixture
def made(batches: Batches, service: BatchService) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The requests of `batch-1`, which exists already."""
    requests = [("a", ask("one")), ("b", ask("bad two")), ("c", ask("three"))]
    lines = [
        {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body} for name, body in requests
    ]
    service.files["file-1"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    service.create({"input_file_id": "file-1"})
    yield requests
    assert not [seen for seen in service.seen if seen.startswith("POST /batches ") or seen == "POST /files"]
    assert len(service.batches) == 1


async def test_with_its_id_a_batch_goes_on_and_nothing_is_created(
    batches: Batches, service: BatchService, made: list[Any]
) -> None:
    run = batches.run(made, batch_id="batch-1")
    results = [result async for result in run]
    assert [(result.custom_id, result.request) for result in results] == made
    assert service.seen[0] == "GET /batches/batch-1"


@pytest.mark.parametrize("results", [True, False])
async def test_requests_can_be_read_back_from_the_service(
    results: bool, batches: Batches, service: BatchService, made: list[Any]
) -> None:
    run = batches.results("batch-1") if results else batches.run(None, batch_id="batch-1")
    found = [(result.custom_id, result.request) async for result in run]
    assert found == made
    assert "GET /files/file-1/content" in service.seen


async def test_results_can_be_had_without_their_requests(
    batches: Batches, service: BatchService, made: list[Any]
) -> None:
    del service.files["file-1"]
    service.files["out"] = output_line("c", answer("THREE")) + b"\n" + output_line("a", answer("ONE")) + b"\n"
    service.batches["batch-1"] |= {"status": "completed", "output_file_id": "out"}
    with pytest.raises(NotFoundError, match="no such file"):
        await outcome(batches.results("batch-1"))
    run = batches.results("batch-1", join=False)
    found = [(result.custom_id, result.request) async for result in run]
    assert found == [("c", None), ("a", None)]
    assert run.unknown == 0


async def test_what_was_handled_is_not_handed_out_again(batches: Batches, made: list[Any]) -> None:
    assert await outcome(batches.run(made, batch_id="batch-1", skip={"a"})) == {"b": "error 400", "c": "THREE"}
    assert await outcome(batches.results("batch-1", skip=iter(["a", "c", "other"]))) == {"b": "error 400"}
    assert await outcome(batches.run(made, batch_id="batch-1", skip=["a", "b", "c"])) == {}


async def test_what_was_handled_is_not_asked_again_either(batches: Batches, service: BatchService) -> None:
    assert await outcome(batches.run([("a", ask("one")), ("b", ask("two"))], skip=["a"])) == {"b": "TWO"}
    assert service.files["file-1"].count(b"\n") == 1
    run = batches.run([("a", ask("one"))], skip=["a"])
    assert (await outcome(run), run.batch_id) == ({}, None)
    with pytest.raises(ConfigurationError, match="all requests are in skip"):
        await batches.run([("a", ask("one"))], skip=["a"]).submit()
    assert len(service.batches) == 1


async def test_a_run_with_resume_finds_its_batch_by_the_requests(batches: Batches, service: BatchService) -> None:
    requests = [("a", ask("one")), ("b", ask("two"))]
    told: list[str] = []
    first = batches.run(requests, resume=True, metadata={"job": "x"}, on_batch=lambda batch: told.append(batch.id))
    await first.submit()
    await first.aclose()
    for number in range(3):
        service.create({"input_file_id": f"other-{number}", "metadata": {"moonshot_async_requests": "other"}})
    found = await outcome(batches.run(requests, resume=True, skip=["b"], on_batch=lambda batch: told.append(batch.id)))
    assert (found, told) == ({"a": "ONE"}, ["batch-1", "batch-1"])
    assert set(service.batches["batch-1"]["metadata"]) == {"job", "moonshot_async_requests"}
    assert service.seen.count("POST /batches") == 1


@pytest.mark.parametrize("state", ["failed", "cancelling", "cancelled"])
async def test_a_batch_that_leads_nowhere_is_not_resumed(state: str, batches: Batches, service: BatchService) -> None:
    await batches.run([ask("one")], resume=True).submit()
    service.batches["batch-1"]["status"] = state
    run = batches.run([ask("one")], resume=True)
    assert (await run.submit()).id == "batch-2"
    await run.aclose()


# A batch is created once.


def lost(service: BatchService, *, made: bool) -> Any:
    """An answer that does not arrive."""

    async def play(request: Request) -> Response:
        if made:
            await service.answer(request)
        raise ConnectionResetError("reset by peer")

    return play


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_a_batch_whose_creation_was_not_answered_is_found(
    max_retries: int, service: BatchService, waits: Waits
) -> None:
    service.fault("POST", "/batches", lost(service, made=True))
    assert await outcome(batches_of(service, waits, max_retries=max_retries).run([ask("a")])) == {"request-1": "A"}
    assert service.seen[:3] == ["POST /files", "POST /batches", "GET /batches"]
    assert len(service.batches) == 1
    assert waits.seconds[0] == 2.0


@pytest.mark.parametrize("status", [None, 408, 503])
async def test_a_batch_that_does_not_exist_is_created_after_it_was_looked_for(
    status: int | None, batches: Batches, service: BatchService
) -> None:
    service.fault("POST", "/batches", lost(service, made=False) if status is None else lambda request: Response(status))
    assert await outcome(batches.run([ask("a")])) == {"request-1": "A"}
    assert service.seen[1:4] == ["POST /batches", "GET /batches", "POST /batches"]
    assert len(service.batches) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(None, "APIConnectionError"), (503, "InternalServerError"), (408, "APIStatusError")],
)
async def test_after_three_times_the_failure_is_raised_and_says_what_to_do(
    status: int | None, kind: str, batches: Batches, service: BatchService
) -> None:
    play = lost(service, made=False) if status is None else lambda request: Response(status)
    service.fault("POST", "/batches", *[play] * 3)
    with pytest.raises(APIError) as caught:
        await outcome(batches.run([ask("a")]))
    assert type(caught.value).__name__ == kind
    assert "look for input_file_id 'file-1' in batches.list()" in caught.value.__notes__[0]
    assert [attempt.number for attempt in caught.value.attempts] == [1]
    assert (service.seen.count("POST /batches"), service.seen.count("GET /batches")) == (3, 3)
    assert KEY not in repr(caught.value)


async def test_a_failure_is_raised_with_what_the_service_said(service: BatchService, waits: Waits) -> None:
    service.fault("POST", "/batches", *[lambda request: reply({"error": {"message": "down"}}, 503)] * 3)
    with pytest.raises(InternalServerError, match="down"):
        await outcome(batches_of(service, waits, max_retries=2).run([ask("a")]))
    assert service.seen.count("POST /batches") == 3


async def test_a_creation_that_was_put_off_is_asked_for_again_at_once(batches: Batches, service: BatchService) -> None:
    service.fault("POST", "/batches", lambda request: reply({"error": {"message": "max RPM: 3"}}, 429))
    assert await outcome(batches.run([ask("a")])) == {"request-1": "A"}
    assert service.seen[:3] == ["POST /files", "POST /batches", "POST /batches"]


async def test_when_it_cannot_be_looked_for_nothing_is_created_again(batches: Batches, service: BatchService) -> None:
    service.fault("POST", "/batches", lost(service, made=True))
    service.fault("GET", "/batches", lambda request: Response(403))
    with pytest.raises(Exception, match="403") as caught:
        await outcome(batches.run([ask("a")]))
    assert "may exist all the same" in caught.value.__notes__[0]
    assert len(service.batches) == 1


async def test_a_refusal_is_raised_at_once(batches: Batches, service: BatchService) -> None:
    service.fault("POST", "/batches", lambda request: reply({"error": {"message": "bad window"}}, 400))
    with pytest.raises(BadRequestError, match="bad window"):
        await outcome(batches.run([ask("a")]))
    assert service.seen == ["POST /files", "POST /batches"]


# Leaving, closing, cancelling.


async def test_a_disk_that_cannot_be_written_is_an_error_that_says_what_to_do(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(ConfigurationError, match=r"No such file or directory.*TMPDIR"):
        await outcome(batches.run([("q", ask("hi"))]))


@pytest.mark.parametrize("problem", [sqlite3.OperationalError("database or disk is full"), KeyError("mine")])
async def test_a_disk_that_is_full_is_an_error_and_a_fault_of_the_program_stays_one(
    problem: Exception, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise problem

    monkeypatch.setattr(Spool, "feed", full)
    expected = (KeyError, "mine") if isinstance(problem, KeyError) else (ConfigurationError, "disk is full.*batch_id")
    with pytest.raises(expected[0], match=expected[1]):
        await outcome(batches.run([("q", ask("hi"))]))


async def test_a_loop_that_is_left_leaves_the_batch_running(
    batches: Batches, service: BatchService, no_leaks: None
) -> None:
    async for result in batches.run([("a", ask("one")), ("b", ask("two"))]):
        assert result.custom_id == "a"
        break
    assert not [seen for seen in service.seen if seen.endswith("/cancel")]


async def test_a_task_that_is_cancelled_leaves_nothing_behind(
    batches: Batches, service: BatchService, no_leaks: None
) -> None:
    reached = asyncio.Event()

    async def never(request: Request) -> Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    for method, path in (("POST", "/files"), ("POST", "/batches"), ("GET", "/batches/batch-."), ("GET", "/content")):
        service.fault(method, path, never)
        reached.clear()
        service.states = ["completed"]
        task = asyncio.ensure_future(outcome(batches.run([ask("a")])))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_run_that_is_closed_within_its_loop_does_not_look_whole(batches: Batches) -> None:
    run = batches.run([("a", ask("one")), ("b", ask("two"))])
    with pytest.raises(RuntimeError, match="closed before its end"):
        async for _ in run:
            await run.close()


async def test_a_run_is_iterated_once(batches: Batches) -> None:
    async with batches.run([("a", ask("one"))]) as run:
        assert await outcome(run) == {"a": "ONE"}
        with pytest.raises(RuntimeError, match="was iterated or closed"):
            await outcome(run)


async def test_a_run_that_is_dropped_keeps_no_file(batches: Batches) -> None:
    await batches.run([("a", ask("one"))]).submit()


async def test_a_batch_can_be_submitted_now_and_waited_for_later(
    batches: Batches, service: BatchService, waits: Waits
) -> None:
    async with batches.run([("a", ask("one"))]) as run:
        batch = await run.submit()
        assert (batch.id, waits.seconds) == ("batch-1", [])
        assert await run.submit() == batch
        assert (await run.wait()).status == "completed"
        assert await outcome(run) == {"a": "ONE"}
    assert service.seen.count("POST /batches") == 1


async def test_a_cancelled_batch_gives_what_it_has(batches: Batches, service: BatchService) -> None:
    async with batches.run([("a", ask("one")), ("b", ask("lost"))]) as run:
        assert await run.cancel() is None
        await run.submit()
        cancelled = await run.cancel()
        assert cancelled is not None
        assert cancelled.status == "cancelling"
        assert await outcome(run) == {"a": "ONE", "b": "error batch_cancelled"}
        assert await run.cancel() == run.batch
    assert service.seen.count("POST /batches/batch-1/cancel") == 1


async def test_a_batch_that_ended_meanwhile_is_not_cancelled_and_another_refusal_is_raised(
    batches: Batches, service: BatchService
) -> None:
    async with batches.run([("a", ask("one"))]) as run:
        await run.submit()
        service.fault("POST", "/cancel", lambda request: reply({"error": {"message": "not now"}}, 400))
        with pytest.raises(BadRequestError, match="not now"):
            await run.cancel()
        batch = service.batches["batch-1"]
        batch["status"] = "completed"
        service.finish(batch)
        ended = await run.cancel()
        assert ended is not None
        assert ended.status == "completed"
        assert await outcome(run) == {"a": "ONE"}


async def test_a_batch_is_cancelled_by_its_id_alone(batches: Batches, service: BatchService, made: list[Any]) -> None:
    cancelled = await batches.results("batch-1").cancel()
    assert cancelled is not None
    assert cancelled.status == "cancelling"


async def test_a_run_that_may_not_wait_any_longer_names_its_batch(service: BatchService) -> None:
    service.states = ["in_progress"] * 10_000
    patient = batches_of(service, None)
    with pytest.raises(TimeoutError, match=r"batch-1 .* 0\.05 s .* in_progress .* batch_id='batch-1'") as caught:
        await outcome(patient.run([ask("a")], max_wait=0.05, poll_interval=0.01))
    assert isinstance(caught.value, APITimeoutError)
    assert caught.value.retryable is False
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError, match="max_wait"):
            await outcome(patient.results("batch-1", max_wait=0.05, poll_interval=300))
    service.states = ["completed"]
    assert await outcome(patient.results("batch-1", max_wait=30, poll_interval=0.01)) == {"request-1": "A"}
    assert await outcome(patient.results("batch-1", max_wait=30, timeout=None)) == {"request-1": "A"}


async def test_a_poll_that_hangs_does_not_outlast_the_run(
    service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(batch_wait, "_LAST_POLL", 0.02)
    patient = batches_of(service, None)
    service.fault("GET", "/batches/batch-1", *[never] * 9)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError, match="max_wait"):
            await outcome(patient.run([ask("a")], max_wait=0.05, poll_interval=0.01))


@pytest.mark.parametrize("failing", [False, True])
async def test_the_uploaded_file_is_deleted_when_that_is_wanted(
    failing: bool, batches: Batches, service: BatchService, caplog: pytest.LogCaptureFixture
) -> None:
    if failing:
        service.fault("DELETE", "/files/file-1", lambda request: Response(404))
    with caplog.at_level(logging.WARNING, "moonshot_async"):
        assert await outcome(batches.run([("a", ask("one"))], cleanup=True)) == {"a": "ONE"}
    assert ("file-1" in service.files) is failing
    assert ("batch batch-1: its input file was not deleted: NotFoundError" in caplog.text) is failing


# What cannot work is refused before anything is sent.


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([], "requests is empty"),
        (["", "\n"], "requests is empty"),
        ([ask("a"), ("b", ask("x", temperature=1))], r"request 2 \(custom_id 'b'\): a batch takes no sampling"),
        ([("a", ask("x")), ("a", ask("y"))], "request 2: its custom_id 'a' is that of request 1, too"),
        ([ask("a", model="kimi-k3")], "did not take kimi-k3"),
    ],
)
async def test_requests_that_break_a_rule_are_refused(
    requests: Any, said: str, batches: Batches, service: BatchService
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await outcome(batches.run(requests))
    with pytest.raises(ConfigurationError, match=said):
        await batches.run(requests).submit()
    assert service.requests == []


async def test_a_file_that_would_be_too_large_is_refused_unless_rules_are_not_checked(
    batches: Batches, service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_files, "MAX_FILE_BYTES", 200)
    with pytest.raises(ConfigurationError, match=r"200 bytes at most.*request 2 \(custom_id 'request-2'\)"):
        await outcome(batches.run([ask("a"), ask("b" * 100)]))
    assert service.requests == []
    assert len(await outcome(batches.run([ask("a"), ask("b" * 100)], check=False))) == 2


async def test_what_is_no_list_of_requests_is_a_type_error(batches: Batches) -> None:
    wrong: Any
    for wrong in ("text", ask("a"), 5):
        with pytest.raises(TypeError, match="requests must be an iterable of requests"):
            batches.run(wrong)
    with pytest.raises(TypeError, match="needs requests, or the batch_id"):
        batches.run(None)
    with pytest.raises(TypeError, match="skip must be an iterable of ids"):
        batches.run([], skip="abc")
    wrong = [5]
    with pytest.raises(TypeError, match="skip must hold custom_ids, which are texts, not int"):
        await outcome(batches.run([ask("a")], skip=wrong))


@pytest.mark.parametrize("name", ["poll_interval", "max_wait"])
@pytest.mark.parametrize("value", [0, -1, True])
async def test_times_must_be_positive(name: str, value: Any, batches: Batches) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"{name} must be a positive number of seconds"):
        batches.run([], **options)
    with pytest.raises(ConfigurationError, match="batch_id must be a non-empty id"):
        batches.results("")
