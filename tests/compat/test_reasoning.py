"""Reasoning in chunks, as programs for openai ask for it."""

import copy
import pickle
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from moonshot_async import MemoryTransport, Request, Response, StreamInterruptedError
from moonshot_async.compat.openai import AsyncOpenAI
from moonshot_async.compat.openai.lib.streaming.chat import ChatCompletionStreamState
from moonshot_async.compat.openai.reasoning import ChoiceDelta, dress
from moonshot_async.fake import FakeMoonshot
from moonshot_async.types import chat
from moonshot_async.types.chat import ChatCompletionChunk

ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: why?"}]}


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest_asyncio.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
        yield client


def delta_of(**values: object) -> chat.ChoiceDelta:
    chunk = ChatCompletionChunk.construct(choices=[{"delta": values}])
    dress(chunk)
    return chunk.choices[0].delta


async def test_a_chunk_has_reasoning_only_where_the_service_sent_some(client: AsyncOpenAI) -> None:
    stream = await client.with_options(timeout=9).chat.completions.create(**ASK, stream=True)  # type: ignore[call-overload]

    deltas = [chunk.choices[0].delta async for chunk in stream]

    assert any(hasattr(delta, "reasoning_content") for delta in deltas)
    assert all(hasattr(delta, "reasoning_content") == ("reasoning_content" in delta.to_dict()) for delta in deltas)
    assert not any(hasattr(delta, "reasoning_content") for delta in deltas if delta.content)
    assert not any(hasattr(delta, "reasoning") for delta in deltas)


async def test_an_answer_that_broke_off_holds_what_was_thought(client: AsyncOpenAI, fake: FakeMoonshot) -> None:
    fake.cut_stream(after_chunks=3)
    stream = await client.chat.completions.create(**ASK, stream=True)  # type: ignore[call-overload]

    with pytest.raises(StreamInterruptedError) as caught:
        [chunk async for chunk in stream]

    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.reasoning_content


async def test_an_answer_that_says_how_it_ended_is_whole_without_a_last_word() -> None:
    async def terse(request: Request) -> Response:
        chunk = '{"id":"a","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}'
        return Response(200, {"Content-Type": "text/event-stream"}, f"data: {chunk}\n\n")

    async with AsyncOpenAI(api_key="sk-canary-01", transport=MemoryTransport(terse)) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)  # type: ignore[call-overload]

        assert [chunk.choices[0].delta.content async for chunk in stream] == ["Hi"]


@pytest.mark.parametrize("raw", [False, True])
async def test_the_state_takes_chunks_that_the_program_has_seen(client: AsyncOpenAI, raw: bool) -> None:
    call = client.chat.completions.with_raw_response.create if raw else client.chat.completions.create
    answer = await call(**ASK, stream=True)  # type: ignore[call-overload]
    state, types = ChatCompletionStreamState(), set()

    async for chunk in answer.parse() if raw else answer:
        seen = hasattr(chunk.choices[0].delta, "reasoning_content")
        types |= {event.type for event in state.handle_chunk(chunk)}
        assert hasattr(chunk.choices[0].delta, "reasoning_content") == seen

    assert {"reasoning.done", "content.done"} <= types
    assert state.get_final_completion().choices[0].message.reasoning_content


async def test_the_helper_tells_of_reasoning_as_ever(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(**ASK) as stream:  # type: ignore[call-overload]
        types = {event.type async for event in stream}

    assert "reasoning.done" in types


def test_a_delta_without_reasoning_is_otherwise_like_any_other() -> None:
    delta = delta_of(content="a", mood="good")

    assert (delta.content, delta.mood) == ("a", "good")  # type: ignore[attr-defined]
    assert delta.model_dump(exclude_none=True) == {"content": "a", "mood": "good"}
    assert "reasoning" not in repr(delta)
    assert isinstance(delta, chat.ChoiceDelta)
    assert copy.deepcopy(delta) == pickle.loads(pickle.dumps(delta)) == delta
    with pytest.raises(AttributeError, match="ChoiceDelta has no field 'reasoning_content'"):
        _ = delta.reasoning_content


def test_reasoning_can_be_put_in() -> None:
    delta = delta_of(content="a")

    delta.reasoning_content = ""

    assert delta.reasoning_content == ""
    assert delta.to_dict() == {"content": "a", "reasoning_content": ""}
    assert ChoiceDelta.reasoning_content is not None
