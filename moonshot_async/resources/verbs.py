"""Calls to endpoints that the SDK has no method for, with everything that it does for those it knows."""

from collections.abc import Awaitable
from typing import Any, Final, Literal, TypeAlias, TypeVar, Unpack, get_args, overload

from moonshot_async.accumulate import ChatAccumulator
from moonshot_async.pipeline import Pipeline
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.call import CallOptions, check_options, checked_method, checked_path
from moonshot_async.resources.verb_params import BodyParams, Files, Form, body_of, call_options, content_of, mapping_of
from moonshot_async.resources.verb_params import RequestOptions as RequestOptions
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types.casting import decoder_of, is_response_type
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk

T = TypeVar("T")
StreamT = TypeVar("StreamT", bound=Stream[Any])


_NO_OPTIONS: Final = RequestOptions()
# What is to be sent, in its three forms: body, content, files.
_Given: TypeAlias = tuple[object, bytes | None, Files | None]
_NOTHING: Final[_Given] = None, None, None


class Verbs:
    """`client.request` and a method for each verb of HTTP."""

    _pipeline: Pipeline

    @overload
    async def request(
        self, method: str, path: str, *, response_type: type[T], body: object = ..., **options: Unpack[CallOptions]
    ) -> T: ...

    @overload
    async def request(
        self, method: str, path: str, *, response_type: Any = ..., body: object = ..., **options: Unpack[CallOptions]
    ) -> Any: ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        response_type: Any = Any,
        body: object = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Call an endpoint that the SDK does not know, with everything that it does for those it knows.

        Args:
            method: the HTTP method.
            path: below the base URL, for example "/files".
            response_type: what the JSON answer is decoded to: a msgspec struct or any type msgspec knows, or a
                pydantic model; `Any` for plain dicts and lists, `str` or `bytes` for the body as it came, `type(None)`
                for nothing, `Response` for status, headers and body.
            body: bytes, or anything that has a JSON form.

        Raises:
            ConfigurationError: the path is a URL or leads out of the base URL, or the method is none.
            APIError: in all its kinds.
        """
        check_options(options, call="request")
        pipeline = self._pipeline
        try:
            request = pipeline.request(checked_method(method), checked_path(path), content_of(body), **options)
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            # What is sent is no local of a frame that waits: error trackers record those.
            del body
        if not is_response_type(response_type):
            return await pipeline.fetch(request, decoder_of(response_type))
        response = await pipeline.open(request)
        await pipeline.read(response.request or request, response)
        return response

    @overload
    async def get(
        self, path: str, *, cast_to: type[T], stream: Literal[False] = ..., options: RequestOptions = ...
    ) -> T: ...

    @overload
    async def get(
        self,
        path: str,
        *,
        cast_to: Any,
        stream: Literal[True],
        stream_cls: type[StreamT],
        options: RequestOptions = ...,
    ) -> StreamT: ...

    @overload
    async def get(
        self, path: str, *, cast_to: Any, stream: bool = ..., stream_cls: Any = ..., options: RequestOptions = ...
    ) -> Any: ...

    async def get(
        self,
        path: str,
        *,
        cast_to: Any,
        options: RequestOptions = _NO_OPTIONS,
        stream: bool = False,
        stream_cls: Any = None,
    ) -> Any:
        """`request` with GET; the words are those of the openai package.

        Args:
            path: below the base URL.
            cast_to: as `response_type` of `request`; of a stream, what each event holds.
            options: see `RequestOptions`.
            stream: return a `Stream` of the events.
            stream_cls: may name what they hold instead of `cast_to`: `Stream[Thing]`.

        Raises:
            TypeError: an option does not exist.
            ConfigurationError: the path leads elsewhere.
            APIError: in all its kinds.
        """
        sending = self._send("GET", path, _NOTHING, cast_to, options, stream, stream_cls)
        del options
        return await sending

    @overload
    async def post(
        self, path: str, *, cast_to: type[T], stream: Literal[False] = ..., **params: Unpack[BodyParams]
    ) -> T: ...

    @overload
    async def post(
        self, path: str, *, cast_to: Any, stream: Literal[True], stream_cls: type[StreamT], **params: Unpack[BodyParams]
    ) -> StreamT: ...

    @overload
    async def post(
        self, path: str, *, cast_to: Any, stream: bool = ..., stream_cls: Any = ..., **params: Unpack[BodyParams]
    ) -> Any: ...

    async def post(
        self,
        path: str,
        *,
        cast_to: Any,
        body: object = None,
        content: bytes | None = None,
        files: Files | None = None,
        options: RequestOptions = _NO_OPTIONS,
        stream: bool = False,
        stream_cls: Any = None,
    ) -> Any:
        """`request` with POST; see `get`.

        Args:
            path, cast_to, options, stream, stream_cls: as for `get`.
            body: anything that has a JSON form; beside `files` a mapping, the other fields of the form.
            content: bytes, sent as they are.
            files: one file, in the field "file", in any form that `client.files.create` takes: streamed as there.
        """
        sending = self._send("POST", path, (body, content, files), cast_to, options, stream, stream_cls)
        # What is sent is no local of a frame that waits: error trackers record those.
        del body, content, files, options
        return await sending

    async def put(
        self,
        path: str,
        *,
        cast_to: type[T],
        body: object = None,
        content: bytes | None = None,
        files: Files | None = None,
        options: RequestOptions = _NO_OPTIONS,
    ) -> T:
        """`request` with PUT; see `post`."""
        sending = self._send("PUT", path, (body, content, files), cast_to, options)
        del body, content, files, options
        answer: T = await sending
        return answer

    async def patch(
        self,
        path: str,
        *,
        cast_to: type[T],
        body: object = None,
        content: bytes | None = None,
        files: Files | None = None,
        options: RequestOptions = _NO_OPTIONS,
    ) -> T:
        """`request` with PATCH; see `post`."""
        sending = self._send("PATCH", path, (body, content, files), cast_to, options)
        del body, content, files, options
        answer: T = await sending
        return answer

    async def delete(
        self,
        path: str,
        *,
        cast_to: type[T],
        body: object = None,
        content: bytes | None = None,
        options: RequestOptions = _NO_OPTIONS,
    ) -> T:
        """`request` with DELETE; see `post`."""
        sending = self._send("DELETE", path, (body, content, None), cast_to, options)
        del body, content, options
        answer: T = await sending
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        given: _Given,
        cast_to: Any,
        options: RequestOptions,
        stream: bool = False,
        stream_cls: Any = None,
    ) -> Any:
        try:
            sending = self._sending(method, path, body_of(*given), cast_to, options, stream, stream_cls)
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            del given, options
        return await sending

    def _sending(
        self,
        method: str,
        path: str,
        body: object,
        cast_to: Any,
        options: RequestOptions,
        stream: bool,
        stream_cls: Any,
    ) -> Awaitable[Any]:
        call, extra_json = call_options(options)
        if isinstance(body, Form):
            return self._send_form(method, path, body.with_fields(extra_json), cast_to, call)
        if extra_json:
            body = {**mapping_of(body), **extra_json}
        if not stream:
            return self.request(method, path, response_type=cast_to, body=body, **call)
        request = self._pipeline.request(
            checked_method(method), checked_path(path), content_of(body), stream=True, **call
        )
        items = get_args(stream_cls)[0] if get_args(stream_cls) else cast_to
        return self._pipeline.stream(request, decoder_of(items), _progress(items))

    async def _send_form(self, method: str, path: str, form: "Form", cast_to: Any, call: CallOptions) -> Any:
        # Files are uploaded by few programs, and mostly by `client.files`.
        from moonshot_async.resources.uploads import FilePart, prepared

        request = self._pipeline.request(checked_method(method), checked_path(path), **call)
        del call
        upload = await prepared(FilePart(form.file, ""), form.fields, progress=None, check=False)
        try:
            headers = request.headers.merged({"Content-Type": upload.content_type})
            return await self._pipeline.fetch(request.replace(headers=headers, body=upload), decoder_of(cast_to))
        finally:
            upload.close()


class _Untold:
    """The progress of a stream of which only its end says that it is whole."""

    finished = True

    def add(self, item: object) -> None: ...

    def partial(self) -> ChatCompletion | None:
        return None


def _progress(items: object) -> Progress[Any]:
    return ChatAccumulator() if items is ChatCompletionChunk else _Untold()
