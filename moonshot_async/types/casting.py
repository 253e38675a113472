"""Decoders for types that callers name themselves."""

from typing import Any, Final

from moonshot_async.errors import APIResponseValidationError
from moonshot_async.types.json_text import error_event, excerpt, parse
from moonshot_async.types.model import Decode, Model, ModelDecoder

_ANYTHING: Final = (Any, object)
_NOTHING: Final = (None, type(None))
_RESPONSE_HOMES: Final = ("httpx", "httpx2", "moonshot_async")


def decoder_of(cls: Any) -> Decode[Any]:
    """The decoder for a type: any that msgspec knows, our own structs, or a pydantic model.

    `Any` and `object` mean whatever JSON there is, `str` and `bytes` the body as it came, `type(None)` nothing of it.
    pydantic need not be installed: its models are known by what they can do.
    """
    if cls is str:
        return _Whole(str)
    if cls is bytes:
        return _Whole(bytes)
    if cls in _NOTHING:
        return _Whole(type(None))
    if cls in _ANYTHING:
        return ModelDecoder(Any)
    if isinstance(cls, type) and not issubclass(cls, Model) and callable(getattr(cls, "model_validate_json", None)):
        return _Pydantic(cls)
    return ModelDecoder(cls)


def is_response_type(cls: Any) -> bool:
    """Whether a type to decode to means the response itself: our `Response`, or the one of httpx."""
    return isinstance(cls, type) and cls.__name__ == "Response" and cls.__module__.partition(".")[0] in _RESPONSE_HOMES


class _Whole:
    """The body as it came."""

    # It need not be JSON.
    takes_anything = True

    def __init__(self, cls: type) -> None:
        self.cls: Any = cls

    def __call__(self, data: bytes, /) -> Any:
        if self.cls is bytes:
            return data
        return data.decode("utf-8", "replace") if self.cls is str else None


class _Pydantic:
    """A pydantic model of the caller, with its own rules."""

    def __init__(self, cls: Any) -> None:
        self.cls: Any = cls

    def __call__(self, data: bytes, /) -> Any:
        try:
            return self.cls.model_validate_json(data)
        except ValueError as error:
            reason = _reason(error)
        tree = parse(data)
        if isinstance(tree, dict) and tree.get("error"):
            raise error_event(tree["error"])
        raise APIResponseValidationError(body=excerpt(data), message=f"The answer is no {self.cls.__name__}: {reason}.")


def _reason(error: ValueError) -> str:
    """What is wrong first, without the value that is."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return type(error).__name__
    first = errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{first['msg']} - at `{place}`" if place else str(first["msg"])
