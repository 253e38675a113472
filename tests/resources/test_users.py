"""`client.users`."""

from decimal import Decimal
from typing import Any

import pytest

from moonshot_async import APIError, AsyncMoonshot, MemoryTransport
from moonshot_async.fake import FakeMoonshot
from tests.canned import Canned

BALANCE = (
    b'{"code":0,"scode":"0x0","status":true,'
    b'"data":{"available_balance":49.58894,"voucher_balance":46.58893,"cash_balance":3.00001}}'
)


async def test_the_balance_is_exact_and_has_a_request_id() -> None:
    service = Canned(BALANCE)
    async with service.client() as client:
        balance = await client.users.balance(timeout=5, extra_headers={"X-A": "1"})

    assert balance.available_balance == Decimal("49.58894")
    assert balance.request_id == "req-1"
    assert (service.requests[0].method, service.path) == ("GET", "/users/me/balance")
    assert service.requests[0].headers["X-A"] == "1"


async def test_a_failure_in_a_good_answer_is_an_error_that_knows_its_request() -> None:
    async with Canned(b'{"code": 5, "scode": "0x5", "message": "account is frozen"}').client() as client:
        with pytest.raises(APIError, match="account is frozen") as caught:
            await client.users.balance()
    assert caught.value.request is not None
    assert caught.value.request.path == "/v1/users/me/balance"


async def test_a_keyword_that_does_not_exist_is_a_type_error() -> None:
    service = Canned(BALANCE)
    unknown: dict[str, Any] = {"timeuot": 1}
    async with service.client() as client:
        with pytest.raises(TypeError, match=r"balance\(\) got an unexpected keyword argument 'timeuot'"):
            await client.users.balance(**unknown)
    assert service.requests == []


async def test_the_embedded_service_has_a_balance() -> None:
    fake = FakeMoonshot(balance="12.30")
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
        balance = await client.users.balance()

    assert balance.available_balance == balance.cash_balance == Decimal("12.3")
    assert balance.voucher_balance == 0
    assert balance.model_extra == {}
