"""Bulk runs as users see them: each request answered once, whatever becomes of the program."""

import asyncio
import gc
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moonshot_async import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BatchRequest,
    CircuitBreaker,
    ConfigurationError,
    InternalServerError,
    LengthFinishReasonError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    RateLimits,
    Retry,
    StreamInterruptedError,
)
from moonshot_async.bulk import BulkResult, Journal, Progress
from moonshot_async.errors import BudgetReachedError, JournalInUseError, LimitReachedError
from moonshot_async.wire import Response
from tests.bulk.bulk_world import MODEL, World, ask, asks, rows, taken

pytestmark = pytest.mark.usefixtures("no_leaks")


def numbers(results: list[BulkResult]) -> list[int]:
    return [int(result.request["messages"][-1]["content"].removeprefix("Item ")) for result in results]


# --- what comes in


async def test_every_request_is_answered_once_with_all_there_is_to_know(world: World, journal: Path) -> None:
    client = world.client()
    before = time.time()

    run = client.bulk(asks(40), model=MODEL, journal=journal)
    results = await taken(run)

    assert sorted(numbers(results)) == sorted(world.asked) == list(range(40))
    for result in results:
        alone = await client.chat.completions.create(model=MODEL, **ask(numbers([result])[0]))
        assert result.ok
        assert result.completion is not None
        assert result.text == alone.choices[0].message.content
        assert result.completion.choices == alone.choices
        assert result.cost == client.cost(result.completion)
        assert result.usage == alone.usage
        assert result.request_id == result.completion.request_id is not None
        assert result.request == {"model": MODEL, **ask(numbers([result])[0])}
        assert result.attempts == ()
        assert result.sent is not None
        assert result.head is not None
        assert before - 1 < result.began <= result.sent <= result.head <= result.ended < time.time() + 1
        assert not result.replayed
    assert len({result.id for result in results}) == 40
    assert sorted(result.position for result in results) == list(range(1, 41))
    progress = run.progress
    assert (progress.done, progress.failed, progress.in_flight, progress.waiting) == (40, 0, 0, 0)
    assert progress.cost == sum(result.cost or 0 for result in results)
    assert run.reason is None


async def test_requests_come_in_every_form(world: World, journal: Path, tmp_path: Path) -> None:
    line = b'{"custom_id": "d", "method": "POST", "url": "/v1/chat/completions", "body": %s}'
    body = msgspec.json.encode({"model": MODEL, **ask(4)})
    requests: list[Any] = [
        ask(1),
        {"custom_id": "a", **ask(2)},
        ("b", ask(3)),
        BatchRequest("c", ask(5)),
        line % body,
        msgspec.json.encode({"custom_id": "e", "model": MODEL, "unheard_of": 1, **ask(6)}).decode(),
        "\n",
    ]
    file = tmp_path / "more.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + msgspec.json.encode({"custom_id": "f", **ask(7)}) + b"\n\n")

    async def later() -> AsyncIterator[Any]:
        for request in requests:
            yield request

    client = world.client()
    results = await taken(client.bulk(requests, model=MODEL, journal=journal, ordered=True))
    again = await taken(client.bulk(later(), model=MODEL, journal=journal, ordered=True, replay=True))
    filed = await taken(client.bulk(file, model=MODEL, journal=journal))

    assert [result.id for result in results][1:] == ["a", "b", "c", "d", "e"]
    assert numbers(results) == [1, 2, 3, 5, 4, 6]
    assert results[-1].request["unheard_of"] == 1
    assert [(result.id, result.text, result.replayed) for result in again] == [
        (result.id, result.text, True) for result in results
    ]
    assert [result.id for result in filed] == ["f"]
    assert sorted(world.asked) == list(range(1, 8))


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({"messages": [], "modle": "x"}, "did you mean 'model'"),
        ({"messages": "Hi"}, "messages must be a list"),
        ({"messages": [], "stream": True}, "leave stream out"),
        ({"messages": [], "custom_id": ""}, "must be a text"),
        ({**ask(7), "custom_id": "\ud800"}, "no lone surrogates"),
        (("\ud800", ask(7)), "no lone surrogates"),
        ({"messages": [], "model": ""}, "names no model"),
        ({"messages": [], "response_format": Progress}, "response_format is a type"),
        ({"custom_id": "x", "body": 5}, "body must be an object"),
        ({"custom_id": "x", "url": "/v1/embeddings", "body": {}}, "url '/v1/chat/completions'"),
        (("x",), "a request is BatchRequest"),
        ("{", "no JSON object"),
        (b"[]", "no JSON object"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "lone surrogate"),
    ],
)
async def test_a_request_that_cannot_be_sent_ends_the_run_and_is_named(
    world: World, journal: Path, request_: Any, problem: str
) -> None:
    requests = [ask(1), request_, ask(2)]
    run = world.client().bulk(requests, model=MODEL, journal=journal)
    with pytest.raises(ConfigurationError, match="request 2") as caught:
        await taken(run)
    assert problem in str(caught.value)
    assert "same journal" in caught.value.__notes__[0]
    # What came before it is done.
    assert world.asked == [1]
    assert run.reason == "the requests could not be read"


async def test_what_a_source_raises_comes_from_the_loop_after_what_it_gave(world: World, journal: Path) -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield from asks(3)
        raise OSError("the crawler fell over")

    async def asynchronous() -> AsyncIterator[dict[str, Any]]:
        for request in source():
            yield request

    results: list[BulkResult] = []
    for requests in (source(), asynchronous()):
        with pytest.raises(OSError, match="fell over"):
            async for result in world.client().bulk(requests, model=MODEL, journal=journal):
                results.append(result)  # noqa: PERF401  # what came before the error counts
    assert sorted(numbers(results)) == [0, 1, 2]


async def test_requests_are_read_when_there_is_room_and_results_wait_to_be_taken(world: World, journal: Path) -> None:
    read = 0

    def source() -> Iterator[dict[str, Any]]:
        nonlocal read
        for read in range(1, 10_001):  # it is looked at outside
            yield ask(read)

    async with world.client().bulk(source(), model=MODEL, journal=journal, concurrency=4) as run:
        async for _ in run:
            await asyncio.sleep(0.2)
            break
        # Results that nobody takes hold the rest back.
        assert len(world.asked) <= 1024 + 4 + 64
        assert read <= len(world.asked) + 3 * 16


@pytest.mark.parametrize("options", [{}, {"ordered": True}])
async def test_a_consumer_that_is_slow_gets_everything(
    world: World, journal: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.run._BOUND", 8)
    results = []
    async for result in world.client().bulk(asks(100), model=MODEL, journal=journal, concurrency=16, **options):
        results.append(result)  # with a wait in between
        await asyncio.sleep(0)
    assert sorted(numbers(results)) == list(range(100))
    if options:
        assert numbers(results) == list(range(100))


async def test_in_order_a_slow_answer_holds_others_back(world: World, journal: Path) -> None:
    slow = asyncio.Event()

    async def before(number: int) -> None:
        if number == 3:
            await slow.wait()
        if number == 9:
            slow.set()

    world.before = before
    results = await taken(world.client().bulk(asks(10), model=MODEL, journal=journal, ordered=True))
    assert numbers(results) == list(range(10))


async def test_the_same_request_is_asked_once_and_an_id_tells_two_apart(world: World, journal: Path) -> None:
    turned = dict(reversed(ask(1).items()))
    requests = [ask(1), turned, ("again", ask(1)), ask(1)]
    run = world.client().bulk(requests, model=MODEL, journal=journal)
    results = await taken(run)
    assert world.asked == [1, 1]
    assert [result.id == "again" for result in sorted(results, key=lambda result: result.position)] == [False, True]
    assert run.progress.known == 2


async def test_an_id_that_two_requests_have_is_an_error(world: World, journal: Path) -> None:
    client = world.client()
    await taken(client.bulk([("a", ask(1))], model=MODEL, journal=journal))
    for requests in ([("a", ask(2))], [("b", ask(3)), ("b", ask(4))]):
        with pytest.raises(ConfigurationError, match="ids must be unique"):
            await taken(client.bulk(requests, model=MODEL, journal=journal))
    assert world.asked == [1]


# --- going on


async def test_a_second_start_asks_only_what_is_missing(world: World, journal: Path) -> None:
    client = world.client()
    first = await taken(client.bulk(asks(10), model=MODEL, journal=journal))
    run = client.bulk(asks(15), model=MODEL, journal=journal)
    second = await taken(run)
    assert len(first) == 10
    assert sorted(numbers(second)) == [10, 11, 12, 13, 14]
    assert len(world.asked) == 15
    assert (run.progress.done, run.progress.known) == (15, 10)


async def test_what_was_read_and_not_answered_is_asked_without_being_given_again(world: World, journal: Path) -> None:
    client = world.client()
    hold = asyncio.Event()

    async def before(number: int) -> None:
        if number >= 2:
            await hold.wait()

    world.before = before
    run = client.bulk(asks(6), model=MODEL, journal=journal, concurrency=3)
    async for _ in run:
        if run.progress.done == 2:
            break
    await run.aclose()
    world.before = None

    rest = await taken(client.bulk(None, model=MODEL, journal=journal))
    assert sorted(numbers(rest)) == [2, 3, 4, 5]
    with Journal(journal) as read:
        assert (read.totals.done, read.totals.open) == (6, 0)


async def test_in_order_what_was_left_comes_where_it_is_given(world: World, journal: Path) -> None:
    client = world.client()
    await taken(client.bulk([ask(2), ask(4)], model=MODEL, journal=journal))
    run = client.bulk([ask(8), ask(9)], model=MODEL, journal=journal)
    run.stop()
    assert await taken(run) == []
    rows_before = rows(journal, "SELECT count(*) FROM item")[0][0]

    results = await taken(client.bulk(asks(6), model=MODEL, journal=journal, ordered=True, replay=True))
    assert numbers(results)[:6] == list(range(6))
    assert len(results) == 6 + rows_before - 2


async def test_failures_are_kept_and_asked_again_when_that_is_wanted(world: World, journal: Path) -> None:
    client = world.client()
    world.fake.fail(400, message="no such thing", times=2)
    first = await taken(client.bulk(asks(4), model=MODEL, journal=journal))
    kept = await taken(client.bulk(asks(4), model=MODEL, journal=journal, replay=True))
    run = client.bulk(None, journal=journal, retry_failed=True)
    second = await taken(run)

    assert sorted(result.ok for result in first) == [False, False, True, True]
    for result in [*first, *kept]:
        if not result.ok:
            assert isinstance(result.error, BadRequestError)
            assert "no such thing" in str(result.error)
            assert result.error.status_code == 400
            assert result.attempts[0].error == "BadRequestError 400"
            assert result.completion is result.usage is result.cost is None
            assert result.text == ""
    assert len(kept) == 4
    assert {result.id for result in second} == {result.id for result in first if not result.ok}
    assert all(result.ok for result in second)
    assert (run.progress.done, run.progress.failed) == (4, 0)


# --- what an error means


@pytest.mark.usefixtures("quick")
async def test_what_passes_is_put_back_and_asked_again_in_the_same_run(world: World, journal: Path) -> None:
    world.fake.fail(503, times=3)
    world.fake.fail(429, type="engine_overloaded_error", retry_after=0.01, times=2)
    run = world.client().bulk(asks(8), model=MODEL, journal=journal, concurrency=2)
    results = await taken(run)
    assert sorted(numbers(results)) == list(range(8))
    assert all(result.ok for result in results)
    assert len(world.asked) == 13
    assert run.progress.put_back == 5
    failed = [attempt.error for result in results for attempt in result.attempts]
    assert sorted(failed) == ["EngineOverloadedError 429"] * 2 + ["InternalServerError 503"] * 3
    assert all(result.retry_wait > 0 for result in results if result.attempts)
    kept = rows(journal, "SELECT failures FROM outcome WHERE failures IS NOT NULL")
    assert len(kept) == len([result for result in results if result.attempts])


@pytest.mark.usefixtures("quick")
async def test_a_request_that_fails_while_others_are_answered_is_given_up(world: World, journal: Path) -> None:
    async def before(number: int) -> Response | None:
        return Response(500, {}, b"{}") if number == 1 else None

    world.before = before

    async def source() -> AsyncIterator[dict[str, Any]]:
        for number in range(60):
            yield ask(number)
            await asyncio.sleep(0.01)

    results = await taken(world.client().bulk(source(), model=MODEL, journal=journal))
    (bad,) = [result for result in results if not result.ok]
    assert isinstance(bad.error, InternalServerError)
    assert len(bad.attempts) == 6
    assert len(results) == 60


@pytest.mark.usefixtures("quick")
async def test_a_service_that_fails_on_and_on_stops_the_run_and_nothing_is_given_up(
    world: World, journal: Path
) -> None:
    world.fake.disconnect(times=None)
    run = world.client().bulk(asks(5), model=MODEL, journal=journal)
    with pytest.raises(APIConnectionError):
        await taken(run)
    assert run.reason == "the service fails"
    world.fake.reset()
    assert len(await taken(world.client().bulk(asks(5), model=MODEL, journal=journal))) == 5


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({"status": 429, "type": "exceeded_current_quota_error"}, QuotaExceededError),
        ({"status": 401}, AuthenticationError),
        ({"status": 404}, NotFoundError),
        ({"status": 429, "message": "TPD rate limit, current: 5, limit: 4"}, RateLimitError),
    ],
)
async def test_what_meets_every_request_stops_the_run_in_good_order(
    world: World, journal: Path, failure: dict[str, Any], error: type[Exception]
) -> None:
    world.fake.fail(**failure, times=None)
    run = world.client().bulk(asks(50), model=MODEL, journal=journal, concurrency=2)
    with pytest.raises(error) as caught:
        await taken(run)
    assert "Run it again with the same journal" in caught.value.__notes__[0]
    assert run.reason == error.__name__
    assert len(world.asked) <= 2
    world.fake.reset()
    assert len(await taken(world.client().bulk(asks(50), model=MODEL, journal=journal))) == 50


async def test_a_refusal_of_one_among_many_is_its_own(world: World, journal: Path) -> None:
    async def before(number: int) -> Response | None:
        return Response(404, {}, b'{"error": {"message": "not here"}}') if number == 5 else None

    world.before = before
    results = await taken(world.client().bulk(asks(10), model=MODEL, journal=journal, concurrency=1))
    assert [type(result.error) for result in results if result.error] == [NotFoundError]
    assert len(results) == 10


async def test_an_answer_that_broke_off_is_not_paid_for_twice_unasked(world: World, journal: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"id": '
        raise ConnectionResetError

    async def before(number: int) -> Response | None:
        return Response(200, {"Content-Type": "application/json"}, pieces()) if number == 1 else None

    world.before = before
    results = await taken(world.client().bulk(asks(3), model=MODEL, journal=journal))
    assert [type(result.error) for result in results if result.error] == [StreamInterruptedError]
    assert len(world.asked) == 3


async def test_what_waited_in_a_queue_of_ours_was_not_sent_and_is_tried_again(world: World, journal: Path) -> None:
    limits = RateLimits(rpm=2, minute=0.3)
    client = world.client(limits=limits)
    results = await taken(client.bulk(asks(8), model=MODEL, journal=journal, concurrency=8, timeout=0.4))
    assert [result.error for result in results] == [None] * 8
    assert len(world.asked) == 8
    assert max(result.limit_wait for result in results) > 0.1


async def test_an_open_breaker_is_waited_for(world: World, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.bulk.verdicts.FIRST_WAIT", 0.01)
    breaker = CircuitBreaker(failures=3, open_for=0.1)
    world.fake.fail(503, times=4)
    results = await taken(world.client(breaker=breaker).bulk(asks(8), model=MODEL, journal=journal, concurrency=2))
    assert all(result.ok for result in results)


async def test_a_request_that_no_minute_holds_fails_and_the_tokens_of_a_day_stop_the_run(
    world: World, journal: Path
) -> None:
    client = world.client(limits=RateLimits(tpm=1000))
    large = {**ask(1), "max_completion_tokens": 5000}
    results = await taken(client.bulk([large, ask(2)], model=MODEL, journal=journal))
    assert sorted(type(result.error).__name__ for result in results) == ["LimitReachedError", "NoneType"]

    client = world.client(limits=RateLimits(tpd=20))
    with pytest.raises(LimitReachedError):
        await taken(client.bulk(asks(10), model=MODEL, journal=journal, concurrency=1))


async def test_a_layer_that_fails_stops_the_run_with_its_error(world: World, journal: Path) -> None:
    async def layer(request: Any, call_next: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await taken(world.client(middleware=[layer]).bulk(asks(3), model=MODEL, journal=journal))


# --- stopping


@pytest.mark.parametrize("as_signal", [False, True])
async def test_the_first_stop_lets_what_is_in_flight_end_and_the_second_cuts_it(
    world: World, journal: Path, as_signal: bool
) -> None:
    hold, held = asyncio.Event(), asyncio.Event()

    async def before(number: int) -> None:
        if len(world.asked) >= 6:
            held.set()
            await hold.wait()

    world.before = before
    client = world.client()
    handler = signal.getsignal(signal.SIGINT)
    run = client.bulk(asks(50), model=MODEL, journal=journal, concurrency=3, handle_signals=as_signal)

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGINT) if as_signal else run.stop()

    taking = asyncio.create_task(taken(run))
    await held.wait()
    stop()
    await asyncio.sleep(0.05)
    assert not taking.done()
    asked = len(world.asked)
    hold.set()
    results = await taking
    assert len(world.asked) == asked == len(results)
    assert run.reason == "stopped"

    hold.clear()
    held.clear()
    world.asked.clear()
    run = client.bulk(asks(50), model=MODEL, journal=journal, concurrency=3, handle_signals=as_signal)
    taking = asyncio.create_task(taken(run))
    await held.wait()
    stop()
    await asyncio.sleep(0.05)
    stop()
    more = await taking
    assert len(more) < len(world.asked)
    if as_signal:
        assert signal.getsignal(signal.SIGINT) == handler

    hold.set()
    rest = await taken(client.bulk(asks(50), model=MODEL, journal=journal))
    assert sorted(numbers([*results, *more, *rest])) == list(range(50))


async def test_a_loop_that_is_left_and_a_task_that_is_cancelled_leave_a_journal_to_go_on_with(
    world: World, journal: Path
) -> None:
    client = world.client()
    seen: list[BulkResult] = []

    async def take() -> None:
        async for result in client.bulk(asks(30), model=MODEL, journal=journal, concurrency=2):
            seen.append(result)
            if len(seen) == 5:
                await asyncio.sleep(10)

    task = asyncio.create_task(take())
    while len(seen) < 5:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()

    async with client.bulk(asks(30), model=MODEL, journal=journal, concurrency=2) as run:
        async for _ in run:
            break
    rest = await taken(client.bulk(asks(30), model=MODEL, journal=journal))
    assert rest
    with Journal(journal) as read:
        assert sorted(numbers(list(read.results()))) == list(range(30))


async def test_a_run_that_was_closed_says_so(world: World, journal: Path) -> None:
    run = world.client().bulk(asks(3), model=MODEL, journal=journal)
    await run.aclose()
    await run.close()
    with pytest.raises(RuntimeError, match="same journal"):
        await taken(run)
    assert not journal.exists()


async def test_two_runs_on_one_journal_are_kept_apart(world: World, journal: Path) -> None:
    client = world.client()
    hold = asyncio.Event()

    async def before(number: int) -> None:
        await hold.wait()

    world.before = before
    async with client.bulk(asks(3), model=MODEL, journal=journal):
        with pytest.raises(JournalInUseError, match=f"process {os.getpid()} on ") as caught:
            await taken(client.bulk(asks(3), model=MODEL, journal=journal))
    assert (caught.value.pid, caught.value.path) == (os.getpid(), str(journal))
    hold.set()
    assert len(await taken(client.bulk(asks(3), model=MODEL, journal=journal, replay=True))) == 3


async def test_several_may_take_the_results_of_one_run(world: World, journal: Path) -> None:
    async def before(number: int) -> None:
        await asyncio.sleep(0.002 * (number % 3))

    world.before = before
    async with world.client().bulk(asks(60), model=MODEL, journal=journal, concurrency=2) as run:
        shares = await asyncio.gather(*(taken(run) for _ in range(3)))
    assert sorted(number for share in shares for number in numbers(share)) == list(range(60))


async def test_a_run_that_several_begin_fails_for_all_of_them_and_ends_when_one_closes_it(
    world: World, journal: Path
) -> None:
    journal.write_text("something else, and long enough to be looked at")
    run = world.client().bulk(asks(3), model=MODEL, journal=journal)
    first, second = await asyncio.gather(taken(run), taken(run), return_exceptions=True)
    assert isinstance(first, ConfigurationError)
    assert isinstance(second, RuntimeError)
    journal.unlink()

    run = world.client().bulk(asks(10_000), model=MODEL, journal=journal)
    waiting = asyncio.create_task(run.wait())
    while not journal.exists():
        await asyncio.sleep(0)
    await run.aclose()
    await waiting
    assert run.reason == "closed"
    assert rows(journal, "SELECT count(*) FROM lease") == [(0,)]


async def test_whoever_leaves_a_run_is_not_told_of_its_error_later(
    world: World, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world.fake.fail(401, times=None)
    async with world.client().bulk(asks(3), model=MODEL, journal=journal) as run:
        while run.reason is None:
            await asyncio.sleep(0.001)
    assert run.reason == "AuthenticationError"
    del run
    gc.collect()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_closing_the_client_stops_the_run(world: World, journal: Path) -> None:
    client = world.client()
    hold = asyncio.Event()

    async def before(number: int) -> None:
        await hold.wait()

    world.before = before
    taking = asyncio.create_task(taken(client.bulk(asks(3), model=MODEL, journal=journal)))
    while not world.asked:
        await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(APIConnectionError, match="closed"):
        await taking


# --- money


async def test_a_budget_of_tokens_stops_the_run_before_it_is_overrun(world: World, journal: Path) -> None:
    client = world.client()
    run = client.bulk(asks(200), model=MODEL, journal=journal, max_tokens=3000, concurrency=8)
    with pytest.raises(BudgetReachedError, match="within its budget") as caught:
        await taken(run)
    spent = run.progress.tokens
    assert 3000 - 500 < spent <= 3000
    assert (caught.value.budget, caught.value.spent, caught.value.allowed) == ("max_tokens", spent, 3000)

    # What earlier starts have spent counts.
    with pytest.raises(BudgetReachedError):
        await taken(client.bulk(asks(200), model=MODEL, journal=journal, max_tokens=3000))
    assert run.progress.tokens == spent
    assert len(await taken(client.bulk(asks(30), model=MODEL, journal=journal, max_tokens=10**6))) > 0


async def test_a_budget_of_money_stops_the_run_before_it_is_overrun(world: World, journal: Path) -> None:
    client = world.client()
    run = client.bulk(asks(200), model=MODEL, journal=journal, max_cost="0.05", concurrency=8)
    with pytest.raises(BudgetReachedError) as caught:
        await taken(run)
    assert Decimal("0.03") < run.progress.cost <= Decimal("0.05")
    assert caught.value.spent == run.progress.cost
    assert caught.value.allowed == Decimal("0.05")


async def test_what_may_be_billed_without_an_answer_counts_against_the_budget(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def before(number: int) -> Response | None:
        return Response(200, {"Content-Type": "application/json"}, b"{}")

    world.before = before
    run = world.client().bulk(asks(20), model=MODEL, journal=journal, max_tokens=1500, concurrency=1)
    with pytest.raises(BudgetReachedError):
        await taken(run)
    assert len(world.asked) == 3


async def test_a_price_that_nobody_knows_cannot_be_kept_to(world: World, journal: Path) -> None:
    async def before(number: int) -> Response | None:
        body = {"id": "c", "model": "mine", "choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 5}}
        return Response(200, {"Content-Type": "application/json"}, msgspec.json.encode(body))

    world.before = before
    client = world.client()
    with pytest.raises(ConfigurationError, match="price is known for the model 'mine'"):
        await taken(client.bulk(asks(2), model="mine", journal=journal, max_cost=1))
    results = await taken(client.bulk(asks(2), model="mine", journal=journal))
    assert [result.cost for result in results] == [None, None]
    with pytest.raises(ConfigurationError, match="2 answers whose price is not known"):
        await taken(client.bulk(asks(2), model=MODEL, journal=journal, max_cost=1))


# --- how many at once


async def test_the_limiter_says_how_many_calls_are_made_at_once(world: World, journal: Path) -> None:
    most = flying = 0

    async def before(number: int) -> None:
        nonlocal most, flying
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.005)
        flying -= 1

    world.before = before
    client = world.client(limits=RateLimits(concurrency=5))
    assert len(await taken(client.bulk(asks(60), model=MODEL, journal=journal))) == 60
    assert most == 5


async def test_without_anybody_to_say_it_they_become_more_while_all_goes_well(world: World, journal: Path) -> None:
    most = flying = 0

    async def before(number: int) -> None:
        nonlocal most, flying
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.01)
        flying -= 1

    world.before = before
    assert len(await taken(world.client().bulk(asks(150), model=MODEL, journal=journal))) == 150
    assert 16 <= most <= 64


async def test_a_number_of_calls_that_was_said_is_kept(world: World, journal: Path) -> None:
    most = flying = 0

    async def before(number: int) -> None:
        nonlocal most, flying
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.002)
        flying -= 1

    world.before = before
    await taken(world.client(middleware=[Retry(1)]).bulk(asks(40), model=MODEL, journal=journal, concurrency=3))
    assert most == 3


# --- telling


async def test_how_far_it_is_is_told_now_and_then_and_at_the_end(
    world: World, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.bulk.progress._TELL", 0.02)
    told: list[Progress] = []

    async def before(number: int) -> None:
        await asyncio.sleep(0.02)

    world.before = before
    run = world.client().bulk(list(asks(30)), model=MODEL, journal=journal, concurrency=4, on_progress=told.append)
    assert repr(run) == f"BulkRun({str(journal)!r}, 0 done, 0 failed)"
    progress = await run.wait()
    assert len(told) > 3
    assert told[-1].done == progress.done == progress.total == 30
    assert progress.left == 0
    assert progress.eta == 0
    assert any(0 < one.done < 30 and one.in_flight and one.eta for one in told)
    assert [one.done for one in told] == sorted(one.done for one in told)


async def test_a_callback_that_fails_stops_the_run_with_its_error(world: World, journal: Path) -> None:
    def told(progress: Progress) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await taken(world.client().bulk(asks(3), model=MODEL, journal=journal, on_progress=told))


async def test_a_file_says_how_many_requests_it_has(world: World, journal: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, asks(7))))
    run = world.client().bulk(file, model=MODEL, journal=journal)
    await taken(run)
    assert run.progress.total == 7


# --- typed answers


class City(msgspec.Struct):
    name: str
    people: int


async def test_answers_are_made_into_a_type(world: World, journal: Path) -> None:
    client = world.client()
    run = client.bulk(asks(3), model=MODEL, journal=journal, response_format=City)
    results = await taken(run)
    assert all(isinstance(result.parsed, City) for result in results)
    with Journal(journal, response_format=City) as read:
        again = list(read.results())
        assert sorted(result.parsed.name for result in again) == sorted(result.parsed.name for result in results)
        assert read.get(results[0].id).parsed == results[0].parsed  # type: ignore[union-attr]  # it is there
        assert read.get("nobody") is read.get("ab" * 16) is None


async def test_an_answer_that_does_not_fit_its_type_is_kept_as_failed_and_asked_again_when_wanted(
    world: World, journal: Path
) -> None:
    client = world.client()
    short = {**ask(1), "max_completion_tokens": 1}
    (result,) = await taken(client.bulk([short], model=MODEL, journal=journal, response_format=City))
    assert isinstance(result.error, LengthFinishReasonError)
    assert result.completion is not None
    assert result.cost
    with pytest.raises(LengthFinishReasonError):
        assert result.parsed
    (kept,) = await taken(client.bulk([short], model=MODEL, journal=journal, response_format=City, replay=True))
    assert isinstance(kept.error, LengthFinishReasonError)
    assert kept.error.completion == result.completion
    world.fake.reply('{"name": "Oslo", "people": 5}')
    run = client.bulk([short], model=MODEL, journal=journal, response_format=City, retry_failed=True)
    (good,) = await taken(run)
    assert good.parsed == City("Oslo", 5)
    # Both were paid for.
    assert run.progress.cost == (result.cost or 0) + (good.cost or 0)


# --- what is refused beforehand


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"requests": "in.jsonl"}, TypeError, r"pathlib.Path\(\.\.\.\)"),
        ({"requests": 5}, TypeError, "iterable of requests"),
        ({"requests": {"messages": []}}, TypeError, "iterable of requests"),
        ({"requests": Path("/nowhere/in.jsonl")}, ConfigurationError, "there is no file"),
        ({"journal": 5}, TypeError, "path of a file"),
        ({"journal": ""}, ConfigurationError, "path of a file, such as 'run.db', not ''"),
        ({"journal": ":memory:"}, ConfigurationError, "path of a file, .* not ':memory:'"),
        ({"journal": "/"}, ConfigurationError, "is a directory"),
        ({"journal": "/nowhere/run.db"}, ConfigurationError, "no directory"),
        ({"concurrency": 0}, ConfigurationError, "1 or more"),
        ({"concurrency": 2.5}, TypeError, "whole number"),
        ({"max_tokens": True}, TypeError, "whole number"),
        ({"max_cost": "much"}, ConfigurationError, "positive amount"),
        ({"max_cost": -1}, ConfigurationError, "positive amount"),
        ({"max_cost": True}, ConfigurationError, "positive amount"),
        ({"max_cost": float("inf")}, ConfigurationError, "positive amount"),
        ({"via": "mail"}, ConfigurationError, "'live' or 'batch'"),
        ({"on_progress": 5}, TypeError, "a function"),
        ({"temprature": 1}, TypeError, "did you mean 'temperature'"),
        ({"stream": True}, TypeError, "read whole"),
        ({"response_format": int}, TypeError, "must be an object"),
    ],
)
async def test_what_cannot_work_is_refused_before_anything_happens(
    world: World, journal: Path, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        world.client().bulk(**{"requests": asks(1), "model": MODEL, "journal": journal, **arguments})
    assert not journal.exists()


async def test_the_journal_is_for_its_owner_alone_and_holds_no_key(world: World, journal: Path) -> None:
    async def key() -> str:
        return "sk-canary-0a1b2c3d4e5f6a7b"

    async with world.client(api_key=key).bulk(
        asks(5), model=MODEL, journal=journal, extra_headers={"X-Api-Key": "sk-canary-0a1b2c3d4e5f6a7b"}
    ) as run:
        await run.wait()
        files = [path for path in journal.parent.iterdir() if path.name.startswith(journal.name)]
        assert files
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert b"sk-canary" not in file.read_bytes()
    assert b"sk-canary" not in journal.read_bytes()


async def test_a_deadline_around_counts_for_every_call(world: World, journal: Path) -> None:
    client = world.client()
    await taken(client.bulk(asks(2), model=MODEL, journal=journal))
    hold = asyncio.Event()

    async def before(number: int) -> None:
        await hold.wait()

    world.before = before
    results = await taken(client.bulk([ask(9)], model=MODEL, journal=journal, timeout=0.05))
    assert isinstance(results[0].error, APITimeoutError)
