"""`AsyncMoonshot`: settings in, a transport and middleware composed, the API's sections out."""

import copy
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

import msgspec

from moonshot_async import __version__
from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds
from moonshot_async.clocks import DEFAULT_TIMEOUT, Timeout, deadline
from moonshot_async.errors import ConfigurationError
from moonshot_async.middleware import Middleware
from moonshot_async.middleware.authorize import Authorize
from moonshot_async.middleware.log import Log
from moonshot_async.middleware.retry import DEFAULT_MAX_RETRIES, Retry
from moonshot_async.pipeline import Pipeline, compose, exchange, without_not_given
from moonshot_async.resources.sections import Sections
from moonshot_async.resources.verbs import Verbs
from moonshot_async.settings import (
    ApiKey,
    Region,
    checked_key,
    checked_url,
    chosen_url,
    region_url,
    warn_of_plain_http,
)
from moonshot_async.transports import Transport
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven
from moonshot_async.wire import Headers

if TYPE_CHECKING:
    from decimal import Decimal

    from moonshot_async.catalog import CacheTtl, Catalog
    from moonshot_async.types.chat import ChatCompletion

M = TypeVar("M", bound=Mapping[str, Any])
_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))


class AsyncMoonshot(Sections, Verbs):
    """A client of the Moonshot AI (Kimi) API.

    Opens nothing before the first call; close it with `await client.aclose()` or use it with `async with`. One client
    serves any number of concurrent calls.

    Args:
        api_key: the key, or an async function that returns one for each sending (rotating keys); else the environment
            variable `MOONSHOT_API_KEY` (or `KIMI_API_KEY`).
        base_url: where the API is; else `MOONSHOT_BASE_URL` or `KIMI_BASE_URL`, else by `region`.
        region: `"cn"` for https://api.moonshot.cn/v1, `"intl"` for https://api.moonshot.ai/v1. Keys belong to one.
        timeout: seconds for a whole call, all retries and the body included, or `Timeout(…)`; None for no limit.
        max_retries: how often a request that failed for a passing reason is sent again; 0 for never.
        limits: the limits of the account to keep to: `RateLimits(…)`, or another middleware that admits each attempt.
            One object may serve many clients. None for no limits.
        breaker: stops sending where most fails: `CircuitBreaker(…)`. One object may serve many clients. None for none.
        bounds: how much a server may send; see `Bounds`.
        default_headers: sent with every request.
        default_query: added to the query of every request.
        transport: instead of `AiohttpTransport()`; closed with the client.
        middleware: your own, outermost first. `Retry`, `breaker`, `limits` and `Log` follow inside yours, in this
            order; to stand elsewhere put `Retry(…)` or `Log()` into the list yourself. A `Retry` of yours counts, not
            `max_retries`.
        catalog: the prices that `cost` uses, instead of `moonshot_async.CATALOG`.
        organization, project, websocket_base_url, _strict_response_validation: ignored; programs written for the
            openai package pass them.
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
        breaker: Middleware | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
        default_headers: Mapping[str, str | None] | None = None,
        default_query: Mapping[str, object] | None = None,
        transport: Transport | None = None,
        middleware: Sequence[Middleware] | None = None,
        catalog: "Catalog | None" = None,
        organization: str | None = None,
        project: str | None = None,
        websocket_base_url: object = None,
        http_client: None = None,
        _strict_response_validation: bool = False,
    ) -> None:
        _refuse_http_client(http_client)
        self.organization = organization
        self.project = project
        self._api_key = checked_key(api_key)
        self._base_url = chosen_url(base_url, region)
        self._timeout = DEFAULT_TIMEOUT if isinstance(timeout, msgspec.UnsetType) else Timeout.of(timeout)
        self._middleware = tuple(middleware or ())
        own = [layer for layer in self._middleware if isinstance(layer, Retry)]
        self._retry = own[0] if own else Retry(max_retries)
        self._limits = limits
        self._breaker = breaker
        self._bounds = bounds
        self._catalog = catalog
        self._default_headers = without_not_given(default_headers or {})
        self._default_query = dict(default_query or {})
        if transport is None:
            warn_of_plain_http(self._base_url)
        self._transport = _default_transport(bounds) if transport is None else transport
        self._life = _Life()
        super().__init__(self._build())

    def with_options(
        self,
        *,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        region: Region | None = None,
        timeout: Timeout | float | NotGiven | None = NOT_GIVEN,
        max_retries: int | NotGiven = NOT_GIVEN,
        limits: Middleware | NotGiven | None = NOT_GIVEN,
        breaker: Middleware | NotGiven | None = NOT_GIVEN,
        bounds: Bounds | None = None,
        default_headers: Mapping[str, str | None] | None = None,
        set_default_headers: Mapping[str, str | None] | None = None,
        default_query: Mapping[str, object] | None = None,
        set_default_query: Mapping[str, object] | None = None,
        middleware: Sequence[Middleware] | None = None,
        catalog: "Catalog | None" = None,
        organization: str | None = None,
        project: str | None = None,
        websocket_base_url: object = None,
        http_client: None = None,
    ) -> Self:
        """A client with some settings changed that shares this one's connections; closing either closes both.

        `default_headers` and `default_query` are laid over those of this client, `set_default_headers` and
        `set_default_query` take their place; `max_retries` goes to the `Retry` of its `middleware`, where it has one.

        Raises:
            ConfigurationError: a setting cannot work, or both ways to set headers or query are taken.
            TypeError: `http_client` is given.
        """
        _refuse_http_client(http_client)
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
            breaker=self._breaker if isinstance(breaker, msgspec.UnsetType) else breaker,
            bounds=self._bounds if bounds is None else bounds,
            default_headers=_changed(
                "headers", self._default_headers, default_headers, set_default_headers, _laid_over
            ),
            default_query=_changed("query", self._default_query, default_query, set_default_query, operator.or_),
            transport=self._transport,
            middleware=layers,
            catalog=self._catalog if catalog is None else catalog,
            organization=organization or self.organization,
            project=project or self.project,
        )
        other._life = self._life
        if not any(isinstance(layer, Retry) for layer in layers):
            # The budget for retries is the client's, whatever its options.
            other._retry = _with_retries(self._retry, other.max_retries)
            other._pipeline.take_over(other._build())
        return other

    copy = with_options

    @property
    def api_key(self) -> str:
        """The key; empty where a function brings it. Setting it changes what the next request of this client sends."""
        return self._api_key if isinstance(self._api_key, str) else ""

    @api_key.setter
    def api_key(self, api_key: ApiKey) -> None:
        self._api_key = checked_key(api_key)
        self._pipeline.take_over(self._build())

    @property
    def base_url(self) -> str:
        """Where the API is, with a slash at the end. Setting it changes where the next request of this client goes."""
        return self._base_url + "/"

    @base_url.setter
    def base_url(self, base_url: object) -> None:
        self._base_url = checked_url(base_url)
        warn_of_plain_http(self._base_url)
        self._pipeline.take_over(self._build())

    @property
    def timeout(self) -> Timeout:
        """The clocks of every call that names none of its own."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: Timeout | float | None) -> None:
        self._timeout = Timeout.of(timeout)
        self._pipeline.take_over(self._build())

    @property
    def max_retries(self) -> int:
        """How often a request that failed for a passing reason is sent again."""
        return self._retry.max_retries

    @max_retries.setter
    def max_retries(self, max_retries: int) -> None:
        retry = _with_retries(self._retry, max_retries)
        self._middleware = tuple(retry if layer is self._retry else layer for layer in self._middleware)
        self._retry = retry
        self._pipeline.take_over(self._build())

    @property
    def default_headers(self) -> Headers:
        """What every request has, the key included; its repr hides it."""
        return self._headers()

    @property
    def default_query(self) -> dict[str, object]:
        """What is added to the query of every request."""
        return dict(self._default_query)

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Bound everything that is asked inside: `with client.deadline(8):`.

        Queues, attempts, waits and bodies of all calls together end with an `APITimeoutError` whose `clock` is
        `deadline`. It counts for tasks that are started inside, too; within another one the earlier counts. A
        stream that was opened inside keeps to it wherever it is read.

        Raises:
            ConfigurationError: `seconds` is no positive number.
        """
        return deadline(seconds)

    def cost(self, completion: "ChatCompletion", *, batch: bool = False, cache_ttl: "CacheTtl" = "5m") -> "Decimal":
        """What an answer cost, searches of the service included: in CNY on hosts that end in `.cn`, else in USD.

        Args:
            completion: the answer, with its usage.
            batch: whether it was answered in a batch.
            cache_ttl: `prompt_cache_options.ttl` of the request.

        Raises:
            ConfigurationError: the answer has no usage, or the catalog has no price for its model.

        See: https://platform.kimi.ai/docs/pricing/chat
        """
        from moonshot_async.catalog import CATALOG
        from moonshot_async.resources.costs import completion_cost

        catalog = CATALOG if self._catalog is None else self._catalog
        return completion_cost(completion, catalog, self._base_url, batch=batch, cache_ttl=cache_ttl)

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

    def _headers(self) -> Headers:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"moonshot-async/{__version__} python/{_PYTHON}",
        }
        if isinstance(self._api_key, str):
            headers["Authorization"] = f"Bearer {self._api_key}"
        return Headers(headers).merged(self._default_headers).checked()

    def _build(self) -> Pipeline:
        layers = list(self._middleware)
        if not any(isinstance(layer, Retry) for layer in layers):
            layers.append(self._retry)
        if self._breaker is not None:
            layers.append(self._breaker)
        if self._limits is not None:
            layers.append(self._limits)
        if not any(isinstance(layer, Log) for layer in layers):
            layers.append(Log())
        if not isinstance(self._api_key, str):
            layers.append(Authorize(self._api_key))
        return Pipeline(
            handler=compose(layers, exchange(self._transport)),
            base_url=self._base_url,
            headers=self._headers(),
            query=self._default_query,
            timeout=self._timeout,
            bounds=self._bounds,
            guarded=not all(getattr(layer, "keeps_deadline", False) for layer in layers),
        )


class _Life:
    """What clients that share connections share besides."""

    closed = False


def _default_transport(bounds: Bounds) -> Transport:
    # aiohttp takes longer to import than everything else together, and a program with its own transport needs none.
    from moonshot_async.transports.aiohttp import AiohttpTransport

    return AiohttpTransport(bounds=bounds)


def _refuse_http_client(http_client: object) -> None:
    if http_client is not None:
        raise TypeError("http_client cannot be used here: pass transport=AiohttpTransport(...), or your own Transport")


def _changed(name: str, now: M, over: M | None, instead: M | None, lay: Callable[[M, M], M]) -> M:
    """A setting that `with_options` can lay something over, or replace."""
    if over is not None and instead is not None:
        raise ConfigurationError(f"default_{name} and set_default_{name} exclude each other")
    if instead is not None:
        return instead
    return now if over is None else lay(now, over)


def _laid_over(under: Mapping[str, str | None], over: Mapping[str, str | None]) -> dict[str, str | None]:
    names = {name.lower() for name in over}
    return {**{name: value for name, value in under.items() if name.lower() not in names}, **over}


def _with_retries(layer: Retry, max_retries: int) -> Retry:
    changed = copy.copy(layer)
    changed.max_retries = Retry(max_retries).max_retries
    return changed
