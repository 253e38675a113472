"""From lines of output and error files to results."""

import json
import pickle
from typing import Any

import pytest

from moonshot_async import (
    APIError,
    APIResponseValidationError,
    BadRequestError,
    QuotaExceededError,
    RateLimitError,
    Request,
)
from moonshot_async.errors import InternalServerError
from moonshot_async.resources.batch_results import BatchResult, ResultReader
from moonshot_async.resources.batch_spool import Joined
from moonshot_async.types.batches import Batch
from moonshot_async.wire import Headers
from tests.resources.batch_service import KEY, answer, ask, output_line

REQUEST = json.dumps({"custom_id": "q", "body": ask("a secret")}).encode()


def reader(status: str = "completed") -> ResultReader:
    request = Request(
        "POST", "https://api.moonshot.cn/v1/chat/completions", Headers({"Authorization": f"Bearer {KEY}"})
    )
    return ResultReader(request, Batch(id="batch-1", status=status))


def result_of(line: bytes | None, *, status: str = "completed") -> BatchResult:
    return reader(status).result(Joined(1, "q", REQUEST, line))


def failure(line: bytes | None, *, status: str = "completed") -> APIError:
    result = result_of(line, status=status)
    assert result.completion is None
    assert result.error is not None
    assert KEY not in f"{result.error} {result.error.body} {result.error.request}"
    assert str(pickle.loads(pickle.dumps(result.error))) == str(result.error)
    return result.error


def test_an_answer_is_a_completion_with_its_request() -> None:
    result = result_of(output_line("q", answer("Hi")))
    assert result.error is None
    assert result.completion is not None
    assert (result.completion.choices[0].message.content, result.completion.request_id) == ("Hi", "r-q")
    assert (result.custom_id, result.status_code, result.request_id) == ("q", 200, "r-q")
    assert result.request == ask("a secret")


def test_neither_prompt_nor_answer_is_shown() -> None:
    assert repr(result_of(output_line("q", answer("Hi")))) == "BatchResult('q', completion, status_code=200)"
    assert repr(result_of(None)) == "BatchResult('q', APIError, status_code=None)"


@pytest.mark.parametrize(
    ("status", "error", "cls"),
    [
        (400, {"type": "invalid_request_error", "message": f"no {KEY}"}, BadRequestError),
        (429, {"type": "rate_limit_reached_error", "message": "slow"}, RateLimitError),
        (429, {"type": "exceeded_current_quota_error", "message": "money"}, QuotaExceededError),
        (500, {"type": "server_error", "message": "oh"}, InternalServerError),
    ],
)
def test_a_status_is_the_error_that_the_call_would_have_raised(
    status: int, error: dict[str, str], cls: type[APIError]
) -> None:
    failed = failure(output_line("q", {"error": error}, status))
    assert type(failed) is cls
    assert failed.type == error["type"]
    assert getattr(failed, "request_id", None) == "r-q"


def test_an_error_may_stand_where_the_answer_should() -> None:
    failed = failure(output_line("q", {"error": {"type": "server_error", "message": f"oh {KEY}"}}))
    assert (type(failed), failed.type, failed.message) == (APIError, "server_error", "oh ***")
    assert failed.request is not None
    assert type(failure(output_line("q", {"choices": 5}))) is APIResponseValidationError
    assert type(failure(output_line("q", "text"))) is APIResponseValidationError


@pytest.mark.parametrize("body", [None, "absent"])
@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        ({"code": "batch_expired", "message": "too late"}, "too late", "batch_expired"),
        ({"code": "odd", "message": 5}, "The request failed within the batch.", "odd"),
        (f"in words {KEY}", "in words ***", None),
        ([1], "The request failed within the batch.", None),
        (None, "neither an answer nor an error", None),
    ],
)
def test_a_line_without_an_answer_has_its_error(body: Any, error: Any, said: str, code: str | None) -> None:
    response = {} if body == "absent" else {"response": body}
    failed = failure(json.dumps({"custom_id": "q", "error": error, **response}).encode())
    assert said in str(failed)
    assert failed.code == code


def test_a_line_that_is_not_as_documented_is_read_as_far_as_it_goes() -> None:
    line = json.dumps({"custom_id": "q", "response": {"status_code": "400", "request_id": 7, "body": {"error": "no"}}})
    result = result_of(line.encode())
    assert type(result.error) is BadRequestError
    assert (result.status_code, result.request_id) == (400, None)
    assert "neither" in str(failure(b'{"custom_id": "q", "response": "none"}'))
    odd = json.dumps({"custom_id": "q", "response": {"status_code": "soon", "body": answer("Hi")}}).encode()
    result = result_of(odd)
    assert result.completion is not None
    assert result.status_code is None


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("expired", "batch_expired", "expired before this request was answered"),
        ("cancelled", "batch_cancelled", "was cancelled before this request was answered"),
        ("completed", "batch_incomplete", "is completed, but its files have no line for this request"),
    ],
)
def test_a_request_without_a_line_has_an_error_that_says_so(status: str, code: str, said: str) -> None:
    failed = failure(None, status=status)
    assert (failed.code, failed.retryable) == (code, code != "batch_incomplete")
    assert said in str(failed)
    assert "batch-1" in str(failed)


def test_a_result_without_a_request_has_none() -> None:
    for line in (None, b"[]", b'{"body": 5}'):
        assert reader().result(Joined(1, "q", line, output_line("q", answer("Hi")))).request is None


def test_tokens_are_added_up() -> None:
    read = reader()
    assert read.usage.total_tokens == 0
    bare = {**answer("Hi"), "usage": None}
    for body in (answer("a"), answer("b"), bare, {"error": "x"}, {**bare, "usage": {"prompt_tokens": 1}}):
        read.result(Joined(1, "q", None, output_line("q", body)))
    usage = read.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cached_tokens) == (5, 6, 10, 2)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 2


@pytest.mark.parametrize(
    "rest",
    [
        b'"response": {"status_code": 1e400}',
        b'"response": {"status_code": "200", "body": {"n": ' + b"9" * 5000 + b"}}",
        b'"response": null, "error": 1e400',
    ],
)
def test_a_line_that_cannot_be_read_hurts_no_other_result(rest: bytes) -> None:
    assert isinstance(failure(b'{"custom_id": "q", ' + rest + b"}"), APIResponseValidationError)


@pytest.mark.parametrize(
    "line",
    [
        {"response": {"status_code": 400, "body": {"error": {"message": "cannot: a secret"}}}},
        {"response": {"status_code": 200, "body": {"error": {"message": "cannot: a secret"}}}},
        {"response": None, "error": {"message": "cannot: a secret"}},
    ],
)
def test_a_prompt_that_a_line_repeats_is_hidden_in_its_error(line: dict[str, Any]) -> None:
    error = failure(json.dumps({"custom_id": "q", **line}).encode())

    assert "cannot: ***" in error.message
    assert "a secret" not in f"{error!r} {error.body} {vars(error)}"
