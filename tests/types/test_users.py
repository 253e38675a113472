"""The balance, as it is decoded."""

import json
from decimal import Decimal

import pytest

from moonshot_async import APIError, APIResponseValidationError
from moonshot_async.types.users import decode_balance

# More digits than a float has.
EXACT = "49.58894000000000000000012345"


def answer(available: str = "49.58894", more: str = "", around: str = "") -> bytes:
    data = f'{{"available_balance": {available}, "voucher_balance": 46.58893, "cash_balance": -3.00{more}}}'
    return f'{{"code": 0, "scode": "0x0", "status": true, "data": {data}{around}}}'.encode()


def test_amounts_are_what_the_text_says() -> None:
    balance = decode_balance(answer())

    assert (balance.available_balance, balance.voucher_balance) == (Decimal("49.58894"), Decimal("46.58893"))
    assert str(balance.cash_balance) == "-3.00"


@pytest.mark.parametrize(
    "data",
    [
        answer(EXACT),
        answer(f'"{EXACT}"'),
        answer(EXACT, ', "gift_balance": 0.1'),
        answer(EXACT, around=', "trace": "\\ud800"'),
        b"\xef\xbb\xbf" + answer(EXACT),
        answer(EXACT).replace(b'"0x0"', b"null"),
    ],
    ids=["number", "text", "unknown field", "lone surrogate", "byte order mark", "null"],
)
def test_amounts_never_go_through_a_float(data: bytes) -> None:
    balance = decode_balance(data)

    assert str(balance.available_balance) == EXACT
    assert str(balance.cash_balance) == "-3.00"


def test_whole_numbers_are_amounts_too() -> None:
    assert decode_balance(answer("0", ', "new": 1')).available_balance == Decimal(0)


def test_unknown_fields_stay() -> None:
    balance = decode_balance(answer(more=', "gift_balance": 0.5'))

    assert balance.model_extra == {"gift_balance": 0.5}
    assert balance.to_dict()["gift_balance"] == 0.5


def test_dumps_lose_nothing() -> None:
    balance = decode_balance(answer(EXACT))

    assert balance.to_dict()["available_balance"] == Decimal(EXACT)
    assert json.loads(balance.to_json())["available_balance"] == EXACT


def test_an_envelope_that_tells_of_a_failure_is_an_error() -> None:
    with pytest.raises(APIError, match=r"no access \(code 12, scode 0xc\)") as caught:
        decode_balance(b'{"code": 12, "scode": "0xc", "status": false, "message": "no access", "data": null}')
    assert caught.value.code == "12"


@pytest.mark.parametrize(
    "data", [b'{"code": 0, "data": null}', b'{"data": {}}', b'{"data": {"cash_balance": "x"}}', b"[]"]
)
def test_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(APIResponseValidationError):
        decode_balance(data)
