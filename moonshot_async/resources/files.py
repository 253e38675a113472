"""Files: uploaded for extraction, vision or batches, and what became of them.

See: https://platform.kimi.ai/docs/api/files
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, Literal, Unpack

from moonshot_async.clocks import CONTEXT_DEADLINE, pause, timeout_error, until
from moonshot_async.errors import APITimeoutError, ConfigurationError, MoonshotError
from moonshot_async.middleware.log import logger
from moonshot_async.pipeline import Pipeline
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.call import CallOptions, Resource, check_options, path_segment
from moonshot_async.resources.file_content import ContentDecoder, FileContent
from moonshot_async.resources.listing import Listing
from moonshot_async.resources.uploads import FilePart, FileTypes, FileUpload, UploadProgress, form_fields, prepared
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven
from moonshot_async.types.files import (
    DeletedDecoder,
    FileDeleted,
    FileList,
    FileObject,
    FilePurpose,
    decode_file,
    decode_files,
)
from moonshot_async.wire import Request

_PATH: Final = "/files"
# Results of batches are larger than other answers.
_BOUND: Final = "max_file_bytes"
# How long `extract` may take to delete its file, and how long when it has no time left, in seconds.
_DELETE_SECONDS: Final = 10.0
_LAST_DELETE_SECONDS: Final = 0.15
# The upload sets them.
_FRAMING: Final = frozenset({"content-type", "content-length", "transfer-encoding"})


class Files(Resource):
    """`client.files`."""

    async def create(
        self,
        *,
        file: FileTypes,
        purpose: FilePurpose | str,
        progress: UploadProgress | None = None,
        check: bool = True,
        extra_body: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> FileObject:
        """Upload a file, up to 100 MB.

        It is read piece by piece while it is sent, and sent from its beginning when the request is repeated.

        Args:
            file: a `Path`, bytes, a binary file object, or a tuple of name, one of these, media type and headers. A
                file object is sent from where it stands; one that stands at its end, from its beginning. One that
                cannot be wound back is copied to a temporary file first.
            purpose: "file-extract" (documents, to be read), "image" or "video" (for `ms://<id>` in messages), "batch"
                (JSON lines). Others are sent as they are.
            progress: called with the bytes of the file that went out and the bytes it has, after each piece; may be
                async. Begins anew when the file is sent again.
            check: False to send what the documentation does not allow: an empty file, one that is too large, or one
                of another format than the purpose has.
            extra_body: more fields for the form.
            **options: `timeout`, `extra_headers`, `extra_query`.

        Raises:
            ConfigurationError: the file is missing, unreadable or not allowed; before anything is sent.
            TypeError: `file` is nothing that can be sent, such as a str, or a file that is open as text.
            UploadError: the file changed its size while it was sent, or could not be read any more.
            APIError: in all its kinds.

        See: https://platform.kimi.ai/docs/api/files-upload
        """
        check_options(options, call="create")
        if not isinstance(purpose, str):
            raise TypeError(f"purpose must be a str such as 'file-extract', not {type(purpose).__name__}")
        if progress is not None and not callable(progress):
            raise TypeError("progress must be a function of two numbers: the bytes that went out, and all of them")
        try:
            part = FilePart(file, purpose)
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            # A document is no local of a frame that waits: error trackers record those.
            del file
        if check:
            part.check_format(purpose)
        fields = form_fields(purpose, extra_body)
        extra_body = None
        request = self._pipeline.request("POST", _PATH, **_without_framing(options))
        upload = await _in_time(request, part, fields, progress, check)
        try:
            headers = request.headers.merged({"Content-Type": upload.content_type})
            return await self._pipeline.fetch(request.replace(headers=headers, body=upload), decode_file)
        finally:
            upload.close()

    def list(
        self,
        *,
        after: str | NotGiven = NOT_GIVEN,
        limit: int | NotGiven = NOT_GIVEN,
        order: Literal["asc", "desc"] | NotGiven = NOT_GIVEN,
        purpose: FilePurpose | str | NotGiven = NOT_GIVEN,
        **options: Unpack[CallOptions],
    ) -> Listing[FileList, FileObject]:
        """List the files: `await client.files.list()` for a page with `.data`, `async for` for all, one by one.

        The service documents none of the arguments and gives all files at once; other hosts know them.

        See: https://platform.kimi.ai/docs/api/files-list
        """
        query = {"after": after, "limit": limit, "order": order, "purpose": purpose}
        return Listing(self._pipeline, _PATH, decode_files, query=query, options=options)

    async def retrieve(self, file_id: str, **options: Unpack[CallOptions]) -> FileObject:
        """Look one file up.

        Raises:
            NotFoundError: there is no such file, or it is another account's.

        See: https://platform.kimi.ai/docs/api/files-info
        """
        check_options(options, call="retrieve")
        return await self._pipeline.fetch(self._request("GET", file_id, **options), decode_file)

    async def delete(self, file_id: str, **options: Unpack[CallOptions]) -> FileDeleted:
        """Delete a file; an account may have 1,000, 10 GB in all.

        Raises:
            NotFoundError: there is no such file, or it is another account's.

        See: https://platform.kimi.ai/docs/api/files-delete
        """
        check_options(options, call="delete")
        return await self._pipeline.fetch(self._request("DELETE", file_id, **options), DeletedDecoder(file_id))

    async def content(self, file_id: str, **options: Unpack[CallOptions]) -> FileContent:
        """Get what is in a file: for the purpose "file-extract" what was read in it, for batches their lines.

        Not for images and videos. All in memory, up to `Bounds.max_file_bytes` (256 MiB);
        `with_streaming_response.content` has no such bound.

        Raises:
            ResponseTooLargeError: the content is larger.
            NotFoundError: there is no such file, or it is another account's.

        See: https://platform.kimi.ai/docs/api/files-content
        """
        check_options(options, call="content")
        pipeline = self._pipeline
        request = self._request("GET", file_id, "/content", **options)
        if pipeline is not pipeline.typed:
            # A raw view, which has the head of the answer itself.
            return await pipeline.fetch(request, ContentDecoder(), bound=_BOUND)
        return await _content(pipeline, request)

    async def retrieve_content(self, file_id: str, **options: Unpack[CallOptions]) -> str:
        """The text of `content`; openai's older name for it."""
        check_options(options, call="retrieve_content")
        return (await _content(self._pipeline.typed, self._request("GET", file_id, "/content", **options))).text

    async def wait_for_processing(
        self,
        file_id: str,
        *,
        poll_interval: float = 5.0,
        max_wait_seconds: float = 30 * 60,
        **options: Unpack[CallOptions],
    ) -> FileObject:
        """Wait until the service is done with a file, well (`status` "ready" or "ok") or not ("error").

        Args:
            file_id: of the file.
            poll_interval: seconds between two looks.
            max_wait_seconds: how long to wait in all.
            **options: for each look.

        Raises:
            APITimeoutError: the wait is over, or the deadline around it, and the service still at work.
        """
        check_options(options, call="wait_for_processing")
        if not (poll_interval > 0 and max_wait_seconds > 0):
            raise ConfigurationError("poll_interval and max_wait_seconds must be more than 0 seconds")
        from anyio import sleep

        started = time.monotonic()
        due = started + max_wait_seconds
        while True:
            file = await self._pipeline.typed.fetch(self._request("GET", file_id, **options), decode_file)
            if not file.pending:
                return file
            still = f"File {file.id} is still {file.status!r}"
            if (left := due - time.monotonic()) <= 0:
                raise APITimeoutError(
                    message=f"{still} after {max_wait_seconds:g} s of waiting.", elapsed=time.monotonic() - started
                )
            if await pause(min(poll_interval, left), sleep):
                raise APITimeoutError(
                    message=f"{still} at the deadline.", clock="deadline", elapsed=time.monotonic() - started
                )

    async def extract(self, file: FileTypes, **options: Unpack[CallOptions]) -> str:
        """Read a document: upload it, get what the service reads in it, delete it.

        The text goes into a system message, one for each file, before the question. The file is deleted even if it
        cannot be read, time is up, or the call is cancelled; what keeps it from being deleted is logged.

        Args:
            file: as for `create`.
            **options: `timeout` is for all of it.

        Raises:
            whatever `create` and `content` raise.

        See: https://platform.kimi.ai/docs/guide/use-kimi-api-for-file-based-qa
        """
        check_options(options, call="extract")
        files = Files(self._pipeline.typed)
        whole = files._pipeline.request("POST", _PATH, **options)
        with files._pipeline.whole(whole):
            uploading = files.create(file=file, purpose="file-extract", **options)
            del file
            uploaded = await uploading
            try:
                request = files._request("GET", uploaded.id, "/content", **options)
                request = request.replace(deadline=whole.deadline, started=whole.started)
                return (await _content(files._pipeline, request)).text
            finally:
                await files._discard(uploaded.id, options, whole.deadline)

    def as_one_call(self) -> AbstractContextManager[None]:
        """Have calls belong together: `with client.files.as_one_call():`; never around a `yield`.

        What was begun is brought to its end while the client is drained: a file that was uploaded is deleted again.

        Raises:
            ClientClosedError: no new calls are taken.
        """
        pipeline = self._pipeline.typed
        return pipeline.whole(pipeline.request("POST", _PATH))

    def _request(self, method: str, file_id: str, tail: str = "", **options: Unpack[CallOptions]) -> Request:
        return self._pipeline.request(method, f"{_PATH}/{path_segment(file_id, 'file_id')}{tail}", **options)

    async def _discard(self, file_id: str, options: CallOptions, due: float | None) -> None:
        """Delete a file that nobody else knows, whatever happens around; hardly longer than until `due`."""
        from anyio import CancelScope

        left = _DELETE_SECONDS if due is None else max(_LAST_DELETE_SECONDS, due - time.monotonic())
        in_time: CallOptions = {**options, "timeout": min(_DELETE_SECONDS, left)}
        # The deadline around it has its part in `due`.
        token = CONTEXT_DEADLINE.set(None)
        try:
            with CancelScope(shield=True):
                await self._pipeline.fetch(self._request("DELETE", file_id, **in_time), DeletedDecoder(file_id))
        except MoonshotError as error:
            logger.warning("file %s was not deleted: %s", file_id, type(error).__name__)
        finally:
            CONTEXT_DEADLINE.reset(token)


async def _content(pipeline: Pipeline, request: Request) -> FileContent:
    response = await pipeline.open(request)
    content = await pipeline.read(response.request or request, response, bound=_BOUND)
    return pipeline.answer(request, response, content, ContentDecoder(response))


async def _in_time(
    request: Request, part: FilePart, fields: Mapping[str, str], progress: UploadProgress | None, check: bool
) -> FileUpload:
    """Look at the file; the deadline of the call runs already."""
    looking = prepared(part, fields, progress=progress, check=check)
    return await until(request.deadline, looking, partial(timeout_error, request, "total", " while the file was read"))


def _without_framing(options: CallOptions) -> CallOptions:
    """The options without the headers that say how the body is read: a user's would part it at the wrong places."""
    headers: Mapping[str, Any] | None = options.get("extra_headers")
    if headers:
        kept = {name: value for name, value in headers.items() if str(name).lower() not in _FRAMING}
        return {**options, "extra_headers": kept}
    return options
