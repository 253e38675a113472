"""Events of a streamed answer, beside those that the openai package makes of the same chunks."""

import copy
import json
import pickle
from collections.abc import Iterable
from typing import Any

import msgspec
import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState as OpenAIState
from openai.types.chat import ChatCompletionChunk as OpenAIChunk

from moonshot_async import AsyncMoonshot, ChatCompletionStreamState, MemoryTransport, Request, Response
from moonshot_async.chat_events import ChatStreamEvent, ContentDeltaEvent
from moonshot_async.chat_stream import ChatStream
from moonshot_async.errors import (
    APIError,
    ContentFilterFinishReasonError,
    LengthFinishReasonError,
    StreamInterruptedError,
    StructuredOutputError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.structured import function_tool
from moonshot_async.types.chat import decode_chunk
from moonshot_async.types.parsed import ParsedChatCompletion

USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "kimi-k3"}
    return {**head, "choices": list(choices), **fields}


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return chunk({"index": index, "delta": fields, "finish_reason": None})


def end(reason: str = "stop", index: int = 0, **fields: Any) -> dict[str, Any]:
    return chunk({"index": index, "delta": {}, "finish_reason": reason, **fields})


def call(index: int | None, arguments: str | None, name: str | None = None, id: str | None = None) -> dict[str, Any]:
    head = {} if name is None else {"id": id or f"{name}:{index}", "type": "function"}
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"index": index, **head, "function": function}


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -1.0, "bytes": None, "top_logprobs": []}


PARALLEL = [
    delta(role="assistant", content=""),
    delta(reasoning_content="Two cities."),
    delta(tool_calls=[call(0, "", "get_weather")]),
    delta(tool_calls=[call(0, '{"city":')]),
    delta(tool_calls=[call(1, "", "get_weather")]),
    delta(tool_calls=[call(1, '{"city":"Bergen"}')]),
    delta(tool_calls=[call(0, '"Oslo"}')]),
    end("tool_calls", usage=USAGE),
]


def events_of(chunks: Iterable[dict[str, Any]], **asked: Any) -> list[ChatStreamEvent[Any]]:
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState(**asked)
    return [event for one in chunks for event in state.handle_chunk(decode_chunk(json.dumps(one).encode()))]


def told(event: Any) -> dict[str, Any]:
    """What an event of either package says, in the fields that both have; `snapshot` is read now."""
    fields: dict[str, Any] = {"type": event.type}
    names = ("delta", "arguments_delta", "arguments", "name", "index", "content", "refusal", "parsed_arguments")
    for name in names:
        value = getattr(event, name, None)
        if isinstance(value, list):
            value = [one.token for one in value]
        # Ours holds what openai parses only for the tools that it was told of; empty where it does not apply.
        if name != "parsed_arguments" and value not in (None, []):
            fields[name] = value
    if event.type in ("content.delta", "refusal.delta"):
        fields["snapshot"] = event.snapshot
    return fields


def ours_of(chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read only when everything has come, so that what looks back is right then, too."""
    return [told(event) for event in events_of(chunks) if not event.type.startswith(("reasoning", "usage"))]


def theirs_of(chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    state: Any = OpenAIState()
    return [told(event) for one in chunks for event in state.handle_chunk(OpenAIChunk.model_validate(one))]


def types_of(events: Iterable[ChatStreamEvent[Any]]) -> list[str]:
    return [event.type for event in events if event.type != "chunk"]


def only(events: Iterable[ChatStreamEvent[Any]], *types: str) -> list[Any]:
    return [event for event in events if event.type in types]


SAME_AS_OPENAI = {
    "text": [delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo 你好"), end()],
    "reasoning": [delta(role="assistant", content=""), delta(reasoning_content="Hm."), delta(content="Hi"), end()],
    "refusal": [delta(role="assistant"), delta(refusal="N"), delta(refusal="o"), end()],
    "one call": [delta(tool_calls=[call(0, "", "f")]), delta(tool_calls=[call(0, "{}")]), end("tool_calls")],
    "null arguments": [delta(tool_calls=[call(0, "{", "f")]), delta(tool_calls=[call(0, "}")]), end("tool_calls")],
    "calls in turn": [
        delta(role="assistant", content="Let me see."),
        delta(tool_calls=[call(0, '{"a":', "f")]),
        delta(tool_calls=[call(0, "1}")]),
        delta(tool_calls=[call(1, "{}", "g")]),
        delta(tool_calls=[call(2, "{}", "h")]),
        end("tool_calls"),
    ],
    "logprobs": [
        chunk({"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [token("a")], "refusal": None}}),
        chunk({"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [token("b")], "refusal": None}}),
        end(),
    ],
    "logprobs of a refusal": [
        chunk({"index": 0, "delta": {"refusal": "a"}, "logprobs": {"content": None, "refusal": [token("a")]}}),
        chunk({"index": 0, "delta": {"refusal": "b"}, "logprobs": {"content": None, "refusal": [token("b")]}}),
        end(),
    ],
    "everything": [
        delta(role="assistant", content="a"),
        chunk({"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [token("b")], "refusal": [token("x")]}}),
        delta(refusal="no", content="c", tool_calls=[call(0, "{}", "f")]),
        delta(tool_calls=[call(1, "{}", "g")]),
        chunk({"index": 0, "delta": {}, "finish_reason": "tool_calls"}),
        chunk(usage=USAGE),
    ],
    "two choices": [
        chunk({"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}),
        chunk({"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "A"}}),
        end("stop", 1),
        end("stop", 0),
        chunk(usage=USAGE),
    ],
    "nothing": [delta(), end("length")],
}


@pytest.mark.parametrize("chunks", SAME_AS_OPENAI.values(), ids=SAME_AS_OPENAI)
def test_events_are_those_of_openai_in_its_order(chunks: list[dict[str, Any]]) -> None:
    for one in chunks:
        for choice in one["choices"]:
            choice.setdefault("finish_reason", None)

    assert ours_of(chunks) == theirs_of(chunks)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=5).map(lambda text: {"content": text}),
            st.text(min_size=1, max_size=5).map(lambda text: {"refusal": text}),
            st.text(min_size=1, max_size=5).map(lambda text: {"reasoning_content": text}),
        ),
        max_size=12,
    ),
    st.lists(st.integers(1, 4), max_size=3),
)
def test_events_of_any_text_and_calls_in_turn_are_those_of_openai(
    texts: list[dict[str, str]], calls: list[int]
) -> None:
    chunks = [delta(role="assistant"), *(delta(**text) for text in texts)]
    for place, pieces in enumerate(calls):
        chunks.append(delta(tool_calls=[call(place, "{", "f")]))
        chunks += [delta(tool_calls=[call(place, " ")])] * pieces
        chunks.append(delta(tool_calls=[call(place, "}")]))
    chunks += [end("tool_calls"), chunk(usage=USAGE)]

    assert ours_of(chunks) == theirs_of(chunks)


def test_the_final_completion_has_what_openais_has() -> None:
    for chunks in SAME_AS_OPENAI.values():
        ours, theirs = ChatCompletionStreamState(), OpenAIState()
        for one in chunks:
            ours.handle_chunk(decode_chunk(json.dumps(one).encode()))
            theirs.handle_chunk(OpenAIChunk.model_validate(one))

        ours_dump = ours.get_final_completion().to_dict(exclude_none=True)
        theirs_dump: Any = theirs.current_completion_snapshot.to_dict(exclude_none=True)
        for choice in theirs_dump["choices"]:
            for one in choice["message"].get("tool_calls", ()):
                one.pop("index")
            choice["message"].setdefault("role", "assistant")
        assert ours_dump["choices"] == sorted(theirs_dump["choices"], key=lambda choice: choice["index"])


def test_interleaved_calls_are_told_whole_where_openai_tells_half_of_one() -> None:
    events = events_of(PARALLEL)

    done = only(events, "tool_calls.function.arguments.done")
    assert [(e.index, e.id, e.name, e.arguments, e.parsed_arguments) for e in done] == [
        (0, "get_weather:0", "get_weather", '{"city":"Oslo"}', {"city": "Oslo"}),
        (1, "get_weather:1", "get_weather", '{"city":"Bergen"}', {"city": "Bergen"}),
    ]
    assert types_of(events)[-3:] == [done[0].type, done[1].type, "usage"]


def test_each_fragment_is_told_with_the_arguments_up_to_it() -> None:
    deltas = only(events_of(PARALLEL), "tool_calls.function.arguments.delta")

    assert [(e.index, e.name, e.arguments_delta, e.arguments) for e in deltas] == [
        (0, "get_weather", "", ""),
        (0, "get_weather", '{"city":', '{"city":'),
        (1, "get_weather", "", ""),
        (1, "get_weather", '{"city":"Bergen"}', '{"city":"Bergen"}'),
        (0, "get_weather", '"Oslo"}', '{"city":"Oslo"}'),
    ]
    assert {(e.choice, e.parsed_arguments) for e in deltas} == {(0, None)}


def test_fragments_that_come_in_one_chunk_are_told_one_by_one() -> None:
    first = call(None, "{", "f", "a")
    events = events_of(
        [
            delta(tool_calls=[first]),
            delta(tool_calls=[call(None, "}"), call(None, "[", "g", "b"), call(None, "]")]),
            end("tool_calls"),
        ]
    )

    deltas = only(events, "tool_calls.function.arguments.delta")
    assert [(e.index, e.arguments) for e in deltas] == [(0, "{"), (0, "{}"), (1, "["), (1, "[]")]
    assert [(e.id, e.arguments) for e in only(events, "tool_calls.function.arguments.done")] == [
        ("a", "{}"),
        ("b", "[]"),
    ]


def test_a_fragment_may_have_no_function_at_all() -> None:
    events = events_of([delta(tool_calls=[{"index": 0, "id": "a"}]), delta(tool_calls=[call(0, None, "f")]), end()])

    assert [e.arguments_delta for e in only(events, "tool_calls.function.arguments.delta")] == ["", ""]


@pytest.mark.parametrize("arguments", ["", "{", "not json", "[" * 200_000, "1" * 10_000])
def test_arguments_that_are_no_json_are_told_as_text(arguments: str) -> None:
    events = events_of([delta(tool_calls=[call(0, arguments, "f")]), end("tool_calls")])

    (done,) = only(events, "tool_calls.function.arguments.done")
    assert (done.arguments, done.parsed_arguments) == (arguments, None)


def test_reasoning_is_told_and_ends_where_something_else_begins() -> None:
    for name in ("reasoning_content", "reasoning"):
        texts = [delta(content="", **{name: "Gre"}), delta(**{name: "et"}), delta(**{name: ""}), delta(content="Hi")]

        events = events_of([*texts, end()])

        assert types_of(events) == [
            "reasoning.delta",
            "content.delta",
            "reasoning.delta",
            "reasoning.done",
            "content.delta",
            "content.done",
        ]
        deltas = only(events, "reasoning.delta")
        assert [(e.delta, e.snapshot, e.choice) for e in deltas] == [("Gre", "Gre", 0), ("et", "Greet", 0)]
        (done,) = only(events, "reasoning.done")
        assert (done.reasoning, done.choice) == ("Greet", 0)


def test_reasoning_ends_before_tool_calls_and_with_the_choice() -> None:
    call_events = types_of(events_of([delta(reasoning_content="x"), delta(tool_calls=[call(0, "{}", "f")])]))
    cut_events = types_of(events_of([delta(1, reasoning_content="x"), end("length", 1)]))

    assert call_events == ["reasoning.delta", "reasoning.done", "tool_calls.function.arguments.delta"]
    assert cut_events == ["reasoning.delta", "reasoning.done"]


def test_a_text_that_goes_on_after_tool_calls_began_is_told_whole_in_the_end() -> None:
    chunks = [delta(content="a"), delta(tool_calls=[call(0, "{}", "f")]), delta(content="b"), end("tool_calls")]

    assert [e.content for e in only(events_of(chunks), "content.done")] == ["a", "ab"]


def test_a_reason_that_is_repeated_or_empty_ends_nothing_twice() -> None:
    logprobs = {"content": [token("a")], "refusal": [token("b")]}
    texts = chunk(
        {
            "index": 0,
            "delta": {"content": "a", "refusal": "b", "tool_calls": [call(0, "{}", "f")]},
            "logprobs": logprobs,
        }
    )

    once = types_of(events_of([texts, end("stop")]))
    again = types_of(events_of([texts, end(""), end("stop"), end("stop")]))

    assert once == again
    assert len(set(once)) == len(once) == 10


def test_usage_is_told_whenever_it_comes() -> None:
    events = events_of([delta(content="a"), end(usage=USAGE), chunk(usage={**USAGE, "total_tokens": 17}), chunk()])

    assert [event.usage.total_tokens for event in only(events, "usage")] == [16, 17]


def test_events_say_which_choice_they_belong_to() -> None:
    texts = {"content": "a", "refusal": "b", "reasoning_content": "c", "tool_calls": [call(0, "{}", "f")]}
    logprobs = {"content": [token("a")], "refusal": [token("b")]}
    events = events_of([chunk({"index": 2, "delta": texts, "logprobs": logprobs}), end("stop", 2)])

    assert {getattr(event, "choice", None) for event in events if event.type not in ("chunk", "usage")} == {2}


def test_snapshots_are_right_however_late_they_are_asked_for() -> None:
    pieces = [f"{number} " for number in range(1200)]
    logprobs = [{"content": [token(piece)]} for piece in pieces]
    events = events_of(
        chunk({"index": 0, "delta": {"content": piece}, "logprobs": one})
        for piece, one in zip(pieces, logprobs, strict=True)
    )

    deltas = only(events, "content.delta")
    for place in (1199, 0, 600, 511, 512, 513):
        assert deltas[place].snapshot == "".join(pieces[: place + 1])
    assert [t.token for t in only(events, "logprobs.content.delta")[2].snapshot] == pieces[:3]
    assert repr(deltas[0]) == "ContentDeltaEvent(delta='0 ')"
    assert isinstance(deltas[0], ContentDeltaEvent)
    assert deltas[0].parsed is None


def test_a_chunk_event_has_the_chunk_and_the_completion() -> None:
    state = ChatCompletionStreamState()
    first = decode_chunk(json.dumps(delta(content="Hi")).encode())

    event: Any = next(iter(state.handle_chunk(first)))

    assert event.chunk is first
    assert event.snapshot.choices[0].message.content == "Hi"
    assert event.snapshot == state.current_completion_snapshot


def test_the_state_alone_says_when_there_is_no_answer_yet() -> None:
    state = ChatCompletionStreamState()
    with pytest.raises(StreamInterruptedError, match="no chunk has come"):
        _ = state.current_completion_snapshot
    with pytest.raises(StreamInterruptedError, match="not complete") as early:
        state.get_final_completion()
    assert early.value.partial is None

    state.handle_chunk(decode_chunk(json.dumps(delta(content="Hal")).encode()))
    with pytest.raises(StreamInterruptedError, match="not complete") as caught:
        state.get_final_completion()
    assert caught.value.partial == state.current_completion_snapshot

    state.handle_chunk(decode_chunk(json.dumps(end()).encode()))
    assert state.get_final_completion().choices[0].message.content == "Hal"


def test_an_event_costs_the_same_however_long_the_answer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = 0
    state = ChatCompletionStreamState()

    def partial(_: object) -> None:
        nonlocal joined
        joined += 1

    monkeypatch.setattr("moonshot_async.accumulate.ChatAccumulator.partial", partial)
    monkeypatch.setattr("moonshot_async.accumulate.Text.__str__", partial)
    for _ in range(2000):
        for event in state.handle_chunk(decode_chunk(json.dumps(delta(content="x")).encode())):
            assert event.type

    assert joined == 0, "nothing is put together that nobody asked for"


def client_of(*frames: bytes) -> AsyncMoonshot:
    async def app(request: Request) -> Response:
        return Response(200, {"content-type": "text/event-stream", "x-a": "1"}, list(frames))

    return AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(app), max_retries=0)


def frame(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


WHOLE = [frame(delta(content="Hel")), frame(delta(content="lo")), frame(end(usage=USAGE)), b"data: [DONE]\n\n"]
HI: dict[str, Any] = {"model": "kimi-k3", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}


async def test_a_stream_gives_its_events_and_then_the_whole_answer() -> None:
    async with client_of(*WHOLE) as client, client.chat.completions.stream(**HI) as stream:
        assert isinstance(stream, ChatStream)
        texts = [event.delta async for event in stream if event.type == "content.delta"]
        completion = await stream.get_final_completion()

        assert texts == ["Hel", "lo"]
        assert completion.choices[0].message.content == "Hello"
        assert completion.usage is not None
        assert completion.usage.total_tokens == 16
        assert stream.response.headers["x-a"] == "1"
        assert stream.current_completion_snapshot == completion
        assert await stream.get_final_completion() == completion


async def test_a_loop_that_was_left_can_be_taken_up_again() -> None:
    async with client_of(*WHOLE) as client, client.chat.completions.stream(**HI) as stream:
        async for event in stream:
            if event.type == "chunk":
                break

        assert [event.type async for event in stream][:3] == ["content.delta", "chunk", "content.delta"]
        assert await stream.until_done() is stream


async def test_a_stream_that_breaks_off_raises_with_what_came() -> None:
    async with client_of(*WHOLE[:1]) as client, client.chat.completions.stream(**HI) as stream:
        with pytest.raises(StreamInterruptedError) as caught:
            await stream.get_final_completion()
        with pytest.raises(StreamInterruptedError):
            await stream.get_final_completion()

    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "Hel"


async def test_an_error_inside_a_stream_is_raised_with_what_came() -> None:
    error = frame({"error": {"type": "server_error", "message": "stream failed", "request_id": "r1"}})
    async with client_of(WHOLE[0], error) as client, client.chat.completions.stream(**HI) as stream:
        with pytest.raises(APIError, match="stream failed") as caught:
            await stream.until_done()

    assert caught.value.type == "server_error"
    assert caught.value.partial is not None


@pytest.mark.parametrize("name", ["aclose", "close"])
async def test_a_stream_can_be_closed_before_its_end(name: str) -> None:
    async with client_of(*WHOLE) as client, client.chat.completions.stream(**HI) as stream:
        await getattr(stream, name)()
        await getattr(stream, name)()

        with pytest.raises(StreamInterruptedError, match="closed before its end"):
            await anext(stream)


async def test_leaving_the_context_closes_the_stream() -> None:
    async with client_of(*WHOLE) as client:
        async with client.chat.completions.stream(**HI) as stream:
            await anext(stream)

        with pytest.raises(StreamInterruptedError):
            await stream.until_done()


async def test_a_context_that_was_never_entered_has_nothing_to_close() -> None:
    async with client_of() as client:
        await client.chat.completions.stream(**HI).__aexit__(None, None, None)


class Weather(pydantic.BaseModel):
    city: str
    days: list[int] = []


class Wind(msgspec.Struct):
    city: str
    speed: float = 0.0


HEAD = {"type": "function", "strict": True}
STRICT: Any = {"type": "function", "function": {"name": "plain", "strict": True, "parameters": {"type": "object"}}}
LOOSE: Any = {"type": "function", "function": {"name": "loose", "parameters": {"type": "object"}}}


def pieces_of(text: str, size: int = 3) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def told_whole(event: Any) -> dict[str, Any]:
    """What `told` says, and what was parsed, told as soon as the event came: openai's change later."""
    fields = told(event)
    for name in ("parsed", "parsed_arguments"):
        value = getattr(event, name, None)
        if value is not None:
            fields[name] = value
    if event.type == "chunk":
        for choice in event.snapshot.choices:
            message = choice.message
            calls = [one.function.parsed_arguments for one in message.tool_calls or () if one.type == "function"]
            fields[f"snapshot {choice.index}"] = (message.content, message.parsed, calls)
    return fields


PARSED = {
    "content": [
        delta(role="assistant", content=""),
        *(delta(content=piece) for piece in pieces_of('{"city": "Os\\"lo", "days": [1, 22, 3]}')),
        end(),
        chunk(usage=USAGE),
    ],
    "content after spaces": [delta(content=" "), delta(content='\n{"city"'), delta(content=': "x"}'), end()],
    "no content": [delta(role="assistant"), delta(tool_calls=[call(0, "{}", "plain")]), end("tool_calls")],
    "a refusal": [delta(refusal="N"), delta(refusal="o"), end()],
    "a refusal after content": [
        delta(role="assistant"),
        delta(content='{"ci'),
        delta(refusal="No"),
        delta(content='ty": 1'),
        end(),
    ],
    "two choices": [
        chunk({"index": 0, "delta": {"role": "assistant"}}, {"index": 1, "delta": {"role": "assistant"}}),
        chunk({"index": 0, "delta": {"content": '{"city"'}}, {"index": 1, "delta": {"content": "{"}}),
        chunk({"index": 0, "delta": {"content": ':"a"}'}}, {"index": 1, "delta": {"content": '"city":"b"}'}}),
        end("stop", 0),
        end("stop", 1),
    ],
    "calls": [
        delta(role="assistant", content=""),
        delta(tool_calls=[call(0, "", "Weather")]),
        *(delta(tool_calls=[call(0, piece)]) for piece in pieces_of('{"city":"Oslo","days":[1]}')),
        delta(tool_calls=[call(1, "", "plain")]),
        *(delta(tool_calls=[call(1, piece)]) for piece in pieces_of('{"a":{"b":[true]}}')),
        delta(tool_calls=[call(2, '{"city":"Rome"}', "Weather")]),
        end("tool_calls"),
    ],
}


@pytest.mark.parametrize("chunks", PARSED.values(), ids=PARSED)
def test_what_is_parsed_is_told_as_openai_tells_it(chunks: list[dict[str, Any]]) -> None:
    for one in chunks:
        for choice in one["choices"]:
            choice.setdefault("finish_reason", None)
    asked: dict[str, Any] = {
        "response_format": Weather,
        "input_tools": [openai.pydantic_function_tool(Weather), STRICT],
    }
    ours: Any = ChatCompletionStreamState(2 if chunks is PARSED["two choices"] else 1, **asked)
    theirs: Any = OpenAIState(**asked)

    for one in chunks:
        our_events = ours.handle_chunk(decode_chunk(json.dumps(one).encode()))
        their_events = theirs.handle_chunk(OpenAIChunk.model_validate(one))
        assert [told_whole(event) for event in our_events if event.type != "usage"] == [
            told_whole(event) for event in their_events
        ]

    ours_done, theirs_done = ours.get_final_completion(), theirs.get_final_completion()
    for one, other in zip(ours_done.choices, theirs_done.choices, strict=True):
        assert one.message.parsed == other.message.parsed
        calls = [call.function.parsed_arguments for call in one.message.tool_calls or ()]
        assert calls == [call.function.parsed_arguments for call in other.message.tool_calls or ()]


def test_events_tell_partial_values_and_then_one_of_the_type() -> None:
    events = events_of(
        [*(delta(content=piece) for piece in pieces_of('{"city": "Oslo", "speed": 1.5}', 6)), end()],
        response_format=Wind,
    )

    partial, city, whole = {}, {"city": "Oslo"}, {"city": "Oslo", "speed": 1.5}
    assert [event.parsed for event in only(events, "content.delta")] == [partial, partial, city, city, whole]
    assert [event.parsed for event in only(events, "content.done")] == [Wind("Oslo", 1.5)]


def test_the_arguments_of_tools_are_told_as_their_type_says() -> None:
    chunks = [
        delta(tool_calls=[call(0, '{"city":', "Wind"), call(1, '{"a":', "plain"), call(2, '{"a":', "loose")]),
        delta(tool_calls=[call(0, '"Oslo"}'), call(1, "1}"), call(2, "1}")]),
        delta(tool_calls=[{"index": 3, "id": "w", "type": "builtin_function", "function": {"name": "Wind"}}]),
        delta(tool_calls=[call(3, "[]")]),
        end("tool_calls"),
    ]
    state: Any = ChatCompletionStreamState(input_tools=iter([function_tool(Wind), STRICT, LOOSE]))

    events = [event for one in chunks for event in state.handle_chunk(decode_chunk(json.dumps(one).encode()))]

    deltas = only(events, "tool_calls.function.arguments.delta")
    assert [event.parsed_arguments for event in deltas][:6] == [{}, {}, None, {"city": "Oslo"}, {"a": 1}, None]
    done = sorted(only(events, "tool_calls.function.arguments.done"), key=lambda event: event.index)
    assert [event.parsed_arguments for event in done] == [Wind("Oslo"), {"a": 1}, {"a": 1}, []]
    calls = state.get_final_completion().choices[0].message.tool_calls
    assert [call.function.parsed_arguments for call in calls] == [Wind("Oslo"), {"a": 1}, None, None]


def test_partial_values_are_made_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def count(*_: object, **__: object) -> None:
        nonlocal made
        made += 1

    monkeypatch.setattr("moonshot_async.chat_events.partial_json", count)
    events = events_of([delta(content='{"ci'), delta(tool_calls=[call(0, "{", "plain")])], response_format=Wind)

    assert made == 0
    assert only(events, "content.delta")[0].parsed is None
    assert made == 1


def test_a_snapshot_has_what_is_parsed_so_far() -> None:
    state: Any = ChatCompletionStreamState(response_format=Wind, input_tools=[STRICT])
    found = []
    chunks = [
        delta(content='{"city": "Oslo"'),
        delta(content="}"),
        delta(tool_calls=[call(0, '{"a": 1,', "plain")]),
        delta(content=" "),
        end("tool_calls"),
    ]

    for one in chunks:
        state.handle_chunk(decode_chunk(json.dumps(one).encode()))
        message = state.current_completion_snapshot.choices[0].message
        found.append((message.parsed, [call.function.parsed_arguments for call in message.tool_calls or ()]))
        if one is chunks[3]:
            state.handle_chunk(decode_chunk(json.dumps(delta(tool_calls=[call(0, '"b": 2}')])).encode()))

    assert found == [
        ({"city": "Oslo"}, []),
        ({"city": "Oslo"}, []),
        (Wind("Oslo"), [{"a": 1}]),
        ({"city": "Oslo"}, [{"a": 1}]),
        (Wind("Oslo"), [{"a": 1, "b": 2}]),
    ]


def test_what_the_model_says_before_it_calls_a_tool_need_not_be_an_answer() -> None:
    events = events_of(
        [delta(content="Let me see."), delta(tool_calls=[call(0, "{}", "plain")]), end("tool_calls")],
        response_format=Wind,
        input_tools=[STRICT],
    )

    assert [event.parsed for event in only(events, "content.done")] == [None]


@pytest.mark.parametrize(
    ("reason", "error"), [("length", LengthFinishReasonError), ("content_filter", ContentFilterFinishReasonError)]
)
@pytest.mark.parametrize(
    "asked", [{"response_format": Wind}, {"input_tools": [STRICT]}, {"input_tools": [function_tool(Wind)]}]
)
def test_an_answer_that_was_cut_raises_where_something_was_to_be_parsed(
    reason: str, error: type[LengthFinishReasonError], asked: dict[str, Any]
) -> None:
    with pytest.raises(error) as caught:
        events_of([delta(content='{"city'), end(reason, usage=USAGE)], **asked)

    completion = caught.value.completion
    assert completion.choices[0].message.content == '{"city'
    assert completion.usage is not None
    assert types_of(events_of([delta(content='{"city'), end(reason)], input_tools=[LOOSE]))[-1] == "content.done"


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(content='{"city": 5}'), end()],
        [delta(content="{}"), delta(tool_calls=[call(0, '{"city": 5}', "Wind")]), end("tool_calls")],
    ],
)
def test_what_does_not_fit_raises_with_the_answer(chunks: list[dict[str, Any]]) -> None:
    with pytest.raises(StructuredOutputError, match=r"Expected `str`, got `int` at \$\.city") as caught:
        events_of(chunks, response_format=Wind, input_tools=[function_tool(Wind)])

    assert caught.value.completion is not None
    assert caught.value.text == '{"city": 5}'
    assert pickle.loads(pickle.dumps(caught.value)).completion == caught.value.completion


async def test_a_stream_gives_the_parsed_answer() -> None:
    frames = [*(frame(delta(content=piece)) for piece in pieces_of('{"city": "Oslo"}')), *WHOLE[2:]]
    async with client_of(*frames) as client, client.chat.completions.stream(**HI, response_format=Wind) as stream:
        completion = await stream.get_final_completion()

    assert isinstance(completion, ParsedChatCompletion)
    assert completion.choices[0].message.parsed == Wind("Oslo")


async def test_a_stream_that_could_not_be_parsed_says_so_again_and_again() -> None:
    async with client_of(*WHOLE) as client, client.chat.completions.stream(**HI, response_format=Wind) as stream:
        for _ in range(2):
            with pytest.raises(StructuredOutputError, match="not a Wind"):
                await stream.get_final_completion()
        with pytest.raises(StructuredOutputError, match="not a Wind") as caught:
            await anext(stream)

        assert copy.copy(caught.value).completion is not None
        assert stream.current_completion_snapshot.choices[0].message.content == "Hello"


async def test_an_empty_answer_is_found_at_the_end() -> None:
    frames = [frame(delta(reasoning_content="Hm.")), frame(end()), b"data: [DONE]\n\n"]
    async with client_of(*frames) as client, client.chat.completions.stream(**HI, response_format=Wind) as stream:
        await stream.until_done()
        with pytest.raises(StructuredOutputError, match="empty"):
            await stream.get_final_completion()


async def test_a_stream_may_end_without_a_reason() -> None:
    frames = [frame(delta(content='{"city":""}')), b"data: [DONE]\n\n"]
    async with client_of(*frames) as client, client.chat.completions.stream(**HI, response_format=Wind) as stream:
        completion = await stream.get_final_completion()

    assert completion.choices[0].message.parsed == Wind("")


SERVED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"text": "Hello there."}),
    "reasoning": ({}, {"text": "Hello.", "reasoning": "Hm."}),
    "parsed": ({"response_format": Weather}, {"chunks": pieces_of('{"city": "Oslo", "days": [1, 2]}')}),
    "json": ({"response_format": {"type": "json_object"}}, {"text": '{"a": 1}'}),
    "tools": (
        {"tools": [openai.pydantic_function_tool(Weather), LOOSE]},
        {
            "text": "Let me see.",
            "tool_calls": [
                {"name": "Weather", "arguments": {"city": "Oslo"}},
                {"name": "loose", "arguments": {"a": [1]}},
                {"name": "Weather", "arguments": {"city": "Rome", "days": [1, 2, 3]}},
            ],
        },
    ),
    "logprobs": ({"logprobs": True, "top_logprobs": 2}, {"text": "Hello there."}),
    "usage": ({"stream_options": {"include_usage": True}}, {"text": "Hello."}),
    "cut": ({"response_format": Weather}, {"text": '{"city": "Os', "finish_reason": "length"}),
}


@pytest.mark.parametrize(("asked", "said"), SERVED.values(), ids=SERVED)
async def test_both_packages_tell_the_same_of_the_same_service(asked: dict[str, Any], said: dict[str, Any]) -> None:
    fake = FakeMoonshot()
    fake.reply(**said, times=2)
    ask: Any = {"model": "kimi-k3", "messages": [{"role": "user", "content": "JSON, please."}], **asked}
    runs: list[list[Any]] = []
    async with fake.serve() as url:
        for package in (AsyncMoonshot, openai.AsyncOpenAI):
            options: dict[str, Any] = {"api_key": "sk-canary-01", "base_url": url, "max_retries": 0}
            run: list[Any] = []
            client: Any
            async with package(**options) as client:
                try:
                    async with client.chat.completions.stream(**ask) as stream:
                        async for event in stream:
                            tell(run, event)
                        final = await stream.get_final_completion()
                        run.append(final.choices[0].message.parsed)
                except (LengthFinishReasonError, openai.LengthFinishReasonError) as error:
                    run.append((type(error).__name__, error.completion.choices[0].message.content))
            runs.append(run)

    ours, theirs = runs
    assert ours == theirs
    assert len(ours) > 2


def tell(run: list[Any], event: Any) -> None:
    fields = told_whole(event)
    if event.type == "tool_calls.function.arguments.done" and event.name == "loose":
        # Ours tells the JSON value of any arguments.
        fields.pop("parsed_arguments", None)
    if not event.type.startswith(("reasoning", "usage")):
        run.append({name: value for name, value in fields.items() if not name.startswith("snapshot ")})


async def test_a_stream_that_is_not_entered_says_how_to() -> None:
    fake = FakeMoonshot()
    client = AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake))
    manager: Any = client.chat.completions.stream(model="kimi-k2.6", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(TypeError, match=r"`async with .+ as stream`, and then `async for event in stream`\.$"):
        async for _ in manager:
            pass
    with pytest.raises(TypeError, match=r"`async with .+ as stream`, and then `await stream\.get_final_completion"):
        await manager
    assert fake.requests == []


async def test_a_stream_that_is_not_resumed_says_why_the_request_for_the_rest_was_not_sent_again() -> None:
    async def app(request: Request) -> Response:
        if not seen:
            seen.append(request)
            return Response(200, {}, frame(delta(content="Grey")) + frame(end("length")))
        return Response(503, {"Retry-After": "300"}, b"{}")

    seen: list[Request] = []
    client = AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(app))
    messages: Any = [{"role": "user", "content": "hi"}]
    with pytest.raises(StreamInterruptedError, match="The request for the rest failed") as caught:
        async with client.chat.completions.stream(model="kimi-k2.6", messages=messages, continue_on_length=1) as stream:
            await stream.until_done()

    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert error.__notes__ == ["Not sent again: the service asks to wait 300 s, and no more than 120 s are waited."]
        assert [attempt.error for attempt in error.attempts] == ["InternalServerError 503"]
