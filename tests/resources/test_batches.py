"""`client.batches`: create, retrieve, list, cancel."""

import json
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, BadRequestError, ConfigurationError, NotFoundError
from tests.resources.batch_service import BatchService


@pytest.fixture
def service() -> BatchService:
    return BatchService()


async def test_a_batch_is_created_with_what_openai_is_told(client: AsyncMoonshot, service: BatchService) -> None:
    batch = await client.batches.create(
        input_file_id="file-1",
        endpoint="/v1/chat/completions",
        completion_window="3d",
        metadata={"job": "a"},
        extra_body={"newer": 1},
        extra_headers={"X-A": "1"},
    )
    assert (batch.id, batch.status, batch.done, batch.metadata) == ("batch-1", "validating", False, {"job": "a"})
    request = service.requests[0]
    assert (request.method, request.path, request.headers["X-A"]) == ("POST", "/v1/batches", "1")
    assert json.loads(request.content) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "3d",
        "metadata": {"job": "a"},
        "newer": 1,
    }


async def test_endpoint_and_window_may_be_left_out(client: AsyncMoonshot, service: BatchService) -> None:
    await client.batches.create(input_file_id="file-1")
    body = json.loads(service.requests[0].content)
    assert body == {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}


async def test_keywords_of_create_are_strict(client: AsyncMoonshot, service: BatchService) -> None:
    slip: dict[str, Any] = {"input_file_id": "file-1", "completion_windw": "24h"}
    with pytest.raises(TypeError, match="'completion_windw'; did you mean 'completion_window'"):
        await client.batches.create(**slip)
    nothing: dict[str, Any] = {}
    with pytest.raises(TypeError, match="missing required keyword argument 'input_file_id'"):
        await client.batches.create(**nothing)
    assert service.requests == []


async def test_a_batch_is_looked_up_and_cancelled(client: AsyncMoonshot, service: BatchService) -> None:
    made = await client.batches.create(input_file_id="file-1")
    assert (await client.batches.retrieve(made.id)).status == "in_progress"
    assert (await client.batches.cancel(made.id)).status == "cancelling"
    assert service.seen == ["POST /batches", "GET /batches/batch-1", "POST /batches/batch-1/cancel"]


async def test_what_cannot_be_cancelled_is_a_bad_request_and_what_is_not_there_not_found(
    client: AsyncMoonshot, service: BatchService
) -> None:
    service.create({"input_file_id": "file-1", "status": "completed"})
    with pytest.raises(BadRequestError, match="too late"):
        await client.batches.cancel("batch-1")
    with pytest.raises(NotFoundError, match="no such batch"):
        await client.batches.retrieve("batch-7")


async def test_batches_are_listed_page_by_page(client: AsyncMoonshot, service: BatchService) -> None:
    for number in range(5):
        service.create({"input_file_id": f"file-{number}"})
    page = await client.batches.list(limit=2)
    assert ([batch.id for batch in page.data], page.has_more) == (["batch-5", "batch-4"], True)
    assert [batch.id async for batch in client.batches.list()] == [f"batch-{number}" for number in (5, 4, 3, 2, 1)]
    assert [batch.id async for batch in client.batches.list(after="batch-3")] == ["batch-2", "batch-1"]
    assert [request.url.partition("?")[2] for request in service.requests[:3]] == ["limit=2", "", "after=batch-4"]


@pytest.mark.parametrize("batch_id", ["", "..", None])
async def test_what_is_no_id_is_refused(batch_id: Any, client: AsyncMoonshot, service: BatchService) -> None:
    with pytest.raises(ConfigurationError, match="batch_id must be a non-empty id"):
        await client.batches.retrieve(batch_id)
    with pytest.raises(ConfigurationError, match="batch_id must be a non-empty id"):
        await client.batches.cancel(batch_id)
    assert service.requests == []


async def test_a_keyword_that_does_not_exist_is_a_type_error(client: AsyncMoonshot, service: BatchService) -> None:
    slip: dict[str, Any] = {"timeuot": 1}
    with pytest.raises(TypeError, match=r"retrieve\(\) got an unexpected keyword argument 'timeuot'"):
        await client.batches.retrieve("batch-1", **slip)
    with pytest.raises(TypeError, match=r"cancel\(\) got an unexpected keyword argument 'timeuot'"):
        await client.batches.cancel("batch-1", **slip)
    with pytest.raises(TypeError, match=r"list\(\) got an unexpected keyword argument 'timeuot'"):
        client.batches.list(**slip)
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected keyword argument 'timeuot'"):
        client.batches.run([], **slip)
    with pytest.raises(TypeError, match=r"results\(\) got an unexpected keyword argument 'timeuot'"):
        client.batches.results("batch-1", **slip)
    assert service.requests == []


async def test_single_calls_have_raw_forms(client: AsyncMoonshot) -> None:
    raw = await client.batches.with_raw_response.create(input_file_id="file-1")
    assert (raw.status_code, raw.parse().id) == (200, "batch-1")
    async with client.batches.with_streaming_response.retrieve("batch-1") as response:
        assert (await response.parse()).status == "in_progress"
