"""Rules about single parameters, whatever the model."""

from collections.abc import Iterable
from typing import Any, Final

from moonshot_async.fake.rules.basics import Payload, RefusedError, check_schema, expect

MAX_STOPS: Final = 5
MAX_STOP_BYTES: Final = 32
MAX_TOP_LOGPROBS: Final = 20

_KINDS: Final[tuple[tuple[str, type | tuple[type, ...], str], ...]] = (
    *((name, bool, "a boolean") for name in ("stream", "logprobs")),
    *(
        (name, dict, "an object")
        for name in ("stream_options", "thinking", "prompt_cache_options", "prediction", "response_format")
    ),
    *((name, int, "an integer") for name in ("max_completion_tokens", "max_tokens", "n", "top_logprobs")),
    *((name, (int, float), "a number") for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")),
    *((name, str, "a string") for name in ("prompt_cache_key", "safety_identifier", "reasoning_effort")),
)
_POSITIVE: Final = ("max_completion_tokens", "max_tokens", "n")


def check_model_is_named(payload: Payload) -> None:
    if not isinstance(payload.get("model"), str) or not payload["model"]:
        raise RefusedError("Invalid request: model is required and must be a string")


def check_kinds(payload: Payload) -> None:
    for name, kinds, text in _KINDS:
        expect(payload, name, kinds, text)
    for name in _POSITIVE:
        if payload.get(name) is not None and payload[name] < 1:
            raise RefusedError(f"Invalid request: {name} must be positive")
    expect(payload.get("stream_options") or {}, "include_usage", bool, "a boolean")


def check_stop(payload: Payload) -> None:
    stop = payload.get("stop")
    if stop is None:
        return
    stops: list[Any] = stop if isinstance(stop, list) else [stop]
    if not all(isinstance(one, str) for one in stops):
        raise RefusedError("Invalid request: stop must be a string or a list of strings")
    if len(stops) > MAX_STOPS:
        raise RefusedError(f"Invalid request: stop must not hold more than {MAX_STOPS} strings")
    for one in stops:
        if not one:
            raise RefusedError("Invalid request: stop must not hold an empty string")
        if len(one.encode()) > MAX_STOP_BYTES:
            raise RefusedError(f"Invalid request: each string of stop must not exceed {MAX_STOP_BYTES} bytes")


def check_logprobs(payload: Payload) -> None:
    top = payload.get("top_logprobs")
    if top is None:
        return
    if not 0 <= top <= MAX_TOP_LOGPROBS:
        raise RefusedError(f"Invalid request: top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")
    if not payload.get("logprobs"):
        raise RefusedError("Invalid request: logprobs must be true when top_logprobs is used")


def check_caching(payload: Payload) -> None:
    options = payload.get("prompt_cache_options") or {}
    _one_of(options, "mode", ("implicit",), "prompt_cache_options")
    _one_of(options, "ttl", ("5m", "1h"), "prompt_cache_options")


def check_prediction(payload: Payload) -> None:
    prediction = payload.get("prediction")
    if prediction is None:
        return
    if prediction.get("type") != "content":
        raise RefusedError(f"Invalid request: unsupported prediction type: {prediction.get('type')!r}")
    content = prediction.get("content")
    if not isinstance(content, str) and not (isinstance(content, list) and all(map(_is_text, content))):
        raise RefusedError("Invalid request: prediction.content must be a string or a list of text parts")


def check_response_format(payload: Payload) -> None:
    form = payload.get("response_format")
    if form is None:
        return
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
    strict = described.get("strict", True)
    if not isinstance(strict, bool):
        raise RefusedError("Invalid request: response_format.json_schema.strict must be a boolean")
    if strict:
        # Without it the answer is any JSON object, so that the schema is a hint and not judged.
        name = "response_format.json_schema"
        check_schema(described["schema"], name, f"{name}.schema")


def _one_of(options: Payload, name: str, allowed: Iterable[str], where: str) -> None:
    if options.get(name) not in (None, *allowed):
        raise RefusedError(f"Invalid request: {where}.{name} must be one of {', '.join(allowed)}")


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
