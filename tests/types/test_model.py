"""What the decoder forgives, what it refuses, and that nothing the server said is lost."""

import copy
import json
import pickle
import re
from collections.abc import Collection
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.errors import APIError, APIResponseValidationError
from moonshot_async.types.chat import ChatCompletion, ChatCompletionMessage, Usage, decode_chunk, decode_completion
from moonshot_async.types.model import Model, ModelDecoder, error_event, excerpt, sent_null

UNKNOWN = {
    "id": "c1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "",
                "mood": "calm",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "f:0",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}", "strict": True},
                    }
                ],
            },
            "stop_reason": 7,
            "logprobs": {"content": [{"token": "a", "logprob": -1.5, "top_logprobs": [], "rank": 1}], "offset": 3},
        }
    ],
    "created": 1,
    "model": "kimi-k3",
    "object": "chat.completion",
    "usage": {
        "completion_tokens": 1,
        "prompt_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1, "image_tokens": 5},
        "cached_tokens": 1,
        "cost": 0.5,
    },
    "timings": {"ms": [1, None]},
}


T = TypeVar("T")


class Part(Model, kw_only=True):
    kind: str = "text"
    text: str | None = None


class Whole(Model, kw_only=True):
    """A struct with a field of every sort."""

    id: str
    part: Part
    parts: list[Part] = msgspec.field(default_factory=list)
    reason: str | None = sent_null()
    count: int | None = None
    doubled: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            self.doubled = 2 * self.count

    def _unsent(self) -> Collection[str]:
        return ("doubled",)


def encoded(data: object) -> bytes:
    return json.dumps(data).encode()


def completion_with_id(text: bytes) -> str:
    return decode_completion(b'{"choices":[],"id":"' + text + b'"}').id


def test_unknown_fields_are_attributes_at_every_level() -> None:
    completion: Any = decode_completion(encoded(UNKNOWN))

    choice = completion.choices[0]
    call = choice.message.tool_calls[0]
    assert completion.timings == {"ms": [1, None]}
    assert (choice.stop_reason, choice.message.mood, call.index, call.function.strict) == (7, "calm", 0, True)
    assert (choice.logprobs.offset, choice.logprobs.content[0].rank) == (3, 1)
    assert (completion.usage.cost, completion.usage.prompt_tokens_details.image_tokens) == (0.5, 5)
    assert completion.model_extra == {"timings": {"ms": [1, None]}}


def test_what_is_odd_in_one_of_many_items_leaves_the_others_as_they_are() -> None:
    parts: list[Any] = [{"kind": "text", "text": str(number)} for number in range(20)]
    parts[7] |= {"mood": "calm"}
    parts[11] |= {"kind": None}
    for count in (5, 12, 20):
        whole: Any = ModelDecoder(Whole)(encoded({"id": "a", "part": {"text": "x"}, "new": 1, "parts": parts[:count]}))

        assert [part.text for part in whole.parts] == [str(number) for number in range(count)]
        assert {part.kind for part in whole.parts} == {"text"}
        assert [part.model_extra for part in whole.parts if part.model_extra] == [{"mood": "calm"}] * (count > 7)


@pytest.mark.parametrize("parts", [["x"], ["x"] * 20, [None], [[]], "x", {"text": "x"}])
def test_items_that_are_no_objects_are_refused(parts: Any) -> None:
    with pytest.raises(APIResponseValidationError):
        ModelDecoder(Whole)(encoded({"id": "a", "part": {}, "new": 1, "parts": parts}))


def test_a_dump_without_nulls_is_any_dump_without_its_nulls() -> None:
    completion = decode_completion(encoded(UNKNOWN | {"system_fingerprint": None, "mood": None}))

    def without(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {name: without(value) for name, value in tree.items() if value is not None}
        return [without(item) for item in tree] if isinstance(tree, list) else tree

    full = completion.model_dump()
    timings = full.pop("timings")
    dump = completion.model_dump(exclude_none=True)
    # What is in unknown fields is left as it came.
    assert dump.pop("timings") == timings
    assert list(dump.items()) == list(without(full).items())


def test_unknown_fields_are_part_of_every_dump() -> None:
    completion = decode_completion(encoded(UNKNOWN))

    assert completion.to_dict() == UNKNOWN
    assert json.loads(completion.to_json()) == UNKNOWN
    assert json.loads(completion.model_dump_json(exclude_none=True)) == UNKNOWN
    assert completion.model_dump()["choices"][0]["message"]["tool_calls"][0]["index"] == 0


def test_unknown_fields_survive_pickling_and_copying_and_count_in_a_comparison() -> None:
    completion: Any = decode_completion(encoded(UNKNOWN))
    other = decode_completion(encoded({**UNKNOWN, "timings": {}}))

    for twin in (pickle.loads(pickle.dumps(completion)), copy.copy(completion), copy.deepcopy(completion)):
        assert twin == completion
        assert twin.to_dict() == UNKNOWN
        assert twin.choices[0].message.mood == "calm"
    assert completion != other


def test_a_field_that_nobody_sent_is_an_attribute_error_that_names_it() -> None:
    completion: Any = decode_completion(encoded(UNKNOWN))
    plain: Any = decode_completion(b'{"choices":[]}')

    with pytest.raises(AttributeError, match="ChatCompletion has no field 'moood'"):
        _ = completion.moood
    with pytest.raises(AttributeError, match="ChatCompletion has no field 'mood'"):
        _ = plain.mood
    assert plain.model_extra == {}


def test_fields_named_like_our_own_are_unknown_fields_like_any_other() -> None:
    body = {"choices": [], "_extra": 5, "_request_id": "forged"}

    completion = decode_completion(encoded(body))

    assert completion.request_id is None
    assert completion.model_extra == {"_extra": 5, "_request_id": "forged"}
    assert completion.to_dict()["_extra"] == 5


def test_what_was_dumped_can_be_made_again() -> None:
    answer = ChatCompletion.model_validate(UNKNOWN)

    assert ChatCompletion.model_validate(answer.model_dump(mode="json", by_alias=True)) == answer
    assert ChatCompletion.model_validate(answer.to_dict(mode="json")) == answer
    assert ChatCompletion.model_validate(json.loads(answer.model_dump_json(by_alias=True))) == answer
    assert answer.model_copy() == answer
    assert answer.model_copy() is not answer
    assert answer.model_copy().choices[0].message.mood == "calm"  # type: ignore[attr-defined]
    with pytest.raises(APIResponseValidationError):
        ChatCompletion.model_validate({"choices": 5})


def test_json_text_can_be_validated_as_text_and_as_bytes() -> None:
    text = '{"id":"a","part":{"kind":"x"},"new":1}'

    for json_data in (text, text.encode(), bytearray(text.encode())):
        whole: Any = Whole.model_validate_json(json_data)
        assert (whole.id, whole.part.kind, whole.new) == ("a", "x", 1)
    with pytest.raises(APIResponseValidationError, match="not valid JSON"):
        Whole.model_validate_json("{")


def test_an_object_can_be_made_of_values_that_nobody_checks() -> None:
    whole: Any = Whole.construct(id=5, part={"kind": "x", "own": 1}, parts=[{"text": "t"}, Part(text="u")], new="n")

    assert (whole.id, whole.part.kind, whole.part.own, whole.new) == (5, "x", 1, "n")
    assert [part.text for part in whole.parts] == ["t", "u"]
    assert isinstance(whole.part, Part)
    bare = Whole.model_construct()
    assert (bare.id, bare.part, bare.parts, bare.count, bare.model_extra) == (None, None, [], None, {})
    assert ChatCompletion.construct(**decode_completion(encoded(UNKNOWN)).to_dict()).to_dict() == UNKNOWN


def test_a_copy_may_be_deep_and_may_differ() -> None:
    whole = Whole.model_validate({"id": "a", "part": {"text": "t"}, "new": [1]})

    twin: Any = whole.model_copy(update={"id": "b", "other": 2, "new": [2]})
    assert (twin.id, twin.other, twin.new) == ("b", 2, [2])
    assert twin.part is whole.part
    assert (whole.id, whole.model_extra) == ("a", {"new": [1]})
    deep = whole.model_copy(deep=True)
    assert deep == whole
    assert deep.part is not whole.part
    assert whole.model_copy().model_extra is not whole.model_extra
    assert Part().model_copy(update={"x": 1}).to_dict() == {"kind": "text", "x": 1}


def test_a_dump_can_be_cut_to_names_at_the_top() -> None:
    whole = Whole.model_validate({"id": "a", "part": {"text": "t"}, "new": 1})

    assert whole.model_dump(include={"id", "new", "missing"}) == {"id": "a", "new": 1}
    assert whole.model_dump(exclude=["part", "parts", "new"], exclude_unset=True) == {"id": "a", "reason": None}
    assert whole.model_dump(include={"id", "part"}, exclude={"part"}) == {"id": "a"}
    assert whole.model_dump_json(include={"id"}) == '{"id":"a"}'
    assert json.loads(whole.model_dump_json(exclude={"new"}, exclude_none=True)).keys() == {"id", "part", "parts"}
    for names in ("id", {"part": {"kind"}}):
        with pytest.raises(TypeError, match="collections of names"):
            whole.model_dump(include=names)
        with pytest.raises(TypeError, match="collections of names"):
            whole.model_dump(exclude=names)


def test_a_dump_without_defaults_has_what_differs_from_them() -> None:
    whole = Whole.model_validate({"id": "a", "part": {"text": "t", "kind": "text"}, "parts": []})

    assert whole.model_dump(exclude_defaults=True) == {"id": "a", "part": {"text": "t"}}
    assert json.loads(whole.model_dump_json(exclude_defaults=True)) == {"id": "a", "part": {"text": "t"}}


def test_a_null_that_is_sent_on_purpose_stays_and_what_was_filled_in_goes() -> None:
    whole = ModelDecoder(Whole)(b'{"id":"a","part":{},"reason":null,"count":2}')

    assert (whole.reason, whole.doubled) == (None, 4)
    assert whole.to_dict() == {"id": "a", "part": {"kind": "text"}, "parts": [], "reason": None, "count": 2}
    assert whole.model_dump()["doubled"] == 4
    assert "reason" not in whole.to_dict(exclude_none=True)
    assert whole.model_fields_set == {"id", "part", "parts", "reason", "count"}


def test_a_decoder_can_go_on_with_what_it_decoded() -> None:
    decode = ModelDecoder(Whole).then(lambda whole: whole.part).then(lambda part: part.kind)

    assert decode(b'{"id":"a","part":{"kind":"x"}}') == "x"
    assert decode.cls is Whole
    with pytest.raises(APIResponseValidationError):
        decode(b"{}")


def test_generic_structs_are_decoded_forgivingly_too() -> None:
    class Box(Model, Generic[T], kw_only=True):
        data: list[T]
        note: str = ""

    box: Any = ModelDecoder(Box[Part])(b'{"data":[{"kind":"x","new":1}],"note":null,"more":2}')

    assert (box.data[0].kind, box.data[0].new, box.note, box.more) == ("x", 1, "", 2)


def test_null_fields_are_left_out_where_a_dump_is_asked_to() -> None:
    completion = decode_completion(b'{"choices":[],"x":null,"y":{"z":null}}')

    assert completion.model_dump()["x"] is None
    assert "usage" in completion.model_dump()
    assert completion.to_dict()["x"] is None
    assert "usage" not in completion.to_dict()
    assert completion.model_dump(exclude_none=True) == {
        "id": "",
        "choices": [],
        "created": 0,
        "model": "",
        "object": "chat.completion",
        "y": {"z": None},
    }


def test_json_text_is_compact_or_indented() -> None:
    completion = decode_completion(b'{"choices":[],"model":"\xe4\xbd\xa0"}')

    assert completion.to_json(indent=None).startswith('{"id":"","choices":[],"created":0,"model":"你"')
    assert completion.to_json().startswith('{\n  "id": "",\n  "choices": [],\n  "created": 0')
    assert completion.model_dump_json(indent=1).startswith('{\n "id": ""')


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (rb"\ud83c", "\ufffd"),
        (rb"a\uD83Cb", "a\ufffdb"),
        (rb"\udf89", "\ufffd"),
        (rb"\ud83c\ud83c\udf89\udf89", "\ufffd🎉\ufffd"),
        (rb"\ud83c\udf89\ud83c", "🎉\ufffd"),
        (rb"\ud83c\\udf89", "\ufffd\\udf89"),
        (rb"\\ud83c\ud83c", "\\ud83c\ufffd"),
        (rb"\\\ud83c", "\\\ufffd"),
        (rb"\\\\ud83c \ud83c", "\\\\ud83c \ufffd"),
        (rb"\n\ud83c\n", "\n\ufffd\n"),
    ],
)
def test_a_lone_surrogate_becomes_a_replacement_character_and_all_else_stays(sent: bytes, meant: str) -> None:
    assert completion_with_id(sent) == meant


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('\\ud83c"🎉\n')))
def test_any_text_that_was_escaped_comes_back_as_it_was(text: str) -> None:
    body = encoded({"choices": [], "id": text, "unknown": text})

    completion: Any = decode_completion(body)

    assert completion.id == completion.unknown == text


@given(st.text(alphabet=st.characters() | st.sampled_from('\\u\ud83c\udf89"')))
def test_any_text_with_lone_surrogates_is_read_with_each_of_them_replaced(text: str) -> None:
    meant = re.sub(
        "[\ud800-\udfff]", "\ufffd", text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    )

    assert decode_completion(encoded({"choices": [], "id": text})).id == meant


def test_a_byte_order_mark_and_invalid_utf8_are_forgiven() -> None:
    assert decode_completion(b'\xef\xbb\xbf{"choices":[],"id":"x"}') == ChatCompletion(choices=[], id="x")
    assert completion_with_id(b"a\xff\xed\xa0\x80b") == "a\ufffd\ufffd\ufffd\ufffdb"


def test_nulls_stand_for_defaults() -> None:
    chunk = decode_chunk(
        b'{"id":null,"created":null,"object":null,"choices":[{"index":null,"delta":null},'
        b'{"index":1,"delta":{"tool_calls":null,"content":null,"role":null}}]}'
    )
    completion = decode_completion(
        b'{"choices":[{"message":{"role":null,"content":null,"tool_calls":[{"id":null,"type":null,"function":'
        b'{"name":null,"arguments":null}}]}}],"usage":{"prompt_tokens":null}}'
    )

    assert (chunk.id, chunk.created, chunk.object) == ("", 0, "chat.completion.chunk")
    assert (chunk.choices[0].index, chunk.choices[0].delta.content) == (0, None)
    assert chunk.choices[1].delta.tool_calls is None
    message = completion.choices[0].message
    assert message.role == "assistant"
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert (call.id, call.type, call.function.name, call.function.arguments) == ("", "function", "", "")
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 0


def test_numbers_with_a_fraction_are_whole_where_whole_ones_are_meant() -> None:
    completion = decode_completion(b'{"choices":[],"created":1794200000.75,"usage":{"total_tokens":3.0}}')

    assert completion.created == 1794200000
    assert completion.usage is not None
    assert completion.usage.total_tokens == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"null",
        b"5",
        b"[]",
        b"{}",
        b"{",
        b'"text"',
        b"<html><body>Bad gateway</body></html>",
        b'{"choices":null}',
        b'{"choices":{}}',
        b'{"choices":[null]}',
        b'{"choices":["x"]}',
        b'{"choices":[{"message":null}]}',
        b'{"choices":[],"id":5}',
        b'{"choices":[],"created":"soon"}',
        b'{"choices":[],"created":NaN}',
        b'{"choices":[],"created":1e999}',
        b'{"choices":[],"created":' + b"1" * 10_000 + b"}",
        b'{"choices":[],"x":' + b"1" * 10_000 + b"}",
        b'{"choices":[],"usage":[{}]}',
        b'{"choices":[{"message":{"tool_calls":{}}}]}',
        b'{"choices":[{"message":{"content":{"text":"x"}}}]}',
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"choices":[],"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"choices":[],"id":"' + b"\\" * 200_001 + b'"}',
    ],
    ids=lambda body: body[:24].decode() + f"({len(body)})",
)
def test_what_is_no_answer_is_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        decode_completion(body)

    error = caught.value
    assert str(error).startswith("The answer is not what the API documents: ")
    assert error.body == excerpt(body)
    assert len(excerpt(body)) <= 2000
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not error.retryable


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda s: (
            st.lists(s)
            | st.dictionaries(st.sampled_from(["choices", "delta", "usage", "message", "tool_calls", "x"]), s)
        ),
    ).map(encoded)
)
def test_no_body_raises_anything_else(body: bytes) -> None:
    for decode in (decode_completion, decode_chunk):
        try:
            decode(body)
        except APIError:
            pass


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "it is empty"),
        (b" <!doctype html>", "it is an HTML page"),
        (b"Bad gateway", "it is not valid JSON"),
        (b'{"choices":[],"id":5}', "Expected `str`, got `int` - at `$.id`"),
    ],
)
def test_the_error_says_what_came_instead(body: bytes, says: str) -> None:
    with pytest.raises(APIResponseValidationError, match="documents: ") as caught:
        decode_completion(body)

    assert says in str(caught.value)


def test_an_error_object_in_place_of_an_answer_is_raised_with_the_words_of_the_server() -> None:
    with pytest.raises(APIError, match=r"^stream failed$") as caught:
        decode_chunk(b'{"error": {"type": "server_error", "message": "stream failed", "code": 7, "param": "n"}}')

    error = caught.value
    assert type(error) is APIError
    assert (error.type, error.code, error.param) == ("server_error", "7", "n")
    assert isinstance(error.body, dict)
    assert error.body["message"] == "stream failed"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "boom"}', "boom"),
        (b'{"error": "b\\ud83com"}', "b\ufffdom"),
        (b'{"error": 5, "choices": []}', "5"),
        (b'{"error": {"type": "server_error"}}', "The server sent an error."),
        (b'{"error": {"message": ["x"]}}', "The server sent an error."),
        (b'{"error": {"message": "' + b"x" * 5000 + b'"}}', "x" * 2000),
        (b'{"error": "' + b"x" * 5000 + b'"}', "x" * 2000),
    ],
)
def test_an_error_in_any_other_shape_is_raised_too(body: bytes, message: str) -> None:
    with pytest.raises(APIError) as caught:
        decode_completion(body)

    assert type(caught.value) is APIError
    assert str(caught.value) == caught.value.message == message


@pytest.mark.parametrize("body", [b'{"error": null, "choices": []}', b'{"error": "", "choices": []}'])
def test_an_empty_error_beside_an_answer_says_nothing(body: bytes) -> None:
    assert decode_completion(body).choices == []


@pytest.mark.parametrize("levels", [50, 500, 5000])
def test_an_error_object_of_any_depth_can_be_copied_pickled_and_printed(levels: int) -> None:
    tree: object = "x"
    for level in range(levels):
        tree = [tree] if level % 2 else {"a": tree}

    error = error_event({"message": "deep", "code": tree})

    for twin in (copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.message, twin.code, twin.body) == ("deep", error.code, error.body)
    assert "…" in repr(error.body)


def test_other_types_than_our_structs_decode_too() -> None:
    assert ModelDecoder(list[int])(b"[1]") == [1]
    assert ModelDecoder(dict[str, str])(b'{"a":"\\ud83c"}') == {"a": "\ufffd"}
    with pytest.raises(APIResponseValidationError, match="Expected `int`"):
        ModelDecoder(list[int])(b'["x"]')


def test_a_struct_of_the_caller_follows_its_own_rules() -> None:
    class Point(msgspec.Struct):
        x: int

    assert ModelDecoder(Point)(b'{"x":1,"unknown":2}') == Point(1)
    assert ModelDecoder(Point)(b'\xef\xbb\xbf{"x":1,"unknown":2}') == Point(1)


def test_models_are_equal_by_value_and_show_what_they_hold() -> None:
    one, two = decode_completion(b'{"choices":[],"id":"a"}'), ChatCompletion(choices=[], id="a")

    assert one == two
    assert one != ChatCompletion(choices=[], id="b")
    assert repr(one) == (
        "ChatCompletion(id='a', choices=[], created=0, model='', object='chat.completion', metadata=None, "
        "moderation=None, service_tier=None, system_fingerprint=None, usage=None)"
    )


def test_what_openai_does_not_have_is_shown_and_dumped_once_it_is_there() -> None:
    silent = ChatCompletionMessage(content="a")
    thoughtful = ChatCompletionMessage.construct(reasoning_content="", mood="good")

    assert "reasoning" not in repr(silent)
    assert list(silent.model_dump()) == (
        ["content", "refusal", "role", "annotations", "audio", "function_call", "tool_calls"]
    )
    assert repr(thoughtful).endswith("tool_calls=None, reasoning_content='', mood='good')")
    assert thoughtful.model_dump()["reasoning_content"] == ""
    assert silent.model_extra == {}
    assert thoughtful.model_extra == {"reasoning_content": "", "mood": "good"}
    assert Usage.model_validate({"cached_tokens": 5}).model_extra == {"cached_tokens": 5}
    assert Usage.model_validate({"prompt_tokens_details": {"cached_tokens": 5}}).model_extra == {}


def test_a_repr_says_nothing_that_only_the_headers_said() -> None:
    completion = ChatCompletion(choices=[])
    completion._request_id = "r-1"

    assert "r-1" not in repr(completion)


def test_dumps_take_the_keywords_of_openai() -> None:
    usage = Usage.construct(prompt_tokens=1)

    assert usage.to_dict(use_api_names=False, warnings=False, exclude_defaults=True) == {"prompt_tokens": 1}
    assert usage.to_json(
        indent=None, use_api_names=False, warnings=False, exclude_defaults=True, exclude_none=True
    ) == ('{"prompt_tokens":1}')


def test_answers_are_equal_by_what_they_say_and_not_by_the_ids_of_their_requests() -> None:
    answer, again = (ChatCompletion.construct(id="chatcmpl-1", choices=[]) for _ in range(2))
    again._request_id = "another request"

    assert answer == again
    assert not answer != again  # noqa: SIM202  # they are two methods
    assert answer != again.model_copy(update={"id": "chatcmpl-2"})
    assert answer != "chatcmpl-1"
