"""`client.signatures`."""

from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.fake import FakeMoonshot
from moonshot_async.types.signatures import RequestSignature, new_nonce, nonce_header
from tests.canned import Canned

SIGNATURE = RequestSignature(nonce=new_nonce(), timestamp=1794200000123, model="kimi-k3", signature="reqsigv1_abc")


@pytest.mark.parametrize("valid", [True, False])
async def test_a_signature_is_verified(valid: bool) -> None:
    service = Canned({"valid": valid})
    async with service.client() as client:
        verdict = await client.signatures.verify(**SIGNATURE.params(), timeout=5)

    assert verdict.valid is valid
    assert service.path == "/signatures/verify"
    assert service.sent == SIGNATURE.params()


async def test_a_chat_asks_for_a_signature_with_one_header() -> None:
    service = Canned({"choices": [{"message": {"content": "Hi"}}]})
    async with service.client() as client:
        await client.chat.completions.create(model="kimi-k3", messages=[], extra_headers=nonce_header(SIGNATURE.nonce))

    assert service.requests[0].headers["x-msh-request-nonce"] == SIGNATURE.nonce


async def test_a_keyword_that_does_not_exist_or_is_missing_is_a_type_error() -> None:
    service = Canned()
    unknown: dict[str, Any] = {**SIGNATURE.params(), "nonse": 1}
    async with service.client() as client:
        with pytest.raises(TypeError, match=r"verify\(\) got an unexpected keyword argument 'nonse'"):
            await client.signatures.verify(**unknown)
        with pytest.raises(TypeError, match="signature"):
            await client.signatures.verify(nonce="n", timestamp=1, model="m")  # type: ignore[call-arg]  # missing
    assert service.requests == []


async def test_the_embedded_service_signs_and_verifies() -> None:
    nonce = new_nonce()
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot())) as client:
        stream = await client.chat.completions.create(
            model="kimi-k3",
            messages=[{"role": "user", "content": "Canary prompt: hi"}],
            stream=True,
            extra_headers=nonce_header(nonce),
        )
        async with stream:
            signature = RequestSignature.read(stream.response.headers, nonce=nonce, model="kimi-k3")
        assert signature is not None
        assert (await client.signatures.verify(**signature.params())).valid
        forged: Any = {**signature.params(), "model": "kimi-k2.6"}
        assert not (await client.signatures.verify(**forged)).valid
