"""Chat completions.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Unpack, overload

from moonshot_async.accumulate import ChatAccumulator
from moonshot_async.chat_stream import ChatStreamManager
from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.call import BodyOptions, CallOptions, take_options
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk, decode_chunk, decode_completion
from moonshot_async.types.chat_params import CompletionParams, CompletionRequest
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven, build, encode, message_params

_PATH = "/chat/completions"


class CreateParams(CompletionParams, BodyOptions, total=False):
    """The keywords of `create` and `stream`, but for `stream` itself."""


class Chat:
    """`client.chat`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @cached_property
    def completions(self) -> "Completions":
        """Ask a model."""
        return Completions(self._pipeline)


class Completions:
    """`client.chat.completions`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @overload
    async def create(
        self, *, stream: Literal[False] | NotGiven | None = ..., **params: Unpack[CreateParams]
    ) -> ChatCompletion: ...

    @overload
    async def create(self, *, stream: Literal[True], **params: Unpack[CreateParams]) -> Stream[ChatCompletionChunk]: ...

    @overload
    async def create(
        self, *, stream: bool, **params: Unpack[CreateParams]
    ) -> ChatCompletion | Stream[ChatCompletionChunk]: ...

    async def create(
        self, *, stream: bool | NotGiven | None = NOT_GIVEN, **params: Any
    ) -> ChatCompletion | Stream[ChatCompletionChunk]:
        """Ask a model for an answer, whole or streamed.

        Args:
            stream: True for a `Stream` of chunks; awaiting it has seen the head, so that errors of status come here.
            **params: see `CompletionParams` for the API's fields, `BodyOptions` for `timeout`, `extra_headers`,
                `extra_query` and `extra_body`.

        Raises:
            TypeError: a keyword does not exist or `model` or `messages` is missing; before any I/O.
            APIStatusError: the service refused; see `moonshot_async.errors`.
            APIConnectionError: no answer came, or it broke off.

        See: https://platform.kimi.ai/docs/api/chat
        """
        n = _choices(params)
        options, body = _split(params, stream, call="create")
        if stream:
            return await self._open(body, options, ChatAccumulator(n))
        return await self._pipeline.fetch(self._pipeline.request("POST", _PATH, body, **options), decode_completion)

    def stream(self, **params: Unpack[CreateParams]) -> ChatStreamManager:
        """Stream an answer as events, with the answer so far at hand: `async with … as stream`.

        Takes the keywords of `create`, but for `stream`.

        Raises:
            TypeError: a keyword does not exist or is missing; before any I/O.

        See: https://platform.kimi.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api
        """
        given: dict[str, Any] = dict(params)
        n = _choices(given)
        options, body = _split(given, True, call="stream")
        return ChatStreamManager(lambda progress: self._open(body, options, progress), n)

    async def _open(
        self, body: bytes, options: CallOptions, progress: Progress[ChatCompletionChunk]
    ) -> Stream[ChatCompletionChunk]:
        request = self._pipeline.request("POST", _PATH, body, stream=True, **options)
        return await self._pipeline.stream(request, decode_chunk, progress)


def _choices(params: Mapping[str, Any]) -> int:
    """How many choices are asked for: a stream is not whole before each has ended."""
    n = {**params, **(params.get("extra_body") or {})}.get("n")
    return int(n) if isinstance(n, (int, str)) and str(n).isdecimal() and int(n) > 1 else 1


def _split(params: dict[str, Any], stream: object, *, call: str) -> tuple[CallOptions, bytes]:
    """Part the keywords into those of the call and the encoded body."""
    options = take_options(params)
    extra_body: Mapping[str, Any] | None = params.pop("extra_body", None) or None
    if call == "stream" and "stream" in params:
        raise TypeError("stream() got an unexpected keyword argument 'stream': it always streams")
    request = build(CompletionRequest, params, call=call)
    if request.thinking and request.reasoning_effort:
        raise TypeError("thinking and reasoning_effort exclude each other: K2.x takes thinking, K3 reasoning_effort")
    request.messages = message_params(request.messages)
    request.stream = stream
    return options, encode(request, extra_body)
