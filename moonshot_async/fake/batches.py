"""Batches: many chat requests in one file, answered by and by.

See: https://platform.kimi.ai/docs/api/batch-create
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.fake.account import Account
from moonshot_async.fake.answers import WEB_SEARCH
from moonshot_async.fake.chat import Writer
from moonshot_async.fake.faults import CHAT_PATH
from moonshot_async.fake.files import Files
from moonshot_async.fake.jobs import BatchTimes, Job
from moonshot_async.fake.routes import Call, Handler, Route, json_response
from moonshot_async.fake.rules import RefusedError, not_found
from moonshot_async.wire import Response

if TYPE_CHECKING:
    from anyio import Lock

BATCHES_PATH: Final = "/v1/batches"

_WINDOW: Final = re.compile(r"(\d{1,4})([hd])", re.ASCII)
_SECONDS: Final = {"h": 3600, "d": 86_400}
_SHORTEST, _LONGEST = 12 * 3600, 7 * 86_400
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512
_REPEATED: Final = ("endpoint", "input_file_id", "completion_window", "metadata")
_PAGE: Final = 20
_MAX_PAGE: Final = 100


class Batches:
    """The batches of the account.

    Args:
        clock: the time, in Unix seconds.
        writer: answers the lines.
        files: where input and results lie.
        account: pays.
        times: how long a batch stays in each state.
    """

    def __init__(
        self, clock: Callable[[], float], writer: Writer, files: Files, account: Account, times: BatchTimes
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._files = files
        self._account = account
        self._times = times
        self._count = 0
        self.clear()

    def clear(self) -> None:
        """Forget all batches."""
        self._jobs: dict[str, Job] = {}
        # Those that have not ended yet: nobody need look at the others again.
        self._open: dict[str, Job] = {}
        self._locks: dict[str, Lock] = {}

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", BATCHES_PATH, self._create),
            Route("GET", BATCHES_PATH, self.settled(self._list)),
            Route("GET", BATCHES_PATH + "/{id}", self.settled(self._retrieve)),
            Route("POST", BATCHES_PATH + "/{id}/cancel", self.settled(self._cancel)),
        )

    def settled(self, handler: Handler) -> Handler:
        """Let a handler see what batches have done by now: their states, their files and what they cost."""

        def settled(call: Call) -> Response | Awaitable[Response]:
            return self._settle_first(handler, call) if self._open else handler(call)

        return settled

    async def _settle_first(self, handler: Handler, call: Call) -> Response:
        now = self._clock()
        for job in list(self._open.values()):
            await self._work(job, now)
        response = handler(call)
        return response if isinstance(response, Response) else await response

    async def _work(self, job: Job, now: float) -> None:
        """Do what is due, in a worker thread if it is much; whoever comes meanwhile waits for it."""
        if job.id not in self._locks and not job.is_slow(now):
            self._finish(job, now)
            return
        from anyio import Lock, to_thread

        async with self._locks.setdefault(job.id, Lock()):
            while job.is_slow(now):
                await to_thread.run_sync(job.step, now)
            self._finish(job, now)

    def _finish(self, job: Job, now: float) -> None:
        """Do the little that is left to do, and what comes of it."""
        while job.step(now):
            pass
        self._pay(job)
        if job.has_ended and self._open.pop(job.id, None) is not None:
            self._locks.pop(job.id, None)
            self._publish(job)

    def _pay(self, job: Job) -> None:
        used, job.used = job.used, type(job.used)()
        self._account.charge_tokens(job.model, used, batch=True)
        self._account.charge_call(WEB_SEARCH, used["web_searches"])

    def _publish(self, job: Job) -> None:
        for name, spool in (("output", job.output), ("error", job.failures)):
            if spool.size:
                file = self._files.add("batch", f"{job.id}_{name}.jsonl", "application/jsonl", spool.blob())
                setattr(job, f"{name}_file_id", file.id)

    def _create(self, call: Call) -> Response:
        payload = call.json_object()
        window, given = _checked(payload)
        file = self._files.get(given["input_file_id"])
        if file is None:
            raise RefusedError(f"Invalid request: the input file {given['input_file_id']} is not found")
        if file.purpose != "batch":
            raise RefusedError(
                f"Invalid request: the purpose of the input file {file.id} must be batch, not {file.purpose}"
            )
        self._account.check()
        self._count += 1
        id = f"batch-{self._count:012d}"
        job = Job(id, file, window, self._clock(), self._times, self._writer, given)
        self._jobs[id] = self._open[id] = job
        return json_response(job.described())

    def _list(self, call: Call) -> Response:
        query = call.query
        limit = query.get("limit", str(_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= _MAX_PAGE:
            raise RefusedError(f"Invalid request: limit must be between 1 and {_MAX_PAGE}")
        jobs = list(reversed(self._jobs.values()))
        if after := query.get("after"):
            if after not in self._jobs:
                raise RefusedError(f"Invalid request: after names no batch: {after}")
            jobs = jobs[jobs.index(self._jobs[after]) + 1 :]
        page = [job.described() for job in jobs[: int(limit)]]
        return json_response({"object": "list", "data": page, "has_more": len(jobs) > len(page)})

    def _retrieve(self, call: Call) -> Response:
        return json_response(self._found(call).described())

    def _cancel(self, call: Call) -> Response:
        job = self._found(call)
        if job.status not in ("validating", "in_progress", "finalizing"):
            raise RefusedError(f"Invalid request: a batch that is {job.status} cannot be cancelled")
        job.cancel()
        return json_response(job.described())

    def _found(self, call: Call) -> Job:
        job = self._jobs.get(call.value)
        if job is None:
            raise not_found("batch", call.value)
        return job


def _checked(payload: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The window in seconds, and the fields of a batch that repeat the request."""
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(payload.get(name), str) or not payload[name]:
            raise RefusedError(f"Invalid request: {name} is required and must be a string")
    if payload["endpoint"] != CHAT_PATH:
        raise RefusedError(f"Invalid request: endpoint must be {CHAT_PATH}")
    match = _WINDOW.fullmatch(payload["completion_window"])
    window = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not _SHORTEST <= window <= _LONGEST:
        raise RefusedError("Invalid request: completion_window must be between 12h and 7d, such as 24h or 3d")
    _check_metadata(payload.get("metadata"))
    return window, {name: payload.get(name) for name in _REPEATED}


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise RefusedError("Invalid request: metadata must be an object of strings")
    if len(metadata) > _MAX_PAIRS:
        raise RefusedError(f"Invalid request: metadata must have at most {_MAX_PAIRS} pairs")
    if any(len(key) > _MAX_KEY or len(value) > _MAX_VALUE for key, value in metadata.items()):
        raise RefusedError(
            f"Invalid request: keys of metadata must have at most {_MAX_KEY} characters, values {_MAX_VALUE}"
        )
