import json
from decimal import Decimal
from typing import Any

import pytest

from moonshot_async.catalog import CATALOG
from moonshot_async.fake import FakeMoonshot

CHAT = {"model": "kimi-k2.6", "max_completion_tokens": 50}
SUSPENDED = (
    "Your account org-fake<ak-fake> is suspended due to insufficient balance, please recharge your account or check "
    "your plan and billing details"
)


@pytest.fixture
def balance(send: Any) -> Any:
    """The balance as it is told: available, voucher, cash."""

    async def balance(fake: FakeMoonshot) -> tuple[Decimal, Decimal, Decimal]:
        answer = json.loads(
            await (await send("GET", "/v1/users/me/balance", to=fake)).read(), parse_float=Decimal, parse_int=Decimal
        )
        assert {name: answer[name] for name in ("code", "scode", "status")} == {
            "code": 0,
            "scode": "0x0",
            "status": True,
        }
        data = answer["data"]
        return data["available_balance"], data["voucher_balance"], data["cash_balance"]

    return balance


async def usage_of(response: Any) -> Any:
    return json.loads(await response.read())["usage"]


async def test_an_account_has_plenty_unless_told_otherwise(fake: FakeMoonshot, balance: Any) -> None:
    available, vouchers, cash = await balance(fake)

    assert available == cash >= 1000
    assert vouchers == 0


async def test_the_balance_is_told_to_the_last_digit(balance: Any) -> None:
    fake = FakeMoonshot(balance="3.00001", vouchers=Decimal("46.5889300000000001"))

    assert await balance(fake) == (Decimal("49.5889400000000001"), Decimal("46.5889300000000001"), Decimal("3.00001"))


@pytest.mark.parametrize("currency", ["USD", "CNY", "usd", "cny"])
async def test_an_answer_costs_what_the_catalog_says(send: Any, balance: Any, currency: Any) -> None:
    fake = FakeMoonshot(balance=1, currency=currency)

    usage = await usage_of(await send(**CHAT, to=fake))

    model = CATALOG.models["kimi-k2.6"]
    price = model.price_cny if currency.lower() == "cny" else model.price_usd
    assert price is not None
    cost = price.cost(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"])
    assert (await balance(fake))[0] == 1 - cost


async def test_reads_from_and_writes_to_the_cache_have_their_prices(send: Any, balance: Any) -> None:
    fake, lasting = FakeMoonshot(balance=1), FakeMoonshot(balance=1)
    messages = [
        {"role": "user", "content": "Hello " * 500},
        {"role": "assistant", "content": "Hi", "reasoning_content": ""},
        {"role": "user", "content": "Bye"},
    ]

    usage = await usage_of(await send(messages=messages, to=fake))
    await send(messages=messages, prompt_cache_options={"mode": "implicit", "ttl": "1h"}, to=lasting)

    price = CATALOG.models["kimi-k3"].price_usd
    assert price is not None
    details = usage["prompt_tokens_details"]
    assert details["cached_tokens"] > 256
    assert details["cache_write_tokens"] > 0
    for one, ttl in ((fake, "5m"), (lasting, "1h")):
        cost = price.cost(
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
            cached_tokens=details["cached_tokens"],
            cache_write_tokens=details["cache_write_tokens"],
            cache_ttl=ttl,  # type: ignore[arg-type]  # one of the two
        )
        assert (await balance(one))[0] == 1 - cost


async def test_a_stream_costs_what_the_whole_answer_costs(send: Any, balance: Any) -> None:
    fake, streaming = FakeMoonshot(balance=1), FakeMoonshot(balance=1)

    await send(**CHAT, to=fake)
    await send(**CHAT, stream=True, to=streaming)

    assert await balance(fake) == await balance(streaming) < (1, 1, 1)


async def test_a_scripted_usage_is_what_is_billed(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=1)
    fake.reply("Hi", usage={"prompt_tokens": 100_000})
    fake.reply("Hi", usage={})

    await send(**CHAT, to=fake)
    await send(**CHAT, to=fake)

    assert (await balance(fake))[0] == 1 - Decimal("0.095")


async def test_a_web_search_has_a_fee(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=1)
    tools = [{"type": "builtin_function", "function": {"name": "$web_search"}}]

    response = await send(messages=[{"role": "user", "content": "Search the news of today"}], tools=tools, to=fake)

    assert json.loads(await response.read())["choices"][0]["finish_reason"] == "tool_calls"
    assert Decimal("0.005") < 1 - (await balance(fake))[0] < Decimal("0.02")


async def test_what_has_no_price_costs_nothing(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=1, currency="CNY", legacy_models=True)

    for model in ("kimi-k3.1-pro", "moonshot-v1-8k"):
        assert (await send(model=model, to=fake)).status == 200

    assert (await balance(fake))[0] == 1


async def test_refused_requests_and_other_endpoints_are_free(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=1)

    assert (await send(model="gpt-9", to=fake)).status == 404
    fake.fail(500)
    assert (await send(**CHAT, to=fake)).status == 500
    await send("GET", "/v1/models", to=fake)

    assert (await balance(fake))[0] == 1


async def test_vouchers_are_spent_first_and_the_rest_becomes_a_debt(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=0, vouchers="0.00001")

    assert (await send(**CHAT, to=fake)).status == 200

    available, vouchers, cash = await balance(fake)
    assert (available, vouchers) == (0, 0)
    assert cash < 0


async def test_a_debt_does_not_eat_up_vouchers(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=-5, vouchers=2)

    assert await balance(fake) == (2, 2, -5)
    assert (await send(**CHAT, to=fake)).status == 200


@pytest.mark.parametrize("given", [{"balance": 0}, {"balance": "-0.01"}])
async def test_an_empty_account_gets_no_answers(send: Any, given: Any) -> None:
    fake = FakeMoonshot(**given)

    for call in (
        send(**CHAT, to=fake),
        send(path="/v1/tools/search", body=b'{"text_query": "rain"}', to=fake),
        send(path="/v1/tools/search_pro", body=b'{"text_query": "rain"}', to=fake),
        send(path="/v1/tools/fetch", body=b'{"url": "https://example.com"}', to=fake),
    ):
        response = await call
        error = json.loads(await response.read())["error"]
        assert (response.status, error["type"], error["message"]) == (429, "exceeded_current_quota_error", SUSPENDED)
    assert (await send("GET", "/v1/models", to=fake)).status == 200


async def test_money_may_be_paid_in_and_reset_puts_the_opening_balance_back(send: Any, balance: Any) -> None:
    fake = FakeMoonshot(balance=0, vouchers=1)

    fake.account.cash += 5
    fake.account.vouchers -= 1
    assert fake.account.available == 5
    assert await balance(fake) == (5, 0, 5)
    fake.reset()

    assert await balance(fake) == (1, 1, 0)
