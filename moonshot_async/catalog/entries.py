"""What a catalog holds, and what a call costs by it."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Context, Decimal, localcontext
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

import msgspec

from moonshot_async.errors import ConfigurationError

Thinking = Literal["always", "switchable", "never"]
Currency: TypeAlias = Literal["usd", "cny"]
CacheTtl: TypeAlias = Literal["5m", "1h"]

# Batch answers cost this part of the normal price.
BATCH_PRICE_FACTOR: Final = Decimal("0.6")

# Whatever a program has made of the decimal context of its thread, nothing is rounded.
_EXACT: Final = Context(prec=50)


class TokenUsage(Protocol):
    """What a call used, as `completion.usage` tells it. The cache is told flat, nested in details, or not at all."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...


class Price(msgspec.Struct, frozen=True):
    """What 1,000,000 tokens cost.

    Attributes:
        input: prompt tokens that were not in the cache.
        cached: prompt tokens read from the cache.
        output: completion tokens, reasoning included.
        write_5m, write_1h: prompt tokens written to the cache for 5 minutes or an hour, instead of `input`; None where
            writing costs nothing more.
    """

    input: Decimal
    cached: Decimal
    output: Decimal
    write_5m: Decimal | None = None
    write_1h: Decimal | None = None

    def cost(
        self,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
        cache_ttl: CacheTtl = "5m",
        batch: bool = False,
    ) -> Decimal:
        """What one call costs, exactly, in the currency of this price.

        Args:
            prompt_tokens: all of them, those read from the cache and those written to it included.
            completion_tokens: reasoning included.
            cached_tokens: of the prompt, read from the cache.
            cache_write_tokens: of the prompt, written to the cache.
            cache_ttl: how long what was written lives: `prompt_cache_options.ttl` of the request.
            batch: whether it was answered in a batch, at `BATCH_PRICE_FACTOR` of the price.
        """
        write = self.write_1h if cache_ttl == "1h" else self.write_5m
        with localcontext(_EXACT):
            million_fold = (
                self.cached * cached_tokens
                + (self.input if write is None else write) * cache_write_tokens
                + self.input * max(0, prompt_tokens - cached_tokens - cache_write_tokens)
                + self.output * completion_tokens
            )
            return (million_fold * BATCH_PRICE_FACTOR if batch else million_fold).scaleb(-6)


class CallPrice(msgspec.Struct, frozen=True):
    """What one call of a tool costs, beside tokens; None where unknown. `source` says who published it."""

    usd: Decimal | None = None
    cny: Decimal | None = None
    source: str = ""


class Model(msgspec.Struct, frozen=True):
    """What is known of one model.

    Attributes:
        context_window: tokens of prompt and answer together.
        max_output_tokens: the most that `max_completion_tokens` may ask for; None for "what the prompt leaves free".
        default_output_tokens: `max_completion_tokens` where the caller sets none; it counts against the TPM limit.
        modalities: what a prompt may hold: "text", "image", "video".
        thinking: whether the model reasons before it answers; "switchable" is on unless `thinking` disables it.
        efforts: accepted values of `reasoning_effort`; empty where the parameter is not known.
        fixed: sampling parameters that accept one value only; another one is a 400.
        fixed_without_thinking: what replaces entries of `fixed` once thinking is disabled.
        tool_choice_required: whether `tool_choice: "required"` is accepted.
        batch: whether the Batch API takes it.
        price_usd, price_cny: None where unknown.
        created: Unix seconds of the release; 0 where unknown.
        source: where the facts were published.
    """

    id: str
    context_window: int
    default_output_tokens: int
    max_output_tokens: int | None = None
    modalities: tuple[str, ...] = ("text",)
    thinking: Thinking = "never"
    efforts: tuple[str, ...] = ()
    fixed: Mapping[str, float] = {}
    fixed_without_thinking: Mapping[str, float] = {}
    tool_choice_required: bool = False
    batch: bool = False
    price_usd: Price | None = None
    price_cny: Price | None = None
    created: int = 0
    source: str = ""


class Tier(msgspec.Struct, frozen=True):
    """The limits of an organisation that has topped up at least `top_up_usd`; all its keys and models share them.

    Attributes:
        concurrency: requests under way at once.
        rpm, tpm, tpd: requests a minute, tokens a minute, tokens a day (None: no such limit).
        since: the day from which these limits hold; the table before was more generous.
        source: where they were published.
    """

    tier: int
    top_up_usd: int
    concurrency: int
    rpm: int
    tpm: int
    tpd: int | None = None
    since: date | None = None
    source: str = ""


class Catalog(msgspec.Struct, frozen=True):
    """What is known of models, prices and limits.

    Attributes:
        as_of: the day on which all of it was looked up.
        models: by id, retired ones included.
        retired: the days on which ids were switched off.
        tiers: the limits of accounts, lowest first.
        retiring: the days on which ids are to be switched off, as far as announced.
        calls: prices of tools, by `"$web_search"`, `"tools.search"` and so on.
    """

    as_of: date
    models: Mapping[str, Model]
    retired: Mapping[str, date]
    tiers: tuple[Tier, ...]
    retiring: Mapping[str, date] = {}
    calls: Mapping[str, CallPrice] = {}

    def get(self, id: str) -> Model | None:
        """The model, retired or not; None where the catalog does not know it."""
        return self.models.get(id)

    def retired_on(self, id: str) -> date | None:
        """The day on which the id was switched off; None for current and for unknown ids."""
        return self.retired.get(id)

    def retires_on(self, id: str) -> date | None:
        """The day on which the id was or is to be switched off; None where nothing is announced."""
        return self.retired.get(id) or self.retiring.get(id)

    def current_ids(self) -> tuple[str, ...]:
        """The ids that are served, newest family first."""
        return tuple(id for id in self.models if id not in self.retired)

    def price(self, model: str, currency: Currency = "usd") -> Price | None:
        """What the model's tokens cost; None where unknown.

        A dated id (`kimi-k3-2026-07-16`) or one with a mark in brackets (`kimi-k3[1m]`) costs what the plain one does.
        """
        known = self.models.get(model) or self.models.get(_QUALIFIER.sub("", model))
        if known is None:
            return None
        return known.price_cny if _checked(currency) == "cny" else known.price_usd

    def cost(
        self,
        usage: TokenUsage | Mapping[str, Any],
        model: str,
        *,
        currency: Currency = "usd",
        batch: bool = False,
        cache_ttl: CacheTtl = "5m",
        web_searches: int = 0,
    ) -> Decimal:
        """What a call cost, exactly, at the prices of this catalog; what the vendor bills is for the vendor to say.

        Args:
            usage: `completion.usage`, or anything with its attributes or keys; cached tokens flat or nested.
            model: the id that was asked for.
            currency: of the account: see `currency_of`.
            batch: whether it was answered in a batch.
            cache_ttl: `prompt_cache_options.ttl` of the request.
            web_searches: how many `$web_search` calls the answer asked for; each has a fee.

        Raises:
            ConfigurationError: the catalog knows no such price (`price` tells that beforehand), or there is no usage.
        """
        price = self.price(model, currency)
        if price is None:
            raise ConfigurationError(
                f"no {currency.upper()} price is known for the model {model!r}: give it with "
                "CATALOG.extended(models=[Model(..., price_usd=Price(...))])"
            )
        tokens = price.cost(**_counted(usage), cache_ttl=cache_ttl, batch=batch)
        return tokens + self.call_cost("$web_search", web_searches, currency=currency) if web_searches else tokens

    def call_cost(self, tool: str, calls: int = 1, *, currency: Currency = "usd") -> Decimal:
        """What calls of a tool cost, without the tokens: `"$web_search"`, `"tools.search"`.

        Raises:
            ConfigurationError: the catalog knows no such price.
        """
        known = self.calls.get(tool, CallPrice())
        price = known.cny if _checked(currency) == "cny" else known.usd
        if price is None:
            raise ConfigurationError(
                f"no {currency.upper()} price is known for a call of {tool!r}: give it with "
                f"CATALOG.extended(calls={{{tool!r}: CallPrice(usd=..., cny=...)}})"
            )
        return price * calls

    def extended(
        self,
        *,
        models: Iterable[Model] = (),
        retired: Mapping[str, date | None] | None = None,
        tiers: Iterable[Tier] | None = None,
        retiring: Mapping[str, date | None] | None = None,
        calls: Mapping[str, CallPrice] | None = None,
    ) -> "Catalog":
        """A copy with models and prices of calls added or replaced, and ids retired.

        A date of None takes an id off the list of retired (or retiring) ones; `tiers` replace all tiers.
        """
        return Catalog(
            as_of=self.as_of,
            models={**self.models, **{model.id: model for model in models}},
            retired=_dated(self.retired, retired),
            tiers=self.tiers if tiers is None else tuple(tiers),
            retiring=_dated(self.retiring, retiring),
            calls={**self.calls, **(calls or {})},
        )


def currency_of(base_url: str) -> Currency:
    """The currency of an account, by the host of its API: Chinese hosts bill in CNY, all others in USD."""
    return "cny" if (urlsplit(base_url).hostname or "").rstrip(".").endswith(".cn") else "usd"


# What may follow the id of a model without changing its price: a date, or a mark in brackets.
_QUALIFIER: Final = re.compile(r"(?:-(?:\d{4}|\d{8}|\d{4}-\d{2}-\d{2}))?(?:\[\w+\])?$")


def _checked(currency: str) -> str:
    if currency not in ("usd", "cny"):
        raise ConfigurationError(f"currency must be 'usd' or 'cny', not {currency!r}")
    return currency


def _dated(dates: Mapping[str, date], changes: Mapping[str, date | None] | None) -> dict[str, date]:
    return {id: day for id, day in {**dates, **(changes or {})}.items() if day is not None}


def _counted(usage: object) -> dict[str, int]:
    """The tokens of a call; what is not told counts as none."""
    if _field(usage, "prompt_tokens") is None:
        raise ConfigurationError(
            "there is no usage to count: pass completion.usage; a stream has one with stream_options.include_usage"
        )
    details = _field(usage, "prompt_tokens_details")
    cached = _field(usage, "cached_tokens")
    return {
        "prompt_tokens": int(_field(usage, "prompt_tokens")),
        "completion_tokens": int(_field(usage, "completion_tokens") or 0),
        "cached_tokens": int((_field(details, "cached_tokens") if cached is None else cached) or 0),
        "cache_write_tokens": int(_field(details, "cache_write_tokens") or 0),
    }


def _field(data: object, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else getattr(data, name, None)
