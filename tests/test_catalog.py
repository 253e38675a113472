import re
from datetime import date
from decimal import Decimal

from moonshot_async.catalog import CATALOG, Model


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
