"""`AsyncMoonshot`: settings in, a transport and middleware composed, the API's sections out."""

import operator
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, Self

import msgspec

from moonshot_async.bounds import Bounds
from moonshot_async.client_life import ClientLife
from moonshot_async.client_options import (
    ClientOptions,
    changed,
    checked_catalog,
    checked_layers,
    checked_mapping,
    checked_transport,
    chosen_bounds,
    default_transport,
    laid_over,
    refuse_http_client,
    with_retries,
)
from moonshot_async.clocks import DEFAULT_TIMEOUT, Timeout, deadline
from moonshot_async.headers import without_not_given
from moonshot_async.lifecycle import Life
from moonshot_async.middleware import Middleware
from moonshot_async.middleware.retry import DEFAULT_MAX_RETRIES, Retry
from moonshot_async.middleware.retry_rules import check_max_retries
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.sections import Sections
from moonshot_async.resources.verbs import Verbs
from moonshot_async.settings import (
    ApiKey,
    Region,
    checked_key,
    checked_url,
    chosen_url,
    is_given,
    region_url,
    warn_of_plain_http,
)
from moonshot_async.transports import Transport
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven
from moonshot_async.wire import Headers

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from decimal import Decimal

    from moonshot_async.bulk import BulkRun, Progress
    from moonshot_async.bulk.plan import Via
    from moonshot_async.bulk.sources import Requests
    from moonshot_async.catalog import CacheTtl, Catalog
    from moonshot_async.types.chat import ChatCompletion


class AsyncMoonshot(Sections, Verbs, ClientLife):
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
        bounds: how much a server may send; see `Bounds`. A `transport` that has bounds of its own looks after heads,
            trailers and compression by those: give it the same, `AiohttpTransport(bounds=…)`, or only it.
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
        bounds: Bounds | None = None,
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
        self.organization = organization
        self.project = project
        try:
            refuse_http_client(http_client)
            check_max_retries(max_retries)
            layers = checked_layers(middleware, limits, breaker)
            if transport is not None:
                checked_transport(transport)
            own = [layer for layer in layers if isinstance(layer, Retry)]
            self._options = ClientOptions(
                api_key=checked_key(api_key),
                base_url=chosen_url(base_url, region),
                timeout=DEFAULT_TIMEOUT if isinstance(timeout, msgspec.UnsetType) else Timeout.of(timeout),
                retry=own[0] if own else Retry(max_retries),
                middleware=layers,
                limits=limits,
                breaker=breaker,
                bounds=chosen_bounds(bounds, transport),
                default_headers=without_not_given(checked_mapping("default_headers", default_headers)),
                default_query=dict(checked_mapping("default_query", default_query)),
                catalog=checked_catalog(catalog),
            )
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            # Error trackers record the locals of frames; the options do not show what they are.
            del api_key, base_url, default_headers, default_query
        self._transport = default_transport(self._options.bounds) if transport is None else transport
        # Transports of others may not reach the network at all.
        if getattr(self._transport, "unused", False):
            warn_of_plain_http(self._options.base_url)
            self._transport.unused = False  # type: ignore[attr-defined]  # no part of the protocol
        self._life = Life()
        super().__init__(self._options.pipeline(self._transport, self._life))

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

        So do draining, the budget for retries, `limits` and `breaker`. `default_headers` and `default_query` are laid
        over those of this client, `set_default_headers` and `set_default_query` take their place; `max_retries` goes to
        the `Retry` of this client's `middleware`, where it has one; a `Retry` in the `middleware` that is given here
        counts as it is. `bounds` reach heads, trailers and compression only by `AiohttpTransport(bounds=…)`.

        Raises:
            ConfigurationError: a setting cannot work, `bounds` are others there than those of the transport, or both
                ways to set headers or query are taken.
            TypeError: `http_client` is given.
        """
        try:
            refuse_http_client(http_client)
            now = self._options
            layers = now.middleware if middleware is None else checked_layers(middleware)
            retries = self.max_retries if isinstance(max_retries, msgspec.UnsetType) else max_retries
            if middleware is None and not isinstance(max_retries, msgspec.UnsetType):
                layers = tuple(with_retries(layer, retries) if isinstance(layer, Retry) else layer for layer in layers)
            if is_given(base_url):
                warn_of_plain_http(checked_url(base_url))
            other = type(self)(
                api_key=now.api_key if api_key is None else api_key,
                base_url=base_url if is_given(base_url) else region_url(region) if is_given(region) else now.base_url,
                timeout=now.timeout if isinstance(timeout, msgspec.UnsetType) else timeout,
                max_retries=retries,
                limits=now.limits if isinstance(limits, msgspec.UnsetType) else limits,
                breaker=now.breaker if isinstance(breaker, msgspec.UnsetType) else breaker,
                bounds=now.bounds if bounds is None else bounds,
                default_headers=changed(
                    "headers", now.default_headers, default_headers, set_default_headers, laid_over
                ),
                default_query=changed("query", now.default_query, default_query, set_default_query, operator.or_),
                transport=self._transport,
                middleware=layers,
                catalog=now.catalog if catalog is None else catalog,
                organization=organization or self.organization,
                project=project or self.project,
            )
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            del api_key, base_url, default_headers, set_default_headers, default_query, set_default_query
        other._life = self._life
        if any(isinstance(layer, Retry) for layer in layers):
            other._change(other._options)
        else:
            # The budget for retries is the client's, whatever its options.
            other._change(other._options.changed(retry=with_retries(now.retry, retries)))
        return other

    copy = with_options

    @property
    def api_key(self) -> str:
        """The key; empty where a function brings it. Setting it changes what the next request of this client sends."""
        key = self._options.api_key
        return key if isinstance(key, str) else ""

    @api_key.setter
    def api_key(self, api_key: ApiKey) -> None:
        try:
            self._change(self._options.changed(api_key=checked_key(api_key)))
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            del api_key

    @property
    def base_url(self) -> str:
        """Where the API is, with a slash at the end. Setting it changes where the next request of this client goes."""
        return self._options.base_url + "/"

    @base_url.setter
    def base_url(self, base_url: object) -> None:
        try:
            url = checked_url(base_url)
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            del base_url
        warn_of_plain_http(url)
        self._change(self._options.changed(base_url=url))

    @property
    def timeout(self) -> Timeout:
        """The clocks of every call that names none of its own."""
        return self._options.timeout

    @timeout.setter
    def timeout(self, timeout: Timeout | float | None) -> None:
        self._change(self._options.changed(timeout=Timeout.of(timeout)))

    @property
    def max_retries(self) -> int:
        """How often a request that failed for a passing reason is sent again."""
        return self._options.retry.max_retries

    @max_retries.setter
    def max_retries(self, max_retries: int) -> None:
        self._change(self._options.with_retries(max_retries))

    @property
    def default_headers(self) -> Headers:
        """What every request has, the key included; its repr hides it."""
        return self._options.headers()

    @property
    def default_query(self) -> dict[str, object]:
        """What is added to the query of every request."""
        return dict(self._options.default_query)

    @property
    def catalog(self) -> "Catalog":
        """The models and prices that this client knows: what it was given, else `moonshot_async.CATALOG`."""
        from moonshot_async.catalog import CATALOG

        return CATALOG if self._options.catalog is None else self._options.catalog

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Bound everything that is asked inside: `with client.deadline(8):`.

        Queues, attempts, waits and bodies of all calls together end with an `APITimeoutError` whose `clock` is
        `deadline`; calls that are made when it is over send nothing. It counts for tasks that are started inside, too,
        and for streams that are read inside; within another one the earlier counts. A stream that was opened inside
        keeps to it wherever it is read. Your own waits are not bounded by it: for them there is `asyncio.timeout`.

        The same as `moonshot_async.clocks.deadline`, which needs no client. Not in a generator: it would bound the
        consumer, too. There `timeout=` of each call does, or put it around the loop that consumes the generator.

        Raises:
            ConfigurationError: `seconds` is no positive number; or, on entering, it is entered in a generator.
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
        from moonshot_async.resources.costs import completion_cost

        return completion_cost(completion, self.catalog, self._options.base_url, batch=batch, cache_ttl=cache_ttl)

    def __repr__(self) -> str:
        return f"AsyncMoonshot(base_url={self._options.base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncMoonshot holds a key and open connections, so it is neither pickled nor copied: make one in "
            "each process; with_options() makes one that shares connections"
        )

    def _change(self, options: ClientOptions) -> None:
        """Have all requests that are made from now on go the way of these options."""
        pipeline = options.pipeline(self._transport, self._life)
        self._options = options
        self._pipeline.take_over(pipeline)

    def bulk(
        self,
        requests: "Requests | None",
        *,
        journal: "str | os.PathLike[str]",
        model: str | None = None,
        concurrency: int | None = None,
        ordered: bool = False,
        max_cost: "Decimal | float | str | None" = None,
        max_tokens: int | None = None,
        via: "Via" = "live",
        retry_failed: bool = False,
        replay: bool = False,
        on_progress: "Callable[[Progress], object] | None" = None,
        handle_signals: bool = False,
        **defaults: Any,
    ) -> "BulkRun":
        """Have many requests answered, with a journal to go on from: `async for result in client.bulk(requests, …)`.

        Requests are read when there is room for them, so that memory does not grow with their number. Each result is
        on the disk before it is handed out. A run that was killed, stopped or refused goes on when it is started again
        with the same journal: what is recorded is not asked again.

        Args:
            requests: an iterable, or an async iterable, of keywords of a chat completion (a `custom_id` among them
                names the request); pairs of an id and such keywords; `BatchRequest`; or lines of JSON, of the Batch API
                or bodies of chat completions. A `pathlib.Path` of a file of such lines. What is no async iterable is
                read in a thread, so it may block. None for what the journal holds unanswered, and nothing else.
            journal: the file; it is made where there is none. It holds requests and answers, for your eyes only.
            model: for requests that name none.
            concurrency: how many calls at once. None for what the `limits` of the client tell; where they tell nothing,
                or there are none, more and more while all goes well, up to 256.
            ordered: hand results out in the order of the requests. Those that come early wait, about 1000 at most.
            max_cost: in the currency of the account; the run stops before it is overrun, with all its starts.
            max_tokens: of prompts and answers; likewise. (How long one answer may be says `max_completion_tokens`.)
            via: "live" for a call for each request; "batch" for the Batch API: 60 % of the price, within hours, and
                no limits of the account count.
            retry_failed: ask again, too, what failed in earlier starts.
            replay: hand out, too, what was recorded in earlier starts, when its request is given.
            on_progress: called with a `Progress` twice a second, and at the end.
            handle_signals: have Ctrl-C and SIGTERM call `run.stop()`, while the run goes on.
            **defaults: keywords of `chat.completions.create` for requests that do not have them, and about the calls
                themselves, such as `timeout`. A `response_format` may be a type, as for `parse`.

        Raises:
            TypeError: a keyword does not exist, or `requests` is nothing that holds requests; before any I/O.
            ConfigurationError: an argument cannot work; from the loop: a request cannot be sent, names it.
            JournalInUseError: from the loop: another run has the journal.
            JournalError: from the loop: the journal cannot be written, for want of room for example.
            BudgetReachedError: from the loop: `max_cost` or `max_tokens` might be overrun.
            APIError: from the loop, where it meets every request: no money (`QuotaExceededError`), a key that is not
                accepted, a service that fails on and on. What meets one request is in `result.error`.

        See: https://platform.kimi.ai/docs/api/chat
        """
        from importlib import import_module

        options = self._options
        # It stands above this floor, so it is looked up when it is asked for.
        run: BulkRun = import_module("moonshot_async.bulk.hook").run_of(
            requests,
            defaults if model is None else {"model": model, **defaults},
            layers=options.layers(),
            limits=options.limits,
            pipeline=lambda layers: self.with_options(middleware=layers, limits=None, breaker=None)._pipeline,
            catalog=self.catalog,
            base_url=options.base_url,
            journal=journal,
            concurrency=concurrency,
            ordered=ordered,
            max_cost=max_cost,
            max_tokens=max_tokens,
            via=via,
            retry_failed=retry_failed,
            replay=replay,
            on_progress=on_progress,
            handle_signals=handle_signals,
        )
        return run
