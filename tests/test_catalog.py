import re
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest

from moonshot_async.catalog import CATALOG, CallPrice, Model, Price, Tier, currency_of
from moonshot_async.errors import ConfigurationError
from moonshot_async.types.chat import PromptTokensDetails, Usage

PRICE = Price(Decimal(3), Decimal("0.3"), Decimal(15), Decimal(4), Decimal(6))


def test_the_current_models_are_those_that_the_vendor_lists() -> None:
    assert CATALOG.as_of == date(2026, 11, 22)
    assert CATALOG.current_ids() == (
        "kimi-k3.1-pro",
        "kimi-k3.1-pro-highspeed",
        "kimi-k3",
        "kimi-k2.7-code",
        "kimi-k2.7-code-highspeed",
        "kimi-k2.6",
    )


def test_an_unknown_id_is_not_an_error() -> None:
    assert CATALOG.get("gpt-9") is None
    assert CATALOG.retired_on("gpt-9") is None


def test_a_model_knows_its_window_its_efforts_and_its_prices() -> None:
    model = CATALOG.get("kimi-k3")

    assert model is not None
    assert (model.context_window, model.max_output_tokens, model.default_output_tokens) == (1048576, 1048576, 131072)
    assert model.efforts == ("low", "high", "max")
    assert model.created == 1784160000
    assert model.price_usd is not None
    assert model.price_cny is not None
    assert (model.price_usd.input, model.price_usd.cached, model.price_usd.output) == (
        Decimal("3.00"),
        Decimal("0.30"),
        Decimal("15.00"),
    )
    assert (model.price_cny.write_5m, model.price_cny.write_1h) == (20, 40)


def test_only_models_that_can_stop_thinking_have_parameters_for_that() -> None:
    switchable = [model.id for model in CATALOG.models.values() if model.fixed_without_thinking]

    assert switchable == ["kimi-k2.6", "kimi-k2.5"]
    assert CATALOG.models["kimi-k2.6"].fixed["temperature"] == 1.0
    assert CATALOG.models["kimi-k2.6"].fixed_without_thinking == {"temperature": 0.6}


def test_the_batch_models_are_the_two_that_the_guide_names() -> None:
    assert [id for id in CATALOG.current_ids() if CATALOG.models[id].batch] == ["kimi-k2.7-code", "kimi-k2.6"]


def test_a_retired_model_keeps_its_facts_and_has_a_date() -> None:
    assert CATALOG.retired_on("moonshot-v1-8k") == date(2026, 8, 31)
    assert CATALOG.retired_on("kimi-latest") == date(2026, 1, 28)
    assert CATALOG.get("kimi-k2.5") is not None


def test_every_retired_id_has_the_window_that_its_name_tells() -> None:
    for id in CATALOG.retired:
        if size := re.search(r"-(8|32|128)k", id):
            assert CATALOG.models[id].context_window == 1024 * int(size[1])
    assert CATALOG.models["moonshot-v1-auto"].context_window == 131072
    assert CATALOG.models["kimi-k2.5"].context_window == CATALOG.models["kimi-k2.6"].context_window


def test_a_tier_tells_its_limits() -> None:
    assert [tier.tier for tier in CATALOG.tiers] == [0, 1, 2, 3, 4, 5]
    assert [tier.top_up_usd for tier in CATALOG.tiers] == [1, 10, 20, 100, 1000, 3000]
    assert (CATALOG.tiers[0].rpm, CATALOG.tiers[0].tpd) == (3, 1_500_000)
    assert (CATALOG.tiers[5].concurrency, CATALOG.tiers[5].tpm, CATALOG.tiers[5].tpd) == (100, 5_000_000, None)


def test_an_extended_catalog_adds_replaces_and_retires_and_leaves_the_original_alone() -> None:
    mine = Model("kimi-k9", 10, 5)
    smaller = Model("kimi-k3", 20, 5)

    extended = CATALOG.extended(models=[mine, smaller], retired={"kimi-k2.6": date(2026, 12, 31), "kimi-k2.5": None})

    assert extended.get("kimi-k9") is mine
    assert extended.get("kimi-k3") is smaller
    assert extended.retired_on("kimi-k2.6") == date(2026, 12, 31)
    assert {"kimi-k9", "kimi-k2.5"} < set(extended.current_ids())
    assert extended.extended() == extended
    assert CATALOG.get("kimi-k9") is None
    assert CATALOG.retired_on("kimi-k2.5") is not None


def test_every_fact_says_where_it_is_from() -> None:
    for fact in (*CATALOG.models.values(), *CATALOG.tiers, *CATALOG.calls.values()):
        assert fact.source.startswith("https://platform.kimi.ai/docs/")
    assert {tier.since for tier in CATALOG.tiers} == {date(2026, 9, 12)}


def test_the_prices_are_those_that_the_vendor_lists() -> None:
    def row(id: str, currency: Any) -> str | None:
        price = CATALOG.price(id, currency)
        return None if price is None else " ".join(str(part) for part in msgspec.structs.astuple(price))

    assert {id: (row(id, "usd"), row(id, "cny")) for id in CATALOG.current_ids()} == {
        "kimi-k3.1-pro": ("2.00 0.20 10.00 2.00 4.00", None),
        "kimi-k3.1-pro-highspeed": ("4.00 0.20 20.00 4.00 8.00", None),
        "kimi-k3": ("3.00 0.30 15.00 3.00 6.00", "20 2 100 20 40"),
        "kimi-k2.7-code": ("0.95 0.19 4.00 None None", "6.50 1.30 27 None None"),
        "kimi-k2.7-code-highspeed": ("1.90 0.38 8.00 None None", "13 2.60 54 None None"),
        "kimi-k2.6": ("0.95 0.16 4.00 None None", "6.50 1.10 27 None None"),
    }


def test_what_is_to_be_switched_off_is_current_until_then() -> None:
    assert CATALOG.retires_on("kimi-k2.6") == CATALOG.retires_on("kimi-k2.7-code-highspeed") == date(2026, 12, 31)
    assert CATALOG.retired_on("kimi-k2.6") is None
    assert CATALOG.retires_on("moonshot-v1-8k") == date(2026, 8, 31)
    assert CATALOG.retires_on("kimi-k3") is None


# What a call costs.


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        ({"prompt_tokens": 1_000_000, "completion_tokens": 0}, "3"),
        ({"prompt_tokens": 0, "completion_tokens": 1}, "0.000015"),
        ({"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 200}, "0.00396"),
        ({"prompt_tokens": 1000, "completion_tokens": 0, "cache_write_tokens": 1000}, "0.004"),
        ({"prompt_tokens": 1000, "completion_tokens": 0, "cache_write_tokens": 1000, "cache_ttl": "1h"}, "0.006"),
        (
            {"prompt_tokens": 1000, "completion_tokens": 10, "cached_tokens": 300, "cache_write_tokens": 200},
            "0.00254",
        ),
        ({"prompt_tokens": 1000, "completion_tokens": 0, "batch": True}, "0.0018"),
        ({"prompt_tokens": 10, "completion_tokens": 0, "cached_tokens": 20}, "0.000006"),
    ],
)
def test_a_price_is_for_a_million_tokens(tokens: dict[str, Any], cost: str) -> None:
    assert PRICE.cost(**tokens) == Decimal(cost)


def test_where_writing_has_no_price_it_costs_what_reading_costs() -> None:
    price = Price(Decimal(3), Decimal("0.3"), Decimal(15))

    assert price.cost(prompt_tokens=1000, completion_tokens=0, cache_write_tokens=400, cache_ttl="1h") == Decimal(
        "0.003"
    )


def test_large_numbers_stay_exact() -> None:
    cost = PRICE.cost(prompt_tokens=987_654_321_987, completion_tokens=1, cached_tokens=123_456_789_123)

    assert cost == (3 * Decimal(864_197_532_864) + Decimal("0.3") * 123_456_789_123 + 15) / 1_000_000


@pytest.mark.parametrize(
    "usage",
    [
        Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=200),
        Usage(prompt_tokens=1000, completion_tokens=100, prompt_tokens_details=PromptTokensDetails(cached_tokens=200)),
        {"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 200},
        {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 200}},
        {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "cached_tokens": 200,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": None},
        },
    ],
)
def test_a_usage_in_any_form_has_a_cost(usage: Any) -> None:
    assert CATALOG.cost(usage, "kimi-k3") == Decimal("0.00396")
    assert CATALOG.cost(usage, "kimi-k3", currency="cny", batch=True) == Decimal("0.6") * Decimal("0.0264")


def test_of_two_counts_of_cached_tokens_the_flat_one_counts() -> None:
    usage = {"prompt_tokens": 1000, "cached_tokens": 0, "prompt_tokens_details": {"cached_tokens": 200}}

    assert CATALOG.cost(usage, "kimi-k3") == Decimal("0.003")


def test_cache_writes_cost_by_how_long_they_live() -> None:
    details = PromptTokensDetails(cache_write_tokens=1000)
    usage = Usage(prompt_tokens=1000, completion_tokens=0, prompt_tokens_details=details)

    assert CATALOG.cost(usage, "kimi-k3") == Decimal("0.003")
    assert CATALOG.cost(usage, "kimi-k3", cache_ttl="1h") == Decimal("0.006")


def test_a_usage_that_tells_little_counts_what_it_tells() -> None:
    assert CATALOG.cost({"prompt_tokens": 1000, "completion_tokens": None}, "kimi-k3") == Decimal("0.003")
    assert CATALOG.cost({"prompt_tokens": 0}, "kimi-k3") == 0


@pytest.mark.parametrize("usage", [None, {}, object(), {"prompt_tokens": None}])
def test_no_usage_is_no_cost(usage: Any) -> None:
    with pytest.raises(ConfigurationError, match="there is no usage to count"):
        CATALOG.cost(usage, "kimi-k3")


@pytest.mark.parametrize(
    "id", ["kimi-k3[1m]", "kimi-k3-2026-07-16", "kimi-k3-20260716", "kimi-k3-0716", "kimi-k3-0716[1m]"]
)
def test_a_dated_id_costs_what_the_plain_one_does(id: str) -> None:
    assert CATALOG.price(id) == CATALOG.price("kimi-k3") is not None
    assert CATALOG.get(id) is None


@pytest.mark.parametrize(
    ("id", "currency"),
    [
        ("kimi-k3.1-pro", "cny"),
        ("kimi-k2.5", "usd"),
        ("moonshot-v1-8k", "usd"),
        ("kimi-k2-0711-preview", "cny"),
        ("gpt-9", "usd"),
        ("kimi-k3-pro", "usd"),
        ("", "usd"),
    ],
)
def test_where_no_price_is_known_none_is_invented(id: str, currency: Any) -> None:
    assert CATALOG.price(id, currency) is None
    with pytest.raises(
        ConfigurationError, match=rf"no {currency.upper()} price is known for the model '{id}'.*extended"
    ):
        CATALOG.cost(Usage(prompt_tokens=1), id, currency=currency)


def test_a_currency_is_one_of_two() -> None:
    wrong: Any = "eur"
    with pytest.raises(ConfigurationError, match="currency must be 'usd' or 'cny', not 'eur'"):
        CATALOG.price("kimi-k3", wrong)
    with pytest.raises(ConfigurationError, match="currency must be"):
        CATALOG.call_cost("$web_search", currency=wrong)


def test_searches_have_a_fee_of_their_own() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=0)

    assert CATALOG.call_cost("$web_search") == Decimal("0.005")
    assert CATALOG.call_cost("$web_search", 3, currency="cny") == Decimal("0.09")
    assert CATALOG.call_cost("tools.search", 2) == Decimal("0.004")
    assert CATALOG.cost(usage, "kimi-k3", web_searches=2) == Decimal("0.013")
    for tool, currency in (("tools.search", "cny"), ("tools.fetch", "usd")):
        with pytest.raises(ConfigurationError, match=f"no {currency.upper()} price .* call of '{tool}'.*extended"):
            CATALOG.call_cost(tool, currency=currency)  # type: ignore[arg-type]  # a plain str


@pytest.mark.parametrize(
    ("base_url", "currency"),
    [
        ("https://api.moonshot.cn/v1", "cny"),
        ("https://proxy.example.cn./v1", "cny"),
        ("https://api.moonshot.ai/v1", "usd"),
        ("http://127.0.0.1:8000/v1", "usd"),
        ("https://moonshot.cn.example/v1", "usd"),
        ("", "usd"),
    ],
)
def test_the_host_tells_the_currency(base_url: str, currency: str) -> None:
    assert currency_of(base_url) == currency


def test_an_extended_catalog_has_prices_tiers_and_dates_of_your_own() -> None:
    mine = Model("kimi-k2.5", 10, 5, price_usd=PRICE)
    tier = Tier(9, 0, 1, 2, 3)

    extended = CATALOG.extended(
        models=[mine],
        tiers=[tier],
        retiring={"kimi-k3": date(2027, 7, 1), "kimi-k2.6": None},
        calls={"tools.fetch": CallPrice(usd=Decimal(1))},
    )

    assert extended.cost(Usage(prompt_tokens=1_000_000), "kimi-k2.5") == 3
    assert extended.tiers == (tier,)
    assert extended.retires_on("kimi-k3") == date(2027, 7, 1)
    assert extended.retires_on("kimi-k2.6") is None
    assert extended.call_cost("tools.fetch", 2) == 2
    assert extended.call_cost("$web_search") == CATALOG.call_cost("$web_search")
    assert CATALOG.tiers != (tier,)


def test_a_cost_does_not_depend_on_the_precision_of_the_program() -> None:
    with localcontext() as context:
        context.prec = 3
        assert PRICE.cost(prompt_tokens=123_456, completion_tokens=0) == Decimal("0.370368")
