"""Models, prices and account tiers as data, as the vendor published them on `Catalog.as_of`.

Nothing here decides anything: an id that the catalog does not know is sent like any other, since new models appear
before new releases of this package, and other hosts serve models that Moonshot has retired. Facts that are wrong for
you are replaced with `CATALOG.extended(...)`.

Sources: https://platform.kimi.ai/docs/pricing/chat · https://platform.kimi.ai/docs/pricing/limits ·
https://platform.kimi.ai/docs/api/list-models
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

Thinking = Literal["always", "switchable", "never"]


class Price(msgspec.Struct, frozen=True):
    """What 1,000,000 tokens cost.

    Attributes:
        input: prompt tokens that were not in the cache.
        cached: prompt tokens read from the cache.
        output: completion tokens, reasoning included.
        write_5m, write_1h: prompt tokens written to the cache for 5 minutes or an hour; None where writes are free.
    """

    input: Decimal
    cached: Decimal
    output: Decimal
    write_5m: Decimal | None = None
    write_1h: Decimal | None = None


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


class Tier(msgspec.Struct, frozen=True):
    """The limits of an organisation that has topped up at least `top_up_usd`; all its keys and models share them.

    Attributes:
        concurrency: requests under way at once.
        rpm, tpm, tpd: requests a minute, tokens a minute, tokens a day (None: no such limit).
    """

    tier: int
    top_up_usd: int
    concurrency: int
    rpm: int
    tpm: int
    tpd: int | None = None


class Catalog(msgspec.Struct, frozen=True):
    """Models by id, retired ones included; the dates on which ids were switched off; and the account tiers."""

    as_of: date
    models: Mapping[str, Model]
    retired: Mapping[str, date]
    tiers: tuple[Tier, ...]

    def get(self, id: str) -> Model | None:
        """The model, retired or not; None where the catalog does not know it."""
        return self.models.get(id)

    def retired_on(self, id: str) -> date | None:
        """The day on which the id was switched off; None for current and for unknown ids."""
        return self.retired.get(id)

    def current_ids(self) -> tuple[str, ...]:
        """The ids that are served, newest family first."""
        return tuple(id for id in self.models if id not in self.retired)

    def extended(self, *, models: Iterable[Model] = (), retired: Mapping[str, date | None] | None = None) -> "Catalog":
        """A copy with models added or replaced, and ids retired, or taken off that list by a date of None."""
        switched_off = {**self.retired, **(retired or {})}
        return Catalog(
            as_of=self.as_of,
            models={**self.models, **{model.id: model for model in models}},
            retired={id: day for id, day in switched_off.items() if day is not None},
            tiers=self.tiers,
        )


# Batch answers cost this part of the normal price.
BATCH_PRICE_FACTOR: Final = Decimal("0.6")

_SIGHTED: Final = ("text", "image", "video")
_PINNED: Final = {"temperature": 1.0, "top_p": 0.95, "n": 1, "presence_penalty": 0, "frequency_penalty": 0}


def _price(*per_million: str) -> Price:
    return Price(*map(Decimal, per_million))


def _released(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def _k3(id: str, created: int, usd: Price, cny: Price | None = None) -> Model:
    return Model(
        id,
        context_window=1_048_576,
        default_output_tokens=131_072,
        max_output_tokens=1_048_576,
        modalities=_SIGHTED,
        thinking="always",
        efforts=("low", "high", "max"),
        fixed=_PINNED,
        tool_choice_required=True,
        price_usd=usd,
        price_cny=cny,
        created=created,
    )


def _k2(
    id: str,
    created: int = 0,
    usd: Price | None = None,
    cny: Price | None = None,
    *,
    thinking: Thinking = "always",
    batch: bool = False,
) -> Model:
    return Model(
        id,
        context_window=262_144,
        default_output_tokens=32_768,
        modalities=_SIGHTED,
        thinking=thinking,
        fixed=_PINNED,
        fixed_without_thinking={"temperature": 0.6} if thinking == "switchable" else {},
        batch=batch,
        price_usd=usd,
        price_cny=cny,
        created=created,
    )


def _legacy(id: str, window: int, *modalities: str, thinking: Thinking = "never") -> Model:
    return Model(id, window, min(window, 32_768), modalities=("text", *modalities), thinking=thinking)


_MODELS: Final = (
    _k3("kimi-k3.1-pro", _released(2026, 10, 24), _price("2.00", "0.20", "10.00", "2.00", "4.00")),
    _k3("kimi-k3.1-pro-highspeed", _released(2026, 10, 24), _price("4.00", "0.20", "20.00", "4.00", "8.00")),
    _k3(
        "kimi-k3",
        _released(2026, 7, 16),
        _price("3.00", "0.30", "15.00", "3.00", "6.00"),
        _price("20", "2", "100", "20", "40"),
    ),
    _k2(
        "kimi-k2.7-code",
        _released(2026, 6, 12),
        _price("0.95", "0.19", "4.00"),
        _price("6.50", "1.30", "27"),
        batch=True,
    ),
    _k2(
        "kimi-k2.7-code-highspeed",
        _released(2026, 6, 15),
        _price("1.90", "0.38", "8.00"),
        _price("13", "2.60", "54"),
    ),
    _k2(
        "kimi-k2.6",
        _released(2026, 4, 20),
        _price("0.95", "0.16", "4.00"),
        _price("6.50", "1.10", "27"),
        thinking="switchable",
        batch=True,
    ),
    _k2("kimi-k2.5", thinking="switchable"),
    _legacy("kimi-k2-0711-preview", 131_072),
    _legacy("kimi-k2-0905-preview", 262_144),
    _legacy("kimi-k2-turbo-preview", 262_144),
    _legacy("kimi-k2-thinking", 262_144, thinking="always"),
    _legacy("kimi-k2-thinking-turbo", 262_144, thinking="always"),
    _legacy("kimi-latest", 131_072, "image"),
    _legacy("kimi-thinking-preview", 131_072, "image", thinking="always"),
    _legacy("moonshot-v1-8k", 8_192),
    _legacy("moonshot-v1-32k", 32_768),
    _legacy("moonshot-v1-128k", 131_072),
    _legacy("moonshot-v1-auto", 131_072),
    _legacy("moonshot-v1-8k-vision-preview", 8_192, "image"),
    _legacy("moonshot-v1-32k-vision-preview", 32_768, "image"),
    _legacy("moonshot-v1-128k-vision-preview", 131_072, "image"),
)

_RETIRED: Final = {
    date(2026, 8, 31): (
        "kimi-k2.5",
        "moonshot-v1-8k",
        "moonshot-v1-32k",
        "moonshot-v1-128k",
        "moonshot-v1-auto",
        "moonshot-v1-8k-vision-preview",
        "moonshot-v1-32k-vision-preview",
        "moonshot-v1-128k-vision-preview",
    ),
    date(2026, 5, 25): (
        "kimi-k2-0711-preview",
        "kimi-k2-0905-preview",
        "kimi-k2-turbo-preview",
        "kimi-k2-thinking",
        "kimi-k2-thinking-turbo",
    ),
    date(2026, 1, 28): ("kimi-latest",),
    date(2025, 11, 11): ("kimi-thinking-preview",),
}

CATALOG: Final = Catalog(
    as_of=date(2026, 11, 22),
    models={model.id: model for model in _MODELS},
    retired={id: day for day, ids in _RETIRED.items() for id in ids},
    tiers=(
        Tier(0, 1, concurrency=1, rpm=3, tpm=500_000, tpd=1_500_000),
        Tier(1, 10, concurrency=15, rpm=100, tpm=2_000_000),
        Tier(2, 20, concurrency=40, rpm=100, tpm=3_000_000),
        Tier(3, 100, concurrency=50, rpm=200, tpm=3_000_000),
        Tier(4, 1_000, concurrency=60, rpm=200, tpm=4_000_000),
        Tier(5, 3_000, concurrency=100, rpm=300, tpm=5_000_000),
    ),
)
