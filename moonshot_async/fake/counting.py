"""How many tokens a prompt has, as far as that can be told without the vendor's tokenizer.

What counts is the size of the JSON, but for media, which count by their pixels, and for the results of a web search,
which the service puts into the prompt by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from moonshot_async.fake import brain, media

WEB_SEARCH: Final = "$web_search"

_MEDIA: Final = ("image_url", "video_url")
# The cache keeps no prefix that is shorter.
_CACHE_FROM: Final = 256
# No search finds more than fits into a window.
_MOST_FOUND: Final = 1_000_000


def prompt_tokens(payload: Mapping[str, Any]) -> tuple[int, int]:
    """Estimate the tokens of the prompt, and how many of them the prefix cache holds.

    Whatever comes before the last answer of the model was sent once already.

    Args:
        payload: a body whose messages are in order (`rules.messages.check_messages`).
    """
    messages: Sequence[Mapping[str, Any]] = payload["messages"]
    extra = sum(_size(payload[name]) for name in ("tools", "response_format") if payload.get(name))
    searches = _search_ids(messages)
    sizes = [_message_tokens(message, searches) for message in messages]
    last = max((place for place, message in enumerate(messages) if message.get("role") == "assistant"), default=0)
    seen = extra + sum(sizes[:last]) if last else 0
    return max(1, extra + sum(sizes)), seen if seen > _CACHE_FROM else 0


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, its parts joined; media leave a mark."""
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    return " ".join(part["text"] if part.get("type") == "text" else f"[{part.get('type')}]" for part in content)


def search_of(message: Mapping[str, Any]) -> tuple[str, int] | None:
    """What a message that echoes the arguments of a web search refers to: the id of the search, and its tokens."""
    try:
        echoed = msgspec.json.decode(text_of(message))
        found, tokens = str(echoed["search_result"]["search_id"]), echoed["usage"]["total_tokens"]
    except (msgspec.DecodeError, LookupError, TypeError, RecursionError):
        return None
    return (found, max(0, min(tokens, _MOST_FOUND))) if isinstance(tokens, int) else None


def _message_tokens(message: Mapping[str, Any], searches: frozenset[str]) -> int:
    content, seen = message.get("content"), 0
    if isinstance(content, list):
        seen = sum(media.tokens_of(part) for part in content if part.get("type") in _MEDIA)
        message = {**message, "content": [part for part in content if part.get("type") not in _MEDIA]}
    elif searches and message.get("tool_call_id") in searches:
        echo = search_of(message)
        seen = 0 if echo is None else echo[1]
    return _size(message) + seen


def _search_ids(messages: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The ids of all calls of the builtin web search."""
    calls = (call for message in messages for call in message.get("tool_calls") or ())
    return frozenset(call["id"] for call in calls if call["function"]["name"] == WEB_SEARCH)


def _size(value: Any) -> int:
    return -(-len(msgspec.json.encode(value)) // brain.BYTES_PER_TOKEN)
