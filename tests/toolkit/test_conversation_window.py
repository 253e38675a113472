"""How much a conversation counts, what goes when it becomes too long, and which model is asked."""

import asyncio
import time
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonshot_async import CATALOG, AsyncMoonshot
from moonshot_async.catalog import Catalog, Model, Price
from moonshot_async.errors import (
    ConfigurationError,
    ContextLengthExceededError,
    ContextWindowError,
    ConversationError,
    InternalServerError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot, brain, counting
from moonshot_async.toolkit.conversation import Conversation, DropOldest, choose_model
from moonshot_async.toolkit.functions import tool
from tests.toolkit.conversations import IMAGE, LONG, WEATHER, asked_for, calls, check_account, client_for, counted, sent

# What it counts.


async def test_after_each_answer_the_account_is_that_of_the_service(client: AsyncMoonshot) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}}}
    conversation = Conversation(client, model="kimi-k2.6", system="Be brief.", tools=[WEATHER], response_format=form)
    beside = {"tools": [WEATHER], "response_format": form}
    assert conversation.tokens == counted(conversation, **beside)
    for question in ("Hi", LONG, "天空为什么是蓝色的？", 'Quotes " and \\ and\nlines\t', "x"):
        await conversation.ask(question, tool_choice="none")
        assert conversation.tokens == counted(conversation, **beside)
    await conversation.ask([{"type": "text", "text": "What is this?"}, IMAGE], tool_choice="none")
    check_account(conversation, **beside)
    await conversation.ask("And now?", tool_choice="none", response_format={"type": "json_object"})
    check_account(conversation, **beside)


async def test_calls_and_what_a_search_finds_count(client: AsyncMoonshot) -> None:
    search = {"type": "builtin_function", "function": {"name": "$web_search"}}
    conversation = Conversation(client, model="kimi-k2.6", tools=[WEATHER, search])
    for question in ("What is the weather in Oslo, Bergen and Paris?", "Search the web for the weather in Oslo"):
        reply = await conversation.ask(question)
        assert reply.tool_calls
        check_account(conversation, tools=[WEATHER, search])
        for call in reply.tool_calls:
            conversation.add_tool_answer(call.id, call.function.arguments)
        await conversation.ask()
        check_account(conversation, tools=[WEATHER, search])


@pytest.mark.parametrize("bytes_per_token", [2, 3, 6])
async def test_the_account_learns_how_a_service_counts(
    bytes_per_token: int, client: AsyncMoonshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brain, "BYTES_PER_TOKEN", bytes_per_token)
    conversation = Conversation(client, model="kimi-k2.6", system="You know all rivers. " * 60)
    for number in range(6):
        await conversation.ask(f"{number}: {LONG}")
        check_account(conversation)
        conversation.add_user(LONG)
        # What was not sent yet is estimated as the rest has counted.
        check_account(conversation)


async def test_what_the_service_adds_is_no_part_of_a_message(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply("Hello.", usage={"prompt_tokens": 80, "completion_tokens": 2, "total_tokens": 82})
    await conversation.ask("Hi")
    answer = counting.prompt_tokens({"messages": conversation.messages[1:]})[0]
    assert conversation.tokens == 80 + answer
    fake.reply("Hello.", usage={"prompt_tokens": 180, "completion_tokens": 2, "total_tokens": 82})
    await conversation.ask("Hi")
    assert conversation.tokens == 180 + answer


async def test_of_an_answer_its_own_tokens_count(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    await conversation.ask(LONG)
    fake.reply("Hello.", usage={"prompt_tokens": 300, "completion_tokens": 70, "total_tokens": 370})
    await conversation.ask("Hi")
    assert 370 < conversation.tokens < 385


async def test_what_the_service_adds_to_tools_stays_with_them(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", tools=[WEATHER])
    fake.reply("Hello.", usage={"prompt_tokens": 300, "completion_tokens": 2, "total_tokens": 302})
    await conversation.ask("Hi")
    answer = counting.prompt_tokens({"messages": conversation.messages[1:]})[0]
    assert conversation.tokens == 300 + answer
    assert conversation.fork(tools=None).tokens == counted(conversation)


async def test_reasoning_that_the_service_leaves_out_is_taken_off(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply("Yes.", reasoning="Hm. " * 1000)
    await conversation.ask(LONG)
    before = conversation.tokens
    fake.reply("No.", usage={"prompt_tokens": 200, "completion_tokens": 1, "total_tokens": 201})
    await conversation.ask("Sure?")
    assert 200 < conversation.tokens < 220 < before
    fake.reply("No.", usage={"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101})
    await conversation.ask("Sure?")
    assert 100 < conversation.tokens < 120


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 0}, {"prompt_tokens": 0, "completion_tokens": 7}])
async def test_an_answer_without_a_usage_is_estimated(
    usage: dict[str, Any], client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    fake.reply("Hello.", usage=usage)
    await conversation.ask("Hi")
    assert conversation.tokens == counted(conversation)


async def test_a_model_that_counts_otherwise_is_believed(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    await conversation.ask(LONG)
    fake.reply("Hm.", usage={"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001})
    conversation.add_user("Well?")
    await conversation.ask()
    assert 1000 < conversation.tokens < 1020


# What goes.


async def test_the_oldest_turns_go_and_the_prompt_stays_the_same_until_more_have_to(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    conversation = Conversation(
        client, model="kimi-k2.6", system="Be brief.", max_context_tokens=2000, max_completion_tokens=500
    )
    changes = 0
    for number in range(30):
        await conversation.ask(f"{number}: {LONG}")
        assert asked_for(sent(fake)) <= 2000
        if number and sent(fake)["messages"][:2] != sent(fake, -2)["messages"][:2]:
            changes += 1
    assert conversation.dropped_turns > 20
    assert changes <= 15
    assert sent(fake)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert conversation.turns + conversation.dropped_turns == 30


@pytest.mark.parametrize("to", [0.1, 1])
async def test_how_much_goes_is_a_choice(to: float, client: AsyncMoonshot) -> None:
    conversation = Conversation(
        client, model="kimi-k2.6", max_context_tokens=2000, max_completion_tokens=500, trim=DropOldest(to=to)
    )
    dropped = []
    for number in range(12):
        await conversation.ask(f"{number}: {LONG}")
        dropped.append(conversation.dropped_turns)
    steps = [after - before for before, after in pairwise(dropped) if after > before]
    assert (max(steps) == 1) is (to == 1)


async def test_a_policy_of_ones_own_decides_within_what_has_to_be(client: AsyncMoonshot) -> None:
    seen: list[tuple[int, int, int]] = []

    class Policy:
        def __init__(self, count: int) -> None:
            self.count = count

        def drop(self, turns: Sequence[int], *, tokens: int, room: int) -> int:
            seen.append((len(turns), tokens, room))
            return self.count

    for count, dropped in ((-1, 1), (2, 2), (99, 4)):
        conversation = Conversation(
            client, model="kimi-k2.6", max_context_tokens=1500, max_completion_tokens=100, trim=Policy(count)
        )
        for _ in range(4):
            conversation.add_user(LONG)
            conversation.add_assistant(LONG)
        await conversation.ask("Well?")
        assert conversation.dropped_turns == dropped
    assert {(turns, room) for turns, _, room in seen} == {(4, 1400)}


@pytest.mark.parametrize("to", [0, 1.1, -1, True, "half"])
def test_a_part_is_above_nothing_and_up_to_one(to: Any) -> None:
    with pytest.raises(ConfigurationError, match="to is the part of the room"):
        DropOldest(to=to)


async def test_what_is_pinned_stays(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(
        client, model="kimi-k2.6", tools=[WEATHER], max_context_tokens=1500, max_completion_tokens=300
    )
    conversation.add_assistant("Hello, I am Kimi.", pin=True)
    conversation.add_user("Weather?")
    conversation.add_assistant(calls("a", "b"), pin=True)
    conversation.add_tool_answer("b", "Rain")
    conversation.add_tool_answer("a", "Snow")
    conversation.add_system("Be kind.")
    await conversation.ask("My name is Ann.", pin=True)
    for _ in range(9):
        await conversation.ask(LONG, tool_choice="none")
    kept = [message.get("content") for message in sent(fake)["messages"][:6]]
    assert kept == ["Hello, I am Kimi.", None, "Snow", "Rain", "Be kind.", "My name is Ann."]
    assert conversation.dropped_turns > 4
    check_account(conversation, tools=[WEATHER])


async def test_what_cannot_fit_is_told_before_anything_is_sent(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(
        client, model="kimi-k2.6", system=LONG * 3, max_context_tokens=2000, max_completion_tokens=500
    )
    await conversation.ask("Hi")
    before = conversation.messages
    with pytest.raises(ContextWindowError, match="500 are kept for the answer") as caught:
        await conversation.ask(LONG * 6)
    assert caught.value.window_tokens == 2000
    assert 2000 < caught.value.needed_tokens < 2600
    assert len(fake.requests) == 1
    assert (conversation.messages, conversation.dropped_turns) == (before, 0)
    with pytest.raises(ContextWindowError):
        async with conversation.stream("Hi", max_completion_tokens=1999):
            pass
    await conversation.ask("Hi")


async def test_turns_that_went_for_a_question_that_failed_are_back(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", max_context_tokens=2000, max_completion_tokens=500)
    for _ in range(3):
        await conversation.ask(LONG)
    before, tokens = conversation.messages, conversation.tokens
    fake.fail(500)
    with pytest.raises(InternalServerError):
        await conversation.ask(LONG * 5)
    assert len(sent(fake)["messages"]) < len(before)
    assert (conversation.messages, conversation.tokens, conversation.dropped_turns) == (before, tokens, 0)


async def test_a_default_that_does_not_fit_is_a_quarter_of_the_window(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    await Conversation(client, model="moonshot-v1-8k").ask("Hi")
    assert sent(fake)["max_completion_tokens"] == 2048
    await Conversation(client, model="kimi-k3", max_context_tokens=200_000).ask("Hi")
    assert sent(fake)["max_completion_tokens"] == 50_000
    await Conversation(client, model="kimi-k2.6").ask("Hi")
    assert "max_completion_tokens" not in sent(fake)
    await Conversation(client, model="moonshot-v1-8k").ask("Hi", max_tokens=99)
    assert "max_completion_tokens" not in sent(fake)
    await Conversation(client, model="moonshot-v1-8k", trim=None).ask("Hi")
    assert "max_completion_tokens" not in sent(fake)


async def test_without_a_policy_nothing_goes_and_the_api_decides(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="moonshot-v1-8k", trim=None)
    for _ in range(3):
        conversation.add_user(LONG * 20)
        conversation.add_assistant("Yes.")
    with pytest.raises(ContextLengthExceededError):
        await conversation.ask("Hi")
    assert len(fake.requests) == 1
    assert len(conversation.messages) == 6


async def test_thousands_of_turns_go_at_once(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", max_context_tokens=2000, max_completion_tokens=500)
    for number in range(4000):
        conversation.add_user(f"Question {number}")
        conversation.add_assistant("Yes.")
    began = time.process_time()
    await conversation.ask("Well?")
    # Seconds, where each turn that goes looks at all that stay.
    assert time.process_time() - began < 0.5
    assert conversation.dropped_turns > 3900


# Summaries.


async def test_a_summary_stands_for_what_went(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    seen: list[Any] = []

    async def summarise(messages: list[dict[str, Any]]) -> str:
        seen.append(messages)
        return f"Summary {len(seen)}."

    conversation = Conversation(
        client,
        model="kimi-k2.6",
        system="Be brief.",
        max_context_tokens=2000,
        max_completion_tokens=500,
        summarise=summarise,
    )
    while len(seen) < 2:
        await conversation.ask(LONG)
        check_account(conversation)
    assert [message["role"] for message in seen[0][:2]] == ["user", "assistant"]
    assert seen[1][0] == {"role": "system", "content": "Summary 1."}
    contents = [message["content"] for message in sent(fake)["messages"] if message["role"] == "system"]
    assert contents == ["Be brief.", "Summary 2."]
    seen[0].clear()
    loaded = Conversation.from_json(client, conversation.to_json(), summarise=summarise)
    while len(seen) < 3:
        await loaded.ask(LONG)
    assert seen[2][0] == {"role": "system", "content": "Summary 2."}
    contents = [message["content"] for message in sent(fake)["messages"] if message["role"] == "system"]
    assert contents == ["Be brief.", "Summary 3."]


async def test_a_summary_may_be_made_without_waiting(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    def summarise(messages: list[dict[str, Any]]) -> str:
        return f"{len(messages)} messages."

    await with_turns(client, summarise=summarise).ask("Well?")
    assert sent(fake)["messages"][0] == {"role": "system", "content": "6 messages."}


def with_turns(client: AsyncMoonshot, count: int = 4, **options: Any) -> Conversation:
    conversation = Conversation(
        client, model="kimi-k2.6", max_context_tokens=1500, max_completion_tokens=300, **options
    )
    for number in range(count):
        conversation.add_user(f"{number}: {LONG}")
        conversation.add_assistant(LONG)
    return conversation


async def test_a_summary_is_made_once_for_a_question_that_is_repeated(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    made: list[int] = []

    async def summarise(messages: list[dict[str, Any]]) -> str:
        made.append(len(messages))
        return "Summary."

    conversation = with_turns(client, summarise=summarise)
    fake.fail(500, times=2)
    for _ in range(2):
        with pytest.raises(InternalServerError):
            await conversation.ask("Well?")
    await conversation.ask("Well?")
    assert len(made) == 1
    conversation = with_turns(client, summarise=summarise)
    fake.fail(500)
    with pytest.raises(InternalServerError):
        await conversation.ask("Well?")
    # What follows may be another turn.
    conversation.add_assistant("So be it.")
    await conversation.ask("Well?")
    assert len(made) == 3


@pytest.mark.parametrize("text", ["", None, 5])
async def test_a_summary_is_a_text(text: Any, client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    async def summarise(messages: list[dict[str, Any]]) -> Any:
        return text

    conversation = with_turns(client, summarise=summarise)
    before = conversation.messages
    with pytest.raises(ConversationError, match="summarise must return a text"):
        await conversation.ask("Well?")
    assert (conversation.messages, len(fake.requests)) == (before, 0)


async def test_a_summary_that_is_too_long_drives_more_out(client: AsyncMoonshot) -> None:
    made: list[int] = []

    async def summarise(messages: list[dict[str, Any]]) -> str:
        made.append(len(messages))
        return "Long. " * 560

    conversation = with_turns(client, summarise=summarise)
    await conversation.ask("Well?")
    assert len(made) > 1
    check_account(conversation)

    async def endless(messages: list[dict[str, Any]]) -> str:
        return "Long. " * 5000

    with pytest.raises(ContextWindowError):
        await with_turns(client, summarise=endless).ask("Well?")


async def test_pinned_turns_are_not_summarised(client: AsyncMoonshot) -> None:
    async def summarise(messages: list[dict[str, Any]]) -> str:
        raise AssertionError("there is nothing to summarise")

    conversation = Conversation(
        client, model="kimi-k2.6", max_context_tokens=300, max_completion_tokens=100, summarise=summarise
    )
    conversation.add_user("a" * 200, pin=True)
    conversation.add_assistant("b" * 200, pin=True)
    with pytest.raises(ContextWindowError):
        await conversation.ask("c" * 600)


# What the API finds too long.


async def test_a_window_that_is_smaller_than_was_thought_is_learned(fake: FakeMoonshot) -> None:
    wrong = CATALOG.extended(models=[msgspec.structs.replace(CATALOG.models["moonshot-v1-8k"], context_window=32_768)])
    async with client_for(fake, catalog=wrong) as client:
        for model in ("moonshot-v1-8k", ["moonshot-v1-8k"]):
            conversation = Conversation(client, model=model, max_completion_tokens=1000)
            for _ in range(6):
                conversation.add_user(LONG * 10)
                conversation.add_assistant("Yes.")
            before = len(fake.requests)
            await conversation.ask("Well?")
            assert len(fake.requests) == before + 2
            assert asked_for(sent(fake)) <= 8192
            check_account(conversation)
            for _ in range(9):
                async with conversation.stream(LONG) as stream:
                    await stream.get_reply()
            assert len(fake.requests) == before + 11
            fork = conversation.fork()
            await fork.ask(LONG * 20)
            assert len(fake.requests) == before + 12


async def test_a_model_that_nobody_knows_tells_its_window(client: AsyncMoonshot) -> None:
    catalog = CATALOG.extended(models=[Model("mine", 2000, 500)])
    fake = FakeMoonshot(catalog=catalog)
    async with client_for(fake) as client:
        conversation = Conversation(client, model="mine", max_completion_tokens=500)
        for _ in range(9):
            async with conversation.stream(LONG) as stream:
                await stream.get_reply()
            assert asked_for(sent(fake)) <= 2000
            check_account(conversation)
        assert conversation.dropped_turns == 3
        assert len(fake.requests) == 10
        bounded = Conversation(client, model="mine", max_context_tokens=1000)
        await bounded.ask("Hi")
        assert sent(fake)["max_completion_tokens"] == 250


@pytest.mark.parametrize(
    "message",
    [
        "Input token length too long: context length exceeded",
        "Your request exceeded model token limit: 262144 (requested: 7)",
    ],
)
async def test_a_refusal_that_explains_nothing_shortens_the_prompt_by_a_quarter(
    message: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    for model in ("kimi-k2.6", "somebody-elses"):
        conversation = Conversation(client, model=model, trim=DropOldest(to=1), max_completion_tokens=100)
        for _ in range(8):
            conversation.add_user(LONG)
            conversation.add_assistant("Yes.")
        fake.fail(400, message=message, times=None)
        before = len(fake.requests)
        with pytest.raises(ContextLengthExceededError):
            await conversation.ask("Well?")
        assert len(fake.requests) == before + 2
        first, second = (len(sent(fake, number)["messages"]) for number in (-2, -1))
        assert first == 17
        assert 11 <= second <= 15
        assert len(conversation.messages) == 16
        fake.reset()


async def test_what_a_refusal_says_of_a_question_is_forgotten_with_it(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    conversation = Conversation(client, model="kimi-k2.6", max_completion_tokens=100)
    for _ in range(4):
        await conversation.ask(LONG)
    before, tokens = conversation.messages, conversation.tokens
    fake.fail(400, message="Your request exceeded model token limit: 2000 (requested: 2500)", times=2)
    with pytest.raises(ContextLengthExceededError):
        await conversation.ask("Well?")
    assert (conversation.messages, conversation.tokens) == (before, tokens)
    check_account(conversation.fork())
    await conversation.ask("Well?")
    check_account(conversation)


async def test_a_refusal_is_passed_on_where_nothing_can_go(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    for ask in (conversation.ask("Hi"), conversation.stream("Hi").__aenter__()):
        fake.fail(400, message="Your request exceeded model token limit: 262144 (requested: 300000)")
        before = len(fake.requests)
        with pytest.raises(ContextLengthExceededError):
            await ask
        assert len(fake.requests) == before + 1
    assert conversation.messages == []


# Which model.


def model(id: str, window: int, price: str | None = None, **more: Any) -> Model:
    known = None if price is None else Price(Decimal(price), Decimal(0), Decimal(price))
    return Model(id, window, 100, price_usd=known, **more)


SOME = Catalog(
    as_of=date(2026, 11, 22),
    models={
        entry.id: entry
        for entry in (
            model("small-unknown", 1000),
            model("small-dear", 1000, "2"),
            model("small", 1000, "1"),
            model("small-too", 1000, "1"),
            model("sighted", 2000, "3", modalities=("text", "image")),
            model("large", 8000, "0.1"),
            model("gone", 500, "1"),
        )
    },
    retired={"gone": date(2026, 1, 1)},
    tiers=(),
)


def test_the_smallest_sufficient_window_is_chosen_then_the_lowest_price() -> None:
    assert choose_model(None, 900, catalog=SOME).id == "small"
    assert choose_model(None, 901, catalog=SOME).id == "sighted"
    assert choose_model(None, 901, completion_tokens=99, catalog=SOME).id == "small"
    assert choose_model(["large", "small-unknown"], 10, catalog=SOME).id == "small-unknown"
    assert choose_model(["small-too", "small"], 10, catalog=SOME).id == "small-too"
    assert choose_model(["gone", "small"], 10, catalog=SOME).id == "gone"
    assert choose_model(None, 10, modalities={"image"}, catalog=SOME).id == "sighted"
    assert choose_model(None, 10, modalities="image", catalog=SOME).id == "sighted"
    assert choose_model(["kimi-k2.6", "kimi-k3"], 300_000).id == "kimi-k3"
    assert choose_model(["kimi-k3", "kimi-k2.7-code-highspeed", "kimi-k2.6"], 3000).id == "kimi-k2.6"
    # A default of more than half of the window counts as a quarter of it.
    assert choose_model(["moonshot-v1-8k", "moonshot-v1-32k"], 6144).id == "moonshot-v1-8k"
    assert choose_model(["moonshot-v1-8k", "moonshot-v1-32k"], 6145).id == "moonshot-v1-32k"


def test_prices_are_those_of_the_currency() -> None:
    cny = [msgspec.structs.replace(model("a", 1000), price_cny=Price(Decimal(1), Decimal(1), Decimal(1)))]
    catalog = SOME.extended(models=[*cny, model("b", 1000, "1")])
    assert choose_model(["b", "a"], 10, catalog=catalog, currency="cny").id == "a"
    assert choose_model(["a", "b"], 10, catalog=catalog).id == "b"


def test_a_choice_without_an_answer_says_so() -> None:
    with pytest.raises(ContextWindowError, match="large has the most room, with a window of 8000") as caught:
        choose_model(None, 7901, catalog=SOME)
    assert (caught.value.needed_tokens, caught.value.window_tokens) == (8001, 8000)
    with pytest.raises(ContextWindowError):
        choose_model(None, 700, max_context_tokens=750, catalog=SOME)
    with pytest.raises(ConfigurationError, match="the prompt holds image and video, which small, large cannot take"):
        choose_model(["small", "large"], 10, modalities={"video", "image"}, catalog=SOME)
    with pytest.raises(ConfigurationError, match="does not know the model 'kimi-k9'"):
        choose_model(["kimi-k9"], 10)
    with pytest.raises(ConfigurationError, match="there is no model to choose from"):
        choose_model([], 10)
    with pytest.raises(ConfigurationError, match=r"models must be a list of ids, such as \['kimi-k3'\]"):
        choose_model("kimi-k3", 10)
    for tokens in (-1, 1.5, "10", True):
        with pytest.raises(ConfigurationError, match="prompt_tokens must be a number of tokens"):
            choose_model(None, tokens)  # type: ignore[arg-type]  # on purpose
    for name in ("completion_tokens", "max_context_tokens"):
        with pytest.raises(ConfigurationError, match=f"{name} must be a positive number"):
            choose_model(None, 10, **{name: 0})  # type: ignore[arg-type]  # on purpose


async def test_a_conversation_grows_into_larger_models(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(
        client, model=["moonshot-v1-128k", "moonshot-v1-8k", "moonshot-v1-32k"], max_completion_tokens=2000
    )
    models = []
    for _ in range(12):
        await conversation.ask(LONG * 20)
        models.append(sent(fake)["model"])
    assert list(dict.fromkeys(models)) == ["moonshot-v1-8k", "moonshot-v1-32k", "moonshot-v1-128k"]
    assert models == sorted(models, key=["moonshot-v1-8k", "moonshot-v1-32k", "moonshot-v1-128k"].index)
    assert conversation.dropped_turns == 0


async def test_without_a_model_any_that_is_served_may_be_asked(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client)
    await conversation.ask("Hi")
    assert sent(fake)["model"] == "kimi-k2.6"
    await conversation.ask(LONG * 1400)
    assert sent(fake)["model"] == "kimi-k3"


# A thousand turns, and any order of steps.


CITIES = ("Oslo", "Oslo and Bergen", "Oslo, Bergen and Paris")


async def test_a_thousand_turns_stay_inside_a_small_window() -> None:
    fake = FakeMoonshot(legacy_models=True, max_recorded=2500)
    async with client_for(fake) as client:
        conversation = Conversation(
            client, model="moonshot-v1-8k", max_completion_tokens=7000, system="Be brief.", tools=[WEATHER]
        )
        spent: list[float] = []
        for number in range(1000):
            began = time.process_time()
            reply = await conversation.ask(f"What is the weather in {CITIES[number % 3]} on day {number}?")
            while reply.tool_calls:
                for call in reversed(reply.tool_calls):
                    conversation.add_tool_answer(call.id, f"Rain on day {number}")
                reply = await conversation.ask()
            spent.append(time.process_time() - began)
            check_account(conversation, tools=[WEATHER])
    assert len(fake.requests) == 2000
    # With it the fake refuses what does not fit.
    assert all(b'"max_completion_tokens":7000' in request.body for request in fake.requests)
    assert conversation.turns + conversation.dropped_turns == 1000
    assert conversation.turns < 20
    # What is gone costs nothing any more: the last turns take as long as the early ones (generously).
    assert min(sum(spent[at : at + 50]) for at in range(800, 1000, 50)) < 3 * sum(spent[50:100])


TEXTS = st.sampled_from(["Hi", "What is the weather in Oslo?", "Tell me of Oslo, Bergen and Rome.", LONG, LONG * 3])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["ask", "pin", "stream", "user", "assistant", "system", "cut", "fail", "leave"]), TEXTS),
    st.tuples(st.sampled_from(["ask", "user"]), st.just(None)),
    st.tuples(st.just("answer"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["calls", "save", "fork", "orphan", "image"]), st.integers(1, 3)),
)


@tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}. " * 20


async def take(step: str, value: Any, conversation: Conversation, fake: FakeMoonshot, tools: list[Any]) -> Conversation:
    match step:
        case "save":
            # Functions are given again; nothing is changed where the tools are definitions.
            return Conversation.from_json(client_for(fake), conversation.to_json(), tools=tools)
        case "fork":
            return conversation.fork()
        case "ask" | "pin" | "image" | "fail":
            if step == "fail":
                fake.fail(500)
            await conversation.ask([IMAGE] * value if step == "image" else value, pin=step == "pin")
        case "stream" | "leave" | "cut":
            if step == "cut":
                fake.cut_stream(4)
            async with conversation.stream(value) as stream:
                await (anext(stream) if step == "leave" else stream.get_reply())
        case _:
            say(step, value, conversation)
    return conversation


def say(step: str, value: Any, conversation: Conversation) -> None:
    match step:
        case "user":
            conversation.add_user(value or "")
        case "assistant":
            conversation.add_assistant(value)
        case "system":
            conversation.add_system(value[:40])
        case "calls":
            made = [{"id": f"x{n}", "function": {"name": "get_weather", "arguments": "{}"}} for n in range(value)]
            conversation.add_assistant({"role": "assistant", "tool_calls": made})
        case "answer":
            waiting = conversation.waiting
            for id in waiting[value:] + waiting[:value]:
                conversation.add_tool_answer(id, "Rain. " * 9)
        case "orphan":
            conversation.add_tool_answer("nobody", "Rain")


REFUSED = (ConversationError, ContextWindowError, InternalServerError, StreamInterruptedError)


@settings(max_examples=80)
@given(
    st.lists(STEPS, max_size=30),
    st.sampled_from(["kimi-k2.6", "kimi-k3", "moonshot-v1-8k-vision-preview"]),
    st.sampled_from([1600, 2600, 8000]),
    st.booleans(),
)
def test_whatever_is_said_in_whatever_order_the_service_accepts_it(
    steps: list[tuple[str, Any]], model: str, window: int, runs_tools: bool
) -> None:
    asyncio.run(play(steps, model, window, runs_tools))


async def play(steps: list[tuple[str, Any]], model: str, window: int, runs_tools: bool) -> None:
    fake = FakeMoonshot(legacy_models=True)
    tools, params = ([get_weather], [get_weather.param]) if runs_tools else ([WEATHER], [WEATHER])
    async with client_for(fake) as client:
        conversation = Conversation(
            client, model=model, tools=tools, max_context_tokens=window, max_completion_tokens=600
        )
        for step, value in steps:
            before = conversation.messages
            fake.reset()
            try:
                # Any other refusal of the service ends the test.
                conversation = await take(step, value, conversation, fake, tools)
            except REFUSED:
                if step != "answer":
                    assert conversation.messages == before
            for request in fake.requests:
                assert asked_for(msgspec.json.decode(request.body)) <= window
            if step in ("ask", "stream", "pin", "image") and conversation.messages != before:
                check_account(conversation, tools=params)
