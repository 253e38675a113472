"""Models, prices and account tiers as data, as the vendor published them on `Catalog.as_of`.

Nothing here decides anything: an id that the catalog does not know is sent like any other, since new models appear
before new releases of this package, and other hosts serve models that Moonshot has retired. Facts that are wrong for
you are replaced with `CATALOG.extended(...)`.

Each model, tier and price for a call says where its facts come from (`source`).
"""

from moonshot_async.catalog.entries import (
    BATCH_PRICE_FACTOR,
    CacheTtl,
    CallPrice,
    Catalog,
    Currency,
    Model,
    Price,
    Thinking,
    Tier,
    TokenUsage,
    currency_of,
)
from moonshot_async.catalog.vendor import CATALOG

__all__ = [
    "BATCH_PRICE_FACTOR",
    "CATALOG",
    "CacheTtl",
    "CallPrice",
    "Catalog",
    "Currency",
    "Model",
    "Price",
    "Thinking",
    "Tier",
    "TokenUsage",
    "currency_of",
]
