"""`client.chat.completions`: keywords in, a request out."""

import dataclasses
import datetime
import json
import uuid
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from moonshot_async import NOT_GIVEN, AsyncMoonshot, ChatCompletion, ConfigurationError, MemoryTransport, Stream
from moonshot_async.errors import BadRequestError, LengthFinishReasonError, StructuredOutputError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.structured import function_tool
from moonshot_async.types.parsed import ParsedChatCompletion

ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}


def sent(fake: FakeMoonshot) -> Any:
    return json.loads(fake.last_request.body)


async def test_create_returns_the_whole_answer_with_its_request_id(client: AsyncMoonshot) -> None:
    completion = await client.chat.completions.create(**ASK)
    assert isinstance(completion, ChatCompletion)
    assert completion.choices[0].message.content
    assert completion.request_id == "fake-request-000001"


@pytest.mark.parametrize("stream", [False, None, NOT_GIVEN])
async def test_stream_says_what_the_caller_said(stream: Any, client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    await client.chat.completions.create(**ASK, stream=stream)
    assert sent(fake) == (ASK if stream is NOT_GIVEN else ASK | {"stream": stream})
    assert not fake.last_request.stream


async def test_create_with_stream_returns_a_stream_of_the_same_answer(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    whole = await client.chat.completions.create(**ASK)
    stream = await client.chat.completions.create(**ASK, stream=True)
    assert isinstance(stream, Stream)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content
    assert sent(fake)["stream"] is True


async def test_stream_is_sent_when_it_is_entered(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    manager = client.chat.completions.stream(**ASK)
    assert fake.requests == []
    async with manager as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].finish_reason == "stop"
    assert sent(fake)["stream"] is True


async def test_options_of_a_call_are_no_part_of_the_body(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    options: dict[str, Any] = {"extra_headers": {"X-A": "1"}, "extra_query": {"q": 1}, "timeout": 9}
    await client.chat.completions.create(**ASK, **options)
    async with client.chat.completions.stream(**ASK, **options):
        pass
    for request in fake.requests:
        assert request.headers["X-A"] == "1"
        assert request.url.endswith("?q=1")
        assert set(json.loads(request.body)) <= {*ASK, "stream"}


async def test_extra_body_is_laid_over_the_body_last(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    await client.chat.completions.create(**ASK, user="a", extra_body={"user": "b", "brand_new": {"x": None}})
    assert sent(fake) == ASK | {"user": "b", "brand_new": {"x": None}}


async def test_what_is_not_given_is_not_sent_and_everything_else_is(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    await client.chat.completions.create(**ASK, seed=0, stop=None, store=False, user=NOT_GIVEN)
    assert sent(fake) == ASK | {"seed": 0, "stop": None, "store": False}


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"max_completion_token": 5}, "did you mean 'max_completion_tokens'"),
        ({"qwertz": 5}, "extra_body"),
        ({"model": NOT_GIVEN, "message": []}, "did you mean 'messages'"),
    ],
)
async def test_a_misspelt_keyword_is_a_type_error_before_anything_is_sent(
    params: dict[str, Any], problem: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    with pytest.raises(TypeError, match=rf"create\(\) got an unexpected keyword .*{problem}"):
        await client.chat.completions.create(**ASK | params)
    with pytest.raises(TypeError, match=rf"stream\(\) got an unexpected keyword .*{problem}"):
        client.chat.completions.stream(**ASK | params)
    assert fake.requests == []


@pytest.mark.parametrize("name", ["model", "messages"])
async def test_a_missing_keyword_is_a_type_error_that_names_it(
    name: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    params = {key: value for key, value in ASK.items() if key != name}
    with pytest.raises(TypeError, match=f"missing required keyword argument '{name}'"):
        await client.chat.completions.create(**params)
    assert fake.requests == []


async def test_stream_and_parse_take_no_stream(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    streaming: Any = {"stream": True}
    with pytest.raises(TypeError, match="it always streams"):
        client.chat.completions.stream(**ASK, **streaming)
    with pytest.raises(TypeError, match="it never streams"):
        await client.chat.completions.parse(**ASK, **streaming)
    assert fake.requests == []


async def test_thinking_and_reasoning_effort_exclude_each_other(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(TypeError, match="exclude each other"):
        await client.chat.completions.create(**ASK, thinking={"type": "enabled"}, reasoning_effort="low")
    assert fake.requests == []
    await client.chat.completions.create(**ASK, thinking={"type": "enabled"}, reasoning_effort=None)
    await client.chat.completions.create(**ASK, thinking=None, reasoning_effort=NOT_GIVEN)


@pytest.mark.parametrize("messages", ["Hi", b"Hi", {"role": "user", "content": "Hi"}, None, 5])
async def test_messages_that_are_no_list_are_a_type_error(
    messages: Any, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    with pytest.raises(TypeError, match="messages must be a list"):
        await client.chat.completions.create(model="kimi-k2.6", messages=messages)
    assert fake.requests == []


async def test_a_prompt_that_is_no_unicode_is_refused_without_being_shown(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    with pytest.raises(ConfigurationError, match="surrogate") as caught:
        await client.chat.completions.create(model="kimi-k2.6", messages=[{"role": "user", "content": "hush\ud800"}])
    assert "hush" not in str(caught.value)
    assert fake.requests == []


async def test_an_answer_is_put_back_into_messages_as_it_came(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(None, reasoning="Look it up.", tool_calls=[{"name": "weather", "arguments": {"city": "Paris"}}])
    completion = await client.chat.completions.create(**ASK)
    message = completion.choices[0].message
    assert message.tool_calls is not None
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
    await client.chat.completions.create(model="kimi-k2.6", messages=[*ASK["messages"], message, result])
    echoed = sent(fake)["messages"][1]
    assert echoed["reasoning_content"] == "Look it up."
    assert echoed["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}


async def test_the_sections_are_made_once(client: AsyncMoonshot) -> None:
    assert client.chat is client.chat
    assert client.chat.completions is client.chat.completions
    assert client.models is client.models


class Person(msgspec.Struct):
    """Somebody."""

    name: str
    age: int = 0


@dataclasses.dataclass
class Place:
    city: str


class Words(TypedDict):
    words: list[str]


class Shape(pydantic.BaseModel):
    sides: int = pydantic.Field(gt=2)


@pydantic.dataclasses.dataclass
class Plan:
    shapes: list[Shape]


TYPES = [
    (Person, '{"name": "Ann"}', Person("Ann")),
    (Place, '{"city": "Oslo"}', Place("Oslo")),
    (Words, '{"words": ["a"]}', {"words": ["a"]}),
    (Shape, '{"sides": 3}', Shape(sides=3)),
    (Plan, '{"shapes": [{"sides": 4}]}', Plan([Shape(sides=4)])),
]


@pytest.mark.parametrize(("type_", "text", "value"), TYPES)
async def test_an_answer_is_parsed_into_the_type_that_is_asked_for(
    type_: Any, text: str, value: Any, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(text, reasoning="Hm.")

    completion = await client.chat.completions.parse(**ASK, response_format=type_)

    message = completion.choices[0].message
    assert (message.parsed, message.content, message.reasoning_content) == (value, text, "Hm.")
    assert completion.request_id == "fake-request-000001"
    assert completion.usage is not None
    schema = sent(fake)["response_format"]
    assert schema["type"] == "json_schema"
    assert schema["json_schema"]["name"] == type_.__name__
    assert schema["json_schema"]["strict"] is True
    assert schema["json_schema"]["schema"]["additionalProperties"] is False
    assert "stream" not in sent(fake)


@pytest.mark.parametrize("type_", [type_ for type_, _, _ in TYPES])
async def test_what_the_service_makes_of_the_schema_is_a_value_of_the_type(type_: Any, client: AsyncMoonshot) -> None:
    parsed = (await client.chat.completions.parse(**ASK, response_format=type_)).choices[0].message.parsed
    async with client.chat.completions.stream(**ASK, response_format=type_) as stream:
        streamed = (await stream.get_final_completion()).choices[0].message.parsed

    assert parsed == streamed
    assert isinstance(parsed, dict if type_ is Words else type_)


async def test_the_arguments_of_tools_are_parsed(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    strict = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
    search = {"type": "builtin_function", "function": {"name": "$web_search"}}
    tools = [function_tool(Person, name="add"), strict, search]
    fake.reply(tool_calls=[{"name": "add", "arguments": {"name": "Ann"}}, {"name": "f", "arguments": {"a": 1}}])

    completion = await client.chat.completions.parse(**ASK, tools=iter(tools))

    message = completion.choices[0].message
    assert message.tool_calls is not None
    assert [call.function.parsed_arguments for call in message.tool_calls] == [Person("Ann"), {"a": 1}]
    assert message.parsed is None
    assert sent(fake)["tools"] == json.loads(json.dumps(tools))


async def test_a_parsed_message_is_put_back_into_messages_as_it_came(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    tools = [function_tool(Person)]
    fake.reply(reasoning="Hm.", tool_calls=[{"name": "Person", "arguments": {"name": "Ann"}}])
    message = (await client.chat.completions.parse(**ASK, tools=tools)).choices[0].message
    assert message.tool_calls is not None
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "done"}
    fake.reply('{"city": "Oslo"}', reasoning="Hm.")
    history = [*ASK["messages"], message, result]

    again = await client.chat.completions.parse(model="kimi-k2.6", messages=history, tools=tools, response_format=Place)
    history += [again.choices[0].message, {"role": "user", "content": "More."}]
    await client.chat.completions.create(model="kimi-k2.6", messages=history, tools=tools)

    echoed = sent(fake)["messages"]
    assert echoed[1]["tool_calls"][0]["function"] == {"name": "Person", "arguments": '{"name":"Ann"}'}
    assert echoed[3] == {"role": "assistant", "content": '{"city": "Oslo"}', "reasoning_content": "Hm."}


async def test_a_response_format_of_the_api_is_sent_as_it_is(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply("{}", times=3)
    for given in ({"response_format": {"type": "json_object"}}, {}, {"response_format": NOT_GIVEN}):
        completion = await client.chat.completions.parse(**ASK, **given)

        assert isinstance(completion, ParsedChatCompletion)
        assert completion.choices[0].message.parsed is None
        assert sent(fake).get("response_format", NOT_GIVEN) == given.get("response_format", NOT_GIVEN)


@dataclasses.dataclass
class Meeting:
    day: datetime.date
    start: Annotated[datetime.datetime, msgspec.Meta(tz=True)]
    id: uuid.UUID
    until: datetime.date | None = None


class Visit(pydantic.BaseModel):
    day: datetime.date
    start: datetime.datetime | None


@pytest.mark.parametrize("type_", [Meeting, Visit])
async def test_the_formats_of_texts_are_told(type_: Any, client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    completion = await client.chat.completions.parse(**ASK, response_format=type_)

    parsed = completion.choices[0].message.parsed
    assert isinstance(parsed, type_)
    assert isinstance(parsed.start, datetime.datetime)
    assert "(format: date)" in str(sent(fake)["response_format"])


async def test_an_answer_that_does_not_fit_is_an_error_that_holds_it(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply('{"name": 5}')
    with pytest.raises(StructuredOutputError, match=r"not a Person: .* at \$\.name") as misfit:
        await client.chat.completions.parse(**ASK, response_format=Person)
    fake.reply('{"na', finish_reason="length")
    with pytest.raises(LengthFinishReasonError) as cut:
        await client.chat.completions.parse(**ASK, response_format=Person)

    assert misfit.value.completion is not None
    assert misfit.value.usage is not None
    assert "Hi" not in repr(misfit.value.__dict__)
    assert cut.value.completion.choices[0].message.content == '{"na'
    assert cut.value.completion.request_id


async def test_parse_refuses_what_cannot_be_parsed_before_anything_is_sent(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    loose = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with pytest.raises(ValueError, match="`f` is not strict"):
        await client.chat.completions.parse(**ASK, tools=[loose])
    with pytest.raises(TypeError, match="must be an object"):
        await client.chat.completions.parse(**ASK, response_format=list[int])
    with pytest.raises(TypeError, match="must be an object"):
        client.chat.completions.stream(**ASK, response_format=list[int])
    with pytest.raises(TypeError, match="did you mean 'messages'"):
        await client.chat.completions.parse(**ASK, response_format=Person, message=[])
    for type_ in (Person, list[int], Shape):
        with pytest.raises(TypeError, match=r"no type as response_format: parse\(\) does"):
            await client.chat.completions.create(**ASK, response_format=type_)
    assert fake.requests == []


async def test_tools_that_are_no_list_are_left_to_the_server(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(BadRequestError):
        await client.chat.completions.parse(**ASK, tools={"type": "function"})
    await client.chat.completions.parse(**ASK, tools=None)
    assert len(fake.requests) == 2


async def test_a_raw_answer_is_parsed_when_asked(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply('{"city": "Oslo"}', times=2)
    completions: Any = client.chat.completions

    raw = await completions.with_raw_response.parse(**ASK, response_format=Place)
    async with completions.with_streaming_response.parse(**ASK, response_format=Place) as response:
        streamed = await response.parse()

    assert raw.status_code == 200
    assert raw.parse().choices[0].message.parsed == streamed.choices[0].message.parsed == Place("Oslo")


async def test_images_behind_urls_are_refused_before_they_are_sent(fake: FakeMoonshot) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    ask: Any = {"model": "kimi-k3", "messages": [{"role": "user", "content": [image]}]}
    async with AsyncMoonshot(api_key="sk-canary-01", region="intl", transport=MemoryTransport(fake)) as client:
        with pytest.raises(ConfigurationError, match="fetches no https URLs"):
            await client.chat.completions.create(**ask)
        with pytest.raises(ConfigurationError, match="fetches no https URLs"):
            await client.chat.completions.parse(**ask)
        with pytest.raises(ConfigurationError, match="fetches no https URLs"):
            async with client.chat.completions.stream(**ask):
                pass
    assert fake.requests == []
