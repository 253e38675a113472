"""The script of the fake: what the next requests get instead of, or on top of, an ordinary answer."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from moonshot_async.fake import bodies
from moonshot_async.fake.answers import WEB_SEARCH, Answer, ToolCall
from moonshot_async.fake.failures import Failure, failure, tool_failure
from moonshot_async.fake.shapes import frame

CHAT_PATH: Final = "/v1/chat/completions"
TOOLS_PATH: Final = "/v1/tools/"

Wrap = Callable[[Iterator[bytes]], Iterator[bytes]]


class Disconnect(msgspec.Struct, frozen=True):
    """No answer at all.

    Attributes:
        after_bytes: how much of the body of the request is read first; None for all of it.
    """

    after_bytes: int | None = None


class StreamFault(msgspec.Struct, frozen=True):
    """An ordinary answer whose stream goes wrong."""

    wrap: Wrap


Outcome = Answer | Failure | Disconnect | StreamFault


class _Queued(msgspec.Struct, eq=False):
    outcome: Outcome
    path: str
    method: str | None
    left: float

    def fits(self, method: str, path: str, stream: bool) -> bool:
        if self.method not in (None, method) or (isinstance(self.outcome, StreamFault) and not stream):
            return False
        return path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path


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
        method: str | None = None,
    ) -> None:
        """Answer the next request with an error, as the API words it.

        Args:
            status: 429 alone means requests per minute; 502 and 529 have no body, 504 is a page of HTML.
            type, message: of the `error` object; the documented ones unless given.
            retry_after: the value of `Retry-After`; a number counts seconds.
            headers: more of them; they win.
            body: sent instead of the `error` object.
            times: how many requests get this; None for all of them.
            path: which path fails, for example "/files" or "/files/file-1/content"; an asterisk at the end stands for
                any rest: "/files/*". Chat completions unless given.
            method: which method fails, where a path has several; any unless given.
        """
        path = _full(path)
        more = dict(headers or {})
        if retry_after is not None:
            more["Retry-After"] = str(retry_after)
        made = tool_failure if path.startswith(TOOLS_PATH) else failure
        self._add(made(status, type=type, message=message, headers=more, body=body), path, times, method)

    def disconnect(self, *, times: int | None = 1, path: str | None = None, method: str | None = None) -> None:
        """Break the connection off instead of answering the next request; `path` and `method` as in `fail`."""
        self._add(Disconnect(), path, times, method)

    def reset_upload(self, after_bytes: int = 0, *, times: int | None = 1, path: str | None = "/files") -> None:
        """Reset the connection once `after_bytes` of the body of the next upload have come in.

        Over HTTP the client is still sending then. In memory, where a body comes at once, it is a `disconnect`.

        Args:
            after_bytes: 0 for as soon as the head has come in.
            times: how many uploads get this; None for all of them.
            path: as in `fail`; uploads of files unless given.
        """
        self._add(Disconnect(after_bytes), path, times, "POST")

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

    def _add(self, outcome: Outcome, path: str | None, times: int | None, method: str | None = None) -> None:
        method = None if method is None else method.upper()
        self._queue.append(_Queued(outcome, _full(path), method, math.inf if times is None else times))

    def _scripted_reset(self, method: str, path: str) -> int | None:
        """After how many bytes of its body the connection of this request is to be reset, if it is."""
        queued = self._first(method, path, False)
        if queued is None or not isinstance(queued.outcome, Disconnect) or queued.outcome.after_bytes is None:
            return None
        self._use(queued)
        return queued.outcome.after_bytes

    def _scripted_refusal(self, method: str, path: str, *, stream: bool) -> Failure | Disconnect | None:
        """Take the next outcome if it comes before the service looks at the request."""
        queued = self._first(method, path, stream)
        if queued is None or not isinstance(queued.outcome, (Failure, Disconnect)):
            return None
        self._use(queued)
        return queued.outcome

    def _scripted_answer(self, path: str, stream: bool) -> Answer | StreamFault | None:
        """Take the next outcome for a request that is in order."""
        queued = self._first("POST", path, stream)
        if queued is None or not isinstance(queued.outcome, (Answer, StreamFault)):
            return None
        self._use(queued)
        return queued.outcome

    def _first(self, method: str, path: str, stream: bool) -> _Queued | None:
        return next((queued for queued in self._queue if queued.fits(method, path, stream)), None)

    def _use(self, queued: _Queued) -> None:
        queued.left -= 1
        if queued.left <= 0:
            self._queue.remove(queued)


def _full(path: str | None) -> str:
    """The path as it comes in."""
    path = CHAT_PATH if path is None else "/" + path.strip("/")
    return path if path.startswith("/v1/") else "/v1" + path


def _call(call: Mapping[str, Any], place: int) -> ToolCall:
    function: Mapping[str, Any] = call.get("function") or call
    name, arguments = function["name"], function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    kind = call.get("type") or ("builtin_function" if name == WEB_SEARCH else "function")
    given = call.get("id")
    return ToolCall(f"{name}:{place}" if given is None else given, name, text, kind)
