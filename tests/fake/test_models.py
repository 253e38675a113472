import json
from typing import Any

import pytest

PATH = "/v1/tokenizers/estimate-token-count"
HELLO = [{"role": "user", "content": "Hello, fake!"}]


@pytest.fixture
def estimate(send: Any) -> Any:
    async def estimate(**payload: Any) -> tuple[int, Any]:
        response = await send(path=PATH, body=json.dumps({"model": "kimi-k3", "messages": HELLO} | payload).encode())
        return response.status, json.loads(await response.read())

    return estimate


async def test_an_estimate_is_what_a_request_counts(estimate: Any, ask: Any) -> None:
    status, answer = await estimate()

    assert status == 200
    assert answer == {"data": {"total_tokens": (await ask())["usage"]["prompt_tokens"]}}
    assert (await estimate(messages=[*HELLO, *HELLO]))[1]["data"]["total_tokens"] > answer["data"]["total_tokens"]
    assert await estimate(temperature=0.3, tools=[]) == (200, answer)


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"model": "gpt-9"}, 404, "Not found the model gpt-9"),
        ({"model": None}, 400, "model is required"),
        ({"messages": []}, 400, "messages"),
        ({"tools": [{"type": "function"}]}, 400, "tools are not accepted"),
    ],
)
async def test_what_cannot_be_estimated_is_refused(estimate: Any, changes: Any, status: int, words: str) -> None:
    got, answer = await estimate(**changes)

    assert got == status
    assert words in answer["error"]["message"]


async def test_an_estimate_of_nothing_is_refused(send: Any) -> None:
    for body in (b"", b"[]"):
        assert (await send(path=PATH, body=body)).status == 400
