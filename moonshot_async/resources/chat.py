"""Chat completions.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Awaitable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Unpack, overload

from moonshot_async.accumulate import ChatAccumulator
from moonshot_async.redaction import Unseen, forget_locals
from moonshot_async.resources.call import BodyOptions, CallOptions, Resource, take_options
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk, decode_chunk, decode_completion
from moonshot_async.types.chat_params import CompletionParams, CompletionRequest, UnformattedParams
from moonshot_async.types.encoding import (
    NOT_GIVEN,
    NotGiven,
    build,
    encode,
    is_type,
    message_list,
    only_texts,
    sendable,
)
from moonshot_async.wire import Request

# What parses answers, and tells streams as events, is imported by those who ask for it.
if TYPE_CHECKING:
    from moonshot_async.chat_stream import ChatStreamManager
    from moonshot_async.structured import Parsing
    from moonshot_async.types.parsed import ParsedChatCompletion

T = TypeVar("T")

_PATH: Final = "/chat/completions"


class CreateParams(CompletionParams, BodyOptions, total=False):
    """The keywords of `create` and `stream`, but for `stream` itself."""


class ParseParams(UnformattedParams, BodyOptions, total=False):
    """The keywords of `parse` and `stream` beside a `response_format` that is a type."""


class Chat(Resource):
    """`client.chat`."""

    @cached_property
    def completions(self) -> "Completions":
        """Ask a model."""
        return Completions(self._pipeline)


class Completions(Resource):
    """`client.chat.completions`."""

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
            **params: see `CompletionParams` for the API's fields, `BodyOptions` for what concerns the call itself.

        Raises:
            TypeError: a keyword does not exist or `model` or `messages` is missing; before any I/O. So is a
                `response_format` that is a type: `parse` takes it.
            ConfigurationError: something in the request cannot be sent; a `SchemaError` for a tool or `response_format`
                that says `strict: True` and whose schema is not in Moonshot's dialect.
            APIStatusError: the service refused; see `moonshot_async.errors`.
            APIConnectionError: no answer came, or it broke off.

        See: https://platform.kimi.ai/docs/api/chat
        """
        # What `Unseen` does, without its cost.
        try:
            n = _choices(params) if stream else 1
            request = self._request(_prepare(params, stream, call="create"), stream=bool(stream))
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            params.clear()
        if stream:
            return await self._open(request, ChatAccumulator(n))
        return await self._pipeline.fetch(request, decode_completion)

    @overload
    async def parse(self, *, response_format: type[T], **params: Unpack[ParseParams]) -> "ParsedChatCompletion[T]": ...

    @overload
    async def parse(self, **params: Unpack[CreateParams]) -> "ParsedChatCompletion[None]": ...

    async def parse(self, **params: Any) -> "ParsedChatCompletion[Any]":
        """Ask a model for an answer of a type: `completion.choices[0].message.parsed`.

        Takes the keywords of `create`, but for `stream`.

        Args:
            response_format: a `msgspec.Struct`, dataclass, `TypedDict`, or model or dataclass of pydantic. The schema
                that is sent is made of it, in Moonshot's dialect, and it validates the answer. A `response_format` of
                the API's own is sent as it is; then nothing is parsed.
            tools: those made by `function_tool` have their arguments parsed to their type, other functions, which must
                have `strict: True`, to plain data, in `tool_calls[i].function.parsed_arguments`.
            **params: as for `create`.

        Raises:
            LengthFinishReasonError: the answer was cut by `max_completion_tokens`; it is in `.completion`.
            ContentFilterFinishReasonError: it was cut by moderation.
            StructuredOutputError: it is empty, no JSON, or not of the type; it is in `.completion`, `.text`, `.path`.
            ValueError: a function is not strict; before any I/O.
            TypeError: the type has no schema or its values are no JSON objects, or as for `create`; before any I/O.
            ConfigurationError, APIStatusError, APIConnectionError: as for `create`.

        See: https://platform.kimi.ai/docs/api/chat
        """
        from moonshot_async.structured import check_strict

        with Unseen(params):
            parsing = _take_parsing(params)
            check_strict(params.get("tools"))
            request = self._request(_prepare(params, NOT_GIVEN, call="parse"))
        return await self._pipeline.fetch(request, decode_completion.then(parsing.completion))

    @overload
    def stream(
        self,
        *,
        response_format: type[T],
        resume: int = ...,
        continue_on_length: int = ...,
        **params: Unpack[ParseParams],
    ) -> "ChatStreamManager[T]": ...

    @overload
    def stream(
        self, *, resume: int = ..., continue_on_length: int = ..., **params: Unpack[CreateParams]
    ) -> "ChatStreamManager[None]": ...

    def stream(self, *, resume: int = 0, continue_on_length: int = 0, **params: Any) -> "ChatStreamManager[Any]":
        """Stream an answer as events, with the answer so far at hand: `async with … as stream`.

        Takes the keywords of `create`, but for `stream`. `response_format` may be a type, and `tools` may remember
        theirs, as for `parse`: events tell what is parsed, partial values as they arrive and whole ones in the end.

        An answer can be gone on with in Partial Mode: the request is sent again, with what arrived as the beginning of
        the answer, and what follows is appended to it. A `stream.resumed` event tells of it. Each such request is paid
        for, and `max_completion_tokens` counts anew in it; clocks go on, so that `timeout` bounds all of them together.

        Args:
            resume: how often an answer may be gone on with whose stream breaks off, falls silent (`read`, `idle`,
                `first_token`), or brings an error of the service. Before any text has come it begins anew instead. Not
                where tool calls have begun, nor with a `response_format` or `n` above 1: then the error that is raised
                says so and has what came in `.partial`, as it has when no further request helps.
            continue_on_length: how often an answer of text that ends with `length` may be gone on with. Other answers,
                and those with a `response_format` or `n` above 1, end with it as ever.
            **params: as for `create`.

        Raises:
            TypeError: a keyword does not exist or is missing, or a type has no schema; before any I/O. So are numbers
                that are none.
            ConfigurationError: `resume` or `continue_on_length` is negative, or as for `create`; before any I/O.

        See: https://platform.kimi.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api
        """
        from moonshot_async.chat_stream import ChatCompletionStreamState, ChatStreamManager, Plan

        with Unseen(params):
            plan = Plan(resume, continue_on_length, _obstacle(params) if resume or continue_on_length else None)
            n, response_format = _choices(params), params.get("response_format", NOT_GIVEN)
            _take_parsing(params)
            tools = params.get("tools", NOT_GIVEN)
            prepared = _prepare(params, True, call="stream")
        return ChatStreamManager(
            lambda: self._request(prepared, stream=True),
            lambda request, progress: self._pipeline.stream(request, decode_chunk, progress),
            lambda: ChatCompletionStreamState(n, input_tools=tools, response_format=response_format),
            plan,
            whole=self._pipeline.whole if resume or continue_on_length else None,
        )

    def _request(self, prepared: "_Prepared", *, stream: bool = False) -> Request:
        pipeline = self._pipeline
        try:
            request = pipeline.request("POST", _PATH, prepared.body, stream=stream, **prepared.options)
            if prepared.with_parts:
                # Imported late, as the check of schemas is: a question in plain text needs neither.
                from moonshot_async.resources.media_urls import check_media_urls

                check_media_urls(prepared.with_parts, request.url)
            return request
        except Exception as error:
            forget_locals(error)
            raise

    def _open(
        self, request: Request, progress: Progress[ChatCompletionChunk]
    ) -> Awaitable[Stream[ChatCompletionChunk]]:
        return self._pipeline.stream(request, decode_chunk, progress)


class _Prepared:
    """A call that was checked and encoded: its options and its body; its repr shows none.

    Attributes:
        with_parts: the messages, if there is one among them whose content is not a text.
    """

    __slots__ = ("body", "options", "with_parts")

    def __init__(self, options: CallOptions, body: bytes, with_parts: list[Any]) -> None:
        self.options = options
        self.body = body
        self.with_parts = with_parts


def _choices(params: Mapping[str, Any]) -> int:
    """How many choices are asked for: a stream is not whole before each has ended."""
    n = {**params, **(params.get("extra_body") or {})}.get("n")
    return int(n) if isinstance(n, (int, str)) and str(n).isdecimal() and int(n) > 1 else 1


def _obstacle(params: Mapping[str, Any]) -> str | None:
    """What of a request keeps Partial Mode from going on with its answer, if anything does."""
    extra_body = params.get("extra_body") or {}
    response_format = {**params, **extra_body}.get("response_format", NOT_GIVEN)
    if _choices(params) > 1:
        return "n is above 1"
    if response_format not in (NOT_GIVEN, None, {"type": "text"}):
        return "response_format is set"
    if not isinstance(extra_body.get("messages", []), (list, tuple)):
        return "the messages in extra_body are no list"
    return None


def _take_parsing(params: dict[str, Any]) -> "Parsing[Any]":
    """What of the answer is to be parsed; the keywords are left as they are to be sent."""
    from moonshot_async.structured import Parsing

    tools = params.get("tools")
    if isinstance(tools, Iterable) and not isinstance(tools, Mapping):
        # They are looked at more than once.
        tools = params["tools"] = list(tools)
    parsing: Parsing[Any] = Parsing(params.get("response_format", NOT_GIVEN), tools)
    if "response_format" in params:
        params["response_format"] = parsing.response_format
    return parsing


def _prepare(params: dict[str, Any], stream: object, *, call: str) -> _Prepared:
    """Part the keywords into those of the call and the encoded body."""
    options = take_options(params)
    extra_body: Mapping[str, Any] | None = params.pop("extra_body", None) or None
    if "stream" in params:
        always = "always" if call == "stream" else "never"
        raise TypeError(f"{call}() got an unexpected keyword argument 'stream': it {always} streams")
    request = build(CompletionRequest, params, call=call)
    if request.thinking and request.reasoning_effort:
        raise TypeError("thinking and reasoning_effort exclude each other: K2.x takes thinking, K3 reasoning_effort")
    if request.response_format is not NOT_GIVEN and is_type(request.response_format):
        raise TypeError("create() takes no type as response_format: parse() does, and stream()")
    if request.tools is not NOT_GIVEN or request.response_format is not NOT_GIVEN:
        from moonshot_async.resources.schema_check import check_schemas

        check_schemas(request)
    messages = message_list(request.messages)
    texts = only_texts(messages)
    request.messages = messages if texts else sendable(messages)
    request.stream = stream
    return _Prepared(options, encode(request, extra_body), [] if texts else request.messages)
