"""What answers cost, in whole numbers: prices of a run are looked up once for each model."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from moonshot_async.bulk.outcomes import PICO, Tokens
from moonshot_async.errors import ConfigurationError

if TYPE_CHECKING:
    from moonshot_async.catalog import CacheTtl, Catalog, Currency, Price

# Prices are given for so many tokens, as a power of ten.
_PER: Final = 6


class _Rates(msgspec.Struct, frozen=True, gc=False):
    """What one token of each kind costs, and one search, in 10⁻¹² of the unit; a search None where unknown."""

    input: int
    cached: int
    output: int
    write: int
    search: int | None


class Prices:
    """The prices of one account.

    Args:
        catalog: knows them.
        currency: of the account.
    """

    def __init__(self, catalog: "Catalog", currency: "Currency") -> None:
        self._catalog = catalog
        self.currency: Currency = currency
        self._rates: dict[tuple[str, bool, str], _Rates | None] = {}

    def cost(self, tokens: Tokens, model: str, *, batch: bool = False, ttl: "CacheTtl" = "5m") -> int | None:
        """What so many tokens cost, in 10⁻¹² of the unit; None where the catalog has no price."""
        key = model, batch, ttl
        try:
            rates = self._rates[key]
        except KeyError:
            price = self._catalog.price(model, self.currency)
            rates = self._rates[key] = None if price is None else self._made(price, batch, ttl)
        if rates is None or (tokens.searches and rates.search is None):
            return None
        plain = max(0, tokens.prompt - tokens.cached - tokens.cache_write)
        return (
            rates.input * plain
            + rates.cached * tokens.cached
            + rates.write * tokens.cache_write
            + rates.output * tokens.completion
            + (rates.search or 0) * tokens.searches
        )

    def check(self, model: str) -> None:
        """Refuse a model whose price is not known.

        Raises:
            ConfigurationError: so it is.
        """
        if self.cost(_NOTHING, model) is None:
            raise ConfigurationError(
                f"max_cost: no {self.currency.upper()} price is known for the model {model!r}: give it with "
                f"AsyncMoonshot(catalog=CATALOG.extended(models=[Model(..., price_{self.currency}=Price(...))]))"
            )

    def _made(self, price: "Price", batch: bool, ttl: "CacheTtl") -> _Rates:
        from moonshot_async.catalog import BATCH_PRICE_FACTOR

        factor = BATCH_PRICE_FACTOR if batch else Decimal(1)
        write = price.write_1h if ttl == "1h" else price.write_5m
        call = self._catalog.calls.get("$web_search")
        search = None if call is None else call.cny if self.currency == "cny" else call.usd
        return _Rates(
            input=_pico(price.input * factor, _PER),
            cached=_pico(price.cached * factor, _PER),
            output=_pico(price.output * factor, _PER),
            write=_pico((price.input if write is None else write) * factor, _PER),
            search=None if search is None else _pico(search, 0),
        )


_NOTHING: Final = Tokens()


def _pico(price: Decimal, per: int) -> int:
    return int(price.scaleb(PICO - per).to_integral_value(ROUND_HALF_EVEN))
