"""The exception tree: its shape, its defaults, and that all of it survives pickling and copying."""

import copy
import gzip
import inspect
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import openai
import pytest

import moonshot_async
from moonshot_async import errors
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    Attempt,
    BatchFailedError,
    ConfigurationError,
    ContentFilterFinishReasonError,
    LengthFinishReasonError,
    MoonshotError,
    ResponseTooLargeError,
    StreamInterruptedError,
    StructuredOutputError,
    ToolArgumentsError,
    ToolCancelledError,
    ToolTimeoutError,
    UploadError,
)
from moonshot_async.mfjs.findings import Finding
from moonshot_async.toolkit.documents.texts import Document
from moonshot_async.types.batches import Batch
from moonshot_async.types.chat import ChatCompletion
from moonshot_async.wire import Headers, Request, Response
from tests.scripted import ASK, Peer, Start, answer

KEY = "sk-canary-key-123"
PROMPT = b"Canary prompt of somebody"
REQUEST = Request("POST", "https://api.moonshot.cn/v1/x", Headers({"Authorization": f"Bearer {KEY}"}), PROMPT)
PARTIAL = ChatCompletion(choices=[], id="c1")

CLASSES = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, MoonshotError)]
STATUS_CLASSES = [cls for cls in CLASSES if issubclass(cls, APIStatusError)]
INSTANCES: list[MoonshotError] = [
    MoonshotError("words"),
    ConfigurationError("words"),
    errors.SchemaError("words", findings=(Finding("/type", "words", "Words.", "strict"),)),
    errors.ConversationError("words"),
    errors.ContextWindowError("words", needed_tokens=5, window_tokens=4),
    APIError("words", REQUEST, body={"type": "server_error", "code": 5}),
    APIConnectionError(message="words", request=REQUEST),
    APITimeoutError(REQUEST, message="words", clock="idle"),
    StreamInterruptedError(message="words", request=REQUEST),
    errors.CircuitOpenError("words", REQUEST, retry_after=5.0),
    errors.ClientClosedError(message="words", request=REQUEST),
    errors.LimitReachedError("words", REQUEST, limit="tpm", needed=5, allowed=4),
    APIResponseValidationError(Response(200, {}, b"", request=REQUEST.redacted()), "<html>", message="words"),
    ResponseTooLargeError(5),
    LengthFinishReasonError(completion=PARTIAL),
    ContentFilterFinishReasonError(completion=PARTIAL),
    StructuredOutputError("words", text="{", path="$.a", completion=PARTIAL),
    errors.EmptyAnswerError("words", text="", completion=PARTIAL),
    UploadError("words"),
    ToolArgumentsError("words", tool="f", text="{", path="$.a"),
    ToolTimeoutError(tool="f", seconds=1.5),
    ToolCancelledError(tool="f"),
    errors.DocumentError("a.pdf", "it is broken"),
    errors.DocumentsError((Document("a.pdf", "a.pdf", error=MoonshotError("words")),), 2),
    errors.DocumentsTooLongError(
        "words", model="kimi-k2.6", prompt_tokens=5, answer_tokens=1, window_tokens=4, largest=(("a.pdf", 5),)
    ),
    BatchFailedError(Batch(id="batch-1", status="failed")),
    errors.JournalError("words", path="run.db"),
    errors.JournalInUseError("words", path="run.db", pid=5, host="here"),
    errors.BudgetReachedError("words", budget="max_tokens", spent=4, allowed=5),
    *(
        cls("words", response=Response(cls.expected_status or 500, {"x-request-id": "r"}, request=REQUEST.redacted()))
        for cls in STATUS_CLASSES
    ),
]

PICKLE: list[Callable[[Any], Any]] = [
    lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
]


def test_there_is_an_instance_of_every_class() -> None:
    assert {type(error) for error in INSTANCES} == set(CLASSES)


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, *PICKLE])
@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling_and_copying(error: MoonshotError, twin_of: Callable[[Any], Any]) -> None:
    twin = twin_of(error)

    assert twin is not error
    assert type(twin) is type(error)
    assert (str(twin), twin.args, twin.retryable) == (str(error), error.args, error.retryable)
    assert vars(twin).keys() == vars(error).keys()
    for name in vars(error).keys() - {"request", "response", "headers", "batch", "documents"}:
        assert getattr(twin, name) == getattr(error, name), name
    for name in ("request", "response", "headers", "batch", "documents"):
        assert repr(getattr(twin, name, None)) == repr(getattr(error, name, None))


def test_errors_come_back_from_other_processes_as_they_were() -> None:
    errors = [copy.copy(error) for error in INSTANCES]
    for error in errors:
        error.add_note(f"a note on {type(error).__name__}")
        if isinstance(error, APIError):
            error.attempts = (Attempt(1, "InternalServerError 503", 0.5, 1.0), Attempt(2, type(error).__name__, 0.25))
            error.partial = PARTIAL

    # `exec` is found in every process, so that none has to load these tests.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        raised = [pool.submit(exec, "raise error", {"error": error}).exception() for error in errors]

    for error, twin in zip(errors, raised, strict=True):
        assert type(twin) is type(error)
        assert (str(twin), twin.__notes__) == (str(error), error.__notes__)
        for name in (
            "status_code",
            "retryable",
            "retry_after",
            "partial",
            "completion",
            "request_id",
            "bound",
            "limit",
        ):
            assert getattr(twin, name, None) == getattr(error, name, None)
        assert repr(getattr(twin, "attempts", None)) == repr(getattr(error, "attempts", None))
        # What another process tells of itself is the text of a traceback.
        assert KEY not in str(twin.__cause__)


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_no_error_holds_the_key_or_the_prompt(error: MoonshotError) -> None:
    request = getattr(error, "request", None)
    shown: list[Any] = [str(error), repr(error), vars(error), pickle.dumps(error, 0)]
    if request is not None:
        shown += [dict(request.headers), request.body]
        assert (request.method, request.url) == ("POST", "https://api.moonshot.cn/v1/x")
        assert request.headers["authorization"] == "***"

    text = " ".join(map(repr, shown))
    assert KEY not in text
    assert "somebody" not in text


def test_what_was_added_later_survives_too() -> None:
    error = APIError("words")
    error.partial = PARTIAL
    error.retryable = True
    error.attempts = (Attempt(1, "APIConnectionError", 0.5),)
    error.add_note("a note")

    twin = pickle.loads(pickle.dumps(error))

    assert (twin.partial, twin.retryable, twin.__notes__) == (PARTIAL, True, ["a note"])
    assert repr(twin.attempts[0]) == repr(error.attempts[0])


def test_the_docstring_draws_every_class() -> None:
    drawing = errors.__doc__ or ""

    for cls in CLASSES:
        assert f" {cls.__name__} " in drawing, cls
        assert getattr(moonshot_async, cls.__name__) is cls


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if hasattr(openai, cls.__name__)], ids=lambda cls: cls.__name__)
def test_classes_have_the_parents_that_they_have_in_openai(cls: type) -> None:
    theirs = getattr(openai, cls.__name__)
    shared = {one.__name__ for one in CLASSES} & set(dir(openai))

    assert {c.__name__ for c in theirs.__mro__} & shared <= {c.__name__ for c in cls.__mro__}
    assert inspect.signature(cls).parameters.keys() <= inspect.signature(theirs).parameters.keys() | {
        "clock",
        "elapsed",
        "message",
    }


def test_the_tree_can_be_caught_by_its_branches() -> None:
    assert issubclass(APITimeoutError, (APIConnectionError, TimeoutError))
    assert issubclass(APITimeoutError, TimeoutError)
    assert issubclass(StreamInterruptedError, APIConnectionError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(errors.ContentFilterError, errors.BadRequestError)
    assert issubclass(errors.ContextLengthExceededError, errors.BadRequestError)
    assert issubclass(errors.EngineOverloadedError, errors.RateLimitError)
    assert issubclass(errors.QuotaExceededError, errors.RateLimitError)
    assert not issubclass(ConfigurationError, APIError)


def test_retryability_is_a_fact_of_the_class() -> None:
    retryable = {cls.__name__ for cls in CLASSES if cls.retryable}

    assert retryable == {
        "APIConnectionError",
        "APITimeoutError",
        "EngineOverloadedError",
        "InternalServerError",
        "RateLimitError",
    }


@pytest.mark.parametrize(
    ("clock", "retryable"),
    [
        ("connect", True),
        ("read", True),
        ("write", True),
        ("total", False),
        ("pool", False),
        ("first_token", False),
        ("idle", False),
    ],
)
def test_a_timeout_is_retryable_where_no_answer_was_on_its_way(clock: Any, retryable: bool) -> None:
    error = APITimeoutError(clock=clock)

    assert (error.clock, error.retryable, str(error)) == (clock, retryable, "Request timed out.")


def test_an_error_without_details_has_none() -> None:
    error = APIError("words")

    assert (error.message, error.request, error.body) == ("words", None, None)
    assert (error.code, error.param, error.type, error.partial, error.attempts) == (None, None, None, None, ())
    assert APIError("words", body="text").type is None
    assert str(APIConnectionError()) == "Connection error."


def test_the_fields_of_an_error_object_are_text() -> None:
    error = APIError("words", body={"type": "t", "code": 5, "param": None})

    assert (error.type, error.code, error.param) == ("t", "5", None)


def test_a_validation_error_knows_its_response_where_there_is_one() -> None:
    response = Response(203, {}, b"", request=REQUEST)
    error = APIResponseValidationError(response, "body")

    assert (error.response, error.status_code, error.body) == (response, 203, "body")
    assert str(error) == "The answer is not what the API documents."
    assert error.request is not None
    assert error.request.body == b""
    assert (APIResponseValidationError().response, APIResponseValidationError().status_code) == (None, 200)
    assert str(ResponseTooLargeError(5)) == "The answer is larger than 5 bytes."
    bounded = ResponseTooLargeError(5, bound="max_depth", message="deep")
    assert (bounded.bound, bounded.allowed, bounded.max_bytes, str(bounded)) == ("max_depth", 5, None, "deep")
    # A number here, and a name in `LimitReachedError`, would be two things of one name.
    assert not hasattr(bounded, "limit")


def test_a_parsed_answer_that_was_cut_is_on_the_error() -> None:
    assert LengthFinishReasonError(completion=PARTIAL).completion is PARTIAL
    assert ContentFilterFinishReasonError().completion is None


def test_an_attempt_says_what_happened_when() -> None:
    attempt = Attempt(2, "RateLimitError 429", 0.25)
    attempt.waited = 1.0

    assert (attempt.number, attempt.waited) == (2, 1.0)
    assert "RateLimitError 429" in repr(attempt)
    assert "1.000" in repr(attempt)


def test_a_copy_keeps_the_cause_and_has_notes_of_its_own() -> None:
    error = APIConnectionError(message="no")
    error.__cause__ = OSError(104, "reset")
    error.add_note("first")

    twin = copy.copy(error)
    twin.add_note("second")

    assert twin.__cause__ is error.__cause__
    assert error.__notes__ == ["first"]
    assert twin.__notes__ == ["first", "second"]


CLASS_OF = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}
OTHERS = [300, 301, 304, 307, 308, 399, 402, 405, 406, 408, 410, 413, 414, 415, 418, 425, 431, 451, 499]
FAILURES = [500, 501, 502, 503, 504, 505, 507, 511, 520, 529, 599]
WORDS = "it cannot be done, är"
DOCUMENTED = {"error": {"type": "some_error", "message": WORDS, "code": 5, "param": None}}
BODIES: dict[str, tuple[bytes, bytes, str | None]] = {
    "documented": (json.dumps(DOCUMENTED).encode(), b"", WORDS),
    "flat": (json.dumps({"message": WORDS}).encode(), b"", WORDS),
    "text": (json.dumps({"error": WORDS}).encode(), b"", WORDS),
    "gzipped": (gzip.compress(json.dumps(DOCUMENTED).encode()), b"Content-Encoding: gzip\r\n", WORDS),
    "with a BOM": (b"\xef\xbb\xbf" + json.dumps(DOCUMENTED).encode(), b"", WORDS),
    "in latin-1": (json.dumps(DOCUMENTED, ensure_ascii=False).encode("latin-1"), b"", "it cannot be done, \ufffdr"),
    "a page": (f"<html><head><title>{WORDS}</title></head></html>".encode(), b"Content-Type: text/html\r\n", WORDS),
    "empty": (b"", b"", None),
    "broken": (b'{"error": {"message": "it', b"", None),
    "not gzipped": (b"plain", b"Content-Encoding: gzip\r\n", None),
    "null": (b"null", b"", None),
    "a number": (b"5", b"", None),
    "a list": (b'[{"error": []}]', b"", None),
    "odd types": (b'{"error": {"type": [1], "message": {"a": 1}, "code": {}, "param": [2]}}', b"", None),
    "odd errors": (b'{"error": [[], {}, null, 5]}', b"", None),
    "long": (json.dumps({"error": {"message": "x" * 500_000}}).encode(), b"", None),
    "not UTF-8": (b"\xff\xfe\x00\x01" * 20_000, b"Content-Type: application/octet-stream\r\n", None),
}


@pytest.mark.parametrize(("body", "headers", "words"), BODIES.values(), ids=BODIES)
async def test_each_status_has_its_class_whatever_the_body_is(
    scripted: Start, client_of: Any, body: bytes, headers: bytes, words: str | None
) -> None:
    statuses = iter([*CLASS_OF, *OTHERS, *FAILURES])

    async def play(peer: Peer) -> None:
        while await peer.request():
            said = b"" if (status := next(statuses)) == 304 else body
            await peer.send(answer(said, status=b"%d Odd" % status, headers=headers + b"Msh-Request-Id: r-1\r\n"))

    client = client_of(await scripted(play), max_retries=0)
    for status in (*CLASS_OF, *OTHERS, *FAILURES):
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(**ASK)
        error = caught.value
        assert type(error) is CLASS_OF.get(status, errors.InternalServerError if status >= 500 else APIStatusError)
        assert (error.status_code, error.response.status, error.request_id) == (status, status, "r-1")
        assert str(error).startswith(f"Error code: {status}")
        assert len(str(error)) <= 64 * 1024
        assert words is None or status == 304 or words in str(error)
        assert pickle.loads(pickle.dumps(error)).args == error.args
