"""A small service for files and batches, whose every answer a test may replace."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from moonshot_async import Request, Response
from moonshot_async.clocks import Timeout
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware.retry import Retry
from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.batches import Batches
from moonshot_async.transports import MemoryTransport
from moonshot_async.wire import Headers

KEY = "sk-canary-key-that-nobody-may-see"
Fault = Callable[[Request], Awaitable[Response] | Response]


def ask(text: str, **more: Any) -> dict[str, Any]:
    """The keywords of a chat completion."""
    return {"model": "kimi-k2.6", "messages": [{"role": "user", "content": text}], **more}


def answer(text: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{text}",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5, "cached_tokens": 1},
    }


def output_line(custom_id: str, body: Any, status: int = 200, **more: Any) -> bytes:
    """A line of an output file."""
    response = {"status_code": status, "request_id": f"r-{custom_id}", "body": body}
    return json.dumps(
        {"id": f"br-{custom_id}", "custom_id": custom_id, "response": response, "error": None} | more
    ).encode()


class BatchService:
    """An app for `MemoryTransport`.

    Attributes:
        seen: method and path of every request, in order.
        files: contents by id.
        batches: by id, in the order in which they were created.
        states: what each batch becomes, one state for each time it is looked up; it stays in the last one.
        faults: answers to play before the real ones, by method and the end of the path.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.states = ["in_progress", "finalizing", "completed"]
        self._looks: dict[str, int] = {}
        self.faults: list[tuple[str, str, Fault]] = []

    @property
    def seen(self) -> list[str]:
        return [f"{request.method} {request.path.removeprefix('/v1')}" for request in self.requests]

    def fault(self, method: str, path: str, *plays: Fault) -> None:
        """Answer the next requests for `path` (a pattern for its end) so."""
        self.faults += [(method, path, play) for play in plays]

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        for number, (method, path, play) in enumerate(self.faults):
            if method == request.method and re.search(path + "$", request.path):
                del self.faults[number]
                played = play(request)
                return played if isinstance(played, Response) else await played
        return await self.answer(request)

    async def answer(self, request: Request) -> Response:
        """What the service says when nothing goes wrong."""
        what, *rest = request.path.removeprefix("/v1/").split("/")
        if what == "files":
            return await self._file(request, rest)
        if request.method == "POST" and not rest:
            return reply(self.create(json.loads(await request.read())))
        if not rest:
            return reply(self._page(request))
        if rest[0] not in self.batches:
            return reply({"error": {"type": "resource_not_found_error", "message": "no such batch"}}, 404)
        return self._cancel(rest[0]) if rest[1:] else reply(self._look(rest[0]))

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.batches) + 1
        batch = {"object": "batch", "status": "validating", "created_at": 1000 + number, **body}
        self.batches[f"batch-{number}"] = {"id": f"batch-{number}", **batch}
        return self.batches[f"batch-{number}"]

    def finish(self, batch: dict[str, Any]) -> None:
        """Answer all requests, in reversed order: those that say "bad" with an error."""
        good, bad = [], []
        for line in reversed(self.files[batch["input_file_id"]].splitlines()):
            request = json.loads(line)
            text = request["body"]["messages"][-1]["content"]
            if text.startswith("bad"):
                refusal = {"error": {"type": "invalid_request_error", "message": f"{text} {KEY}"}}
                bad.append(output_line(request["custom_id"], refusal, 400))
            elif not text.startswith("lost"):
                good.append(output_line(request["custom_id"], answer(text.upper())))
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[name] = f"{name}-{batch['id']}"
                self.files[batch[name]] = b"\n".join(lines) + b"\n"
        batch["request_counts"] = {"completed": len(good), "failed": len(bad), "total": len(good) + len(bad)}

    async def _file(self, request: Request, rest: list[str]) -> Response:
        if not rest:
            file_id = f"file-{len(self.files) + 1}"
            self.names[file_id], self.files[file_id] = uploaded(request, await request.read())
            return reply({"id": file_id, "object": "file", "filename": self.names[file_id], "purpose": "batch"})
        if rest[0] not in self.files:
            return reply({"error": {"type": "resource_not_found_error", "message": "no such file"}}, 404)
        if request.method == "DELETE":
            del self.files[rest[0]]
            return reply({"id": rest[0], "object": "file", "deleted": True})
        return Response(200, body=self.files[rest[0]])

    def _page(self, request: Request) -> dict[str, Any]:
        every = list(reversed(self.batches.values()))
        after = re.search(r"after=([^&]+)", request.url)
        start = 1 + [batch["id"] for batch in every].index(after[1]) if after else 0
        return {"object": "list", "data": every[start : start + 2], "has_more": len(every) > start + 2}

    def _look(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        if batch["status"] == "cancelling":
            batch["status"] = "cancelled"
            self.finish(batch)
        elif batch["status"] not in ("completed", "failed", "expired", "cancelled"):
            looks = self._looks[batch_id] = self._looks.get(batch_id, 0) + 1
            batch["status"] = self.states[min(looks, len(self.states)) - 1]
            if batch["status"] in ("completed", "expired", "cancelled"):
                self.finish(batch)
        return batch

    def _cancel(self, batch_id: str) -> Response:
        batch = self.batches[batch_id]
        if batch["status"] == "completed":
            return reply({"error": {"type": "invalid_request_error", "message": "too late"}}, 400)
        batch["status"] = "cancelling"
        return reply(batch)


def uploaded(request: Request, body: bytes) -> tuple[str, bytes]:
    """Name and content of the file in a form."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    part = next(part for part in body.split(b"--" + boundary) if b'name="file"' in part)
    head, _, content = part.partition(b"\r\n\r\n")
    name = re.search(rb'filename="([^"]*)"', head)
    assert name is not None
    return name[1].decode(), content.removesuffix(b"\r\n")


def reply(body: Any, status: int = 200) -> Response:
    return Response(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


class Waits:
    """A `sleep` that does not: it writes down for how long it was asked to."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        assert len(self.seconds) < 1000, "this never ends"


def batches_of(service: Any, waits: Waits | None, *, max_retries: int = 2) -> Batches:
    """`client.batches` with a service in memory, and without waiting unless `waits` is None."""
    pipeline = Pipeline(
        handler=compose([Retry(max_retries, sleep=Waits())], exchange(MemoryTransport(service))),
        base_url="https://api.moonshot.cn/v1",
        headers=Headers({"Authorization": f"Bearer {KEY}"}),
        query={},
        timeout=Timeout(),
    )
    return Batches(pipeline) if waits is None else Batches(pipeline, sleep=waits)
