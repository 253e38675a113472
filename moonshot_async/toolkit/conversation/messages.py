"""Messages as the API takes them: copied, and looked at one by one.

What is refused here the API refuses with a 400, which would come late and name a position in a list of thousands.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any, Final, TypeAlias

import msgspec

from moonshot_async.errors import ConfigurationError, ConversationError
from moonshot_async.types.chat import ChatCompletionMessage
from moonshot_async.types.chat_messages import ContentPart
from moonshot_async.types.encoding import plain, to_json
from moonshot_async.types.model import Model

Message: TypeAlias = dict[str, Any]
Content: TypeAlias = str | Sequence[ContentPart | Mapping[str, Any]]

ROLES: Final = ("system", "user", "assistant", "tool")
MEDIA: Final = {"image_url": "image", "video_url": "video"}
_LONGEST_WORD: Final = 32


def checked_message(message: object) -> Message:
    """A copy of a message, as plain data that nobody else holds.

    Raises:
        ConversationError: the API would refuse it, wherever it stood.
        ConfigurationError: it has no JSON form.
        TypeError: it is no message, or has bytes in it.
    """
    if not isinstance(message, (Mapping, Model)):
        kind = type(message).__name__
        raise TypeError(f"a message is an object such as {{'role': 'user', 'content': 'Hi'}}, not {kind}")
    copied = _copied(message)
    role = copied.get("role")
    if role not in ROLES:
        raise ConversationError(f"the role of a message is one of {', '.join(ROLES)}, not {_shown(role)}")
    for name in ("name", "reasoning_content"):
        if not isinstance(copied.get(name) or "", str):
            raise ConversationError(f"{name} of a message is a text")
    if role != "system" and copied.get("tools"):
        raise ConversationError("only system messages bring tools")
    if role != "assistant" and copied.get("tool_calls"):
        raise ConversationError("only assistant messages have tool_calls")
    _check_content(role, copied)
    _CHECKS[role](copied)
    return copied


def answer_message(message: ChatCompletionMessage, *, thinks: bool) -> Message:
    """The message of a model as it is put back.

    Args:
        message: calls in it that came without an id get one, in the message itself, too.
        thinks: whether the model may want to see that it thought nothing.

    Raises:
        ConversationError: there is nothing in it.
    """
    taken = {call.id for call in message.tool_calls or ()}
    for place, call in enumerate(message.tool_calls or ()):
        if not call.id:
            call.id = next(id for number in count(place) if (id := f"call_{number}") not in taken)
            taken.add(call.id)
    copied = checked_message({**message.to_param(), "role": "assistant"})
    return with_reasoning(copied) if thinks else copied


def with_reasoning(message: Message) -> Message:
    """A message of a model that thinks: beside calls the API wants its reasoning, and takes an empty one."""
    if message.get("tool_calls") and message.get("reasoning_content") is None and not message.get("reasoning"):
        message["reasoning_content"] = ""
    return message


def media_of(message: Message) -> frozenset[str]:
    """What a message holds beside text: "image", "video"."""
    content = message.get("content")
    if not isinstance(content, list):
        return frozenset()
    return frozenset(MEDIA[part["type"]] for part in content if part["type"] in MEDIA)


def check_names(*tools: Iterable[Any]) -> None:
    """Refuse two tools of one name, whether requests bring them or system messages.

    Raises:
        ConversationError: there are two.
    """
    seen: set[str] = set()
    for tool in chain.from_iterable(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name in seen:
            raise ConversationError(f"two tools are called {name[:64]!r}: give one of them another name")
        if isinstance(name, str):
            seen.add(name)


def without_urls(message: Message) -> Message:
    """A message without the URLs of its media, which may hold megabytes."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [{"type": part["type"]} if _is_media(part) else part for part in content]}


def _copied(message: Mapping[str, Any] | Model) -> Message:
    try:
        given: Message = plain(message)
    except RecursionError:
        given = {}
    if not given:
        raise ConfigurationError("a message has a role and content, and does not contain itself")
    copied: Message = msgspec.json.decode(to_json(without_urls(given)))
    if isinstance(copied.get("content"), list):
        copied["content"] = [
            whole if _is_media(whole) else part for part, whole in zip(copied["content"], given["content"], strict=True)
        ]
    return copied


def _is_media(part: object) -> bool:
    return isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind in MEDIA


def _check_content(role: str, message: Message) -> None:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise ConversationError(f"content is text or a list of parts, not {type(content).__name__}")
    if not content:
        raise ConversationError(f"the list of parts of a {role} message is empty")
    for place, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            if not isinstance(part.get("text"), str) or not part["text"]:
                raise ConversationError(f"content[{place}] is a text part without text: leave it out")
        elif _is_media(part):
            url = part.get(kind)
            url = url.get("url") if isinstance(url, dict) else url
            if not isinstance(url, str) or not url:
                raise ConversationError(f"content[{place}] has no URL: make parts with moonshot_async.toolkit.media")
        else:
            raise ConversationError(
                f"content[{place}] is of the type {_shown(kind)}: there are text, image_url and video_url"
            )


def _check_system(message: Message) -> None:
    tools = message.get("tools")
    if tools is not None and (not isinstance(tools, list) or not tools):
        raise ConversationError("tools of a system message are a list that is not empty")
    if tools and message.get("content"):
        raise ConversationError("a system message has content or tools, not both: add two messages")
    if not tools and not message.get("content"):
        raise ConversationError("a system message must not be empty: leave it out")


def _check_user(message: Message) -> None:
    if not message.get("content"):
        raise ConversationError("a user message must not be empty")


def _check_assistant(message: Message) -> None:
    if message.pop("partial", None):
        raise ConversationError(
            "a conversation holds whole answers only: an answer that is begun with partial is for create(); see "
            "moonshot_async.toolkit.partial_mode"
        )
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise ConversationError("tool_calls are a list")
    for place, call in enumerate(calls or ()):
        _check_call(place, call)
    if not calls:
        message.pop("tool_calls", None)
    if not message.get("content"):
        # The API itself sends `""` beside tool calls and refuses it when it is sent back.
        message.pop("content", None)
    thought = message.get("reasoning_content") or message.get("reasoning")
    if not (message.get("content") or calls or thought):
        raise ConversationError("an assistant message needs content, tool calls or reasoning")


def _check_call(place: int, call: Any) -> None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not all(isinstance(function.get(name), str) for name in ("name", "arguments")):
        raise ConversationError(f"tool_calls[{place}] has no function with a name and arguments as text")
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise ConversationError(f"tool_calls[{place}] has no id, by which it could be answered")
    if call.get("type") is None:
        call["type"] = "function"
    elif not isinstance(call["type"], str):
        raise ConversationError(f"the type of tool_calls[{place}] is a text, such as 'function'")


def _check_tool(message: Message) -> None:
    if not isinstance(message.get("tool_call_id"), str) or not message["tool_call_id"]:
        raise ConversationError("the answer of a tool names the call: tool_call_id is the id of the call")
    if message.get("content") is None:
        raise ConversationError("the answer of a tool has a text as content; it may be empty")


def _shown(value: object) -> str:
    """A word of the API, or what else it is: not a text that may be long, or a prompt."""
    known = isinstance(value, str) and value.isidentifier() and len(value) <= _LONGEST_WORD
    return repr(value) if known else f"a value of type {type(value).__name__}"


_CHECKS: Final = {"system": _check_system, "user": _check_user, "assistant": _check_assistant, "tool": _check_tool}
