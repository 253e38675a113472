"""From an answer with an error status to the exception that says what happened and what to do; and for every exception
about an answer, what it may carry.

The API's `error.type` decides first. Gateways flatten bodies, and the service itself has sent rate limits under the
overload type and the reverse, so the words of the message decide where the type says nothing or is contradicted.

See: https://platform.kimi.ai/docs/api/errors
"""

import json
import re
import time
from datetime import UTC
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from moonshot_async import errors
from moonshot_async.errors import APIError, APIResponseValidationError, APIStatusError, Attempt
from moonshot_async.redaction import Redactor
from moonshot_async.types.model import parse, shallow
from moonshot_async.wire import Headers, Request, Response

E = TypeVar("E", bound=APIError)

_MESSAGE_CHARS: Final = 4000
# A server that asks to wait for longer than a year does not mean it.
_LONGEST_WAIT: Final = 365 * 86400.0

_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}
# Statuses of 500 and above that no repetition mends.
_FINAL_SERVER_STATUSES: Final = frozenset({501, 505, 511})

# Patterns are text, which `re` compiles when it first meets it: most programs see no error, and all take 0.9 ms.
_BILLING: Final = (
    r"(?i)exceeded your current (?:token )?quota|check your account balance|insufficient balance"
    r"|recharge your account|please recharge|in arrears"
)
_CONTEXT: Final = (
    r"(?i)exceed[^.]{0,200}model token limit|context length|context window[^.]{0,200}exceed"
    r"|exceed[^.]{0,200}context window"
    r"|input token length too long"
)
# The account has as many files as it may.
_FULL: Final = r"(?i)\bmax (?:file count|total size)\b"
_RATE: Final = r"(?i)\bmax (?:RPM|TPM|TPD|concurrency)\b|\b(?:RPM|TPM|TPD)\b|rate limit"
_OVERLOAD: Final = r"(?i)overload"
_PER_DAY: Final = r"\bTPD\b"
_WAIT: Final = r"(?i)(?:try again|retry) (?:after|in) (\d+(?:\.\d+)?) ?(ms|milliseconds?|s|seconds?|m|minutes?)\b"
_UNITS: Final = {"ms": 0.001, "millisecond": 0.001, "s": 1.0, "second": 1.0, "m": 60.0, "minute": 60.0}
# A fault of a rollout on the server's side that hit valid requests at random.
_TRANSIENT_400: Final = r"(?i)missing required header kimi-api-version"
_QUERY: Final = r"(?s)[?#].*"
_AUTHORITY_USER: Final = r"//[^/]*@"
_TARGET_CHARS: Final = 300
_MODEL: Final = r"[Nn]ot found the model [`'\"]?([\w.:/-]+)"


def status_error(request: Request, response: Response, content: bytes) -> APIStatusError:
    """Make the exception for `response`, whose body was read as `content` (bounded).

    Returns:
        The most precise subclass of `APIStatusError`, with advice in its message where people go wrong, `retryable`
        and `retry_after` set, and a key that the server echoed masked.
    """
    redactor = Redactor(request, response.headers)
    body = _error_body(content)
    kind, text = _type_and_message(body)
    cls = _classify(response.status, kind, text)
    shown = redactor.text(text)
    message = f"Error code: {response.status}" + (f" - {shown}" if shown else "")
    if hint := _advice(cls, request, response, text, redactor):
        message += f" ({hint})"
    response.keep(redactor.content(content))
    response.headers = redactor.headers(response.headers)
    response.request = request.redacted()
    error = cls(message, response=response, body=redactor.tree(body))
    error.retry_after = retry_after(response.headers, text)
    error.retryable = _retryable(cls, response.status, text)
    return error


def complete(error: APIError, request: Request, response: Response) -> APIError:
    """Say in an error what was asked, without key and prompt, and hide those that the server echoed.

    The frames that it went through go: they hold what came as it came.
    """
    error.__traceback__ = None
    redactor = Redactor(response.request or request, response.headers)
    error.request = request.redacted()
    error.message = redactor.text(error.message)
    error.body = redactor.tree(error.body)
    error.code, error.param, error.type = map(redactor.tree, (error.code, error.param, error.type))
    error.args = (error.message,)
    with_attempts(error, request)
    if isinstance(error, APIResponseValidationError) and response.is_read:
        response.request = error.request
        response.keep(redactor.content(response.content))
        response.headers = redactor.headers(response.headers)
        error.response = response
    return error


def with_attempts(error: E, request: Request) -> E:
    """Say in an error that came after the head, or from outside, which sendings there were, its own last."""
    before = sum(attempt.elapsed + attempt.waited for attempt in request.earlier)
    elapsed = 0.0 if request.started is None else max(0.0, time.monotonic() - request.started - before)
    error.attempts = (*request.earlier, Attempt.failed(request.attempt, error, elapsed))
    return error


def retry_after(headers: Headers, text: str, *, now: float | None = None) -> float | None:
    """Seconds that the answer asks to wait: `retry-after-ms`, `retry-after` (seconds or HTTP date), or its words.

    Malformed, negative and non-finite values, and waits of more than a year, count as absent. `now` is in Unix seconds.

    See: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    value = headers.get("retry-after", "")
    waits = (
        _seconds(headers.get("retry-after-ms", ""), 0.001),
        _seconds(value, 1.0),
        _seconds_until(value, time.time() if now is None else now),
        _seconds_in_words(text),
    )
    return next((wait for wait in waits if wait is not None and wait <= _LONGEST_WAIT), None)


def _seconds(value: str, unit: float) -> float | None:
    return float(value) * unit if re.fullmatch(r"\s*\d{1,15}(?:\.\d{1,9})?\s*", value, re.ASCII) else None


def _seconds_until(value: str, now: float) -> float | None:
    # Imported late: only errors come here.
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    # HTTP knows no local time: a date without a zone is in GMT, too.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


def _seconds_in_words(text: str) -> float | None:
    if not (match := re.search(_WAIT, text)):
        return None
    unit = match[2].lower()
    return _seconds(match[1], _UNITS[unit.removesuffix("s") if len(unit) > 2 else unit])


def _error_body(content: bytes) -> Any:
    """The `error` object of the body, else the decoded body, else its text."""
    try:
        tree = _without_input(shallow(parse(content)))
    except APIResponseValidationError:
        return content.decode("utf-8", "replace").strip()[:_MESSAGE_CHARS] or None
    error = tree.get("error") if isinstance(tree, dict) else None
    return error if error and isinstance(error, (dict, str)) else tree


def _without_input(tree: Any) -> Any:
    """Validation errors of web frameworks hold, in `input`, what they refuse: the prompt."""
    if isinstance(tree, dict):
        return {name: _without_input(value) for name, value in tree.items() if name != "input"}
    return [_without_input(item) for item in tree] if isinstance(tree, list) else tree


def _type_and_message(body: Any) -> tuple[str, str]:
    """What decides the class, and the words for it: bounded, since patterns are looked for in them."""
    kind: Any = ""
    message: Any = body
    if isinstance(body, dict):
        kind, message = body.get("type"), body.get("message") or body.get("detail") or body.get("msg") or ""
    elif isinstance(body, str):
        message = _page_title(body)
    text = message if isinstance(message, str) else "" if message is None else json.dumps(message, ensure_ascii=False)
    return (kind if isinstance(kind, str) else ""), text[:_MESSAGE_CHARS]


def _page_title(text: str) -> str:
    """A long HTML page says what it says in its title."""
    match = re.search(r"<title[^>]*>([^<]*)</title>", text, re.IGNORECASE) if text.startswith("<") else None
    return match[1].strip() if match else text


def _classify(status: int, kind: str, text: str) -> type[APIStatusError]:
    if kind == "exceeded_current_quota_error" or (status in (402, 403, 429) and re.search(_BILLING, text)):
        return errors.QuotaExceededError
    if status == 429:
        if kind in ("engine_overloaded_error", "overloaded_error"):
            return errors.RateLimitError if re.search(_RATE, text) else errors.EngineOverloadedError
        overloaded = re.search(_OVERLOAD, text) and not re.search(_RATE, text)
        return errors.EngineOverloadedError if overloaded else errors.RateLimitError
    if kind == "content_filter":
        return errors.ContentFilterError
    if status == 400 and re.search(_CONTEXT, text):
        return errors.ContextLengthExceededError
    if status >= 500:
        return errors.InternalServerError
    return _BY_STATUS.get(status, APIStatusError)


def _retryable(cls: type[APIStatusError], status: int, text: str) -> bool:
    if cls is errors.RateLimitError:
        return not re.search(_PER_DAY, text)
    if cls is errors.InternalServerError:
        return status not in _FINAL_SERVER_STATUSES
    if cls is errors.BadRequestError:
        return bool(re.search(_TRANSIENT_400, text))
    return cls.retryable or status == 408


def _advice(cls: type[APIStatusError], request: Request, response: Response, text: str, redactor: Redactor) -> str:
    if cls is errors.AuthenticationError:
        return _region_advice(request)
    if cls is errors.NotFoundError:
        return _model_advice(text)
    if cls is errors.QuotaExceededError:
        return "the balance of the account decides, not the time: top up in the console"
    if cls is errors.RateLimitError and re.search(_PER_DAY, text):
        return "the daily token limit is reached; it starts again the next day, so this is not retried"
    if cls is errors.ContextLengthExceededError:
        return "shorten the messages or lower max_completion_tokens"
    if cls is errors.BadRequestError and re.search(_FULL, text):
        return (
            "the account has no room for more files: `await janitor(client)` (moonshot_async.toolkit.documents) "
            "deletes old ones"
        )
    if response.status == 504:
        return (
            "the gateway gave up waiting for an answer, which it does after 900 s: stream long answers; what took "
            "long is sent again only with retry_slow=True, since it may be billed twice"
        )
    if 300 <= response.status < 400:
        target = _target(redactor.headers(response.headers).get("location", ""))
        return f"redirects are not followed; it points to {target!r}: check base_url" if target else ""
    return ""


def _target(location: str) -> str:
    """Where a redirect points: without its query, which may hold what was sent, and without a password."""
    return re.sub(_AUTHORITY_USER, "//", re.sub(_QUERY, "", location))[:_TARGET_CHARS]


def _region_advice(request: Request) -> str:
    host = urlsplit(request.url).hostname or ""
    if host.endswith("moonshot.cn"):
        other = 'region="intl" (https://api.moonshot.ai/v1)'
    elif host.endswith("moonshot.ai"):
        other = 'region="cn" (https://api.moonshot.cn/v1)'
    else:
        return f"{host} does not accept this key: check api_key and base_url"
    return f"keys belong to one region: is this key of the other region? Try {other}"


def _model_advice(text: str) -> str:
    if not (match := re.search(_MODEL, text)):
        return ""
    # Imported late: only this advice needs it.
    from moonshot_async.catalog import CATALOG

    model = match[1].rstrip(".")
    retired = CATALOG.retired_on(model)
    since = f"{model} was shut off on {retired.isoformat()}; " if retired else ""
    ids = ", ".join(CATALOG.current_ids())
    return f"{since}models that work now: {ids}; client.models.list() tells which of them your key may use"
