"""Schemas that a request calls strict, looked at before it is sent: the API would refuse them.

Those that leave `strict` out, or say False, and what stands in `extra_body`, are sent as they are: other hosts take
other dialects.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.types.chat_params import CompletionRequest
from moonshot_async.types.encoding import to_json

if TYPE_CHECKING:
    from moonshot_async.mfjs import Finding

# What schemas of one request may have to be known again, so that all that is remembered stays small.
_REMEMBERED: Final = 256 * 1024


def check_schemas(request: CompletionRequest) -> None:
    """Check the strict schemas in `tools` and `response_format`.

    Args:
        request: what is to be sent. `tools` that can be looked at only once become a list in it.

    Raises:
        SchemaError: the first one that the API would refuse, named as the caller knows it.
    """
    tools: Any = request.tools
    if not isinstance(tools, (list, tuple, Mapping, str)) and isinstance(tools, Iterable):
        tools = request.tools = list(tools)
    strict = [*_strict_tools(tools), *_strict_format(request.response_format)]
    # Encoded they are a key by which to know them again, and what is looked at is what is sent.
    found = _found(to_json([schema for _, _, schema in strict])) if strict else None
    if found is None:
        return
    from moonshot_async.mfjs.sendable import refusal

    (where, holder, _), findings = next(pair for pair in zip(strict, found, strict=True) if pair[1])
    name = _member(holder, "name")
    raise refusal(f"The schema of {where if name is None else f'{where}, {name!r},'}", findings)


def _strict_tools(tools: Any) -> Iterator[tuple[str, Any, Any]]:
    for place, tool in enumerate(tools if isinstance(tools, (list, tuple)) else ()):
        function = _member(tool, "function")
        if _member(function, "strict") is True:
            yield f"tools[{place}]", function, _member(function, "parameters")


def _strict_format(response_format: Any) -> Iterator[tuple[str, Any, Any]]:
    described = _member(response_format, "json_schema")
    if _member(described, "strict") is True:
        yield "response_format", described, _member(described, "schema")


def _member(value: Any, name: str) -> Any:
    # Plain dicts, the most by far, need no look at what they are.
    if type(value) is dict or isinstance(value, Mapping):
        return value.get(name)
    return getattr(value, name, None)


def _found(encoded: bytes) -> "tuple[tuple[Finding, ...], ...] | None":
    return (_findings if len(encoded) <= _REMEMBERED else _findings.__wrapped__)(encoded)


@lru_cache(maxsize=32)
def _findings(encoded: bytes) -> "tuple[tuple[Finding, ...], ...] | None":
    """What is wrong with each of several schemas; None where nothing is."""
    # Imported late: most programs send no schemas.
    from moonshot_async.mfjs.sendable import refusals

    # What is no object the API refuses for another reason, in words of its own.
    found = tuple(tuple(refusals(one)) if isinstance(one, dict) else () for one in msgspec.json.decode(encoded))
    return found if any(found) else None
