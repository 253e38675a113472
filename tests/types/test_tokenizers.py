"""Token counts, as they are decoded."""

import pytest

from moonshot_async import APIError, APIResponseValidationError
from moonshot_async.types.tokenizers import decode_token_count


@pytest.mark.parametrize(
    "data",
    [
        b'{"data": {"total_tokens": 80}}',
        b'{"code": 0, "data": {"total_tokens": 80}, "scode": "0x0", "status": true}',
        b'{"code": 0, "data": {"total_tokens": 80.0, "image_tokens": 7}, "new": 1}',
    ],
)
def test_the_count_comes_with_and_without_an_envelope(data: bytes) -> None:
    assert decode_token_count(data).total_tokens == 80


def test_unknown_fields_stay() -> None:
    assert decode_token_count(b'{"data": {"total_tokens": 8, "image_tokens": 7}}').model_extra == {"image_tokens": 7}


def test_a_failure_in_the_envelope_is_an_error() -> None:
    with pytest.raises(APIError, match="no such model"):
        decode_token_count(b'{"code": 3, "message": "no such model"}')


def test_no_count_is_no_answer() -> None:
    with pytest.raises(APIResponseValidationError, match="no data"):
        decode_token_count(b'{"code": 0}')
