"""The account: its keys, and its money, which falls with use.

See: https://platform.kimi.ai/docs/api/balance
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from moonshot_async.catalog import Catalog, Currency
from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import Response

ORGANIZATION: Final = "org-fake"
PROJECT: Final = "proj-fake"
# How texts of errors name the account: the organization and the key.
NAME: Final = f"{ORGANIZATION}<ak-fake>"


# The account as the headers of every answer tell it.
HEADERS: Final = (
    ("Msh-Org-Id", ORGANIZATION),
    ("Msh-Uid", "uid-fake"),
    ("Msh-Project-Id", PROJECT),
    ("Msh-Gid", "gid-fake"),
)


class Keys:
    """The keys of the account; None for any that begins with "sk-"."""

    def __init__(self, valid: Collection[str] | None) -> None:
        self._valid = None if valid is None else frozenset(valid)

    def check(self, authorization: str) -> None:
        """Refuse whoever has none.

        Raises:
            RefusedError: the header holds no key, or a wrong one.
        """
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or (self._valid is None and not key.startswith("sk-")):
            raise RefusedError("Invalid Authentication", status=401, type="invalid_authentication_error")
        if self._valid is not None and key not in self._valid:
            raise RefusedError("Incorrect API key provided", status=401, type="incorrect_api_key_error")


class Account:
    """What the account holds and spends.

    Attributes:
        cash: money that was paid in; negative once the account is in debt.
        vouchers: money that was given; it is spent first, and never negative.
        currency: "usd" or "cny".
        catalog: the prices. What has no price in the currency costs nothing.
    """

    def __init__(
        self, cash: Decimal | int | str, vouchers: Decimal | int | str, *, currency: Currency, catalog: Catalog
    ) -> None:
        self._opening = Decimal(cash), Decimal(vouchers)
        self.currency: Currency = currency
        self.catalog = catalog
        self.clear()

    def clear(self) -> None:
        """Put the opening balance back."""
        self.cash, self.vouchers = self._opening

    @property
    def available(self) -> Decimal:
        """What may be spent: a debt does not eat up vouchers."""
        return self.vouchers + max(self.cash, Decimal(0))

    def check(self) -> None:
        """Refuse service to an empty account.

        Raises:
            RefusedError: nothing is left.
        """
        if self.available <= 0:
            raise RefusedError(
                f"Your account {NAME} is suspended due to insufficient balance, please recharge your account or check "
                "your plan and billing details",
                status=429,
                type="exceeded_current_quota_error",
            )

    def charge(self, amount: Decimal) -> None:
        """Take `amount`, from the vouchers first. What is missing becomes a debt."""
        given = min(self.vouchers, amount)
        self.vouchers -= given
        self.cash -= amount - given

    def charge_call(self, tool: str, calls: int = 1) -> None:
        """Take the price of calls of a tool, named as in `Catalog.calls`."""
        price = self.catalog.calls.get(tool)
        amount = None if price is None else price.cny if self.currency == "cny" else price.usd
        if amount is not None and calls:
            self.charge(amount * calls)

    def charge_tokens(
        self, model: str, usage: Mapping[str, Any], *, cache_ttl: Any = None, batch: bool = False
    ) -> None:
        """Take the price of an answer."""
        price = self.catalog.price(model, self.currency)
        if price is not None:
            details = usage.get("prompt_tokens_details") or {}
            self.charge(
                price.cost(
                    prompt_tokens=usage.get("prompt_tokens") or 0,
                    completion_tokens=usage.get("completion_tokens") or 0,
                    cached_tokens=usage.get("cached_tokens") or details.get("cached_tokens") or 0,
                    cache_write_tokens=details.get("cache_write_tokens") or 0,
                    cache_ttl="1h" if cache_ttl == "1h" else "5m",
                    batch=batch,
                )
            )

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/v1/users/me/balance", self._balance),)

    def _balance(self, call: Call) -> Response:
        data = {
            "available_balance": _number(self.available),
            "voucher_balance": _number(self.vouchers),
            "cash_balance": _number(self.cash),
        }
        return json_response({"code": 0, "data": data, "scode": "0x0", "status": True})


def _number(amount: Decimal) -> msgspec.Raw:
    """A JSON number with every digit: through a float some would change."""
    return msgspec.Raw(format(amount, "f").encode())
