"""The fake as a foreign client sees it: the openai package, over HTTP."""

import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
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


async def test_a_parsed_tool_call_fits_its_type(client: Any) -> None:
    import pydantic

    class GetWeather(pydantic.BaseModel):
        city: str
        days: int

    completion = await client.chat.completions.parse(
        model="kimi-k3", messages=WEATHER, tools=[openai.pydantic_function_tool(GetWeather)]
    )
    async with client.chat.completions.stream(
        model="kimi-k3", messages=WEATHER, tools=[openai.pydantic_function_tool(GetWeather)]
    ) as stream:
        streamed = await stream.get_final_completion()

    for one in (completion, streamed):
        (call,) = one.choices[0].message.tool_calls
        assert call.function.parsed_arguments == GetWeather(city="Oslo", days=1)


async def test_raw_responses_carry_heads_and_bodies(client: Any) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="kimi-k3", messages=HELLO)
    streamed = await client.chat.completions.with_raw_response.create(model="kimi-k3", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in streamed.parse()]

    assert (raw.status_code, raw.http_request.method, raw.retries_taken) == (200, "POST", 0)
    assert json.loads(raw.content)["id"] == raw.parse().id
    assert raw.headers["content-type"].startswith("application/json")
    assert streamed.headers["content-type"] == "text/event-stream"
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_streaming_responses_are_read_as_they_come(client: Any) -> None:
    ask = {"model": "kimi-k3", "messages": HELLO, "stream": True}
    async with client.chat.completions.with_streaming_response.create(**ask) as response:
        lines = [line async for line in response.iter_lines() if line]
    async with client.models.with_streaming_response.list() as response:
        page = await response.parse()
    async with client.models.with_streaming_response.list() as response:
        plain = await response.json()

    assert lines[0].startswith("data: {")
    assert lines[-1] == "data: [DONE]"
    assert [model.id for model in page.data] == [model["id"] for model in plain["data"]]


async def test_files_are_kept(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "rain.md"
    path.write_bytes(b"# Rain")
    named = io.BytesIO(b"It snows.")
    named.name = "snow.txt"

    from_path = await client.files.create(file=path, purpose="file-extract")
    from_bytes = await client.files.create(file=("hail.txt", b"It hails."), purpose="file-extract")
    from_object = await client.files.create(file=named, purpose="file-extract")
    typed = await client.files.create(file=("fog.json", b'{"fog": 1}', "application/json"), purpose="file-extract")
    content = await client.files.content(from_path.id)
    listed = [file async for file in client.files.list()]
    deleted = await client.files.delete(typed.id)

    assert [file.filename for file in (from_path, from_bytes, from_object)] == ["rain.md", "hail.txt", "snow.txt"]
    assert (from_path.object, from_path.bytes, from_path.purpose) == ("file", 6, "file-extract")
    assert (await client.files.retrieve(from_path.id)).id == from_path.id
    assert json.loads(content.text)["content"] == "# Rain"
    assert json.loads(content.read()) == content.json()
    assert {file.id for file in listed} == {from_path.id, from_bytes.id, from_object.id, typed.id}
    assert (deleted.id, deleted.deleted) == (typed.id, True)
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(typed.id)
    with pytest.raises(openai.BadRequestError):
        await client.files.create(file=("a.txt", b"text"), purpose="assistants")


def lines(*custom_ids: str) -> bytes:
    """The input file of a batch."""
    body = {"model": "kimi-k2.6", "messages": HELLO}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    return b"".join(json.dumps({"custom_id": name, **line}).encode() + b"\n" for name in custom_ids)


async def test_batches_are_started_found_and_cancelled(client: Any) -> None:
    file = await client.files.create(file=("in.jsonl", lines("a", "b")), purpose="batch")
    ask = {"completion_window": "24h", "endpoint": "/v1/chat/completions", "input_file_id": file.id}

    batch = await client.batches.create(**ask, metadata={"job": "nightly"})
    found = await client.batches.retrieve(batch.id)
    cancelled = await client.batches.cancel(batch.id)

    assert (batch.object, batch.endpoint, batch.input_file_id) == ("batch", "/v1/chat/completions", file.id)
    assert (batch.metadata, batch.completion_window) == ({"job": "nightly"}, "24h")
    assert batch.status in ("validating", "in_progress")
    assert found.id == batch.id
    assert cancelled.status in ("cancelling", "cancelled")
    with pytest.raises(openai.NotFoundError):
        await client.batches.retrieve("batch-of-nobody")


async def test_the_results_of_a_batch_are_read_from_its_files(fake: FakeMoonshot, client: Any) -> None:
    bad = json.dumps(
        {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "kimi-k2.6"}}
    )
    file = await client.files.create(file=("in.jsonl", lines("a", "b") + bad.encode()), purpose="batch")
    batch = await client.batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id)
    fake.advance(3600)

    batch = await client.batches.retrieve(batch.id)
    output = await client.files.content(batch.output_file_id)
    failures = await client.files.content(batch.error_file_id)
    told = [json.loads(line) for line in output.text.splitlines()]
    failed = [json.loads(line)["custom_id"] for line in failures.text.splitlines()]

    assert (batch.status, batch.request_counts.total, batch.request_counts.failed) == ("completed", 3, 1)
    assert sorted(line["custom_id"] for line in told) == ["a", "b"]
    assert all(line["response"]["body"]["choices"][0]["message"]["content"] for line in told)
    assert failed == ["c"]


async def test_batches_are_listed_page_by_page(client: Any) -> None:
    file = await client.files.create(file=("in.jsonl", lines("a")), purpose="batch")
    ask = {"completion_window": "24h", "endpoint": "/v1/chat/completions", "input_file_id": file.id}
    made = [(await client.batches.create(**ask)).id for _ in range(5)]

    first = await client.batches.list(limit=2)
    second = await first.get_next_page()
    every = [batch.id async for batch in client.batches.list(limit=2)]

    assert len(first.data) == len(second.data) == 2
    assert first.has_next_page()
    assert first.next_page_info().params == {"after": first.data[-1].id}
    assert sorted(every) == sorted(made)
    assert every[:4] == [batch.id for batch in (*first.data, *second.data)]


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
