"""The script of the fake: what the next requests get instead of, or on top of, an ordinary answer."""

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from moonshot_async.fake import bodies
from moonshot_async.fake.answers import WEB_SEARCH, Answer, ToolCall
from moonshot_async.fake.shapes import frame
from moonshot_async.wire import Response

CHAT_PATH: Final = "/v1/chat/completions"
JSON_TYPE: Final = "application/json; charset=utf-8"

Wrap = Callable[[Iterator[bytes]], Iterator[bytes]]

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
_ANY_MESSAGE: Final = "The server had an error while processing your request"


class Failure(msgspec.Struct, frozen=True):
    """An error answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def response(self) -> Response:
        return Response(self.status, self.headers, self.body)


class Disconnect(msgspec.Struct, frozen=True):
    """No answer at all."""


class StreamFault(msgspec.Struct, frozen=True):
    """An ordinary answer whose stream goes wrong."""

    wrap: Wrap


Outcome = Answer | Failure | Disconnect | StreamFault


class _Queued(msgspec.Struct, eq=False):
    outcome: Outcome
    path: str
    left: float

    def fits(self, path: str, stream: bool) -> bool:
        return path == self.path and (stream or not isinstance(self.outcome, StreamFault))


class Script:
    """A queue of outcomes: each request takes the first one that fits it.

    Every method queues one outcome for the next `times` requests (None: for all, until `reset`). Faults of a stream
    wait for the next request that streams. Requests that find nothing get an ordinary answer.
    """

    def __init__(self) -> None:
        self._queue: deque[_Queued] = deque()

    def reply(
        self,
        text: str | None = None,
        *,
        reasoning: str | None = None,
        tool_calls: Iterable[Mapping[str, Any]] | None = None,
        finish_reason: str | None = None,
        usage: Mapping[str, Any] | None = None,
        chunks: Iterable[str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Say exactly this to the next chat request that is in order.

        Args:
            text: the content; None for none.
            reasoning: the reasoning before it; None for none, also where the model thinks.
            tool_calls: `{"name": ..., "arguments": dict or str, "id"?: ...}`, or the API's own shape.
            finish_reason: "tool_calls" or "stop" unless given; any text is passed on.
            usage: replaces the computed one as a whole.
            chunks: the content piece by piece, as a stream is to send it; replaces `text`.
            times: how many requests get this; None for all of them.
        """
        pieces = None if chunks is None else tuple(chunks)
        calls = tuple(_call(call, place) for place, call in enumerate(tool_calls or ()))
        answer = Answer(
            text=(text or "") if pieces is None else "".join(pieces),
            reasoning=reasoning,
            tool_calls=calls,
            finish_reason=finish_reason or ("tool_calls" if calls else "stop"),
            pieces=pieces,
            usage=usage,
        )
        self._add(answer, None, times)

    def fail(
        self,
        status: int,
        *,
        type: str | None = None,
        message: str | None = None,
        retry_after: float | str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | Mapping[str, Any] | None = None,
        times: int | None = 1,
        path: str | None = None,
    ) -> None:
        """Answer the next request with an error, as the API words it.

        Args:
            status: 429 alone means requests per minute; 502 and 529 have no body, 504 is a page of HTML.
            type, message: of the `error` object; the documented ones unless given.
            retry_after: the value of `Retry-After`; a number counts seconds.
            headers: more of them; they win.
            body: sent instead of the `error` object.
            times: how many requests get this; None for all of them.
            path: which path fails, for example "/v1/models"; chat completions unless given.
        """
        more = dict(headers or {})
        if retry_after is not None:
            more["Retry-After"] = str(retry_after)
        self._add(failure(status, type=type, message=message, headers=more, body=body), path, times)

    def disconnect(self, *, times: int | None = 1, path: str | None = None) -> None:
        """Break the connection off instead of answering the next request."""
        self._add(Disconnect(), path, times)

    def cut_stream(self, after_chunks: int = 3, *, clean: bool = False, times: int | None = 1) -> None:
        """End the next stream after `after_chunks` chunks, without `[DONE]`.

        Args:
            after_chunks: data chunks to send first; a number beyond the last one leaves out `[DONE]` alone.
            clean: end the body in good order, as a proxy does that gave up; else reset the connection.
            times: how many streams get this; None for all of them.
        """
        end = bodies.cut if clean else bodies.reset
        self._add(StreamFault(lambda frames: end(frames, after_chunks)), None, times)

    def error_in_stream(
        self,
        after_chunks: int = 3,
        *,
        type: str = "server_error",
        message: str = "stream failed",
        times: int | None = 1,
    ) -> None:
        """Send an error event in the next stream after `after_chunks` chunks, and end it."""
        event = frame({"error": {"type": type, "message": message}})
        self._add(StreamFault(lambda frames: bodies.followed(frames, after_chunks, event)), None, times)

    def stall(self, after_chunks: int = 3, *, times: int | None = 1) -> None:
        """Fall silent in the next stream after `after_chunks` chunks, until the reader gives up."""
        silence = bodies.SILENCE
        self._add(StreamFault(lambda frames: bodies.followed(frames, after_chunks, silence)), None, times)

    def _add(self, outcome: Outcome, path: str | None, times: int | None) -> None:
        path = CHAT_PATH if path is None else "/" + path.strip("/")
        if not path.startswith("/v1/"):
            path = "/v1" + path
        self._queue.append(_Queued(outcome, path, math.inf if times is None else times))

    def _scripted_refusal(self, path: str, *, stream: bool) -> Failure | Disconnect | None:
        """Take the next outcome if it comes before the service looks at the request."""
        queued = self._first(path, stream)
        if queued is None or not isinstance(queued.outcome, (Failure, Disconnect)):
            return None
        self._use(queued)
        return queued.outcome

    def _scripted_answer(self, path: str, *, stream: bool) -> Answer | StreamFault | None:
        """Take the next outcome for a request that is in order."""
        queued = self._first(path, stream)
        if queued is None or not isinstance(queued.outcome, (Answer, StreamFault)):
            return None
        self._use(queued)
        return queued.outcome

    def _first(self, path: str, stream: bool) -> _Queued | None:
        return next((queued for queued in self._queue if queued.fits(path, stream)), None)

    def _use(self, queued: _Queued) -> None:
        queued.left -= 1
        if queued.left <= 0:
            self._queue.remove(queued)


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


def _call(call: Mapping[str, Any], place: int) -> ToolCall:
    function: Mapping[str, Any] = call.get("function") or call
    name, arguments = function["name"], function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    kind = call.get("type") or ("builtin_function" if name == WEB_SEARCH else "function")
    given = call.get("id")
    return ToolCall(f"{name}:{place}" if given is None else given, name, text, kind)
