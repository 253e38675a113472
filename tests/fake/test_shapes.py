from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "note": {"type": "string", "minLength": 60}},
        },
    },
}


def joined(frames: list[Any], name: str, index: int = 0) -> str:
    choices = [choice for frame in frames[:-1] for choice in frame["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get(name, "") for choice in choices)


@pytest.mark.parametrize("prompt", ["Hi", "How far is the moon?", "你好，世界 🌍", "Line\nand line"])
@pytest.mark.parametrize("more", [{}, {"max_tokens": 25}, {"model": "kimi-k2.6", "thinking": {"type": "disabled"}}])
async def test_a_stream_says_what_the_unary_answer_says(
    ask: Any, listen: Any, prompt: str, more: dict[str, Any]
) -> None:
    completion = await ask(prompt, **more)
    frames = await listen(prompt, **more)

    choice = completion["choices"][0]
    assert joined(frames, "content") == choice["message"]["content"]
    assert joined(frames, "reasoning_content") == choice["message"].get("reasoning_content", "")
    assert frames[-2]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert frames[-2]["choices"][0]["usage"] == completion["usage"]


async def test_a_stream_has_role_reasoning_content_finish_and_done_in_this_order(listen: Any) -> None:
    *chunks, done = await listen()

    kinds = [tuple(chunk["choices"][0]["delta"]) for chunk in chunks]
    reasoning, content = kinds.count(("reasoning_content",)), kinds.count(("content",))
    assert done == "[DONE]"
    assert reasoning > 2
    assert content > 2
    assert kinds == [
        ("role", "content"),
        *[("reasoning_content",)] * reasoning,
        *[("content",)] * content,
        (),
    ]
    assert chunks[0] == {
        "id": "chatcmpl-000000000001",
        "object": "chat.completion.chunk",
        "created": 1794200000,
        "model": "kimi-k3",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
    }
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-000000000001"}
    assert set(chunks[-1]["choices"][0]) == {"index", "delta", "finish_reason", "usage"}


async def test_usage_comes_once_more_at_the_end_when_it_is_asked_for(listen: Any) -> None:
    *chunks, last, _ = await listen(stream_options={"include_usage": True})

    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == chunks[-1]["choices"][0]["usage"]


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
async def test_usage_stays_inside_the_choice_otherwise(listen: Any, options: Any) -> None:
    *chunks, _ = await listen(stream_options=options)

    assert not any("usage" in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["usage"]["total_tokens"]


async def test_tool_calls_are_streamed_in_fragments(ask: Any, listen: Any) -> None:
    completion = await ask("Weather in Oslo", tools=[TOOL])
    frames = await listen("Weather in Oslo", tools=[TOOL])

    deltas = [frame["choices"][0]["delta"] for frame in frames[:-1]]
    fragments = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert fragments[0] == {
        "index": 0,
        "id": "get_weather:0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    assert len(fragments) > 2
    assert all(set(fragment) == {"index", "function"} for fragment in fragments[1:])
    arguments = "".join(fragment["function"]["arguments"] for fragment in fragments)
    assert arguments == completion["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert frames[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_several_choices_are_streamed_one_after_the_other(ask: Any, listen: Any) -> None:
    fake = FakeMoonshot(legacy_models=True)
    more = {"model": "moonshot-v1-8k", "n": 2, "to": fake}
    completion = await ask(**more)
    frames = await listen(**more)

    for index, choice in enumerate(completion["choices"]):
        assert joined(frames, "content", index) == choice["message"]["content"]
    finished = [choice["index"] for frame in frames[:-1] for choice in frame["choices"] if choice["finish_reason"]]
    assert finished == [0, 1]


async def test_log_probabilities_describe_every_token_of_the_text(ask: Any, listen: Any) -> None:
    plain = await ask("你好，世界 🌍")
    completion = await ask("你好，世界 🌍", logprobs=True, top_logprobs=3)
    frames = await listen("你好，世界 🌍", logprobs=True, top_logprobs=3)

    assert "logprobs" not in plain["choices"][0]
    choice = completion["choices"][0]
    assert choice["message"] == plain["choices"][0]["message"]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode() == choice["message"]["content"]
    for entry in entries:
        named = entry["top_logprobs"]
        assert {name: entry[name] for name in ("token", "logprob", "bytes")} == named[0]
        assert len({one["token"] for one in named}) == 3
        assert 0 >= named[0]["logprob"] > named[1]["logprob"] > named[2]["logprob"]
    streamed = [frame["choices"][0] for frame in frames[:-2]]
    assert [one["logprobs"] for one in streamed if "content" not in one["delta"]] == [None] * sum(
        "content" not in one["delta"] for one in streamed
    )
    assert [entry for one in streamed if one["logprobs"] for entry in one["logprobs"]["content"]] == entries


async def test_log_probabilities_name_no_other_tokens_unless_asked(ask: Any) -> None:
    completion = await ask(logprobs=True)

    assert {len(entry["top_logprobs"]) for entry in completion["choices"][0]["logprobs"]["content"]} == {0}


async def test_calls_have_no_log_probabilities(ask: Any, listen: Any) -> None:
    completion = await ask("Weather in Oslo", tools=[TOOL], logprobs=True)
    *chunks, _ = await listen("Weather in Oslo", tools=[TOOL], logprobs=True)

    assert completion["choices"][0]["logprobs"] == {"content": []}
    assert not any(chunk["choices"][0].get("logprobs") for chunk in chunks)


async def test_a_scripted_usage_is_sent_as_it_is(ask: Any, fake: FakeMoonshot) -> None:
    fake.reply("Hi", usage={"total_tokens": 3})

    assert (await ask())["usage"] == {"total_tokens": 3}


async def test_a_scripted_answer_has_log_probabilities_too_chunk_by_chunk(listen: Any, fake: FakeMoonshot) -> None:
    fake.reply(chunks=["Hel", "lo you"])

    frames = await listen(logprobs=True)

    told = [frame["choices"][0] for frame in frames[:-2] if frame["choices"][0]["delta"].get("content")]
    assert [[entry["token"] for entry in one["logprobs"]["content"]] for one in told] == [["Hel"], ["lo", " you"]]
