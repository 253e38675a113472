"""From the lines of a batch's output and error files to results.

What an error line looks like is not documented, so everything but the id may be missing or of another shape.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

from typing import Any

import msgspec

from moonshot_async.errors import APIError, APIStatusError
from moonshot_async.headers import Unshown
from moonshot_async.resources.batch_spool import Joined
from moonshot_async.status_errors import complete, status_error
from moonshot_async.types.batches import Batch
from moonshot_async.types.chat import ChatCompletion, Usage, decode_completion
from moonshot_async.types.model import parse, shallow
from moonshot_async.wire import Request, Response


class BatchResult:
    """What became of one request of a batch: a completion, or an error.

    Attributes:
        custom_id: of the request.
        completion: the answer; None where there is an error.
        error: what the same call outside a batch would have raised, so a subclass of `APIError`; None where there is
            an answer. A request that the batch did not come to has one, too, retryable and with `.code`
            "batch_expired" or "batch_cancelled"; one whose line is missing from the results has "batch_incomplete",
            and may be paid for.
        status_code: the HTTP status of the request within the batch; None where it got none.
        request_id: names the request for the vendor's support.
    """

    __slots__ = ("_line", "completion", "custom_id", "error", "request_id", "status_code")

    def __init__(
        self,
        custom_id: str,
        *,
        line: bytes | None = None,
        completion: ChatCompletion | None = None,
        error: APIError | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        self.custom_id = custom_id
        self.completion = completion
        self.error = error
        self.status_code = status_code
        self.request_id = request_id
        self._line = line

    @property
    def request(self) -> dict[str, Any] | None:
        """The body that was sent, as plain data; None where the requests do not have this id."""
        line = None if self._line is None else parse(self._line)
        body = line.get("body") if isinstance(line, dict) else None
        return body if isinstance(body, dict) else None

    def __repr__(self) -> str:
        # Neither prompt nor answer.
        what = "completion" if self.error is None else type(self.error).__name__
        return f"BatchResult({self.custom_id!r}, {what}, status_code={self.status_code})"


class _Response(Unshown, msgspec.Struct, gc=False):
    status_code: int | None = None
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw()


class _Sent(Unshown, msgspec.Struct, gc=False):
    body: msgspec.Raw = msgspec.Raw()


class _Line(Unshown, msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: msgspec.Raw = msgspec.Raw()


class ResultReader:
    """Makes results of lines.

    Args:
        request: a request like those of the batch, for errors: its key is masked in them, as prompts are.
        batch: in its last state.
    """

    def __init__(self, request: Request, batch: Batch) -> None:
        self._request = request
        self._batch = batch
        self._spent = Usage(cached_tokens=0)

    @property
    def usage(self) -> Usage:
        """The tokens of all results so far."""
        spent = self._spent
        return Usage(
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            total_tokens=spent.total_tokens,
            cached_tokens=spent.cached_tokens,
        )

    def result(self, joined: Joined) -> BatchResult:
        """The result of one request."""
        if joined.result is None:
            return BatchResult(joined.custom_id, line=joined.request, error=self._unanswered())
        asked = self._request.replace(body=_sent(joined.request))
        try:
            result = self._answered(joined.custom_id, _line(joined.result), joined.request, asked)
        except APIError as failed:
            # JSON that only the search for its id could read: the other results of the batch are good all the same.
            error = complete(failed, asked, Response())
            return BatchResult(joined.custom_id, line=joined.request, error=error)
        if result.completion is not None and result.completion.usage is not None:
            self._count(result.completion.usage)
        return result

    def _answered(self, custom_id: str, line: _Line, request: bytes | None, asked: Request) -> BatchResult:
        answer = line.response or _Response()
        body, error = bytes(answer.body), bytes(line.error)
        completion: ChatCompletion | None = None
        problem: APIError | None = None
        if answer.status_code is not None and answer.status_code >= 300:
            problem = status_error(asked, Response(answer.status_code, request=asked), body)
        elif body in (b"", b"null"):
            problem = _broken(error, asked)
        else:
            try:
                completion = decode_completion(body)
                completion._request_id = answer.request_id
            except APIError as failed:
                problem = complete(failed, asked, Response())
        if isinstance(problem, APIStatusError):
            problem.request_id = problem.request_id or answer.request_id
        return BatchResult(
            custom_id,
            line=request,
            completion=completion,
            error=problem,
            status_code=answer.status_code,
            request_id=answer.request_id,
        )

    def _unanswered(self) -> APIError:
        batch = self._batch
        ended = batch.status if batch.status in ("expired", "cancelled") else "incomplete"
        what = {
            "expired": "expired before this request was answered",
            "cancelled": "was cancelled before this request was answered",
            "incomplete": f"is {batch.status}, but its files have no line for this request",
        }[ended]
        error = APIError(f"Batch {batch.id} {what}.", self._request, body={"code": f"batch_{ended}"})
        # A line that is missing although the batch says that it is done may have been answered, and paid for.
        error.retryable = ended != "incomplete"
        return error

    def _count(self, usage: Usage) -> None:
        spent = self._spent
        spent.prompt_tokens += usage.prompt_tokens
        spent.completion_tokens += usage.completion_tokens
        spent.total_tokens += usage.total_tokens
        spent.cached_tokens = (spent.cached_tokens or 0) + (usage.cached_tokens or 0)


def _sent(line: bytes | None) -> bytes:
    """The body of a request, as far as it can be read: what a server repeats of it is hidden in errors."""
    try:
        return b"" if line is None else bytes(_decode_sent(line).body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b""


def _broken(content: bytes, asked: Request) -> APIError:
    """The error of a line that has no answer, but perhaps an error object."""
    error: Any = None if content in (b"", b"null") else shallow(parse(content))
    if error is None:
        problem = APIError("The line of this request has neither an answer nor an error.", body=None)
        return complete(problem, asked, Response())
    message = error.get("message") if isinstance(error, dict) else error
    text = message if isinstance(message, str) and message else "The request failed within the batch."
    return complete(APIError(text[:2000], body=error), asked, Response())


def _line(data: bytes) -> _Line:
    try:
        return _decode_line(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    tree = parse(data)
    response = tree.get("response")
    fields = response if isinstance(response, dict) else {}
    status, request_id = str(fields.get("status_code")), fields.get("request_id")
    return _Line(
        custom_id=tree["custom_id"],
        response=_Response(
            status_code=int(status) if status.isdecimal() else None,
            request_id=request_id if isinstance(request_id, str) else None,
            body=_raw(fields.get("body")),
        ),
        error=_raw(tree.get("error")),
    )


def _raw(tree: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(tree))


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_sent = msgspec.json.Decoder(_Sent).decode
