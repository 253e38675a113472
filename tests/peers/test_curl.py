"""curl against the fake, with the calls that the documentation shows."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from moonshot_async.fake import FakeMoonshot
from tests.peers.running import KEY, new_fake

CHAT = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Tell me of rain"}]}


class Said(NamedTuple):
    """An answer as curl shows it."""

    status: int
    kind: str
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


Curl = Callable[..., Awaitable[Said]]


@pytest.fixture
def fake() -> FakeMoonshot:
    return new_fake()


@pytest.fixture
async def curl(fake: FakeMoonshot) -> AsyncIterator[Curl]:
    """Call a path: `await curl("/models")`; what follows are curl's own arguments."""
    program = shutil.which("curl")
    assert program, "curl is not installed"
    async with fake.serve() as url:

        async def call(path: str, *arguments: str, key: str | None = KEY) -> Said:
            authorization = () if key is None else ("-H", f"Authorization: Bearer {key}")
            process = await asyncio.create_subprocess_exec(
                *(program, "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"),
                *("--write-out", "\n%{http_code} %{content_type}", url + path, *authorization, *arguments),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            body, _, end = out.decode().rpartition("\n")
            status, _, kind = end.partition(" ")
            return Said(int(status), kind, body)

        yield call


def data(**fields: Any) -> tuple[str, ...]:
    """What makes curl send JSON, as the documentation writes it."""
    return ("-H", "Content-Type: application/json", "-d", json.dumps(fields))


async def test_a_completion(curl: Curl) -> None:
    said = await curl("/chat/completions", *data(**CHAT))

    assert (said.status, said.kind.partition(";")[0]) == (200, "application/json")
    assert said.json()["object"] == "chat.completion"
    assert said.json()["choices"][0]["finish_reason"] == "stop"


async def test_a_stream_ends_with_done(curl: Curl) -> None:
    said = await curl("/chat/completions", "-N", *data(**CHAT, stream=True))
    frames = said.body.strip().split("\n\n")

    assert (said.status, said.kind) == (200, "text/event-stream")
    assert all(frame.startswith("data: ") for frame in frames)
    assert frames[-1] == "data: [DONE]"
    assert json.loads(frames[0][6:])["choices"][0]["delta"]["role"] == "assistant"


async def test_a_long_request_waits_for_the_go_ahead(curl: Curl, fake: FakeMoonshot, tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps(CHAT | {"messages": [{"role": "user", "content": "rain " * 50_000}]}))

    said = await curl("/chat/completions", "-H", "Expect: 100-continue", "--data-binary", f"@{path}")

    assert said.status == 200
    assert fake.last_request.body == path.read_bytes()


async def test_the_models(curl: Curl) -> None:
    said = await curl("/models")

    assert said.status == 200
    assert {"kimi-k3", "kimi-k2.6"} <= {model["id"] for model in said.json()["data"]}


async def test_the_balance(curl: Curl) -> None:
    said = await curl("/users/me/balance")
    answer = said.json()

    assert said.status == 200
    assert (answer["code"], answer["status"], answer["scode"]) == (0, True, "0x0")
    assert set(answer["data"]) == {"available_balance", "voucher_balance", "cash_balance"}


async def test_a_token_estimate(curl: Curl) -> None:
    said = await curl("/tokenizers/estimate-token-count", *data(**CHAT))

    assert said.status == 200
    assert said.json()["data"]["total_tokens"] > 0


async def test_files_from_upload_to_deletion(curl: Curl, tmp_path: Path) -> None:
    path = tmp_path / "rain.txt"
    path.write_text("It rains.", encoding="utf-8")

    made = await curl("/files", "-F", f"file=@{path}", "-F", "purpose=file-extract")
    file = made.json()
    listed = await curl("/files")
    found = await curl(f"/files/{file['id']}")
    content = await curl(f"/files/{file['id']}/content")
    deleted = await curl(f"/files/{file['id']}", "-X", "DELETE")
    gone = await curl(f"/files/{file['id']}")

    assert (made.status, file["filename"], file["bytes"], file["purpose"]) == (200, "rain.txt", 9, "file-extract")
    assert [one["id"] for one in listed.json()["data"]] == [file["id"]]
    assert found.json()["id"] == file["id"]
    assert content.status == 200
    assert "It rains." in content.body
    assert (deleted.status, deleted.json()["deleted"]) == (200, True)
    assert (gone.status, gone.json()["error"]["type"]) == (404, "resource_not_found_error")


async def test_batches_from_upload_to_cancellation(curl: Curl, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    line = {"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")

    file = await curl("/files", "-F", "purpose=batch", "-F", f"file=@{path}")
    endpoint = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = await curl("/batches", *data(input_file_id=file.json()["id"], **endpoint))
    batch = made.json()
    found = await curl(f"/batches/{batch['id']}")
    listed = await curl("/batches?limit=10")
    cancelled = await curl(f"/batches/{batch['id']}/cancel", "-X", "POST")

    assert (made.status, batch["object"], batch["endpoint"]) == (200, "batch", "/v1/chat/completions")
    assert found.json()["id"] == batch["id"]
    assert [one["id"] for one in listed.json()["data"]] == [batch["id"]]
    assert listed.json()["has_more"] is False
    assert cancelled.json()["status"] in ("cancelling", "cancelled")


@pytest.mark.parametrize(
    ("path", "arguments", "key", "status", "kind"),
    [
        ("/models", (), None, 401, "invalid_authentication_error"),
        ("/models", (), "sk-wrong", 401, "incorrect_api_key_error"),
        ("/chat/completions", data(**CHAT | {"model": "moonshot-v1-8k"}), KEY, 404, "resource_not_found_error"),
        ("/chat/completions", data(**CHAT, temperature=0.3), KEY, 400, "invalid_request_error"),
        ("/chat/completions", ("-d", "{"), KEY, 400, "invalid_request_error"),
        ("/batches/batch-of-nobody", (), KEY, 404, "resource_not_found_error"),
        ("/files", ("-F", f"file=@{__file__};filename=a.txt", "-F", "purpose=rain"), KEY, 400, "invalid_request_error"),
    ],
    ids=["no key", "another key", "a retired model", "a sampling value", "no JSON", "an unknown batch", "a purpose"],
)
async def test_refusals(curl: Curl, path: str, arguments: Any, key: str | None, status: int, kind: str) -> None:
    said = await curl(path, *arguments, key=key)

    assert (said.status, said.json()["error"]["type"]) == (status, kind)
    assert said.json()["error"]["message"]
