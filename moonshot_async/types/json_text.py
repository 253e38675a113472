"""JSON from servers: mended where other decoders would accept it, and what it says when it is an error."""

import re
from collections.abc import Callable
from itertools import accumulate, takewhile
from typing import Any, Final, TypeVar

import msgspec

from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds
from moonshot_async.errors import APIError, APIResponseValidationError, ResponseTooLargeError

T = TypeVar("T")

_EXCERPT_CHARS: Final = 2000
_DEPTH_BLOCK: Final = 64 * 1024
# An opening bracket is a step down, a closing one a step up; beside them only quotes say where a bracket is none.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
_UP: Final = b"\1"
# Small beside the levels that are allowed, so that few strides can lead above them.
_STRIDE: Final = 128
_NO_STRUCTURE: Final = bytes(set(range(256)) - set(b'[]{}"'))
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
        ResponseTooLargeError: they are nested deeper than can be followed.
        APIResponseValidationError: they are not JSON.
    """
    deep = False
    # Mended only if it has to be: of a large answer that is another copy, or two.
    for mend in (bytes, _mend):
        try:
            return msgspec.json.decode(mend(data))
        except (msgspec.DecodeError, ValueError):
            continue
        except RecursionError:
            deep = True
    if deep:
        raise _unreadable(data)
    what = "an HTML page" if data.lstrip()[:1] == b"<" else "not valid JSON" if data.strip() else "empty"
    raise APIResponseValidationError(
        body=excerpt(data), message=f"The answer is not what the API documents: it is {what}."
    )


def _unreadable(data: bytes) -> ResponseTooLargeError:
    message = "The answer is not what the API documents: it is nested deeper than can be read."
    error = ResponseTooLargeError(DEFAULT_BOUNDS.max_depth, bound="max_depth", message=message)
    error.body = excerpt(data)
    return error


def check_depth(data: bytes, decode: Any, bounds: Bounds) -> None:
    """Look how deep JSON is nested before something decodes it.

    Raises:
        ResponseTooLargeError: it is deeper than the bound.
    """
    if not getattr(decode, "takes_anything", False) and too_deep(data, bounds.max_depth):
        raise bounds.passed("max_depth")


def decode_within(data: bytes, decode: Callable[[bytes], T], bounds: Bounds) -> T:
    """Decode JSON that is not nested deeper than the bound.

    Raises:
        ResponseTooLargeError: it is deeper.
    """
    if not getattr(decode, "takes_anything", False) and not _few_brackets(data, bounds.max_depth):
        within: Callable[[bytes, Bounds], T] | None = getattr(decode, "within", None)
        if within is not None:
            return within(data, bounds)
        check_depth(data, decode, bounds)
    return decode(data)


def too_deep(data: bytes, levels: int) -> bool:
    """Whether JSON is nested deeper than `levels`. Where it has few brackets, texts included, that is told at once.

    What is no JSON is answered somehow. The event loop waits: about 0.1 ns for a byte of text, 1.5 ns where there are
    many brackets.
    """
    if _few_brackets(data, levels):
        return False
    depth = start = quoted = 0
    while start < len(data):
        block = data[start : start + _DEPTH_BLOCK]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:
            # What an escape escapes belongs to it.
            block = data[start : start + _DEPTH_BLOCK + 1]
        start += len(block)
        parts = block.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_STEPS, _NO_STRUCTURE).split(b'"')
        steps = b"".join(parts[quoted::2])
        quoted ^= (len(parts) - 1) % 2
        for at in range(0, len(steps), _STRIDE):
            stride = steps[at : at + _STRIDE]
            # Walked only where the way up alone is too long: a step costs 60 ns, to count it 0.5.
            up = stride.count(_UP)
            if depth + up > levels and max(accumulate(memoryview(stride).cast("b"), initial=depth)) > levels:
                return True
            depth += 2 * up - len(stride)
    return False


def _few_brackets(data: bytes, levels: int) -> bool:
    """Whether JSON has not more brackets that open than it may have levels. To count all of them takes five times as
    long, when there are none: what is looked for here stops at the last.
    """
    left = levels
    for bracket in (b"{", b"["):
        place = data.find(bracket)
        while place >= 0:
            left -= 1
            if left < 0:
                return False
            place = data.find(bracket, place + 1)
    return True


def excerpt(data: bytes) -> str:
    """The beginning of what came, for an error."""
    return data[:_EXCERPT_CHARS].decode("utf-8", "replace")


def without_fence(text: str) -> str:
    """The JSON text in a fence of Markdown, where a model put one around all of its answer; else the text as it is."""
    bare = text.lstrip()
    if not bare.startswith("```"):
        return text
    first, _, rest = bare.partition("\n")
    return text if "`" in first[3:] else rest.rstrip().removesuffix("```")


# A surrogate escape that is not half of a pair. Even runs of backslashes before it are escaped backslashes.
# As text: `re` compiles it when it is needed.
_SURROGATE: Final = (
    rb"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _mend(data: bytes) -> bytes:
    """Make JSON of bytes that other decoders accept: no BOM, valid UTF-8, lone surrogates replaced by U+FFFD."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").encode()
    if b"\\ud" not in text and b"\\uD" not in text:
        # The search below takes 40 ns a byte, in one go.
        return text
    # A whole pair is 12 bytes long and stays.
    return re.sub(_SURROGATE, lambda m: m[0] if len(m[2]) == 12 else m[1] + b"\\ufffd", text)
