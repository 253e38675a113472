"""Whole conversations with the fake: what comes back is put into the next request, and nothing else is accepted."""

import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, BadRequestError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.transports import MemoryTransport

if os.environ.get("MOONSHOT_ASYNC_CI") == "1":
    import openai
else:
    openai = pytest.importorskip("openai")

OFF = {"thinking": {"type": "disabled"}}
MODELS = [("kimi-k3", {}), ("kimi-k2.7-code", {}), ("kimi-k2.6", {}), ("kimi-k2.6", OFF)]
THINKING = MODELS[:3]

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "description": "The local time", "parameters": CITY}},
    {"type": "builtin_function", "function": {"name": "$web_search"}},
]
BOTH = "What are the weather and the local time in Oslo?"
NEWS = "Search the web for news."

Messages = list[Any]


@pytest.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key="sk-test", max_retries=0, transport=MemoryTransport(fake)) as client:
        yield client


def results(message: Any) -> Messages:
    """What the tools say to the calls of a message; a web search gets its own arguments back."""
    return [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "name": call.function.name,
            "content": call.function.arguments if call.type == "builtin_function" else "4",
        }
        for call in message.tool_calls
    ]


async def converse(ask: Callable[..., Any], thinks: bool) -> Messages:
    """Talk in nine turns, and return all messages. `ask` returns a completion."""
    messages: Messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": BOTH}]

    called = (await ask(messages, tools=TOOLS)).choices[0]
    assert called.finish_reason == "tool_calls"
    assert [call.function.name for call in called.message.tool_calls] == ["get_weather", "get_time"]
    messages += [called.message, *results(called.message)]

    told = (await ask(messages, tools=TOOLS)).choices[0]
    assert told.finish_reason == "stop"
    assert told.message.content.startswith("get_weather answered: 4\nget_time answered: 4\n")
    messages += [told.message, {"role": "user", "content": NEWS}]

    searching = await ask(messages, tools=TOOLS)
    (call,) = searching.choices[0].message.tool_calls
    assert (call.type, call.id) == ("builtin_function", "$web_search:2")
    messages += [searching.choices[0].message, *results(searching.choices[0].message)]

    found = await ask(messages, tools=TOOLS)
    used = json.loads(call.function.arguments)["usage"]["total_tokens"]
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.prompt_tokens > searching.usage.prompt_tokens + used
    assert found.usage.cached_tokens == searching.usage.prompt_tokens
    messages += [found.choices[0].message, {"role": "user", "content": "Sum it up."}]

    summed = await ask(messages)
    whole = summed.choices[0].message
    cut = (await ask(messages, max_completion_tokens=summed.usage.completion_tokens - 5)).choices[0]
    assert cut.finish_reason == "length"
    prefix = {"role": "assistant", "content": cut.message.content, "partial": True}
    if thinks:
        prefix["reasoning_content"] = cut.message.reasoning_content
    rest = (await ask([*messages, prefix])).choices[0]
    assert rest.finish_reason == "stop"
    assert cut.message.content + rest.message.content == whole.content

    messages += [{**prefix, "content": whole.content, "partial": False}, {"role": "user", "content": "Thanks!"}]
    last = (await ask(messages)).choices[0]
    assert bool(getattr(last.message, "reasoning_content", None)) == thinks
    return [*messages, last.message]


@pytest.mark.parametrize(("model", "more"), MODELS)
async def test_what_comes_back_is_accepted_at_every_turn(
    client: AsyncMoonshot, model: str, more: dict[str, Any]
) -> None:
    async def ask(messages: Messages, **options: Any) -> Any:
        return await client.chat.completions.create(model=model, messages=messages, **more, **options)

    messages = await converse(ask, thinks=not more)

    assert len(messages) == 14


@pytest.mark.parametrize(("model", "more"), MODELS)
async def test_what_is_streamed_is_accepted_at_every_turn(
    client: AsyncMoonshot, model: str, more: dict[str, Any]
) -> None:
    async def ask(messages: Messages, **options: Any) -> Any:
        options |= {"stream_options": {"include_usage": True}}
        async with client.chat.completions.stream(model=model, messages=messages, **more, **options) as stream:
            async for _ in stream:
                pass
            return await stream.get_final_completion()

    assert len(await converse(ask, thinks=not more)) == 14


# Its models know no builtin functions: it warns about the type of their calls, and sends it all the same.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(("model", "more"), MODELS)
async def test_the_openai_package_is_accepted_at_every_turn(
    fake: FakeMoonshot, model: str, more: dict[str, Any]
) -> None:
    async with fake.serve() as url, openai.AsyncOpenAI(api_key="sk-test", base_url=url, max_retries=0) as client:

        async def ask(messages: Messages, **options: Any) -> Any:
            return await client.chat.completions.create(model=model, messages=messages, extra_body=more, **options)

        await converse(ask, thinks=not more)


async def written(client: AsyncMoonshot, fake: FakeMoonshot, model: str, more: dict[str, Any]) -> Messages:
    """The messages of a conversation as they were sent last."""

    async def ask(messages: Messages, **options: Any) -> Any:
        return await client.chat.completions.create(model=model, messages=messages, **more, **options)

    await converse(ask, thinks=not more)
    sent: Messages = fake.last_request.json()["messages"]
    return sent


def put(messages: Messages, place: int, **changes: Any) -> Messages:
    place %= len(messages)
    changed = {**messages[place], **changes}
    kept = {name: value for name, value in changed.items() if value is not ...}
    return [*messages[:place], kept, *messages[place + 1 :]]


def without(messages: Messages, place: int) -> Messages:
    return [*messages[:place], *messages[place + 1 :]]


UNANSWERED = "did not have response messages: "
# The messages: 0 system, 1 user, 2 two calls, 3 and 4 their results, 5 text, 6 user, 7 a search, 8 its echo, 9 text …
BROKEN: dict[str, tuple[Callable[[Messages], Messages], str]] = {
    "a result is left out": (lambda sent: without(sent, 4), UNANSWERED + "get_time:1"),
    "no call is answered": (lambda sent: without(without(sent, 4), 3), UNANSWERED + "get_weather:0, get_time:1"),
    "the echo is left out": (lambda sent: without(sent, 8), UNANSWERED + "$web_search:2"),
    "the calls are left out": (lambda sent: without(sent, 2), "tool_call_id get_weather:0 is not found"),
    "the conversation ends with calls": (lambda sent: sent[:3], UNANSWERED + "get_weather:0, get_time:1"),
    "something stands between": (lambda sent: [*sent[:3], sent[1], *sent[3:]], UNANSWERED),
    "a result comes late": (lambda sent: [*without(sent, 4), sent[4]], UNANSWERED + "get_time:1"),
    "a result comes twice": (lambda sent: [*sent[:4], *sent[3:]], "get_weather:0 has more than one response message"),
    "a result has another id": (lambda sent: put(sent, 3, tool_call_id="other"), "tool_call_id other is not found"),
    "a result has no id": (lambda sent: put(sent, 3, tool_call_id=...), "tool_call_id  is not found"),
    "calls lose their ids": (
        lambda sent: put(sent, 2, tool_calls=[{"function": call["function"]} for call in sent[2]["tool_calls"]]),
        "tool_calls of the message at position 2 must have an id",
    ),
    "an answer is emptied": (
        lambda sent: put(sent, 5, content="", reasoning_content=...),
        "the message at position 5 with role 'assistant' must not be empty",
    ),
    "an answer is left out": (
        lambda sent: put(sent, 9, content=..., reasoning_content=...),
        "the message at position 9 with role 'assistant' must not be empty",
    ),
    "a part is empty": (lambda sent: put(sent, 5, content=[{"type": "text", "text": ""}]), "text content is empty"),
    "the instruction is emptied": (
        lambda sent: put(sent, 0, content=""),
        "the message at position 0 with role 'system' must not be empty",
    ),
    "a prefix stands in the middle": (lambda sent: put(sent, 5, partial=True), "partial is only allowed in the last"),
    "the question is a prefix": (lambda sent: put(sent, -1, partial=True), "partial is only allowed in the last"),
    "a role is unknown": (lambda sent: put(sent, 0, role="developer"), "position 0 has an invalid role: 'developer'"),
    "tools are loaded by a question": (
        lambda sent: put(sent, 6, tools=TOOLS),
        "position 6 with role 'user' cannot have",
    ),
    "tools are loaded beside text": (lambda sent: put(sent, 0, tools=TOOLS), "position 0 cannot be used with content"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize(("model", "more"), MODELS)
async def test_the_same_conversation_with_one_fault_is_refused(
    client: AsyncMoonshot, fake: FakeMoonshot, model: str, more: dict[str, Any], fault: str
) -> None:
    sent = await written(client, fake, model, more)
    break_, message = BROKEN[fault]

    with pytest.raises(BadRequestError) as caught:
        await client.chat.completions.create(model=model, messages=break_(sent), tools=TOOLS, **more)

    assert message in caught.value.message
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("place", [2, 7])
@pytest.mark.parametrize(("model", "more"), THINKING)
async def test_calls_without_their_reasoning_are_refused_where_the_model_thinks(
    client: AsyncMoonshot, fake: FakeMoonshot, model: str, more: dict[str, Any], place: int
) -> None:
    sent = await written(client, fake, model, more)
    text = f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {place}"

    for missing in (..., None):
        with pytest.raises(BadRequestError) as caught:
            broken = put(sent, place, reasoning_content=missing)
            await client.chat.completions.create(model=model, messages=broken, tools=TOOLS, **more)
        assert text in caught.value.message
    mended = put(sent, place, reasoning_content="")
    assert await client.chat.completions.create(model=model, messages=mended, tools=TOOLS, **more)


async def test_calls_need_no_reasoning_where_the_model_does_not_think(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    sent = await written(client, fake, "kimi-k2.6", OFF)

    assert not any("reasoning_content" in message for message in sent)
    with pytest.raises(BadRequestError, match="reasoning_content is missing in assistant tool call message at index 2"):
        await client.chat.completions.create(model="kimi-k2.6", messages=sent)


@pytest.mark.parametrize("content", [..., None, "", "I will look."])
async def test_beside_calls_the_content_may_be_anything(
    client: AsyncMoonshot, fake: FakeMoonshot, content: Any
) -> None:
    sent = await written(client, fake, "kimi-k3", {})

    assert await client.chat.completions.create(model="kimi-k3", messages=put(sent, 2, content=content))


async def test_results_may_stand_in_another_order(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    sent = await written(client, fake, "kimi-k3", {})

    assert await client.chat.completions.create(model="kimi-k3", messages=[*sent[:3], sent[4], sent[3], *sent[5:]])


async def test_tools_that_a_message_loads_are_called_like_others(client: AsyncMoonshot) -> None:
    messages: Messages = [{"role": "system", "tools": TOOLS[:1]}, {"role": "user", "content": BOTH}]

    called = await client.chat.completions.create(model="kimi-k3", messages=messages)
    messages += [called.choices[0].message, *results(called.choices[0].message)]
    told = await client.chat.completions.create(model="kimi-k3", messages=messages)

    assert told.choices[0].message.content.startswith("get_weather answered: 4\n")
    with pytest.raises(BadRequestError, match="tokenization failed"):
        await client.chat.completions.create(model="kimi-k2.7-code", messages=messages)
