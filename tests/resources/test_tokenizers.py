"""`client.tokenizers`."""

from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, ChatCompletionMessage, MemoryTransport
from moonshot_async.fake import FakeMoonshot
from moonshot_async.types.chat import FunctionCall, ToolCall
from tests.canned import Canned


async def test_messages_are_counted() -> None:
    service = Canned({"data": {"total_tokens": 80}})
    async with service.client() as client:
        count = await client.tokenizers.estimate_token_count(
            model="kimi-k3", messages=[{"role": "user", "content": "Canary prompt: hi"}], extra_body={"new": 1}
        )

    assert count.total_tokens == 80
    assert count.request_id == "req-1"
    assert service.path == "/tokenizers/estimate-token-count"
    assert service.sent == {
        "model": "kimi-k3",
        "messages": [{"role": "user", "content": "Canary prompt: hi"}],
        "new": 1,
    }


async def test_response_messages_are_sent_as_they_were_received() -> None:
    service = Canned({"data": {"total_tokens": 80}})
    call = ToolCall(id="f:0", function=FunctionCall(name="f", arguments="{}"))
    answer = ChatCompletionMessage(content="", reasoning_content="", tool_calls=[call])
    async with service.client() as client:
        await client.tokenizers.estimate_token_count(model="m", messages=iter([answer]))

    assert service.sent["messages"] == [
        {
            "role": "assistant",
            "reasoning_content": "",
            "tool_calls": [{"id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }
    ]


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": "Hi"}, "messages must be a list of messages"),
        ({"model": "m", "messages": [], "tools": []}, r"estimate_token_count\(\) got an unexpected .* 'tools'"),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_it_is_sent(keywords: dict[str, Any], problem: str) -> None:
    service = Canned()
    async with service.client() as client:
        with pytest.raises(TypeError, match=problem):
            await client.tokenizers.estimate_token_count(**keywords)
    assert service.requests == []


async def test_the_embedded_service_counts_what_it_will_bill() -> None:
    messages: Any = [{"role": "user", "content": "How many tokens are these?"}]
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot())) as client:
        count = await client.tokenizers.estimate_token_count(model="kimi-k3", messages=messages)
        completion = await client.chat.completions.create(model="kimi-k3", messages=messages)

    assert completion.usage is not None
    assert count.total_tokens == completion.usage.prompt_tokens
