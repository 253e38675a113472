"""`AsyncMoonshot`: settings in, a transport and middleware composed, the API's sections out."""

import copy
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar, Unpack, overload

import msgspec

from moonshot_async import __version__
from moonshot_async.clocks import DEFAULT_TIMEOUT, Timeout
from moonshot_async.errors import ConfigurationError
from moonshot_async.middleware import Handler, Middleware
from moonshot_async.middleware.log import Log
from moonshot_async.middleware.retry import DEFAULT_MAX_RETRIES, Retry
from moonshot_async.pipeline import Pipeline, compose, exchange
from moonshot_async.resources.call import CallOptions, check_options, checked_method, checked_path
from moonshot_async.resources.sections import Sections
from moonshot_async.settings import ApiKey, Region, checked_key, checked_url, clean_key, region_url, warn_of_plain_http
from moonshot_async.transports import Transport
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven, plain, to_json
from moonshot_async.types.model import ModelDecoder
from moonshot_async.wire import Headers, Request, Response

T = TypeVar("T")
_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))


class AsyncMoonshot(Sections):
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
        by_region = region_url(region)
        self._api_key = checked_key(api_key)
        if base_url:
            self._base_url = checked_url(base_url)
        else:
            self._base_url = checked_url(os.environ.get("MOONSHOT_BASE_URL") or by_region, "MOONSHOT_BASE_URL")
        self._timeout = DEFAULT_TIMEOUT if isinstance(timeout, msgspec.UnsetType) else Timeout.of(timeout)
        self._middleware = tuple(middleware or ())
        own = [layer for layer in self._middleware if isinstance(layer, Retry)]
        self._retry = own[0] if own else Retry(max_retries)
        self._limits = limits
        self._default_headers = dict(default_headers or {})
        self._default_query = dict(default_query or {})
        if transport is None:
            warn_of_plain_http(self._base_url)
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
            warn_of_plain_http(checked_url(base_url))
        other = type(self)(
            api_key=self._api_key if api_key is None else api_key,
            base_url=base_url or (self._base_url if region is None else region_url(region)),
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

    @overload
    async def request(
        self, method: str, path: str, *, response_type: type[T], body: object = ..., **options: Unpack[CallOptions]
    ) -> T: ...

    @overload
    async def request(
        self, method: str, path: str, *, response_type: Any = ..., body: object = ..., **options: Unpack[CallOptions]
    ) -> Any: ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        response_type: Any = Any,
        body: object = None,
        **options: Unpack[CallOptions],
    ) -> Any:
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
        check_options(options, call="request")
        content = body if isinstance(body, bytes) else b"" if body is None else to_json(plain(body))
        request = self._pipeline.request(
            checked_method(method),
            checked_path(path),
            content,
            **options,
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
            guarded=any(not isinstance(layer, (Retry, Log)) for layer in layers),
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
        coming = self._api_key()
        if not isawaitable(coming):
            raise ConfigurationError("the api_key function must be async: its result is awaited before each sending")
        key = clean_key(await coming, "the api_key function")
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
