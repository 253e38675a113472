"""`client.chat.completions`: keywords in, a request out."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonshot_async import NOT_GIVEN, AsyncMoonshot, ChatCompletion, ConfigurationError, MemoryTransport, Stream
from moonshot_async.fake import FakeMoonshot

ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key="sk-test", transport=MemoryTransport(fake)) as client:
        yield client


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


async def test_stream_takes_no_stream(client: AsyncMoonshot) -> None:
    with pytest.raises(TypeError, match="it always streams"):
        client.chat.completions.stream(**ASK, stream=True)  # type: ignore[call-arg]  # that it is refused is the point


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
