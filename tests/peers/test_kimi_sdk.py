"""kimi-sdk (kosong) against the fake: `programs/kimi_sdk_chat.py` says what it does, this file what must come of it."""

import json

import pytest_asyncio

from tests.peers.running import Ran, answer_of, new_fake, run

HELLO = [{"role": "user", "content": "Tell me of rain"}]
PARTS = ("say", "thinking", "steps", "vision", "a video", "a prefix", "web search", "errors")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ran() -> Ran:
    fakes = {name: new_fake() for name in PARTS}
    fakes["errors"].fail(429)
    fakes["errors"].fail(504)
    fakes["errors"].disconnect()
    fakes["errors"].error_in_stream(2)
    return await run("kimi_sdk_chat", fakes)


async def test_streamed_and_whole_answers_are_the_same(ran: Ran) -> None:
    fake, told = ran.fakes["say"], ran.told("say")
    answer = await answer_of(fake, model="kimi-k2.6", messages=[{"role": "system", "content": "Be brief."}, *HELLO])

    assert told["True"] == told["False"]
    assert told["True"]["text"] == answer.content
    assert told["True"]["thought"] == answer.reasoning_content
    assert told["True"]["parts"] == ["think", "text"]
    assert told["True"]["usage"][0] > 0


async def test_thinking_is_switched_and_goes_back(ran: Ran) -> None:
    fake, told = ran.fakes["thinking"], ran.told("thinking")
    bodies = [json.loads(request.body) for request in fake.requests]

    assert [bool(thought) for _, thought in told["efforts"]] == [False, True]
    assert all(text for text, _ in told["efforts"])
    assert told["second"]
    assert told["third"]
    assert bodies[3]["thinking"] == {"type": "enabled", "keep": "all"}
    assert bodies[3]["messages"][1]["reasoning_content"]
    assert bodies[4]["reasoning_effort"] == "low"


async def test_steps_call_tools_and_come_to_an_answer(ran: Ran) -> None:
    for told in (ran.told("steps")["True"], ran.told("steps")["False"]):
        assert told["seen"] == [[["get_weather", '{"city":"Oslo"}'], ["get_time", '{"city":"Oslo"}']], []]
        assert "4 degrees in Oslo" in told["answer"]
        assert told["roles"] == ["user", "assistant", "tool", "tool", "assistant", "user"]
        assert told["last"]


async def test_pictures_are_sent(ran: Ran) -> None:
    assert ran.told("vision") is True


async def test_videos_are_uploaded_and_asked_about(ran: Ran) -> None:
    assert ran.told("a video") == [True, True]


async def test_a_partial_message_is_continued(ran: Ran) -> None:
    fake, told = ran.fakes["a prefix"], ran.told("a prefix")

    assert isinstance(told, str)
    assert "Traceback" not in told
    assert json.loads(fake.last_request.body)["messages"][-1]["partial"] is True


async def test_the_search_of_the_service_is_called_and_answered(ran: Ran) -> None:
    fake, told = ran.fakes["web search"], ran.told("web search")

    assert told == [["$web_search"], True]
    assert json.loads(fake.requests[1].body)["messages"][-1]["role"] == "tool"


async def test_errors_are_told_apart(ran: Ran) -> None:
    assert ran.told("errors") == [
        ["APIStatusError", 429],
        ["APIStatusError", 504],
        "APIConnectionError",
        "ChatProviderError",
        ["APIStatusError", 404],
        ["APIStatusError", 401],
        "APIEmptyResponseError",
    ]
