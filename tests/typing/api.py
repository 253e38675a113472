"""The types that callers see; never run, only read by mypy."""

from typing import Any, Literal, assert_type

import msgspec

from moonshot_async import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncMoonshot,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ChatStream,
    Headers,
    LengthFinishReasonError,
    Request,
    Response,
    Stream,
    StreamInterruptedError,
    collect,
)
from moonshot_async.errors import Attempt, Clock
from moonshot_async.types.chat import FunctionCall, Logprobs, TokenLogprob, ToolCall, ToolCallDelta, Usage
from moonshot_async.types.chat_params import ChatMessage, MessageParam
from moonshot_async.types.models import ModelInfo, ModelList

MESSAGES: list[MessageParam] = [{"role": "user", "content": "Hi"}]


class Point(msgspec.Struct):
    x: int


async def create(client: AsyncMoonshot, flag: bool) -> None:
    chat = client.chat.completions
    assert_type(await chat.create(model="m", messages=MESSAGES), ChatCompletion)
    assert_type(await chat.create(model="m", messages=MESSAGES, stream=False), ChatCompletion)
    assert_type(await chat.create(model="m", messages=MESSAGES, stream=None), ChatCompletion)
    assert_type(await chat.create(model="m", messages=MESSAGES, stream=True), Stream[ChatCompletionChunk])
    assert_type(
        await chat.create(model="m", messages=MESSAGES, stream=flag), ChatCompletion | Stream[ChatCompletionChunk]
    )
    await chat.create(model="m", messages=MESSAGES, temprature=1)  # type: ignore[call-overload]  # misspelt
    await chat.create(messages=MESSAGES)  # type: ignore[call-overload]  # no model
    await chat.create(model="m", messages=MESSAGES, temperature="hot")  # type: ignore[call-overload]  # no number


async def whole(completion: ChatCompletion) -> None:
    choice = completion.choices[0]
    assert_type(choice.finish_reason, str | None)
    assert_type(choice.message, ChatCompletionMessage)
    assert_type(choice.message.content, str | None)
    assert_type(choice.message.reasoning_content, str | None)
    assert_type(choice.message.tool_calls, list[ToolCall] | None)
    assert_type(choice.logprobs, Logprobs | None)
    for call in choice.message.tool_calls or []:
        assert_type(call.function, FunctionCall)
        assert_type(call.function.arguments, str)
    assert_type(completion.usage, Usage | None)
    if completion.usage is not None:
        assert_type(completion.usage.total_tokens, int)
        assert_type(completion.usage.cached_tokens, int | None)
    assert_type(completion.request_id, str | None)
    assert_type(completion.model_extra, dict[str, Any])
    assert_type(completion.model_dump(), dict[str, Any])
    assert_type(completion.to_json(), str)
    _ = choice.message.unheard_of  # type: ignore[attr-defined]  # unknown fields are there at run time only


async def conversation(client: AsyncMoonshot, completion: ChatCompletion) -> None:
    answer = {"role": "tool", "tool_call_id": "f:0", "content": "1"}
    await client.chat.completions.create(model="m", messages=[*MESSAGES, completion.choices[0].message, answer])
    history: list[ChatMessage] = [*MESSAGES]
    history += [completion.choices[0].message, answer]
    await client.chat.completions.create(model="m", messages=history)
    await client.chat.completions.create(model="m", messages=(message for message in MESSAGES))


async def streamed(stream: Stream[ChatCompletionChunk]) -> None:
    async for chunk in stream:
        assert_type(chunk, ChatCompletionChunk)
        assert_type(chunk.choices[0].delta.content, str | None)
        assert_type(chunk.choices[0].delta.reasoning_content, str | None)
        assert_type(chunk.choices[0].delta.tool_calls, list[ToolCallDelta] | None)
        assert_type(chunk.choices[0].usage, Usage | None)
        assert_type(chunk.usage, Usage | None)
    assert_type(await anext(stream), ChatCompletionChunk)
    assert_type(await collect(stream), ChatCompletion)
    assert_type(stream.response, Response)
    async with stream as same:
        assert_type(same, Stream[ChatCompletionChunk])


async def events(client: AsyncMoonshot) -> None:
    async with client.chat.completions.stream(model="m", messages=MESSAGES) as stream:
        assert_type(stream, ChatStream)
        assert_type(stream.response, Response)
        async for event in stream:
            if event.type == "content.delta":
                assert_type(event.delta, str)
                assert_type(event.snapshot, str)
            elif event.type == "reasoning.delta":
                assert_type(event.delta, str)
            elif event.type == "reasoning.done":
                assert_type(event.reasoning, str)
            elif event.type == "content.done":
                assert_type(event.content, str)
            elif event.type == "refusal.delta":
                assert_type(event.delta, str)
            elif event.type == "refusal.done":
                assert_type(event.refusal, str)
            elif event.type == "tool_calls.function.arguments.delta":
                assert_type(event.arguments_delta, str)
                assert_type(event.index, int)
            elif event.type == "tool_calls.function.arguments.done":
                assert_type(event.arguments, str)
                assert_type(event.parsed_arguments, Any)
            elif event.type == "usage":
                assert_type(event.usage, Usage)
            elif event.type == "chunk":
                assert_type(event.chunk, ChatCompletionChunk)
                assert_type(event.snapshot, ChatCompletion)
            else:
                assert_type(event.content, list[TokenLogprob])
                assert_type(event.snapshot, list[TokenLogprob])
                assert_type(
                    event.type,
                    Literal[
                        "logprobs.content.delta",
                        "logprobs.content.done",
                        "logprobs.refusal.delta",
                        "logprobs.refusal.done",
                    ],
                )
        assert_type(await stream.get_final_completion(), ChatCompletion)
        assert_type(await stream.until_done(), ChatStream)
        assert_type(stream.current_completion_snapshot, ChatCompletion)


async def models(client: AsyncMoonshot) -> None:
    page = await client.models.list()
    assert_type(page, ModelList)
    assert_type(page.data[0].id, str)
    async for model in client.models.list():
        assert_type(model, ModelInfo)
    assert_type(await client.models.retrieve("m"), ModelInfo)


async def anything(client: AsyncMoonshot) -> None:
    assert_type(await client.request("GET", "/x", response_type=Point), Point)
    assert_type(await client.request("GET", "/x", response_type=bytes), bytes)
    assert_type(await client.request("GET", "/x"), Any)


def failures(error: Exception) -> None:
    if isinstance(error, APIStatusError):
        assert_type(error.status_code, int)
        assert_type(error.retry_after, float | None)
        assert_type(error.request_id, str | None)
        assert_type(error.headers, Headers)
        assert_type(error.response, Response)
        assert_type(error.response.json(), Any)
    if isinstance(error, APIError):
        assert_type(error.message, str)
        assert_type(error.retryable, bool)
        assert_type(error.code, str | None)
        assert_type(error.type, str | None)
        assert_type(error.body, object | None)
        assert_type(error.request, Request | None)
        assert_type(error.partial, ChatCompletion | None)
        assert_type(error.attempts, tuple[Attempt, ...])
    if isinstance(error, APITimeoutError):
        assert_type(error.clock, Clock)
    if isinstance(error, StreamInterruptedError):
        assert_type(error.partial, ChatCompletion | None)
    if isinstance(error, APIResponseValidationError):
        assert_type(error.response, Response | None)
    if isinstance(error, LengthFinishReasonError):
        assert_type(error.completion, ChatCompletion)
