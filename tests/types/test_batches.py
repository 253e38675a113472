"""What the batch endpoints answer."""

import json
from typing import Any

import pytest

from moonshot_async.types.batches import Batch, decode_batch, decode_batches

WHOLE: dict[str, Any] = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": "file-2",
    "error_file_id": None,
    "created_at": 1,
    "in_progress_at": 2,
    "expires_at": 3,
    "finalizing_at": 4,
    "completed_at": 5,
    "failed_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "metadata": {"job": "a"},
}


def decoded(**changes: Any) -> Batch:
    return decode_batch(json.dumps({**WHOLE, **changes}).encode())


def test_a_batch_has_every_documented_field_and_gives_it_back() -> None:
    batch = decoded()
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.output_file_id, batch.metadata) == (3, "file-2", {"job": "a"})
    dumped = batch.model_dump()
    assert {name: dumped[name] for name in WHOLE} == WHOLE


def test_counts_may_be_missing_while_a_batch_is_validated() -> None:
    batch = decode_batch(b'{"id": "b", "object": "batch", "status": "validating"}')
    assert (batch.request_counts, batch.endpoint, batch.done) == (None, "/v1/chat/completions", False)
    assert decoded(request_counts=None).request_counts is None


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_a_batch_in_a_final_state_is_done(status: str) -> None:
    assert decoded(status=status).done


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling", "something newer"])
def test_a_batch_in_any_other_state_is_not_done(status: str) -> None:
    assert not decoded(status=status).done


def test_the_errors_of_a_refused_file_are_readable_and_unknown_fields_stay() -> None:
    batch = decoded(errors={"object": "list", "data": [{"code": "x", "line": 2, "message": "bad"}]}, newer=1)
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert (batch.errors.data[0].line, batch.errors.data[0].message) == (2, "bad")
    assert batch.model_extra == {"newer": 1}


def test_a_page_leads_to_the_next_one() -> None:
    page = decode_batches(json.dumps({"object": "list", "data": [WHOLE], "has_more": True}).encode())
    info = page.next_page_info()
    assert info is not None
    assert info.params == {"after": "batch_1"}
    assert decode_batches(b'{"object": "list", "data": []}').has_next_page() is False
