"""From an answer with an error status to the exception that says what happened and what to do.

The API's `error.type` decides first. Gateways flatten bodies, and the service itself has sent rate limits under the
overload type and the reverse, so the words of the message decide where the type says nothing or is contradicted.

See: https://platform.kimi.ai/docs/api/errors
"""

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from moonshot_async import errors
from moonshot_async.catalog import CATALOG
from moonshot_async.errors import APIStatusError
from moonshot_async.wire import REDACTED, Headers, Request, Response

_MESSAGE_CHARS: Final = 4000

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

_BILLING: Final = re.compile(
    r"exceeded your current (?:token )?quota|check your account balance|insufficient balance"
    r"|recharge your account|please recharge|in arrears",
    re.IGNORECASE,
)
_CONTEXT: Final = re.compile(
    r"exceed\w*[^.]*model token limit|context length|context window[^.]*exceed|exceed[^.]*context window"
    r"|input token length too long",
    re.IGNORECASE,
)
_RATE: Final = re.compile(r"\bmax (?:RPM|TPM|TPD|concurrency)\b|\b(?:RPM|TPM|TPD)\b|rate limit", re.IGNORECASE)
_OVERLOAD: Final = re.compile(r"overload", re.IGNORECASE)
_PER_DAY: Final = re.compile(r"\bTPD\b")
_WAIT: Final = re.compile(
    r"(?:try again|retry) (?:after|in) (\d+(?:\.\d+)?) ?(ms|milliseconds?|s|seconds?|m|minutes?)\b"
)
_UNITS: Final = {"ms": 0.001, "millisecond": 0.001, "s": 1.0, "second": 1.0, "m": 60.0, "minute": 60.0}
# A fault of a rollout on the server's side that hit valid requests at random.
_TRANSIENT_400: Final = re.compile(r"missing required header kimi-api-version", re.IGNORECASE)
_MODEL: Final = re.compile(r"[Nn]ot found the model [`'\"]?([\w.:/-]+)")


def status_error(request: Request, response: Response, content: bytes) -> APIStatusError:
    """Make the exception for `response`, whose body was read as `content` (bounded).

    Returns:
        The most precise subclass of `APIStatusError`, with advice in its message where people go wrong, `retryable`
        and `retry_after` set, and a key that the server echoed masked.
    """
    content = _masked(content, request.headers)
    response.keep(content)
    response.request = request.redacted()
    body = _error_body(content)
    kind, text = _type_and_message(body)
    cls = _classify(response.status, kind, text)
    message = f"Error code: {response.status}" + (f" - {text[:_MESSAGE_CHARS]}" if text else "")
    if hint := _advice(cls, request, response, text):
        message += f" ({hint})"
    error = cls(message, response=response, body=body)
    error.retry_after = retry_after(response.headers, text)
    error.retryable = _retryable(cls, response.status, text)
    return error


def retry_after(headers: Headers, text: str, *, now: float | None = None) -> float | None:
    """Seconds that the answer asks to wait: `retry-after-ms`, `retry-after` (seconds or HTTP date), or its words.

    Malformed, negative and non-finite values count as absent. `now` is in Unix seconds.

    See: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after")
    if value is not None:
        seconds = _number(value)
        if seconds is not None:
            return seconds
        try:
            moment = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            pass
        else:
            return max(0.0, moment - (time.time() if now is None else now))
    if match := _WAIT.search(text):
        return float(match[1]) * _UNITS[match[2].removesuffix("s") if len(match[2]) > 2 else match[2]]
    return None


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(r"\s*\d{1,15}(?:\.\d{1,9})?\s*", value, re.ASCII):
        return None
    return float(value)


def _masked(content: bytes, headers: Headers) -> bytes:
    key = headers.get("authorization", "").removeprefix("Bearer ").encode()
    return content.replace(key, REDACTED.encode()) if len(key) > 3 else content


def _error_body(content: bytes) -> Any:
    """The `error` object of the body, else the decoded body, else its text."""
    text = content.decode("utf-8", "replace").strip()
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return text[:_MESSAGE_CHARS] or None
    if isinstance(tree, dict) and tree.get("error"):
        return tree["error"]
    return tree


def _type_and_message(body: Any) -> tuple[str, str]:
    if isinstance(body, dict):
        kind, message = body.get("type"), body.get("message") or body.get("detail") or body.get("msg")
        text = message if isinstance(message, str) else "" if message is None else json.dumps(message)
        return (kind if isinstance(kind, str) else ""), text
    if isinstance(body, str):
        return "", _page_title(body)
    return "", "" if body is None else json.dumps(body)[:_MESSAGE_CHARS]


def _page_title(text: str) -> str:
    """A long HTML page says what it says in its title."""
    match = re.search(r"<title[^>]*>([^<]*)</title>", text, re.IGNORECASE) if text.startswith("<") else None
    return match[1].strip() if match else text


def _classify(status: int, kind: str, text: str) -> type[APIStatusError]:
    if kind == "exceeded_current_quota_error" or (status in (402, 403, 429) and _BILLING.search(text)):
        return errors.QuotaExceededError
    if status == 429:
        if kind in ("engine_overloaded_error", "overloaded_error"):
            return errors.RateLimitError if _RATE.search(text) else errors.EngineOverloadedError
        overloaded = _OVERLOAD.search(text) and not _RATE.search(text)
        return errors.EngineOverloadedError if overloaded else errors.RateLimitError
    if kind == "content_filter":
        return errors.ContentFilterError
    if status == 400 and _CONTEXT.search(text):
        return errors.ContextLengthExceededError
    if status >= 500:
        return errors.InternalServerError
    return _BY_STATUS.get(status, APIStatusError)


def _retryable(cls: type[APIStatusError], status: int, text: str) -> bool:
    if cls is errors.RateLimitError:
        return not _PER_DAY.search(text)
    if cls is errors.InternalServerError:
        return status not in _FINAL_SERVER_STATUSES
    if cls is errors.BadRequestError:
        return bool(_TRANSIENT_400.search(text))
    return cls.retryable or status == 408


def _advice(cls: type[APIStatusError], request: Request, response: Response, text: str) -> str:
    if cls is errors.AuthenticationError:
        return _region_advice(request)
    if cls is errors.NotFoundError:
        return _model_advice(text)
    if cls is errors.QuotaExceededError:
        return "the balance of the account decides, not the time: top up, or check client.users.balance()"
    if cls is errors.RateLimitError and _PER_DAY.search(text):
        return "the daily token limit is reached; it starts again the next day, so this is not retried"
    if cls is errors.ContextLengthExceededError:
        return "shorten the messages or lower max_completion_tokens"
    if response.status == 504:
        return "the gateway waited 900 s for an answer: stream long answers; sending it again may be billed again"
    if 300 <= response.status < 400:
        return f"redirects are not followed; it points to {response.headers.get('location')!r}: check base_url"
    return ""


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
    if not (match := _MODEL.search(text)):
        return ""
    model = match[1].rstrip(".")
    retired = CATALOG.is_retired(model)
    since = f"{model} was shut off on {retired.isoformat()}; " if retired else ""
    ids = ", ".join(CATALOG.current_ids())
    return f"{since}models that work now: {ids}; client.models.list() tells which of them your key may use"
