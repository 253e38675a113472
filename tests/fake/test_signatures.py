import json
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot

KEY = {"Authorization": "Bearer sk-test"}
NONCE = "7d929748-0ae6-41c2-ab5d-a186498ad721"


@pytest.fixture
def signed(send: Any, fake: FakeMoonshot) -> Any:
    """Ask with a nonce, and return the headers about it."""

    async def signed(nonce: Any = NONCE, *, to: FakeMoonshot = fake, **payload: Any) -> tuple[str | None, str | None]:
        nonces = nonce if isinstance(nonce, list) else [nonce]
        headers = [*KEY.items(), *(("X-Msh-Request-Nonce", one) for one in nonces)]
        response = await send(**{"model": "kimi-k2.6"} | payload, headers=headers, to=to)
        return response.headers.get("Msh-Request-Timestamp"), response.headers.get("Msh-Request-Signature")

    return signed


@pytest.fixture
def verify(send: Any, fake: FakeMoonshot) -> Any:
    async def verify(signature: str, *, to: FakeMoonshot = fake, **changes: Any) -> bool:
        payload = {"nonce": NONCE, "timestamp": 1794200000900, "model": "kimi-k2.6", "signature": signature} | changes
        response = await send(path="/v1/signatures/verify", body=json.dumps(payload).encode(), to=to)
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        answer = json.loads(await response.read())
        assert set(answer) == {"valid"}
        return bool(answer["valid"])

    return verify


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_with_a_nonce_is_signed_and_the_signature_verified(
    signed: Any, verify: Any, stream: bool
) -> None:
    timestamp, signature = await signed(stream=stream)

    assert timestamp == "1794200000900"
    assert signature.startswith("reqsigv1_")
    assert await verify(signature)
    assert await verify(signature)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "7d929748-0ae6-41c2-ab5d-a186498ad722"},
        {"timestamp": 1794200000901},
        {"model": "kimi-k3"},
        {"signature": "reqsigv1_x"},
        {"signature": "né"},
    ],
)
async def test_a_signature_is_about_its_nonce_time_and_model_alone(signed: Any, verify: Any, changes: Any) -> None:
    _, signature = await signed()

    assert not await verify(**{"signature": signature} | changes)


async def test_another_service_has_another_secret(signed: Any, verify: Any) -> None:
    _, signature = await signed()

    assert not await verify(signature, to=FakeMoonshot(seed=1))


@pytest.mark.parametrize(
    "nonce",
    ["", "x", "7d929748-0ae6-11c2-ab5d-a186498ad721", NONCE.replace("-", ""), [NONCE, NONCE], ["", NONCE], []],
)
async def test_anything_but_one_nonce_is_ignored(signed: Any, nonce: Any) -> None:
    assert await signed(nonce) == (None, None)


async def test_an_upper_case_nonce_is_one_too(signed: Any) -> None:
    assert (await signed(NONCE.upper()))[1]


async def test_a_refused_request_is_not_signed(signed: Any) -> None:
    assert await signed(model="gpt-9") == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonce": ""}, "nonce is required and must be a string"),
        ({"model": 5}, "model is required and must be a string"),
        ({"signature": None}, "signature is required and must be a string"),
        ({"timestamp": "1794200000900"}, "timestamp must be a positive integer"),
        ({"timestamp": 0}, "timestamp must be a positive integer"),
        ({"timestamp": True}, "timestamp must be a positive integer"),
    ],
)
async def test_a_bad_verification_is_refused(send: Any, changes: Any, message: str) -> None:
    payload = {"nonce": NONCE, "timestamp": 1, "model": "kimi-k3", "signature": "s"} | changes

    response = await send(path="/v1/signatures/verify", body=json.dumps(payload).encode())

    assert response.status == 400
    assert json.loads(await response.read())["error"]["message"] == f"Invalid request: {message}"
