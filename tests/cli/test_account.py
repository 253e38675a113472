"""`models`, `balance` and `tokens`."""

import io
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from moonshot_async.catalog import CATALOG
from moonshot_async.cli.inputs import MAX_BYTES
from tests.cli.command_line import Service, offline, on_terminal


def test_models_come_with_their_window_and_price() -> None:
    ended = offline("models", "--region", "intl")
    head, *rows = ended.out.splitlines()
    assert head.split() == ["MODEL", "CONTEXT", "READS", "THINKING", "INPUT", "CACHED", "OUTPUT", "BATCH", "UNTIL"]
    row = next(row for row in rows if row.startswith("kimi-k2.6 "))
    assert " ".join(row.split()) == "kimi-k2.6 262,144 text, image, video switchable 0.95 0.16 4.00 yes 2026-12-31"
    assert f"Prices in USD for a million tokens, as of {CATALOG.as_of}." in ended.err
    assert not any(line.endswith(" ") for line in (head, *rows))


def test_models_are_told_as_json() -> None:
    told = offline("models", "--json").json
    assert (told["currency"], told["prices_as_of"]) == ("cny", str(CATALOG.as_of))
    k3 = next(model for model in told["models"] if model["id"] == "kimi-k3")
    assert k3["context_window"] == 1_048_576
    assert k3["price"] == {"input": 20, "cached": 2, "output": 100}
    assert next(model for model in told["models"] if model["id"] == "kimi-k3.1-pro")["price"] is None


def test_a_model_that_the_catalog_does_not_know_is_as_the_service_says(service: Service) -> None:
    known = '{"id":"new","context_length":9000,"supports_image_in":true,"supports_reasoning":true}'
    bare = '{"id":"bare"}'
    blind = '{"id":"blind","supports_image_in":false,"supports_reasoning":false}'
    service.fake.fail(200, body=f'{{"object":"list","data":[{known},{bare},{blind}]}}', path="/models", times=2)
    rows = [" ".join(line.split()) for line in service.asked("models").out.splitlines()[1:]]
    assert rows == [
        "new 9,000 text, image yes - - - - -",
        "bare - text - - - - - -",
        "blind - text never - - - - -",
    ]
    first = service.asked("models", "--json").json["models"][0]
    assert (first["context_window"], first["modalities"], first["price"], first["batch"]) == (
        9000,
        ["text", "image"],
        None,
        None,
    )


def test_the_balance_is_exact(service: Service) -> None:
    service.fake.account.cash = Decimal("0.10")
    service.fake.account.vouchers = Decimal("7.05")
    assert " ".join(service.asked("balance").out.split()) == "Available: 7.15 USD Vouchers: 7.05 USD Cash: 0.10 USD"
    ended = service.asked("balance", "--json")
    assert '"available_balance": 7.15' in ended.out
    assert ended.json["currency"] == "usd"


@pytest.mark.parametrize("input", [None, "Milk and honey."])
def test_tokens_of_an_argument_or_of_stdin(input: str | None) -> None:
    arguments = ("Milk and honey.",) if input is None else ()
    ended = offline("tokens", *arguments, "--region", "intl", input=input)
    assert ended.out.startswith("11 tokens for kimi-k2.6, 0.0% of its window, 0.00001045 USD as a prompt")


def test_tokens_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("\ufeffMilk and honey.", encoding="utf-8")
    ended = offline("tokens", "-f", str(path), "--model", "kimi-k3", "--json")
    assert ended.json == {
        "model": "kimi-k3",
        "tokens": 11,
        "context_window": 1_048_576,
        "cost": 0.00022,
        "currency": "cny",
    }


def test_tokens_of_a_model_that_the_catalog_does_not_know(service: Service) -> None:
    body = '{"data":{"total_tokens":1234}}'
    service.fake.fail(200, body=body, path="/tokenizers/estimate-token-count", times=2)
    assert service.asked("tokens", "x", MOONSHOT_MODEL="new").out == "1,234 tokens for new\n"
    told = service.asked("tokens", "x", "-m", "new", "--json").json
    assert (told["context_window"], told["cost"], told["currency"]) == (None, None, None)


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ("", "There is nothing to count"),
        (" \n", "There is nothing to count"),
        (b"\xff\xfe", "stdin is not text in UTF-8."),
        (b"x" * (MAX_BYTES + 1), "stdin has more than 104,857,600 bytes."),
    ],
    ids=["nothing", "blank", "binary", "huge"],
)
def test_what_cannot_be_counted_is_wrong_usage(input: str | bytes, said: str) -> None:
    ended = offline("tokens", input=input)
    assert (ended.code, said in ended.err) == (2, True)


def test_nobody_waits_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    ended = on_terminal("tokens", "--offline", monkeypatch=monkeypatch)
    assert (ended.code, "Nothing to read: give a file, or pipe something in." in ended.text) == (2, True)
