"""What Partial Mode is made of: the message that an answer goes on from, and the joining of both parts.

For users it stands in `toolkit.partial_mode`; streams that survive a cut use it, too.

See: https://platform.kimi.ai/docs/guide/use-partial-mode-feature-of-kimi-api
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from moonshot_async.errors import APIError, ConfigurationError
from moonshot_async.types.chat import ChatCompletion, ChatCompletionMessage, Choice, Logprobs, Usage
from moonshot_async.types.chat_params import MessageParam

Cut: TypeAlias = ChatCompletion | ChatCompletionMessage | APIError
"""An answer that is not whole: cut by `length`, or what arrived before an error (`error.partial`)."""


def prefix(content: str = "", *, name: str | None = None, reasoning_content: str | None = None) -> MessageParam:
    """The beginning of an answer, for the end of `messages`.

    Args:
        content: what the answer begins with; spaces at its end count.
        name: who speaks; part of what the model goes on from.
        reasoning_content: what the model thought before, for models that think.

    Raises:
        ConfigurationError: nothing is given to go on from.
    """
    if not (content or name or reasoning_content):
        raise ConfigurationError("a prefix needs content, a name or reasoning: an empty one is no Partial Mode")
    message: MessageParam = {"role": "assistant", "content": content, "partial": True}
    if name is not None:
        message["name"] = name
    if reasoning_content is not None:
        message["reasoning_content"] = reasoning_content
    return message


def continue_from(cut: Cut, *, name: str | None = None, choice: int = 0) -> MessageParam:
    """The message that lets the model go on with an answer that was cut; text and reasoning so far are in it.

    Args:
        cut: the answer, or the `StreamInterruptedError` that holds it.
        name: what `prefix` was given, if the answer was begun by one.
        choice: which one, where there are several.

    Raises:
        ConfigurationError: the answer is whole, nothing of it arrived, or tool calls are in it: they cannot be
            continued.
    """
    begun = _choice(cut, choice)
    if begun.finish_reason not in (None, "length"):
        raise ConfigurationError(
            f"the answer ended with {begun.finish_reason!r}: only one cut by 'length', or broken off, can be continued"
        )
    message = _continuable(begun.message)
    if not (message.content or message.reasoning_content or message.reasoning):
        raise ConfigurationError("nothing of the answer arrived: send the request again instead of continuing it")
    speaker = message.name if name is None else name
    named = {} if speaker is None else {"name": speaker}
    return cast("MessageParam", {"content": "", **message.to_param(), **named, "partial": True})


def join(begun: Cut | Mapping[str, Any], answer: ChatCompletion, *, choice: int = 0) -> ChatCompletion:
    """The whole answer: what was begun, and what the model added to it.

    Args:
        begun: the message from `prefix` or `continue_from`, or the answer that was cut. Only an answer has a usage:
            with it the result's `usage` is that of both calls.
        answer: to the request that ended with the message.
        choice: which one of `begun`, where there are several.

    Returns:
        A copy of `answer` with one choice: its text and its reasoning begin with those of `begun`.

    Raises:
        ConfigurationError: `begun` is empty or has tool calls in it, or `answer` has no choices.
    """
    if not answer.choices:
        raise ConfigurationError("the answer has no choices to join with")
    first = _choice(begun, choice)
    added = answer.choices[0]
    whole = answer.model_copy()
    whole.usage = summed([_usage(begun), answer.usage])
    joined = added.model_copy()
    joined.message = _joined(_continuable(first.message), added.message)
    joined.logprobs = _logprobs(first.logprobs, added.logprobs)
    whole.choices = [joined]
    return whole


def extended(begun: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The prefix `begun`, to which the model has added the message `more`: one message to go on from.

    All that the model said is appended; who speaks stays who it was.
    """
    whole = {**more, **begun, "content": _text_after(begun.get("content"), more.get("content") or "")}
    for name in ("reasoning_content", "reasoning"):
        if more.get(name):
            whole[name] = (begun.get(name) or "") + more[name]
    return whole


def summed(usages: Iterable[Usage | None]) -> Usage | None:
    """The usage of several calls together, as far as it is known; None where none is."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < 2:
        return known[0] if known else None
    total: dict[str, Any] = {}
    for usage in known:
        total = _added(total, usage.model_dump(exclude_none=True))
    return Usage.model_validate(total)


def _choice(begun: Cut | Mapping[str, Any], choice: int) -> Choice:
    if isinstance(begun, APIError):
        if begun.partial is None:
            raise ConfigurationError("nothing of the answer arrived: send the request again instead of continuing it")
        begun = begun.partial
    if isinstance(begun, ChatCompletion):
        found = next((c for c in begun.choices if c.index == choice), None)
        if found is None:
            raise ConfigurationError(f"the answer has no choice {choice}")
        return found
    if isinstance(begun, Mapping):
        if not isinstance(begun.get("content") or "", str):
            raise ConfigurationError("the content of a prefix must be text, not a list of parts")
        fields = {name: value for name, value in begun.items() if name != "partial"}
        begun = ChatCompletionMessage.model_validate(fields)
    return Choice(message=begun)


def _continuable(message: ChatCompletionMessage) -> ChatCompletionMessage:
    if message.tool_calls or message.function_call:
        raise ConfigurationError(
            "tool calls are in the answer, and those cannot be continued: ask again, with more max_completion_tokens"
        )
    return message


def _usage(begun: Cut | Mapping[str, Any]) -> Usage | None:
    if isinstance(begun, APIError):
        return None if begun.partial is None else begun.partial.usage
    return begun.usage if isinstance(begun, ChatCompletion) else None


def _joined(begun: ChatCompletionMessage, added: ChatCompletionMessage) -> ChatCompletionMessage:
    message = added.model_copy()
    message.content = _texts(begun.content, added.content)
    message.reasoning_content = _texts(begun.reasoning_content, added.reasoning_content)
    message.reasoning = _texts(begun.reasoning, added.reasoning)
    message.name = begun.name if added.name is None else added.name
    return message


def _texts(begun: str | None, added: str | None) -> str | None:
    return added if begun is None else begun + (added or "")


def _text_after(begun: Any, more: str) -> Any:
    """The content of a prefix, as text or in parts, with a text appended."""
    if not isinstance(begun, (list, tuple)):
        return (begun or "") + more
    *parts, last = begun or ({"type": "text", "text": ""},)
    if isinstance(last, Mapping) and isinstance(last.get("text"), str):
        return [*parts, {**last, "text": last["text"] + more}]
    return [*begun, {"type": "text", "text": more}]


def _logprobs(begun: Logprobs | None, added: Logprobs | None) -> Logprobs | None:
    """Those of both parts; None where one part has none, since positions would not fit the text."""
    if begun is None or added is None:
        return None
    return Logprobs(content=[*(begun.content or []), *(added.content or [])])


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    total = {**one, **other}
    for name in one.keys() & other.keys():
        if isinstance(one[name], dict) and isinstance(other[name], dict):
            total[name] = _added(one[name], other[name])
        elif isinstance(one[name], (int, float)) and isinstance(other[name], (int, float)):
            total[name] = one[name] + other[name]
    return total
