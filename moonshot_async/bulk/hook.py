"""From a client to a bulk run: what `client.bulk` does, without the client."""

from collections.abc import Callable, Sequence
from typing import Any

from moonshot_async.bulk.clock import Clock
from moonshot_async.bulk.late_limits import LateLimits
from moonshot_async.bulk.plan import plan_of
from moonshot_async.bulk.prices import Prices
from moonshot_async.bulk.run import BulkRun
from moonshot_async.bulk.sources import Requests
from moonshot_async.catalog import Catalog, currency_of
from moonshot_async.middleware import Middleware
from moonshot_async.middleware.authorize import Authorize
from moonshot_async.middleware.breaker import CircuitBreaker
from moonshot_async.middleware.limits import RateLimits
from moonshot_async.middleware.retry import Retry
from moonshot_async.pipeline import Pipeline
from moonshot_async.redaction import forget_locals


def run_of(
    requests: Requests | None,
    defaults: dict[str, Any],
    *,
    layers: Sequence[Middleware],
    limits: Middleware | None,
    pipeline: Callable[[Sequence[Middleware]], Pipeline],
    catalog: Catalog,
    base_url: str,
    **settings: Any,
) -> BulkRun:
    """Make a run.

    Args:
        requests, defaults, settings: as for `client.bulk`.
        layers: the middleware of the client, `limits` among them.
        pipeline: makes a pipeline like that of the client, with other layers.
        catalog: the prices.
        base_url: where the API is.

    Raises:
        TypeError, ConfigurationError: as for `client.bulk`.
    """
    try:
        prices = Prices(catalog, currency_of(base_url))
        plan = plan_of(requests, defaults, prices=prices, **settings)
    except Exception as error:
        forget_locals(error)
        raise
    finally:
        defaults.clear()
    # Where the key comes of a function, its layer is laid around again.
    chain = [layer for layer in layers if not isinstance(layer, Authorize)]
    if limits is None:
        limits = next((layer for layer in chain if isinstance(layer, RateLimits)), None)
    refused = None
    if limits is None:
        # What 429s teach is learned for the whole run.
        limits = late = LateLimits(catalog)
        refused = late.refused
        above = [place for place, layer in enumerate(chain) if isinstance(layer, (Retry, CircuitBreaker))]
        chain.insert(max(above) + 1, limits)
    return BulkRun(pipeline([*chain, Clock(refused)]), plan, limits=limits, catalog=catalog, prices=prices)
