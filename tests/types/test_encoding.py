"""From the keywords of a call to its bytes, and what is refused before any of them is sent."""

import json
from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionMessage as OpenAIMessage

import moonshot_async
from moonshot_async.errors import ConfigurationError
from moonshot_async.types.chat import ChatCompletionMessage, decode_completion
from moonshot_async.types.chat_params import CompletionRequest
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven, build, encode, message_params, plain, to_json

SECRET = "the prompt of somebody"
HI = [{"role": "user", "content": "Hi"}]


def sent(extra_body: Mapping[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    """The body that a call with these keywords sends."""
    request = build(CompletionRequest, {"model": "m", "messages": HI, **params}, call="create")
    request.messages = message_params(request.messages)
    body = json.loads(encode(request, extra_body))
    assert isinstance(body, dict)
    return body


def message(body: bytes) -> ChatCompletionMessage:
    return decode_completion(b'{"choices":[{"message":' + body + b"}]}").choices[0].message


def test_only_what_was_given_is_sent() -> None:
    assert sent() == {"model": "m", "messages": HI}
    assert sent(temperature=NOT_GIVEN, stop=moonshot_async.NOT_GIVEN) == {"model": "m", "messages": HI}
    assert isinstance(NOT_GIVEN, NotGiven)


@pytest.mark.parametrize("value", [None, 0, 0.0, False, "", [], {}])
def test_what_was_given_is_sent_however_little_it_is(value: object) -> None:
    body = sent(temperature=value)

    assert body["temperature"] == value
    assert type(body["temperature"]) is type(value)


def test_a_misspelt_keyword_is_named_with_what_was_meant() -> None:
    with pytest.raises(
        TypeError, match=r"^create\(\) got an unexpected keyword argument 'temprature'; did you mean 'temperature'\?$"
    ):
        build(CompletionRequest, {"model": "m", "messages": [], "temprature": SECRET}, call="create")


def test_a_keyword_like_no_other_points_to_extra_body() -> None:
    with pytest.raises(
        TypeError, match=r"unexpected keyword argument 'zzz'; what the SDK does not know .*extra_body="
    ) as caught:
        build(CompletionRequest, {"model": "m", "messages": [], "zzz": SECRET}, call="create")

    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_keyword_is_named(missing: str) -> None:
    params = {"model": "m", "messages": []}
    del params[missing]

    with pytest.raises(TypeError, match=rf"^stream\(\) missing required keyword argument '{missing}'$"):
        build(CompletionRequest, params, call="stream")


def test_extra_body_is_laid_over_the_top_level_last() -> None:
    body = sent({"temperature": 1, "new": [None]}, temperature=0, top_p=1, stop=NOT_GIVEN)

    assert body == {"model": "m", "messages": HI, "temperature": 1, "top_p": 1, "new": [None]}
    assert list(sent({"model": "other"})) == ["model", "messages"]
    assert sent({}) == sent()


@pytest.mark.parametrize("messages", [HI, tuple(HI), iter(HI), (one for one in HI), {1: HI[0]}.values()])
def test_messages_may_be_any_iterable(messages: Any) -> None:
    assert sent(messages=messages)["messages"] == HI


@pytest.mark.parametrize("message", ["Hi", b"Hi", None, 5, HI, ("role", "user")])
def test_a_message_that_is_no_object_is_refused(message: object) -> None:
    with pytest.raises(TypeError, match=rf"^a message is an object .* not {type(message).__name__}$"):
        message_params([message])


def test_a_message_that_stands_alone_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a list of messages"):
        message_params(OpenAIMessage(role="assistant", content="Hi"))


def test_our_structs_are_sent_without_what_only_we_know_wherever_they_stand() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}", "w": 2}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "foo": "bar"}
    answer = decode_completion(
        msgspec.json.encode({"id": "c", "choices": [{"message": message, "finish_reason": "x"}]})
    )
    answer._request_id = "RID"
    received = answer.choices[0].message
    assert received.tool_calls is not None
    by_hand = {"role": "assistant", "tool_calls": [{"id": "a", "function": received.tool_calls[0].function}]}

    replayed = {"role": "assistant", "tool_calls": [call], "foo": "bar"}
    assert sent(messages=[received])["messages"] == [replayed]
    assert sent(messages=[by_hand])["messages"][0]["tool_calls"] == [{"id": "a", "function": call["function"]}]
    assert sent({"messages": [received], "n": (1, 2)})["messages"] == [replayed]
    assert "RID" not in f"{plain(answer)}"


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_messages_of_plain_data_are_sent_as_the_objects_they_are() -> None:
    history: list[Any] = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "index": 1}]},
        {"role": "tool", "tool_call_id": "a", "content": "21"},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}]},
    ]

    for messages in (HI, history):
        assert all(a is b for a, b in zip(message_params(messages), messages, strict=True))


@pytest.mark.parametrize(
    "calls",
    [
        ({**CALL, "function": ChatCompletionMessage(content="x")},),
        [{**CALL, "function": ChatCompletionMessage(content="x")}],
        [{**CALL, "function": {"name": ChatCompletionMessage(content="x")}}],
        [ChatCompletionMessage(content="x")],
        ChatCompletionMessage(content="x"),
    ],
)
def test_a_struct_among_the_calls_of_a_message_is_sent_without_its_nulls(calls: Any) -> None:
    text = json.dumps(sent(messages=[*HI, {"role": "assistant", "content": "Hm", "tool_calls": calls}])["messages"])

    assert '{"role": "assistant", "content": "x"}' in text
    assert "null" not in text


@pytest.mark.parametrize("bad", [b"x", float("nan")])
def test_what_json_cannot_say_is_refused_among_the_calls_of_a_message_too(bad: Any) -> None:
    calls = [{**CALL, "function": {"name": "f", "arguments": bad}}]
    with pytest.raises((TypeError, ConfigurationError)):
        message_params([{"role": "assistant", "content": "Hm", "tool_calls": calls}])


@pytest.mark.parametrize("inside", [MappingProxyType(HI[0]), MappingProxyType({"role": "user"})])
def test_a_message_may_be_any_mapping(inside: Any) -> None:
    assert sent(messages=[inside])["messages"] == [dict(inside)]


def test_a_message_is_not_changed_by_being_asked_for_what_it_has_not() -> None:
    message = defaultdict(str, role="assistant", reasoning_content="Hm")

    assert sent(messages=[message])["messages"] == [{"role": "assistant", "reasoning_content": "Hm"}]
    assert "content" not in message


@pytest.mark.parametrize("kind", [UserDict, OrderedDict, MappingProxyType])
@pytest.mark.parametrize("bad", [b"x", float("nan")])
def test_what_json_cannot_say_is_refused_in_messages_of_all_kinds_of_mappings(kind: Any, bad: Any) -> None:
    with pytest.raises((TypeError, ConfigurationError)):
        message_params([kind({**HI[0], "name": bad})])


@pytest.mark.parametrize("messages", ["Hi", b"Hi", HI[0], None, 5])
def test_messages_that_are_no_list_are_refused_without_being_shown(messages: object) -> None:
    with pytest.raises(TypeError, match=rf"^messages must be a list of messages, .* not {type(messages).__name__}$"):
        message_params(messages)


def test_a_response_message_is_sent_as_it_was_received() -> None:
    received = message(
        b'{"role":"assistant","content":"","reasoning_content":"","mood":"calm","tool_calls":'
        b'[{"index":0,"id":"f:0","type":"function","function":{"name":"f","arguments":"{}"}}]}'
    )

    assert sent(messages=[*HI, received])["messages"] == [
        *HI,
        {
            "role": "assistant",
            "reasoning_content": "",
            "mood": "calm",
            "tool_calls": [{"index": 0, "id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
    ]


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_tool_calls_of_a_response_may_stand_in_a_message_made_by_hand(kind: type) -> None:
    calls = message(
        b'{"tool_calls":[{"index":0,"id":"f:0","function":{"name":"f","arguments":"{}","x":1}}]}'
    ).tool_calls
    assert calls is not None
    plain = {"index": 0, "id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}", "x": 1}}

    by_hand = {"role": "assistant", "tool_calls": kind([*calls, {"id": "g:1"}])}

    assert sent(messages=[by_hand])["messages"] == [{"role": "assistant", "tool_calls": [plain, {"id": "g:1"}]}]
    assert by_hand["tool_calls"][0] is calls[0]


def test_messages_of_the_openai_package_are_sent_as_it_would_send_them() -> None:
    fields = {"role": "assistant", "content": None, "reasoning_content": "Hm."}
    theirs = OpenAIMessage.model_validate(fields)

    assert sent(messages=[theirs, {"role": "assistant", "content": "", "audio": theirs}])["messages"] == [
        fields,
        {"role": "assistant", "content": "", "audio": fields},
    ]


def test_mappings_and_iterables_of_any_kind_have_a_json_form() -> None:
    def parts() -> Iterator[dict[str, str]]:
        yield {"type": "text", "text": "Hi"}

    body = sent(
        messages=[MappingProxyType({"role": "user", "content": parts()})],
        tools=iter([MappingProxyType({"type": "function"})]),
        stop=("a", "b"),
    )

    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert (body["tools"], body["stop"]) == ([{"type": "function"}], ["a", "b"])


class Text(str):
    def __str__(self) -> str:
        return "something else"


class Whole(int):
    pass


class Part(float):
    pass


def test_classes_over_plain_ones_are_sent_as_those() -> None:
    body = sent(
        messages=[{"role": Text("user"), "content": Text("Hi")}],
        user=Text("me"),
        max_completion_tokens=Whole(50),
        temperature=Part(0.5),
        stop=[Text("x")],
    )

    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert (body["user"], body["max_completion_tokens"], body["temperature"], body["stop"]) == ("me", 50, 0.5, ["x"])


class Bytes(bytes):
    pass


@pytest.mark.parametrize(("value", "error"), [(Part("nan"), ConfigurationError), (Bytes(b"x"), TypeError)])
def test_and_refused_as_those(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^a value is"):
        sent(messages=[{"role": "user", "content": value}])


@pytest.mark.parametrize("foreign", [openai.NOT_GIVEN, openai.omit])
def test_a_not_given_of_another_package_is_refused_by_name(foreign: object) -> None:
    with pytest.raises(TypeError, match="this NOT_GIVEN comes from another package: import it from moonshot_async"):
        sent(temperature=foreign)


def test_a_value_without_a_json_form_is_refused_by_its_type_alone() -> None:
    with pytest.raises(TypeError, match=r"^a value of type complex has no JSON form$"):
        sent(temperature=1j)


@pytest.mark.parametrize("name", [(1, 2), ("a", ("b",)), frozenset({1})])
def test_a_name_that_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(TypeError):
        sent(metadata={name: SECRET})


def _lone_surrogate_in_everything() -> Iterator[dict[str, Any]]:
    bad = SECRET + "\ud83c"
    yield {"messages": [{"role": "user", "content": bad}]}
    yield {"messages": [{"role": "user", "content": [{"type": "text", "text": bad}]}]}
    yield {"messages": [ChatCompletionMessage(content=bad)]}
    yield {"messages": HI, "metadata": {bad: "x"}}
    yield {"extra_body": {"x": bad}}
    yield {"messages": [OpenAIMessage.model_construct(role="assistant", content=bad)]}


@pytest.mark.parametrize("params", list(_lone_surrogate_in_everything()), ids=range(6))
def test_a_text_that_is_no_text_is_refused_and_shown_nowhere(params: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, ValueError)) as caught:
        sent(**params)

    error = caught.value
    assert "somebody" not in f"{error!r} {error} {vars(error)}"
    assert isinstance(error, ConfigurationError)
    assert "lone surrogate (U+D83C). Clean the text first" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_data_that_contains_itself_is_refused() -> None:
    loop: list[Any] = [SECRET]
    loop.append(loop)

    with pytest.raises(ConfigurationError, match=r"nested too deeply, or contains itself\.$") as caught:
        sent(metadata=loop)

    assert caught.value.__context__ is None


def test_any_struct_can_be_a_body() -> None:
    class Point(msgspec.Struct):
        x: int
        y: int | msgspec.UnsetType = msgspec.UNSET

    assert to_json(Point(1)) == b'{"x":1}'
    assert encode(Point(1), {"z": 2}) == b'{"x":1,"z":2}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_is_refused_instead_of_sent_as_null(number: float) -> None:
    for attempt in (
        lambda: build(CompletionRequest, {"model": "m", "messages": [], "temperature": number}, call="create"),
        lambda: plain({"a": [number]}),
    ):
        with pytest.raises(ConfigurationError, match=rf"is {number}, which JSON has no number for"):
            attempt()


def test_bytes_are_refused_instead_of_sent_as_base64() -> None:
    messages = [{"role": "user", "content": SECRET.encode()}]
    for attempt in (
        lambda: build(CompletionRequest, {"model": "m", "messages": [], "user": SECRET.encode()}, call="create"),
        lambda: plain({"a": [SECRET.encode()]}),
        lambda: message_params(messages),
    ):
        with pytest.raises(TypeError, match="is bytes, which JSON has none of: decode it to text") as caught:
            attempt()
        assert SECRET not in str(caught.value)
