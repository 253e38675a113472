"""Nonces, signatures, and where they are found."""

from uuid import UUID, uuid1

import pytest

from moonshot_async import ConfigurationError, Headers
from moonshot_async.types.signatures import RequestSignature, new_nonce, nonce_header

NONCE = "7b5a8c0e-6b3f-4f6a-9a50-0c6b1c2d3e4f"


def test_a_nonce_is_a_fresh_uuid_of_version_4() -> None:
    one, other = new_nonce(), new_nonce()

    assert one != other
    assert UUID(one).version == 4
    assert nonce_header(one) == {"X-Msh-Request-Nonce": one}


def test_a_nonce_may_be_written_in_capitals() -> None:
    assert nonce_header(NONCE.upper()) == {"X-Msh-Request-Nonce": NONCE.upper()}


@pytest.mark.parametrize(
    "nonce",
    ["", "x", f"{NONCE}, {NONCE}", f"{{{NONCE}}}", NONCE.replace("-", ""), str(uuid1()), None, 4, UUID(NONCE)],
    ids=str,
)
def test_what_the_service_would_pass_over_in_silence_is_refused(nonce: object) -> None:
    with pytest.raises(ConfigurationError, match="must be one UUID of version 4"):
        nonce_header(nonce)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("kind", [Headers, dict])
def test_a_signature_is_read_from_the_headers_of_an_answer(kind: type) -> None:
    headers = kind({"msh-request-timestamp": " 1794200000123 ", "Msh-Request-Signature": "reqsigv1_abc"})

    signature = RequestSignature.read(headers, nonce=NONCE, model="kimi-k3")

    assert signature is not None
    assert signature.params() == {
        "nonce": NONCE,
        "timestamp": 1794200000123,
        "model": "kimi-k3",
        "signature": "reqsigv1_abc",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Msh-Request-Signature": "reqsigv1_abc"},
        {"Msh-Request-Timestamp": "1"},
        {"Msh-Request-Timestamp": "soon", "Msh-Request-Signature": "reqsigv1_abc"},
        {"Msh-Request-Timestamp": "١٢", "Msh-Request-Signature": "reqsigv1_abc"},
    ],
)
def test_an_answer_that_was_not_signed_has_no_signature(headers: dict[str, str]) -> None:
    assert RequestSignature.read(headers, nonce=NONCE, model="kimi-k3") is None
