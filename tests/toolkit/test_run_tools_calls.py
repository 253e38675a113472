"""The calls of a streamed answer, however its bytes are cut and whatever hosts do to ids and indices."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport, Request, Response
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.bodies import PacedBody
from moonshot_async.toolkit.functions import run_tools
from moonshot_async.toolkit.functions.loop.calls import Arguments, Ids, arguments_of, same_call
from tests.secrets_scan import CANARY_KEY

ASKED = [{"role": "user", "content": "Go."}]
DONE = b"data: [DONE]\n\n"


class Noting:
    """A tool that notes what it is called with.

    Attributes:
        calls: name and arguments of all calls.
    """

    def __init__(self, name: str, calls: list[tuple[str, str]]) -> None:
        self.name = name
        self.param = {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        self.calls = calls

    async def call(self, arguments: str, *, context: Any = None) -> str:
        self.calls.append((self.name, arguments))
        return "noted"


def frame(delta: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def fragment(name: str | None = None, arguments: str | None = None, **fields: Any) -> bytes:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return frame({"tool_calls": [{**fields, "function": function}]})


def stream_of(*fragments: bytes) -> bytes:
    head = frame({"role": "assistant", "content": "", "reasoning_content": "Hm."})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return b"".join([head, *fragments, frame({}, finish_reason="tool_calls", usage=usage), DONE])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[begin:end] for begin, end in pairwise(edges)]


def answering(pieces: list[bytes], fake: FakeMoonshot) -> Callable[[Request], Awaitable[Response]]:
    """A service that streams these bytes first, and then is the strict fake."""
    left = [pieces]

    async def answer(request: Request) -> Response:
        if not left:
            return await fake(request)
        body = PacedBody(iter(left.pop()), lambda: 0.0, asyncio.sleep)
        return Response(200, [("Content-Type", "text/event-stream")], body)

    return answer


def ran(pieces: list[bytes]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The calls that a stream makes, as tools get them, and the conversation, which the fake has accepted."""

    async def main() -> list[dict[str, Any]]:
        fake = FakeMoonshot()
        fake.reply("Ok.")
        transport = MemoryTransport(answering(pieces, fake))
        async with AsyncMoonshot(api_key=CANARY_KEY, transport=transport, max_retries=0) as client:
            tools = [Noting("f", calls), Noting("g", calls)]
            done = await run_tools(client, model="kimi-k2.6", messages=ASKED, tools=tools, parallel=1, max_repeats=None)
        assert done.reason == "answered"
        return done.messages

    calls: list[tuple[str, str]] = []
    messages = asyncio.run(main())
    return calls, messages


def replayed(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in messages[1]["tool_calls"]]


# --- Every byte


PLAIN = stream_of(
    fragment("f", "", index=0, id="f:0", type="function"),
    fragment(None, '{"city": "Z\u00fcrich \U0001f327",', index=0),
    fragment("g", "", index=1, id="g:1", type="function"),
    fragment(None, '"a": [1, {"b": "}\\""}]}', index=0),
    fragment(None, "{}", index=1),
)
PLAIN_CALLS = [("f", '{"city": "Z\u00fcrich \U0001f327","a": [1, {"b": "}\\""}]}'), ("g", "{}")]


@pytest.mark.parametrize("part", range(4))
def test_a_stream_that_is_cut_at_any_byte_makes_the_same_calls(part: int) -> None:
    for place in range(1 + part, len(PLAIN), 4):
        calls, messages = ran(cut(PLAIN, [place]))
        assert calls == PLAIN_CALLS, place
        assert replayed(messages) == PLAIN_CALLS


@given(st.lists(st.integers(0, 2000), max_size=40))
@settings(max_examples=30)
def test_a_stream_that_is_cut_into_many_pieces_makes_the_same_calls(places: list[int]) -> None:
    calls, _ = ran(cut(PLAIN, places))
    assert calls == PLAIN_CALLS


# --- Ids and indices


TEXT = st.text(st.sampled_from('a{}[]"\\:,\u00e9\U0001f600 \n1'), max_size=6)
OBJECTS = st.dictionaries(
    TEXT, st.one_of(st.integers(), st.none(), TEXT, st.lists(TEXT, max_size=2)), min_size=1, max_size=3
)
IDS = st.sampled_from(["own", "none", "null", "empty", "same"])
INDICES = st.sampled_from(["own", "none", "null", "zero", "sparse"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[str, str]], bytes]:
    """Calls, and a stream that makes them: pieces of arguments, ids and indices as one host or another sends them."""
    ids, indices = draw(IDS), draw(INDICES)
    interleaved = indices in ("own", "sparse") and draw(st.booleans())
    calls: list[tuple[str, str]] = []
    queues: list[list[bytes]] = []
    for place in range(draw(st.integers(1, 4))):
        name, arguments = draw(st.sampled_from("fg")), json.dumps(draw(OBJECTS), ensure_ascii=draw(st.booleans()))
        id: dict[str, Any] = {"own": {"id": f"id{place}"}, "none": {}, "null": {"id": None}}.get(
            ids, {"id": "" if ids == "empty" else "same"}
        )
        index: dict[str, Any] = {"own": {"index": place}, "none": {}, "null": {"index": None}}.get(
            indices, {"index": 0 if indices == "zero" else 7 * place + 3}
        )
        cuts = draw(st.lists(st.integers(0, len(arguments)), max_size=4).map(sorted))
        if ids == "same" and index.get("index") in (None, 0):
            # Here nothing but the arguments tells that another call begins, and is none told twice.
            arguments = arguments.replace("{", f'{{"place":{place},', 1)
        calls.append((name, arguments))
        edges = [0, *cuts, len(arguments)]
        pieces = [arguments[begin:end] for begin, end in pairwise(edges)]
        first = fragment(name, pieces[0], **index, **id)
        queues.append([first, *(fragment(None, piece, **index) for piece in pieces[1:])])
    fragments: list[bytes] = []
    while left := [queue for queue in queues if queue]:
        # A call begins when those before it have begun.
        open_ = [queue for place, queue in enumerate(left) if interleaved or place == 0]
        fragments.append(draw(st.sampled_from(open_)).pop(0) if interleaved else left[0].pop(0))
    return calls, stream_of(*fragments)


@given(streams(), st.lists(st.integers(0, 5000), max_size=8))
@settings(max_examples=150)
def test_whatever_hosts_do_to_ids_and_indices_the_calls_are_those_that_were_made(
    made: tuple[list[tuple[str, str]], bytes], places: list[int]
) -> None:
    expected, data = made

    calls, messages = ran(cut(data, places))

    assert sorted(calls) == sorted(expected)
    assert sorted(replayed(messages)) == sorted(expected)
    ids = [call["id"] for call in messages[1]["tool_calls"]]
    assert all(ids)
    assert len(set(ids)) == len(expected)
    assert [message["tool_call_id"] for message in messages[2:-1]] == ids


def test_ids_stay_unique_over_the_whole_conversation() -> None:
    ids = Ids(["a", "call_1"])
    assert ids.unique("b") == "b"
    assert [ids.unique("a"), ids.unique(""), ids.unique(None)] == ["call_3", "call_4", "call_5"]
    assert ids.unique("call_6") == "call_6"
    assert ids.unique("a") == "call_7"


# --- Arguments


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", "{}"),
        (" \n", "{}"),
        ("{}", "{}"),
        (" { } ", "{}"),
        ("{}{}", "{}"),
        ('{}{"a":1}', '{"a":1}'),
        ('{"a":1}{"a":1}', '{"a":1}'),
        ('{"a":1} and more', '{"a":1}'),
        ('{"a":"line\nbreak"}', '{"a":"line\nbreak"}'),
        ('{"a":1', '{"a":1'),
        ("null", "null"),
        ('[1]{"a":1}', '[1]{"a":1}'),
        ('}{"a":1}', '}{"a":1}'),
        ('"{\\"a\\":1}"', '"{\\"a\\":1}"'),
        ('{"a":1]', '{"a":1]'),
        ('{"a" 1}', '{"a" 1}'),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
    ],
)
def test_what_a_call_is_run_with(text: str, arguments: str) -> None:
    assert arguments_of(text) == arguments


@given(st.one_of(OBJECTS.map(json.dumps), st.text('{}[]"\\ua1:, ', max_size=30)), st.lists(st.integers(0, 60)))
@settings(max_examples=300)
def test_arguments_are_whole_with_the_same_object_however_they_are_cut(text: str, places: list[int]) -> None:
    at_once, in_pieces = Arguments(), Arguments()
    at_once.add(text)
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    for begin, end in pairwise(edges):
        in_pieces.add(text[begin:end])
        in_pieces.add("")
    assert in_pieces.whole == at_once.whole
    if isinstance(value := _value(text), dict) and value:
        assert at_once.whole is not None
        assert json.loads(at_once.whole) == value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_a_piece_costs_what_it_costs_however_long_the_arguments_are() -> None:
    arriving = Arguments()
    arriving.add('{"code": "')
    for _ in range(20_000):
        arriving.add("if (a) { b }; ")
    arriving.add('"}')
    assert arriving.whole is not None
    assert len(arriving.whole) > 200_000


def test_calls_are_the_same_if_their_arguments_are_the_same_values() -> None:
    assert same_call("f", '{"a": 1, "b": [2.0, {"c": null}]}') == same_call("f", '{"b":[2,{"c":null}],"a":1.0}')
    assert same_call("f", "{}") != same_call("g", "{}")
    assert same_call("f", '{"a": true}') != same_call("f", '{"a": 1}')
    assert same_call("f", '{"a": "1"}') != same_call("f", '{"a": 1}')
    assert same_call("f", " {a} ") == same_call("f", "{a}")
