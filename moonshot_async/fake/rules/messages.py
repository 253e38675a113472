"""Rules about the conversation: roles, empty messages, prefixes, and calls with their results.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from moonshot_async.fake.counting import text_of
from moonshot_async.fake.rules import parts
from moonshot_async.fake.rules.basics import Payload, RefusedError

ROLES: Final = ("system", "user", "assistant", "tool")


def check_messages(payload: Payload) -> None:
    """Each message on its own."""
    messages = payload.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError("Invalid request: messages must be a list that is not empty")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            role = message.get("role") if isinstance(message, dict) else None
            raise RefusedError(f"Invalid request: the message at position {place} has an invalid role: {role!r}")
        _fields_are_of_their_kinds(place, message)
        _calls_are_calls(place, message)
        _tools_have_their_place(place, message)
        parts.check_content(place, message)
        if not text_of(message) and not _may_be_empty(message):
            raise RefusedError(f"the message at position {place} with role '{message['role']}' must not be empty")


def check_partial(payload: Payload) -> None:
    """Partial Mode continues the last message, of the assistant."""
    *earlier, last = payload["messages"]
    if any(message.get("partial") for message in earlier) or (last.get("partial") and last["role"] != "assistant"):
        raise RefusedError("Invalid request: partial is only allowed in the last message, of role 'assistant'")
    if not last.get("partial"):
        return
    if (payload.get("response_format") or {}).get("type") == "json_object":
        raise RefusedError("Invalid request: partial cannot be used with response_format json_object")
    if last.get("tool_calls"):
        raise RefusedError("Invalid request: partial cannot be used with tool_calls")


def check_calls(payload: Payload) -> None:
    """Each call has its one result, right after the message that made it."""
    waiting: Counter[str] = Counter()
    answered: set[str] = set()
    for message in payload["messages"]:
        if message["role"] != "tool":
            _nothing_waits(waiting)
            waiting, answered = Counter(_call_ids(message)), set()
            continue
        id = message.get("tool_call_id") or ""
        if id and waiting[id] > 0:
            waiting[id] -= 1
            answered.add(id)
        elif id in answered:
            raise RefusedError(f"Invalid request: tool_call_id {id} has more than one response message")
        else:
            raise RefusedError(f"Invalid request: tool_call_id {id} is not found")
    _nothing_waits(waiting)


def _fields_are_of_their_kinds(place: int, message: Payload) -> None:
    for name in ("tool_calls", "tools"):
        if not isinstance(message.get(name) or [], list):
            raise RefusedError(f"Invalid request: {name} of the message at position {place} must be a list")
    for name in ("name", "reasoning_content", "tool_call_id"):
        if not isinstance(message.get(name) or "", str):
            raise RefusedError(f"Invalid request: {name} of the message at position {place} must be a string")
    if not isinstance(message.get("partial") or False, bool):
        raise RefusedError(f"Invalid request: partial of the message at position {place} must be a boolean")


def _calls_are_calls(place: int, message: Payload) -> None:
    for call in message.get("tool_calls") or ():
        if not _is_call(call):
            raise RefusedError(
                f"Invalid request: tool_calls of the message at position {place} must have an id, a type and a "
                "function with a name and arguments, all of them strings"
            )


def _is_call(call: Any) -> bool:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        return False
    # A name may be empty: models have made such calls, and histories keep them.
    texts = (call.get("id"), call["function"].get("name"), call["function"].get("arguments"))
    return all(isinstance(text, str) for text in texts) and call.get("type") in (None, "function", "builtin_function")


def _tools_have_their_place(place: int, message: Payload) -> None:
    if not message.get("tools"):
        return
    if message["role"] != "system":
        raise RefusedError(
            f"Invalid request: the message at position {place} with role '{message['role']}' cannot have tools"
        )
    if message.get("content"):
        raise RefusedError(f"Invalid request: tools of the message at position {place} cannot be used with content")


def _may_be_empty(message: Payload) -> bool:
    match message["role"]:
        case "assistant":
            named = message.get("partial") and message.get("name")
            return bool(message.get("tool_calls") or message.get("reasoning_content") or named)
        case "system":
            return bool(message.get("tools"))
        case "tool":
            return True
    return False


def _call_ids(message: Payload) -> list[str]:
    return [call["id"] for call in message.get("tool_calls") or ()] if message["role"] == "assistant" else []


def _nothing_waits(waiting: Counter[str]) -> None:
    if missing := list(+waiting):
        raise RefusedError(
            "Invalid request: an assistant message with 'tool_calls' must be followed by tool messages responding to "
            f"each 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(missing)}"
        )
