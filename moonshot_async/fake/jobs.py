"""One batch: what state it is in at a given time, and the answers to its lines.

A job does nothing by itself. Whoever looks at it first lets it do, in steps, what was due by then; the states and the
times in it hang on the clock alone, however late somebody looks.
"""

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any, Final

import msgspec

from moonshot_async.fake import shapes
from moonshot_async.fake.batch_input import BatchInput
from moonshot_async.fake.blobs import LARGE, Spool
from moonshot_async.fake.chat import Writer
from moonshot_async.fake.files import StoredFile
from moonshot_async.fake.rules import RefusedError

# The most lines of a step, so that whoever waits for it can be cancelled between two.
_STEP: Final = 250

_Object = dict[str, Any]


class BatchTimes(msgspec.Struct, frozen=True):
    """How long a batch stays in each state, in seconds of the fake's clock."""

    validating: float = 0.2
    in_progress: float = 1.4
    finalizing: float = 0.4
    cancelling: float = 0.2


class Job:
    """A batch from its creation on.

    Args:
        id: of the batch.
        file: the input.
        window: seconds until the batch expires.
        created_at: Unix seconds.
        times: how long each state lasts.
        writer: answers the lines.
        given: the fields of the request, as they were given.

    Attributes:
        used: tokens (and `$web_search` calls) that are not paid for yet.
        output, failures: the lines of the two result files.
        output_file_id, error_file_id: once the batch has ended.
        seen_at: until when everything that was due is done.
    """

    def __init__(
        self,
        id: str,
        file: StoredFile,
        window: float,
        created_at: float,
        times: BatchTimes,
        writer: Writer,
        given: Mapping[str, Any],
    ) -> None:
        self.id = id
        self.created_at = created_at
        self.in_progress_at = created_at + times.validating
        self.finalizing_at = self.in_progress_at + times.in_progress
        self.completed_at = self.finalizing_at + times.finalizing
        self.expires_at = created_at + window
        self.cancelling_at = inf
        self.cancelled_at = inf
        self.used: Counter[str] = Counter()
        self.output = Spool()
        self.failures = Spool()
        self.output_file_id: str | None = None
        self.error_file_id: str | None = None
        self.seen_at = created_at
        self._times = times
        self._content = file.content
        self._writer = writer
        self._given = given
        self._input: BatchInput | None = None
        self._completed = 0
        self._failed = 0

    @property
    def status(self) -> str:
        """The state at the time until which the job was worked on."""
        now = self.seen_at
        if self.cancelling_at <= now:
            return "cancelled" if self.cancelled_at <= now else "cancelling"
        if self.expires_at <= now and self.expires_at < self.completed_at and not self.errors:
            return "expired"
        if now < self.in_progress_at:
            return "validating"
        if self.errors:
            return "failed"
        if now < self.finalizing_at:
            return "in_progress"
        return "finalizing" if now < self.completed_at else "completed"

    def cancel(self) -> None:
        """Stop: what is answered stays."""
        self.cancelling_at = self.seen_at
        self.cancelled_at = self.seen_at + self._times.cancelling

    @property
    def model(self) -> str:
        """The model of all lines, once they were read."""
        return "" if self._input is None else self._input.model

    @property
    def errors(self) -> list[_Object]:
        """What is wrong with the input; a batch with errors has failed."""
        return [] if self._input is None else self._input.errors

    @property
    def has_ended(self) -> bool:
        """Whether the state is one that no batch leaves."""
        return self.status in ("failed", "completed", "expired", "cancelled")

    def is_slow(self, now: float) -> bool:
        """Whether the next step takes so long that it belongs into a worker thread."""
        if self._input is None:
            return self._worked_until(now) >= self.in_progress_at and self._content.size > LARGE // 16
        return self._due(now) - self._done > _STEP // 5

    def step(self, now: float) -> bool:
        """Do some of what is due by `now`; False, and the time is seen, once nothing is left to do."""
        if self._input is None and self._worked_until(now) >= self.in_progress_at:
            self._input = BatchInput(self._content, self._writer.catalog, legacy_models=self._writer.legacy_models)
            return True
        due = 0 if self._input is None else min(self._due(now), self._done + _STEP)
        if self._done >= due:
            self.seen_at = max(self.seen_at, now)
            return False
        for place in range(self._done, due):
            self._answer(self._line(place))
        return True

    def described(self) -> _Object:
        """The batch as the API tells it."""
        status = self.status
        described: _Object = {
            "id": self.id,
            "object": "batch",
            **self._given,
            "status": status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": int(self.created_at),
            "expires_at": int(self.expires_at),
            **{name: int(when) if when <= self.seen_at else None for name, when in self._moments().items()},
            # Before the file was read, nobody has counted its lines.
            "request_counts": {
                "total": 0 if status == "validating" else self._total,
                "completed": self._completed,
                "failed": self._failed,
            },
        }
        if status == "failed":
            described["errors"] = {"object": "list", "data": self.errors}
        return described

    def _moments(self) -> dict[str, float]:
        """When the batch came, or would come, into its states; infinite for those that it never enters."""
        stopped = min(self.cancelling_at, self.expires_at)
        ways = {
            "in_progress_at": self.in_progress_at,
            "finalizing_at": self.finalizing_at,
            "completed_at": self.completed_at,
        }
        ways = {name: inf if self.errors or when > stopped else when for name, when in ways.items()}
        failed_at = self.in_progress_at if self.errors else inf
        return ways | {
            "failed_at": failed_at,
            "cancelling_at": self.cancelling_at,
            "cancelled_at": self.cancelled_at,
        }

    @property
    def _total(self) -> int:
        return 0 if self._input is None else len(self._input)

    @property
    def _done(self) -> int:
        return self._completed + self._failed

    def _worked_until(self, now: float) -> float:
        return min(now, self.cancelling_at, self.expires_at)

    def _due(self, now: float) -> int:
        until = self._worked_until(now)
        if until >= self.finalizing_at:
            return self._total
        return int(self._total * (until - self.in_progress_at) / self._times.in_progress)

    def _line(self, place: int) -> int:
        """Which line comes at this place: no program may rely on the order of the input."""
        half = self._total // 2
        return 2 * place + 1 if place < half else 2 * (place - half)

    def _answer(self, number: int) -> None:
        assert self._input is not None, "lines are answered once they are validated"
        item = self._input.line(number)
        name = f"{self.id}-{number + 1:06d}"
        try:
            completion = self._writer.answer(item["body"], self._writer.check(item["body"]), f"chatcmpl-{name}")
        except RefusedError as refusal:
            error = {"type": refusal.type, "message": refusal.message}
            _write(self.failures, _result(item["custom_id"], name, refusal.status, {"error": error}, error))
            self._failed += 1
            return
        body = shapes.completion(completion.head, completion.choices, completion.usage)
        _write(self.output, _result(item["custom_id"], name, 200, body, None))
        self._completed += 1
        self.used["prompt_tokens"] += completion.usage["prompt_tokens"]
        self.used["completion_tokens"] += completion.usage["completion_tokens"]
        self.used["cached_tokens"] += completion.usage["cached_tokens"]
        self.used["web_searches"] += completion.web_searches()


def _write(spool: Spool, line: bytes) -> None:
    if spool.write(line):
        spool.flush()


def _result(custom_id: str, name: str, status: int, body: _Object, error: _Object | None) -> bytes:
    response = {"status_code": status, "request_id": f"request-{name}", "body": body}
    line = {"id": f"batch_req_{name}", "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(line) + b"\n"
