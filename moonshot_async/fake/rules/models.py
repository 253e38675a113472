"""Rules that differ from model to model: thinking, sampling, the choice of tools, and what fits into the window.

See: https://platform.kimi.ai/docs/guide/use-thinking-models
"""

from typing import Final

from moonshot_async.catalog import Model
from moonshot_async.fake.answers import thinks
from moonshot_async.fake.counting import prompt_tokens
from moonshot_async.fake.rules.basics import Payload, RefusedError

# Thinking can be switched off there, but what was thought before cannot be kept.
_WITHOUT_KEEP: Final = frozenset({"kimi-k2.5"})

_RANGES: Final = {
    "temperature": (0, 1),
    "top_p": (0, 1),
    "n": (1, 5),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}


def check_thinking(payload: Payload, model: Model) -> None:
    thinking, effort = payload.get("thinking"), payload.get("reasoning_effort")
    if model.efforts:
        # What K3 does with a thinking object is not documented; it was seen to accept any.
        if effort is not None and effort not in model.efforts:
            raise RefusedError(f"invalid reasoning_effort: only {', '.join(model.efforts)} are allowed for this model")
        return
    if thinking is not None and effort is not None:
        raise RefusedError("cannot specify both 'thinking' and 'reasoning_effort'")
    if effort is not None:
        raise RefusedError("invalid reasoning_effort: it is not supported by this model")
    if thinking is None:
        return
    allowed = {"switchable": ("enabled", "disabled"), "always": ("enabled",)}.get(model.thinking, ("disabled",))
    if thinking.get("type") not in allowed:
        raise RefusedError(f"invalid thinking: only type {' or '.join(allowed)} is allowed for this model")
    if model.id in _WITHOUT_KEEP and "keep" in thinking:
        raise RefusedError("invalid thinking: keep is not supported by this model")
    if thinking.get("keep") not in (None, "all"):
        raise RefusedError("invalid thinking: keep must be 'all' or null")


def check_sampling(payload: Payload, model: Model) -> None:
    fixed = {**model.fixed, **({} if thinks(payload, model) else model.fixed_without_thinking)}
    for name, value in fixed.items():
        if payload.get(name) not in (None, value):
            raise RefusedError(f"invalid {name}: only {value:g} is allowed for this model")
    for name, (low, high) in _RANGES.items():
        if payload.get(name) is not None and not low <= payload[name] <= high:
            raise RefusedError(f"invalid {name}: must be between {low} and {high}")
    for name in ("max_completion_tokens", "max_tokens"):
        if model.max_output_tokens is not None and (payload.get(name) or 0) > model.max_output_tokens:
            raise RefusedError(f"invalid {name}: must be between 1 and {model.max_output_tokens}")


def check_tool_choice(payload: Payload, model: Model) -> None:
    choice = payload.get("tool_choice")
    named = isinstance(choice, dict)
    if not named and choice != "required":
        return
    if thinks(payload, model) and (named or not model.tool_choice_required):
        kind = "specified" if named else "required"
        raise RefusedError(f"tool_choice '{kind}' is incompatible with thinking enabled")
    if choice == "required" and not model.tool_choice_required:
        raise RefusedError("tool_choice 'required' is not supported by this model")


def check_dynamic_tools(payload: Payload, model: Model) -> None:
    """Only the K3 family, which alone knows efforts, loads tools by a message."""
    if not model.efforts and any(message.get("tools") for message in payload["messages"]):
        raise RefusedError("tokenization failed")


def check_reasoning(payload: Payload, model: Model) -> None:
    """A model that thinks wants to see what it thought before it called a tool; an empty text will do."""
    if not thinks(payload, model):
        return
    for place, message in enumerate(payload["messages"]):
        called = message["role"] == "assistant" and message.get("tool_calls")
        if called and message.get("reasoning_content") is None:
            raise RefusedError(
                f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {place}"
            )


def check_window(payload: Payload, model: Model) -> None:
    """The prompt, and what is asked for beside it, must fit. What the model does by default shrinks to what is left."""
    asked = payload.get("max_completion_tokens") or payload.get("max_tokens") or 0
    requested = prompt_tokens(payload)[0] + asked
    if requested > model.context_window:
        raise RefusedError(f"Your request exceeded model token limit: {model.context_window} (requested: {requested})")
