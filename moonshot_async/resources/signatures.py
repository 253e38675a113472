"""Proof that the service accepted a request.

See: https://platform.kimi.ai/docs/api/signatures-verify
"""

from typing import Unpack

from moonshot_async.resources.call import BodyOptions, Resource, post
from moonshot_async.types.signatures import SignatureVerdict, VerifyRequest, decode_verdict


class Signatures(Resource):
    """`client.signatures`. How to get a signature: `moonshot_async.types.signatures`."""

    async def verify(
        self, *, nonce: str, timestamp: int, model: str, signature: str, **options: Unpack[BodyOptions]
    ) -> SignatureVerdict:
        """Have the service say whether a signature is its own. It vouches for nonce, time and model, not for content.

        Args:
            nonce: the UUID of version 4 that the request sent.
            timestamp: `Msh-Request-Timestamp` of the answer, in Unix milliseconds.
            model: exactly as sent.
            signature: `Msh-Request-Signature` of the answer.
            **options: see `BodyOptions`.

        Returns:
            `.valid` says it.

        Raises:
            APIError: in all its kinds.

        See: https://platform.kimi.ai/docs/api/signatures-verify
        """
        body = VerifyRequest(nonce=nonce, timestamp=timestamp, model=model, signature=signature)
        request = post(self._pipeline, "/signatures/verify", body, options, call="verify")
        return await self._pipeline.fetch(request, decode_verdict)
