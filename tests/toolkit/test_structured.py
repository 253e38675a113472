"""Values of a type, asked for whole and while they arrive."""

import asyncio
import copy
import dataclasses
import gc
import json
import pickle
import weakref
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Annotated, Any, Literal, NewType

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from moonshot_async import AsyncMoonshot, MemoryTransport, Request, Response
from moonshot_async.errors import (
    APITimeoutError,
    ConfigurationError,
    ContentFilterFinishReasonError,
    EmptyAnswerError,
    InternalServerError,
    LengthFinishReasonError,
    StreamInterruptedError,
    StructuredOutputError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.structured import function_tool
from moonshot_async.toolkit.structured import has_come, parse, parse_answer, parse_stream, repair
from moonshot_async.types.chat import Usage
from tests.canned import Canned
from tests.scripted import LAST_CHUNK, SSE_HEAD, Peer, Start, chunk, events
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT

MESSAGES: list[Any] = [{"role": "user", "content": CANARY_PROMPT}]
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": MESSAGES}


class City(msgspec.Struct):
    """A city."""

    name: str
    people: int = 0
    rivers: list[str] = []


class Town(pydantic.BaseModel):
    name: str
    people: int = 0


class Mood(Enum):
    GOOD = "good"


class Tagged(msgspec.Struct, tag="tagged"):
    word: str


class Other(msgspec.Struct, tag="other"):
    number: int


OSLO = '{"name": "Oslo", "people": 7, "rivers": ["Aker"]}'
WRONG = '{"name": "Oslo", "people": "many"}'


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), max_retries=0) as client:
        yield client


def sent(fake: FakeMoonshot) -> Any:
    return fake.last_request.json()


# --- One value


async def test_a_value_is_asked_for_with_the_schema_of_its_type(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(OSLO)

    assert await parse(client, City, **ASK, temperature=1) == City("Oslo", 7, ["Aker"])

    body = sent(fake)
    assert body["response_format"]["json_schema"]["name"] == "City"
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["name"]
    assert body["temperature"] == 1


ROOTS: list[tuple[Any, str, str, Any]] = [
    (City, "City", OSLO, City("Oslo", 7, ["Aker"])),
    (Town, "Town", '{"name": "a", "people": 1}', Town(name="a", people=1)),
    (dict[str, int], "dict", '{"a": 1}', {"a": 1}),
    (list[City], "list_City", '{"value": [{"name": "Oslo"}]}', [City("Oslo")]),
    (list[Town], "list_Town", '{"value": [{"name": "Oslo"}]}', [Town(name="Oslo")]),
    (Town | None, "Union_Town_NoneType", '{"value": null}', None),
    (City | None, "Union_City_NoneType", '{"value": {"name": "Oslo"}}', City("Oslo")),
    (Tagged | Other, "Union_Tagged_Other", '{"value": {"type": "other", "number": 1}}', Other(1)),
    (int, "int", '{"value": 3}', 3),
    (None, "None", '{"value": null}', None),
    (str, "str", '{"value": "abc"}', "abc"),
    (Mood, "Mood", '{"value": "good"}', Mood.GOOD),
    (Literal["yes", "no"], "Literal_yes_no", '{"value": "no"}', "no"),
    (tuple[int, str], "tuple_int_str", '{"value": [1, "a"]}', (1, "a")),
    (NewType("Id", int), "Id", '{"value": 3}', 3),
    (Annotated[int, msgspec.Meta(ge=1, extra={})], "int", '{"value": 3}', 3),
    (pydantic.RootModel[list[int]], "RootModel_list_int", '{"value": [1]}', pydantic.RootModel[list[int]]([1])),
]


@pytest.mark.parametrize(("type_", "name", "text", "value"), ROOTS, ids=[name for _, name, _, _ in ROOTS])
async def test_any_type_can_be_asked_for(
    type_: Any, name: str, text: str, value: Any, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(text, times=2)

    assert await parse(client, type_, **ASK) == value
    schema = sent(fake)["response_format"]["json_schema"]
    assert schema["schema"]["type"] == "object"
    assert schema["name"].replace("UnionType", "Union") in (name, name.replace("Union", "Optional"))
    seen = [partial async for partial in parse_stream(client, type_, **ASK)]
    assert seen[-1] == value
    assert type(seen[-1]) is type(value)


@pytest.mark.parametrize("type_", [City, list[City], int, Literal["yes", "no"], City | None, Tagged | Other])
async def test_a_service_that_holds_to_the_schema_answers_with_such_a_value(type_: Any, client: AsyncMoonshot) -> None:
    value = await parse(client, type_, **ASK)

    assert msgspec.convert(msgspec.to_builtins(value), type_) == value


async def test_an_answer_tells_what_it_took(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(OSLO, usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30})

    answer = await parse_answer(client, City, **ASK)

    assert answer.value == City("Oslo", 7, ["Aker"])
    assert answer.completion.choices[0].message.content == OSLO
    assert answer.completions == (answer.completion,)
    assert answer.usage is not None
    assert answer.usage.total_tokens == 30
    assert answer.cost(client) == client.cost(answer.completion) > 0
    assert repr(answer) == f"ParsedAnswer({answer.value!r}, answers=1)"


# --- Answers that are none


async def test_an_answer_that_is_no_such_value_is_an_error_with_all_that_it_cost(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(WRONG)

    with pytest.raises(StructuredOutputError, match=r"not a City: Expected `int`, got `str` at \$\.people") as caught:
        await parse(client, City, **ASK)

    error = caught.value
    assert (error.text, error.path) == (WRONG, "$.people")
    assert error.completion is not None
    assert error.completions == (error.completion,)
    assert error.usage == error.completion.usage
    assert len(fake.requests) == 1
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.path, twin.completions, twin.usage) == (error.path, error.completions, error.usage)


async def test_a_wrapped_value_that_is_wrong_has_its_path_in_what_came(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply('{"value": [{"name": 1}]}', times=2)

    for type_ in (list[City], list[Town]):
        with pytest.raises(StructuredOutputError) as caught:
            await parse(client, type_, **ASK)
        assert caught.value.path == "$.value[0].name"


async def test_the_model_is_told_what_is_wrong_and_asked_again(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(WRONG, reasoning="A big one.", usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
    fake.reply(OSLO, usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30})

    answer = await parse_answer(client, City, **{**ASK, "messages": iter(MESSAGES)}, retries=1)

    assert answer.value.people == 7
    first, second = (request.json()["messages"] for request in fake.requests)
    assert second[: len(first)] == first == MESSAGES
    assert second[1] == {"role": "assistant", "content": WRONG, "reasoning_content": "A big one."}
    assert second[2]["role"] == "user"
    assert "Expected `int`, got `str` at $.people" in second[2]["content"]
    assert "Traceback" not in second[2]["content"]
    assert [completion.usage and completion.usage.total_tokens for completion in answer.completions] == [3, 30]
    assert answer.usage == Usage(prompt_tokens=11, completion_tokens=22, total_tokens=33)
    assert answer.cost(client) == sum((client.cost(one) for one in answer.completions), Decimal())
    # Nothing was changed of what the caller has.
    assert len(MESSAGES) == 1


async def test_each_repair_goes_on_from_the_one_before_and_the_last_error_counts(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    fake.reply(WRONG, usage=usage)
    fake.reply("Sure!", usage=usage)
    fake.reply('{"people": 1}', usage=usage)

    with pytest.raises(StructuredOutputError, match="missing required field `name`") as caught:
        await parse(client, City, **ASK, retries=2)

    histories = [request.json()["messages"] for request in fake.requests]
    assert [len(history) for history in histories] == [1, 3, 5]
    assert histories[2][:3] == histories[1]
    assert len(caught.value.completions) == 3
    assert caught.value.usage is not None
    assert caught.value.usage.total_tokens == 9
    assert pickle.loads(pickle.dumps(caught.value)).usage.total_tokens == 9


@pytest.mark.parametrize("empty", ["", " \n"])
async def test_after_an_empty_answer_the_same_is_asked_once_more(
    empty: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(empty, reasoning="Hm.")
    fake.reply(OSLO)

    assert (await parse(client, City, **ASK, retries=1)).name == "Oslo"
    assert [request.json()["messages"] for request in fake.requests] == [MESSAGES, MESSAGES]

    fake.reply(empty, reasoning="Hm.", times=2)
    with pytest.raises(EmptyAnswerError, match="on reasoning") as caught:
        await parse(client, City, **ASK, retries=1)
    assert len(caught.value.completions) == 2


CUT: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"text": '{"na', "finish_reason": "length"}, LengthFinishReasonError, "cut by max_completion_tokens"),
    ({"reasoning": "Hm", "finish_reason": "length"}, LengthFinishReasonError, "all of them went into reasoning"),
    ({"text": '{"na', "finish_reason": "content_filter"}, ContentFilterFinishReasonError, "content filter"),
    ({"tool_calls": [{"name": "City", "arguments": {"name": "a"}}]}, StructuredOutputError, "it calls tools"),
    ({"tool_calls": [{"name": "City", "arguments": {"name": 1}}]}, StructuredOutputError, "not a City: Expected"),
]


@pytest.mark.parametrize(("reply", "error", "problem"), CUT)
async def test_what_would_be_so_once_more_is_not_asked_again(
    reply: dict[str, Any], error: type[Exception], problem: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(**reply, times=2)
    tools = iter([function_tool(City)])

    with pytest.raises(error, match=problem) as caught:
        await parse(client, City, **ASK, tools=tools, retries=3)

    assert len(fake.requests) == 1
    assert caught.value.completion is not None  # type: ignore[attr-defined]  # they all have it
    assert caught.value.usage.total_tokens > 0  # type: ignore[attr-defined]
    with pytest.raises(error, match=problem) as caught:
        async for _ in parse_stream(client, City, **ASK, tools=[function_tool(City)]):
            pass
    assert caught.value.completion is not None  # type: ignore[attr-defined]


def completion_of(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return {"id": "c", "choices": [choice] if message else []}


@pytest.mark.parametrize(
    ("message", "error", "problem"),
    [
        ({}, EmptyAnswerError, "no choices"),
        ({"content": "No.", "refusal": "No."}, StructuredOutputError, "not a City: it refuses"),
        ({"content": "", "function_call": {"name": "f", "arguments": "{}"}}, StructuredOutputError, "calls tools"),
    ],
)
async def test_answers_of_other_kinds_are_errors_too(
    message: dict[str, Any], error: type[StructuredOutputError], problem: str
) -> None:
    canned = Canned(completion_of(**message))
    async with canned.client() as client:
        with pytest.raises(error, match=problem) as caught:
            await parse(client, City, **ASK, retries=1)
    assert (caught.value.usage, caught.value.text) == (None, message.get("content", ""))
    assert caught.value.completion is not None
    assert len(canned.requests) == 1


async def test_where_asking_again_fails_the_error_says_why_it_was_asked(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.fail(500)
    with pytest.raises(InternalServerError) as plain:
        await parse(client, City, **ASK, retries=1)
    assert plain.value.__cause__ is None

    fake.reply(WRONG)
    calls = 0

    async def second_fails(request: Request, call_next: Callable[[Request], Any]) -> Response:
        nonlocal calls
        calls += 1
        if calls == 2:
            fake.fail(500)
        response: Response = await call_next(request)
        return response

    with pytest.raises(InternalServerError) as caught:
        await parse(client.with_options(middleware=[second_fails]), City, **ASK, retries=1)

    cause = caught.value.__cause__
    assert isinstance(cause, StructuredOutputError)
    assert (cause.path, cause.__traceback__) == ("$.people", None)
    assert cause.usage is not None
    assert caught.value.__notes__ == [f"It was being asked for again, since: {cause}"]


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_all_answers_together_have_the_time_of_one_call(
    client: AsyncMoonshot, fake: FakeMoonshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, totals = Clock(), list[float | None]()
    monkeypatch.setattr(repair, "time", clock)

    async def slow(request: Request, call_next: Callable[[Request], Any]) -> Response:
        totals.append(request.timeout.total)
        clock.now += 4
        response: Response = await call_next(request)
        return response

    timed = client.with_options(middleware=[slow], timeout=11)
    fake.reply(WRONG, times=None)
    with pytest.raises(StructuredOutputError):
        await parse(timed, City, **ASK, retries=9)
    assert totals == [11, 7, 3]

    totals.clear()
    with pytest.raises(StructuredOutputError):
        await parse(timed, City, **ASK, retries=9, timeout=7.0)
    assert totals == [7, 3]

    totals.clear()
    with pytest.raises(StructuredOutputError):
        await parse(timed, City, **ASK, retries=2, timeout=None)
    assert totals == [None, None, None]


async def test_the_deadline_of_the_caller_ends_it(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(WRONG, times=None)
    with pytest.raises(APITimeoutError) as caught, client.deadline(1e-9):
        await parse(client, City, **ASK, retries=1)
    assert caught.value.clock == "deadline"


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"type_": complex}, TypeError, "cannot be sent as a schema"),
    ({"type_": {"type": "json_object"}}, TypeError, "cannot be sent as a schema"),
    ({"type_": "City"}, TypeError, "cannot be sent as a schema"),
    ({"type_": list[Annotated[complex, []]]}, TypeError, "cannot be sent as a schema"),
    ({"response_format": {"type": "text"}}, TypeError, "as its second argument"),
    ({"stream": True}, TypeError, "unexpected keyword argument 'stream'"),
    ({"temprature": 1}, TypeError, "did you mean 'temperature'"),
    ({"model": UNSET}, TypeError, "missing required keyword argument 'model'"),
    ({"messages": UNSET}, TypeError, "missing required keyword argument 'messages'"),
    ({"messages": "Hi"}, TypeError, "must be a list of messages"),
    ({"messages": [*MESSAGES, {"role": "assistant", "content": "{", "partial": True}]}, ConfigurationError, "prefix"),
    ({"n": 2}, ConfigurationError, "n must be 1"),
    ({"extra_body": {"n": 2}}, ConfigurationError, "n must be 1"),
]


@pytest.mark.parametrize(("change", "error", "problem"), BAD)
async def test_what_cannot_work_is_told_before_anything_is_sent(
    change: dict[str, Any], error: type[Exception], problem: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    params = {name: value for name, value in {**ASK, **change}.items() if value is not UNSET}
    type_ = params.pop("type_", City)

    with pytest.raises(error, match=problem):
        await parse(client, type_, **params)
    with pytest.raises(error, match=problem):
        parse_stream(client, type_, **params)
    assert not fake.requests


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        ({"retries": -1}, ConfigurationError, "retries must be 0 or more"),
        ({"retries": 1.5}, TypeError, "a whole number, not float"),
        ({"retries": True}, TypeError, "a whole number, not bool"),
        ({"timeout": -1}, ConfigurationError, "timeout"),
    ],
)
async def test_retries_and_timeout_are_looked_at_too(
    change: dict[str, Any], error: type[Exception], problem: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    for call in (parse, parse_answer):
        with pytest.raises(error, match=problem):
            await call(client, City, **{**ASK, **change})
    assert not fake.requests


async def test_a_stream_is_not_asked_for_again(client: AsyncMoonshot) -> None:
    more: Any = {"retries": 1}
    with pytest.raises(TypeError, match="takes no retries"):
        parse_stream(client, City, **ASK, **more)


async def test_an_answer_in_a_fence_of_markdown_is_taken(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(f"```json\n{OSLO}\n```", times=2)

    whole = await parse(client, City, **ASK)
    assert [partial async for partial in parse_stream(client, City, **ASK)][-1] == whole == City("Oslo", 7, ["Aker"])


# --- A value while it arrives


async def test_a_value_grows_while_it_arrives_up_to_what_parse_gives(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(chunks=['{"na', 'me": "Os', 'lo", "pe', 'ople": 7', "0, ", '"rivers": ["Ak', 'er"', "]", "}"])

    async with parse_stream(client, City, **ASK) as stream:
        seen = [(city.name, city.people, city.rivers) async for city in stream]
        value = await stream.value()

    assert seen == [
        (UNSET, UNSET, UNSET),
        ("Os", UNSET, UNSET),
        ("Oslo", UNSET, UNSET),
        ("Oslo", 70, UNSET),
        ("Oslo", 70, ["Ak"]),
        ("Oslo", 70, ["Aker"]),
    ]
    assert value == City("Oslo", 70, ["Aker"])
    assert [has_come(part) for part in seen[1]] == [True, False, False]
    assert stream.completion.choices[0].message.content is not None
    assert stream.usage is not None
    fake.reply(stream.completion.choices[0].message.content)
    assert await parse(client, City, **ASK) == value


async def test_defaults_of_the_whole_come_with_its_end(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply('{"name": "Oslo"}')

    seen = [city async for city in parse_stream(client, City, **ASK)]

    assert seen[-1] == City("Oslo", 0, [])
    assert not has_come(seen[-2].people)


@settings(max_examples=12)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.text(max_size=8), st.lists(st.text(max_size=5)))
def test_wherever_the_chunks_are_cut_the_last_value_is_that_of_parse(
    sizes: list[int], name: str, rivers: list[str]
) -> None:
    text, chunks = json.dumps({"name": name, "rivers": rivers}), list[str]()
    while "".join(chunks) != text:
        at = len("".join(chunks))
        chunks.append(text[at : at + sizes[len(chunks) % len(sizes)]])

    async def ask() -> None:
        fake = FakeMoonshot()
        async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake)) as client:
            fake.reply(chunks=chunks)
            seen = [city async for city in parse_stream(client, City, **ASK)]
            fake.reply(text)
            assert seen[-1] == await parse(client, City, **ASK) == City(name, 0, rivers)
            for before, after in pairwise(seen):
                assert before != after
                assert before.name is UNSET or after.name.startswith(before.name)

    asyncio.run(ask())


@dataclasses.dataclass
class Titled:
    """`==` does not see all that there is of it."""

    name: str
    note: str = dataclasses.field(default="none", compare=False)

    def __post_init__(self) -> None:
        self.title = f"The {self.name}"


class Numbered(msgspec.Struct):
    number: int
    note: str = "none"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbered) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]  # it may change


class Open(pydantic.BaseModel, extra="allow"):
    name: str
    _seen: bool = pydantic.PrivateAttr(default=True)


@pytest.mark.parametrize(
    ("type_", "text", "look"),
    [
        (Titled, '{"name": "Thames"}', lambda value: (value.note, value.title)),
        (list[Titled], '{"value": [{"name": "Thames"}]}', lambda value: (value[0].note, value[0].title)),
        (Numbered, '{"number": 1 }', lambda value: value.note),
        (list[Numbered], '{"value": [{"number": 1 }]}', lambda value: value[0].note),
        (Open, '{"name": "a", "more": 1}', lambda value: (value.model_extra, value._seen)),
        (dict[str, Open], '{"b": {"name": "a", "more": 1}}', lambda value: (value["b"].model_extra, value["b"]._seen)),
    ],
)
async def test_the_last_value_is_that_of_parse_in_all_that_its_class_makes_of_it(
    type_: Any, text: str, look: Callable[[Any], Any], client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(text)
    whole = await parse(client, type_, **ASK)

    fake.reply(chunks=list(text))
    seen = [value async for value in parse_stream(client, type_, **ASK)]

    assert look(seen[-1]) == look(whole)
    assert repr(seen[-1]) == repr(whole)


async def test_a_class_that_fails_in_its_own_way_does_so_at_the_end(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    @dataclasses.dataclass
    class Odd:
        name: str

        def __post_init__(self) -> None:
            raise KeyError(self.name)

    class Holder(msgspec.Struct):
        odd: Odd
        more: str = ""

    fake.reply(chunks=list('{"odd": {"name": "a"}, "more": "b"}'))
    async with parse_stream(client, Holder, **ASK) as stream:
        for _ in range(2):
            with pytest.raises(KeyError):
                async for holder in stream:
                    assert not has_come(holder.more)
        assert holder.odd.name == "a"
        assert stream.usage is not None


async def test_a_stream_is_entered_once_but_where_there_was_no_answer(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    stream = parse_stream(client, City, **ASK)
    fake.fail(500)
    with pytest.raises(InternalServerError):
        [city async for city in stream]
    fake.reply(OSLO)
    async with stream:
        await anext(stream)
        with pytest.raises(TypeError, match="entered once"):
            await stream.__aenter__()
        assert (await stream.value()).name == "Oslo"
    assert len(fake.requests) == 2


async def test_a_loop_that_is_left_inside_of_async_with_can_be_gone_on_with(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(chunks=list(OSLO))

    async with parse_stream(client, City, **ASK) as stream:
        async for city in stream:
            if city.name == "Os":
                break
        assert stream.completion.choices[0].message.content == '{"name": "Os'
        assert (await anext(stream)).name == "Osl"
        assert await stream.value() == City("Oslo", 7, ["Aker"])
        assert [city async for city in stream] == []
        assert await stream.value() == City("Oslo", 7, ["Aker"])


async def test_a_stream_has_to_be_entered_to_be_asked_for_its_parts(client: AsyncMoonshot) -> None:
    stream = parse_stream(client, City, **ASK)

    for ask in (lambda: stream.completion, lambda: stream.usage):
        with pytest.raises(TypeError, match="entered first"):
            ask()
    with pytest.raises(TypeError, match="entered first"):
        await anext(stream)
    await stream.aclose()


@pytest.mark.parametrize(
    ("reply", "error", "problem"),
    [
        ({"text": WRONG}, StructuredOutputError, r"at \$\.people"),
        ({"text": "Sure! " + OSLO}, StructuredOutputError, "malformed"),
        ({"text": OSLO + OSLO}, StructuredOutputError, "malformed"),
        ({"text": ""}, EmptyAnswerError, "is empty, not a City"),
        ({"text": '{"name": "a", "name": "b"}'}, StructuredOutputError, r"a name comes twice at \$\.name"),
    ],
)
async def test_a_stream_ends_with_the_error_that_parse_gives_and_does_so_again(
    reply: dict[str, Any], error: type[StructuredOutputError], problem: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(**reply)

    async with parse_stream(client, City, **ASK) as stream:
        for _ in range(2):
            with pytest.raises(error, match=problem) as caught:
                await stream.value()
            assert caught.value.text == reply["text"]
            assert caught.value.completion == stream.completion
            assert caught.value.usage == stream.usage
            assert caught.value.usage is not None


async def test_a_stream_that_breaks_off_is_never_taken_for_the_whole() -> None:
    canned = Canned(events(*map(piece, OSLO)), headers={"content-type": "text/event-stream"})
    async with canned.client() as client, parse_stream(client, City, **ASK) as stream:
        with pytest.raises(StreamInterruptedError):
            async for city in stream:
                last = city
        with pytest.raises(StreamInterruptedError):
            await stream.value()
    assert last == City("Oslo", 7, ["Aker"])


async def test_what_was_closed_early_is_not_read_on(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(chunks=list(OSLO))
    async with parse_stream(client, City, **ASK) as stream:
        await anext(stream)
    with pytest.raises(StreamInterruptedError, match="closed"):
        await stream.value()


def piece(text: str) -> bytes:
    delta = {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return json.dumps(delta).encode()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("how", ["left", "dropped", "cancelled"])
async def test_leaving_early_closes_the_connection(
    how: str, scripted: Start, client_of: Callable[..., AsyncMoonshot]
) -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(piece('{"name": "Os'))))
        await peer.gone()

    server = await scripted(endless)
    client = client_of(server)
    begun = asyncio.Event()

    async def watch() -> None:
        async for city in parse_stream(client, City, **ASK):
            assert city.name == "Os"
            begun.set()
            if how == "left":
                break

    if how == "dropped":
        loop = aiter(parse_stream(client, City, **ASK))
        assert (await anext(loop)).name == "Os"
        del loop
    else:
        task = asyncio.ensure_future(watch())
        await begun.wait()
        if how == "cancelled":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await server.until(lambda: server.open == 0)


@pytest.mark.usefixtures("no_leaks")
async def test_a_value_comes_as_soon_as_its_bytes_do_and_a_pair_may_be_cut(
    scripted: Start, client_of: Callable[..., AsyncMoonshot]
) -> None:
    more = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(piece('{"name": "\\ud83d'))))
        await peer.send(chunk(events(piece('\\ude00"'))))
        await more.wait()
        end = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await peer.send(chunk(events(piece("}"), json.dumps(end).encode(), b"[DONE]")), LAST_CHUNK)

    server = await scripted(play)
    async for city in parse_stream(client_of(server), City, **ASK):
        if has_come(city.name) and city.name:
            assert city.name == "😀"
            more.set()
    assert city == City("😀", 0, [])


async def test_a_stream_that_nobody_holds_is_no_garbage(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(OSLO)
    stream = parse_stream(client, City, **ASK)
    async with stream:
        await anext(stream)
    gone = weakref.ref(stream)
    gc.collect()
    gc.disable()
    try:
        del stream
        assert gone() is None
    finally:
        gc.enable()


async def test_other_choices_and_empty_chunks_say_nothing_of_the_value() -> None:
    def delta(index: int, text: str | None, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
        return json.dumps({"id": "c", "choices": [choice]}).encode()

    chunks = [delta(0, ""), delta(1, '{"name": "B"}'), delta(0, '{"name": "A"}'), delta(1, None, "stop")]
    canned = Canned(events(*chunks, delta(0, None, "stop"), b"[DONE]"), headers={"content-type": "text/event-stream"})
    async with canned.client() as client:
        seen = [city.name async for city in parse_stream(client, City, **ASK)]
    assert seen == ["A", "A"]
