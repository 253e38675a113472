"""What a batch needs on disk."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import ConfigurationError, StreamInterruptedError
from moonshot_async.errors import ResponseTooLargeError
from moonshot_async.resources import batch_spool
from moonshot_async.resources.batch_spool import Joined, Kind, Spool


@pytest.fixture
def spool() -> Iterator[Spool]:
    spool = Spool()
    yield spool
    spool.close()


def line(custom_id: str, **more: object) -> bytes:
    return json.dumps({"custom_id": custom_id, **more}).encode()


def fill(spool: Spool, *ids: str) -> None:
    spool.add([(number, custom_id, line(custom_id)) for number, custom_id in enumerate(ids, 1)])


def receive(spool: Spool, content: bytes, *, kind: Kind = "result", size: int = 7) -> int:
    spool.begin(kind)
    for start in range(0, len(content), size):
        spool.feed(content[start : start + size])
    return spool.finish()


def everything(spool: Spool) -> list[Joined]:
    found: list[Joined] = []
    while more := spool.joined(found[-1].number if found else 0):
        found += more
    return found


def pairs(spool: Spool) -> list[tuple[str, bytes | None, bytes | None]]:
    return [(row.custom_id, row.request, row.result) for row in everything(spool)]


def test_results_are_joined_in_the_order_of_the_requests(spool: Spool) -> None:
    fill(spool, "a", "b", "c")
    assert receive(spool, line("c", n=3) + b"\n\n" + line("a", n=1) + b"\n") == 2
    assert pairs(spool) == [
        ("a", line("a"), line("a", n=1)),
        ("b", line("b"), None),
        ("c", line("c"), line("c", n=3)),
    ]


def test_the_first_line_of_an_id_counts_and_unknown_ids_come_last(spool: Spool) -> None:
    fill(spool, "a")
    receive(spool, line("x", n=0) + b"\n" + line("a", n=1) + b"\n" + line("a", n=2) + b"\n")
    assert pairs(spool) == [("a", line("a"), line("a", n=1)), ("x", None, line("x", n=0))]
    assert (spool.duplicates, spool.unknown(), spool.unreadable) == (1, 1, 0)


def test_lines_that_cannot_be_read_are_counted(spool: Spool) -> None:
    fill(spool, "a")
    assert receive(spool, b'nonsense\n{"n": 1}\n{"custom_id": 5}\n[]\n' + line("a")) == 5
    assert spool.unreadable == 4
    assert pairs(spool) == [("a", line("a"), line("a"))]


def test_a_line_with_what_other_decoders_accept_is_read(spool: Spool) -> None:
    fill(spool, "a")
    odd = b'\xef\xbb\xbf{"custom_id": "a", "text": "\\ud800"}'
    receive(spool, odd + b"\n")
    assert (pairs(spool), spool.unreadable) == ([("a", line("a"), odd)], 0)


def test_a_file_that_ends_within_a_line_is_not_whole_and_leaves_nothing_behind(spool: Spool) -> None:
    fill(spool, "a", "b")
    with pytest.raises(StreamInterruptedError, match="ends within a line"):
        receive(spool, line("a") + b"\n" + line("b")[:-3])
    receive(spool, line("b") + b"\n" + line("a"))
    assert pairs(spool) == [("a", line("a"), line("a")), ("b", line("b"), line("b"))]
    assert spool.duplicates == 0


def test_what_did_not_arrive_to_its_end_takes_no_room(spool: Spool) -> None:
    with pytest.raises(StreamInterruptedError):
        receive(spool, line("a")[:-3], kind="request")
    receive(spool, line("b") + b"\n", kind="request")
    assert spool.input()[0].read() == line("b") + b"\n"


def test_a_file_without_an_end_of_line_is_followed_by_another(spool: Spool) -> None:
    fill(spool, "a", "b")
    receive(spool, line("a", n=1))
    receive(spool, line("b", n=2))
    assert [result for _, _, result in pairs(spool)] == [line("a", n=1), line("b", n=2)]


def test_results_can_be_forgotten(spool: Spool) -> None:
    fill(spool, "a")
    receive(spool, line("a", n=1) + b"\n" + line("x") + b"\nnonsense\n" + line("a") + b"\n")
    spool.forget_results()
    assert (pairs(spool), spool.duplicates, spool.unreadable) == ([("a", line("a"), None)], 0, 0)
    receive(spool, line("a", n=2))
    assert pairs(spool) == [("a", line("a"), line("a", n=2))]


def test_skipped_ids_are_neither_written_nor_handed_out_but_count_for_the_digest(spool: Spool) -> None:
    whole = Spool()
    fill(whole, "a", "b")
    spool.skip(iter(["a", "x", "a"]))
    fill(spool, "a", "b")
    file, digest = spool.input()
    assert (file.read(), spool.requests) == (line("b") + b"\n", 1)
    assert digest == whole.input()[1]
    receive(spool, line("a") + b"\n" + line("b") + b"\n" + line("x") + b"\n")
    assert pairs(spool) == [("b", line("b"), line("b"))]
    assert spool.unknown() == 0
    whole.close()


def test_an_id_that_is_given_twice_is_refused(spool: Spool) -> None:
    fill(spool, "a", "b")
    with pytest.raises(ConfigurationError, match="request 9: its custom_id 'b' is that of request 2, too"):
        spool.add([(9, "b", b"{}")])


def test_requests_can_be_read_from_a_file(spool: Spool) -> None:
    receive(spool, line("a", n=1) + b"\n" + line("b") + b"\n" + line("a", n=2) + b"\n", kind="request")
    receive(spool, line("b", n=3) + b"\n")
    assert pairs(spool) == [("a", line("a", n=1), None), ("b", line("b"), line("b", n=3))]
    assert spool.duplicates == 0


def test_a_line_longer_than_any_answer_is_refused(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_spool, "MAX_LINE_BYTES", 100)
    with pytest.raises(ResponseTooLargeError, match="100 bytes"):
        receive(spool, line("a", text="x" * 100))


def test_what_is_read_at_a_time_is_bounded(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_spool, "_BYTES", 100)
    fill(spool, "a", "b", "c")
    receive(spool, line("a", text="x" * 200) + b"\n" + line("b") + b"\n" + line("c") + b"\n")
    assert [len(spool.joined(after)) for after in (0, 1, 3)] == [1, 2, 0]


def test_it_may_be_closed_twice_and_by_being_dropped() -> None:
    spool = Spool()
    fill(spool, "a")
    spool.close()
    spool.close()
    fill(Spool(), "a")


@given(st.lists(st.text('ab\\"é\n', max_size=5), unique=True, max_size=8), st.integers(1, 40), st.booleans())
def test_lines_are_found_however_they_are_cut(ids: list[str], size: int, ended: bool) -> None:
    spool = Spool()
    fill(spool, *ids)
    content = b"\n".join(line(custom_id, n=1) for custom_id in reversed(ids)) + (b"\n" if ended else b"")
    assert receive(spool, content, size=size) == len(ids)
    assert pairs(spool) == [(custom_id, line(custom_id), line(custom_id, n=1)) for custom_id in ids]
    spool.close()
