"""Which exception an error answer becomes, what it says, and what it never shows."""

import copy
import json
import pickle
import string
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import errors
from moonshot_async.catalog import CATALOG
from moonshot_async.errors import APIStatusError, InternalServerError, QuotaExceededError, RateLimitError
from moonshot_async.status_errors import retry_after, status_error, with_attempts
from moonshot_async.wire import Headers, Request, Response

KEY = "sk-canary-key-123"
PROMPT = "Canary prompt of somebody"
CN = "https://api.moonshot.cn/v1/chat/completions"
INTL = "https://api.moonshot.ai/v1/chat/completions"

OVERLOADED = "The engine is currently overloaded, please try again later"
RPM = "Your account org request reached organization max RPM: 3, please try again after 1 seconds"
TPD = "Your account org request reached organization TPD rate limit"
SUSPENDED = (
    "Your account org is suspended due to insufficient balance, please recharge your account or check your plan and "
    "billing details"
)

# status, type, message, class, retryable: the table of the API's documentation, and what was seen beside it.
ROWS: list[tuple[int, str | None, str, type[APIStatusError], bool]] = [
    (
        400,
        "content_filter",
        "The request was rejected because it was considered high risk",
        errors.ContentFilterError,
        False,
    ),
    (
        400,
        "invalid_request_error",
        "invalid temperature: only 1 is allowed for this model",
        errors.BadRequestError,
        False,
    ),
    (
        400,
        "invalid_request_error",
        "Your request exceeded model token limit: 262144 (requested: 300000)",
        errors.ContextLengthExceededError,
        False,
    ),
    (400, "invalid_request_error", "Input token length too long", errors.ContextLengthExceededError, False),
    (400, None, "This model's maximum context length is 8192 tokens", errors.ContextLengthExceededError, False),
    (400, None, "The context window of this model was exceeded", errors.ContextLengthExceededError, False),
    (400, None, "Tokens exceed the context window", errors.ContextLengthExceededError, False),
    (
        400,
        "invalid_request_error",
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
        errors.BadRequestError,
        False,
    ),
    (
        400,
        "invalid_request_error",
        "the message at position 8 with role 'assistant' must not be empty",
        errors.BadRequestError,
        False,
    ),
    (400, "invalid_request_error", "missing required header Kimi-Api-Version", errors.BadRequestError, True),
    (401, "invalid_authentication_error", "Invalid Authentication", errors.AuthenticationError, False),
    (401, "incorrect_api_key_error", "Incorrect API key provided", errors.AuthenticationError, False),
    (402, None, "insufficient balance", QuotaExceededError, False),
    (403, "permission_denied_error", "The API you are accessing is not open", errors.PermissionDeniedError, False),
    (403, None, SUSPENDED, QuotaExceededError, False),
    (403, "exceeded_current_quota_error", "", QuotaExceededError, False),
    (
        404,
        "resource_not_found_error",
        "Not found the model moonshot-v1-8k or Permission denied",
        errors.NotFoundError,
        False,
    ),
    (408, None, "timeout", APIStatusError, True),
    (409, "conflict_error", "changed", errors.ConflictError, False),
    (413, None, "Request exceeds the maximum size", APIStatusError, False),
    (418, None, "teapot", APIStatusError, False),
    (422, None, "unprocessable", errors.UnprocessableEntityError, False),
    (429, "engine_overloaded_error", OVERLOADED, errors.EngineOverloadedError, True),
    (429, "overloaded_error", "", errors.EngineOverloadedError, True),
    (429, "rate_limit_reached_error", OVERLOADED, errors.EngineOverloadedError, True),
    (429, "rate_limit_reached_error", RPM, RateLimitError, True),
    (429, "rate_limit_reached_error", "reached organization max concurrency: 1, overloaded", RateLimitError, True),
    (429, "engine_overloaded_error", RPM, RateLimitError, True),
    (429, None, "", RateLimitError, True),
    (429, "rate_limit_reached_error", TPD, RateLimitError, False),
    (429, "engine_overloaded_error", TPD, RateLimitError, False),
    (429, "exceeded_current_quota_error", SUSPENDED, QuotaExceededError, False),
    (429, "exceeded_current_quota_error", "words that nobody knows", QuotaExceededError, False),
    (
        429,
        "rate_limit_reached_error",
        "You exceeded your current token quota: org, please check your account balance",
        QuotaExceededError,
        False,
    ),
    (429, None, "You exceeded your current quota", QuotaExceededError, False),
    (429, None, "The account is in arrears", QuotaExceededError, False),
    (429, None, "Please recharge", QuotaExceededError, False),
    (429, None, "request quota per minute, balance your load", RateLimitError, True),
    (499, "client_closed_request", "", APIStatusError, False),
    (500, "server_error", "", InternalServerError, True),
    (500, "unexpected_output", "", InternalServerError, True),
    (501, None, "", InternalServerError, False),
    (502, None, "", InternalServerError, True),
    (503, "server_unavailable", "", InternalServerError, True),
    (504, None, "<html>504 Gateway Time-out</html>", InternalServerError, True),
    (529, None, "", InternalServerError, True),
    (529, "overloaded_error", OVERLOADED, InternalServerError, True),
    (599, None, "", InternalServerError, True),
    (300, None, "", APIStatusError, False),
]


def refused(
    status: int, body: object = b"", headers: dict[str, str] | None = None, *, url: str = CN, key: str = KEY
) -> APIStatusError:
    request = Request("POST", url, Headers({"Authorization": f"Bearer {key}"}), PROMPT.encode())
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status_error(request, Response(status, headers or {}, content), content)


@pytest.mark.parametrize(("status", "kind", "message", "cls", "retryable"), ROWS)
def test_each_row_of_the_table_has_its_class(
    status: int, kind: str | None, message: str, cls: type[APIStatusError], retryable: bool
) -> None:
    error = refused(status, {"error": {"type": kind, "message": message}})

    assert type(error) is cls
    assert error.retryable is retryable
    assert (error.status_code, error.type, error.code, error.param) == (status, kind, None, None)
    assert str(error) == error.message
    assert str(error).startswith(f"Error code: {status} - {message}" if message else f"Error code: {status}")
    assert error.body == {"type": kind, "message": message}
    assert error.attempts == ()


@pytest.mark.parametrize(
    "cls",
    [cls for cls in vars(errors).values() if "expected_status" in getattr(cls, "__dict__", {}) and cls.expected_status],
)
def test_the_class_of_a_status_is_the_one_that_says_so(cls: type[APIStatusError]) -> None:
    assert isinstance(refused(cls.expected_status or 0, {"error": {"message": "x"}}), cls)


def test_code_and_param_of_any_type_are_text() -> None:
    error = refused(400, {"error": {"message": "x", "code": 1301, "param": "n", "type": 7}})

    assert (error.code, error.param, error.type) == ("1301", "n", "7")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("just text", "just text"),
        ({"error": "the text"}, "the text"),
        ({"detail": "the detail"}, "the detail"),
        ({"detail": [{"msg": "字段", "loc": ["body"]}]}, '[{"msg": "字段", "loc": ["body"]}]'),
        ({"message": "flat", "code": 5}, "flat"),
        ({"msg": "short"}, "short"),
        ({"error": {"message": "inner", "code": 1}}, "inner"),
        ({"error": True, "message": "beside"}, "beside"),
        ({"error": [], "message": "beside"}, "beside"),
        ({"error": {}, "message": "beside"}, "beside"),
        ({"error": {"message": None}}, ""),
        (1301, "1301"),
        ([1, "x"], '[1, "x"]'),
        (None, ""),
        (b"plain words\n", "plain words"),
        (b"\xef\xbb\xbf" + b'{"error": {"message": "marked"}}', "marked"),
        (b'{"error": {"message": "\\ud83c"}}', "\ufffd"),
        (b"<html><head><title> 504 Gateway\nTime-out </title></head><body>x</body></html>", "504 Gateway\nTime-out"),
        (b"<!doctype html><TITLE lang=en>Oops</TITLE>", "Oops"),
        (b"<html>no title</html>", "<html>no title</html>"),
        (b"", ""),
        (b"  \n", ""),
        (b"\xff\xfe bad", "\ufffd\ufffd bad"),
        (b"{broken", "{broken"),
    ],
)
def test_the_words_of_the_server_are_found_in_bodies_of_any_shape(body: object, text: str) -> None:
    error = refused(418, body)

    assert str(error) == (f"Error code: 418 - {text}" if text else "Error code: 418")


def test_a_body_that_is_no_json_is_kept_as_text() -> None:
    assert refused(502, b"Bad gateway").body == "Bad gateway"
    assert refused(502, b" ").body is None
    assert refused(400, {"detail": ["x"]}).body == {"detail": ["x"]}


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 65536,
        b'{"error":{"message":"' + b"x" * 60000 + b'"}}',
        b'{"detail":["' + b"x" * 60000 + b'"]}',
        b'["' + b"x" * 60000 + b'"]',
        b"<html>" + b"x" * 60000,
    ],
)
def test_the_message_is_bounded_however_much_came(body: bytes) -> None:
    assert 3900 < len(str(refused(500, body))) < 4200


@pytest.mark.parametrize(
    "text", ["exceed" * 10_000, "context window " * 4_000, "<title" * 10_000, "retry after 1" * 5_000]
)
def test_a_text_made_to_keep_patterns_busy_does_not(text: str) -> None:
    assert type(refused(400, {"error": {"message": text}})) is errors.BadRequestError
    assert type(refused(400, text.encode())) is errors.BadRequestError


@pytest.mark.parametrize("levels", [30, 990, 5000, 30000])
def test_a_body_of_any_depth_makes_an_error_that_can_be_copied(levels: int) -> None:
    for body in (b"[" * levels + b"]" * levels, b'{"detail":' * levels + b"1" + b"}" * levels):
        error = refused(400, body)

        assert type(error) is errors.BadRequestError
        assert pickle.loads(pickle.dumps(copy.deepcopy(error))).body == error.body


@given(
    st.integers(300, 999), st.binary() | st.text().map(lambda text: json.dumps({"error": {"message": text}}).encode())
)
def test_no_answer_raises_anything_else(status: int, body: bytes) -> None:
    error = refused(status, body, {"retry-after": body.decode("latin-1")})

    assert isinstance(error, APIStatusError)
    assert error.status_code == status


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (CN, 'is this key of the other region? Try region="intl" (https://api.moonshot.ai/v1)'),
        (INTL, 'is this key of the other region? Try region="cn" (https://api.moonshot.cn/v1)'),
        ("http://127.0.0.1:8000/v1/x", "127.0.0.1 does not accept this key: check api_key and base_url"),
    ],
)
def test_a_401_points_to_the_other_region(url: str, advice: str) -> None:
    error = refused(
        401, {"error": {"type": "invalid_authentication_error", "message": "Invalid Authentication"}}, url=url
    )

    assert str(error).startswith("Error code: 401 - Invalid Authentication (")
    assert advice in str(error)


@pytest.mark.parametrize("name", ["moonshot-v1-8k", "`moonshot-v1-8k`", '"moonshot-v1-8k"', "moonshot-v1-8k."])
def test_a_404_on_a_retired_model_says_since_when_and_what_works(name: str) -> None:
    error = refused(404, {"error": {"message": f"Not found the model {name} or Permission denied"}})

    assert "moonshot-v1-8k was shut off on 2026-08-31; models that work now: kimi-k3.1-pro, " in str(error)
    assert all(id in str(error) for id in CATALOG.current_ids())


def test_a_404_on_an_unknown_model_says_what_works_and_others_say_nothing() -> None:
    unknown = refused(404, {"error": {"message": "Not found the model org/k9 or Permission denied"}})
    elsewhere = refused(404, {"error": {"message": "Not found the file f-1"}})

    assert "shut off" not in str(unknown)
    assert "models that work now: kimi-k3.1-pro" in str(unknown)
    assert str(elsewhere) == "Error code: 404 - Not found the file f-1"


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (429, SUSPENDED, "top up"),
        (429, TPD, "the next day"),
        (400, "Input token length too long", "shorten the messages or lower max_completion_tokens"),
        (504, "<html>504 Gateway Time-out</html>", "stream long answers"),
        (504, "", "sent again only with retry_slow=True, since it may be billed twice"),
    ],
)
def test_where_people_go_wrong_the_message_has_advice(status: int, message: str, advice: str) -> None:
    assert advice in str(refused(status, {"error": {"message": message}}))


def test_a_refusal_that_repeats_what_was_sent_is_kept_without_it() -> None:
    body = {"detail": [{"loc": ["body", "messages"], "msg": "too long", "input": {"messages": ["the prompt"]}}]}

    error = refused(422, body)

    assert "too long" in str(error)
    assert "the prompt" not in f"{error} {error.body}"


def test_a_key_is_masked_however_json_writes_it() -> None:
    key = "sk-abc/def/ghi+jklmnop=="
    body = json.dumps({"error": {"message": f"bad key {key}"}}).replace("/", "\\/").encode()

    error = refused(401, body, key=key)

    assert key not in f"{error} {error.body}"
    assert "bad key ***" in str(error)


def test_a_key_that_is_a_word_does_not_mangle_what_the_server_says() -> None:
    error = refused(429, {"error": {"type": "rate_limit_reached_error", "message": "rate"}}, key="rate")

    assert error.type == "rate_limit_reached_error"


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 399])
def test_a_redirect_is_an_error_that_names_its_target(status: int) -> None:
    error = refused(status, b"", {"Location": "https://elsewhere.example/v1"})

    assert type(error) is APIStatusError
    assert "points to 'https://elsewhere.example/v1': check base_url" in str(error)
    assert str(refused(status)) == f"Error code: {status}"
    assert not error.retryable


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [
        ({"Retry-After": "7"}, "", 7.0),
        ({"Retry-After": " 1.5 "}, "", 1.5),
        ({"Retry-After": "0"}, "", 0.0),
        ({"Retry-After-Ms": "250"}, "", 0.25),
        ({"Retry-After-Ms": "250", "Retry-After": "7"}, RPM, 0.25),
        ({"Retry-After-Ms": "soon", "Retry-After": "7"}, RPM, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, "", 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 -0000"}, "", 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30"}, "", 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 09:28:30 +0200"}, "", 30.0),
        ({"Retry-After": "Wednesday, 21-Oct-15 07:28:30 GMT"}, "", 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT"}, "", 0.0),
        ({}, RPM, 1.0),
        ({}, "Please Retry After 2 Seconds.", 2.0),
        ({}, "try again in 20s", 20.0),
        ({}, "try again in 1.5 s", 1.5),
        ({}, "try again in 300ms", 0.3),
        ({}, "retry in 250 milliseconds", 0.25),
        ({}, "retry after 1 minute", 60.0),
        ({}, "retry after 2m", 120.0),
        ({"Retry-After": "86400"}, "", 86400.0),
        ({"Retry-After": "soon"}, RPM, 1.0),
        ({"Retry-After": "-1"}, RPM, 1.0),
        ({"Retry-After": "1, 1"}, RPM, 1.0),
        ({"Retry-After": "99999999999"}, RPM, 1.0),
        ({}, "", None),
        ({}, "try again later", None),
        ({}, "try again after 5 apples", None),
        ({}, "try again after " + "9" * 400 + " seconds", None),
        ({}, "try again after 99999999999 seconds", None),
    ],
)
def test_the_wait_is_read_from_headers_and_words(headers: dict[str, str], text: str, seconds: float | None) -> None:
    assert retry_after(Headers(headers), text, now=1445412480.0) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "soon",
            "-1",
            "+1",
            "nan",
            "inf",
            "-inf",
            "1e3",
            "1_0",
            "0x1",
            "١",
            "1" * 16,
            "9" * 5000,
            "1.",
            ".5",
        ),
        *("Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 21 Oct 99999 07:28:00 GMT", "Wed, 45 Oct 2015 07:28:00 GMT"),
    ],
)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms"])
def test_a_wait_that_cannot_be_meant_counts_as_absent(name: str, value: str) -> None:
    assert retry_after(Headers({name: value}), "", now=1445412480.0) is None


@given(st.text(alphabet=string.printable), st.text(alphabet=string.printable))
def test_no_wait_is_negative_or_without_end(value: str, text: str) -> None:
    seconds = retry_after(Headers({"retry-after": value}), "try again after " + text)

    assert seconds is None or 0 <= seconds <= 365 * 86400


def test_a_date_is_counted_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.status_errors.time.time", lambda: 1445412470.0)

    error = refused(503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})

    assert error.retry_after == 10.0


def test_the_wait_is_on_the_error() -> None:
    assert refused(429, {"error": {"message": RPM}}).retry_after == 1.0
    assert refused(429, {"error": {"message": RPM}}, {"Retry-After": "9"}).retry_after == 9.0
    assert refused(429).retry_after is None


@pytest.mark.parametrize(
    ("headers", "body", "request_id"),
    [
        ({"Msh-Request-Id": "m", "X-Request-Id": "x"}, {}, "m"),
        ({"X-Request-Id": "x"}, {"error": {"message": "", "request_id": "b"}}, "x"),
        ({"x-msh-trace-id": "t"}, {}, "t"),
        ({"x-trace-id": "t"}, {}, "t"),
        ({}, {"error": {"message": "", "request_id": "b"}}, "b"),
        ({}, {"error": {"message": "", "request_id": 5}}, None),
        ({}, {}, None),
    ],
)
def test_the_request_id_is_found(headers: dict[str, str], body: object, request_id: str | None) -> None:
    assert refused(500, body, headers).request_id == request_id


def everything_of(error: APIStatusError) -> str:
    """All that an error shows to whoever prints, logs, walks or pickles it."""
    response, request = error.response, error.request
    assert request is not None
    assert response.request is not None
    shown: list[Any] = [str(error), repr(error), vars(error), pickle.dumps(error, 0), response, response.text]
    shown += [response.content, dict(response.headers), dict(error.headers), pickle.dumps(response, 0)]
    for one in (request, response.request):
        shown += [one, dict(one.headers), one.body, one.url]
    return " ".join(map(repr, shown))


def test_a_key_that_the_server_echoes_is_masked_everywhere() -> None:
    body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY, "x": [KEY]}}

    error = refused(401, body, {"www-authenticate": f'Bearer error="{KEY}"', "location": f"/?key={KEY}"})

    assert KEY not in everything_of(error)
    assert "Incorrect API key provided: ***" in str(error)
    assert error.response.json()["error"]["x"] == ["***"]
    assert error.headers["www-authenticate"] == 'Bearer error="***"'


def test_a_key_in_another_header_is_masked_too() -> None:
    request = Request("GET", CN, Headers({"Api-Key": "another-key-77", "X-Title": "public-title"}))
    body = b"no: another-key-77 public-title"

    assert str(status_error(request, Response(401, {}, body), body)).startswith(
        "Error code: 401 - no: *** public-title"
    )


def test_what_is_too_short_to_be_a_key_is_not_masked() -> None:
    assert str(refused(418, b"none of a", key="a")) == "Error code: 418 - none of a"


def test_no_error_holds_the_prompt_or_an_account() -> None:
    error = refused(500, b"", {"msh-org-id": "org-77", "x-request-id": "r"})

    assert "somebody" not in everything_of(error)
    assert "org-77" not in f"{error!r} {vars(error)} {pickle.dumps(error, 0)!r} {dict(error.headers)}"
    assert error.headers["x-request-id"] == "r"


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_copied_and_pickled(twin_of: Any) -> None:
    error = refused(429, {"error": {"type": "rate_limit_reached_error", "message": RPM}}, {"x-request-id": "r"})

    twin = twin_of(error)

    assert type(twin) is RateLimitError
    assert (str(twin), twin.status_code, twin.body) == (str(error), 429, error.body)
    assert (twin.retryable, twin.retry_after, twin.request_id) == (True, 1.0, "r")
    assert (twin.response.status_code, twin.response.text) == (429, error.response.text)
    assert twin.request.url == CN


def test_an_error_after_the_head_has_the_attempts_before_it_and_its_own_time() -> None:
    before = errors.Attempt(1, "InternalServerError 503", elapsed=4.0, waited=5.0)
    request = Request("GET", CN, attempt=2, earlier=(before,), started=time.monotonic() - 10.0)

    error = with_attempts(errors.APIConnectionError(), request)

    assert error.attempts[0] is before
    assert (error.attempts[1].number, error.attempts[1].error) == (2, "APIConnectionError")
    assert error.attempts[1].elapsed == pytest.approx(1.0, abs=0.5)
    assert with_attempts(error, Request("GET", CN)).attempts[0].elapsed == 0.0


def test_the_response_can_be_read_after_the_fact() -> None:
    error = refused(418, {"error": {"message": "x"}}, {"X-A": "1"})

    assert error.response.json() == {"error": {"message": "x"}}
    assert error.response.headers["x-a"] == error.headers["X-A"] == "1"
    assert error.response.url == CN
