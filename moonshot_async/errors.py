"""Every exception of this package, under one root. (A keyword that does not exist is a `TypeError`, as everywhere.)

    MoonshotError                              the root; `.retryable` says whether sending the same again may help
    ├── APIError                               the API, or the way to it, failed
    │   ├── APIConnectionError                 no usable answer: DNS, TLS, reset, refused
    │   │   ├── APITimeoutError                a clock or a deadline ran out; also a TimeoutError
    │   │   ├── StreamInterruptedError         the body broke off after the head; `.partial` is the answer so far
    │   │   ├── CircuitOpenError               not sent: too many calls failed lately; `.retry_after`
    │   │   └── ClientClosedError              not sent, or cut: the client was closed, or is being drained
    │   ├── APIStatusError                     an answer with a status of 300 or more
    │   │   ├── BadRequestError                400
    │   │   │   ├── ContentFilterError         400, moderation of the prompt or the answer
    │   │   │   └── ContextLengthExceededError 400, prompt and answer do not fit the model's window
    │   │   ├── AuthenticationError            401
    │   │   ├── PermissionDeniedError          403
    │   │   ├── NotFoundError                  404, retired models too
    │   │   ├── ConflictError                  409
    │   │   ├── UnprocessableEntityError       422
    │   │   ├── RateLimitError                 429, requests, tokens or concurrency of the account; `.retry_after`
    │   │   │   ├── EngineOverloadedError      429, capacity of the service, not yours
    │   │   │   └── QuotaExceededError         429 (sometimes 403), money: waiting does not help
    │   │   └── InternalServerError            500 and above
    │   ├── LimitReachedError                  not sent: it would pass a limit that the client keeps; `.retry_after`
    │   └── APIResponseValidationError         bytes arrived that are not what the documentation says
    │       └── ResponseTooLargeError          more than a bound of `Bounds` allows; `.bound`, `.allowed`
    ├── UploadError                            a file cannot be sent as it was found: it changed, or cannot be read
    ├── LengthFinishReasonError                an answer to be parsed was cut by `length`; `.completion`
    ├── ContentFilterFinishReasonError         an answer to be parsed was cut by moderation; `.completion`
    ├── StructuredOutputError                  an answer is not of the type it was to be parsed into; also a ValueError
    │   └── EmptyAnswerError                   there is nothing in it to be parsed
    ├── ToolArgumentsError                     a model called a tool with arguments that do not fit; also a ValueError
    ├── ToolTimeoutError                       a tool took longer than its `timeout`; also a TimeoutError
    ├── ToolCancelledError                     what a tool was waiting for was cancelled, not the tool
    ├── DocumentError                          a file has no text: the service could not read it, or read none in it
    ├── DocumentsError                         documents could not be read, or none of those that were asked about
    ├── BatchFailedError                       the service refused the input file of a batch; `.batch`
    ├── JournalError                           the journal of a bulk run cannot be used; `.path`, `.unrecorded`
    │   └── JournalInUseError                  another run has it; `.pid`, `.host`
    ├── BudgetReachedError                     a bulk run stopped before its budget was overrun; `.spent`, `.budget`
    └── ConfigurationError                     a key, URL or option that cannot work; also a ValueError; before any I/O
        ├── SchemaError                        a strict schema is not in Moonshot's dialect; `.findings`
        ├── ConversationError                  a step that a conversation cannot take: its history would be refused
        └── ContextWindowError                 a prompt that cannot be made to fit the model's window; `.needed_tokens`
            └── DocumentsTooLongError          documents and a question that do not; `.largest`

No exception holds a key or a prompt: requests are kept without body and with secret headers hidden, and what a server
echoes of them is masked; nor do the locals of this package in its traceback. All of them survive pickling and copying.

See: https://platform.kimi.ai/docs/api/errors
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from decimal import Decimal

    from moonshot_async.bulk.results import BulkResult
    from moonshot_async.mfjs.findings import Finding
    from moonshot_async.toolkit.documents.texts import Document
    from moonshot_async.types.batches import Batch
    from moonshot_async.types.chat import ChatCompletion, Usage
    from moonshot_async.wire import Headers, Request, Response

# How many reasons a message repeats.
_REASONS = 10

Clock = Literal["total", "deadline", "connect", "read", "write", "pool", "first_token", "idle"]
Limit = Literal["concurrency", "rpm", "tpm", "tpd"]


class MoonshotError(Exception):
    """The root of everything this package raises.

    Attributes:
        retryable: whether the same request, sent again, may succeed. An answer that was lost on its way may be billed
            all the same.
    """

    retryable: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    def __copy__(self) -> "MoonshotError":
        twin = _rebuild(type(self), self.args, self.__dict__)
        twin.__cause__ = self.__cause__
        return twin


def _rebuild(cls: type[MoonshotError], args: tuple[Any, ...], state: dict[str, Any]) -> MoonshotError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    if "__notes__" in state:
        error.__dict__["__notes__"] = list(state["__notes__"])
    return error


class ConfigurationError(MoonshotError, ValueError):
    """A key, URL, header or option cannot work. Raised before any I/O; never shows the key."""


class SchemaError(ConfigurationError):
    """A schema that says `strict: True` is not in Moonshot's dialect of JSON Schema, so that the API would refuse it.

    Attributes:
        findings: all that is wrong with it, each with a JSON pointer, a code and what to do.
    """

    def __init__(self, message: str, *, findings: "tuple[Finding, ...]" = ()) -> None:
        super().__init__(message)
        self.findings = findings


class ConversationError(ConfigurationError):
    """A step that a conversation cannot take: the API would refuse the history. It stays as it was before the step."""


class ContextWindowError(ConfigurationError):
    """A prompt and its answer do not fit the model's context window, and nothing more of the prompt can be left out.

    Attributes:
        needed_tokens: of prompt and answer together; of the prompt an estimate, as far as no answer has told.
        window_tokens: how many there may be.
    """

    def __init__(self, message: str, *, needed_tokens: int, window_tokens: int) -> None:
        super().__init__(message)
        self.needed_tokens = needed_tokens
        self.window_tokens = window_tokens


class DocumentsTooLongError(ContextWindowError):
    """Documents, a question and room for its answer do not fit the window of the model; nothing was asked.

    Attributes:
        model: the id.
        prompt_tokens: what documents and question are, as far as it can be told.
        largest: the documents with the most tokens, largest first: which, and about how many.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str,
        prompt_tokens: int,
        answer_tokens: int,
        window_tokens: int,
        largest: tuple[tuple[str, int], ...],
    ) -> None:
        super().__init__(message, needed_tokens=prompt_tokens + answer_tokens, window_tokens=window_tokens)
        self.model = model
        self.prompt_tokens = prompt_tokens
        self.largest = largest


class APIError(MoonshotError):
    """The API, or the way to it, failed; raised as such for an error event inside a stream.

    Attributes:
        message: what happened, and advice where there is some.
        request: method, URL and headers of the request, with secrets hidden and without its body; None if unknown.
        body: the `error` object of the answer, or what came instead of one; bounded.
        code, param, type: fields of the `error` object, where it has them.
        partial: the answer received before the error, for an error inside a stream.
        attempts: one record for each sending, in order, this failure last; what ended before it was sent, as in a
            queue of the client's, has none.
    """

    partial: "ChatCompletion | None" = None
    attempts: "tuple[Attempt, ...]" = ()

    def __init__(self, message: str, request: "Request | None" = None, *, body: object | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request = None if request is None else request.redacted()
        self.body = body
        fields = body if isinstance(body, dict) else {}
        code, param, kind = fields.get("code"), fields.get("param"), fields.get("type")
        self.code: str | None = None if code is None else str(code)
        self.param: str | None = None if param is None else str(param)
        self.type: str | None = None if kind is None else str(kind)


class Attempt:
    """One sending of a request, and how it failed.

    Attributes:
        number: 1 for the first.
        error: class and status of the failure, for example "InternalServerError 503".
        elapsed: seconds from sending to the failure; what a layer below `Retry` waited for before is in it.
        waited: seconds waited afterwards, before the next attempt; 0.0 after the last.
    """

    __slots__ = ("elapsed", "error", "number", "waited")

    def __init__(self, number: int, error: str, elapsed: float, waited: float = 0.0) -> None:
        self.number = number
        self.error = error
        self.elapsed = elapsed
        self.waited = waited

    @classmethod
    def failed(cls, number: int, error: APIError, elapsed: float) -> "Attempt":
        """The record of a sending that ended with `error`."""
        status = f" {error.status_code}" if isinstance(error, APIStatusError) else ""
        return cls(number, type(error).__name__ + status, elapsed)

    @property
    def disconnected(self) -> bool:
        """Whether the connection failed, and no clock of ours ended it."""
        return self.error == APIConnectionError.__name__

    # The old protocols of pickle do not know slots.
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number, self.error, self.elapsed, self.waited)

    def __repr__(self) -> str:
        return f"Attempt({self.number}, {self.error!r}, elapsed={self.elapsed:.3f}, waited={self.waited:.3f})"


class APIConnectionError(APIError):
    """No usable answer came: name not resolved, TLS refused, connection refused, reset or closed.

    Attributes:
        reused: whether the connection had been kept from an earlier call; the server may just have been closing it.
    """

    retryable = True
    reused: bool = False

    def __init__(self, *, message: str = "Connection error.", request: "Request | None" = None) -> None:
        super().__init__(message, request)


class APITimeoutError(APIConnectionError, TimeoutError):
    """A clock ran out.

    Attributes:
        clock: which one; see `moonshot_async.Timeout`. `total` is the clock of the whole call, `deadline` the one of a
            `with client.deadline(…)` around it.
        elapsed: seconds from the beginning of the call, all attempts and waits included; None if unknown.
        attempt: in which attempt, 1 for the first.
        sent: whether the transport was at work on that attempt before the head of its answer; else it ran out in a
            queue of the client's, in a wait between two attempts, or while the body arrived.
    """

    sent: bool = False

    def __init__(
        self,
        request: "Request | None" = None,
        *,
        message: str = "Request timed out.",
        clock: Clock = "total",
        elapsed: float | None = None,
    ) -> None:
        super().__init__(message=message, request=request)
        self.clock: Clock = clock
        self.elapsed = elapsed
        self.attempt = 1 if request is None else request.attempt
        # The other clocks either end the call itself or run while an answer, already paid for, is on its way.
        self.retryable = clock in ("connect", "read", "write")


class StreamInterruptedError(APIConnectionError):
    """The body broke off after the head: what arrived is in `.partial` (None where nothing was decoded).

    Not retryable by itself: the part that arrived has been handed out, and is paid for.
    """

    retryable = False


class CircuitOpenError(APIConnectionError):
    """Not sent: too many calls to this host and model failed lately. See `CircuitBreaker`.

    Attributes:
        retry_after: seconds until the next call is let through to try.
    """

    retryable = False

    def __init__(self, message: str, request: "Request | None" = None, *, retry_after: float) -> None:
        super().__init__(message=message, request=request)
        self.retry_after = retry_after


class ClientClosedError(APIConnectionError):
    """The client was closed, or is being drained.

    A call that is begun then is not sent. What runs when a client is closed ends with it, too: calls that wait for
    whatever it may be, and streams, whose answer so far is in `.partial`.
    """

    retryable = False


class LimitReachedError(APIError):
    """Not sent: it would pass a limit of the account that the client keeps. See `RateLimits`.

    Attributes:
        limit: which one.
        needed: how much of it the request alone needs.
        allowed: how much of it there is.
        retry_after: seconds until it fits; None where it never will, and has to be made smaller.
    """

    def __init__(
        self,
        message: str,
        request: "Request | None" = None,
        *,
        limit: Limit,
        needed: int,
        allowed: int,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, request)
        self.limit: Limit = limit
        self.needed = needed
        self.allowed = allowed
        self.retry_after = retry_after


class APIStatusError(APIError):
    """The server answered with an error status.

    Attributes:
        status_code: the HTTP status.
        response: the answer; its body was read (bounded) and closed, `.text` and `.json()` work.
        headers: of the answer, account headers hidden.
        request_id: `msh-request-id`, or what else names the call for the vendor's support.
        retry_after: seconds that header or text ask to wait; None where they do not.
    """

    expected_status: ClassVar[int | None] = None

    def __init__(self, message: str, *, response: "Response", body: object | None = None) -> None:
        super().__init__(message, response.request, body=body)
        self.response = response
        self.status_code: int = response.status
        self.headers: Headers = response.headers.redacted()
        self.request_id: str | None = request_id_of(response.headers) or _text_of(body, "request_id")
        self.retry_after: float | None = None


class BadRequestError(APIStatusError):
    """400: the request cannot be answered as it is."""

    expected_status = 400


class ContentFilterError(BadRequestError):
    """400: moderation refused the prompt or the answer."""


class ContextLengthExceededError(BadRequestError):
    """400: prompt plus `max_completion_tokens` exceed the model's context window."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong, or belongs to the other region."""

    expected_status = 401


class PermissionDeniedError(APIStatusError):
    """403: not open to this account, key or address."""

    expected_status = 403


class NotFoundError(APIStatusError):
    """404: no such model, file, batch or path, or no access to it."""

    expected_status = 404


class ConflictError(APIStatusError):
    """409: a concurrent change got there first."""

    expected_status = 409


class UnprocessableEntityError(APIStatusError):
    """422: well-formed, but not acceptable (other hosts send it)."""

    expected_status = 422


class RateLimitError(APIStatusError):
    """429: a limit of the account is reached. Retryable, but for the daily token limit."""

    expected_status = 429
    retryable = True


class EngineOverloadedError(RateLimitError):
    """429: the service has no capacity at the moment. Not billed, not your quota."""


class QuotaExceededError(RateLimitError):
    """The balance is used up or the account is suspended. Never retried: only a top-up helps."""

    retryable = False


class InternalServerError(APIStatusError):
    """500 and above: the service failed."""

    retryable = True


class APIResponseValidationError(APIError):
    """Bytes arrived that are not what the documentation promises: not JSON, another shape, an HTML page.

    Attributes:
        response: the answer they came in; None inside a stream.
        status_code: its status, usually 200.
    """

    def __init__(
        self,
        response: "Response | None" = None,
        body: object | None = None,
        *,
        message: str | None = None,
    ) -> None:
        super().__init__(
            message or "The answer is not what the API documents.",
            None if response is None else response.request,
            body=body,
        )
        self.response = response
        self.status_code: int = 200 if response is None else response.status


class ResponseTooLargeError(APIResponseValidationError):
    """The answer has more of something than the bound that keeps memory safe allows; see `Bounds`.

    Attributes:
        bound: the name of the option of `Bounds` that it passes; None for a bound that is no option.
        allowed: how much it allows, in the unit that its name says.
        max_bytes: the same, where it is a number of bytes; else None.
    """

    def __init__(self, allowed: int, *, bound: str | None = None, message: str | None = None) -> None:
        super().__init__(message=message or f"The answer is larger than {allowed} bytes.")
        self.bound = bound
        self.allowed = allowed
        self.max_bytes = allowed if bound is None or bound.endswith("_bytes") else None


class UploadError(MoonshotError):
    """A file cannot be sent as it was found: it changed its size meanwhile, or cannot be read any more.

    What was sent of it is not whole, and the service knows. Sending the same again does not help; a new call looks at
    the file anew.
    """


class _Answered:
    """What an error keeps of an answer that came, and is paid for, but that no value can be made of."""

    completion: "ChatCompletion | None" = None
    # The answers before it, where it was asked for again, and what all cost together.
    _earlier: "tuple[ChatCompletion, ...]" = ()
    _usage: "Usage | None" = None

    @property
    def completions(self) -> "tuple[ChatCompletion, ...]":
        """The answer, and before it those that it was asked for again after, in order."""
        return self._earlier if self.completion is None else (*self._earlier, self.completion)

    @property
    def usage(self) -> "Usage | None":
        """What all of them cost."""
        if self._usage is None and self.completion is not None:
            return self.completion.usage
        return self._usage

    def add_earlier(self, earlier: "tuple[ChatCompletion, ...]", usage: "Usage | None") -> None:
        """Keep the answers before it, and what they and this one cost together."""
        self._earlier = earlier
        self._usage = usage


class LengthFinishReasonError(_Answered, MoonshotError):
    """An answer that was to be parsed, or whose calls were to be run, ended with `length`: raise
    `max_completion_tokens`.
    """

    completion: "ChatCompletion"

    def __init__(self, *, completion: "ChatCompletion", message: str | None = None) -> None:
        problem = "The answer was cut by max_completion_tokens before it could be parsed"
        if not any(choice.message.content or choice.message.tool_calls for choice in completion.choices):
            problem += ": all of them went into reasoning, which counts too; allow more"
        super().__init__(message or f"{problem}.")
        self.completion = completion


class ContentFilterFinishReasonError(_Answered, MoonshotError):
    """An answer that was to be parsed, or whose calls were to be run, was cut by moderation."""

    def __init__(self, *, completion: "ChatCompletion | None" = None, message: str | None = None) -> None:
        super().__init__(message or "The answer was cut by the content filter before it could be parsed.")
        self.completion = completion


class StructuredOutputError(_Answered, MoonshotError, ValueError):
    """An answer that was to be parsed, or the arguments of a tool call, are not of the type that was asked for.

    The answer is there all the same, and paid for.

    Attributes:
        completion: the answer; None where only a text was parsed.
        text: what was to be parsed; empty when the model answered nothing.
        path: where in it the fault is, for example `$.people[0].age`; None where it is no JSON at all.
    """

    def __init__(
        self, message: str, *, text: str, path: str | None = None, completion: "ChatCompletion | None" = None
    ) -> None:
        super().__init__(message)
        self.text = text
        self.path = path
        self.completion = completion


class EmptyAnswerError(StructuredOutputError):
    """An answer that was to be parsed has nothing in it, though it did not end with `length`."""


class ToolArgumentsError(MoonshotError, ValueError):
    """A model called a tool with arguments that are not those of the function.

    The message is fit to be sent to the model: it says where the fault is and what was expected, and repeats no values.

    Attributes:
        tool: the name of the tool.
        text: the arguments, as the model wrote them.
        path: where in them the first fault is, for example `$.people[0].age`; None where they are no JSON at all.
    """

    def __init__(self, message: str, *, tool: str, text: str, path: str | None = None) -> None:
        super().__init__(message)
        self.tool = tool
        self.text = text
        self.path = path


class ToolTimeoutError(MoonshotError, TimeoutError):
    """A tool took longer than its `timeout`. A function that is not async goes on in its thread.

    Attributes:
        tool: the name of the tool.
        seconds: what it was given.
    """

    def __init__(self, *, tool: str, seconds: float) -> None:
        super().__init__(f"The tool {tool} did not end within {seconds:g} s.")
        self.tool = tool
        self.seconds = seconds


class ToolCancelledError(MoonshotError):
    """What a tool was waiting for was cancelled, by itself or by others; the call of the tool was not.

    Attributes:
        tool: the name of the tool.
    """

    def __init__(self, *, tool: str) -> None:
        super().__init__(f"The tool {tool} was cancelled from within.")
        self.tool = tool


class DocumentError(MoonshotError):
    """A document has no text: the service could not read it, it read none in it, or something else went wrong.

    Attributes:
        file: which one: its path as it was given, or its name.
        reason: what is wrong.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"document {file!r}: {reason}")
        self.file = file
        self.reason = reason


class DocumentsError(MoonshotError):
    """Documents could not be read; the message says which, and why.

    Attributes:
        documents: those; each has `.file`, `.error` and `.reason`.
        total: how many were asked for.
    """

    def __init__(self, documents: "tuple[Document, ...]", total: int) -> None:
        reasons = "; ".join(document.reason for document in documents[:_REASONS])
        more = f" (and {len(documents) - _REASONS} more)" if len(documents) > _REASONS else ""
        super().__init__(f"{len(documents)} of {total} documents could not be read: {reasons}{more}")
        self.documents = documents
        self.total = total


class BatchFailedError(MoonshotError):
    """The service refused the input file of a batch, so that nothing was answered.

    Attributes:
        batch: in its last state; `.errors` says what is wrong, where the service does.
    """

    def __init__(self, batch: "Batch") -> None:
        found = (batch.errors.data or []) if batch.errors else []
        lines = [f"line {error.line}: {error.message}" if error.line else error.message for error in found]
        reasons = "; ".join(line for line in lines[:_REASONS] if line) or "the service does not say why"
        more = f" (and {len(lines) - _REASONS} more)" if len(lines) > _REASONS else ""
        super().__init__(f"Batch {batch.id} failed: {reasons}{more}")
        self.batch = batch


class JournalError(MoonshotError):
    """The journal of a bulk run cannot be opened, read or written. What was recorded in it stays as it was.

    Attributes:
        path: the journal.
        unrecorded: answers that came, and are paid for, but could not be written down: keep them yourself. The next
            run with this journal asks for them again. They stay in this process: pickles have none of them.
    """

    def __init__(self, message: str, *, path: str, unrecorded: "tuple[BulkResult, ...]" = ()) -> None:
        super().__init__(message)
        self.path = path
        self.unrecorded = unrecorded

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, {**self.__dict__, "unrecorded": ()})


class JournalInUseError(JournalError):
    """Another run has the journal: two on one would ask, and pay, for the same.

    Attributes:
        pid, host: of the process that has it.
    """

    def __init__(self, message: str, *, path: str, pid: int, host: str) -> None:
        super().__init__(message, path=path)
        self.pid = pid
        self.host = host


class BudgetReachedError(MoonshotError):
    """A bulk run has stopped: what it asks next might overrun `max_cost` or `max_tokens`. It can be gone on with.

    Attributes:
        budget: "max_cost" or "max_tokens".
        spent: how much of it was used, of the whole journal: a `Decimal` in the account's currency, or tokens.
        allowed: how much may be used.
    """

    def __init__(
        self,
        message: str,
        *,
        budget: Literal["max_cost", "max_tokens"],
        spent: "Decimal | int",
        allowed: "Decimal | int",
    ) -> None:
        super().__init__(message)
        self.budget = budget
        self.spent = spent
        self.allowed = allowed


def request_id_of(headers: "Headers") -> str | None:
    """The id under which the vendor finds a call again."""
    return headers.first("msh-request-id", "x-request-id", "x-msh-trace-id", "x-trace-id")


def _text_of(body: object, name: str) -> str | None:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None
