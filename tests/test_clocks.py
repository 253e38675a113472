"""What `timeout=` may say, and when each read of a body must have ended."""

import asyncio
import copy
import pickle
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from moonshot_async import DEFAULT_TIMEOUT, Timeout
from moonshot_async.clocks import (
    CONTEXT_DEADLINE,
    NO_TIMEOUT,
    BodyClocks,
    deadline,
    pause,
    time_left,
    timeout_error,
    until,
)
from moonshot_async.errors import APITimeoutError, ConfigurationError
from moonshot_async.wire import Request
from tests.stalls import Stalls


class Now:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[Now]:
    clock = Now()
    monkeypatch.setattr("moonshot_async.clocks.time", SimpleNamespace(monotonic=clock))
    return clock  # type: ignore[return-value]


def request_with(deadline: float | None = None, **clocks: float | None) -> Request:
    return Request("POST", "https://x/v1", timeout=Timeout(**{**_OFF, **clocks}), deadline=deadline, attempt=3)


_OFF: dict[str, float | None] = dict.fromkeys(Timeout.__struct_fields__)


def test_the_defaults_let_a_legal_answer_come() -> None:
    assert Timeout() == DEFAULT_TIMEOUT
    assert DEFAULT_TIMEOUT.total == 7200
    assert (DEFAULT_TIMEOUT.read or 0) > 900
    assert (DEFAULT_TIMEOUT.first_token or 0) > 900
    assert DEFAULT_TIMEOUT.pool is None


def test_a_number_is_the_total() -> None:
    assert Timeout.of(5) == Timeout(total=5)
    assert Timeout.of(0.5) == Timeout(total=0.5)


def test_none_switches_every_clock_off() -> None:
    assert Timeout.of(None) is NO_TIMEOUT
    assert all(getattr(NO_TIMEOUT, name) is None for name in Timeout.__struct_fields__)


def test_a_timeout_is_taken_as_it_is() -> None:
    timeout = Timeout(total=None, idle=1)

    assert Timeout.of(timeout) is timeout


def test_the_timeout_of_httpx_is_taken_field_by_field() -> None:
    theirs = SimpleNamespace(connect=1.0, read=2.0, write=3.0, pool=None)

    assert Timeout.of(theirs) == Timeout(connect=1.0, read=2.0, write=3.0, pool=None)


@pytest.mark.parametrize("value", [0, -1, 10**400, 0.0, float("nan"), "5", True, False, [], 1j])
@pytest.mark.parametrize("name", Timeout.__struct_fields__)
def test_a_clock_that_cannot_run_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"timeout: {name} must be a positive number of seconds or None"):
        Timeout(**{name: value})


@pytest.mark.parametrize("value", [0, -5, 10**400, float("nan"), True])
def test_a_number_that_cannot_be_a_timeout_is_refused(value: float) -> None:
    with pytest.raises(ConfigurationError, match="timeout: total must be a positive number"):
        Timeout.of(value)


@pytest.mark.parametrize("value", ["5", object(), SimpleNamespace(connect=1)])
def test_what_is_no_timeout_is_refused(value: object) -> None:
    expected = rf"^timeout: expected seconds, None or Timeout\(...\), not {type(value).__name__}$"
    with pytest.raises(ConfigurationError, match=expected):
        Timeout.of(value)


def test_a_timeout_is_a_value() -> None:
    timeout = Timeout(total=1, idle=None)

    assert pickle.loads(pickle.dumps(timeout)) == copy.deepcopy(timeout) == timeout
    with pytest.raises(AttributeError):
        timeout.total = 2  # type: ignore[misc]  # that it is frozen is what this test shows


def test_the_nearest_of_the_clocks_ends_a_read(now: Now) -> None:
    clocks = BodyClocks(request_with(deadline=1100.0, read=50, first_token=30, idle=20), events=True)

    assert clocks.next_deadline() == 1030.0
    assert clocks.error().clock == "first_token"
    now.seconds = 1025.0
    clocks.event_seen()
    assert clocks.next_deadline() == 1045.0
    assert clocks.error().clock == "idle"
    now.seconds = 1085.0
    clocks.event_seen()
    assert clocks.next_deadline() == 1100.0
    assert clocks.error().clock == "total"


def test_silence_is_counted_from_each_read(now: Now) -> None:
    clocks = BodyClocks(request_with(read=50), events=False)

    assert clocks.next_deadline() == 1050.0
    now.seconds = 1040.0
    assert clocks.next_deadline() == 1090.0
    assert clocks.error().clock == "read"


def test_comments_do_not_feed_the_idle_clock(now: Now) -> None:
    clocks = BodyClocks(request_with(idle=20, first_token=30), events=True)
    clocks.event_seen()

    assert clocks.next_deadline() == 1020.0
    now.seconds = 1019.0
    assert clocks.next_deadline() == 1020.0


def test_a_body_that_is_no_stream_has_no_clock_for_events(now: Now) -> None:
    assert BodyClocks(request_with(first_token=30, idle=20), events=False).next_deadline() is None
    assert BodyClocks(request_with(first_token=30, idle=20), events=True).next_deadline() == 1030.0


def test_clocks_that_are_off_end_nothing(now: Now) -> None:
    clocks = BodyClocks(request_with(), events=True)
    assert clocks.next_deadline() is None

    clocks.event_seen()

    assert clocks.next_deadline() is None
    assert clocks.error().clock == "read"


def test_the_idle_clock_alone_starts_with_the_first_event(now: Now) -> None:
    clocks = BodyClocks(request_with(idle=20), events=True)
    assert clocks.next_deadline() is None

    clocks.event_seen()

    assert clocks.next_deadline() == 1020.0


def test_the_error_says_which_clock_ran_out_where_after_how_long_and_what_to_do(now: Now) -> None:
    request = request_with(read=0.5).replace(started=990.0)
    clocks = BodyClocks(request, events=False)
    clocks.next_deadline()
    now.seconds = 1000.5

    error = clocks.error()

    assert str(error) == (
        "Request timed out: the read timeout of 0.5 s ran out while the answer was arriving (attempt 3, 10.5 s after "
        "the call began). An answer that is streamed is silent for less long; else raise Timeout(read=…)."
    )
    assert (error.clock, error.elapsed, error.attempt) == ("read", 10.5, 3)
    assert error.request is not None
    assert error.request.url == "https://x/v1"


def test_an_error_without_a_beginning_does_not_say_how_long_it_took() -> None:
    error = timeout_error(request_with(), "total")

    assert str(error).startswith("Request timed out: the total timeout ran out (attempt 3). ")
    assert error.elapsed is None


@pytest.mark.parametrize("clock", [*Timeout.__struct_fields__, "deadline"])
def test_every_clock_comes_with_advice(clock: Any) -> None:
    assert timeout_error(request_with(), clock).message.endswith(".")
    assert "(attempt 3). " in timeout_error(request_with(), clock).message


def test_a_deadline_around_the_call_is_told_as_that(now: Now) -> None:
    with deadline(8):
        error = timeout_error(request_with(deadline=CONTEXT_DEADLINE.get()), "total", " before an answer came")

    assert error.clock == "deadline"
    assert error.message.startswith("Request timed out: the deadline of 8 s ran out before an answer came (attempt 3).")
    assert timeout_error(request_with(deadline=CONTEXT_DEADLINE.get()), "read").clock == "read"


# --- with deadline(…)


def test_the_earlier_of_two_deadlines_counts_and_the_outer_one_comes_back(now: Now) -> None:
    assert (CONTEXT_DEADLINE.get(), time_left()) == (None, float("inf"))
    with deadline(8):
        with deadline(20):
            assert (CONTEXT_DEADLINE.get(), time_left()) == (1008.0, 8.0)
            now.seconds = 1003.0
            with deadline(1):
                assert (CONTEXT_DEADLINE.get(), time_left()) == (1004.0, 1.0)
        assert (CONTEXT_DEADLINE.get(), time_left()) == (1008.0, 5.0)
        now.seconds = 1010.0
        assert time_left() == -2.0
    assert CONTEXT_DEADLINE.get() is None


def test_a_deadline_is_left_by_an_exception_too() -> None:
    with pytest.raises(KeyError), deadline(8):
        raise KeyError
    assert CONTEXT_DEADLINE.get() is None


@pytest.mark.parametrize("seconds", [0, -1, 10**400, float("nan"), True, None, "8", Timeout()])
def test_a_deadline_of_no_time_is_refused(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline: expected a positive number of seconds, not "):
        deadline(seconds)


async def test_a_deadline_that_is_used_wrongly_says_so() -> None:
    with pytest.raises(TypeError, match="entered with `with`, not `async with`"):
        async with deadline(8):  # type: ignore[attr-defined]  # as it is meant
            pass
    twice = deadline(8)
    with twice, pytest.raises(RuntimeError, match="entered once"), twice:
        pass
    with pytest.raises(TypeError, match="not callable"):
        deadline(8)(lambda: None)  # type: ignore[operator]  # a decorator would bound nothing
    assert CONTEXT_DEADLINE.get() is None


def test_a_deadline_that_is_left_in_another_context_is_left_in_silence() -> None:
    # As the generators of fixtures are.
    around = deadline(8)
    copy_context().run(around.__enter__)
    around.__exit__(None, None, None)
    assert CONTEXT_DEADLINE.get() is None


async def test_tasks_inherit_the_deadline_and_others_do_not_have_it(now: Now) -> None:
    async def seen() -> float | None:
        return CONTEXT_DEADLINE.get()

    before = asyncio.create_task(seen())
    with deadline(8):
        inside = asyncio.create_task(seen())
    assert [await before, await inside] == [None, 1008.0]


def test_a_body_is_read_under_the_deadline_of_the_reader_too(now: Now) -> None:
    clocks = BodyClocks(request_with(deadline=1100.0, read=50), events=False)
    with deadline(20):
        assert clocks.next_deadline() == 1020.0
        assert clocks.error().clock == "deadline"
        now.seconds = 1020.0
        with pytest.raises(TimeoutError):
            clocks.next_deadline()
        assert "deadline of 20 s" in clocks.error().message
    with deadline(200):
        assert clocks.next_deadline() == 1070.0
        now.seconds = 1100.0
        with pytest.raises(TimeoutError):
            clocks.next_deadline()
        assert clocks.error().clock == "total"


async def test_a_wait_ends_at_the_deadline_of_the_context(now: Now) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    assert not await pause(60.0, sleep)
    with deadline(8):
        assert not await pause(7.0, sleep)
        assert await pause(60.0, sleep)
        now.seconds = 1010.0
        assert await pause(60.0, sleep)
    assert slept == [60.0, 7.0, 8.0, 0.0]


async def test_what_knows_no_deadline_is_stopped_at_one(stalls: Stalls) -> None:
    async def answer() -> int:
        return 42

    def late() -> APITimeoutError:
        return APITimeoutError(message="late")

    assert await until(None, answer(), late) == 42
    assert await until(time.monotonic() + 5, answer(), late) == 42
    for grace in (0.0, 0.05):
        started = time.monotonic()
        with pytest.raises(APITimeoutError, match="late"):
            await until(started + 0.02, asyncio.sleep(30), late, grace=grace)
        assert -0.01 < stalls.late(started + 0.02 + grace) < 0.28
    with pytest.raises(TimeoutError, match="its own"):
        await until(time.monotonic() + 5, failing(), late)


async def failing() -> None:
    raise TimeoutError("its own")


def test_a_deadline_without_end_bounds_nothing(now: Now) -> None:
    with deadline(float("inf")):
        assert time_left() == float("inf")
        assert BodyClocks(request_with(deadline=CONTEXT_DEADLINE.get(), read=50), events=False).next_deadline() == 1050


async def test_a_deadline_is_not_entered_in_a_generator_which_would_leave_it_to_its_consumer() -> None:
    def plain() -> Iterator[int]:
        with deadline(8):
            yield 1

    async def waiting() -> AsyncIterator[int]:
        with deadline(8):
            yield 1

    with pytest.raises(ConfigurationError, match=r"not inside a generator.*timeout=\.\.\."):
        next(plain())
    with pytest.raises(ConfigurationError, match="not inside a generator"):
        await anext(waiting())
    with pytest.raises(ConfigurationError, match="not inside a generator"), contextmanager(plain)():
        pass
    assert CONTEXT_DEADLINE.get() is None
    with ExitStack() as stack:
        stack.enter_context(deadline(8))
        assert CONTEXT_DEADLINE.get() is not None
