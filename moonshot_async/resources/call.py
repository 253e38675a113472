"""What every call of every resource takes."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict
from urllib.parse import quote, unquote

import msgspec

from moonshot_async.clocks import Timeout
from moonshot_async.errors import ConfigurationError
from moonshot_async.headers import shown_url
from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.views import RawAccess, StreamedAccess
from moonshot_async.types.encoding import NotGiven, encode
from moonshot_async.wire import Request


class CallOptions(TypedDict, total=False):
    """Keywords about the call itself.

    Attributes:
        extra_headers: laid over the client's headers; None takes one out.
        extra_query: laid over the client's query.
        timeout: seconds for the whole call, or `Timeout(…)`; None for no limit.
        max_retries: how often this call is sent again, instead of what the client says; 0 for never.
        retry_slow: whether it is sent again after a failure that took long, though it may be billed twice; see `Retry`.
        priority: its place in the queue of `RateLimits`: higher ones go first. 0 unless given.
    """

    extra_headers: Mapping[str, str | None] | None
    extra_query: Mapping[str, object] | None
    timeout: Timeout | float | NotGiven | None
    max_retries: int | None
    retry_slow: bool | None
    priority: int


class BodyOptions(CallOptions, total=False):
    """Keywords about a call that sends a JSON body.

    Attributes:
        extra_body: laid over the top level of the body, last; for what the SDK does not know.
    """

    extra_body: Mapping[str, object] | None


_OPTIONS: Final = frozenset(CallOptions.__annotations__)
_HOLDING_KEYS: Final = ("extra_headers", "extra_query")


class Resource:
    """A section of the API: its methods send their requests through one pipeline.

    Attributes:
        with_raw_response: the same methods, returning `RawResponse`: status, headers and bytes, and `parse()` for
            what they return else.
        with_streaming_response: the same methods, to be entered with `async with`, giving an `APIResponse` of which
            nothing was read yet.
    """

    with_raw_response = RawAccess()
    with_streaming_response = StreamedAccess()

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline


class Given(dict[str, Any]):
    """Headers, or what goes into a query, as a caller gave it for one call. Only its names are shown: it may hold keys,
    and stands in frames that wait, whose locals error trackers record.
    """

    def __repr__(self) -> str:
        return f"{{{', '.join(map(str, self))}}}"


def take_options(params: dict[str, Any]) -> CallOptions:
    """Take the keywords about the call itself out of all that were given."""
    taken: Any = {name: params.pop(name) for name in _OPTIONS if name in params}
    options: CallOptions = taken
    return options


def check_options(options: Mapping[str, Any], *, call: str) -> None:
    """Refuse keywords that are none of `CallOptions`, and hide what is in those that may hold keys, where they stand.

    Raises:
        TypeError: names the first one.
    """
    for name in options:
        if name not in _OPTIONS:
            raise TypeError(
                f"{call}() got an unexpected keyword argument {name!r}; it takes {', '.join(sorted(_OPTIONS))}"
            )
    keywords: Any = options
    for name in _HOLDING_KEYS:
        if isinstance(given := keywords.get(name), Mapping):
            keywords[name] = Given(given)


def post(
    pipeline: Pipeline, path: str, body: msgspec.Struct, options: BodyOptions, *, call: str, once: bool = False
) -> Request:
    """Make the request of a call that sends `body`; see `Request` for `once`.

    Raises:
        TypeError: a keyword is none of `BodyOptions`, or a value has no JSON form.
        ConfigurationError: a header, the timeout or a text cannot be sent.
    """
    given: dict[str, Any] = {**options}
    extra_body = given.pop("extra_body", None)
    check_options(given, call=call)
    return pipeline.request("POST", path, encode(body, extra_body or None), once=once, **take_options(given))


def path_segment(value: str, name: str) -> str:
    """Escape an id for use in a path.

    Raises:
        ConfigurationError: it is empty, or would point elsewhere.
    """
    if not isinstance(value, str) or not value.strip() or value in (".", ".."):
        raise ConfigurationError(f"{name} must be a non-empty id, not {value!r}")
    return quoted(value, name)


def quoted(value: str, name: str, *, safe: str = "") -> str:
    """Escape text for use in a path.

    Raises:
        ConfigurationError: it has no bytes.
    """
    try:
        return quote(value, safe=safe)
    except UnicodeEncodeError:
        pass
    raise ConfigurationError(f"{name} cannot be {value!r}: it holds half a character")


def checked_method(method: str) -> str:
    """An HTTP method in upper case.

    Raises:
        ConfigurationError: it is none.
    """
    if not (isinstance(method, str) and method.isascii() and method.isalpha()):
        raise ConfigurationError(f"method must be one of HTTP's, such as 'GET', not {method!r}")
    return method.upper()


def checked_path(path: str) -> str:
    """A path that stays below the base URL, with a slash in front.

    Raises:
        ConfigurationError: it is a URL, leads out of the base URL, or has characters that no path has.
    """
    place = unquote(path.partition("?")[0])
    if "://" in place or place.startswith("//"):
        raise ConfigurationError("path must lie below the base URL: the key is for that host only; see base_url")
    if not path.isprintable() or " " in path or "#" in path or "\\" in place or ".." in place.split("/"):
        raise ConfigurationError(f"path {shown_url(path)!r} has parts that no path has")
    return path if path.startswith("/") else f"/{path}"
