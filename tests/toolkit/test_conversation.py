"""Conversations: what may be said when, questions and their answers, streams, forks, and what it costs."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.errors import (
    BadRequestError,
    ConfigurationError,
    ContentFilterFinishReasonError,
    ConversationError,
    EmptyAnswerError,
    InternalServerError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.conversation import Conversation, DropOldest
from moonshot_async.types.chat import ChatCompletionMessage
from tests.canned import Canned
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT
from tests.toolkit.conversations import IMAGE, LONG, WEATHER, call, calls, check_account, sent

ORPHAN: dict[str, Any] = {"role": "tool", "tool_call_id": "a", "content": ""}


@pytest.fixture
def conversation(client: AsyncMoonshot) -> Conversation:
    return Conversation(client, model="kimi-k2.6", tools=[WEATHER])


# Questions and answers.


async def test_a_question_is_answered_and_both_are_remembered(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", system="Be brief.")
    reply = await conversation.ask("Name a river.")
    assert str(reply) == reply.text == reply.completion.choices[0].message.content != ""
    assert [message["role"] for message in conversation.messages] == ["system", "user", "assistant"]
    await conversation.ask("And another?")
    assert sent(fake)["messages"][:3] == conversation.messages[:3]
    assert sent(fake)["messages"][-1] == {"role": "user", "content": "And another?"}
    assert conversation.turns == 2


async def test_a_reply_has_what_one_asks_of_an_answer(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply("Cut he", reasoning="Long.", finish_reason="length")
    reply = await Conversation(client, model="kimi-k2.6").ask("Hi")
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.cut) == ("Cut he", "Long.", "length", True)
    assert reply.tool_calls == []
    assert reply.stopped is None
    assert reply.usage is not None
    assert reply.cost == client.cost(reply.completion)
    assert repr(reply) == "<Reply: 6 characters, 0 tool calls, length>"


async def test_reasoning_is_sent_again(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply("Yes.", reasoning="I think so.")
    await conversation.ask("Is it?")
    await conversation.ask("Sure?")
    assert sent(fake)["messages"][1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "I think so."}


async def test_an_answer_of_reasoning_alone_is_kept(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply(reasoning="Hm.", finish_reason="length")
    reply = await conversation.ask("Hi")
    assert (reply.text, reply.cut) == ("", True)
    assert conversation.messages[-1] == {"role": "assistant", "reasoning_content": "Hm."}
    await conversation.ask("Well?")


async def test_options_go_with_every_question_or_with_one(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", max_completion_tokens=100, thinking={"type": "disabled"})
    await conversation.ask("Hi", thinking={"type": "enabled"}, max_completion_tokens=7000, timeout=5)
    assert sent(fake)["thinking"] == {"type": "enabled"}
    assert sent(fake)["max_completion_tokens"] == 7000
    await conversation.ask("Hi")
    assert sent(fake)["thinking"] == {"type": "disabled"}
    assert sent(fake)["max_completion_tokens"] == 100


async def test_messages_that_were_added_are_answered_without_another_question(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    conversation.add_user("First.")
    conversation.add_user([{"type": "text", "text": "Second."}])
    await conversation.ask()
    assert [message["role"] for message in sent(fake)["messages"]] == ["user", "user"]
    assert conversation.turns == 1


async def test_calls_are_answered_by_hand(conversation: Conversation, fake: FakeMoonshot) -> None:
    reply = await conversation.ask("What is the weather in Oslo?")
    assert conversation.waiting == [reply.tool_calls[0].id]
    conversation.add_tool_answer(reply.tool_calls[0].id, "Rain", name="get_weather")
    assert conversation.waiting == []
    reply = await conversation.ask()
    assert "Rain" in reply.text
    assert [message["role"] for message in conversation.messages] == ["user", "assistant", "tool", "assistant"]
    assert sent(fake)["tools"] == [WEATHER]


async def test_answers_of_tools_stand_in_the_order_of_the_calls(conversation: Conversation) -> None:
    conversation.add_user("Weather?")
    conversation.add_assistant(calls("a", "b", "c", "d"))
    for id in ("c", "a", "d", "b"):
        conversation.add_tool_answer(id, id.upper())
    assert [message.get("content") for message in conversation.messages[2:]] == ["A", "B", "C", "D"]
    await conversation.ask()


async def test_two_calls_with_one_id_have_two_answers(conversation: Conversation) -> None:
    conversation.add_user("Weather?")
    conversation.add_assistant(calls("a", "a"))
    conversation.add_tool_answer("a", "1")
    assert conversation.waiting == ["a"]
    conversation.add_tool_answer("a", "2")
    assert [message.get("content") for message in conversation.messages[2:]] == ["1", "2"]
    await conversation.ask()


async def test_calls_without_an_id_get_one(conversation: Conversation, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[{"name": "get_weather", "id": "call_1"}, {"name": "get_weather", "id": ""}])
    reply = await conversation.ask("Hi")
    assert [made.id for made in reply.tool_calls] == ["call_1", "call_2"]
    for made in reply.tool_calls:
        conversation.add_tool_answer(made.id, "Rain")
    await conversation.ask()


async def test_a_model_that_thinks_is_shown_that_it_thought_nothing(
    conversation: Conversation, fake: FakeMoonshot
) -> None:
    fake.reply(tool_calls=[{"name": "get_weather", "id": "a"}])
    await conversation.ask("Hi")
    conversation.add_tool_answer("a", "Rain")
    await conversation.ask()
    assert sent(fake)["messages"][1]["reasoning_content"] == ""
    assert "content" not in sent(fake)["messages"][1]


async def test_a_model_that_does_not_think_is_not(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="moonshot-v1-8k", tools=[WEATHER])
    fake.reply(tool_calls=[{"name": "get_weather", "id": "a"}])
    await conversation.ask("Hi")
    conversation.add_tool_answer("a", "Rain")
    await conversation.ask()
    assert "reasoning_content" not in sent(fake)["messages"][1]


async def test_reasoning_under_its_other_name_is_kept_as_it_is(conversation: Conversation) -> None:
    conversation.add_user("Hi")
    conversation.add_assistant({**calls("a"), "reasoning_content": None, "reasoning": "Hm."})
    assert conversation.messages[1]["reasoning"] == "Hm."
    assert conversation.messages[1]["reasoning_content"] is None


async def test_halves_of_characters_in_an_answer_are_mended() -> None:
    service = Canned(b'{"choices":[{"message":{"content":"a\\ud800b","tool_calls":[{"id":"x","function":{}}]}}]}')
    async with service.client() as client:
        conversation = Conversation(client, model="kimi-k2.6")
        await conversation.ask("Hi")
    assert conversation.messages[1]["content"] == "a\ufffdb"
    assert conversation.waiting == ["x"]


async def test_an_answer_of_nothing_is_no_part_of_the_history(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply()
    with pytest.raises(EmptyAnswerError) as caught:
        await conversation.ask("Hi")
    assert caught.value.completion is not None
    assert conversation.messages == []
    assert conversation.cost == client.cost(caught.value.completion) > 0
    await conversation.ask("Hi")


async def test_an_answer_without_choices_is_none() -> None:
    async with Canned({"choices": []}).client() as client:
        conversation = Conversation(client, model="kimi-k2.6")
        with pytest.raises(EmptyAnswerError):
            await conversation.ask("Hi")
    assert conversation.messages == []


async def test_an_answer_that_moderation_cut_is_not_kept(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply("What", finish_reason="content_filter")
    with pytest.raises(ContentFilterFinishReasonError):
        await conversation.ask("Hi")
    assert conversation.messages == []


async def test_a_question_that_fails_leaves_no_trace(conversation: Conversation, fake: FakeMoonshot) -> None:
    await conversation.ask("Hello")
    before, tokens = conversation.messages, conversation.tokens
    fake.fail(500)
    with pytest.raises(InternalServerError):
        await conversation.ask("What is the weather in Oslo?", pin=True)
    assert (conversation.messages, conversation.tokens, conversation.turns) == (before, tokens, 1)
    await conversation.ask("Hello again")
    assert len(sent(fake)["messages"]) == 3


async def test_a_question_beside_another_one_leaves_no_trace(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    conversation.add_user("First.")
    before, tokens = conversation.messages, conversation.tokens
    fake.fail(500)
    with pytest.raises(InternalServerError):
        await conversation.ask("Second.")
    assert (conversation.messages, conversation.tokens) == (before, tokens)
    fork = conversation.fork()
    fork.add_user("Second.")
    assert conversation.messages == before


async def test_a_question_that_is_cancelled_leaves_no_trace(no_leaks: None) -> None:
    service = FakeMoonshot(latency=30)
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(service)) as client:
        conversation = Conversation(client, model="kimi-k2.6")
        asked = asyncio.create_task(conversation.ask("Hi"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert conversation.messages == []
        service.latency = 0
        await conversation.ask("Hi")
    assert conversation.turns == 1


async def test_one_question_is_asked_at_a_time(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.latency = 0.01
    _, second = await asyncio.gather(conversation.ask("One"), conversation.ask("Two"), return_exceptions=True)
    assert isinstance(second, ConversationError)
    assert "fork()" in str(second)
    assert conversation.turns == 1
    async with conversation.stream("Three"):
        for step in (lambda: conversation.add_user("Four"), lambda: conversation.add_assistant("Four")):
            with pytest.raises(ConversationError, match="waiting for its answer"):
                step()
        with pytest.raises(ConversationError, match="waiting for its answer"):
            async with conversation.stream("Four"):
                pass
        await conversation.fork().ask("Four")
    await conversation.ask("Five")
    assert conversation.turns == 2


# What may be said when.


async def test_nothing_is_said_before_calls_are_answered(conversation: Conversation, fake: FakeMoonshot) -> None:
    conversation.add_user("Weather?")
    conversation.add_assistant(calls("a", "b"))
    conversation.add_tool_answer("a", "Rain")
    for step in (
        lambda: conversation.add_user("Well?"),
        lambda: conversation.add_assistant("Well."),
        lambda: conversation.add_system("Be brief."),
    ):
        with pytest.raises(ConversationError, match="the calls 'b' must be answered with add_tool_answer before"):
            step()
    for question in ("Well?", None):
        with pytest.raises(ConversationError, match="'b' must be answered"):
            await conversation.ask(question)
    assert len(fake.requests) == 0
    assert len(conversation.messages) == 3


def test_an_error_names_a_few_calls(conversation: Conversation) -> None:
    conversation.add_user("Weather?")
    conversation.add_assistant(calls(*"abcdefg", "x" * 100))
    with pytest.raises(ConversationError, match="'a', 'b', 'c', 'd', 'e' and 3 more must be answered"):
        conversation.add_user("Well?")
    with pytest.raises(ConversationError, match="there is no call 'z' to answer: the calls are 'a'"):
        conversation.add_tool_answer("z", "")
    conversation.add_tool_answer("x" * 100, "")
    with pytest.raises(ConversationError, match="the call '" + "x" * 64 + "…' has its answer already"):
        conversation.add_tool_answer("x" * 100, "")


def test_an_answer_needs_a_call(conversation: Conversation) -> None:
    with pytest.raises(ConversationError, match="the last message of the model made no calls"):
        conversation.add_tool_answer("a", "Rain")
    conversation.add_user("Hi")
    conversation.add_assistant(calls("a"))
    conversation.add_tool_answer("a", "Rain")
    conversation.add_assistant("It rains.")
    with pytest.raises(ConversationError, match="there is no call 'a' to answer"):
        conversation.add_tool_answer("a", "Rain")


@pytest.mark.parametrize("said", [[], ["system"], ["user", "assistant"], ["user", "assistant", "system"]])
async def test_there_must_be_something_to_answer(said: list[str], client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, messages=[{"role": role, "content": "Hi"} for role in said])
    with pytest.raises(ConversationError, match="there is nothing to answer"):
        await conversation.ask()
    with pytest.raises(ConversationError, match="there is nothing to answer"):
        async with conversation.stream():
            pass
    assert len(fake.requests) == 0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"role": "user", "content": ""}, "must not be empty"),
    ({"role": "user", "content": []}, "list of parts of a user message is empty"),
    ({"role": "user"}, "must not be empty"),
    ({"role": "user", "content": 5}, "text or a list of parts"),
    ({"role": "user", "content": [{"type": "text", "text": ""}]}, r"content\[0\] is a text part without text"),
    ({"role": "user", "content": [IMAGE, {"type": "text"}]}, r"content\[1\] is a text part without text"),
    ({"role": "user", "content": [{"type": "image_url"}]}, r"content\[0\] has no URL"),
    ({"role": "user", "content": [{"type": "file", "file": "x"}]}, "of the type 'file': there are text, image_url"),
    ({"role": "user", "content": [{"type": "a b"}]}, "of the type a value of type str"),
    ({"role": "user", "content": ["Hi"]}, r"content\[0\] is of the type a value of type NoneType"),
    ({"role": "user", "content": "Hi", "tools": [WEATHER]}, "only system messages bring tools"),
    ({"role": "user", "content": "Hi", "tool_calls": [call()]}, "only assistant messages have tool_calls"),
    ({"role": "user", "content": "Hi", "name": 5}, "name of a message is a text"),
    ({"role": "system", "content": ""}, "a system message must not be empty"),
    ({"role": "system", "content": "Hi", "tools": [WEATHER]}, "not both"),
    ({"role": "system", "tools": []}, "a list that is not empty"),
    ({"role": "assistant", "content": ""}, "needs content, tool calls or reasoning"),
    ({"role": "assistant", "content": None, "reasoning_content": ""}, "needs content, tool calls or reasoning"),
    ({"role": "assistant", "content": "Grey", "partial": True}, "whole answers only"),
    ({"role": "assistant", "tool_calls": {}}, "tool_calls are a list"),
    ({"role": "assistant", "tool_calls": [call("")]}, r"tool_calls\[0\] has no id"),
    ({"role": "assistant", "tool_calls": [{"id": "a"}]}, r"tool_calls\[0\] has no function"),
    ({"role": "assistant", "tool_calls": [{**call(), "type": 5}]}, r"the type of tool_calls\[0\] is a text"),
    ({"role": "tool", "content": "Rain"}, "tool_call_id is the id of the call"),
    ({"role": "tool", "tool_call_id": "a"}, "a text as content"),
    ({"role": "cache", "content": "Hi"}, "not 'cache'"),
    ({"role": CANARY_PROMPT, "content": "Hi"}, "not a value of type str"),
    ({}, "a message has a role and content"),
]


@pytest.mark.parametrize(("message", "problem"), BAD)
def test_what_the_api_would_refuse_is_refused_at_once(
    message: dict[str, Any], problem: str, conversation: Conversation
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        conversation.add(message)
    assert conversation.messages == []


@pytest.mark.parametrize("message", ["Hi", None, 5, ["Hi"]])
def test_what_is_no_message_is_refused(message: Any, conversation: Conversation) -> None:
    with pytest.raises(TypeError, match="a message is an object"):
        conversation.add(message)


def test_what_has_no_json_form_is_refused(conversation: Conversation) -> None:
    within: dict[str, Any] = {"role": "user", "content": "Hi"}
    within["metadata"] = within
    for content in (f"{CANARY_PROMPT} \ud800", [{"type": "text", "text": "x", "n": float("nan")}]):
        with pytest.raises(ConfigurationError):
            conversation.add_user(content)
    with pytest.raises(ConfigurationError, match="does not contain itself"):
        conversation.add(within)
    with pytest.raises(TypeError):
        conversation.add({"role": "user", "content": b"Hi"})
    assert conversation.messages == []


def test_a_message_of_another_role_is_no_answer_of_a_model(conversation: Conversation) -> None:
    with pytest.raises(ConversationError, match="add_assistant takes messages of the role 'assistant'"):
        conversation.add_assistant({"role": "user", "content": "Hi"})


def test_messages_are_named_by_their_place(client: AsyncMoonshot) -> None:
    with pytest.raises(ConversationError, match=r"messages\[1\]: there is no call 'a' to answer"):
        Conversation(
            client,
            messages=[{"role": "user", "content": CANARY_PROMPT}, {**ORPHAN, "content": CANARY_PROMPT}],
        )
    with pytest.raises(TypeError, match="messages must be a list"):
        Conversation(client, messages="Hi")  # type: ignore[arg-type]  # on purpose


async def test_a_history_of_others_is_gone_on_with(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    answer = ChatCompletionMessage.model_validate(
        {"content": "", "tool_calls": [call("a")], "reasoning_content": "Hm."}
    )
    history = [{"role": "user", "content": "Hi"}, answer, {"role": "tool", "tool_call_id": "a", "content": "Rain"}]
    conversation = Conversation(client, model="kimi-k2.6", system="Be brief.", messages=history, tools=[WEATHER])
    await conversation.ask()
    await conversation.ask("Hello")
    assert sent(fake)["messages"][2] == {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [call("a")]}
    assert [message["role"] for message in sent(fake)["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


async def test_what_was_given_may_be_changed_afterwards(conversation: Conversation) -> None:
    parts: list[Any] = [{"type": "text", "text": "Hi"}, {**IMAGE, "image_url": dict(IMAGE["image_url"])}]
    conversation.add_user(parts)
    parts[0]["text"] = parts[1]["image_url"]["url"] = ""
    parts.clear()
    shown = conversation.messages
    assert shown[0]["content"] == [{"type": "text", "text": "Hi"}, IMAGE]
    shown[0]["content"].clear()
    shown.clear()
    assert conversation.messages[0]["content"]


def test_media_that_the_model_cannot_see_are_refused_at_once(client: AsyncMoonshot) -> None:
    blind = Conversation(client, model="moonshot-v1-8k")
    with pytest.raises(ConfigurationError, match="the prompt holds image, which moonshot-v1-8k cannot take"):
        blind.add_user([IMAGE])
    Conversation(client, model="moonshot-v1-8k-vision-preview").add_user([IMAGE])
    Conversation(client, model="somebody-elses").add_user([IMAGE])


async def test_urls_that_the_api_does_not_fetch_are_refused_at_once() -> None:
    async with AsyncMoonshot(api_key=CANARY_KEY, region="intl") as client:
        conversation = Conversation(client)
        with pytest.raises(ConfigurationError, match="fetches no https URLs"):
            conversation.add_user([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])
        assert conversation.messages == []


async def test_tools_may_come_with_a_system_message(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model=["kimi-k2.6", "kimi-k3"])
    conversation.add_system("Be brief.")
    conversation.add_system(tools=[WEATHER])
    await conversation.ask("Hi")
    assert sent(fake)["model"] == "kimi-k3"
    assert sent(fake)["messages"][1] == {"role": "system", "tools": [WEATHER]}
    with pytest.raises(ConversationError, match="two tools are called 'get_weather'"):
        conversation.add_system(tools=[{"type": "odd"}, WEATHER])
    with pytest.raises(ConversationError, match=r"messages\[0\]: two tools are called 'get_weather'"):
        Conversation(client, model="kimi-k3", tools=[WEATHER], messages=[{"role": "system", "tools": [WEATHER]}])
    with pytest.raises(ConfigurationError, match=r"holds dynamic tools, which kimi-k2\.6 cannot take"):
        Conversation(client, model="kimi-k2.6").add_system(tools=[WEATHER])


# What it is made with.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"temperatur": 1}, "did you mean 'temperature'"),
        ({"stream": True}, "ask\\(\\) does not stream"),
        ({"n": 2}, "goes on from one answer"),
        ({"response_format": dict}, "takes no type as response_format"),
        ({"tools": "get_weather"}, "tools must be a list"),
        ({"trim": 0.5}, "trim must be DropOldest"),
        ({"trim": DropOldest}, "not the class DropOldest"),
        ({"model": 5}, "model must be an id, a list of ids or None, not int"),
        ({"model": b"kimi-k2.6"}, "model must be an id, a list of ids or None, not bytes"),
        ({"extra_body": {"messages": []}}, "takes no 'messages' in extra_body"),
        ({"summarise": "yes"}, "summarise must be a function"),
        ({"resume": 2}, "resume"),
    ],
)
def test_slips_are_told_at_once(options: dict[str, Any], problem: str, client: AsyncMoonshot) -> None:
    with pytest.raises(TypeError, match=problem):
        Conversation(client, **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model": ""}, "an id such as 'kimi-k2.6'"),
        ({"model": []}, "no model to choose from"),
        ({"model": ["kimi-k2.6", "kimi-k9"]}, "does not know the model 'kimi-k9'"),
        ({"max_context_tokens": 0}, "max_context_tokens must be a positive number"),
        ({"max_completion_tokens": True}, "max_completion_tokens must be a positive number"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"tool_options": {"max_steps": 3}}, "give functions as tools"),
        ({"prompt_cache_key": ""}, "prompt_cache_key must be a text"),
        ({"prompt_cache_key": 5}, "prompt_cache_key must be a text"),
        ({"system": ""}, "a system message must not be empty"),
        ({"tools": [WEATHER, WEATHER]}, "two tools are called 'get_weather'"),
    ],
)
def test_settings_that_cannot_work_are_told_at_once(
    options: dict[str, Any], problem: str, client: AsyncMoonshot
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Conversation(client, **options)


@pytest.mark.parametrize("name", ["messages", "model", "tools", "stream", "n", "prompt_cache_key"])
async def test_what_belongs_to_the_conversation_is_no_option_of_a_question(
    name: str, conversation: Conversation
) -> None:
    with pytest.raises(TypeError, match=f"takes no '{name}'"):
        await conversation.ask("Hi", **{name: "x"})
    with pytest.raises(TypeError, match=f"takes no '{name}'"):
        conversation.stream("Hi", **{name: "x"})


async def test_a_pin_is_for_a_question(conversation: Conversation) -> None:
    conversation.add_user("Hi")
    with pytest.raises(ConversationError, match="pin= is for the question"):
        await conversation.ask(pin=True)


# Streams.


async def test_a_stream_tells_the_answer_and_keeps_it(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    async with conversation.stream("Hi") as stream:
        assert repr(stream) == "<ReplyStream: open>"
        assert stream.reply is None
        events = [event async for event in stream]
    text = "".join(event.delta for event in events if event.type == "content.delta")
    assert stream.reply is not None
    assert text == stream.reply.text == conversation.messages[1]["content"]
    assert stream.reply.cost == conversation.cost == client.cost(stream.reply.completion)
    assert repr(stream) == "<ReplyStream: whole>"
    assert [event async for event in stream] == []
    assert sent(fake)["stream_options"] == {"include_usage": True}
    await conversation.ask("Well?")


async def test_a_stream_need_not_be_looped_over(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    async with conversation.stream("Hi") as stream:
        reply = await stream.get_reply()
        assert await stream.get_reply() is reply
    assert conversation.messages[1]["content"] == reply.text


async def test_a_stream_that_is_entered_again_asks_again(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    asked = conversation.stream(LONG)
    for turns in (1, 2):
        async with asked as stream:
            await stream.get_reply()
        assert conversation.turns == turns
        check_account(conversation)
    # Each of the two questions counts its part, also where all turn out to be smaller than was thought.
    fake.reply("No.", usage={"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101})
    await conversation.ask("Well?")
    assert 100 < conversation.tokens < 120


async def test_a_stream_that_is_left_leaves_no_trace(client: AsyncMoonshot, no_leaks: None) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    async with conversation.stream("Hi") as stream:
        async for event in stream:
            if event.type == "content.delta":
                break
    assert conversation.messages == []
    with pytest.raises(StreamInterruptedError):
        await stream.get_reply()
    assert conversation.messages == []
    await conversation.ask("Hi")


async def test_a_stream_that_is_left_at_its_last_event_leaves_no_trace(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    async with conversation.stream("Hi") as stream:
        async for event in stream:
            if event.type == "content.done":
                break
    with pytest.raises(StreamInterruptedError):
        await stream.get_reply()
    assert (conversation.messages, stream.reply) == ([], None)


async def test_a_stream_that_breaks_off_leaves_no_trace(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    for clean in (True, False):
        fake.cut_stream(9, clean=clean)
        with pytest.raises(StreamInterruptedError):
            async with conversation.stream("Hi") as stream:
                await stream.get_reply()
        assert conversation.messages == []
    fake.fail(400)
    with pytest.raises(BadRequestError):
        async with conversation.stream("Hi"):
            pass
    assert conversation.cost == 0
    await conversation.ask("Hi")


async def test_a_stream_may_be_resumed(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation, other = Conversation(client, model="kimi-k2.6"), Conversation(client, model="kimi-k2.6")
    fake.cut_stream(20)
    async with conversation.stream("Hi", resume=1) as stream:
        reply = await stream.get_reply()
    # The request that was cut told no usage.
    assert (reply.cost, conversation.cost, conversation.unpriced_answers) == (None, None, 1)
    await other.ask("Hi")
    assert conversation.messages == other.messages
    assert conversation.tokens == other.tokens
    fake.reply("Cut", finish_reason="length")
    async with conversation.stream("Go on", continue_on_length=1) as stream:
        reply = await stream.get_reply()
    assert reply.cost is not None
    await conversation.ask("Well?")


async def test_a_stream_is_entered_first(conversation: Conversation) -> None:
    with pytest.raises(TypeError, match="async for event in stream"):
        async for _ in conversation.stream("Hi"):  # type: ignore[attr-defined]  # on purpose
            pass
    with pytest.raises(TypeError, match="get_reply"):
        await conversation.stream("Hi")  # type: ignore[misc]  # on purpose
    await conversation.ask("Hi")


# Forks, keys and costs.


async def test_a_fork_goes_on_by_itself(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", temperature=1, thinking={"type": "enabled"})
    await conversation.ask("Hi")
    fork = conversation.fork(model="kimi-k3", thinking=None)
    assert (fork.messages, fork.tokens, fork.cost) == (conversation.messages, conversation.tokens, 0)
    await fork.ask("To you")
    assert sent(fake)["model"] == "kimi-k3"
    assert sent(fake)["temperature"] == 1
    assert "thinking" not in sent(fake)
    assert (fork.turns, conversation.turns) == (2, 1)
    await conversation.ask("To the other")
    assert len(sent(fake)["messages"]) == 3
    with pytest.raises(TypeError, match="system"):
        conversation.fork(system="Be brief.")


async def test_a_fork_may_wait_for_answers_of_tools(conversation: Conversation) -> None:
    conversation.add_user("Weather?")
    conversation.add_assistant(calls("a", "b"))
    conversation.add_tool_answer("b", "Rain")
    fork = conversation.fork()
    fork.add_tool_answer("a", "Snow")
    assert conversation.waiting == ["a"]
    await fork.ask()


async def test_calls_of_a_model_that_does_not_think_are_taken_by_one_that_does(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    conversation = Conversation(client, model="moonshot-v1-8k", tools=[WEATHER])
    for made in (await conversation.ask("What is the weather in Oslo and Bergen?")).tool_calls:
        conversation.add_tool_answer(made.id, "Rain")
    text = conversation.to_json()
    for other in (conversation.fork(model="kimi-k2.6"), Conversation.from_json(client, text, model="kimi-k2.6")):
        check_account(other, tools=[WEATHER])
        await other.ask()
        assert sent(fake)["messages"][1]["reasoning_content"] == ""
        check_account(other, tools=[WEATHER])
    await conversation.ask()
    assert "reasoning_content" not in sent(fake)["messages"][1]


async def test_a_fork_with_other_tools_counts_them(conversation: Conversation) -> None:
    await conversation.ask("Hi")
    without = conversation.fork(tools=None)
    assert without.tokens < conversation.tokens
    assert without.fork(tools=[WEATHER]).tokens == conversation.tokens


async def test_every_request_has_the_same_cache_key(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    await conversation.ask("Hi")
    await conversation.fork().ask("Well?")
    async with conversation.stream("Well?") as stream:
        await stream.get_reply()
    assert {sent(fake, number)["prompt_cache_key"] for number in range(3)} == {conversation.prompt_cache_key}
    assert conversation.prompt_cache_key != Conversation(client).prompt_cache_key
    await Conversation(client, prompt_cache_key="mine").ask("Hi")
    assert sent(fake)["prompt_cache_key"] == "mine"
    await Conversation(client, prompt_cache_key=None).ask("Hi")
    assert "prompt_cache_key" not in sent(fake)


async def test_costs_are_summed_up(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k3", prompt_cache_options={"ttl": "1h"})
    assert (conversation.cost, conversation.usage.total_tokens) == (0, 0)
    replies = [await conversation.ask("Hi"), await conversation.ask("Well?")]
    assert conversation.currency == ("cny" if ".cn" in client.base_url else "usd")
    assert conversation.cost == sum(client.cost(reply.completion, cache_ttl="1h") for reply in replies)
    assert conversation.usage.total_tokens == sum(reply.usage.total_tokens for reply in replies if reply.usage)


async def test_an_unknown_price_is_told_as_such(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    known = (await conversation.ask("Hi")).cost
    reply = await (fork := conversation.fork(model="moonshot-v1-8k", prompt_cache_key=None)).ask("Hi")
    assert (reply.cost, fork.cost, fork.known_cost, fork.unpriced_answers) == (None, None, Decimal(0), 1)
    assert conversation.cost == conversation.known_cost == known


def test_nothing_that_was_said_is_shown(conversation: Conversation) -> None:
    conversation.add_user(CANARY_PROMPT)
    assert repr(conversation).startswith("<Conversation: 1 turns, 0 dropped, about ")
    assert repr(DropOldest()) == "DropOldest(to=0.5)"


async def test_errors_show_nothing_of_what_was_said(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", system=CANARY_PROMPT)
    fake.fail(500, times=3)
    with pytest.raises(InternalServerError):
        await conversation.ask(CANARY_PROMPT, prediction={"type": "content", "content": CANARY_PROMPT})
    with pytest.raises(InternalServerError):
        async with conversation.stream(CANARY_PROMPT):
            pass
    with pytest.raises(ConversationError):
        conversation.add({"role": "user", "content": [{"type": "text", "text": CANARY_PROMPT}, {"type": "text"}]})
    with pytest.raises(TypeError):
        conversation.fork(temperatur=CANARY_PROMPT)
    with pytest.raises(TypeError):
        await conversation.ask(CANARY_PROMPT, temperatur=CANARY_PROMPT)
