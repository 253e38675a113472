"""The fake as a foreign client sees it: the openai package, over HTTP."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot

if os.environ.get("MOONSHOT_ASYNC_CI") == "1":
    import openai
else:
    openai = pytest.importorskip("openai")

HELLO: list[Any] = [{"role": "user", "content": "Hello, fake!"}]
WEATHER: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[Any]:
    async with fake.serve() as url, openai.AsyncOpenAI(api_key="sk-test", base_url=url, max_retries=0) as client:
        yield client


async def test_models_are_listed_and_retrieved(client: Any) -> None:
    listed = await client.models.list()
    one = await client.models.retrieve("kimi-k2.6")

    assert [model.id for model in listed.data][-1] == one.id == "kimi-k2.6"
    assert one.context_length == 262144


async def test_a_completion_is_understood(client: Any) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="kimi-k3", messages=HELLO)
    completion = raw.parse()

    assert "Hello, fake!" in completion.choices[0].message.content
    assert completion.choices[0].message.reasoning_content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.prompt_tokens_details.cached_tokens == completion.usage.cached_tokens == 0
    assert completion.usage.completion_tokens_details.reasoning_tokens > 0
    assert raw.headers["msh-request-id"] == "fake-request-000001"


async def test_a_stream_says_what_the_completion_says(client: Any) -> None:
    completion = await client.chat.completions.create(model="kimi-k3", messages=HELLO)
    stream = await client.chat.completions.create(
        model="kimi-k3", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == completion.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == completion.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_the_stream_helper_builds_the_same_completion(client: Any) -> None:
    completion = await client.chat.completions.create(model="kimi-k3", messages=HELLO)

    async with client.chat.completions.stream(
        model="kimi-k3", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()

    assert "".join(deltas) == final.choices[0].message.content == completion.choices[0].message.content
    assert final.choices[0].message.reasoning_content == completion.choices[0].message.reasoning_content
    assert final.choices[0].finish_reason == "stop"
    assert final.usage.total_tokens == completion.usage.total_tokens


async def test_the_stream_helper_builds_tool_calls(client: Any) -> None:
    async with client.chat.completions.stream(model="kimi-k3", messages=WEATHER, tools=[TOOL]) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()

    (call,) = final.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("get_weather:0", "get_weather", '{"city":"Oslo"}')
    assert final.choices[0].finish_reason == "tool_calls"
    assert [event.arguments for event in events if event.type == "tool_calls.function.arguments.done"] == [
        '{"city":"Oslo"}'
    ]


async def test_a_tool_loop_with_response_objects_comes_to_an_answer(client: Any) -> None:
    messages = list(WEATHER)
    first = await client.chat.completions.create(model="kimi-k3", messages=messages, tools=[TOOL])
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "4 degrees"}
    messages += [message, result]

    second = await client.chat.completions.create(model="kimi-k3", messages=messages, tools=[TOOL])

    assert "4 degrees" in second.choices[0].message.content
    assert second.choices[0].finish_reason == "stop"


async def test_a_structured_answer_is_parsed(client: Any) -> None:
    import pydantic

    class Place(pydantic.BaseModel):
        city: str
        population: int | None
        tags: list[str]

    completion = await client.chat.completions.parse(model="kimi-k3", messages=WEATHER, response_format=Place)

    assert completion.choices[0].message.parsed == Place(city="Oslo", population=1, tags=["Oslo"])


async def test_errors_arrive_as_their_types(fake: FakeMoonshot, client: Any) -> None:
    async def refused(**more: Any) -> Any:
        with pytest.raises(openai.APIError) as caught:
            await client.chat.completions.create(**{"model": "kimi-k3", "messages": HELLO} | more)
        return caught.value

    assert type(await refused(model="moonshot-v1-8k")) is openai.NotFoundError
    assert type(await refused(temperature=0.3)) is openai.BadRequestError
    assert type(await refused(extra_headers={"Authorization": "Bearer nothing"})) is openai.AuthenticationError
    fake.fail(429, retry_after=3)
    limited = await refused()
    fake.fail(504)
    gateway = await refused()
    fake.disconnect()
    nothing = await refused()
    fake.error_in_stream(1, message="bad luck")
    stream = await client.chat.completions.create(model="kimi-k3", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="bad luck"):
        async for _ in stream:
            pass

    assert type(limited) is openai.RateLimitError
    assert limited.type == "rate_limit_reached_error"
    assert limited.response.headers["retry-after"] == "3"
    assert type(gateway) is openai.InternalServerError
    assert type(nothing) is openai.APIConnectionError


async def test_its_own_retries_reach_the_fake(fake: FakeMoonshot, client: Any) -> None:
    fake.fail(503, headers={"retry-after-ms": "1"}, times=2)

    completion = await client.with_options(max_retries=2).chat.completions.create(model="kimi-k3", messages=HELLO)

    assert completion.choices[0].message.content
    assert len(fake.requests) == 3
