"""`AsyncMoonshot`: settings in, a transport and middleware composed, the API's sections out."""

import copy
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec

from moonshot_async import __version__
from moonshot_async.clocks import DEFAULT_TIMEOUT, Timeout
from moonshot_async.errors import ConfigurationError
from moonshot_async.middleware import Handler, Middleware
from moonshot_async.middleware.log import Log
from moonshot_async.middleware.retry import DEFAULT_MAX_RETRIES, Retry
from moonshot_async.pipeline import Pipeline, compose, exchange
from moonshot_async.resources.call import checked_method, checked_path
from moonshot_async.transports import Transport
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven, to_json
from moonshot_async.types.model import ModelDecoder
from moonshot_async.wire import Headers, Request, Response

if TYPE_CHECKING:
    from moonshot_async.resources.chat import Chat
    from moonshot_async.resources.models import Models

T = TypeVar("T")
Region: TypeAlias = Literal["cn", "intl"]
ApiKey: TypeAlias = str | Callable[[], Awaitable[str]]

_BASE_URLS: Final[dict[str, str]] = {"cn": "https://api.moonshot.cn/v1", "intl": "https://api.moonshot.ai/v1"}
_KEY_VARIABLES: Final = ("MOONSHOT_API_KEY", "KIMI_API_KEY")
_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))


class AsyncMoonshot:
    """A client of the Moonshot AI (Kimi) API.

    Opens nothing before the first call; close it with `await client.aclose()` or use it with `async with`. One client
    serves any number of concurrent calls.

    Args:
        api_key: the key, or an async function that returns one for each sending (rotating keys); else the environment
            variable `MOONSHOT_API_KEY` (or `KIMI_API_KEY`).
        base_url: where the API is; else `MOONSHOT_BASE_URL`, else by `region`.
        region: `"cn"` for https://api.moonshot.cn/v1, `"intl"` for https://api.moonshot.ai/v1. Keys belong to one.
        timeout: seconds for a whole call, all retries and the body included, or `Timeout(…)`; None for no limit.
        max_retries: how often a request that failed for a passing reason is sent again; 0 for never.
        limits: a middleware that admits each attempt, for example a rate limiter; stands inside the retries.
        default_headers: sent with every request.
        default_query: added to the query of every request.
        transport: instead of `AiohttpTransport()`; closed with the client.
        middleware: your own, outermost first. `Retry`, `limits` and `Log` follow inside yours, in this order; to stand
            elsewhere put `Retry(…)` or `Log()` into the list yourself. A `Retry` of yours counts, not `max_retries`.
        organization, project: ignored; programs written for the openai package pass them.
        http_client: nothing but None: an HTTP client of another package cannot be used, see `transport`.

    Raises:
        ConfigurationError: a key, URL or option cannot work. The message never shows the key.
        TypeError: `http_client` is given, or `max_retries` is no whole number.

    See: https://platform.kimi.ai/docs/api/overview
    """

    def __init__(
        self,
        *,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        region: Region | None = None,
        timeout: Timeout | float | NotGiven | None = NOT_GIVEN,
        max_retries: int = DEFAULT_MAX_RETRIES,
        limits: Middleware | None = None,
        default_headers: Mapping[str, str | None] | None = None,
        default_query: Mapping[str, object] | None = None,
        transport: Transport | None = None,
        middleware: Sequence[Middleware] | None = None,
        organization: object = None,
        project: object = None,
        http_client: None = None,
    ) -> None:
        if http_client is not None:
            raise TypeError(
                "http_client cannot be used here: pass transport=AiohttpTransport(...), or your own Transport"
            )
        by_region = _region_url(region)
        self._api_key = _checked_key(api_key)
        self._base_url = _checked_url(base_url or os.environ.get("MOONSHOT_BASE_URL") or by_region)
        self._timeout = DEFAULT_TIMEOUT if isinstance(timeout, msgspec.UnsetType) else Timeout.of(timeout)
        self._middleware = tuple(middleware or ())
        own = [layer for layer in self._middleware if isinstance(layer, Retry)]
        self._retry = own[0] if own else Retry(max_retries)
        self._limits = limits
        self._default_headers = dict(default_headers or {})
        self._default_query = dict(default_query or {})
        if transport is None:
            _warn_of_plain_http(self._base_url)
        self._transport = _default_transport() if transport is None else transport
        self._life = _Life()
        self._pipeline = self._build()

    def with_options(
        self,
        *,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        region: Region | None = None,
        timeout: Timeout | float | NotGiven | None = NOT_GIVEN,
        max_retries: int | NotGiven = NOT_GIVEN,
        limits: Middleware | NotGiven | None = NOT_GIVEN,
        default_headers: Mapping[str, str | None] | None = None,
        default_query: Mapping[str, object] | None = None,
        middleware: Sequence[Middleware] | None = None,
    ) -> Self:
        """A client with some settings changed that shares this one's connections; closing either closes both.

        `default_headers` and `default_query` are laid over those of this client; `max_retries` goes to the `Retry` of
        its `middleware`, where it has one.
        """
        layers = self._middleware if middleware is None else middleware
        if not isinstance(max_retries, msgspec.UnsetType):
            layers = [_with_retries(layer, max_retries) if isinstance(layer, Retry) else layer for layer in layers]
        if base_url:
            _warn_of_plain_http(_checked_url(base_url))
        other = type(self)(
            api_key=self._api_key if api_key is None else api_key,
            base_url=base_url or (self._base_url if region is None else _region_url(region)),
            timeout=self._timeout if isinstance(timeout, msgspec.UnsetType) else timeout,
            max_retries=self.max_retries if isinstance(max_retries, msgspec.UnsetType) else max_retries,
            limits=self._limits if isinstance(limits, msgspec.UnsetType) else limits,
            default_headers=_laid_over(self._default_headers, default_headers or {}),
            default_query={**self._default_query, **(default_query or {})},
            transport=self._transport,
            middleware=layers,
        )
        other._life = self._life
        return other

    copy = with_options

    @cached_property
    def chat(self) -> "Chat":
        """Chat completions."""
        from moonshot_async.resources.chat import Chat

        return Chat(self._pipeline)

    @cached_property
    def models(self) -> "Models":
        """The models that the key may use."""
        from moonshot_async.resources.models import Models

        return Models(self._pipeline)

    @property
    def base_url(self) -> str:
        """Where the API is, with a slash at the end."""
        return self._base_url + "/"

    @property
    def timeout(self) -> Timeout:
        """The clocks of every call that names none of its own."""
        return self._timeout

    @property
    def max_retries(self) -> int:
        """How often a request that failed for a passing reason is sent again."""
        return self._retry.max_retries

    async def request(
        self,
        method: str,
        path: str,
        *,
        response_type: type[T] | Any = Any,
        body: object = None,
        extra_headers: Mapping[str, str | None] | None = None,
        extra_query: Mapping[str, object] | None = None,
        timeout: Timeout | float | NotGiven | None = NOT_GIVEN,
    ) -> T | Any:
        """Call an endpoint that the SDK does not know, with everything that it does for those it knows.

        Args:
            method: the HTTP method.
            path: below the base URL, for example "/files".
            response_type: what the JSON answer is decoded to: a msgspec struct or any type msgspec knows; `Any` for
                plain dicts and lists, `bytes` for the body as it came.
            body: bytes, or anything that has a JSON form.

        Raises:
            ConfigurationError: the path is a URL or leads out of the base URL, or the method is none.
            APIError: in all its kinds.
        """
        content = body if isinstance(body, bytes) else b"" if body is None else to_json(body)
        request = self._pipeline.request(
            checked_method(method),
            checked_path(path),
            content,
            extra_headers=extra_headers,
            extra_query=extra_query,
            timeout=timeout,
        )
        if response_type is bytes:
            return await self._pipeline.read(request, await self._pipeline.open(request))
        return await self._pipeline.fetch(request, ModelDecoder(response_type))

    def is_closed(self) -> bool:
        """Whether `aclose` was called, on this client or on one that shares its connections."""
        return self._life.closed

    async def aclose(self) -> None:
        """Close all connections; calls and streams still running raise `APIConnectionError`. May be repeated."""
        self._life.closed = True
        await self._transport.aclose()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncMoonshot(base_url={self._base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncMoonshot holds a key and open connections: make one in each process instead")

    def _build(self) -> Pipeline:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"moonshot-async/{__version__} python/{_PYTHON}",
        }
        layers = list(self._middleware)
        if not any(isinstance(layer, Retry) for layer in layers):
            layers.append(self._retry)
        if self._limits is not None:
            layers.append(self._limits)
        if not any(isinstance(layer, Log) for layer in layers):
            layers.append(Log())
        if isinstance(self._api_key, str):
            headers["Authorization"] = f"Bearer {self._api_key}"
        else:
            layers.append(_Authorize(self._api_key))
        return Pipeline(
            handler=compose(layers, exchange(self._transport)),
            base_url=self._base_url,
            headers=Headers(headers).merged(self._default_headers).checked(),
            query=self._default_query,
            timeout=self._timeout,
        )


class _Life:
    """What clients that share connections share besides."""

    closed = False


class _Authorize:
    """Asks for the key before each sending, so that a retry uses a fresh one; a header of the caller's goes first."""

    def __init__(self, api_key: Callable[[], Awaitable[str]]) -> None:
        self._api_key = api_key

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        if "authorization" in request.headers:
            return await call_next(request)
        key = _clean_key(await self._api_key(), "the api_key function")
        return await call_next(request.replace(headers=request.headers.merged({"Authorization": f"Bearer {key}"})))


def _default_transport() -> Transport:
    # aiohttp takes longer to import than everything else together, and a program with its own transport needs none.
    from moonshot_async.transports.aiohttp import AiohttpTransport

    return AiohttpTransport()


def _laid_over(under: Mapping[str, str | None], over: Mapping[str, str | None]) -> dict[str, str | None]:
    names = {name.lower() for name in over}
    return {**{name: value for name, value in under.items() if name.lower() not in names}, **over}


def _with_retries(layer: Retry, max_retries: int) -> Retry:
    changed = copy.copy(layer)
    changed.max_retries = Retry(max_retries).max_retries
    return changed


def _checked_key(api_key: ApiKey | None) -> ApiKey:
    if callable(api_key):
        return api_key
    if api_key is not None:
        return _clean_key(api_key, "api_key")
    for variable in _KEY_VARIABLES:
        if value := os.environ.get(variable):
            return _clean_key(value, variable)
    raise ConfigurationError(
        "No API key: set the environment variable MOONSHOT_API_KEY, or pass api_key=. "
        "Keys are made at https://platform.kimi.ai (region intl) and https://platform.kimi.com (region cn)."
    )


def _clean_key(key: object, source: str) -> str:
    """A key that can stand in a header. What is wrong with it is told without showing it."""
    if not isinstance(key, str):
        raise ConfigurationError(f"{source} must be text, not {type(key).__name__}")
    key = key.strip()
    if not key:
        raise ConfigurationError(f"{source} is empty: it must hold an API key, which begins with 'sk-'")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"{source} has characters that no API key has: was something else pasted with it?")
    return key


def _region_url(region: str | None) -> str:
    try:
        return _BASE_URLS[region or "cn"]
    except KeyError:
        raise ConfigurationError(f"region must be 'cn' or 'intl', not {region!r}") from None


def _checked_url(url: object) -> str:
    text = str(url).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ConfigurationError(f"base_url must be an http(s) URL such as {_BASE_URLS['intl']}")
    if parts.username is not None or "?" in text or "#" in text:
        raise ConfigurationError("base_url must not have a user, a query or a fragment; see default_query")
    return text


def _warn_of_plain_http(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        return
    warnings.warn(
        f"base_url is plain http to {host}: the key and every prompt travel readable for all on the way. Use https, or "
        'silence this with warnings.filterwarnings("ignore", message="base_url is plain http").',
        stacklevel=3,
    )


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
