"""Uploaded files: kept, listed, read and deleted.

With the header `kimi-api-version` the same paths answer in another shape.

See: https://platform.kimi.ai/docs/api/files
"""

from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from moonshot_async.fake.blobs import Blob, PiecesBody
from moonshot_async.fake.extraction import FORMATS, extension, extracted
from moonshot_async.fake.multipart import FormError, Part, parse_form
from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError, not_found
from moonshot_async.wire import Response

FILES_PATH: Final = "/v1/files"
# What a form may hold beside its file.
ENVELOPE_BYTES: Final = 64 * 1024

_VERSION_HEADER: Final = "kimi-api-version"
_MAX_PAGE: Final = 1000
_PAGE: Final = 50
_MAX_PURPOSE_BYTES: Final = 1024


class StoredFile(msgspec.Struct, frozen=True, eq=False):
    """A file; times are in Unix seconds."""

    id: str
    purpose: str
    filename: str
    content_type: str
    content: Blob
    created_at: float
    ready_at: float


class Files:
    """The files of the account.

    Args:
        clock: the time, in Unix seconds.
        max_body_bytes: of a request, without what a form holds beside its file.
        max_file_bytes, max_files, max_total_bytes: what may be uploaded.
        processing_seconds: how long a new file is `created` before it is `ok`.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_body_bytes: int,
        max_file_bytes: int,
        max_files: int,
        max_total_bytes: int,
        processing_seconds: float,
    ) -> None:
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._max_file_bytes = max_file_bytes
        self._max_files = max_files
        self._max_total_bytes = max_total_bytes
        self._processing_seconds = processing_seconds
        self._files: dict[str, StoredFile] = {}
        self._count = 0

    def clear(self) -> None:
        """Delete everything; the files that lie on disk go with it."""
        self._files.clear()

    def get(self, id: str) -> StoredFile | None:
        """A file by its id."""
        return self._files.get(id)

    def purpose_of(self, id: str) -> str | None:
        """What a file was uploaded for; None where there is no such file."""
        file = self._files.get(id)
        return None if file is None else file.purpose

    def add(
        self, purpose: str, filename: str, content_type: str, content: Blob, *, processing: float = 0.0
    ) -> StoredFile:
        """Keep a file, and give it an id."""
        self._count += 1
        now = self._clock()
        file = StoredFile(f"file-{self._count:012d}", purpose, filename, content_type, content, now, now + processing)
        self._files[file.id] = file
        return file

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", FILES_PATH, self._create),
            Route("GET", FILES_PATH, self._list),
            Route("GET", FILES_PATH + "/{id}", self._retrieve),
            Route("DELETE", FILES_PATH + "/{id}", self._delete),
            Route("GET", FILES_PATH + "/{id}/content", self._content),
        )

    def _create(self, call: Call) -> Response | Awaitable[Response]:
        # No more than that was read of it, so it cannot be taken apart.
        if call.body.size > self._max_body_bytes + ENVELOPE_BYTES:
            if _is_versioned(call):
                raise self._too_large()
            raise RefusedError("Request exceeds the maximum size", status=413)
        content_type = call.headers.get("Content-Type", "")
        if call.body.is_large:
            return self._create_large(call, content_type)
        return self._stored(call, _form(content_type, call.body))

    async def _create_large(self, call: Call, content_type: str) -> Response:
        from anyio import to_thread

        return self._stored(call, await to_thread.run_sync(_form, content_type, call.body))

    def _stored(self, call: Call, parts: list[Part]) -> Response:
        versioned = _is_versioned(call)
        fields = {part.name: part for part in reversed(parts)}
        purpose = "file-extract" if versioned and "purpose" not in fields else _purpose(fields)
        upload = fields.get("file")
        if upload is None or not upload.filename:
            raise RefusedError("Invalid request: file is required, with a file name")
        self._check(purpose, upload.filename, upload.content.size)
        file = self.add(
            purpose,
            upload.filename,
            _content_type(upload),
            upload.content,
            processing=self._processing_seconds,
        )
        return json_response(self._described(call, file), 201 if versioned else 200)

    def _check(self, purpose: str, filename: str, size: int) -> None:
        if size == 0:
            raise RefusedError("File size is zero, please confirm and re-upload the file")
        if size > self._max_file_bytes:
            raise self._too_large()
        if extension(filename) not in FORMATS[purpose]:
            raise RefusedError(
                f"Invalid request: the format of {filename} is not supported for purpose {purpose}, only "
                f"{', '.join(sorted(FORMATS[purpose]))}"
            )
        uploads = [file for file in self._files.values() if file.purpose in FORMATS]
        if len(uploads) >= self._max_files:
            raise RefusedError(
                f"The number of files you have uploaded exceeded the max file count {self._max_files}, please delete "
                "previous uploaded files"
            )
        if sum(file.content.size for file in uploads) + size > self._max_total_bytes:
            raise RefusedError(
                f"The total size of the files you have uploaded exceeded the max total size "
                f"{_amount(self._max_total_bytes)}, please delete previous uploaded files"
            )

    def _too_large(self) -> RefusedError:
        size = _amount(self._max_file_bytes)
        return RefusedError(f"File size is too large, max file size is {size}, please confirm and re-upload the file")

    def _list(self, call: Call) -> Response:
        query = call.query
        chosen = [file for file in self._files.values() if query.get("purpose") in (None, file.purpose)]
        chosen.reverse()
        if not _is_versioned(call):
            # There are no pages; `has_more` keeps clients that page from asking for another one.
            listed = [self._described(call, file) for file in chosen]
            return json_response({"object": "list", "data": listed, "has_more": False})
        size = _page_size(query.get("page_size"))
        rest = _after(chosen, query.get("page_token"))
        page: dict[str, Any] = {"items": [self._described(call, file) for file in rest[:size]]}
        if len(rest) > size:
            page["next_page_token"] = urlsafe_b64encode(rest[size - 1].id.encode()).decode()
        return json_response(page)

    def _retrieve(self, call: Call) -> Response:
        return json_response(self._described(call, self._found(call)))

    def _delete(self, call: Call) -> Response:
        file = self._found(call)
        del self._files[file.id]
        if _is_versioned(call):
            return Response(204)
        return json_response({"id": file.id, "object": "file", "deleted": True})

    def _content(self, call: Call) -> Response:
        file = self._found(call)
        if file.purpose in ("image", "video"):
            raise RefusedError(f"Invalid request: the content of a file with purpose {file.purpose} is not available")
        if file.ready_at > self._clock():
            raise RefusedError("Invalid request: the file is still being processed, please try again later")
        pieces, kind = file.content.pieces(), "text/plain; charset=utf-8"
        if file.purpose == "file-extract":
            pieces = extracted(file.filename, file.content_type, file.content)
            kind = "application/json" if _is_versioned(call) else kind
        return Response(200, [("Content-Type", kind)], PiecesBody(pieces, in_thread=file.content.is_large))

    def _found(self, call: Call) -> StoredFile:
        file = self._files.get(call.value)
        if file is None:
            raise not_found("file", call.value)
        return file

    def _described(self, call: Call, file: StoredFile) -> dict[str, Any]:
        ready = file.ready_at <= self._clock()
        if _is_versioned(call):
            when = datetime.fromtimestamp(file.created_at, UTC).isoformat(timespec="milliseconds")
            return {
                "id": file.id,
                "filename": file.filename,
                "mime_type": file.content_type,
                "size_bytes": file.content.size,
                "created_at": when.replace("+00:00", "Z"),
                "purpose": file.purpose,
                "extract_status": "ready" if ready else "created",
            }
        return {
            "id": file.id,
            "object": "file",
            "bytes": file.content.size,
            "created_at": int(file.created_at),
            "filename": file.filename,
            "purpose": file.purpose,
            "status": "ok" if ready else "created",
            "status_details": "",
        }


def _is_versioned(call: Call) -> bool:
    return _VERSION_HEADER in call.headers


def _form(content_type: str, body: Blob) -> list[Part]:
    try:
        return parse_form(content_type, body)
    except FormError as error:
        raise RefusedError(f"Invalid request: {error}") from None


def _purpose(fields: dict[str, Part]) -> str:
    part = fields.get("purpose")
    purpose = "" if part is None else part.content.read(0, _MAX_PURPOSE_BYTES).decode("utf-8", "replace")
    if purpose not in FORMATS:
        raise RefusedError(
            f"Invalid purpose: {purpose}, only file-extract, batch, batch_output, lambda, image and video accepted"
        )
    return purpose


def _content_type(upload: Part) -> str:
    """What the client says, or what the name tells."""
    if upload.content_type and upload.content_type != "application/octet-stream":
        return upload.content_type
    # The table alone: asking the module reads files of the system first, which differ.
    from mimetypes import types_map

    kind = extension(upload.filename or "")
    return "application/jsonl" if kind == "jsonl" else types_map.get("." + kind, "application/octet-stream")


def _amount(size: int) -> str:
    for unit, name in ((1024**3, "GB"), (1024**2, "MB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size} bytes"


def _page_size(given: str | None) -> int:
    if given is None:
        return _PAGE
    if not given.isdecimal() or not 1 <= int(given) <= _MAX_PAGE:
        raise RefusedError(f"page_size must be between 1 and {_MAX_PAGE}", type="invalid_parameter_error")
    return int(given)


def _after(files: list[StoredFile], token: str | None) -> list[StoredFile]:
    """What follows the file that a page ended with."""
    if token is None:
        return files
    for place, file in enumerate(files):
        if urlsafe_b64encode(file.id.encode()).decode() == token:
            return files[place + 1 :]
    raise RefusedError("page_token is invalid", type="invalid_parameter_error")
