"""Conversations whose tools are functions, which are run."""

from typing import Any

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.errors import (
    ConfigurationError,
    ContentFilterFinishReasonError,
    ContextLengthExceededError,
    ContextWindowError,
    EmptyAnswerError,
    InternalServerError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.conversation import Conversation
from moonshot_async.toolkit.functions import ToolContext, ToolRequest, tool
from tests.canned import Canned
from tests.secrets_scan import CANARY_PROMPT
from tests.toolkit.conversations import LONG, WEATHER, asked_for, check_account, sent


@tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}"


@pytest.fixture
def conversation(client: AsyncMoonshot) -> Conversation:
    return Conversation(client, model="kimi-k2.6", tools=[get_weather])


async def test_functions_are_run_until_there_is_an_answer(conversation: Conversation, client: AsyncMoonshot) -> None:
    reply = await conversation.ask("What is the weather in Oslo, Bergen and Paris?")
    assert "Rain in Bergen" in reply.text
    assert (reply.stopped, reply.tool_calls, conversation.waiting) == (None, [], [])
    roles = [message["role"] for message in conversation.messages]
    assert roles == ["user", "assistant", "tool", "tool", "tool", "assistant"]
    assert reply.usage is not None
    assert reply.usage == conversation.usage
    assert reply.usage.total_tokens > conversation.tokens
    assert reply.cost == conversation.cost
    check_account(conversation, tools=[get_weather.param])
    await conversation.ask("Thank you")
    check_account(conversation, tools=[get_weather.param])


async def test_a_stream_tells_of_the_tools(conversation: Conversation) -> None:
    async with conversation.stream("What is the weather in Oslo?") as stream:
        events = []
        async for event in stream:
            events.append(event.type)
            if event.type == "done":
                # It is kept by now, for those who leave here.
                break
    assert stream.reply is not None
    assert "Rain in Oslo" in stream.reply.text
    assert {"tool.started", "tool.finished", "content.delta", "usage", "message"} <= set(events)
    assert conversation.turns == 1
    check_account(conversation, tools=[get_weather.param])


async def test_a_run_that_is_left_leaves_no_trace(conversation: Conversation, no_leaks: None) -> None:
    async with conversation.stream("What is the weather in Oslo?") as stream:
        async for event in stream:
            if event.type == "tool.finished":
                break
    assert conversation.messages == []
    with pytest.raises(StreamInterruptedError):
        await stream.get_reply()
    assert conversation.messages == []
    await conversation.ask("What is the weather in Oslo?")


async def test_a_run_that_fails_leaves_no_trace_but_in_the_cost(conversation: Conversation, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "a"}])
    fake.fail(500)
    with pytest.raises(InternalServerError):
        await conversation.ask("Hi")
    assert conversation.messages == []
    assert conversation.usage.total_tokens > 0
    await conversation.ask("Hi")


async def test_a_run_may_be_bounded(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(
        client, model="kimi-k2.6", tools=[get_weather], tool_options={"max_steps": 1}, tool_choice="auto"
    )
    reply = await conversation.ask("What is the weather in Oslo?")
    assert reply.stopped == "max_steps"
    assert [message["role"] for message in conversation.messages] == ["user", "assistant", "tool"]
    check_account(conversation, tools=[get_weather.param])
    reply = await conversation.ask()
    assert "Rain in Oslo" in reply.text


async def test_tools_get_their_context_and_definitions_a_handler(client: AsyncMoonshot) -> None:
    seen: list[Any] = []

    @tool
    async def whoami(context: ToolContext[str]) -> str:
        """Tell the name of the user."""
        seen.append(context.context)
        return "Ann"

    def handler(request: ToolRequest) -> str:
        seen.append(request.name)
        return "Snow"

    conversation = Conversation(
        client,
        model="kimi-k2.6",
        tools=[whoami, WEATHER, "$web_search"],
        tool_options={"context": "deps", "handler": handler},
    )
    assert "Ann" in (await conversation.ask("Tell the name of the user")).text
    assert "Snow" in (await conversation.ask("What is the weather in Oslo?")).text
    assert seen == ["deps", "get_weather"]
    only = Conversation(client, model="kimi-k2.6", tools=[WEATHER], tool_options={"handler": handler})
    assert "Snow" in (await only.ask("What is the weather in Oslo?")).text


async def test_options_of_a_question_are_those_of_the_requests(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", tools=[get_weather], timeout=20)
    await conversation.ask("What is the weather in Oslo?", max_tokens=500, temperature=1)
    assert [sent(fake, number)["max_completion_tokens"] for number in (0, 1)] == [500, 500]
    assert sent(fake)["prompt_cache_key"] == conversation.prompt_cache_key
    assert "max_tokens" not in sent(fake)


async def test_the_oldest_turns_go_here_too(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(
        client, model="moonshot-v1-8k", tools=[get_weather], max_context_tokens=2000, max_completion_tokens=400
    )
    for _ in range(9):
        await conversation.ask(LONG + "What is the weather in Oslo?")
        check_account(conversation, tools=[get_weather.param])
    assert conversation.dropped_turns > 2
    assert all(asked_for(sent(fake, number)) <= 2000 for number in range(len(fake.requests)))


async def test_every_request_of_a_run_is_made_to_fit(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    @tool
    async def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"Rain in {city}. " * 25

    conversation = Conversation(
        client, model="kimi-k2.6", tools=[get_weather], max_context_tokens=2000, max_completion_tokens=400
    )
    for number in range(9):
        for step in range(3):
            fake.reply(
                tool_calls=[{"name": "get_weather", "arguments": {"city": f"No. {step}"}, "id": f"{number}.{step}"}]
            )
        reply = await conversation.ask(f"What is the weather on day {number}?")
        assert reply.stopped is None
        check_account(conversation, tools=[get_weather.param])
    requests = [sent(fake, number) for number in range(len(fake.requests))]
    assert len(requests) == 36
    assert max(map(asked_for, requests)) <= 2000
    # Turns went in the middle of runs, too.
    assert any(len(requests[at]["messages"]) < len(requests[at - 1]["messages"]) for at in range(36) if at % 4)
    assert conversation.turns + conversation.dropped_turns == 9
    assert conversation.fork().tokens == conversation.tokens


async def test_a_run_grows_into_a_larger_model(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    @tool
    async def read_book() -> str:
        """Read a book."""
        return LONG * 40

    fake.reply(tool_calls=[{"name": "read_book", "id": "a"}])
    conversation = Conversation(client, model=["moonshot-v1-8k", "moonshot-v1-32k"], tools=[read_book])
    await conversation.ask("Hi")
    requests = [sent(fake, number) for number in (0, 1)]
    assert [(request["model"], request["max_completion_tokens"]) for request in requests] == [
        ("moonshot-v1-8k", 2048),
        ("moonshot-v1-32k", 8192),
    ]
    assert conversation.dropped_turns == 0


async def test_a_turn_that_becomes_too_long_is_told_before_it_is_sent(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    @tool
    async def read_book() -> str:
        """Read a book."""
        return LONG * 60

    conversation = Conversation(client, model="moonshot-v1-8k", tools=[read_book])
    await conversation.ask("Hi")
    conversation.add_user(LONG)
    before, tokens = conversation.messages, conversation.tokens
    fake.reply(tool_calls=[{"name": "read_book", "id": "a"}])
    with pytest.raises(ContextWindowError):
        await conversation.ask(CANARY_PROMPT)
    assert len(fake.requests) == 2
    assert (conversation.messages, conversation.tokens) == (before, tokens)
    await conversation.ask()
    check_account(conversation, tools=[read_book.param])


async def test_an_answer_of_a_run_may_be_resumed(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", tools=[get_weather])
    fake.cut_stream(30)
    async with conversation.stream(LONG, resume=1) as stream:
        reply = await stream.get_reply()
    # The request that was cut told no usage.
    assert (reply.cost, conversation.cost, conversation.unpriced_answers) == (None, None, 1)
    check_account(conversation, tools=[get_weather.param])


async def test_a_prompt_that_is_found_too_long_is_shortened_here_too(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", tools=[get_weather])
    for _ in range(4):
        conversation.add_user(LONG)
        conversation.add_assistant("Yes.")
    fake.fail(400, message="Your request exceeded model token limit: 700 (requested: 900)")
    await conversation.ask("Well?")
    assert conversation.dropped_turns > 0
    # After the first step, what a tool did is not done again.
    fake.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "a"}])
    fake.fail(400, message="Your request exceeded model token limit: 700 (requested: 900)")
    with pytest.raises(ContextLengthExceededError):
        await conversation.ask("Well?")
    # But it is known from then on.
    conversation = conversation.fork(max_completion_tokens=None)
    fake.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "a"}])
    fake.fail(400, message="Your request exceeded model token limit: 500 (requested: 900)")
    with pytest.raises(ContextLengthExceededError):
        await conversation.ask("Well?")
    await conversation.ask("Well?")
    assert asked_for(sent(fake)) <= 500


async def test_a_run_without_an_answer_is_not_kept(conversation: Conversation, fake: FakeMoonshot) -> None:
    fake.reply("")
    with pytest.raises(EmptyAnswerError):
        await conversation.ask("Hi")
    fake.reply("What", finish_reason="content_filter")
    with pytest.raises(ContentFilterFinishReasonError):
        await conversation.ask("Hi")
    assert conversation.messages == []
    fake.reply(reasoning="Hm.")
    assert (await conversation.ask("Hi")).reasoning == "Hm."
    fake.reply("Hm", usage={})
    reply = await conversation.ask("Hi")
    assert (reply.cost, conversation.cost) == (None, None)


async def test_what_cannot_fit_is_told_before_a_run(conversation: Conversation, fake: FakeMoonshot) -> None:
    with pytest.raises(ContextWindowError):
        await conversation.ask("Hi", max_completion_tokens=262_144)
    assert len(fake.requests) == 0


async def test_a_run_that_is_told_no_usage_is_estimated() -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi."},"finish_reason":"stop"}]}'
    service = Canned(chunk + b"\n\ndata: [DONE]\n\n", headers={"content-type": "text/event-stream"})
    async with service.client() as client:
        conversation = Conversation(client, model="kimi-k2.6", tools=[get_weather])
        reply = await conversation.ask("Hello")
    assert (reply.usage, reply.cost, conversation.unpriced_answers) == (None, None, 1)
    check_account(conversation, tools=[get_weather.param])


async def test_a_run_that_goes_in_circles_is_stopped(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    call = {"name": "get_weather", "arguments": {"city": "Oslo"}}
    conversation = Conversation(
        client, model="kimi-k2.6", tools=[get_weather], tool_options={"max_repeats": 1, "remind_after": None}
    )
    for id in "ab":
        fake.reply(tool_calls=[{**call, "id": id}])
    reply = await conversation.ask("Hi")
    assert reply.stopped == "repeated_calls"
    assert (await conversation.ask()).stopped is None


async def test_a_model_that_does_not_think_is_shown_no_reasoning(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="moonshot-v1-8k", tools=[get_weather])
    fake.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "a"}])
    await conversation.ask("Hi")
    await conversation.ask("Well?")
    assert [message["role"] for message in sent(fake)["messages"]][1] == "assistant"


async def test_functions_are_given_again_when_it_is_loaded(conversation: Conversation, client: AsyncMoonshot) -> None:
    await conversation.ask("What is the weather in Oslo?")
    text = conversation.to_json()
    with pytest.raises(ConfigurationError, match=r"has functions as tools \(get_weather\).*pass tools"):
        Conversation.from_json(client, text)
    loaded = Conversation.from_json(client, text, tools=[get_weather])
    assert loaded.tokens == conversation.tokens
    assert "Rain in Bergen" in (await loaded.ask("What is the weather in Bergen?")).text
    bare = Conversation.from_json(client, text, tools=[])
    assert bare.tokens < conversation.tokens
    fork = conversation.fork()
    assert "Rain in Bergen" in (await fork.ask("What is the weather in Bergen?")).text


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"tools": [get_weather], "tool_options": {"max_step": 3}}, TypeError, "unexpected 'max_step'"),
        ({"tools": [get_weather, WEATHER]}, ConfigurationError, "nothing runs the tool"),
        ({"tools": [get_weather, get_weather]}, ConfigurationError, "two tools are called"),
        ({"tools": [5]}, TypeError, "a tool is what @tool makes"),
    ],
)
def test_tools_that_cannot_work_are_told_at_once(
    options: dict[str, Any], error: type[Exception], problem: str, client: AsyncMoonshot
) -> None:
    with pytest.raises(error, match=problem):
        Conversation(client, **options)
