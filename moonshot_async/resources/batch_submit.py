"""How a batch comes to be: its file is uploaded, and it is created exactly once.

`POST /batches` knows no idempotency keys. When its answer is lost, the batch may exist all the same, so it is looked
for before it is created again.
"""

from collections.abc import Awaitable, Callable
from typing import IO, Final

from moonshot_async.clocks import time_left
from moonshot_async.errors import APIConnectionError, APIError, APIStatusError
from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.call import BodyOptions, CallOptions, post
from moonshot_async.resources.files import Files
from moonshot_async.resources.listing import Listing
from moonshot_async.types.batches import Batch, BatchCreateRequest, BatchList, decode_batch, decode_batches

# Where the digest of the requests is kept, so that a batch can be found again by what it was made of.
DIGEST_NAME: Final = "moonshot_async_requests"

_TRIES: Final = 3
# How long a server may take to write down a batch whose answer was lost, in seconds.
_SETTLE: Final = 2.0
_PAGE: Final = 100
# States in which a batch leads nowhere.
_DEAD: Final = frozenset({"failed", "cancelling", "cancelled"})


class Submission:
    """Uploads and creates for one run.

    Args:
        pipeline: a typed one.
        options: for each call.
        sleep: how to wait.
        check: whether the file is held against what the documentation allows.
    """

    def __init__(
        self, pipeline: Pipeline, options: CallOptions, sleep: Callable[[float], Awaitable[None]], *, check: bool
    ) -> None:
        self._pipeline = pipeline
        self._check = check
        self._options = options
        self._sleep = sleep

    async def upload(self, file: IO[bytes], digest: str) -> str:
        """Upload the requests; the id of the file."""
        name = f"batch-{digest[:16]}.jsonl"
        content = (name, file, "application/jsonl")
        files = Files(self._pipeline)
        return (await files.create(file=content, purpose="batch", check=self._check, **self._options)).id

    async def create(self, body: BatchCreateRequest) -> Batch:
        """Create the batch, once.

        Raises:
            APIError: it could not be created. Where it may exist all the same, a note says so.
        """
        note = (
            f"The batch may exist all the same: look for input_file_id {str(body.input_file_id)!r} in batches.list() "
            "before you run it again."
        )
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                request = post(self._pipeline, "/batches", body, self._body_options(), call="run", once=True)
                return await self._pipeline.fetch(request, decode_batch)
            except APIError as error:
                if not _may_be_made(error):
                    raise
                failed = error
            try:
                failed.add_note(note)
                if time_left() <= _SETTLE:
                    raise failed
                found = await self._lost(str(body.input_file_id), note)
                if found is not None:
                    return found
                if last or not failed.retryable:
                    raise failed
            finally:
                del failed
        raise AssertionError("unreachable")  # pragma: no cover

    def _body_options(self) -> BodyOptions:
        return {**self._options, "extra_body": None}

    async def made_of(self, digest: str) -> Batch | None:
        """The newest batch that was made of these requests and was neither refused nor cancelled."""
        found = await self._find(
            lambda batch: (batch.metadata or {}).get(DIGEST_NAME) == digest and batch.status not in _DEAD
        )
        return max(found, key=lambda batch: batch.created_at, default=None)

    async def _lost(self, input_file_id: str, note: str) -> Batch | None:
        """Look for the batch whose creation was not answered."""
        await self._sleep(_SETTLE)
        try:
            found = await self._find(lambda batch: batch.input_file_id == input_file_id)
        except APIError as error:
            error.add_note(note)
            raise
        return found[0] if found else None

    async def _find(self, fits: Callable[[Batch], bool]) -> list[Batch]:
        listing: Listing[BatchList, Batch] = Listing(
            self._pipeline, "/batches", decode_batches, query={"limit": _PAGE}, options=self._options
        )
        return [batch async for batch in listing if fits(batch)]


def _may_be_made(error: APIError) -> bool:
    """Whether the service may have done what it was asked, although it did not say so."""
    if isinstance(error, APIStatusError):
        return error.status_code >= 500 or error.status_code == 408
    return isinstance(error, APIConnectionError)
