"""The result of a tool as the text that a model is told."""

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moonshot_async.types.encoding import plain

# The API takes no empty messages, and a model takes a bare `null` for a failure.
_NOTHING: Final = "Done. The function returned no value (null)."
_EMPTY: Final = '""'


def result_text(value: Any, tool: str, max_chars: int | None) -> str:
    """Say a result: texts as they are, `None` in a sentence, everything else as JSON.

    Args:
        value: what the function returned.
        tool: the name of the tool, for messages.
        max_chars: how much of it is told; None for all.

    Raises:
        TypeError: it has no form as JSON: bytes, an open file, whatever msgspec and pydantic do not know.
    """
    text = value if isinstance(value, str) else _NOTHING if value is None else _json(value, tool)
    text = sendable(text) or _EMPTY
    if max_chars is None or len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}\n[Cut: these are the first {max_chars} of {len(text)} characters of the result.]"


def sendable(text: str) -> str:
    """A text that can be sent: halves of surrogate pairs, which UTF-8 does not have, are replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return str.__str__(text)  # of an enum whose values are texts, the value


def _json(value: Any, tool: str) -> str:
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError("bytes are no text: decode them, or say what they are")
        return msgspec.json.encode(plain(value), enc_hook=_known).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    raise TypeError(
        f"The result of the tool {tool}, of type {type(value).__name__}, cannot be told to a model: {problem}"
    )


def _known(value: Any) -> Any:
    """What msgspec does not know, and what it is as JSON is plain."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")  # pydantic's
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no form as JSON; return a text, plain data, a struct or a dataclass")
