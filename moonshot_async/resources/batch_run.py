"""`batches.run`: requests in, results out, with everything that lies between a list and a batch.

The story: requests → lines on disk → upload → batch → wait → files on disk → results, joined with their requests.
Nothing is held in memory but what is being handed out; nothing runs in the background.
"""

from collections.abc import AsyncGenerator
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from moonshot_async.errors import (
    APIError,
    BadRequestError,
    BatchFailedError,
    ConfigurationError,
)
from moonshot_async.middleware.log import logger
from moonshot_async.pipeline import Pipeline
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.batch_files import (
    Downloads,
    in_thread,
    new_spool,
    write_requests,
    write_skipped,
)
from moonshot_async.resources.batch_lines import LineMaker
from moonshot_async.resources.batch_plan import RunPlan
from moonshot_async.resources.batch_wait import Patience
from moonshot_async.resources.call import path_segment
from moonshot_async.types.batches import Batch, BatchCreateRequest, decode_batch
from moonshot_async.types.chat import Usage

if TYPE_CHECKING:
    from moonshot_async.resources.batch_results import BatchResult, ResultReader
    from moonshot_async.resources.batch_spool import Spool


class BatchRun:
    """A batch from its requests to its results: `async for result in client.batches.run(requests)`.

    Nothing happens before it is iterated, or `submit` or `wait` is called. The results come in the order of the
    requests, each exactly once. A loop that is left, and a task that is cancelled, leave no file and no connection
    behind; the batch goes on at the service, and `batches.run(requests, batch_id=…)` goes on with it.

    Attributes:
        batch: in the state that was seen last; None before it exists.
        duplicates: result lines beyond the first one for an id; they are passed over.
        unknown: results whose id no request has; they come last, without a request.
        unreadable: result lines that could not be read; their requests have an error.
    """

    def __init__(self, pipeline: Pipeline, plan: RunPlan) -> None:
        self._pipeline = pipeline.typed
        self._plan = plan
        self._spool: Spool | None = None
        self._reader: ResultReader | None = None
        self._patience = Patience(plan)
        self._begun = self._written = False
        self.batch: Batch | None = None
        self.duplicates = 0
        self.unknown = 0
        self.unreadable = 0

    @property
    def batch_id(self) -> str | None:
        """The id to go on with after a restart; None before the batch exists."""
        return self._plan.batch_id if self.batch is None else self.batch.id

    @property
    def usage(self) -> Usage:
        """The tokens of all results that were handed out so far."""
        return Usage() if self._reader is None else self._reader.usage

    def __repr__(self) -> str:
        return f"BatchRun({self.batch_id or 'no batch yet'}, {self.batch.status if self.batch else 'not begun'})"

    async def submit(self) -> Batch:
        """Create the batch, or look it up where `batch_id` was given, and do not wait for it. May be repeated.

        Raises:
            ConfigurationError: a request breaks a rule of the Batch API, names it; or all of them are in `skip`.
            APIError: in all its kinds.
        """
        try:
            batch = await self._submitted()
        except BaseException:
            await self.aclose()
            raise
        if batch is None:
            raise ConfigurationError("all requests are in skip: nothing is left to run")
        return batch

    async def wait(self) -> Batch:
        """Wait until the batch has ended: `completed`, `expired` or `cancelled`.

        Raises:
            BatchFailedError: the service refused its input file.
            APITimeoutError: it did not end within `max_wait`, or by the deadline around; it goes on, and the message
                names it.
            APIError: in all its kinds.
        """
        return await self._ended(await self.submit())

    async def cancel(self) -> Batch | None:
        """Cancel the batch; None where there is none. What was answered before can still be iterated.

        Raises:
            APIError: in all its kinds.
        """
        if self.batch_id is None or (self.batch is not None and self.batch.done):
            return self.batch
        try:
            self.batch = await self._call("POST", f"{self._path()}/cancel")
        except BadRequestError:
            # It may have ended in the meantime.
            self.batch = await self._call("GET", self._path())
            if not self.batch.done:
                raise
        return self.batch

    async def aclose(self) -> None:
        """Let go of the files. The batch itself goes on; see `cancel`. May be repeated."""
        spool, self._spool = self._spool, None
        self._begun = True
        if spool is not None:
            # anyio is imported late: a run that was not begun needs none.
            import anyio

            with anyio.CancelScope(shield=True):
                await in_thread(spool.close)

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncGenerator["BatchResult", None]:
        return self._results()

    async def _results(self) -> AsyncGenerator["BatchResult", None]:
        if self._begun:
            raise RuntimeError("this run was iterated or closed: call batches.run(…, batch_id=…) to go on")
        self._begun = True
        try:
            batch = await self._submitted()
            if batch is None:
                return
            batch = await self._ended(batch)
            spool, reader = await self._collected(batch)
            number = 0
            while rows := await in_thread(spool.joined, number):
                for row in rows:
                    yield reader.result(row)
                    if self._spool is None:
                        raise RuntimeError("this run was closed before its end: there are more results")
                number = rows[-1].number
            if self._plan.cleanup:
                await self._clean_up(batch)
        finally:
            await self.aclose()

    async def _submitted(self) -> Batch | None:
        """The batch; None where every request is to be skipped."""
        return await self._patience.step(self._made, lambda: self.batch_id)

    async def _made(self) -> Batch | None:
        """Write the requests and make a batch of them, as far as it was not done before."""
        if self.batch is None and self._plan.batch_id is not None:
            self.batch = await self._call("GET", self._path())
        if self._written:
            return self.batch
        spool = await self._write()
        self._written = True
        if self.batch is None and spool.requests:
            self.batch = await self._create(spool)
            await self._tell(self.batch)
        return self.batch

    async def _write(self) -> "Spool":
        """Write the requests to disk."""
        plan = self._plan
        spool = await self._open_spool()
        await write_skipped(spool, plan.skip)
        if plan.requests is not None:
            maker = LineMaker(model=plan.model, endpoint=plan.endpoint, check=plan.check)
            try:
                await write_requests(spool, plan.requests, maker, bounded=plan.check and plan.batch_id is None)
            except Exception as error:
                # Requests are prompts, and error trackers record the locals of frames.
                forget_locals(error)
                raise
        return spool

    async def _create(self, spool: "Spool") -> Batch:
        from moonshot_async.resources.batch_submit import DIGEST_NAME, Submission

        plan = self._plan
        submission = Submission(self._pipeline, plan.options, plan.sleep, check=plan.check)
        file, digest = await in_thread(spool.input)
        metadata = plan.metadata
        if plan.resume:
            if found := await submission.made_of(digest):
                return found
            metadata = {**(metadata or {}), DIGEST_NAME: digest}
        body = BatchCreateRequest(
            input_file_id=await submission.upload(file, digest),
            endpoint=plan.endpoint,
            completion_window=plan.completion_window,
            metadata=msgspec.UNSET if metadata is None else metadata,
        )
        return await submission.create(body)

    async def _tell(self, batch: Batch) -> None:
        if self._plan.on_batch is not None:
            try:
                told = self._plan.on_batch(batch)
                if isawaitable(told):
                    await told
            except BaseException as error:
                error.add_note(f"Batch {batch.id} was created before; cancel it, or go on with its batch_id.")
                raise

    async def _ended(self, batch: Batch) -> Batch:
        """Wait until the batch has ended."""
        batch = await self._patience.ended(batch, self._look)
        if batch.status == "failed":
            raise BatchFailedError(batch)
        return batch

    async def _look(self) -> Batch:
        self.batch = await self._call("GET", self._path())
        return self.batch

    async def _collected(self, batch: Batch) -> tuple["Spool", "ResultReader"]:
        """Bring all files of the batch to disk."""
        from moonshot_async.resources.batch_results import ResultReader

        plan = self._plan
        spool = await self._open_spool()
        downloads = Downloads(self._pipeline, plan.options, plan.sleep)
        if plan.requests is None and plan.join:
            await downloads.receive(spool, batch.input_file_id, "request")
        await downloads.receive_results(spool, batch)
        if plan.requests is not None or plan.join:
            self.unknown = await in_thread(spool.unknown)
        self.duplicates, self.unreadable = spool.duplicates, spool.unreadable
        if self.unknown or self.duplicates or self.unreadable:
            logger.warning(
                "batch %s: odd result lines: %d of unknown ids, %d duplicates, %d unreadable",
                batch.id,
                self.unknown,
                self.duplicates,
                self.unreadable,
            )
        request = self._pipeline.request("POST", "/chat/completions", **plan.options)
        self._reader = ResultReader(request, batch)
        return spool, self._reader

    async def _clean_up(self, batch: Batch) -> None:
        from moonshot_async.resources.files import Files

        try:
            await Files(self._pipeline).delete(batch.input_file_id, **self._plan.options)
        except APIError as error:
            logger.warning("batch %s: its input file was not deleted: %s", batch.id, type(error).__name__)

    async def _open_spool(self) -> "Spool":
        if self._spool is None:
            self._spool = await new_spool()
        return self._spool

    def _path(self) -> str:
        return f"/batches/{path_segment(self.batch_id or '', 'batch_id')}"

    async def _call(self, method: str, path: str) -> Batch:
        request = self._patience.bounded(self._pipeline.request(method, path, **self._plan.options))
        return await self._pipeline.fetch(request, decode_batch)
