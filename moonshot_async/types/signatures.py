"""Signed requests: the header that asks for a signature, the signature, and the verdict on one.

See: https://platform.kimi.ai/docs/api/signatures-verify
"""

from collections.abc import Mapping
from typing import Any, Final, Self, TypedDict

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.types.model import Answer, ModelDecoder

NONCE_HEADER: Final = "X-Msh-Request-Nonce"
_TIMESTAMP_HEADER: Final = "Msh-Request-Timestamp"
_SIGNATURE_HEADER: Final = "Msh-Request-Signature"


class VerifyRequest(msgspec.Struct, kw_only=True):
    """The body of a verification."""

    nonce: Any
    timestamp: Any
    model: Any
    signature: Any


class SignatureVerdict(Answer, kw_only=True):
    """Whether the service did accept a request with this nonce and model at that time."""

    valid: bool


class SignatureParams(TypedDict):
    """The keywords of `client.signatures.verify`."""

    nonce: str
    timestamp: int
    model: str
    signature: str


class RequestSignature(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that came with an answer, and what it is about.

    Attributes:
        nonce: what the request sent.
        timestamp: when the service accepted the request, in Unix milliseconds.
        model: exactly as sent.
        signature: begins with `reqsigv1_`.
    """

    nonce: str
    timestamp: int
    model: str
    signature: str

    @classmethod
    def read(cls, headers: Mapping[str, str], *, nonce: str, model: str) -> Self | None:
        """The signature in the headers of an answer; None where the service did not sign.

        Args:
            headers: of the response.
            nonce: the one that was sent, from `new_nonce`.
            model: the id that was sent, to the letter.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        timestamp = lower.get(_TIMESTAMP_HEADER.lower(), "").strip()
        signature = lower.get(_SIGNATURE_HEADER.lower(), "").strip()
        if not signature or not (timestamp.isascii() and timestamp.isdecimal()):
            return None
        return cls(nonce=nonce, timestamp=int(timestamp), model=model, signature=signature)

    def params(self) -> SignatureParams:
        """The keywords to have it verified: `client.signatures.verify(**signature.params())`."""
        return {
            "nonce": self.nonce,
            "timestamp": self.timestamp,
            "model": self.model,
            "signature": self.signature,
        }


def new_nonce() -> str:
    """A fresh nonce; each request needs its own."""
    # Programs that sign nothing need no uuid.
    from uuid import uuid4

    return str(uuid4())


def nonce_header(nonce: str) -> dict[str, str]:
    """The header that asks for a signature, for `extra_headers=` of a chat completion.

    Raises:
        ConfigurationError: the nonce is no UUID of version 4. The service would not sign, and not say so either.
    """
    from uuid import UUID

    try:
        valid = UUID(nonce).version == 4 and str(UUID(nonce)) == nonce.lower()
    except (ValueError, AttributeError, TypeError):
        valid = False
    if not valid:
        raise ConfigurationError(f"the nonce must be one UUID of version 4, from new_nonce(), not {nonce!r}")
    return {NONCE_HEADER: nonce}


decode_verdict: Final = ModelDecoder(SignatureVerdict)
