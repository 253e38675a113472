"""Batches: many requests at a lower price, answered within hours.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Unpack

from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.batch_files import Requests
from moonshot_async.resources.batch_plan import RunPlan
from moonshot_async.resources.batch_run import BatchRun
from moonshot_async.resources.call import (
    BodyOptions,
    CallOptions,
    Resource,
    check_options,
    path_segment,
    post,
    take_options,
)
from moonshot_async.resources.listing import Listing
from moonshot_async.types.batches import (
    CHAT_ENDPOINT,
    DEFAULT_WINDOW,
    Batch,
    BatchCreateParams,
    BatchCreateRequest,
    BatchList,
    decode_batch,
    decode_batches,
)
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven, build
from moonshot_async.wire import Request


class CreateBatchParams(BatchCreateParams, BodyOptions, total=False):
    """The keywords of `batches.create`."""


class Batches(Resource):
    """`client.batches`.

    Args:
        pipeline: sends the requests.
        sleep: how runs wait.
    """

    def __init__(self, pipeline: Pipeline, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        super().__init__(pipeline)
        self._sleep = sleep

    async def create(self, **params: Unpack[CreateBatchParams]) -> Batch:
        """Create a batch from an uploaded file. `run` does this and everything around it.

        The service validates the file later: a bad one lets the batch become `failed`.

        Args:
            **params: see `BatchCreateParams` for the API's fields, `BodyOptions` for the call.

        Raises:
            TypeError: a keyword does not exist, or `input_file_id` is missing; before any I/O.
            APIError: in all its kinds.

        See: https://platform.kimi.ai/docs/api/batch-create
        """
        given: dict[str, Any] = dict(params)
        options: BodyOptions = {**take_options(given), "extra_body": given.pop("extra_body", None)}
        body = build(BatchCreateRequest, given, call="create")
        request = post(self._pipeline, "/batches", body, options, call="create", once=True)
        return await self._pipeline.fetch(request, decode_batch)

    async def retrieve(self, batch_id: str, **options: Unpack[CallOptions]) -> Batch:
        """The batch in its present state.

        Raises:
            NotFoundError: there is none with this id.
            APIError: in all its kinds.

        See: https://platform.kimi.ai/docs/api/batch-retrieve
        """
        return await self._pipeline.fetch(self._request("GET", batch_id, "", options, "retrieve"), decode_batch)

    def list(
        self,
        *,
        after: str | NotGiven | None = NOT_GIVEN,
        limit: int | NotGiven | None = NOT_GIVEN,
        **options: Unpack[CallOptions],
    ) -> Listing[BatchList, Batch]:
        """The batches of the organization: `await` for a page, `async for` for all of them.

        Args:
            after: the id of a batch; those behind it are listed.
            limit: how many a page has; the service takes 20 by itself.
            **options: see `CallOptions`.

        See: https://platform.kimi.ai/docs/api/batch-list
        """
        query = {"after": after, "limit": limit}
        return Listing(self._pipeline, "/batches", decode_batches, query=query, options=options)

    async def cancel(self, batch_id: str, **options: Unpack[CallOptions]) -> Batch:
        """Cancel a batch that is `validating`, `in_progress` or `finalizing`; it is `cancelling`, then `cancelled`.

        Raises:
            BadRequestError: it is in another state.
            NotFoundError: there is none with this id.
            APIError: in all its kinds.

        See: https://platform.kimi.ai/docs/api/batch-cancel
        """
        return await self._pipeline.fetch(self._request("POST", batch_id, "/cancel", options, "cancel"), decode_batch)

    def run(
        self,
        requests: Requests | None,
        *,
        model: str | None = None,
        completion_window: str = DEFAULT_WINDOW,
        metadata: Mapping[str, str] | None = None,
        batch_id: str | None = None,
        resume: bool = False,
        skip: Iterable[str] = (),
        on_batch: Callable[[Batch], object] | None = None,
        poll_interval: float = 2.0,
        max_wait: float | None = None,
        cleanup: bool = False,
        check: bool = True,
        endpoint: str = CHAT_ENDPOINT,
        **options: Unpack[CallOptions],
    ) -> BatchRun:
        """Have many requests answered by a batch: `async for result in client.batches.run(requests, model=…)`.

        Requests are read one by one, checked, and written to disk; memory does not grow with their number. Each gets
        one `BatchResult`, in the order of the requests. What a batch answered is kept by the service, so a program
        that was killed goes on with `batch_id=` and `skip=`, or finds its batch by itself with `resume=True`.

        Args:
            requests: an iterable, or an async iterable, of `BatchRequest`; of pairs of a custom_id and the keywords of
                a chat completion; of such keywords alone (the custom_id is "request-1" and so on, by position); or of
                lines of the Batch API, as text or objects. None to read them from the file of the batch `batch_id`.
            model: for requests that name none. All of a batch have the same.
            completion_window: how long the batch may take, from "12h" to "7d".
            metadata: kept with the batch.
            batch_id: of a batch that was made of these requests: nothing is uploaded and created.
            resume: take up the newest batch that was made of these very requests by a run with `resume`, unless it
                failed or was cancelled. An expired one is taken up, too: run what it left open as a run of its own.
            skip: ids whose results you have: neither asked again nor handed out again.
            on_batch: called (or awaited) with the batch as soon as it exists; the place to store its id.
            poll_interval: seconds between the first looks at the batch; grows to 60.
            max_wait: seconds within which the batch must have ended, from the first step of the run.
            cleanup: delete the uploaded file once all results were handed out; else it stays and counts as one of the
                1000 that an organization may have.
            check: whether rules are checked that the service may change: no sampling parameters, no `stream`, one
                model, a model that takes batches, 100 MB.
            endpoint: what answers the requests.
            **options: see `CallOptions`; for each call of the run.

        Raises:
            TypeError: a keyword does not exist, or `requests` is none; before any I/O.
            ConfigurationError: from the loop, before anything is sent: a request breaks a rule; names it.
            BatchFailedError: from the loop: the service refused the file.
            APITimeoutError: from the loop: `max_wait` is over; names the batch, which goes on.
            APIError: from the loop, in all its kinds.

        See: https://platform.kimi.ai/docs/guide/use-batch-api
        """
        check_options(options, call="run")
        plan = RunPlan(
            requests=requests,
            model=model,
            endpoint=endpoint,
            completion_window=completion_window,
            metadata=metadata,
            batch_id=batch_id,
            resume=resume,
            skip=skip,
            on_batch=on_batch,
            poll_interval=poll_interval,
            max_wait=max_wait,
            cleanup=cleanup,
            check=check,
            options=options,
            sleep=self._sleep,
        )
        return BatchRun(self._pipeline, plan)

    def results(
        self,
        batch_id: str,
        *,
        join: bool = True,
        skip: Iterable[str] = (),
        poll_interval: float = 2.0,
        max_wait: float | None = None,
        cleanup: bool = False,
        **options: Unpack[CallOptions],
    ) -> BatchRun:
        """The results of a batch, waiting for its end: `async for result in client.batches.results(batch_id)`.

        Args:
            batch_id: of any batch, however it was made.
            join: download the input file, too: results have their request, come in the order of the requests, and
                those without an answer are told. Without it, results come as they stand in the files.
            skip, poll_interval, max_wait, cleanup: as in `run`.
            **options: see `CallOptions`; for each call.

        Raises:
            NotFoundError: from the loop: there is no such batch, or its input file is gone; see `join`.
            APIError: from the loop, in all its kinds.

        See: https://platform.kimi.ai/docs/guide/use-batch-api
        """
        check_options(options, call="results")
        plan = RunPlan(
            requests=None,
            batch_id=batch_id,
            join=join,
            skip=skip,
            poll_interval=poll_interval,
            max_wait=max_wait,
            cleanup=cleanup,
            options=options,
            sleep=self._sleep,
        )
        return BatchRun(self._pipeline, plan)

    def _request(self, method: str, batch_id: str, tail: str, options: CallOptions, call: str) -> Request:
        check_options(options, call=call)
        return self._pipeline.request(method, f"/batches/{path_segment(batch_id, 'batch_id')}{tail}", **options)
