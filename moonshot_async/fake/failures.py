"""Error answers as the API words them, for whatever is not said otherwise.

See: https://platform.kimi.ai/docs/api/errors
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moonshot_async.wire import Response

JSON_TYPE: Final = "application/json; charset=utf-8"

_GATEWAY_PAGE: Final = (
    b"<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n"
    b"<body>\r\n<center><h1>504 Gateway Time-out</h1></center>\r\n</body>\r\n</html>\r\n"
)
_TYPE_OF_STATUS: Final = {
    400: "invalid_request_error",
    401: "invalid_authentication_error",
    403: "permission_denied_error",
    404: "resource_not_found_error",
    405: "invalid_request_error",
    408: "request_timeout_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_reached_error",
    499: "client_closed_request",
    503: "server_unavailable",
}
_MESSAGE_OF_TYPE: Final = {
    "content_filter": "The request was rejected because it was considered high risk",
    "invalid_authentication_error": "Invalid Authentication",
    "incorrect_api_key_error": "Incorrect API key provided",
    "permission_denied_error": "The API you are accessing is not open",
    "resource_not_found_error": "The requested resource was not found",
    "conflict_error": "The resource was changed by another request",
    "engine_overloaded_error": "The engine is currently overloaded, please try again later",
    "rate_limit_reached_error": (
        "Your account org request reached organization max RPM: 3, please try again after 1 seconds"
    ),
    "exceeded_current_quota_error": (
        "Your account org is suspended due to insufficient balance, please recharge your account or check your plan "
        "and billing details"
    ),
    "server_unavailable": "The service is temporarily unavailable",
    "unexpected_output": "The model returned an unexpected output",
}
_MESSAGE_OF_STATUS: Final = {
    400: "Invalid request: the request could not be understood",
    405: "Method not allowed",
    408: "The request timed out",
    413: "Request exceeds the maximum size",
    499: "The client closed the request",
}
_TOOL_ERRORS: Final = {
    400: ("invalid_request", "invalid request body"),
    404: ("markdown_not_found", "No text/markdown content found for the current URL."),
    408: ("client_canceled", "client canceled the request"),
    429: ("rate_limited", "project concurrency limit exceeded"),
    500: ("internal_error", "internal error"),
    502: ("upstream_failed", "upstream service failed"),
    504: ("timeout", "request timeout"),
}
_TOOL_LIMITS: Final = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0"}
_ANY_MESSAGE: Final = "The server had an error while processing your request"


class Failure(msgspec.Struct, frozen=True):
    """An error answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def response(self) -> Response:
        return Response(self.status, self.headers, self.body)


def failure(
    status: int,
    *,
    type: str | None = None,
    message: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | Mapping[str, Any] | None = None,
) -> Failure:
    """Put an error answer together, with the documented text for what is not given."""
    if body is None:
        body = _error_body(status, type, message)
    content = json.dumps(body, ensure_ascii=False).encode() if isinstance(body, Mapping) else body
    content = content.encode() if isinstance(content, str) else content
    if isinstance(body, Mapping):
        kind = JSON_TYPE
    else:
        kind = "text/html" if content.lstrip().startswith(b"<") else "text/plain; charset=utf-8"
    given = {name.lower() for name in headers or {}}
    start = [] if "content-type" in given else [("Content-Type", kind)]
    return Failure(status, (*start, *(headers or {}).items()), content)


def tool_failure(
    status: int,
    *,
    type: str | None = None,
    message: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | Mapping[str, Any] | None = None,
) -> Failure:
    """The same for the web tools, which word their errors in their own way, and those about a key not at all."""
    if body is None and type is None and message is None:
        if status in (401, 403):
            body = b""
        elif status in _TOOL_ERRORS:
            type, message = _TOOL_ERRORS[status]
        if status == 429:
            headers = {**_TOOL_LIMITS, **(headers or {})}
    return failure(status, type=type, message=message, headers=headers, body=body)


def _error_body(status: int, type: str | None, message: str | None) -> bytes | Mapping[str, Any]:
    if type is None and message is None:
        if status in (502, 529):
            return b""
        if status == 504:
            return _GATEWAY_PAGE
    kind = type or _TYPE_OF_STATUS.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    if message is None:
        message = _MESSAGE_OF_TYPE.get(kind) or _MESSAGE_OF_STATUS.get(status) or _ANY_MESSAGE
    return {"error": {"type": kind, "message": message}}
