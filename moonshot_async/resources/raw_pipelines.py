"""Pipelines whose calls return answers as they came.

They stand in for the pipeline of a client and share all that it has; what differs is what a call returns. So every
method of a resource has its raw forms without a line of its own, and the ordinary way of a call has none of this.
"""

import time
from typing import Any, TypeVar

from moonshot_async.pipeline import Pipeline
from moonshot_async.raw_responses import APIResponse, RawResponse
from moonshot_async.streaming import Progress
from moonshot_async.types.model import Decode
from moonshot_async.wire import Request, Response

T = TypeVar("T")


class _StandIn(Pipeline):
    """All that another pipeline has, read from there; only what calls return is its own."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    @property
    def typed(self) -> Pipeline:
        return self._pipeline


class RawPipeline(_StandIn):
    """Calls return a `RawResponse`."""

    def answer(self, request: Request, response: Response, content: bytes, decode: Decode[T]) -> Any:
        return RawResponse(self._pipeline, request, response, _since(request), decode=decode)

    async def stream(self, request: Request, decode: Decode[T], progress: Progress[T]) -> Any:
        stream = await self._pipeline.stream(request, decode, progress)
        response = stream.response
        return RawResponse(self._pipeline, response.request or request, response, _since(request), stream=stream)


class StreamedPipeline(_StandIn):
    """Calls return an `APIResponse`, of which nothing but the head was read."""

    async def fetch(self, request: Request, decode: Decode[T], *, bound: str = "max_body_bytes") -> Any:
        return await self._head(request, decode, bound, None)

    def answer(self, request: Request, response: Response, content: bytes, decode: Decode[T]) -> Any:
        return APIResponse(self._pipeline, request, response, _since(request), decode=decode)

    async def stream(self, request: Request, decode: Decode[T], progress: Progress[T]) -> Any:
        return await self._head(request, decode, "max_body_bytes", progress)

    async def _head(
        self, request: Request, decode: Decode[T], bound: str, progress: Progress[T] | None
    ) -> APIResponse[T]:
        response = await self.open(request)
        request, elapsed = response.request or request, _since(request)
        return APIResponse(self._pipeline, request, response, elapsed, decode=decode, bound=bound, progress=progress)


def _since(request: Request) -> float:
    """Seconds since the call began."""
    return 0.0 if request.started is None else time.monotonic() - request.started
