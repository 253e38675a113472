"""Conversations in files: what is saved, and what is refused when it is read."""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.clocks import deadline
from moonshot_async.errors import APITimeoutError, ConfigurationError, ConversationError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.conversation import Conversation, DropOldest
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT
from tests.toolkit.conversations import IMAGE, LONG, WEATHER, check_account, sent

Clients = Callable[..., AsyncMoonshot]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def a_long_one(client: AsyncMoonshot) -> Conversation:
    """One of which turns were dropped, with everything in it that is kept."""
    conversation = Conversation(
        client,
        model="kimi-k2.6",
        system="Be brief.",
        tools=[WEATHER],
        max_context_tokens=6000,
        max_completion_tokens=500,
        temperature=1,
        timeout=30,
        extra_headers={"X-Secret": CANARY_KEY},
    )
    await conversation.ask([{"type": "text", "text": "What is this?"}, IMAGE], pin=True, tool_choice="none")
    for _ in range(9):
        await conversation.ask(LONG * 4, tool_choice="none")
    await conversation.ask("What is the weather in Oslo and Bergen?")
    conversation.add_tool_answer(conversation.waiting[1], "Rain")
    return conversation


async def test_what_was_saved_goes_on_as_if_nothing_had_been(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = await a_long_one(client)
    text = conversation.to_json()
    loaded = Conversation.from_json(client, text)
    for name in (
        "messages",
        "waiting",
        "tokens",
        "turns",
        "dropped_turns",
        "usage",
        "cost",
        "unpriced_answers",
        "prompt_cache_key",
    ):
        assert getattr(loaded, name) == getattr(conversation, name), name
    assert loaded.to_json() == text
    assert conversation.dropped_turns > 0
    for one in (conversation, loaded):
        one.add_tool_answer(one.waiting[0], "Snow")
        await one.ask()
        check_account(one, tools=[WEATHER])
        for _ in range(6):
            await one.ask(LONG * 4, tool_choice="none")
    assert loaded.messages == conversation.messages
    first, second = sent(fake, -8), sent(fake)
    assert first == second
    assert first["messages"][1]["content"][1] == IMAGE


async def test_no_key_is_saved_and_nothing_of_single_calls(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = await a_long_one(client)
    text = conversation.to_json()
    assert CANARY_KEY not in text
    assert json.loads(text)["options"] == {"temperature": 1}
    assert json.loads(text)["format"] == "moonshot_async.conversation"


async def test_a_file_is_written_whole_and_for_its_owner(client: AsyncMoonshot, tmp_path: Path) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    await conversation.ask("天空为什么是蓝色的？")
    target = tmp_path / "chat.json"
    (tmp_path / "link.json").symlink_to(target)
    await conversation.save(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    if os.name != "nt":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (await Conversation.load(client, target)).messages == conversation.messages
    assert (await Conversation.load(client, str(target))).messages == conversation.messages
    await conversation.ask("Well?")
    await conversation.save(str(target))
    assert (await Conversation.load(client, target)).turns == 2
    assert names_in(tmp_path) == ["chat.json", "link.json"]


async def test_a_file_that_cannot_be_written_stays_as_it_was(
    client: AsyncMoonshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    target = tmp_path / "chat.json"
    await conversation.save(target)
    before = target.read_bytes()
    await conversation.ask("Hi")

    def broken(number: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="the disk is full"):
        await conversation.save(target)
    assert target.read_bytes() == before
    assert names_in(tmp_path) == ["chat.json"]
    with pytest.raises(FileNotFoundError):
        await conversation.save(tmp_path / "nowhere" / "chat.json")
    with pytest.raises(FileNotFoundError):
        await Conversation.load(client, tmp_path / "nothing.json")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes of this kind")
async def test_a_file_that_is_a_pipe_is_not_waited_for_beyond_the_deadline(
    client: AsyncMoonshot, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with deadline(0.05), pytest.raises(APITimeoutError) as caught:
        await Conversation.load(client, tmp_path / "pipe")
    assert caught.value.clock == "deadline"
    # The thread that waits there ends.
    number = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    os.close(number)
    await asyncio.sleep(0)


async def test_settings_may_be_changed_when_it_is_loaded(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = await a_long_one(client)
    conversation.add_tool_answer(conversation.waiting[0], "Snow")
    text = conversation.to_json()
    loaded = Conversation.from_json(
        client, text.encode(), model=["kimi-k3"], tools=None, temperature=None, top_p=0.95, trim=DropOldest(to=1)
    )
    assert loaded.tokens < conversation.tokens
    await loaded.ask()
    assert sent(fake)["model"] == "kimi-k3"
    assert sent(fake)["top_p"] == 0.95
    assert not {"tools", "temperature"} & set(sent(fake))
    again = Conversation.from_json(client, loaded.to_json())
    assert json.loads(again.to_json())["model"] == ["kimi-k3"]
    for change in ({"temperatur": 1}, {"messages": []}, {"system": CANARY_PROMPT}):
        with pytest.raises(TypeError):
            Conversation.from_json(client, text, **change)


async def test_money_of_two_currencies_is_not_added_up(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6")
    await conversation.ask("Hi")
    text = conversation.to_json()
    other = "intl" if ".cn" in client.base_url else "cn"
    async with AsyncMoonshot(api_key=CANARY_KEY, region=other, transport=MemoryTransport(fake)) as elsewhere:
        loaded = Conversation.from_json(elsewhere, text)
    assert (loaded.cost, loaded.known_cost, loaded.unpriced_answers) == (None, Decimal(0), 1)
    assert loaded.usage == conversation.usage


def changed(text: str, *path: str | int, to: Any) -> str:
    data = json.loads(text)
    at = data
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to
    return json.dumps(data)


BAD: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("format",), "other", "its format is not 'moonshot_async.conversation'"),
    (("version",), 2, "saved in version 2, by a newer moonshot_async"),
    (("version",), "1", r"Expected `int`, got `str` - at `\$.version`"),
    (("turns", 0, 1, "message", "role"), "cache", r"turns\[0\]\[1\]: the role of a message"),
    (("turns", 0, 0, "message"), {"role": "tool", "tool_call_id": "a", "content": ""}, r"turns\[0\]\[0\]: there is no"),
    (("turns", 0, 0, "message"), "Hi", r"Expected `object`, got `str` - at `\$.turns\[0\]\[0\].message`"),
    (("turns", 0, 0, "known"), -1, "Expected `float` >= 0"),
    (("turns", 0, 0, "odd"), 1, "unknown field `odd`"),
    (("head", 0, "message", "content"), "", r"head\[0\]: a system message must not be empty"),
    (("dropped_turns",), -1, "Expected `int` >= 0"),
    (("spent", "cost"), "much", "spent.cost is no amount"),
    (("spent", "cost"), "-1", "spent.cost is no amount"),
    (("spent", "cost"), "NaN", "spent.cost is no amount"),
    (("spent", "usage", "total_tokens"), "many", "spent.usage is no usage"),
    (("options",), {"temperatur": 1}, "did you mean 'temperature'"),
    (("options",), {"timeout": 1}, "what concerns a single call"),
    (("max_context_tokens",), 0, "max_context_tokens must be a positive number"),
    (("model",), ["kimi-k9"], "does not know the model 'kimi-k9'"),
    (("odd",), 1, "unknown field `odd`"),
]


@pytest.mark.parametrize(("path", "value", "problem"), BAD)
async def test_what_is_no_saved_conversation_is_refused(
    path: tuple[str | int, ...], value: Any, problem: str, client: AsyncMoonshot
) -> None:
    conversation = Conversation(client, model="kimi-k2.6", system="Be brief.")
    await conversation.ask(CANARY_PROMPT)
    with pytest.raises(ConfigurationError, match=problem):
        Conversation.from_json(client, changed(conversation.to_json(), *path, to=value))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Input data was truncated"),
        ("[]", "Expected `object`"),
        ("{}", "its format is not"),
        (b"\xff{}", "no saved conversation"),
        (b'{"format": "\xff"}', "it is no UTF-8"),
        ('{"format": "moonshot_async.conversation", "version": 1}', "missing required field `model`"),
        ('{"format": "moonshot_async.conversation", "head": ' + "[" * 100_000, "it is nested too deeply"),
    ],
)
def test_other_texts_are_refused(text: str | bytes, problem: str, client: AsyncMoonshot) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Conversation.from_json(client, text)


def test_figures_may_be_left_out(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", system="Be brief.")
    conversation.add_user(LONG)
    data = json.loads(conversation.to_json())
    for entry in (*data["head"], *data["turns"][0]):
        for name in ("known", "open", "open_media"):
            entry.pop(name, None)
    assert Conversation.from_json(client, json.dumps(data)).tokens == conversation.tokens


async def test_a_saved_conversation_that_waits_for_answers_still_does(client: AsyncMoonshot) -> None:
    conversation = Conversation(client, model="kimi-k2.6", tools=[WEATHER])
    await conversation.ask("What is the weather in Oslo and Bergen?")
    loaded = Conversation.from_json(client, conversation.to_json())
    with pytest.raises(ConversationError, match="must be answered"):
        await loaded.ask("Well?")
