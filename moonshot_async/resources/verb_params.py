"""What calls to unknown endpoints are given: their options, and what is to be sent in one of three forms."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, TypedDict

from moonshot_async.clocks import Timeout
from moonshot_async.resources.call import CallOptions
from moonshot_async.types.encoding import NotGiven, plain, to_json

# Those that every call of the SDK takes under the same name.
_SAME_OPTIONS: Final = ("timeout", "max_retries", "retry_slow", "priority")


class RequestOptions(TypedDict, total=False):
    """What `get`, `post`, `put`, `patch` and `delete` take as `options`.

    Attributes:
        headers: laid over the client's headers; None takes one out.
        params: laid over the client's query.
        timeout, max_retries, retry_slow, priority: as in `CallOptions`.
        extra_json: laid over the top level of the body.
        idempotency_key: sent as `Idempotency-Key`; the service documents it for few endpoints.
        follow_redirects: False, or left out: redirects are never followed, since they would carry the key elsewhere.
    """

    headers: Mapping[str, str | None] | None
    params: Mapping[str, object] | None
    timeout: Timeout | float | NotGiven | None
    max_retries: int | None
    retry_slow: bool | None
    priority: int
    extra_json: Mapping[str, object] | None
    idempotency_key: str | None
    follow_redirects: bool


Files: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]


class BodyParams(TypedDict, total=False):
    """What `post` takes besides; see there."""

    body: object
    content: bytes | None
    files: Files | None
    options: RequestOptions


class Form:
    """A file and the other fields of its form."""

    def __init__(self, file: Any, fields: Mapping[str, object]) -> None:
        self.file = file
        self.fields = {name: v if isinstance(v, str) else to_json(plain(v)).decode() for name, v in fields.items()}

    def with_fields(self, more: Mapping[str, object] | None) -> "Form":
        return Form(self.file, {**self.fields, **(more or {})})


def content_of(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return b"" if body is None else to_json(plain(body))


def body_of(body: object, content: bytes | None, files: Files | None) -> object:
    if sum(part is not None for part in (content, files)) + (body is not None and files is None) > 1:
        raise TypeError("body, content and files exclude each other, but for the fields of a form beside its file")
    if files is None:
        return body if content is None else content
    named = list(files.items() if isinstance(files, Mapping) else files)
    if [name for name, _ in named] != ["file"]:
        raise TypeError("files takes one file, in the field 'file': {'file': Path(...)}; other forms go into content=")
    return Form(named[0][1], mapping_of(body))


def mapping_of(body: object) -> Mapping[str, object]:
    if body is None:
        return {}
    if not isinstance(body, Mapping):
        raise TypeError("body must be a mapping here: fields of a form, or what extra_json is laid over")
    return body


def call_options(options: RequestOptions) -> tuple[CallOptions, Mapping[str, object] | None]:
    for name in options:
        if name not in RequestOptions.__annotations__:
            known = ", ".join(sorted(RequestOptions.__annotations__))
            raise TypeError(f"options has no {name!r}; it takes {known}")
    if options.get("follow_redirects"):
        raise TypeError("redirects are not followed: they would carry the key elsewhere")
    headers = dict(options.get("headers") or {})
    if (key := options.get("idempotency_key")) is not None:
        headers["Idempotency-Key"] = key
    given: Any = options
    same: Any = {name: given[name] for name in _SAME_OPTIONS if name in given}
    call: CallOptions = same
    call["extra_headers"], call["extra_query"] = headers, options.get("params")
    return call, options.get("extra_json")
