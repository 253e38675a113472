"""What every call of every resource takes."""

from collections.abc import Mapping
from typing import TypedDict
from urllib.parse import quote

from moonshot_async.clocks import Timeout
from moonshot_async.errors import ConfigurationError
from moonshot_async.types.encoding import NotGiven


class CallOptions(TypedDict, total=False):
    """Keywords about the call itself.

    Attributes:
        extra_headers: laid over the client's headers; None takes one out.
        extra_query: laid over the client's query.
        timeout: seconds for the whole call, or `Timeout(…)`; None for no limit.
    """

    extra_headers: Mapping[str, str | None] | None
    extra_query: Mapping[str, object] | None
    timeout: Timeout | float | NotGiven | None


class BodyOptions(CallOptions, total=False):
    """Keywords about a call that sends a JSON body.

    Attributes:
        extra_body: laid over the top level of the body, last; for what the SDK does not know.
    """

    extra_body: Mapping[str, object] | None


def path_segment(value: str, name: str) -> str:
    """Escape an id for use in a path.

    Raises:
        ConfigurationError: it is empty, or would point elsewhere.
    """
    if not isinstance(value, str) or not value.strip() or value in (".", ".."):
        raise ConfigurationError(f"{name} must be a non-empty id, not {value!r}")
    return quote(value, safe="")
