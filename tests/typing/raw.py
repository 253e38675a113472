"""The types of pages, raw responses and other forms of calls; never run, only read by mypy."""

from typing import Any, assert_type

import msgspec

from moonshot_async import AsyncMoonshot, ChatCompletion, ChatCompletionChunk, Response, Stream
from moonshot_async.compat.openai import AsyncOpenAI, AsyncStream, RateLimitError, Timeout
from moonshot_async.compat.openai.types.chat import ChatCompletionMessageParam
from moonshot_async.compat.openai.types.chat import ParsedChatCompletion as TheirParsed
from moonshot_async.raw_responses import APIResponse, RawResponse
from moonshot_async.resources.file_content import FileContent
from moonshot_async.types.batches import Batch, BatchList
from moonshot_async.types.chat_params import MessageParam
from moonshot_async.types.files import FileList, FileObject
from moonshot_async.types.models import ModelInfo, ModelList
from moonshot_async.types.pages import PageInfo
from moonshot_async.types.parsed import ParsedChatCompletion
from moonshot_async.types.users import Balance

MESSAGES: list[MessageParam] = [{"role": "user", "content": "Hi"}]


class Point(msgspec.Struct):
    x: int


async def raw(client: AsyncMoonshot, flag: bool) -> None:
    chat = client.chat.completions.with_raw_response
    whole = await chat.create(model="m", messages=MESSAGES)
    assert_type(whole, RawResponse[ChatCompletion])
    assert_type(whole.parse(), ChatCompletion)
    assert_type(whole.parse(to=Point), Point)
    assert_type(whole.retries_taken, int)
    assert_type(whole.http_response, Response)
    streamed = await chat.create(model="m", messages=MESSAGES, stream=True)
    assert_type(streamed, RawResponse[Stream[ChatCompletionChunk]])
    assert_type(streamed.parse(), Stream[ChatCompletionChunk])
    assert_type(
        await chat.create(model="m", messages=MESSAGES, stream=flag),
        RawResponse[ChatCompletion] | RawResponse[Stream[ChatCompletionChunk]],
    )
    parsed = await chat.parse(model="m", messages=MESSAGES, response_format=Point)
    assert_type(parsed.parse(), ParsedChatCompletion[Point])
    assert_type((await client.models.with_raw_response.list()).parse(), ModelList)
    assert_type((await client.models.with_raw_response.retrieve("m", timeout=5)).parse(), ModelInfo)
    assert_type((await client.files.with_raw_response.content("f")).parse(), FileContent)
    assert_type((await client.with_raw_response.batches.retrieve("b")).parse(), Batch)
    assert_type((await client.with_raw_response.users.balance()).parse(), Balance)
    assert_type((await client.chat.with_raw_response.completions.create(model="m", messages=MESSAGES)).status_code, int)
    await chat.create(model="m", messages=MESSAGES, temprature=1)  # type: ignore[call-overload]  # misspelt
    await client.models.with_raw_response.retrieve(5)  # type: ignore[arg-type]  # no id
    chat.stream  # type: ignore[attr-defined]  # noqa: B018  # no single call


async def streaming(client: AsyncMoonshot) -> None:
    chat = client.chat.completions.with_streaming_response
    async with chat.create(model="m", messages=MESSAGES) as whole:
        assert_type(whole, APIResponse[ChatCompletion])
        assert_type(await whole.parse(), ChatCompletion)
        assert_type(await whole.parse(to=Point), Point)
        async for line in whole.iter_lines():
            assert_type(line, str)
    async with chat.create(model="m", messages=MESSAGES, stream=True) as streamed:
        assert_type(await streamed.parse(), Stream[ChatCompletionChunk])
    async with client.with_streaming_response.files.content("f") as content:
        assert_type(await content.parse(), FileContent)
        async for piece in content.iter_bytes():
            assert_type(piece, bytes)


async def pages(client: AsyncMoonshot) -> None:
    page = await client.batches.list(limit=5)
    assert_type(page, BatchList)
    assert_type(page.data, list[Batch])
    assert_type(page.next_page_info(), PageInfo | None)
    assert_type(await page.get_next_page(), BatchList)
    async for batch in page:
        assert_type(batch, Batch)
    async for one in page.iter_pages():
        assert_type(one, BatchList)
    assert_type(await client.files.list(), FileList)
    async for file in client.files.list():
        assert_type(file, FileObject)
    assert_type(list(await client.models.list()), list[ModelInfo])


async def endpoints(client: AsyncMoonshot) -> None:
    assert_type(await client.get("/x", cast_to=Point), Point)
    assert_type(await client.post("/x", cast_to=dict[str, Any], body={"a": 1}), dict[str, Any])
    assert_type(await client.put("/x", cast_to=Point), Point)
    stream = await client.post("/x", cast_to=Point, stream=True, stream_cls=Stream[Point])
    assert_type(stream, Stream[Point])
    assert_type(await client.request("GET", "/x", response_type=Point), Point)


async def settings(client: AsyncMoonshot) -> None:
    client.api_key = "sk-other"
    client.base_url = "https://example.com"
    client.timeout = 5
    client.max_retries = 1
    assert_type(client.with_options(set_default_headers={"X-A": None}), AsyncMoonshot)
    client.embeddings  # type: ignore[attr-defined]  # noqa: B018  # no such section


async def compat() -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
    client = AsyncOpenAI(api_key="sk-a", timeout=Timeout(read=5.0))
    assert_type(client.with_options(timeout=5), AsyncOpenAI)
    try:
        stream: AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(
            model="m", messages=messages, stream=True
        )
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    else:
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
    parsed: TheirParsed[Point] = await client.beta.chat.completions.parse(
        model="m", messages=messages, response_format=Point
    )
    assert_type(parsed.choices[0].message.parsed, Point | None)
