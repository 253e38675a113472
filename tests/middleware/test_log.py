"""One line per attempt, silent unless asked, and with nothing in it that anyone should keep to themselves."""

import asyncio
import logging
import re
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, Log, MemoryTransport, Retry
from moonshot_async.errors import APIError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request, Response

PROMPT = "Canary prompt nobody may read"
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": PROMPT}]}
KEY = "sk-canary-key"


async def no_sleep(seconds: float) -> None:
    pass


def client_of(app: Any, **options: Any) -> AsyncMoonshot:
    options = {"middleware": [Retry(2, sleep=no_sleep)]} | options
    return AsyncMoonshot(api_key=KEY, base_url="http://m.test/v1", transport=MemoryTransport(app), **options)


async def test_each_attempt_has_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonshot_async")
    fake = FakeMoonshot()
    fake.fail(503)
    fake.disconnect()
    await client_of(fake).chat.completions.create(**ASK)
    assert [(record.name, record.levelname) for record in caplog.records] == [("moonshot_async", "INFO")] * 3
    lines = [re.sub(r"in \d+ ms", "in N ms", message) for message in caplog.messages]
    assert lines == [
        "POST /v1/chat/completions attempt=1 -> 503 InternalServerError in N ms request_id=fake-request-000001",
        "POST /v1/chat/completions attempt=2 -> APIConnectionError in N ms request_id=None",
        "POST /v1/chat/completions attempt=3 -> 200 in N ms request_id=fake-request-000003",
    ]


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture, level: int) -> None:
    caplog.set_level(level)
    fake = FakeMoonshot()
    fake.fail(401)
    client = client_of(fake, default_query={"token": "query-secret"}, default_headers={"X-Api-Key": "header-secret"})
    with pytest.raises(APIError):
        await client.chat.completions.create(**ASK)
    await client.chat.completions.create(**ASK)
    logged = caplog.text + repr([vars(record) for record in caplog.records])
    assert "POST /v1/chat/completions" in logged
    for secret in (KEY, PROMPT, "query-secret", "header-secret", "org-", "proj-", "Bearer"):
        assert secret not in logged


async def test_the_package_is_silent_by_default(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING, "moonshot_async")
    fake = FakeMoonshot()
    fake.fail(503)
    await client_of(fake).chat.completions.create(**ASK)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


async def test_what_is_not_an_outcome_of_the_attempt_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonshot_async")

    async def bug(request: Request) -> Response:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await client_of(bug).chat.completions.create(**ASK)
    assert caplog.records == []


async def test_a_log_of_ones_own_takes_the_place_of_the_default(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonshot_async")
    fake = FakeMoonshot()
    fake.fail(503, times=2)
    await client_of(fake, middleware=[Log(), Retry(2, sleep=no_sleep)]).chat.completions.create(**ASK)
    assert len(caplog.records) == 1


async def test_concurrent_attempts_keep_their_lines_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonshot_async")
    client = client_of(FakeMoonshot())
    await asyncio.gather(*(client.models.list() for _ in range(20)))
    ids = {message.rpartition("=")[2] for message in caplog.messages}
    assert len(ids) == 20
