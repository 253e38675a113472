"""The event stream decoder, rule by rule, against the standard written out naively, and against hostile streams.

See: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
See: https://github.com/web-platform-tests/wpt/tree/master/eventsource
"""

import random
import re
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moonshot_async.errors import ConfigurationError, ResponseTooLargeError
from moonshot_async.sse import ServerSentEvent, SSEDecoder, TypedData

BOM = b"\xef\xbb\xbf"


def decode(*reads: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return [event for read in reads for event in decoder.feed(read)]


def data_of(*reads: bytes) -> list[str]:
    return [event.data for event in decode(*reads)]


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def test_an_event_is_built_by_position_or_by_name_with_the_standard_defaults() -> None:
    assert ServerSentEvent() == ServerSentEvent(event="message", data="", id="", retry=None)
    assert ServerSentEvent("ping", "x", "7", 10) == ServerSentEvent(event="ping", data="x", id="7", retry=10)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ServerSentEvent().data = "x"  # type: ignore[misc]  # that it is frozen is what this test shows


def test_a_block_with_one_data_line_is_one_message() -> None:
    assert decode(b'data: {"a":1}\n\n') == [ServerSentEvent("message", '{"a":1}', "", None)]


def test_one_read_may_hold_many_events() -> None:
    assert data_of(b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n") == ["1", "2", "[DONE]"]


def test_several_data_lines_are_joined_with_newlines() -> None:
    assert data_of(b"data: a\ndata:b\ndata\ndata: d\n\n") == ["a\nb\n\nd"]


def test_an_empty_data_field_is_an_event_with_empty_data() -> None:
    assert data_of(b"data:\n\ndata\ndata\n\ndata:test\n\n") == ["", "\n", "test"]


def test_a_first_empty_data_line_still_counts_as_a_line() -> None:
    assert data_of(b"data\ndata: x\n\n", b"data: \ndata: x\n\n") == ["\nx", "\nx"]


def test_one_leading_space_of_a_value_is_removed_and_no_more() -> None:
    assert data_of(b"data:\ttest\rdata: \ndata:  test\n\n") == ["\ttest\n\n test"]


def test_a_value_is_split_at_the_first_colon() -> None:
    assert data_of(b"data::a: b:\n\n") == [":a: b:"]


def test_an_event_without_data_is_not_dispatched() -> None:
    assert decode(b"event: ping\n\nid: 1\n\nretry: 5\n\n\n\n:\n\n") == []


def test_an_unterminated_last_event_is_not_dispatched() -> None:
    decoder = SSEDecoder()
    assert [event.data for event in decoder.feed(b"retry:1000\ndata:test1\n\nid:test\ndata:test2")] == ["test1"]
    assert decoder.last_event_id == ""
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"\n") == [ServerSentEvent(data="test2", id="test")]


def test_field_names_are_compared_byte_for_byte() -> None:
    stream = (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n"
    )
    assert data_of(stream) == ["\0\n 2\n1\n3\n\n4"]


def test_unknown_fields_are_ignored() -> None:
    assert data_of(b"data:a\n data:b\ndata\nfoobar:c\njusttext\ndatum: d\ndata :e\n: f\ndata:g\n\n") == ["a\n\ng"]


def test_comments_are_ignored_however_long() -> None:
    long = b"x" * 2048
    stream = b"data:1\r:\0\n:\r\ndata:2\n:" + long + b"\rdata:3\n:data:fail\r:" + long + b"\ndata:4\n\n"
    assert data_of(stream) == ["1\n2\n3\n4"]


def test_the_event_field_names_the_type_of_its_event_only() -> None:
    assert decode(b"event:test\ndata:x\n\ndata:y\n\n") == [ServerSentEvent("test", "x"), ServerSentEvent(data="y")]


def test_an_empty_event_field_means_message() -> None:
    assert decode(b"event: \ndata:data\n\nevent: a\nevent\ndata\n\n") == [
        ServerSentEvent("message", "data"),
        ServerSentEvent("message", ""),
    ]


def test_the_last_of_several_event_fields_counts() -> None:
    assert [event.event for event in decode(b"event: a\ndata: x\nevent: b\n\n")] == ["b"]


def test_the_type_of_an_event_without_data_does_not_leak_into_the_next() -> None:
    assert decode(b"event: ping\n\ndata: x\n\n") == [ServerSentEvent("message", "x")]


def test_an_id_persists_until_it_changes_and_an_empty_one_resets_it() -> None:
    events = decode(b"id: 1\ndata\n\ndata\n\nid: 2\ndata\n\nid\ndata\n\ndata\n\n")
    assert [event.id for event in events] == ["1", "1", "2", "", ""]


def test_the_id_of_an_event_without_data_is_kept() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"id: 7\n\n") == []
    assert decoder.last_event_id == "7"
    assert decoder.feed(b"data: x\n\n") == [ServerSentEvent(data="x", id="7")]


def test_the_last_event_id_changes_only_at_the_end_of_the_event() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"


def test_an_id_that_contains_nul_is_ignored() -> None:
    assert [event.id for event in decode(b"id: 1\nid: 2\0\ndata\n\nid:\0\0\ndata\n\n")] == ["1", "1"]


def test_retry_belongs_to_its_event_and_stays_on_the_decoder() -> None:
    decoder = SSEDecoder()
    assert decoder.retry is None
    assert [event.retry for event in decoder.feed(b"retry:3000\ndata:x\n\ndata:y\n\n")] == [3000, None]
    assert decoder.retry == 3000


def test_retry_counts_at_once_and_without_data() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"retry: 10\n")
    assert decoder.retry == 10
    assert decoder.feed(b"\ndata: x\n\n") == [ServerSentEvent(data="x")]
    assert decoder.retry == 10


@pytest.mark.parametrize(
    "value", ["", " ", "1000x", "x", "-1", "+1", "1.5", "1_000", " 1", "1 ", "0x10", "\u0661", "\u00b2", "9" * 5000]
)
def test_retry_takes_nothing_but_a_number_of_ascii_digits(value: str) -> None:
    decoder = SSEDecoder()
    events = decoder.feed(f"retry: 3000\nretry: {value}\ndata: x\n\n".encode())
    assert events == [ServerSentEvent(data="x", retry=3000)]
    assert decoder.retry == 3000


@pytest.mark.parametrize(("value", "expected"), [("0", 0), ("007", 7), ("0" * 5000, 0), ("0" * 5000 + "12", 12)])
def test_retry_may_be_zero_or_padded_with_zeros(value: str, expected: int) -> None:
    assert decode(f"retry: {value}\ndata\n\n".encode())[0].retry == expected


def test_a_line_without_colon_is_a_field_with_an_empty_value() -> None:
    assert decode(b"id: 1\ndata\n\nid\nevent\nretry\ndata\n\n") == [ServerSentEvent(id="1"), ServerSentEvent()]


def test_lines_end_with_cr_lf_or_crlf() -> None:
    assert data_of(b"data:test\r\ndata\ndata:test\r\n\r") == ["test\n\ntest"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_each_line_end_works_alone_and_byte_by_byte(end: bytes) -> None:
    stream = end.join([b"data: 1", b"data: 2", b"", b"data: 3", b"", b""])
    assert data_of(stream) == data_of(*bytewise(stream)) == ["1\n2", "3"]


def test_cr_and_lf_in_different_reads_are_one_line_end() -> None:
    assert data_of(b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\n") == ["1\n2"]


def test_an_empty_read_between_cr_and_lf_changes_nothing() -> None:
    assert data_of(b"data: 1\r", b"", b"\ndata: 2\n\n") == ["1\n2"]


def test_only_one_lf_after_a_cr_is_swallowed() -> None:
    assert data_of(b"data: 1\r", b"\n\n") == ["1"]
    assert data_of(b"data: 1\r", b"data: 2\n", b"\n") == ["1\n2"]


def test_a_blank_line_that_ends_in_cr_dispatches_at_once() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: 1\r\n\r") == [ServerSentEvent(data="1")]
    assert not decoder.pending
    assert decoder.feed(b"\ndata: 2\r\r") == [ServerSentEvent(data="2")]
    assert decoder.feed(b"\n") == []
    assert not decoder.pending


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_other_separators_do_not_end_a_line(char: str) -> None:
    assert data_of(f"data: a{char}data: b\n\n".encode()) == [f"a{char}data: b"]


def test_a_byte_order_mark_is_dropped_at_the_very_start_only() -> None:
    assert data_of(BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n") == ["1", "3"]


def test_only_one_byte_order_mark_is_dropped() -> None:
    assert data_of(BOM + BOM + b"data:1\n\ndata:2\n\ndata:3\n\n") == ["2", "3"]


@pytest.mark.parametrize(
    "reads", [[BOM], [b"\xef", b"\xbb\xbf"], [b"\xef\xbb", b"\xbf"], [b"", b"\xef", b"", b"\xbb", b"\xbf"]]
)
def test_a_byte_order_mark_is_dropped_however_it_is_split(reads: list[bytes]) -> None:
    assert data_of(*reads, b"data: 1\n\n", BOM + b"data: 2\n\n") == ["1"]


def test_the_beginning_of_a_byte_order_mark_alone_is_part_of_the_first_line() -> None:
    assert data_of(b"\xef\xbb", b"data: 1\n", b"data: 2\n\n") == ["2"]


def test_a_byte_order_mark_inside_data_is_kept() -> None:
    assert data_of(b"data: " + BOM + b"x\n\n") == ["\ufeffx"]


def test_multi_byte_characters_survive_any_split() -> None:
    stream = "event: höhe\nid: ï…\ndata: ok…€😀 你好\n\n".encode()
    assert decode(stream) == decode(*bytewise(stream)) == [ServerSentEvent("höhe", "ok…€😀 你好", "ï…")]


def test_invalid_utf_8_becomes_replacement_characters() -> None:
    events = decode(b"event: \xff\nid: \xe2\x82\ndata: a\xf0\x9f\x98z\xc3\ndata: \x80\n\n")
    assert events == [ServerSentEvent("\ufffd", "a\ufffdz\ufffd\n\ufffd", "\ufffd")]


def type_and_data(events: list[bytes]) -> list[tuple[str, bytes]]:
    return [(event.event if isinstance(event, TypedData) else "message", bytes(event)) for event in events]


def test_feed_data_leaves_the_data_as_received() -> None:
    decoder = SSEDecoder()
    events = decoder.feed_data(b"event: delta\ndata: \xff\xe2\x82\r\ndata:\xf0\n\ndata: {}\n\n")
    assert type_and_data(events) == [("delta", b"\xff\xe2\x82\n\xf0"), ("message", b"{}")]
    assert all(type(data) is bytes for data in decoder.feed_data(b"data: 1\ndata: 2\n\ndata: 3\n\n"))


def test_feed_and_feed_data_share_one_state() -> None:
    decoder = SSEDecoder()
    assert decoder.feed_data(b"id: 1\ndata: a") == []
    assert decoder.feed(b"b\n\nevent: x\n") == [ServerSentEvent(data="ab", id="1")]
    assert type_and_data(decoder.feed_data(b"data\n\n")) == [("x", b"")]
    assert decoder.feed_data(b"data: 1\n\ndata: 2") == [b"1"]
    assert decoder.feed(b"3\n\n") == [ServerSentEvent(data="23", id="1")]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        BOM,
        b"\n",
        b"\r",
        b": a comment\n",
        b"data: x\n\n",
        b"data: x\r\r",
        b"data: x\n\n: bye\r\n",
        b"event: x\n\n",
        b"id: 1\n\n",
        b"id: 1\ndata: x\n\n\n",
        b"retry: 1\n\n",
        b"data: x\ndata: y\n\n",
    ],
)
def test_nothing_is_pending_between_events(stream: bytes) -> None:
    decoder = SSEDecoder()
    decoder.feed(stream)
    assert not decoder.pending


@pytest.mark.parametrize(
    "stream",
    [
        b"\xef\xbb",
        b"d",
        b":",
        b": a comm",
        b"data: x\n\n: a comm",
        b"data: x",
        b"data: x\n",
        b"data: x\r\n",
        b"data\n",
        b"data: x\n: comment\n",
        b"event: x\n",
        b"id: 1\n",
        b"id: 1\ndata: x\n\nid: 1\n",
        b"retry: 1\n",
        b"unknown: x\n",
    ],
)
def test_a_begun_line_or_event_is_pending(stream: bytes) -> None:
    decoder = SSEDecoder()
    decoder.feed(stream)
    assert decoder.pending
    decoder.feed(b"\n\n")
    assert not decoder.pending


@pytest.mark.parametrize("start", [b"data: ", b":", b"x", b"id: ", b"data: 1\n\n:"])
@pytest.mark.parametrize("end", [b"", b"\n\n"])
def test_a_line_past_the_bound_raises_whether_it_ends_or_not(start: bytes, end: bytes) -> None:
    line = start.rpartition(b"\n")[2]
    fits, too_long = (start + b"x" * (size - len(line)) + end for size in (32, 33))

    SSEDecoder(max_event_bytes=32).feed(fits)
    with pytest.raises(ResponseTooLargeError) as caught:
        SSEDecoder(max_event_bytes=32).feed(too_long)
    assert caught.value.max_bytes == 32

    decoder = SSEDecoder(max_event_bytes=32)
    with pytest.raises(ResponseTooLargeError):
        for read in bytewise(too_long):
            decoder.feed(read)


def test_the_data_of_an_event_past_the_bound_raises_before_the_event_ends() -> None:
    decoder = SSEDecoder(max_event_bytes=32)
    half = b"data: 123456789012345\n"
    [event] = decoder.feed(half + b"data: 1234567890123456\n\n")
    assert len(event.data) == 32

    decoder.feed(half)
    with pytest.raises(ResponseTooLargeError):
        decoder.feed(b"data: 12345678901234567\n")


def test_empty_data_lines_count_towards_the_bound() -> None:
    decoder = SSEDecoder(max_event_bytes=32)
    decoder.feed(b"data\n" * 33)
    with pytest.raises(ResponseTooLargeError):
        decoder.feed_data(b"data\n")


def test_the_bound_is_for_each_event_not_for_the_stream() -> None:
    decoder = SSEDecoder(max_event_bytes=32)
    assert sum(len(decoder.feed(b"data: 1234567890\ndata: 1234567890\n\n: comment\n" * 50)) for _ in range(50)) == 2500


def test_the_bound_does_not_count_what_one_read_holds() -> None:
    assert len(SSEDecoder(max_event_bytes=16).feed(b"data: 1\n\n" * 1000)) == 1000


def test_the_default_bound_is_8_mib() -> None:
    decoder = SSEDecoder()
    block = b"x" * (1024 * 1024)
    for _ in range(8):
        decoder.feed(block)
    with pytest.raises(ResponseTooLargeError, match="8388608"):
        decoder.feed(b"x")


def reference(stream: bytes) -> tuple[list[ServerSentEvent], str, int | None]:
    """The standard's algorithm on the whole stream: events, last event id, reconnection time."""
    text = stream.removeprefix(BOM).decode("utf-8", "replace")
    *lines, _unterminated = re.split("\r\n|\r|\n", text)
    events: list[ServerSentEvent] = []
    data = event_type = id_buffer = last_event_id = ""
    reconnection: int | None = None
    own_retry: int | None = None
    for line in lines:
        if line == "":
            last_event_id = id_buffer
            if data != "":
                events.append(ServerSentEvent(event_type or "message", data[:-1], last_event_id, own_retry))
            data = event_type = ""
            own_retry = None
            continue
        if line[0] == ":":
            continue
        field, value = line, ""
        if ":" in line:
            field, value = line.split(":", 1)
            if value[:1] == " ":
                value = value[1:]
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and value != "" and all(char in "0123456789" for char in value):
            reconnection = own_retry = int(value)
    return events, last_event_id, reconnection


TOKENS = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"),
    *(b"data", b"data:", b"data: ", b"data:  ", b"data: {}\n\n", b"event", b"event: ", b"event: x"),
    *(b"id", b"id: ", b"id: 1", b"retry", b"retry: ", b"retry: 12", b"0", b"7"),
    *(b":", b": ", b" ", b"x", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x85"),
    *(BOM, b"\xef", b"\xbb", b"\xbf", b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80"),
    *(char.encode() for char in ("é", "\u0085", "€", "\u2028", "\u2029", "😀", "\u0663")),
]
lines = st.builds(
    lambda start, rest, end: start + b"".join(rest) + end,
    st.sampled_from([b"data: ", b"data:", b"data", b"event: ", b"id: ", b"id", b"retry: ", b":", b""]),
    st.lists(st.sampled_from([token for token in TOKENS if not set(token) & set(b"\r\n")]), max_size=3),
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]),
)
streams = st.builds(
    lambda start, parts: start + b"".join(parts),
    st.sampled_from([b"", b"", BOM, BOM[:1], BOM[:2], BOM + BOM]),
    st.lists(lines | st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=30),
)


@st.composite
def in_reads(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = streams) -> tuple[bytes, list[bytes]]:
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return stream, [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(streams)
@example(b"")
@example(BOM + b"data: 1\r\n\r\ndata: 2\r\rdata: \xe2\x82\n\n")
def test_any_stream_decodes_as_the_standard_says(stream: bytes) -> None:
    decoder = SSEDecoder()
    assert (decoder.feed(stream), decoder.last_event_id, decoder.retry) == reference(stream)


@given(in_reads())
def test_the_split_over_reads_makes_no_difference(case: tuple[bytes, list[bytes]]) -> None:
    stream, reads = case
    outcomes = []
    for split in ([stream], bytewise(stream), reads):
        decoder = SSEDecoder()
        events = [event for read in split for event in decoder.feed(read)]
        outcomes.append((events, decoder.last_event_id, decoder.retry, decoder.pending))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_two_hundred_streams_decode_as_the_standard_says_however_they_are_split() -> None:
    pick = random.Random(30)
    for _ in range(200):
        stream = b"".join(pick.choices(TOKENS, k=pick.randint(5, 25)))
        expected = reference(stream)[0]
        splits = [[stream], bytewise(stream)]
        splits += [[stream[:place], stream[place:]] for place in range(1, len(stream))]
        for _ in range(20):
            cuts = sorted(pick.choices(range(len(stream) + 1), k=5))
            splits.append([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
        assert all(decode(*reads) == expected for reads in splits)


@given(in_reads(), st.integers(1, 6))
def test_the_bound_on_silence_holds_alike_for_any_split(case: tuple[bytes, list[bytes]], max_silent_lines: int) -> None:
    stream, reads = case
    outcomes: list[bool] = []
    for split in ([stream], bytewise(stream), reads):
        decoder = SSEDecoder(max_silent_lines=max_silent_lines)
        try:
            for read in split:
                decoder.feed(read)
        except ResponseTooLargeError as error:
            outcomes.append(error.bound == "max_silent_lines")
        else:
            outcomes.append(False)
    assert outcomes in ([True] * 3, [False] * 3)


@pytest.mark.parametrize("line", [b"\n", b":\n", b"event: x\n", b"id: 1\n", b"x\n", b"\r\n", b"event: x\n\n"])
def test_lines_without_an_event_are_counted_until_there_is_one(line: bytes) -> None:
    lines = line.count(b"\n")
    decoder = SSEDecoder(max_silent_lines=10)
    for _ in range(3):
        assert decoder.feed(line * (10 // lines)) == []
        assert len(decoder.feed(b"data: 1\n\n")) == 1
    with pytest.raises(ResponseTooLargeError, match="More than 10 lines of the stream said nothing"):
        decoder.feed(line * (10 // lines + 1))
    assert len(SSEDecoder(max_silent_lines=10).feed((line * (10 // lines) + b"data\n\n") * 1000)) == 1000


def test_lines_of_data_are_not_silent() -> None:
    [event] = SSEDecoder(max_silent_lines=1).feed(b"data: 1\n" * 1000 + b"\n")
    assert event.data.count("1") == 1000


@pytest.mark.parametrize("bounds", [{"max_event_bytes": 0}, {"max_silent_lines": 1.5}])
def test_bounds_are_positive_whole_numbers(bounds: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="must be a positive whole number"):
        SSEDecoder(**bounds)


# What services send: blocks of one line of data, with now and then something else between or in them.
common = st.builds(
    lambda start, parts, end: start + b"".join(parts) + end,
    st.sampled_from([b"", b"", BOM, b"\n", b": ping\n\n"]),
    st.lists(
        st.sampled_from(
            [b"data: {}\n\n"] * 6 + [b"data: ", b"data: {}\n", b"\n", b"data:{}\n\n", b"event: x\n", b"{}\r"]
        ),
        max_size=12,
    ),
    st.sampled_from([b"", b"data: [DONE]\n\n", b"data: {"]),
)


@given(in_reads(streams | common))
@example((b"data: 1\n\ndata: 2\n\n", [b"data: 1\n\ndat", b"a: 2\n\n"]))
def test_feed_data_gives_the_events_of_feed(case: tuple[bytes, list[bytes]]) -> None:
    stream, reads = case
    expected = [(event.event, event.data) for event in decode(stream)]
    for split in ([stream], bytewise(stream), reads):
        decoder, twin = SSEDecoder(), SSEDecoder()
        events: list[bytes] = []
        for read in split:
            events += decoder.feed_data(read)
            twin.feed(read)
            assert decoder.pending == twin.pending
        assert (decoder.last_event_id, decoder.retry) == (twin.last_event_id, twin.retry)
        assert [(event, data.decode("utf-8", "replace")) for event, data in type_and_data(events)] == expected


@given(in_reads(common), st.integers(3, 40), st.integers(1, 6))
def test_feed_data_keeps_the_bounds_of_feed(case: tuple[bytes, list[bytes]], max_bytes: int, max_lines: int) -> None:
    def bound_of(feed: Any) -> str | None:
        try:
            for read in case[1]:
                feed(read)
        except ResponseTooLargeError as error:
            return error.bound
        return None

    decoder, twin = (SSEDecoder(max_event_bytes=max_bytes, max_silent_lines=max_lines) for _ in range(2))
    assert bound_of(decoder.feed_data) == bound_of(twin.feed)


@given(in_reads(), st.integers(3, 40))
def test_the_bound_holds_alike_for_any_split(case: tuple[bytes, list[bytes]], max_event_bytes: int) -> None:
    stream, reads = case
    outcomes: list[list[ServerSentEvent] | None] = []
    for split in ([stream], bytewise(stream), reads):
        decoder = SSEDecoder(max_event_bytes=max_event_bytes)
        try:
            outcomes.append([event for read in split for event in decoder.feed(read)])
        except ResponseTooLargeError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(streams)
def test_events_are_dispatched_as_soon_as_their_blank_line_is_known(stream: bytes) -> None:
    decoder = SSEDecoder()
    seen: list[ServerSentEvent] = []
    for end, read in enumerate(bytewise(stream), 1):
        seen += decoder.feed(read)
        assert seen == reference(stream[:end])[0]


def cpu_seconds(reads: Iterable[bytes]) -> float:
    decoder = SSEDecoder(max_event_bytes=64 * 1024 * 1024, max_silent_lines=10**6)
    started = time.process_time()
    for read in reads:
        decoder.feed_data(read)
    return time.process_time() - started


@pytest.mark.parametrize(
    ("unending", "finished", "count"),
    [
        pytest.param(b"x", b"\n", 300_000, id="a line, byte by byte"),
        pytest.param(b"x" * 1024, b":" + b"x" * 1022 + b"\n", 16_384, id="a line in reads of 1 KiB"),
        pytest.param(b"data: " + b"x" * 1017 + b"\n", b":" + b"x" * 1022 + b"\n", 16_384, id="an event of many lines"),
    ],
)
def test_what_never_ends_costs_no_more_than_what_ends_at_once(unending: bytes, finished: bytes, count: int) -> None:
    # The same number of reads of the same size, so that machine and interpreter cancel out. Rescanning or recopying
    # what is buffered would make the first a hundred times the second; linear work stays near 1.
    at_once = min(cpu_seconds([finished] * count) for _ in range(2))
    without_end = min(cpu_seconds([unending] * count) for _ in range(2))
    assert without_end < 10 * at_once


@pytest.mark.parametrize("read", [b"xy", b"data:ab\n", b"data\n"])
def test_memory_stays_near_the_bytes_received(read: bytes) -> None:
    size = 256 * 1024
    decoder = SSEDecoder()
    tracemalloc.start()
    try:
        for _ in range(size // len(read)):
            decoder.feed(read)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * size


def test_a_line_in_tiny_reads_comes_out_whole() -> None:
    letters = bytes(range(ord("a"), ord("z") + 1)) * 2000

    def reads() -> Iterator[bytes]:
        yield b"data: "
        yield from bytewise(letters)
        yield b"\n\n"

    assert data_of(*reads()) == [letters.decode()]


def test_json_decodes_straight_from_raw_data() -> None:
    [data] = SSEDecoder().feed_data('data: {"text":\ndata: "你好"}\n\n'.encode())
    assert msgspec.json.decode(data) == {"text": "你好"}
