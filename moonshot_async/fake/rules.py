"""What the API refuses: bodies of the wrong shape, and parameters that a model does not take.

Each check is a function of the decoded body and the model that raises `RefusedError` with the text of the service,
where it is known. A new rule is one function in `_SHAPE_CHECKS` (any model) or `_MODEL_CHECKS` (given the model).

See: https://platform.kimi.ai/docs/api/errors
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from moonshot_async.catalog import Catalog, Model
from moonshot_async.fake.answers import text_of, thinks

ROLES: Final = ("system", "user", "assistant", "tool")
PART_TYPES: Final = ("text", "image_url", "video_url")

Payload = Mapping[str, Any]


class RefusedError(Exception):
    """An error answer with its status, type and message."""

    def __init__(self, message: str, *, status: int = 400, type: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type


def check_chat(payload: Any, catalog: Catalog, *, legacy_models: bool) -> Model:
    """Check a decoded chat request and return the model that it names.

    Raises:
        RefusedError: the service would not answer this.
    """
    if not isinstance(payload, dict):
        raise RefusedError("Invalid request: the body must be a JSON object")
    for check in _SHAPE_CHECKS:
        check(payload)
    model = find_model(payload["model"], catalog, legacy_models=legacy_models)
    for check_model in _MODEL_CHECKS:
        check_model(payload, model)
    return model


def find_model(id: str, catalog: Catalog, *, legacy_models: bool) -> Model:
    """Look up a model that the service serves."""
    model = catalog.get(id)
    if model is None or (catalog.retired_on(id) and not legacy_models):
        raise RefusedError(
            f"Not found the model {id} or Permission denied", status=404, type="resource_not_found_error"
        )
    return model


def _model_is_named(payload: Payload) -> None:
    if not isinstance(payload.get("model"), str) or not payload["model"]:
        raise RefusedError("Invalid request: model is required and must be a string")


def _flags_are_flags(payload: Payload) -> None:
    _expect(payload, "stream", bool, "a boolean")
    _expect(payload, "stream_options", dict, "an object")
    _expect(payload, "thinking", dict, "an object")
    for name in ("max_completion_tokens", "max_tokens", "n"):
        _expect(payload, name, int, "an integer")
        if payload.get(name) is not None and payload[name] < 1:
            raise RefusedError(f"Invalid request: {name} must be positive")
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        _expect(payload, name, (int, float), "a number")
    stop = payload.get("stop")
    if not all(isinstance(one, str) for one in (stop if isinstance(stop, list) else [stop or ""])):
        raise RefusedError("Invalid request: stop must be a string or a list of strings")


def _expect(payload: Payload, name: str, kinds: type | tuple[type, ...], text: str) -> None:
    value = payload.get(name)
    if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
        raise RefusedError(f"Invalid request: {name} must be {text}")


def _messages_are_messages(payload: Payload) -> None:
    messages = payload.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError("Invalid request: messages must be a list that is not empty")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            role = message.get("role") if isinstance(message, dict) else None
            raise RefusedError(f"Invalid request: the message at position {place} has an invalid role: {role!r}")
        _lists_are_lists(place, message)
        _content_is_content(place, message)
        if message.get("partial") and (place != len(messages) - 1 or message["role"] != "assistant"):
            raise RefusedError("Invalid request: partial is only allowed in the last message, of role 'assistant'")


def _lists_are_lists(place: int, message: Payload) -> None:
    for name in ("tool_calls", "tools"):
        if not isinstance(message.get(name) or [], list):
            raise RefusedError(f"Invalid request: {name} of the message at position {place} must be a list")
    for name in ("name", "reasoning_content", "tool_call_id"):
        if not isinstance(message.get(name) or "", str):
            raise RefusedError(f"Invalid request: {name} of the message at position {place} must be a string")


def _content_is_content(place: int, message: Payload) -> None:
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in PART_TYPES:
                raise RefusedError(
                    f"Invalid request: the message at position {place} contains an invalid part type: {kind}"
                )
            if kind == "text" and not (isinstance(part.get("text"), str) and part["text"]):
                raise RefusedError("Invalid request: text content is empty")
    elif content is not None and not isinstance(content, str):
        raise RefusedError(
            f"Invalid request: the content of the message at position {place} must be a string or a list"
        )
    if not text_of(message) and not _may_be_empty(message):
        raise RefusedError(f"the message at position {place} with role '{message['role']}' must not be empty")


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


def _tools_are_tools(payload: Payload) -> None:
    _expect(payload, "tools", list, "a list")
    messages: list[Payload] = payload["messages"]
    for tool in [*(payload.get("tools") or ()), *(one for message in messages for one in message.get("tools") or ())]:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise RefusedError("Invalid request: tools must have a function with a name")
        if tool.get("type") not in ("function", "builtin_function"):
            raise RefusedError(f"Invalid request: unsupported tool type: {tool.get('type')!r}")


def _tool_choice_is_a_choice(payload: Payload) -> None:
    choice = payload.get("tool_choice")
    if isinstance(choice, dict):
        function = choice.get("function")
        names = [tool["function"]["name"] for tool in payload.get("tools") or ()]
        if not isinstance(function, dict) or function.get("name") not in names:
            raise RefusedError("Invalid request: tool_choice names no function of tools")
    elif choice not in (None, "auto", "none", "required"):
        raise RefusedError(f"Invalid request: unsupported tool_choice: {choice!r}")


def _response_format_is_a_format(payload: Payload) -> None:
    _expect(payload, "response_format", dict, "an object")
    form = payload.get("response_format") or {"type": "text"}
    if form.get("type") not in ("text", "json_object", "json_schema"):
        raise RefusedError(f"Invalid request: unsupported response_format type: {form.get('type')!r}")
    if form["type"] != "json_schema":
        return
    described = form.get("json_schema")
    if not isinstance(described, dict):
        raise RefusedError("Invalid request: response_format.json_schema is required")
    if not isinstance(described.get("name"), str) or not described["name"]:
        raise RefusedError("Invalid request: response_format.json_schema.name is required")
    if not isinstance(described.get("schema"), dict):
        raise RefusedError("Invalid request: response_format.json_schema.schema must be an object")
    if not isinstance(described.get("strict", True), bool):
        raise RefusedError("Invalid request: response_format.json_schema.strict must be a boolean")


def _sampling_is_allowed(payload: Payload, model: Model) -> None:
    fixed = {**model.fixed, **({} if thinks(payload, model) else model.fixed_without_thinking)}
    for name, value in fixed.items():
        if payload.get(name) not in (None, value):
            raise RefusedError(f"invalid {name}: only {value:g} is allowed for this model")
    ranges = {"temperature": (0, 1), "top_p": (0, 1), "n": (1, 5)}
    ranges |= dict.fromkeys(("presence_penalty", "frequency_penalty"), (-2, 2))
    for name, (low, high) in ranges.items():
        if not low <= (low if payload.get(name) is None else payload[name]) <= high:
            raise RefusedError(f"invalid {name}: must be between {low} and {high}")


def _thinking_is_allowed(payload: Payload, model: Model) -> None:
    thinking = payload.get("thinking")
    if payload.get("reasoning_effort") is not None and model.efforts:
        if payload["reasoning_effort"] not in model.efforts:
            raise RefusedError(f"invalid reasoning_effort: only {', '.join(model.efforts)} are allowed for this model")
        return
    # What K3 does with a thinking object is not documented; it was seen to accept one.
    if thinking is None or model.efforts:
        return
    if payload.get("reasoning_effort") is not None:
        raise RefusedError("cannot specify both 'thinking' and 'reasoning_effort'")
    allowed = {"switchable": ("enabled", "disabled"), "always": ("enabled",)}.get(model.thinking, ("disabled",))
    if thinking.get("type") not in allowed:
        raise RefusedError(f"invalid thinking: only type {' or '.join(allowed)} is allowed for this model")
    if thinking.get("keep") not in (None, "all"):
        raise RefusedError("invalid thinking: keep must be 'all' or null")


def _tool_choice_is_allowed(payload: Payload, model: Model) -> None:
    choice = payload.get("tool_choice")
    named = isinstance(choice, dict)
    if not named and choice != "required":
        return
    if choice == "required" and not payload.get("tools"):
        raise RefusedError("Invalid request: tool_choice 'required' needs tools")
    if thinks(payload, model) and (named or not model.tool_choice_required):
        kind = "specified" if named else "required"
        raise RefusedError(f"tool_choice '{kind}' is incompatible with thinking enabled")
    if choice == "required" and not model.tool_choice_required:
        raise RefusedError("tool_choice 'required' is not supported by this model")


_SHAPE_CHECKS: Final[tuple[Callable[[Payload], None], ...]] = (
    _model_is_named,
    _flags_are_flags,
    _messages_are_messages,
    _tools_are_tools,
    _tool_choice_is_a_choice,
    _response_format_is_a_format,
)
_MODEL_CHECKS: Final[tuple[Callable[[Payload, Model], None], ...]] = (
    _thinking_is_allowed,
    _sampling_is_allowed,
    _tool_choice_is_allowed,
)
