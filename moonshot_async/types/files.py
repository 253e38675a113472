"""What the files endpoints answer.

See: https://platform.kimi.ai/docs/api/files
"""

from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from moonshot_async.errors import APIResponseValidationError
from moonshot_async.types.model import Answer, Model, ModelDecoder, parse
from moonshot_async.types.pages import CursorPage

FilePurpose: TypeAlias = Literal["file-extract", "image", "video", "batch"]

_PENDING: Final = frozenset(
    {"created", "in_progress", "parsing", "pending", "processing", "queued", "uploaded", "uploading", "validating"}
)


class FileObject(Answer, kw_only=True):
    """A file as the service knows it.

    Attributes:
        id: for the other calls, and for `ms://<id>` in messages.
        bytes: its size.
        created_at: Unix seconds.
        filename: as it was uploaded.
        purpose: "file-extract", "image", "video" or "batch"; "batch_output" and others come from the service.
        status: "ready" or "ok" when it can be used, "error" when it cannot; an open set.
        expires_at: Unix seconds, on hosts that delete files by themselves.
        status_details: what went wrong, or a warning.

    See: https://platform.kimi.ai/docs/api/files
    """

    id: str
    bytes: int = 0
    created_at: int = 0
    filename: str = ""
    object: str = "file"
    purpose: str = ""
    status: str = ""
    expires_at: int | None = None
    status_details: str | None = None

    @property
    def pending(self) -> bool:
        """Whether the service is still at work on it."""
        return self.status in _PENDING


class FileList(CursorPage[FileObject], kw_only=True):
    """Files of the account; the service gives all at once, other hosts page by page."""


class FileDeleted(Answer, kw_only=True):
    """What is left of a file."""

    id: str
    deleted: bool = True
    object: str = "file"


class ExtractedFile(Model, kw_only=True):
    """What the service read in a file that was uploaded with the purpose "file-extract".

    Attributes:
        content: the text.
        file_type: its media type, such as "application/pdf".
        filename: as it was uploaded.
        title: where the document has one.
        type: "file".
    """

    content: str
    file_type: str = ""
    filename: str = ""
    title: str = ""
    type: str = ""


class DeletedDecoder:
    """Make a `FileDeleted` of an answer; one without a body (204) says by its status that the file is gone."""

    cls: Any = FileDeleted

    def __init__(self, file_id: str) -> None:
        self._file_id = file_id

    def __call__(self, data: bytes, /) -> FileDeleted:
        return _decode_deleted(data) if data else FileDeleted(id=self._file_id)


class _FileDecoder(ModelDecoder[FileObject]):
    """Knows the other shape too, the one that the header `kimi-api-version` asks for."""

    def __call__(self, data: bytes) -> FileObject:
        try:
            return super().__call__(data)
        except APIResponseValidationError:
            pass
        # Out here, so that an error which holds what came is not the context of the one that is raised.
        tree = _classic(data)
        return super().__call__(data if tree is None else msgspec.json.encode(tree))


def _classic(data: bytes) -> dict[str, Any] | None:
    """A file in the newer shape as it would be in the classic one, its own fields included."""
    tree = parse(data)
    if not isinstance(tree, dict) or "size_bytes" not in tree:
        return None
    try:
        created_at = datetime.fromisoformat(tree["created_at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
    classic = {"bytes": tree["size_bytes"], "status": tree.get("extract_status")}
    return {**classic, **tree, "created_at": int(created_at)}


decode_file: Final = _FileDecoder(FileObject)
decode_files: Final = ModelDecoder(FileList)
_decode_deleted: Final = ModelDecoder(FileDeleted)
decode_extracted: Final = ModelDecoder(ExtractedFile)
