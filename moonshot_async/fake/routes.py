"""Which handler answers which request: methods and path patterns, as data.

A pattern is a path with `{name}` for one segment and `{name+}` for one or more; what they match is handed to the
handler as it was sent, not decoded.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from moonshot_async.fake.blobs import Blob
from moonshot_async.fake.failures import JSON_TYPE
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import Headers, Request, Response

NO_JSON: Final = "Invalid request: the body is not valid JSON"


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request on its way to its handler.

    Attributes:
        request: its `body` may be no more than the beginning of a large one: see `body`.
        number: counts the requests to this fake.
        values: what the placeholders of the pattern matched.
        body: all of it.
    """

    request: Request
    number: int
    values: tuple[str, ...]
    body: Blob

    @property
    def headers(self) -> Headers:
        return self.request.headers

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query, decoded; the last one of a name counts."""
        return dict(parse_qsl(urlsplit(self.request.url).query, keep_blank_values=True))

    @property
    def value(self) -> str:
        """What the only placeholder matched, decoded."""
        return unquote(self.values[0])

    def json(self, message: str = NO_JSON, *, type: str = "invalid_request_error") -> Any:
        """Decode the body.

        Raises:
            RefusedError: it is not JSON.
        """
        try:
            return msgspec.json.decode(self.body.read())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RefusedError(message, type=type) from None

    def json_object(self, message: str = "Invalid request: the body must be a JSON object") -> dict[str, Any]:
        """Decode the body.

        Raises:
            RefusedError: it is not a JSON object.
        """
        payload = self.json()
        if not isinstance(payload, dict):
            raise RefusedError(message)
        return payload


Handler: TypeAlias = Callable[[Call], Response | Awaitable[Response]]
# What a section does to every answer of its routes, errors included; the number is that of the request.
Finish: TypeAlias = Callable[[Request, int, Response], Response]


class Route(msgspec.Struct, frozen=True):
    """One way into the service.

    Attributes:
        method: upper case.
        pattern: of the path.
        handler: answers.
        finish: sees every answer of the route, also those that did not come from the handler.
    """

    method: str
    pattern: str
    handler: Handler
    finish: Finish | None = None


class Router:
    """Finds the route of a request: by its path first, then by its method."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = patterns if "{" in route.pattern else self._exact
            table.setdefault(route.pattern, {})[route.method] = route
        self._patterns = [(_compiled(pattern), methods) for pattern, methods in patterns.items()]

    def find(self, path: str) -> tuple[Mapping[str, Route], tuple[str, ...]] | None:
        """The routes of a path by their method, and what its placeholders matched; None where there is nothing."""
        if methods := self._exact.get(path):
            return methods, ()
        for pattern, found in self._patterns:
            if match := pattern.fullmatch(path):
                return found, match.groups()
        return None


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\+?\})", pattern)
    return re.compile("".join(_expression(part) for part in parts))


def _expression(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return "(.+)" if part.endswith("+}") else "([^/]+)"


def json_response(value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """An answer in JSON."""
    return Response(status, [("Content-Type", JSON_TYPE), *headers], msgspec.json.encode(value))
