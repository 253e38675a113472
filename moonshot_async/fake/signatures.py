"""Signatures that prove that the service accepted a request with a nonce and a model.

See: https://platform.kimi.ai/docs/api/signatures-verify
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import Headers, Response

_NONCE: Final = "x-msh-request-nonce"
_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_FIELDS: Final = ("nonce", "timestamp", "model", "signature")


class Signatures:
    """Signs requests that bring a nonce, and verifies signatures.

    Args:
        clock: the time, in Unix seconds.
        secret: fakes with the same one accept each other's signatures.
    """

    def __init__(self, clock: Callable[[], float], secret: str) -> None:
        self._clock = clock
        self._key = blake2b(secret.encode()).digest()

    def headers(self, request: Headers, model: str) -> list[tuple[str, str]]:
        """What the answer to an accepted request carries; nothing unless there is exactly one nonce, of version 4."""
        if _NONCE not in request:
            return []
        # A repeated header reads as one value with a comma in it, which is no nonce.
        nonce = request[_NONCE].strip()
        if not _UUID4.fullmatch(nonce):
            return []
        timestamp = int(self._clock() * 1000)
        return [
            ("Msh-Request-Timestamp", str(timestamp)),
            ("Msh-Request-Signature", self._sign(nonce, timestamp, model)),
        ]

    def routes(self) -> tuple[Route, ...]:
        return (Route("POST", "/v1/signatures/verify", self._verify),)

    def _verify(self, call: Call) -> Response:
        payload = call.json_object()
        for name in _FIELDS:
            value = payload.get(name)
            if name == "timestamp":
                if type(value) is not int or value < 1:
                    raise RefusedError("Invalid request: timestamp must be a positive integer")
            elif not isinstance(value, str) or not value:
                raise RefusedError(f"Invalid request: {name} is required and must be a string")
        expected = self._sign(payload["nonce"], payload["timestamp"], payload["model"])
        valid = compare_digest(expected.encode(), payload["signature"].encode("utf-8", "replace"))
        return json_response({"valid": valid}, headers=[("Cache-Control", "no-store")])

    def _sign(self, nonce: str, timestamp: int, model: str) -> str:
        about = f"{nonce}\n{timestamp}\n{model}".encode("utf-8", "surrogatepass")
        token = urlsafe_b64encode(blake2b(about, key=self._key, digest_size=32).digest())
        return "reqsigv1_" + token.decode().rstrip("=")
