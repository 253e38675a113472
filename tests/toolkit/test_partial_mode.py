"""Partial Mode: answers that are begun, continued and joined."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.errors import APIConnectionError, APIError, ConfigurationError, StreamInterruptedError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.partial_mode import extended
from moonshot_async.toolkit.partial_mode import continue_from, join, prefix
from moonshot_async.types.chat import ChatCompletion, ChatCompletionMessage, ToolCall


def completion(
    content: str | None = None, finish_reason: str | None = "stop", usage: Any = None, **message: Any
) -> ChatCompletion:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "message": {"content": content, **message}}
    if logprobs := message.pop("logprobs", None):
        choice |= {"logprobs": logprobs, "message": {"content": content, **message}}
    return ChatCompletion.model_validate({"id": "c-2", "model": "kimi-k3", "choices": [choice], "usage": usage})


def interrupted(partial: ChatCompletion | None) -> StreamInterruptedError:
    error = StreamInterruptedError(message="The connection broke off.")
    error.partial = partial
    return error


def usage(prompt: int, cached: int, answer: int, reasoning: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "cached_tokens": cached,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


# The beginning of an answer.


def test_a_prefix_is_an_assistant_message_to_be_continued() -> None:
    assert prefix("Grey roofs") == {"role": "assistant", "content": "Grey roofs", "partial": True}
    assert prefix("Grey ", name="Poet", reasoning_content="") == {
        "role": "assistant",
        "content": "Grey ",
        "partial": True,
        "name": "Poet",
        "reasoning_content": "",
    }


def test_a_name_or_reasoning_alone_is_a_beginning_too() -> None:
    assert prefix(name="Poet") == {"role": "assistant", "content": "", "partial": True, "name": "Poet"}
    assert prefix(reasoning_content="Rain.")["reasoning_content"] == "Rain."


def test_nothing_at_all_is_no_beginning() -> None:
    with pytest.raises(ConfigurationError, match="a prefix needs content, a name or reasoning"):
        prefix(reasoning_content="")


# Going on.


@pytest.mark.parametrize("finish_reason", ["length", None])
def test_an_answer_that_was_cut_becomes_a_message_to_go_on_from(finish_reason: str | None) -> None:
    cut = completion("Grey ro", finish_reason, reasoning_content="Rain.", flavour="x")

    expected = {
        "role": "assistant",
        "content": "Grey ro",
        "reasoning_content": "Rain.",
        "flavour": "x",
        "partial": True,
    }
    assert continue_from(cut) == expected
    assert continue_from(interrupted(cut)) == expected
    assert continue_from(cut.choices[0].message) == expected
    assert continue_from(cut, name="Poet") == {**expected, "name": "Poet"}


def test_an_answer_cut_while_the_model_thought_goes_on_from_its_thoughts() -> None:
    assert continue_from(completion(None, "length", reasoning="Ra")) == {
        "role": "assistant",
        "content": "",
        "reasoning": "Ra",
        "partial": True,
    }


def test_one_of_several_choices_is_continued() -> None:
    cut = completion("first", "length")
    other = completion("second", "length").choices[0]
    other.index = 3
    cut.choices.append(other)

    assert continue_from(cut, choice=3).get("content") == "second"
    with pytest.raises(ConfigurationError, match="the answer has no choice 1"):
        continue_from(cut, choice=1)


@pytest.mark.parametrize("finish_reason", ["stop", "tool_calls", "content_filter"])
def test_an_answer_that_ended_cannot_be_continued(finish_reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the answer ended with '{finish_reason}'"):
        continue_from(completion("Grey", finish_reason))


@pytest.mark.parametrize(
    "cut",
    [
        completion("", "length", reasoning_content=""),
        interrupted(None),
        interrupted(completion(None, None)),
        APIConnectionError(),
        APIError("no"),
    ],
)
def test_of_nothing_nothing_can_be_continued(cut: Any) -> None:
    with pytest.raises(ConfigurationError, match="send the request again"):
        continue_from(cut)


def test_tool_calls_cannot_be_continued() -> None:
    cut = completion("Let me see", "length", tool_calls=[{"id": "f:0", "function": {"name": "f", "arguments": "{"}}])
    legacy = completion("Let me see", None, function_call={"name": "f", "arguments": "{"})

    for broken in (cut, legacy, interrupted(cut)):
        with pytest.raises(ConfigurationError, match="tool calls are in the answer"):
            continue_from(broken)
        with pytest.raises(ConfigurationError, match="tool calls are in the answer"):
            join(broken, completion("x"))


def test_a_prefix_grows_by_what_the_model_said_and_stays_its_speakers() -> None:
    begun = {"role": "assistant", "name": "Poet", "content": "Grey", "reasoning_content": "Ra", "partial": True}

    assert extended(begun, {"role": "model", "name": "Bard", "content": " roofs", "x": 1}) == {
        **begun,
        "content": "Grey roofs",
        "x": 1,
    }
    assert extended(begun, {"content": None, "reasoning_content": "in."}) == {**begun, "reasoning_content": "Rain."}
    assert begun["content"] == "Grey"


# The whole.


def test_a_prefix_and_its_answer_are_one_text() -> None:
    answer = completion(" gleam", "stop", usage(9, 0, 3, 0))
    answer._request_id = "req-2"

    whole = join(prefix("Grey roofs", name="Poet"), answer)

    message = whole.choices[0].message
    assert (message.content, message.name, message.role) == ("Grey roofs gleam", "Poet", "assistant")
    assert (whole.id, whole.model, whole.request_id, whole.choices[0].finish_reason) == (
        "c-2",
        "kimi-k3",
        "req-2",
        "stop",
    )
    assert whole.usage == answer.usage
    assert answer.choices[0].message.content == " gleam"


def test_both_calls_are_counted() -> None:
    cut = completion("Grey ", "length", usage(100, 80, 20, 5), reasoning_content="Ra")
    answer = completion("roofs", "stop", {**usage(125, 100, 10, 2), "cost": 1.5}, reasoning_content="in.")

    whole = join(cut, answer)

    assert whole.choices[0].message.reasoning_content == "Rain."
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (225, 30, 255)
    assert whole.usage.cached_tokens == 180
    assert whole.usage.prompt_tokens_details is not None
    assert whole.usage.prompt_tokens_details.cached_tokens == 180
    assert whole.usage.completion_tokens_details is not None
    assert whole.usage.completion_tokens_details.reasoning_tokens == 7
    assert whole.usage.model_extra["cost"] == 1.5
    assert cut.usage is not None
    assert cut.usage.prompt_tokens == 100


def test_an_unknown_part_of_the_usage_that_is_no_number_is_that_of_the_later_call() -> None:
    whole = join(completion("a", "length", {"tier": "x", "n": 1}), completion("b", "stop", {"tier": "y", "n": "2"}))

    assert whole.usage is not None
    assert whole.usage.model_extra == {"tier": "y", "n": "2"}


def test_where_only_one_call_told_its_usage_that_is_the_usage() -> None:
    cut = completion("a", None, usage(1, 0, 1, 0))

    assert join(interrupted(cut), completion("b")).usage == cut.usage
    assert join(interrupted(completion("a", None)), completion("b")).usage is None


def test_an_answer_may_be_continued_again_and_again() -> None:
    whole = completion("one ", "length", usage(10, 0, 1, 0))
    for text, end in (("two ", "length"), ("three", "stop")):
        begun = continue_from(whole)
        assert begun.get("content") == whole.choices[0].message.content
        whole = join(whole, completion(text, end, usage(10, 0, 1, 0)))

    assert whole.choices[0].message.content == "one two three"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 3


def test_an_answer_that_only_thought_keeps_the_text_of_the_beginning() -> None:
    message = join(prefix("Grey", reasoning_content="a"), completion(None, "length", reasoning_content="b"))

    assert message.choices[0].message.content == "Grey"
    assert message.choices[0].message.reasoning_content == "ab"


def test_tool_calls_after_a_text_stay_with_it() -> None:
    call = ToolCall(id="f:0")

    whole = join(prefix("Let me "), completion("look.", "tool_calls", tool_calls=[call.to_dict()]))

    assert whole.choices[0].message.content == "Let me look."
    assert whole.choices[0].message.tool_calls == [call]


def test_probabilities_are_those_of_both_parts_or_none() -> None:
    def scored(token: str) -> ChatCompletion:
        return completion(token, "length", logprobs={"content": [{"token": token, "logprob": -1.0}]})

    both = join(scored("a"), scored("b")).choices[0].logprobs
    assert both is not None
    assert [entry.token for entry in both.content or []] == ["a", "b"]
    assert join(completion("a", "length"), scored("b")).choices[0].logprobs is None
    assert join(scored("a"), completion("b", "length")).choices[0].logprobs is None
    empty = completion("a", "length", logprobs={"refusal": []})
    assert join(empty, empty).choices[0].logprobs is not None


def test_a_message_of_parts_is_no_prefix() -> None:
    with pytest.raises(ConfigurationError, match="must be text"):
        join({"role": "assistant", "content": [{"type": "text", "text": "a"}]}, completion("b"))


def test_an_answer_without_choices_cannot_be_joined() -> None:
    with pytest.raises(ConfigurationError, match="no choices"):
        join(prefix("a"), ChatCompletion(choices=[]))
    with pytest.raises(ConfigurationError, match="send the request again"):
        join(interrupted(None), completion("b"))


def test_a_message_that_was_received_can_be_joined() -> None:
    assert join(ChatCompletionMessage(content="a"), completion("b")).choices[0].message.content == "ab"


# With a service.


@pytest.fixture
async def client() -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot())) as client:
        yield client


@pytest.mark.parametrize("model", ["kimi-k3", "kimi-k2.6"])
async def test_an_answer_cut_by_its_length_is_the_whole_one_once_it_is_continued(
    client: AsyncMoonshot, model: str
) -> None:
    question: list[Any] = [{"role": "user", "content": "Write some lines about grey roofs."}]
    create = client.chat.completions.create
    whole = await create(model=model, messages=question)
    assert whole.usage is not None

    limit = whole.usage.completion_tokens - 4
    cut = await create(model=model, messages=question, max_completion_tokens=limit)
    joined = join(cut, await create(model=model, messages=[*question, continue_from(cut)]))

    assert cut.choices[0].finish_reason == "length"
    assert joined.choices[0].finish_reason == "stop"
    assert joined.choices[0].message.content == whole.choices[0].message.content


async def test_a_stream_that_broke_off_is_the_whole_answer_once_it_is_continued() -> None:
    fake = FakeMoonshot()
    question: list[Any] = [{"role": "user", "content": "Write some lines about grey roofs."}]
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
        create = client.chat.completions.create
        whole = await create(model="kimi-k3", messages=question)
        fake.cut_stream(after_chunks=12)
        with pytest.raises(StreamInterruptedError) as caught:
            async for _ in await create(model="kimi-k3", messages=question, stream=True):
                pass
        joined = join(caught.value, await create(model="kimi-k3", messages=[*question, continue_from(caught.value)]))

    assert joined.choices[0].message.content == whole.choices[0].message.content


async def test_an_answer_begins_as_the_caller_did(client: AsyncMoonshot) -> None:
    begun = prefix("Grey roofs", name="Poet", reasoning_content="Rain.")

    answer = await client.chat.completions.create(
        model="kimi-k3", messages=[{"role": "user", "content": "A haiku about rain."}, begun]
    )

    text = answer.choices[0].message.content or ""
    assert join(begun, answer).choices[0].message.content == "Grey roofs" + text
    assert not text.startswith("Grey roofs")
