"""The settings of a client: what they are, how `with_options` changes them, and the pipeline that they make."""

import copy
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import msgspec

from moonshot_async import __version__
from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds, checked_bounds
from moonshot_async.clocks import Timeout
from moonshot_async.errors import ConfigurationError
from moonshot_async.exchange import compose, exchange
from moonshot_async.headers import Unshown
from moonshot_async.lifecycle import Life
from moonshot_async.middleware import Middleware
from moonshot_async.middleware.authorize import Authorize
from moonshot_async.middleware.log import Log
from moonshot_async.middleware.retry import Retry
from moonshot_async.pipeline import Pipeline
from moonshot_async.settings import ApiKey
from moonshot_async.transports import Transport
from moonshot_async.wire import Headers

if TYPE_CHECKING:
    from moonshot_async.catalog import Catalog

M = TypeVar("M", bound=Mapping[str, Any])
# The bounds that only a transport can keep.
_OF_TRANSPORT: Final = ("max_head_bytes", "max_trailer_bytes", "max_decompressed_bytes")
_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))


class ClientOptions(Unshown, msgspec.Struct, frozen=True, kw_only=True):
    """What a client was told, checked. The keywords of `AsyncMoonshot` say what it means.

    Attributes:
        retry: the `Retry` of `middleware`, where it has one.
    """

    api_key: ApiKey
    base_url: str
    timeout: Timeout
    retry: Retry
    middleware: tuple[Middleware, ...]
    limits: Middleware | None
    breaker: Middleware | None
    bounds: Bounds
    default_headers: dict[str, str | None]
    default_query: dict[str, object]
    catalog: "Catalog | None"

    def changed(self, **changes: Any) -> "ClientOptions":
        """A copy with some of them changed."""
        return msgspec.structs.replace(self, **changes)

    def with_retries(self, max_retries: int) -> "ClientOptions":
        """A copy with another number of retries, and the same budget for them.

        Raises:
            ConfigurationError: it is less than 0.
            TypeError: it is no whole number.
        """
        retry = with_retries(self.retry, max_retries)
        layers = tuple(retry if layer is self.retry else layer for layer in self.middleware)
        return self.changed(retry=retry, middleware=layers)

    def headers(self) -> Headers:
        """What every request has, the key included; its repr hides it.

        Raises:
            ConfigurationError: one of them cannot be sent.
        """
        headers = Headers(
            {
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": f"moonshot-async/{__version__} python/{_PYTHON}",
            }
        )
        if isinstance(self.api_key, str):
            headers = headers.merged({"Authorization": f"Bearer {self.api_key}"})
        return headers.merged(self.default_headers).checked()

    def layers(self) -> list[Middleware]:
        """The middleware in its order, the outermost first."""
        layers = list(self.middleware)
        if not any(layer is self.retry for layer in layers):
            layers.append(self.retry)
        # An open breaker takes no place of the limits, and each attempt counts for both.
        if self.breaker is not None:
            layers.append(self.breaker)
        if self.limits is not None:
            layers.append(self.limits)
        if not any(isinstance(layer, Log) for layer in layers):
            layers.append(Log())
        if not isinstance(self.api_key, str):
            layers.append(Authorize(self.api_key))
        return layers

    def pipeline(self, transport: Transport, life: Life) -> Pipeline:
        """The way that the requests of the client go."""
        layers = self.layers()
        return Pipeline(
            handler=compose(layers, exchange(transport, life, self.bounds)),
            base_url=self.base_url,
            headers=self.headers(),
            query=self.default_query,
            timeout=self.timeout,
            bounds=self.bounds,
            guarded=not all(getattr(layer, "keeps_deadline", False) for layer in layers),
            life=life,
        )

    # The one that a struct has would show the key.
    def __repr__(self) -> str:
        return f"ClientOptions(base_url={self.base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the options of a client hold a key, which must not leave the process in a pickle")


def with_retries(layer: Retry, max_retries: int) -> Retry:
    """A copy of a `Retry` with another number of retries; it draws on the same budget.

    Raises:
        ConfigurationError: the number is less than 0.
        TypeError: it is no whole number.
    """
    changed = copy.copy(layer)
    changed.max_retries = Retry(max_retries).max_retries
    return changed


def default_transport(bounds: Bounds) -> Transport:
    """The transport of a client that was given none."""
    # aiohttp takes longer to import than everything else together, and a program with its own transport needs none.
    from moonshot_async.transports.aiohttp import AiohttpTransport

    return AiohttpTransport(bounds=bounds)


def checked_layers(middleware: Any, limits: object = None, breaker: object = None) -> tuple[Middleware, ...]:
    """The layers of the user's, looked at together with those that have a keyword of their own.

    Raises:
        ConfigurationError: it is no list, one of them is no layer, or stands in two places.
    """
    if middleware is None or middleware is msgspec.UNSET:
        middleware = ()
    if isinstance(middleware, (str, bytes, type, Mapping)) or not isinstance(middleware, Iterable):
        raise ConfigurationError(f"middleware must be a list of layers, such as [Retry(1)], not {_kind(middleware)}")
    layers = tuple(middleware)
    for layer in layers:
        _check_layer("middleware", layer, "Retry(...)")
    for name, own, example in (("limits", limits, "RateLimits(...)"), ("breaker", breaker, "CircuitBreaker(...)")):
        if own is not None:
            _check_layer(name, own, example)
            if any(own is layer for layer in layers):
                raise ConfigurationError(
                    f"{name}= stands in middleware=, too: a call would wait for itself, or count twice; give it once"
                )
    if limits is not None and limits is breaker:
        raise ConfigurationError("limits= and breaker= are the same: they are RateLimits(...) and CircuitBreaker(...)")
    return layers


def _check_layer(name: str, layer: object, example: str) -> None:
    if isinstance(layer, type) or not callable(layer):
        raise ConfigurationError(
            f"{name}: {_kind(layer)} is no layer: pass {example}, or your own `async (request, call_next) -> response`"
        )


def checked_transport(transport: Any) -> None:
    """Refuse what is no transport.

    Raises:
        ConfigurationError: says what to pass.
    """
    whole = callable(getattr(transport, "send", None)) and callable(getattr(transport, "aclose", None))
    if whole and not isinstance(transport, type):
        return
    kind = _kind(transport)
    if callable(transport) and not isinstance(transport, type):
        raise ConfigurationError(f"transport: {kind} is an app: pass MemoryTransport(...) of it")
    raise ConfigurationError(f"transport must be AiohttpTransport(...), MemoryTransport(app) or your own, not {kind}")


def checked_mapping(name: str, given: Any) -> Mapping[str, Any]:
    """A setting that has names and values; empty where it is not given. The values are never shown.

    Raises:
        ConfigurationError: it is no mapping.
    """
    if given is None or given is msgspec.UNSET:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{name} must be a mapping of names to values, not {_kind(given)}")
    return given


def checked_catalog(catalog: Any) -> "Catalog | None":
    """The prices to count with.

    Raises:
        ConfigurationError: they are none.
    """
    if catalog is None:
        return None
    # Imported late: most programs ask for no costs.
    from moonshot_async.catalog import Catalog

    if not isinstance(catalog, Catalog):
        raise ConfigurationError(f"catalog must be a Catalog, such as moonshot_async.CATALOG, not {_kind(catalog)}")
    return catalog


def chosen_bounds(bounds: Any, transport: Any) -> Bounds:
    """How much a server may send: what was given, else what the transport was made with, if it knows bounds.

    Raises:
        ConfigurationError: they are none; or the transport, which keeps some of them, has other ones.
    """
    own = getattr(transport, "bounds", None)
    if bounds is None:
        return own if isinstance(own, Bounds) else DEFAULT_BOUNDS
    checked = checked_bounds(bounds)
    if isinstance(own, Bounds):
        for name in _OF_TRANSPORT:
            if (asked := getattr(checked, name)) != (kept := getattr(own, name)):
                raise ConfigurationError(
                    f"bounds: {name} is kept by the transport, which was made with {kept}, not {asked}: "
                    f"give it the same, transport={type(transport).__name__}(bounds=...)"
                )
    return checked


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def refuse_http_client(http_client: object) -> None:
    """Refuse the HTTP client of another package.

    Raises:
        TypeError: there is one.
    """
    if http_client is not None:
        raise TypeError("http_client cannot be used here: pass transport=AiohttpTransport(...), or your own Transport")


def changed(name: str, now: M, over: M | None, instead: M | None, lay: Callable[[M, M], M]) -> M:
    """A setting that `with_options` can lay something over, or replace.

    Raises:
        ConfigurationError: it is to do both.
    """
    if over is not None and instead is not None:
        raise ConfigurationError(f"default_{name} and set_default_{name} exclude each other")
    for given, setting in ((over, f"default_{name}"), (instead, f"set_default_{name}")):
        checked_mapping(setting, given)
    if instead is not None:
        return instead
    return now if over is None else lay(now, over)


def laid_over(under: Mapping[str, str | None], over: Mapping[str, str | None]) -> dict[str, str | None]:
    """Headers laid over others, however their names are written."""
    names = {str(name).lower() for name in over}
    return {**{name: value for name, value in under.items() if str(name).lower() not in names}, **over}
