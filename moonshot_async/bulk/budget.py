"""What a run may spend: what is in flight counts with the most that it may become, until it is known."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from moonshot_async.bulk.items import AnyRequest, Item
from moonshot_async.bulk.journal.totals import Totals
from moonshot_async.bulk.outcomes import PICO, Tokens, amount
from moonshot_async.bulk.prices import Prices
from moonshot_async.bulk.sources import Make
from moonshot_async.errors import BudgetReachedError, ConfigurationError
from moonshot_async.middleware.limit_estimates import Estimate, Estimates

if TYPE_CHECKING:
    from moonshot_async.catalog import CacheTtl, Catalog

_CACHE_OPTIONS: Final = b"prompt_cache_options"


class _Asked(msgspec.Struct):
    model: str = ""
    n: int | None = None
    prompt_cache_options: dict[str, Any] | None = None


class Reserved(msgspec.Struct, frozen=True):
    """What one call may come to.

    Attributes:
        tokens: of prompt and answer.
        cost: in 10⁻¹² of the unit.
        estimate: what that was made of.
    """

    tokens: int
    cost: int
    estimate: Estimate


class Budget:
    """Money and tokens of a run.

    Args:
        max_cost: in the currency of the account; None for no limit.
        max_tokens: of prompts and answers; None for no limit.
        prices: of the account.
        catalog: knows how long answers may be where a request does not say.
        batch: whether the price is that of batches.
    """

    def __init__(
        self,
        max_cost: Decimal | None,
        max_tokens: int | None,
        prices: Prices,
        catalog: "Catalog",
        *,
        batch: bool,
    ) -> None:
        self._max_cost = None if max_cost is None else int(max_cost.scaleb(PICO))
        self._max_tokens = max_tokens
        self._prices = prices
        self._estimates = Estimates(catalog)
        self._batch = batch
        self._spent_tokens = self._spent_cost = 0
        self._open_tokens = self._open_cost = 0
        self._lost_tokens = self._lost_cost = 0
        self._refused: Literal["max_cost", "max_tokens"] = "max_tokens"

    def begin(self, totals: Totals) -> None:
        """Take in what earlier starts have spent.

        Raises:
            ConfigurationError: nobody knows what that was.
        """
        if self._max_cost is not None and totals.unpriced:
            raise ConfigurationError(
                f"max_cost: the journal has {totals.unpriced} answers whose price is not known, so that it cannot be "
                "kept; use max_tokens, or give the price with AsyncMoonshot(catalog=CATALOG.extended(...))"
            )
        self._spent_tokens = totals.prompt_tokens + totals.completion_tokens + totals.lost_tokens
        self._spent_cost = totals.cost + totals.lost_cost
        self._lost_tokens, self._lost_cost = totals.lost_tokens, totals.lost_cost

    def take(self, item: Item, *, anyway: bool = False) -> Reserved | None:
        """Reserve what a call may come to; None where it does not fit at the moment, unless it is taken `anyway`.

        Raises:
            ConfigurationError: its price is not known.
        """
        need = self._need(item)
        if not anyway and not self._fits(need):
            return None
        self._open_tokens += need.tokens
        self._open_cost += need.cost
        return need

    def settle(self, reserved: Reserved, tokens: Tokens | None, cost: int | None, *, lost: bool = False) -> None:
        """A call is over: it used so much, or nothing; or it is `lost`, and may be billed for all that it might use."""
        self.release(reserved.tokens, reserved.cost)
        if tokens is not None:
            self._estimates.learn(reserved.estimate, tokens.prompt)
            self.spend(tokens, cost)
        elif lost:
            self._spent_tokens += reserved.tokens
            self._spent_cost += reserved.cost
            self._lost_tokens += reserved.tokens
            self._lost_cost += reserved.cost

    def release(self, tokens: int, cost: int) -> None:
        """So much of what was reserved is not needed any more."""
        self._open_tokens -= tokens
        self._open_cost -= cost

    def spend(self, tokens: Tokens | None, cost: int | None) -> None:
        """So much was used."""
        self._spent_tokens += 0 if tokens is None else tokens.total
        self._spent_cost += cost or 0

    def _fits(self, need: Reserved) -> bool:
        if self._max_tokens is not None and self._spent_tokens + self._open_tokens + need.tokens > self._max_tokens:
            self._refused = "max_tokens"
            return False
        if self._max_cost is not None and self._spent_cost + self._open_cost + need.cost > self._max_cost:
            self._refused = "max_cost"
            return False
        return True

    def reached(self) -> BudgetReachedError:
        """The error for a run that cannot go on within its budget."""
        which = self._refused
        lost: Decimal | int = self._lost_tokens
        spent: Decimal | int = self._spent_tokens
        allowed: Decimal | int = self._max_tokens or 0
        if which == "max_cost":
            lost, spent, allowed = _of(self._lost_cost), _of(self._spent_cost), _of(self._max_cost)
        unit = f" {self._prices.currency.upper()}" if which == "max_cost" else " tokens"
        perhaps = f" ({lost} of it perhaps, for calls that broke off)" if lost else ""
        return BudgetReachedError(
            f"The run stopped within its budget: {spent}{unit} are spent{perhaps} of {which}={allowed}, and the next "
            "request might need more than is left. Run it again with the same journal and a higher budget: it goes on "
            "from there.",
            budget=which,
            spent=spent,
            allowed=allowed,
        )

    def _need(self, item: Item) -> Reserved:
        estimate = self._estimates.of(item.body)
        asked = _ASKED.decode(item.body)
        # A token is a byte at least. Of text, four are estimated to be one, and once that was learned, half a one.
        prompt = estimate.prompt_tokens + (7 * estimate.text + 1) // 2
        answers = estimate.max_completion_tokens * (asked.n or 1)
        cost = 0
        if self._max_cost is not None:
            # What may be read from a cache may as well have to be written to it.
            tokens = Tokens(prompt, answers, cache_write=prompt)
            self._prices.check(asked.model)
            cost = self._prices.cost(tokens, asked.model, batch=self._batch, ttl=ttl_of(item.body)) or 0
        return Reserved(prompt + answers, cost, estimate)


def priced(make: Make, prices: Prices) -> Make:
    """Make items whose price is known; raises what `make` raises, for others, too."""

    def make_priced(request: AnyRequest) -> Item | None:
        item = make(request)
        if item is not None:
            try:
                prices.check(model_of(item.body))
            except ConfigurationError as error:
                raise ConfigurationError(f"request {item.position}: {error}") from None
        return item

    return make_priced


def _of(pico: int | None) -> Decimal:
    return amount(pico) or Decimal(0)


def model_of(body: bytes) -> str:
    """Which model a request asks."""
    return _ASKED.decode(body).model


def ttl_of(body: bytes) -> "CacheTtl":
    """How long what a request writes to the cache lives."""
    if _CACHE_OPTIONS not in body:
        return "5m"
    return "1h" if (_ASKED.decode(body).prompt_cache_options or {}).get("ttl") == "1h" else "5m"


_ASKED: Final = msgspec.json.Decoder(_Asked)
