"""What `timeout=` may say, and when each read of a body must have ended."""

import copy
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from moonshot_async import DEFAULT_TIMEOUT, Timeout
from moonshot_async.clocks import NO_TIMEOUT, BodyClocks, timeout_error
from moonshot_async.errors import ConfigurationError
from moonshot_async.wire import Request


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


@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), "5", True, False, [], 1j])
@pytest.mark.parametrize("name", Timeout.__struct_fields__)
def test_a_clock_that_cannot_run_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"timeout: {name} must be a positive number of seconds or None"):
        Timeout(**{name: value})


@pytest.mark.parametrize("value", [0, -5, float("nan"), True])
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


def test_the_error_says_which_clock_ran_out_where_and_on_which_attempt(now: Now) -> None:
    clocks = BodyClocks(request_with(read=0.5), events=False)
    clocks.next_deadline()

    error = clocks.error()

    assert str(error) == (
        "Request timed out: the read timeout of 0.5 s ran out while the answer was arriving (attempt 3)."
    )
    assert error.request is not None
    assert error.request.url == "https://x/v1"
    assert str(timeout_error(request_with(), "total")) == "Request timed out: the total timeout ran out (attempt 3)."
