"""Chunks folded into the answer that would have come in one piece, whatever hosts do to their tool calls."""

import json
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import collect
from moonshot_async.accumulate import ChatAccumulator, Text
from moonshot_async.errors import StreamInterruptedError
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk, decode_chunk, decode_completion


def chunk(*choices: dict[str, Any], **fields: Any) -> ChatCompletionChunk:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "kimi-k3"}
    return decode_chunk(json.dumps({**head, "choices": choices, **fields}).encode())


def delta(index: int = 0, **fields: Any) -> ChatCompletionChunk:
    return chunk({"index": index, "delta": fields})


def end(reason: str = "stop", index: int = 0, **fields: Any) -> ChatCompletionChunk:
    return chunk({"index": index, "delta": {}, "finish_reason": reason, **fields})


def fragment(name: str | None = None, arguments: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": name, "arguments": arguments}}


def folded(*chunks: ChatCompletionChunk) -> ChatCompletion:
    answer = ChatAccumulator()
    for one in chunks:
        answer.add(one)
    completion = answer.partial()
    assert completion is not None
    return completion


def calls_of(*fragments: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls that these fragments make, one chunk for each."""
    completion = folded(*(delta(tool_calls=[one]) for one in fragments))
    calls = completion.choices[0].message.tool_calls
    together = folded(delta(tool_calls=list(fragments))).choices[0].message.tool_calls
    assert calls == together, "how fragments are spread over chunks makes no difference"
    return [(call.id, call.function.name, call.function.arguments) for call in calls or ()]


async def stream_of(chunks: Iterable[ChatCompletionChunk]) -> AsyncIterator[ChatCompletionChunk]:
    for one in chunks:
        yield one


def test_text_reasoning_and_refusal_are_joined() -> None:
    completion = folded(
        delta(role="assistant", content=""),
        delta(reasoning_content="Gre"),
        delta(reasoning_content="et.", content=None),
        delta(content="Hel"),
        delta(content="lo"),
        delta(refusal="N"),
        delta(refusal="o"),
        end(),
    )

    message = completion.choices[0].message
    assert (message.role, message.content, message.reasoning_content) == ("assistant", "Hello", "Greet.")
    assert (message.refusal, message.reasoning, message.tool_calls) == ("No", None, None)
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.id, completion.created, completion.model) == ("c1", 1, "kimi-k3")
    assert completion.object == "chat.completion"


def test_an_empty_text_is_another_thing_than_none() -> None:
    message = folded(delta(content="", reasoning=""), end()).choices[0].message

    assert (message.content, message.reasoning) == ("", "")
    assert (message.reasoning_content, message.refusal) == (None, None)


def test_reasoning_under_the_name_of_other_hosts_is_joined_under_that_name() -> None:
    message = folded(delta(reasoning="a"), delta(reasoning="b"), end()).choices[0].message

    assert (message.reasoning, message.reasoning_content) == ("ab", None)


def test_interleaved_fragments_of_parallel_calls_find_their_call() -> None:
    assert calls_of(
        fragment("f", "", index=0, id="f:0"),
        fragment(None, '{"a":', index=0),
        fragment("g", "", index=1, id="g:1"),
        fragment(None, "{}", index=1),
        fragment(None, "1}", index=0),
    ) == [("f:0", "f", '{"a":1}'), ("g:1", "g", "{}")]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}], ids=["missing", "null", "always 0"])
def test_ids_tell_calls_apart_where_the_index_does_not(index: dict[str, Any]) -> None:
    assert calls_of(
        fragment("f", "{", id="a", **index),
        fragment(None, "}", **index),
        fragment("g", "[", id="b", **index),
        fragment(None, "]", **index),
    ) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_a_repeated_id_is_the_same_call_also_when_another_came_between() -> None:
    assert calls_of(
        fragment("f", "1", id="a"),
        fragment("f", "2", id="a"),
        fragment("g", "3", id="b"),
        fragment("f", "4", id="a"),
        fragment("g", "5", id="b"),
    ) == [("a", "f", "124"), ("b", "g", "35")]


def test_an_id_that_is_renewed_in_every_fragment_begins_no_call_without_a_name() -> None:
    assert calls_of(
        fragment("f", "{", index=0, id="x1"),
        fragment(None, "}", index=0, id="x2"),
        fragment("g", "[]", index=1, id="x3"),
    ) == [("x1", "f", "{}"), ("x3", "g", "[]")]


def test_without_index_a_new_id_begins_a_call_also_before_its_name() -> None:
    assert calls_of(
        fragment("f", "{}", id="a"),
        fragment(None, "[", id="b"),
        fragment("g", "]", id="b"),
    ) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_without_index_and_id_a_new_name_begins_a_call() -> None:
    assert calls_of(
        fragment("f", "{", id=""),
        fragment("f", "}", id=""),
        fragment("g", "[]", id=""),
        fragment(None, "!"),
    ) == [("call_0", "f", "{}"), ("call_1", "g", "[]!")]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}], ids=["missing", "null", "always 0"])
@pytest.mark.parametrize("id", [{}, {"id": ""}, {"id": "same"}], ids=["no id", "empty id", "one id for all"])
def test_where_nothing_else_tells_calls_apart_a_name_begins_one_once_the_arguments_are_whole(
    id: dict[str, Any], index: dict[str, Any]
) -> None:
    made = calls_of(
        fragment("f", '{"a":1', **id, **index),
        fragment(None, "}", **index),
        fragment("f", '{"a":', **id, **index),
        fragment(None, "2}", **index),
    )
    assert [call[1:] for call in made] == [("f", '{"a":1}'), ("f", '{"a":2}')]


def test_a_call_that_is_told_again_at_its_end_is_none_more() -> None:
    once = fragment("f", '{"a":1}', index=0, id="a")
    for again in (once, fragment("f", "", index=0, id="a"), fragment("f", "", id="a"), fragment("f", None, index=0)):
        assert [call[:2] for call in calls_of(once, again)] == [("a", "f")]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}], ids=["missing", "null", "always 0"])
@pytest.mark.parametrize("name", ["f", "g"])
@pytest.mark.parametrize("id", [{}, {"id": "same"}], ids=["id in heads", "id in all"])
def test_a_head_without_arguments_begins_a_call_once_arguments_follow(
    name: str, index: dict[str, Any], id: dict[str, Any]
) -> None:
    made = calls_of(
        fragment("f", "", id="same", **index),
        fragment(None, '{"a":1}', **id, **index),
        fragment(name, "", id="same", **index),
        fragment(None, '{"a":', **id, **index),
        fragment(None, "2}", **id, **index),
        fragment(name, "", id="same", **index),
        fragment(None, '{"a":3}', **id, **index),
    )
    assert made == [("same", "f", '{"a":1}'), ("same", name, '{"a":2}'), ("same", name, '{"a":3}')]


@pytest.mark.parametrize("arguments", ["", "{}", '{"a":1}'])
@pytest.mark.parametrize("id", ["", "same"])
def test_another_name_begins_another_call_whatever_the_index_and_the_id(id: str, arguments: str) -> None:
    made = calls_of(
        fragment("f", "", index=0, id=id), fragment(None, arguments, index=0), fragment("g", "{}", index=0, id=id)
    )
    assert [call[1:] for call in made] == [("f", arguments), ("g", "{}")]


def test_another_name_in_the_middle_of_a_call_is_looked_at_once() -> None:
    text = '{"a":"' + "}" * 5_000_000
    middle = [fragment("g", "}", index=0, id="same")] * 2_000
    before = time.process_time()

    made = calls_of(fragment("f", text, index=0, id="same"), *middle, fragment("f", '"}', index=0))

    assert made == [("same", "f", text + "}" * 2_000 + '"}')]
    assert time.process_time() - before < 1


def test_what_follows_a_call_that_was_told_again_has_its_own_id_and_name() -> None:
    told = fragment("f", '{"a":1}', id="a"), fragment("f", "", id="a")
    assert calls_of(*told, fragment(None, "{", id="b"), fragment("g", "}", id="b")) == [
        ("a", "f", '{"a":1}'),
        ("b", "g", "{}"),
    ]
    assert len(calls_of(*told, fragment(None, '{"a":1}'), fragment(None, " "))) == 1


def test_a_host_that_names_the_function_in_every_fragment_begins_no_call_with_the_last_one() -> None:
    assert calls_of(fragment("f", '{"a":'), fragment("f", "1}"), fragment("f", "")) == [("call_0", "f", '{"a":1}')]


def test_a_name_begins_no_call_before_the_arguments_are_whole() -> None:
    for text in ('{"a":', "{}", "[1]", "1", "", "[" * 2000):
        assert len(calls_of(fragment("f", text, index=0), fragment("f", "x", index=0))) == 1


def test_arguments_may_come_before_name_and_id() -> None:
    assert calls_of(
        fragment(None, "{", index=0),
        {"index": 0, "type": "function"},
        fragment("f", "}", index=0, id="a"),
    ) == [("a", "f", "{}")]


def test_a_call_without_an_id_gets_one_that_its_answer_can_name() -> None:
    assert calls_of(fragment("f", "{}", index=3, id=""), fragment("f", "{}", index=7, id=None)) == [
        ("call_0", "f", "{}"),
        ("call_1", "f", "{}"),
    ]


def test_an_index_names_its_call_whatever_the_name_says() -> None:
    assert calls_of(fragment("f", "{", index=0), fragment("other", "}", index=0)) == [("call_0", "f", "{}")]


def test_the_type_of_a_call_is_kept() -> None:
    message = folded(delta(tool_calls=[fragment("$web_search", "{}", index=0, type="builtin_function")]))

    calls = message.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "builtin_function"


def test_an_old_style_function_call_is_joined() -> None:
    completion = folded(
        delta(function_call={"name": "f", "arguments": "{"}), delta(function_call={"arguments": "}"}), end()
    )

    call = completion.choices[0].message.function_call
    assert call is not None
    assert (call.name, call.arguments) == ("f", "{}")


def test_choices_are_kept_apart_and_stand_in_their_order() -> None:
    completion = folded(
        chunk({"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}),
        delta(1, content="B"),
        end("length", 1),
        end("stop", 0),
    )

    assert [(c.index, c.message.content, c.finish_reason) for c in completion.choices] == [
        (0, "a", "stop"),
        (1, "bB", "length"),
    ]


@pytest.mark.parametrize(
    "last",
    [
        [end(usage={"total_tokens": 16})],
        [chunk({"index": 0, "delta": {}, "finish_reason": "stop"}, usage={"total_tokens": 16})],
        [end(), chunk(usage={"total_tokens": 16})],
        [end(usage={"total_tokens": 1}), chunk(usage={"total_tokens": 16})],
        [end(usage={"total_tokens": 16}), chunk(usage=None)],
        [chunk(usage={"total_tokens": 1}), end(usage={"total_tokens": 16}), end()],
    ],
)
def test_usage_is_found_in_each_of_its_places_and_the_last_one_counts(last: list[ChatCompletionChunk]) -> None:
    usage = folded(delta(content="x"), *last).usage

    assert usage is not None
    assert usage.total_tokens == 16


def test_logprobs_are_joined_and_unknown_parts_of_them_kept() -> None:
    def token(text: str) -> dict[str, Any]:
        return {"token": text, "logprob": -1.0, "top_logprobs": []}

    completion: Any = folded(
        chunk({"index": 0, "delta": {}, "logprobs": {"content": [token("a")]}}),
        chunk({"index": 0, "delta": {}, "logprobs": {"refusal": [token("n")], "offset": 1}}),
        chunk({"index": 0, "delta": {}, "logprobs": {"content": [token("b")], "refusal": [token("o")], "offset": 2}}),
        chunk({"index": 0, "delta": {}, "logprobs": None}),
    )

    logprobs = completion.choices[0].logprobs
    assert [t.token for t in logprobs.content] == ["a", "b"]
    assert [t.token for t in logprobs.refusal] == ["n", "o"]
    assert logprobs.offset == 2
    assert folded(chunk({"index": 0, "delta": {}, "logprobs": {}})).choices[0].logprobs is not None


def test_unknown_fields_are_kept_at_every_level() -> None:
    call = {"index": 0, "id": "a", "signature": "x", "function": {"name": "f", "arguments": "{}", "strict": True}}
    completion: Any = folded(
        chunk({"index": 0, "delta": {"mood": "ca", "tool_calls": [call]}, "stop_reason": None}, timings=None),
        chunk({"index": 0, "delta": {"mood": "lm", "tool_calls": [{"index": 0, "signature": "y"}]}, "stop_reason": 7}),
        chunk(timings={"ms": 1}),
        chunk(timings=None),
    )

    choice = completion.choices[0]
    call = choice.message.tool_calls[0]
    assert completion.timings == {"ms": 1}
    assert (choice.stop_reason, choice.message.mood, call.signature, call.function.strict) == (7, "calm", "xy", True)


def test_unknown_texts_and_lists_grow_and_of_other_values_the_last_that_is_not_null_counts() -> None:
    completion: Any = folded(
        delta(text=None, items=[1], number=1, mixed="a", late=None),
        delta(text="a", items=[2], number=2, mixed=5, late=None),
        delta(text=None, items=None, number=None, mixed="b"),
        delta(text="b"),
    )

    assert completion.choices[0].message.model_extra == {
        "text": "ab",
        "items": [1, 2],
        "number": 2,
        "mixed": "b",
        "late": None,
    }


def test_what_was_handed_out_stays_as_it_was_while_more_arrives() -> None:
    def piece(text: str) -> ChatCompletionChunk:
        call = fragment("f", text, index=0, id="a", note=text)
        logprobs = {"content": [{"token": text}], "refusal": [{"token": text}]}
        return chunk({"index": 0, "delta": {"content": text, "x": [text], "tool_calls": [call]}, "logprobs": logprobs})

    answer = ChatAccumulator()
    answer.add(piece("a"))
    first = answer.partial()
    assert first is not None
    before = first.model_dump()

    answer.add(piece("b"))

    assert first.model_dump() == before
    assert answer.partial() != first


def test_the_chunks_stay_as_they_were() -> None:
    chunks = [delta(x=[1]), delta(x=[2]), chunk({"index": 0, "delta": {}, "logprobs": {"content": [{"token": "a"}]}})]
    before = [one.model_dump() for one in chunks]

    folded(*chunks, *chunks)

    assert [one.model_dump() for one in chunks] == before


def test_what_the_first_chunk_leaves_out_is_taken_from_the_last() -> None:
    first = chunk({"index": 0, "delta": {}}, id="", created=None, model="", system_fingerprint=None)
    last = chunk(id="c9", created=9, model="m9", system_fingerprint="fp", service_tier="default")

    completion = folded(first, last)

    assert (completion.id, completion.created, completion.model) == ("c9", 9, "m9")
    assert (completion.system_fingerprint, completion.service_tier) == ("fp", "default")


def test_an_answer_is_finished_once_every_choice_that_began_has_its_reason() -> None:
    answer = ChatAccumulator()
    assert answer.partial() is None
    assert not answer.finished
    answer.add(chunk())
    assert not answer.finished
    answer.add(chunk({"index": 0, "delta": {}}, {"index": 1, "delta": {}}))
    answer.add(end("stop", 0))
    answer.add(end("", 1))
    assert not answer.finished
    answer.add(end("length", 1))
    answer.add(end("", 1))
    assert answer.finished
    assert folded(end("stop"), end("")).choices[0].finish_reason == "stop"


async def test_collect_reads_a_stream_to_its_end() -> None:
    completion = await collect(stream_of([delta(content="Hi"), end()]))

    assert completion.choices[0].message.content == "Hi"


@pytest.mark.parametrize(
    ("chunks", "partial"), [([], None), ([delta(content="Hal")], "Hal"), ([end(), delta(1, content="x")], None)]
)
async def test_collect_raises_what_is_not_complete_with_what_there_is(
    chunks: list[ChatCompletionChunk], partial: str | None
) -> None:
    with pytest.raises(StreamInterruptedError, match="before the answer was complete") as caught:
        await collect(stream_of(chunks))

    assert (caught.value.partial is None) is not bool(chunks)
    if caught.value.partial is not None:
        assert caught.value.partial.choices[0].message.content == partial


_TEXTS = st.none() | st.text(max_size=40)
_CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(min_size=1, max_size=4),
            "type": st.sampled_from(["function", "builtin_function"]),
            "function": st.fixed_dictionaries(
                {"name": st.text(min_size=1, max_size=4), "arguments": st.text(max_size=20)}
            ),
        }
    ),
    max_size=3,
)


@st.composite
def _cut(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces; one that is empty still comes, in one."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def _answers(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer as it comes in one piece, and as it comes in chunks."""
    lanes: list[list[dict[str, Any]]] = []
    choices = []
    for index in range(draw(st.integers(1, 2))):
        texts = {name: draw(_TEXTS) for name in ("content", "reasoning_content", "refusal", "mood")}
        message = {"role": "assistant", **{name: text for name, text in texts.items() if text is not None}}
        own: list[list[dict[str, Any]]] = [
            [{name: piece} for piece in draw(_cut(text))] for name, text in texts.items() if text is not None
        ]
        calls = draw(_CALLS)
        for place, call in enumerate(calls):
            head = {
                "index": place,
                "id": call["id"],
                "type": call["type"],
                "function": {"name": call["function"]["name"]},
            }
            pieces = [{"index": place, "function": {"arguments": p}} for p in draw(_cut(call["function"]["arguments"]))]
            own.append([{"tool_calls": [one]} for one in (head, *pieces)])
        if calls:
            message["tool_calls"] = calls
        # The calls of one answer begin in their order; nothing else about the order of the lanes is sure.
        deltas = [{"tool_calls": [own_lane.pop(0)["tool_calls"][0]]} for own_lane in own if "tool_calls" in own_lane[0]]
        while any(own):
            deltas.append(draw(st.sampled_from([lane for lane in own if lane])).pop(0))
        lane = [{"index": index, "delta": {"role": "assistant"}}]
        lane += [{"index": index, "delta": one} for one in deltas]
        lanes.append([*lane, {"index": index, "delta": {}, "finish_reason": "stop"}])
        choices.append({"index": index, "finish_reason": "stop", "message": message})
    chunks = []
    while any(lanes):
        chunks.append({"id": "c", "model": "m", "choices": [draw(st.sampled_from([x for x in lanes if x])).pop(0)]})
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return {"id": "c", "model": "m", "choices": choices, "usage": usage}, [*chunks, {"choices": [], "usage": usage}]


@given(_answers())
def test_an_answer_is_the_same_however_it_was_cut(answer: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    whole, chunks = answer

    completion = folded(*(decode_chunk(json.dumps(one).encode()) for one in chunks))

    assert completion == decode_completion(json.dumps(whole).encode())


@given(st.lists(st.text(max_size=3) | st.none(), max_size=1200))
def test_a_text_reads_right_at_any_time(pieces: list[str | None]) -> None:
    text, so_far = Text(), ""

    for piece in pieces:  # None: somebody reads
        if piece is None:
            assert str(text) == so_far
        else:
            text.add(piece)
            so_far += piece
        assert text.length == len(so_far)

    half = len(so_far) // 2
    assert (text.prefix(half), text.prefix(len(so_far)), text.value() or "") == (so_far[:half], so_far, so_far)


def test_the_cost_of_a_chunk_does_not_grow_with_the_answer() -> None:
    # `Text` keeps full blocks apart until it is read: no piece is copied twice before that.
    text = Text()
    copied = 0
    for _ in range(50_000):
        blocks = sum(map(len, text._blocks or ()))
        text.add("ab")
        copied += sum(map(len, text._blocks or ())) - blocks
        assert len(text._pieces or ()) < 1024
    longest = max(map(len, text._blocks or ()))

    assert copied <= 100_000
    assert longest <= 2048
    assert str(text) == "ab" * 50_000


def test_the_cost_of_reading_after_each_piece_does_not_grow_with_the_text() -> None:
    # A copy of the text each time would make the last thousand pieces a hundred times as dear as the first.
    text = Text()
    seconds: list[float] = []
    for _ in range(100):
        started = time.process_time()
        for _ in range(1000):
            text.add("a piece of ten characters ")
            str(text)
        seconds.append(time.process_time() - started)
    assert len(str(text)) == text.length == 2_600_000
    assert statistics.median(seconds[-20:]) < 10 * statistics.median(seconds[:20])


def test_a_text_that_somebody_keeps_stays_as_it_was() -> None:
    text = Text()
    kept = []
    for piece in ("a", "é", "日本"):
        text.add(piece)
        kept.append(str(text))
    assert kept == ["a", "aé", "aé日本"]
