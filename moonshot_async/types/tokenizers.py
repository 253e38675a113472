"""How many tokens messages have: what the endpoint is asked, and what it answers.

See: https://platform.kimi.ai/docs/api/estimate
"""

from typing import Any, Final

import msgspec

from moonshot_async.headers import Unshown
from moonshot_async.types.envelope import Envelope, check_envelope
from moonshot_async.types.model import Answer, Decode, ModelDecoder


class TokenCountRequest(Unshown, msgspec.Struct, kw_only=True):
    """The body of an estimate."""

    model: Any
    messages: Any


class TokenCount(Answer, kw_only=True):
    """How many tokens the messages are for the model, as the service estimates it."""

    total_tokens: int


class TokenCountAnswer(Envelope, kw_only=True):
    """The count as it comes; older answers have the whole envelope, newer ones only `data`."""

    data: TokenCount | None = None


def _unwrapped(answer: TokenCountAnswer) -> TokenCount:
    check_envelope(answer, answer.data)
    assert answer.data is not None
    return answer.data


decode_token_count: Final[Decode[TokenCount]] = ModelDecoder(TokenCountAnswer).then(_unwrapped)
