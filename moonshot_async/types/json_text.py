"""JSON from servers: mended where other decoders would accept it, and what it says when it is an error."""

import re
from typing import Any, Final

import msgspec

from moonshot_async.errors import APIError, APIResponseValidationError

_EXCERPT_CHARS: Final = 2000
# Error objects are cut below this depth: copying and pickling recurse.
_ERROR_LEVELS: Final = 32


def error_event(error: object) -> APIError:
    """The exception for an error object that came where an answer was expected, inside a stream or with status 200."""
    body = shallow(error)
    if isinstance(body, dict):
        message = body.get("message")
        text = message if isinstance(message, str) and message else "The server sent an error."
    else:
        text = str(body)
    return APIError(text[:_EXCERPT_CHARS], body=body)


def shallow(tree: Any, levels: int = _ERROR_LEVELS) -> Any:
    """Plain data without what lies deeper than `levels`, so that an error that holds it can be copied and pickled."""
    if isinstance(tree, dict):
        return {name: shallow(value, levels - 1) for name, value in tree.items()} if levels else "…"
    if isinstance(tree, list):
        return [shallow(item, levels - 1) for item in tree] if levels else "…"
    return tree


def parse(data: bytes) -> Any:
    """Decode JSON bytes to plain data, mended where other decoders would accept them.

    Raises:
        APIResponseValidationError: they are not JSON.
    """
    for candidate in (data, _mend(data)):
        try:
            return msgspec.json.decode(candidate)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
    what = "an HTML page" if data.lstrip()[:1] == b"<" else "not valid JSON" if data.strip() else "empty"
    raise APIResponseValidationError(
        body=excerpt(data), message=f"The answer is not what the API documents: it is {what}."
    )


def excerpt(data: bytes) -> str:
    """The beginning of what came, for an error."""
    return data[:_EXCERPT_CHARS].decode("utf-8", "replace")


# A surrogate escape that is not half of a pair. Even runs of backslashes before it are escaped backslashes.
_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _mend(data: bytes) -> bytes:
    """Make JSON of bytes that other decoders accept: no BOM, valid UTF-8, lone surrogates replaced by U+FFFD."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").encode()
    # A whole pair is 12 bytes long and stays.
    return _SURROGATE.sub(lambda m: m[0] if len(m[2]) == 12 else m[1] + b"\\ufffd", text)
