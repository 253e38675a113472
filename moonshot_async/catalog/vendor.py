"""The facts: what the vendor published, and where. A fact is changed together with its source and with `as_of`."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from moonshot_async.catalog.entries import CallPrice, Catalog, Model, Price, Thinking, Tier

_SIGHTED: Final = ("text", "image", "video")
_PRICES: Final = "https://platform.kimi.ai/docs/pricing/chat"
_LIMITS: Final = "https://platform.kimi.ai/docs/pricing/limits"
_K3_1: Final = "https://platform.kimi.ai/docs/guide/kimi-k3-1-pro-quickstart"
_LIMITS_SINCE: Final = date(2026, 9, 12)
_PINNED: Final = {"temperature": 1.0, "top_p": 0.95, "n": 1, "presence_penalty": 0, "frequency_penalty": 0}


def _price(*per_million: str) -> Price:
    return Price(*map(Decimal, per_million))


def _released(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def _k3(id: str, created: int, usd: Price, cny: Price | None = None, *, source: str = _PRICES) -> Model:
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
        source=source,
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
        source=_PRICES,
    )


def _legacy(id: str, window: int, *modalities: str, thinking: Thinking = "never") -> Model:
    return Model(id, window, min(window, 32_768), modalities=("text", *modalities), thinking=thinking, source=_PRICES)


_MODELS: Final = (
    _k3("kimi-k3.1-pro", _released(2026, 10, 24), _price("2.00", "0.20", "10.00", "2.00", "4.00"), source=_K3_1),
    _k3(
        "kimi-k3.1-pro-highspeed",
        _released(2026, 10, 24),
        _price("4.00", "0.20", "20.00", "4.00", "8.00"),
        source=_K3_1,
    ),
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

# The vendor calls it the end of December; accounts made after October cannot use them any more.
_RETIRING: Final = dict.fromkeys(
    ("kimi-k2.7-code", "kimi-k2.7-code-highspeed", "kimi-k2.6"),
    date(2026, 12, 31),
)

_CALLS: Final = {
    "$web_search": CallPrice(Decimal("0.005"), Decimal("0.03"), "https://platform.kimi.ai/docs/guide/use-web-search"),
    # Not on the price page: what one client was billed. The other tools' prices are not known.
    "tools.search": CallPrice(Decimal("0.002"), source="https://platform.kimi.ai/docs/api/tools"),
}


def _tier(tier: int, top_up_usd: int, concurrency: int, rpm: int, tpm: int, tpd: int | None = None) -> Tier:
    return Tier(tier, top_up_usd, concurrency, rpm, tpm, tpd, since=_LIMITS_SINCE, source=_LIMITS)


CATALOG: Final = Catalog(
    as_of=date(2026, 11, 22),
    models={model.id: model for model in _MODELS},
    retired={id: day for day, ids in _RETIRED.items() for id in ids},
    tiers=(
        _tier(0, 1, concurrency=1, rpm=3, tpm=500_000, tpd=1_500_000),
        _tier(1, 10, concurrency=15, rpm=100, tpm=2_000_000),
        _tier(2, 20, concurrency=40, rpm=100, tpm=3_000_000),
        _tier(3, 100, concurrency=50, rpm=200, tpm=3_000_000),
        _tier(4, 1_000, concurrency=60, rpm=200, tpm=4_000_000),
        _tier(5, 3_000, concurrency=100, rpm=300, tpm=5_000_000),
    ),
    retiring=_RETIRING,
    calls=_CALLS,
)
