"""`moonshot models` and `moonshot balance`: what the key may use, and what the account has left."""

from typing import TYPE_CHECKING, Any, Final

from moonshot_async.cli.options import command, pass_state
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.catalog import Catalog, Currency
    from moonshot_async.types.models import ModelInfo


_NUMBERS: Final = ("CONTEXT", "INPUT", "CACHED", "OUTPUT")
_SPARE: Final = ("READS", "UNTIL", "BATCH", "THINKING", "CONTEXT", "CACHED")


@command()
@pass_state
def models(state: State) -> None:
    """List the models, what they read, and what they cost.

    Which models there are is asked of the service; what they cost is what the vendor published, as of the day that is
    told. Prices are for a million tokens.
    """
    state.run(_models(state))


@command()
@pass_state
def balance(state: State) -> None:
    """Show what the account has left."""
    state.run(_balance(state))


async def _models(state: State) -> None:
    from moonshot_async.catalog import currency_of

    async with state.client() as client:
        found = [model async for model in client.models.list()]
        catalog, currency = client.catalog, currency_of(client.base_url)
    rows = [_described(model, catalog, currency) for model in found]
    if state.json:
        state.output.document({"models": rows, "currency": currency, "prices_as_of": catalog.as_of})
        return
    titles = ("MODEL", "CONTEXT", "READS", "THINKING", "INPUT", "CACHED", "OUTPUT", "BATCH", "UNTIL")
    state.output.table(titles, map(_row, rows), right=_NUMBERS, spare=_SPARE)
    state.output.note(f"Prices in {currency.upper()} for a million tokens, as of {catalog.as_of}.")


def _described(model: "ModelInfo", catalog: "Catalog", currency: "Currency") -> dict[str, Any]:
    known, price = catalog.get(model.id), catalog.price(model.id, currency)
    seen = {"image": model.supports_image_in, "video": model.supports_video_in}
    told = ["text", *(name for name, supported in seen.items() if supported)]
    reasons = None if model.supports_reasoning is None else "yes" if model.supports_reasoning else "never"
    return {
        "id": model.id,
        "owned_by": model.owned_by,
        "context_window": model.context_length or (known.context_window if known else None),
        "modalities": list(known.modalities) if known else told,
        "thinking": known.thinking if known else reasons,
        "batch": known.batch if known else None,
        "price": price and {"input": price.input, "cached": price.cached, "output": price.output},
        "retires_on": catalog.retires_on(model.id),
    }


def _row(model: dict[str, Any]) -> tuple[object, ...]:
    window, price = model["context_window"], model["price"] or {}
    return (
        model["id"],
        window and f"{window:,}",
        ", ".join(model["modalities"]),
        model["thinking"],
        *(price.get(name) for name in ("input", "cached", "output")),
        None if model["batch"] is None else "yes" if model["batch"] else "no",
        model["retires_on"],
    )


async def _balance(state: State) -> None:
    from moonshot_async.catalog import currency_of

    async with state.client() as client:
        left, currency = await client.users.balance(), currency_of(client.base_url)
    amounts = {
        "available_balance": left.available_balance,
        "voucher_balance": left.voucher_balance,
        "cash_balance": left.cash_balance,
    }
    if state.json:
        state.output.document({**amounts, "currency": currency})
        return
    for words, amount in zip(("Available", "Vouchers", "Cash"), amounts.values(), strict=True):
        state.output.text(f"{words + ':':<11}{amount:>14} {currency.upper()}")
