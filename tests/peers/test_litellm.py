"""litellm against the fake: `programs/litellm_chat.py` says what it does, this file what must come of it."""

import json

import pytest_asyncio

from tests.peers.running import Ran, answer_of, new_fake, run

HELLO = [{"role": "user", "content": "Tell me of rain"}]
PARTS = ("completions", "streams", "tools", "formats", "extras", "errors", "retries")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ran() -> Ran:
    # The model of which litellm knows that it thinks is one of those that the service has retired.
    fakes = {name: new_fake(legacy_models=name == "tools") for name in PARTS}
    fakes["errors"].fail(429)
    fakes["errors"].fail(500)
    fakes["errors"].fail(400, type="content_filter")
    fakes["retries"].fail(429)
    return await run("litellm_chat", fakes)


async def test_completions_arrive_whole(ran: Ran) -> None:
    fake, told = ran.fakes["completions"], ran.told("completions")
    answer = await answer_of(fake, model="kimi-k2.6", messages=HELLO)
    deep = await answer_of(fake, model="kimi-k3", messages=HELLO)

    assert [one["text"] for one in told] == [answer.content, answer.content, deep.content]
    assert [one["reasoning"] for one in told] == [answer.reasoning_content] * 2 + [deep.reasoning_content]
    assert {one["finish"] for one in told} == {"stop"}
    assert all(one["total"] > 0 for one in told)


async def test_streams_say_the_same(ran: Ran) -> None:
    fake, told = ran.fakes["streams"], ran.told("streams")
    answer = await answer_of(fake, model="kimi-k2.6", messages=HELLO)

    assert told["awaited"] == told["waited"] == told["built"]["text"] == answer.content
    assert told["built"]["reasoning"] == answer.reasoning_content
    assert told["built"]["finish"] == "stop"
    assert told["calls"] == [["get_weather", '{"city":"Oslo"}']]


async def test_tools_are_called_and_answered(ran: Ran) -> None:
    told = ran.told("tools")

    assert told["calls"] == [["get_weather", '{"city":"Oslo"}']]
    assert all(answer.startswith("get_weather answered: 4 in Oslo") for answer in told["answers"])
    assert told["required"] in ("stop", "tool_calls")


async def test_response_formats_are_obeyed(ran: Ran) -> None:
    place, loose = ran.told("formats")

    assert place == {"city": "Oslo", "population": 1}
    assert isinstance(json.loads(loose), dict)


async def test_what_it_passes_on_is_accepted(ran: Ran) -> None:
    fake, (quick, seen, flat) = ran.fakes["extras"], ran.told("extras")

    assert quick["text"]
    assert quick["reasoning"] is None
    assert json.loads(fake.requests[0].body)["thinking"] == {"type": "disabled"}
    assert seen == "stop"
    assert flat == (await answer_of(fake, model="kimi-k2.6", messages=HELLO)).content


async def test_errors_are_told_apart(ran: Ran) -> None:
    assert ran.told("errors") == [
        ["RateLimitError", 429],
        ["InternalServerError", 500],
        ["BadRequestError", 400],
        ["NotFoundError", 404],
        ["BadRequestError", 400],
        ["AuthenticationError", 401],
    ]


async def test_its_retries_reach_the_fake(ran: Ran) -> None:
    assert ran.told("retries") == "stop"
    assert len(ran.fakes["retries"].requests) == 2
