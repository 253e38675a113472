"""Batches: many requests in one file, answered within hours at a lower price.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

from collections.abc import Mapping
from typing import Any, Final, Required, TypedDict

import msgspec

from moonshot_async.headers import Unshown
from moonshot_async.types.encoding import NotGiven
from moonshot_async.types.model import Answer, Model, ModelDecoder, sent_null
from moonshot_async.types.pages import CursorPage

CHAT_ENDPOINT: Final = "/v1/chat/completions"
DEFAULT_WINDOW: Final = "24h"

# States that no batch leaves any more.
_FINAL: Final = frozenset({"failed", "completed", "expired", "cancelled"})


class BatchRequestCounts(Model, kw_only=True):
    """How many requests of a batch there are, were answered, and failed."""

    completed: int = 0
    failed: int = 0
    total: int = 0


class BatchError(Model, kw_only=True):
    """What is wrong with the input file; `line` counts from 1."""

    code: str | None = None
    line: int | None = None
    message: str | None = None
    param: str | None = None


class BatchErrors(Model, kw_only=True):
    """Why a batch `failed`."""

    data: list[BatchError] | None = None
    object: str | None = None


class Batch(Answer, kw_only=True):
    """A batch. Moments are in Unix seconds, None where they have not come.

    Attributes:
        status: `validating`, `in_progress`, `finalizing`, `completed`, `failed` (the input file was refused),
            `expired`, `cancelling`, `cancelled`, or something newer.
        completion_window: as it was asked for, for example "24h".
        output_file_id: the file with the answers; None as long as there is none.
        error_file_id: the file with the requests that failed; None where none did.
        errors: what was wrong with the input file, where the service says it.
        request_counts: None while the batch is `validating`.

    See: https://platform.kimi.ai/docs/api/batch-retrieve
    """

    id: str
    completion_window: str = ""
    created_at: int = 0
    endpoint: str = CHAT_ENDPOINT
    input_file_id: str = ""
    object: str = "batch"
    status: str
    cancelled_at: int | None = sent_null()
    cancelling_at: int | None = sent_null()
    completed_at: int | None = sent_null()
    error_file_id: str | None = sent_null()
    errors: BatchErrors | None = None
    expired_at: int | None = None
    expires_at: int | None = sent_null()
    failed_at: int | None = sent_null()
    finalizing_at: int | None = sent_null()
    in_progress_at: int | None = sent_null()
    metadata: dict[str, str] | None = sent_null()
    model: str | None = None
    output_file_id: str | None = sent_null()
    request_counts: BatchRequestCounts | None = None
    usage: Any | None = None

    @property
    def done(self) -> bool:
        """Whether the batch has ended: `completed`, `failed`, `expired` or `cancelled`."""
        return self.status in _FINAL


class BatchList(CursorPage[Batch], kw_only=True):
    """Some of the batches of the organization."""


class BatchCreateParams(TypedDict, total=False):
    """The keywords of `batches.create`. Values are not judged here: the service validates them.

    Attributes:
        input_file_id: a `.jsonl` file that was uploaded with `purpose="batch"`.
        endpoint: what answers the requests; the service knows `/v1/chat/completions` only.
        completion_window: how long it may take, from 12 hours to 7 days: "12h", "24h", "3d".
        metadata: up to 16 pairs to find the batch by; names have up to 64 characters, values up to 512.
    """

    input_file_id: Required[str]
    endpoint: str
    completion_window: str
    metadata: Mapping[str, str] | NotGiven | None


class BatchCreateRequest(Unshown, msgspec.Struct, kw_only=True, gc=False):
    """The body of `batches.create`."""

    input_file_id: Any
    endpoint: Any = CHAT_ENDPOINT
    completion_window: Any = DEFAULT_WINDOW
    metadata: Any = msgspec.UNSET


decode_batch = ModelDecoder(Batch)
decode_batches = ModelDecoder(BatchList)
