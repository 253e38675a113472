"""What the balance endpoint answers.

See: https://platform.kimi.ai/docs/api/balance
"""

import json
from decimal import Decimal
from typing import Any, Final

from moonshot_async.types.envelope import Envelope, check_envelope
from moonshot_async.types.model import Answer, Decode, ModelDecoder


class Balance(Answer, kw_only=True):
    """The balance of the account, exact: in USD on api.moonshot.ai, in CNY on api.moonshot.cn.

    Attributes:
        available_balance: cash and vouchers; at 0 or below nothing is answered any more.
        voucher_balance: never negative.
        cash_balance: negative for a debt; `available_balance` is `voucher_balance` then.
    """

    available_balance: Decimal
    voucher_balance: Decimal
    cash_balance: Decimal


class BalanceAnswer(Envelope, kw_only=True):
    """The balance as it comes, in its envelope."""

    data: Balance | None = None


class _BalanceDecoder:
    """Decode a balance; amounts come from the text of the answer, never through a float."""

    cls: Final[Any] = BalanceAnswer

    def __init__(self) -> None:
        self._decode = ModelDecoder(BalanceAnswer)

    def __call__(self, data: bytes, /) -> Balance:
        envelope = self._decode(data)
        check_envelope(envelope, envelope.data)
        balance = envelope.data
        assert balance is not None
        # Answers with something unknown in them were built of plain data, where numbers are floats. Read once more,
        # as forgivingly, this costs some microseconds and nobody asks for balances all the time.
        exact = json.loads(data.decode("utf-8-sig", "replace"), parse_float=Decimal, strict=False)["data"]
        balance.available_balance = Decimal(exact["available_balance"])
        balance.voucher_balance = Decimal(exact["voucher_balance"])
        balance.cash_balance = Decimal(exact["cash_balance"])
        return balance


decode_balance: Final[Decode[Balance]] = _BalanceDecoder()
