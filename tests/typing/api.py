"""The types that callers see; never run, only read by mypy."""

import dataclasses
from typing import Any, Literal, TypedDict, assert_type

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
    ChatCompletionStreamState,
    ChatStream,
    Headers,
    LengthFinishReasonError,
    Request,
    Response,
    Stream,
    StreamInterruptedError,
    collect,
)
from moonshot_async.chat_events import ContentDeltaEvent, ContentDoneEvent, ToolCallDoneEvent
from moonshot_async.errors import Attempt, Clock, StructuredOutputError
from moonshot_async.mfjs import normalise, schema_of
from moonshot_async.structured import function_tool
from moonshot_async.types.chat import FunctionCall, Logprobs, TokenLogprob, ToolCall, ToolCallDelta, Usage
from moonshot_async.types.chat_params import ChatMessage, MessageParam, ToolParam
from moonshot_async.types.models import ModelInfo, ModelList
from moonshot_async.types.parsed import ParsedChatCompletion, ParsedChatCompletionMessage, ParsedFunctionToolCall
from moonshot_async.types.partial_json import partial_json

MESSAGES: list[MessageParam] = [{"role": "user", "content": "Hi"}]


class Point(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Place:
    city: str


class Spot(TypedDict):
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


async def not_entered(client: AsyncMoonshot) -> None:
    manager = client.chat.completions.stream(model="m", messages=MESSAGES)
    async for _ in manager:  # type: ignore[attr-defined]  # `async with` comes first
        pass
    await manager  # type: ignore[misc]  # likewise


async def events(client: AsyncMoonshot) -> None:
    async with client.chat.completions.stream(model="m", messages=MESSAGES) as stream:
        assert_type(stream, ChatStream[None])
        assert_type(stream.response, Response)
        async for event in stream:
            if event.type == "content.delta":
                assert_type(event, ContentDeltaEvent)
                assert_type(event.delta, str)
                assert_type(event.snapshot, str)
                assert_type(event.parsed, Any)
            elif event.type == "reasoning.delta":
                assert_type(event.delta, str)
            elif event.type == "reasoning.done":
                assert_type(event.reasoning, str)
            elif event.type == "content.done":
                assert_type(event.content, str)
                assert_type(event.parsed, None)
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
            elif event.type == "usage" or event.type == "stream.resumed":
                assert_type(event.usage, Usage | None)
            elif event.type == "chunk":
                assert_type(event.chunk, ChatCompletionChunk)
                assert_type(event.snapshot, ParsedChatCompletion[Any])
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
        assert_type(await stream.get_final_completion(), ParsedChatCompletion[None])
        assert_type(await stream.until_done(), ChatStream[None])
        assert_type(stream.current_completion_snapshot, ParsedChatCompletion[Any])
        assert_type((stream.segments, stream.uncounted_segments), tuple[int, int])


async def resumed(client: AsyncMoonshot) -> None:
    chat = client.chat.completions
    async with chat.stream(model="m", messages=MESSAGES, resume=3, continue_on_length=2, temperature=1.0) as stream:
        assert_type(stream, ChatStream[None])
        async for event in stream:
            if event.type == "usage":
                assert_type(event.usage, Usage)
            elif event.type == "stream.resumed":
                assert_type(event.how, Literal["continued", "restarted", "length"])
                assert_type((event.reason, event.attempt, event.attempts), tuple[str, int, int])
    async with chat.stream(model="m", messages=MESSAGES, resume=1, response_format=Point) as parsed:
        assert_type(parsed, ChatStream[Point])
    chat.stream(model="m", messages=MESSAGES, resume="1")  # type: ignore[call-overload]  # what is refused


async def parsed(client: AsyncMoonshot) -> None:
    chat = client.chat.completions
    tool = function_tool(Point)
    completion = await chat.parse(model="m", messages=MESSAGES, response_format=Point, tools=[tool], n=1)
    assert_type(completion, ParsedChatCompletion[Point])
    assert_type(completion.usage, Usage | None)
    assert_type(completion.request_id, str | None)
    message = completion.choices[0].message
    assert_type(message, ParsedChatCompletionMessage[Point])
    assert_type(message.parsed, Point | None)
    assert_type(message.content, str | None)
    assert_type(message.reasoning_content, str | None)
    assert_type(message.tool_calls, list[ParsedFunctionToolCall] | None)
    for call in message.tool_calls or []:
        assert_type(call.function.arguments, str)
        assert_type(call.function.parsed_arguments, Any)
    history: list[ChatMessage] = [*MESSAGES, message]
    plain = await chat.parse(model="m", messages=history, response_format={"type": "json_object"}, tools=[tool])
    assert_type(plain, ParsedChatCompletion[None])
    assert_type(plain.choices[0].message.parsed, None)
    placed = await chat.parse(model="m", messages=MESSAGES, response_format=Place)
    assert_type(placed.choices[0].message.parsed, Place | None)
    spotted = await chat.parse(model="m", messages=MESSAGES, response_format=Spot)
    assert_type(spotted.choices[0].message.parsed, Spot | None)
    await chat.parse(messages=MESSAGES, response_format=Point)  # type: ignore[call-overload]  # no model
    await chat.parse(model="m", messages=MESSAGES, temprature=1)  # type: ignore[call-overload]  # misspelt
    await chat.create(model="m", messages=MESSAGES, response_format=Point)  # type: ignore[call-overload]  # see parse


async def parsed_events(client: AsyncMoonshot) -> None:
    async with client.chat.completions.stream(model="m", messages=MESSAGES, response_format=Point) as stream:
        assert_type(stream, ChatStream[Point])
        async for event in stream:
            if event.type == "content.done":
                assert_type(event, ContentDoneEvent[Point])
                assert_type(event.parsed, Point | None)
            elif event.type == "tool_calls.function.arguments.delta":
                assert_type(event.parsed_arguments, Any)
            elif event.type == "tool_calls.function.arguments.done":
                assert_type(event, ToolCallDoneEvent)
                assert_type(event.parsed_arguments, Any)
        completion = await stream.get_final_completion()
        assert_type(completion, ParsedChatCompletion[Point])
        assert_type(completion.choices[0].message.parsed, Point | None)


def state(chunk: ChatCompletionChunk) -> None:
    plain = ChatCompletionStreamState()
    assert_type(plain, ChatCompletionStreamState[None])
    assert_type(plain.get_final_completion(), ParsedChatCompletion[None])
    typed = ChatCompletionStreamState(input_tools=[function_tool(Place)], response_format=Point)
    assert_type(typed, ChatCompletionStreamState[Point])
    for event in typed.handle_chunk(chunk):
        if event.type == "content.done":
            assert_type(event.parsed, Point | None)
    assert_type(typed.current_completion_snapshot, ParsedChatCompletion[Any])


def misfit(error: StructuredOutputError) -> None:
    assert_type(error.completion, ChatCompletion | None)
    assert_type(error.usage, Usage | None)
    assert_type(error.text, str)
    assert_type(error.path, str | None)


def schemas() -> None:
    assert_type(schema_of(Point), dict[str, Any])
    assert_type(normalise({"type": "object"}), dict[str, Any])
    assert_type(function_tool(Point, name="p", description="d"), ToolParam)
    assert_type(partial_json("{"), Any | None)


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
