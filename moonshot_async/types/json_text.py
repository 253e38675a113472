"""JSON from servers: mended where other decoders would accept it, and what it says when it is an error."""

import re
from itertools import takewhile
from typing import Any, Final

import msgspec

from moonshot_async.errors import APIError, APIResponseValidationError

_EXCERPT_CHARS: Final = 2000
# Error objects are cut below this depth: copying and pickling recurse.
_ERROR_LEVELS: Final = 32
# And behind so many characters and values, which have to be searched for secrets.
_ERROR_SIZE: Final = 64 * 1024


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
    """Plain data without what lies deeper than `levels`, so that an error that holds it can be copied and pickled.

    Of data with more than 64 Ki characters and values only the beginning is kept.
    """
    return _cut(tree, levels, [_ERROR_SIZE])


def _cut(tree: Any, levels: int, left: list[int]) -> Any:
    """Take from `left` what the data has, and end with it."""
    left[0] -= 1
    if isinstance(tree, str):
        kept = tree[: max(0, left[0])]
        left[0] -= len(kept)
        return kept if len(kept) == len(tree) else kept + "…"
    if not isinstance(tree, (dict, list)):
        return tree
    if not levels:
        return "…"
    if isinstance(tree, list):
        return [_cut(item, levels - 1, left) for item in takewhile(lambda _: left[0] > 0, tree)]
    items = takewhile(lambda _: left[0] > 0, tree.items())
    return {_cut(name, levels, left): _cut(value, levels - 1, left) for name, value in items}


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
    if b"\\ud" not in text and b"\\uD" not in text:
        # The search below takes 40 ns a byte, in one go.
        return text
    # A whole pair is 12 bytes long and stays.
    return _SURROGATE.sub(lambda m: m[0] if len(m[2]) == 12 else m[1] + b"\\ufffd", text)
