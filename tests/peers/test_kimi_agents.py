"""kimi-agents-python against the fake: `programs/kimi_agents.py` says what it does, this file what must come of it."""

import json

import pytest_asyncio

from tests.peers.running import Ran, answer_of, new_fake, run

HELLO = [{"role": "user", "content": "Tell me of rain"}]
NO_THINKING = {"type": "disabled"}
PARTS = (
    *("chat", "chat without async", "a stream", "a stream that was cut", "a prefix", "tools", "sessions", "agents"),
    *("a parsed answer", "vision", "small endpoints", "files", "batches", "formulas", "errors", "retries"),
    "a proxy for debugging",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ran() -> Ran:
    fakes = {name: new_fake() for name in PARTS}
    fakes["a stream that was cut"].cut_stream(9)
    fakes["a stream that was cut"].cut_stream(4)
    errors = fakes["errors"]
    errors.fail(429, type="engine_overloaded_error")
    errors.fail(429, type="exceeded_current_quota_error")
    errors.fail(429)
    errors.fail(400, type="content_filter")
    errors.fail(500, type="unexpected_output")
    fakes["retries"].fail(429, retry_after=0)
    fakes["retries"].fail(503)
    return await run("kimi_agents", fakes)


async def test_it_chats(ran: Ran) -> None:
    fake, told = ran.fakes["chat"], ran.told("chat")
    system = {"role": "system", "content": "Be brief."}
    answer = await answer_of(fake, model="kimi-k2.6", messages=[system, *HELLO])

    assert told["message"] == ["assistant", answer.content, answer.reasoning_content]
    assert told["finish"] == ["stop", "length"]
    assert told["usage"][0] > 0
    assert told["stats"][0] == 2
    assert json.loads(fake.requests[0].body)["prompt_cache_key"] == "session-1"


async def test_it_chats_without_async(ran: Ran) -> None:
    fake, told = ran.fakes["chat without async"], ran.told("chat without async")
    answer = await answer_of(fake, model="kimi-k3", messages=HELLO)

    assert told == [["assistant", answer.content, answer.reasoning_content], answer.content, "stop"]


async def test_it_streams(ran: Ran) -> None:
    fake, told = ran.fakes["a stream"], ran.told("a stream")
    answer = await answer_of(fake, model="kimi-k2.6", messages=HELLO)

    assert (told["text"], told["reasoning"]) == (answer.content, answer.reasoning_content)
    assert told["usage"] > 0
    assert told["counted"] >= 1
    assert [kind for kind in told["events"] if kind != "UsageEvent"] == ["ReasoningDelta", "TextDelta", "Done"]
    assert told["finish"] == "stop"


async def test_its_resume_by_partial_mode_makes_the_answer_whole(ran: Ran) -> None:
    fake, told = ran.fakes["a stream that was cut"], ran.told("a stream that was cut")
    sent = [json.loads(request.body)["messages"][-1] for request in fake.requests]
    answer = await answer_of(fake, model="kimi-k2.6", messages=HELLO, thinking=NO_THINKING)

    assert told == answer.content
    assert [message.get("partial") for message in sent] == [None, True, True]
    assert answer.content.startswith(sent[2]["content"])


async def test_its_prefill_is_continued(ran: Ran) -> None:
    told = ran.told("a prefix")
    whole, continuation, thought = told

    assert whole == "Rain is" + continuation
    assert continuation
    assert not continuation.startswith("Rain is")
    assert thought.startswith("Rain is")


async def test_its_tool_loops_come_to_an_answer(ran: Ran) -> None:
    told = ran.told("tools")
    assert ["get_weather", '{"city":"Oslo"}'] in told["calls"]
    assert '{"city": "Oslo", "degrees": 4}' in told["once"]
    assert told["sync"] == told["once"]
    assert "noon in Oslo" in told["both"] or '"degrees": 4' in told["both"]
    assert told["none"] is None


async def test_its_sessions_send_the_reasoning_back(ran: Ran) -> None:
    fake, told = ran.fakes["sessions"], ran.told("sessions")
    assert all(told["answers"])
    assert '{"city": "Oslo", "degrees": 4}' in told["answers"][1]
    assert told["roles"] == ["system", "user", "assistant", "user", "assistant", "tool", "assistant"]
    assert told["reasoned"]
    assert told["streamed"]
    assert told["usage"][0] == 3
    assert told["counted"]
    assert all(told["sync"])
    assert any("reasoning_content" in message for message in json.loads(fake.requests[1].body)["messages"])


async def test_its_agents_hand_tasks_over(ran: Ran) -> None:
    told = ran.told("agents")
    assert told["output"].startswith("handoff_to_forecaster answered:")
    assert told["roles"] == ["system", "user", "assistant", "tool", "assistant"]
    assert told["cost"]
    assert all(told["several"])


async def test_its_parsed_answers_fit_their_types(ran: Ran) -> None:
    told = ran.told("a parsed answer")
    place, loose, kind = told

    assert place == {"city": "Oslo", "population": 1}
    assert isinstance(json.loads(loose), dict)
    assert kind == "dict"


async def test_it_sends_pictures(ran: Ran) -> None:
    told = ran.told("vision")
    assert told == "stop"


async def test_it_reads_models_tokens_and_balance(ran: Ran) -> None:
    fake, told = ran.fakes["small endpoints"], ran.told("small endpoints")
    assert told["models"] == list(fake.catalog.current_ids())
    assert told["one"] == ["moonshot", 262144, True, True]
    assert told["tokens"] > 0
    assert told["balance"] == [0, True, "0x0"]
    assert told["money"]


async def test_it_keeps_files(ran: Ran) -> None:
    told = ran.told("files")
    kind, size, name, purpose, status, same = told["note"]

    assert (kind, size, name, purpose, same) == ("file", 18, "notes of today.md", "file-extract", True)
    assert status in ("ready", "ok")
    assert told["listed"] == ["a.png", "notes of today.md"]
    assert json.loads(told["content"])["content"] == "# Rain\n\nIt rains.\n"
    assert told["deleted"] == [True, True]
    assert told["left"] == ["notes of today.md"]


async def test_it_runs_batches(ran: Ran) -> None:
    told = ran.told("batches")
    assert told == {
        "made": ["batch", "/v1/chat/completions", True, {"job": "nightly"}, "24h"],
        "known": True,
        "again": True,
        "listed": [[True], False],
        "cancelled": True,
    }


async def test_it_runs_formulas(ran: Ran) -> None:
    told = ran.told("formulas")
    assert told == [True, "fiber", "succeeded", True, True, 404]


async def test_it_tells_errors_apart(ran: Ran) -> None:
    told = ran.told("errors")
    assert told == [
        ["EngineOverloadedError", 429, "engine_overloaded_error"],
        ["ExceededCurrentQuotaError", 429, "exceeded_current_quota_error"],
        ["RateLimitReachedError", 429, "rate_limit_reached_error"],
        ["ContentFilterError", 400, "content_filter"],
        ["UnexpectedOutputError", 500, "unexpected_output"],
        ["ResourceNotFoundError", 404, "resource_not_found_error"],
        ["InvalidRequestError", 400, "invalid_request_error"],
        ["IncorrectAPIKeyError", 401, "incorrect_api_key_error"],
        ["ResourceNotFoundError", 404],
    ]


async def test_its_retries_reach_the_fake(ran: Ran) -> None:
    fake, told = ran.fakes["retries"], ran.told("retries")
    assert told == "stop"
    assert len(fake.requests) == 3


async def test_its_client_for_a_debugging_proxy_works(ran: Ran) -> None:
    fake, told = ran.fakes["a proxy for debugging"], ran.told("a proxy for debugging")
    assert told is True
    assert fake.last_request.headers["x-msh-trace-id"] == "trace-7"
