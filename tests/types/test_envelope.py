"""Envelopes around answers."""

import copy
import pickle
from typing import Any

import pytest

from moonshot_async import APIError, APIResponseValidationError
from moonshot_async.types.envelope import Envelope, check_envelope


@pytest.mark.parametrize("code", [0, "0"])
def test_the_code_zero_is_success(code: int | str) -> None:
    check_envelope(Envelope(code=code, status=False), {})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"message": "not open to you"}, "not open to you (code 5, scode 0x5)"),
        ({"msg": "m", "message": ""}, " (code 5, scode 0x5)"),
        ({"message": {"a": 1}}, "The service could not answer (code 5, scode 0x5)"),
        ({"message": "x" * 9000}, "x" * 2000 + " (code 5, scode 0x5)"),
    ],
)
def test_another_code_is_an_error_with_what_the_service_says(fields: dict[str, Any], text: str) -> None:
    envelope = Envelope.model_validate({"code": 5, "scode": "0x5", "status": False, **fields})

    with pytest.raises(APIError) as caught:
        check_envelope(envelope, None)

    assert caught.value.message == text
    assert caught.value.code == "5"
    assert caught.value.body == {"code": 5, "scode": "0x5", "status": False, **fields}
    assert pickle.loads(pickle.dumps(copy.copy(caught.value))).code == "5"


def test_an_error_without_a_scode_says_so() -> None:
    with pytest.raises(APIError, match=r"\(code 7, scode none\)"):
        check_envelope(Envelope(code=7), {})


def test_an_envelope_with_nothing_in_it_is_not_an_answer() -> None:
    with pytest.raises(APIResponseValidationError, match="it has no data"):
        check_envelope(Envelope(), None)
