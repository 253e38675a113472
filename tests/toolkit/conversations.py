"""What the tests of conversations share: things to say, a client of a fake, and what the fake counts."""

from typing import Any

import msgspec

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.fake import FakeMoonshot, counting
from moonshot_async.toolkit.conversation import Conversation
from tests.secrets_scan import CANARY_KEY

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAf"
    "FcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": PNG}}
LONG = "Tell me more of the river, of its banks, and of all who live there. " * 10


def client_for(fake: FakeMoonshot, **options: Any) -> AsyncMoonshot:
    return AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), max_retries=0, **options)


def sent(fake: FakeMoonshot, number: int = -1) -> Any:
    return msgspec.json.decode(fake.requests[number].body)


def call(id: str = "a", name: str = "get_weather", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "reasoning_content": "", "tool_calls": [call(id) for id in ids]}


def counted(conversation: Conversation, **beside: Any) -> int:
    """What the fake counts of a history that is a prompt."""
    return counting.prompt_tokens({"messages": conversation.messages, **beside})[0]


def check_account(conversation: Conversation, **beside: Any) -> None:
    tokens = counted(conversation, **beside)
    assert abs(conversation.tokens - tokens) < 0.01 * tokens


def asked_for(payload: Any) -> int:
    """What the prompt of a request and the most of its answer count."""
    most: int = payload.get("max_completion_tokens") or 0
    return counting.prompt_tokens(payload)[0] + most
