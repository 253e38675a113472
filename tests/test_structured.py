"""What is to be parsed of an answer, and how."""

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar

import msgspec
import openai
import pydantic
import pytest

from moonshot_async.errors import (
    ContentFilterFinishReasonError,
    EmptyAnswerError,
    LengthFinishReasonError,
    MoonshotError,
    StructuredOutputError,
)
from moonshot_async.structured import (
    Parsing,
    answer_type,
    check_strict,
    function_tool,
    pydantic_function_tool,
)
from moonshot_async.types.chat import ChatCompletion, Usage, decode_completion
from moonshot_async.types.encoding import NOT_GIVEN, is_type
from moonshot_async.types.model import Model
from moonshot_async.types.parsed import ParsedChatCompletion

T = TypeVar("T")


class Mood(Enum):
    GOOD = "good"


class Person(msgspec.Struct):
    """Somebody."""

    name: str
    age: int = 0
    friends: "list[Person]" = []


@dataclasses.dataclass
class Point:
    x: int
    mood: Mood = Mood.GOOD


class Place(TypedDict):
    city: str


class Model1(pydantic.BaseModel):
    """A model."""

    name: str
    sizes: list[Annotated[int, pydantic.Field(gt=0)]] = []


@pydantic.dataclasses.dataclass
class Data:
    name: str
    inner: Model1 | None = None


class Mixed(msgspec.Struct):
    models: list[Model1]


class Box(msgspec.Struct, Generic[T]):
    value: T


class Lean(msgspec.Struct, omit_defaults=True):
    moods: dict[Mood, int]
    size: int = 0


class Answer(msgspec.Struct, tag="answer"):
    text: str


class Question(msgspec.Struct, tag="question"):
    text: str


class Step(msgspec.Struct):
    what: Answer | Question
    kind: Literal["a", "b"] | None = None


VALUES: list[tuple[Any, str, Any]] = [
    (Person, '{"name":"Ann","friends":[{"name":"Bo"}]}', Person("Ann", friends=[Person("Bo")])),
    (Point, ' {"x": 1, "mood": "good"}\n', Point(1)),
    (Place, '{"city": "Oslo"}', {"city": "Oslo"}),
    (Model1, '{"name": "a", "sizes": [1]}', Model1(name="a", sizes=[1])),
    (Data, '{"name": "a", "inner": {"name": "b"}}', Data("a", Model1(name="b"))),
    (Mixed, '{"models": [{"name": "a"}]}', Mixed([Model1(name="a")])),
    (Box[list[Point]], '{"value": [{"x": 2}]}', Box([Point(2)])),
    (Step, '{"what": {"type": "question", "text": "?"}, "kind": "b"}', Step(Question("?"), "b")),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (Annotated[Person, msgspec.Meta(extra={"a": 1})], '{"name": "Ann"}', Person("Ann")),
]


@pytest.mark.parametrize(("type_", "text", "value"), VALUES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_text_becomes_a_value_of_the_type(type_: Any, text: str, value: Any) -> None:
    assert answer_type(type_).parse(text) == value
    assert answer_type(type_).schema["type"] == "object"
    assert is_type(type_)


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "\n```\n{}```\n", "```JSON\r\n{}"])
def test_a_fence_of_markdown_around_a_text_is_passed_over(fence: str) -> None:
    text = '{"x": 1, "mood": "good"}'
    assert answer_type(Point).parse(fence.replace("{}", text)) == Point(1)
    with pytest.raises(StructuredOutputError) as caught:
        answer_type(Point).parse(fence.replace("{}", '{"y": 1}'))
    assert caught.value.text == fence.replace("{}", '{"y": 1}')


@pytest.mark.parametrize("text", ["```", "```json {}```", 'Sure:\n```json\n{"x": 1}\n```', "``{}``"])
def test_what_is_no_fence_is_no_json(text: str) -> None:
    with pytest.raises(StructuredOutputError) as caught:
        answer_type(Point).parse(text)
    assert caught.value.path is None


def test_a_type_is_looked_at_once() -> None:
    assert answer_type(Person) is answer_type(Person)


@pytest.mark.parametrize("given", [{"type": "json_object"}, None, NOT_GIVEN, Person("a"), "text"])
def test_what_is_no_type_is_none(given: Any) -> None:
    assert not is_type(given)
    assert Parsing(given).response_format is given
    assert not Parsing(given).asked


MISFITS: list[tuple[Any, str, str | None, str]] = [
    (Person, '{"name": "Ann", "age": "x"}', "$.age", "Expected `int`, got `str` at $.age"),
    (Person, '{"name": "Ann", "friends": [{"name": 1}]}', "$.friends[0].name", "Expected `str`, got `int`"),
    (Person, "[]", "$", "Expected `object`, got `array` at $."),
    (Person, "{}", "$", "missing required field `name`"),
    (Person, "Sure! {}", None, "malformed"),
    (Person, "\ud800", None, "surrogates not allowed"),
    (Point, '{"x": 1, "mood": "bad"}', "$.mood", "Invalid enum value 'bad'"),
    (Place, '{"city": null}', "$.city", "Expected `str`, got `null`"),
    (Model1, '{"name": "a", "sizes": [1, 0]}', "$.sizes[1]", "Input should be greater than 0 at $.sizes[1]."),
    (Model1, '{"name": "a"', None, "Invalid JSON"),
    (Data, '{"name": []}', "$.name", "Input should be a valid string"),
    (Mixed, '{"models": [{"name": 1}]}', "$.models[0].name", "be a valid string at $.models[0].name."),
    (dict[str, Any], '{"a":' * 100_000, None, "nested too deeply"),
]


@pytest.mark.parametrize(("type_", "text", "path", "problem"), MISFITS)
def test_a_text_that_is_none_of_the_type_is_refused_with_the_place(
    type_: Any, text: str, path: str | None, problem: str
) -> None:
    with pytest.raises(StructuredOutputError) as caught:
        answer_type(type_).parse(text)

    error = caught.value
    assert (error.text, error.path, error.completion, error.usage) == (text, path, None, None)
    assert str(error).startswith(f"The answer is not a {answer_type(type_).name}: ")
    assert problem in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert isinstance(error, (MoonshotError, ValueError))


@pytest.mark.parametrize("type_", [int, list[int], Person | None, Mood, bytes])
def test_a_type_that_is_no_object_is_refused(type_: Any) -> None:
    with pytest.raises(TypeError, match="cannot be sent as a schema"):
        Parsing(type_)
    with pytest.raises(TypeError, match="cannot be sent as a schema"):
        function_tool(type_)


def test_the_response_format_of_a_type_is_its_schema() -> None:
    sent = Parsing(Point).response_format

    assert sent["type"] == "json_schema"
    assert sent["json_schema"] == {"name": "Point", "strict": True, "schema": answer_type(Point).schema}
    assert Parsing(Box[int]).response_format["json_schema"]["name"] == "Box"
    assert Parsing(Annotated[Point, []]).response_format["json_schema"]["name"] == "Point"
    unnamed = msgspec.defstruct("_", [("a", int)])
    assert Parsing(unnamed).response_format["json_schema"]["name"] == "answer"


def test_a_tool_of_a_type_can_be_sent_and_remembers_it() -> None:
    tool: Any = function_tool(Person)

    assert json.loads(json.dumps(tool)) == {
        "type": "function",
        "function": {
            "name": "Person",
            "strict": True,
            "parameters": {name: one for name, one in answer_type(Person).schema.items() if name != "description"},
            "description": "Somebody.",
        },
    }
    for twin in (tool, copy.copy(tool), copy.deepcopy(tool), {**tool}, pickle.loads(pickle.dumps(tool))):
        assert twin == tool
        assert twin["function"].model is Person


def test_a_tool_has_the_name_and_the_description_that_it_is_given() -> None:
    tool: Any = function_tool(Person, name="add_person", description="Add somebody.")

    assert (tool["function"]["name"], tool["function"]["description"]) == ("add_person", "Add somebody.")
    assert tool["function"]["parameters"]["description"] == "Somebody."
    assert "description" not in function_tool(Point)["function"]
    assert pydantic_function_tool(Model1, name="m")["function"]["name"] == "m"
    assert pydantic_function_tool(Model1)["function"]["description"] == "A model."


PLAIN_TOOL = {"type": "function", "function": {"name": "plain", "strict": True, "parameters": {"type": "object"}}}
LOOSE_TOOL = {"type": "function", "function": {"name": "loose", "parameters": {"type": "object"}}}
WEB_SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}


def call(name: str, arguments: str, type_: str = "function") -> dict[str, Any]:
    return {"id": f"{name}:0", "type": type_, "function": {"name": name, "arguments": arguments}}


def answer(content: str | None = None, *calls: dict[str, Any], finish: str = "stop", **fields: Any) -> ChatCompletion:
    message = {"role": "assistant", "content": content, "tool_calls": list(calls) or None, **fields}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return decode_completion(json.dumps({"id": "c", "choices": [choice], "usage": {"total_tokens": 5}}).encode())


def test_an_answer_is_parsed_and_keeps_all_that_it_had() -> None:
    completion = answer('{"x": 1}', reasoning_content="Hm.", unheard_of=5)
    completion._request_id = "r1"

    parsed: ParsedChatCompletion[Point] = Parsing[Point](Point).completion(completion)

    message = parsed.choices[0].message
    assert message.parsed == Point(1)
    assert (message.content, message.reasoning_content, message.tool_calls) == ('{"x": 1}', "Hm.", None)
    assert message.model_extra["unheard_of"] == 5
    assert (parsed.request_id, parsed.id, parsed.usage) == ("r1", "c", completion.usage)
    assert isinstance(parsed, ChatCompletion)
    assert parsed.to_dict()["choices"][0]["message"]["parsed"] == {"x": 1, "mood": "good"}


def test_nothing_is_parsed_where_nothing_was_asked_for() -> None:
    parsed = Parsing[None]({"type": "json_object"}, [LOOSE_TOOL, WEB_SEARCH]).completion(answer("{}", finish="length"))

    assert parsed.choices[0].message.parsed is None


def test_the_arguments_of_calls_are_parsed_by_their_tools() -> None:
    tools = [function_tool(Person), PLAIN_TOOL, LOOSE_TOOL, WEB_SEARCH]
    calls = [
        call("Person", '{"name": "Ann"}'),
        call("plain", '{"a": 1}'),
        call("plain", " "),
        call("loose", "not json"),
        call("unknown", "{}"),
        call("$web_search", '{"query": "x"}', "builtin_function"),
    ]

    parsed = Parsing[None](NOT_GIVEN, iter(tools)).completion(answer("", *calls, finish="tool_calls"))

    found = parsed.choices[0].message.tool_calls
    assert found is not None
    assert [one.function.parsed_arguments for one in found] == [Person("Ann"), {"a": 1}, {}, None, None, None]
    assert [one.function.arguments for one in found] == [one["function"]["arguments"] for one in calls]


def test_tools_of_the_openai_package_are_understood() -> None:
    parsing = Parsing[None](NOT_GIVEN, [openai.pydantic_function_tool(Model1)])

    assert parsing.arguments("Model1", '{"name": "a"}') == Model1(name="a")


def test_a_tool_may_be_an_answer_of_the_api() -> None:
    class Tool(Model):
        type: str
        function: dict[str, Any]

    check_strict([Tool(type="function", function=PLAIN_TOOL["function"])])  # type: ignore[arg-type]
    assert Parsing[None](NOT_GIVEN, [Tool(type="function", function=PLAIN_TOOL["function"])]).has_tool("plain")  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", ['{"name": 1}', "{", "[" * 100_000])
@pytest.mark.parametrize("name", ["Person", "plain"])
def test_arguments_that_do_not_fit_are_an_error_with_the_answer(name: str, arguments: str) -> None:
    if name == "plain" and arguments == '{"name": 1}':
        arguments = "nope"
    completion = answer(None, call(name, arguments), finish="tool_calls")

    with pytest.raises(StructuredOutputError, match=name) as caught:
        Parsing[None](NOT_GIVEN, [function_tool(Person), PLAIN_TOOL]).completion(completion)

    assert caught.value.text == arguments
    assert caught.value.completion is completion


def test_what_the_model_says_beside_tool_calls_need_not_be_an_answer() -> None:
    parsing = Parsing[Point](Point, [PLAIN_TOOL])

    for content in ("Let me see.", "", None):
        assert parsing.completion(answer(content, call("plain", "{}"))).choices[0].message.parsed is None
    assert parsing.completion(answer('{"x": 1}', call("plain", "{}"))).choices[0].message.parsed == Point(1)
    old = answer("Let me see.", function_call={"name": "f", "arguments": "{}"})
    assert parsing.completion(old).choices[0].message.parsed is None


def test_a_refusal_is_no_answer() -> None:
    parsed = Parsing[Point](Point).completion(answer("No.", refusal="No."))

    assert parsed.choices[0].message.parsed is None


@pytest.mark.parametrize("content", ["", None, " \n"])
def test_an_empty_answer_says_so(content: str | None) -> None:
    with pytest.raises(EmptyAnswerError, match=r"is empty, not a Point: .* on reasoning") as caught:
        Parsing[Point](Point).completion(answer(content, reasoning_content="Hm."))

    assert caught.value.text == (content or "")
    assert caught.value.usage is not None


@pytest.mark.parametrize("parsing", [Parsing[Point](Point), Parsing[None](NOT_GIVEN, [PLAIN_TOOL])])
def test_an_answer_that_was_cut_is_an_error_where_something_was_to_be_parsed(parsing: Parsing[Any]) -> None:
    completion = answer('{"x": ', finish="length")
    with pytest.raises(LengthFinishReasonError, match=r"before it could be parsed\.") as cut:
        parsing.completion(completion)
    with pytest.raises(LengthFinishReasonError, match="went into reasoning"):
        parsing.completion(answer("", finish="length"))
    with pytest.raises(ContentFilterFinishReasonError) as filtered:
        parsing.completion(answer("{", finish="content_filter"))

    assert cut.value.completion is completion
    assert filtered.value.completion is not None
    for error in (cut.value, filtered.value):
        assert error.completions == (error.completion,)
        assert error.usage is not None
        assert error.usage.total_tokens == 5


def test_an_error_may_keep_the_answers_before_it() -> None:
    first, last = answer("no"), answer('{"x": ', finish="length")
    error = LengthFinishReasonError(completion=last)
    error.add_earlier((first,), Usage(total_tokens=10))

    for twin in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert twin.completions == (first, last)
        assert twin.usage.total_tokens == 10
    assert ContentFilterFinishReasonError().completions == ()
    assert ContentFilterFinishReasonError().usage is None


def test_functions_that_are_not_strict_are_refused_in_the_words_of_openai() -> None:
    check_strict(NOT_GIVEN)
    check_strict(None)
    check_strict([PLAIN_TOOL, WEB_SEARCH, function_tool(Point), {"type": "function"}, "odd"])
    with pytest.raises(ValueError, match=r"`loose` is not strict\. Only `strict` function tools can be auto-parsed"):
        check_strict([PLAIN_TOOL, LOOSE_TOOL])


def test_an_error_survives_pickling_and_copying() -> None:
    with pytest.raises(StructuredOutputError) as caught:
        Parsing[Point](Point).completion(answer('{"x": "y"}'))

    for twin in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(twin) is StructuredOutputError
        assert str(twin) == str(caught.value) == "The answer is not a Point: Expected `int`, got `str` at $.x."
        assert (twin.text, twin.path, twin.usage.total_tokens) == ('{"x": "y"}', "$.x", 5)
        assert twin.completion == caught.value.completion


def test_a_parsed_message_is_dumped_whole_and_sent_without_what_was_parsed() -> None:
    tools = [function_tool(Person), function_tool(Mixed)]
    calls = [call("Person", '{"name": "Ann"}'), call("Mixed", '{"models": [{"name": "m"}]}')]
    completion = answer('{"name": "a"}', *calls, reasoning_content="Hm.", unheard_of=1)

    message = Parsing[Model1](Model1, tools).completion(completion).choices[0].message

    dump = message.model_dump()
    assert dump["parsed"] == {"name": "a", "sizes": []}
    assert dump["tool_calls"][0]["function"]["parsed_arguments"] == {"name": "Ann", "age": 0, "friends": []}
    assert dump["tool_calls"][1]["function"]["parsed_arguments"] == {"models": [{"name": "m", "sizes": []}]}
    assert json.loads(message.model_dump_json()) == dump
    assert message.to_param() == completion.choices[0].message.to_param()
    assert "parsed" not in json.dumps(message.to_param())


def test_what_has_no_plain_form_is_dumped_as_text_and_does_not_stop_a_message_from_being_sent() -> None:
    message = Parsing[Point](Point).completion(answer('{"x": 1}')).choices[0].message
    message.parsed = Step(Answer("a"))  # type: ignore[assignment]  # anything
    assert message.model_dump()["parsed"] == {"what": {"type": "answer", "text": "a"}, "kind": None}
    message.parsed = Box({1: (Point(1), b"b")})  # type: ignore[assignment]  # anything
    assert message.model_dump()["parsed"] == {"value": {"1": [{"x": 1, "mood": "good"}, "Yg=="]}}
    message.parsed = Lean({Mood.GOOD: 1})  # type: ignore[assignment]  # anything
    assert message.model_dump()["parsed"] == {"moods": {"good": 1}}
    assert "parsed" not in message.model_dump(exclude={"parsed"})
    message.parsed = 1j  # type: ignore[assignment]  # anything

    assert message.model_dump()["parsed"] == "1j"
    assert message.to_param() == {"role": "assistant", "content": '{"x": 1}'}


def test_a_parsed_answer_is_equal_to_the_one_that_came_and_to_one_that_is_parsed_alike() -> None:
    completion, other = answer('{"x": 1}', call("f", "{}")), answer('{"x": 2}', call("f", "{}"))
    parsed, again = Parsing[Point](Point).completion(completion), Parsing[Point](Point).completion(completion)

    assert parsed == completion == parsed.unparsed()
    assert parsed.choices[0].message == completion.choices[0].message
    assert parsed != other
    assert parsed.choices[0].message != other.choices[0].message
    assert parsed == again
    again.choices[0].message.parsed = None
    assert parsed != again
    assert parsed != "text"


def test_parsed_answers_are_read_back_from_their_dump() -> None:
    parsed = Parsing[Point](Point).completion(answer('{"x": 1}', call("f", "{}")))

    again = ParsedChatCompletion[Point].model_validate(parsed.model_dump())
    assert again.choices[0].message.content == '{"x": 1}'
    assert pickle.loads(pickle.dumps(parsed)) == parsed


def test_nothing_of_this_needs_pydantic() -> None:
    program = """
import sys
sys.modules["pydantic"] = None
import asyncio, dataclasses
from typing import TypedDict
import msgspec
from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.fake import FakeMoonshot
from moonshot_async.structured import function_tool

class A(msgspec.Struct):
    a: int

@dataclasses.dataclass
class B:
    a: int

class C(TypedDict):
    a: int

async def main():
    fake = FakeMoonshot()
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
        ask = {"model": "kimi-k3", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
        for type_, value in ((A, A(1)), (B, B(1)), (C, {"a": 1})):
            fake.reply('{"a": 1}')
            done = await client.chat.completions.parse(**ask, response_format=type_, tools=[function_tool(A)])
            assert done.choices[0].message.parsed == value, done

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True)
