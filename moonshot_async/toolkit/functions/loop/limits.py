"""What a run may take, and what it has taken."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.partial_mode import summed
from moonshot_async.toolkit.functions.loop.events import DoneReason, StepUsageEvent
from moonshot_async.types.chat import ChatCompletion, Usage

if TYPE_CHECKING:
    from moonshot_async.catalog import CacheTtl
    from moonshot_async.client import AsyncMoonshot


class Limits(msgspec.Struct, frozen=True):
    """How much a run may take.

    Attributes:
        max_steps: requests.
        max_tokens: tokens of all steps, prompts included; None for no limit.
        max_cost: what all steps cost, in the currency of the account; None for no limit.

    Raises:
        TypeError: a number is none of its kind.
        ConfigurationError: one is not positive.
    """

    max_steps: int
    max_tokens: int | None = None
    max_cost: Decimal | None = None

    @property
    def counts_money(self) -> bool:
        """Whether the usage of each step must be known."""
        return self.max_tokens is not None or self.max_cost is not None


class Spent:
    """What a run has taken so far.

    Args:
        client: knows the prices.
        model: the one that is asked.
        limits: what may be taken.
        cache_ttl: `prompt_cache_options.ttl` of the requests.

    Attributes:
        steps: how many requests were sent.
        usage: tokens of those that told them; None where none did.
        cost: of all steps; None where the price of one is not known.

    Raises:
        ConfigurationError: there is a limit of the cost, and the catalog has no price for the model.
    """

    def __init__(self, client: "AsyncMoonshot", model: str, limits: Limits, cache_ttl: "CacheTtl") -> None:
        self.steps = 0
        self.usage: Usage | None = None
        self.cost: Decimal | None = Decimal(0)
        self._client = client
        self._model = model
        self._limits = limits
        self._cache_ttl: CacheTtl = cache_ttl
        self._unknown = False
        if limits.max_cost is not None:
            client.cost(ChatCompletion(choices=[], model=model, usage=Usage()), cache_ttl=cache_ttl)

    def add(self, completion: ChatCompletion | None) -> StepUsageEvent | None:
        """Take note of the answer to a step, whole or as far as it came; gives what is to be told of it."""
        usage = None if completion is None else completion.usage
        if completion is None or usage is None:
            self._unknown = True
            self.cost = None
            return None
        self.usage = summed([self.usage, usage])
        cost = self._cost(completion)
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        return StepUsageEvent(self.steps, usage, self.usage or usage, cost, self.cost)

    def reached(self) -> DoneReason | None:
        """Which bound keeps the run from another step, if one does."""
        limits, usage = self._limits, self.usage
        if self._unknown and limits.counts_money:
            return "unknown_usage"
        if limits.max_tokens is not None and usage is not None and usage.total_tokens >= limits.max_tokens:
            return "max_tokens"
        if limits.max_cost is not None and self.cost is not None and self.cost >= limits.max_cost:
            return "max_cost"
        return "max_steps" if self.steps >= limits.max_steps else None

    @property
    def at_last_step(self) -> bool:
        """Whether the step that was begun last is the last of several."""
        return self.steps == self._limits.max_steps > 1

    def _cost(self, completion: ChatCompletion) -> Decimal | None:
        """What an answer cost: under the name that the server has for the model, or else under the one asked for."""
        for model in (completion.model, self._model):
            try:
                return self._client.cost(completion.model_copy(update={"model": model}), cache_ttl=self._cache_ttl)
            except ConfigurationError:
                continue
        return None


def whole(value: Any, name: str) -> int:
    """A number that counts something.

    Raises:
        TypeError: it is no whole number.
        ConfigurationError: it is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ConfigurationError(f"{name} must be 1 or more, not {value}")
    return value


def money(value: Any, name: str) -> Decimal | None:
    """An amount of money, exactly as it was written.

    Raises:
        TypeError: it is no number.
        ConfigurationError: it is not positive.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    amount = Decimal(str(value))
    if not (amount.is_finite() and amount > 0):
        raise ConfigurationError(f"{name} must be above 0, not {value}")
    return amount


def seconds(value: Any, name: str) -> float | None:
    """A duration; None for no limit.

    Raises:
        TypeError: it is no number.
        ConfigurationError: it is not positive.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
    if not value > 0:
        raise ConfigurationError(f"{name} must be above 0, not {value}")
    return float(value)
