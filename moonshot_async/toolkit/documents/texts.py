"""What was read in documents, and how it is told to a model.

See: https://platform.kimi.ai/docs/guide/use-kimi-api-for-file-based-qa
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from moonshot_async.errors import APIResponseValidationError, DocumentError, MoonshotError
from moonshot_async.headers import Unshown
from moonshot_async.resources.file_content import FileContent
from moonshot_async.types.chat_params import MessageParam
from moonshot_async.types.model import parse


class Document(Unshown, msgspec.Struct, frozen=True, eq=False):
    """A file and what the service read in it, or why it did not. Its repr does not show the text.

    Attributes:
        file: which one: its path as it was given, or its name.
        name: what the service and the model are told.
        text: what was read in it; empty where there is an error.
        error: what went wrong; None where nothing did.
        title: where the document has one.
        file_type: its media type, as the service sees it, such as "application/pdf".
        cached: whether nothing had to be uploaded: the cache had the text, or an equal file brought it.
        file_id: of the uploaded file where that is kept (`keep_uploaded`) and this call uploaded it.
    """

    file: str
    name: str
    text: str = ""
    error: MoonshotError | None = None
    title: str = ""
    file_type: str = ""
    cached: bool = False
    file_id: str | None = None
    fields: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a text."""
        return self.error is None

    @property
    def reason(self) -> str:
        """Which file it is and what went wrong, in one sentence; empty where nothing did."""
        if self.error is None:
            return ""
        said = str(self.error)
        return said if self.file in said else f"document {self.file!r}: {said}"

    @property
    def message(self) -> MessageParam:
        """The system message that shows it to a model, in the form of the service; its bytes hang on the file alone."""
        shown = {**(self.fields or {"content": self.text}), "filename": self.name}
        return {"role": "system", "content": msgspec.json.encode(shown).decode()}

    def __repr__(self) -> str:
        told = f"{len(self.text)} characters" if self.error is None else type(self.error).__name__
        return f"<Document {self.file!r}: {told}>"


class DocumentProgress(msgspec.Struct, frozen=True, eq=False):
    """How far reading many documents is.

    Attributes:
        done: how many were read, or could not be.
        total: how many there are.
        document: the latest; `.error` says whether it was read.
    """

    done: int
    total: int
    document: Document


def encoded(content: FileContent) -> bytes:
    """What the service answered for the content of a file, as it is kept: without the name, which equal files share."""
    try:
        fields = parse(content.content)
    except APIResponseValidationError:
        fields = None
    if not (isinstance(fields, dict) and isinstance(fields.get("content"), str) and "filename" in fields):
        # The documentation has plain text there.
        fields = {"content": content.text}
    # Half characters, which could not be sent to a model, were replaced when it was parsed.
    return msgspec.json.encode({**fields, "filename": ""})


def decoded(data: bytes) -> dict[str, Any] | None:
    """The fields of what was kept; None where it is nothing that `encoded` makes."""
    try:
        fields = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("content"), str) else None


def document_of(file: str, name: str, data: bytes, *, cached: bool, file_id: str | None) -> Document:
    """A document of what was kept.

    Raises:
        DocumentError: there is no text in it.
    """
    fields = decoded(data) or {"content": ""}
    text = fields["content"]
    if not text.strip():
        raise DocumentError(file, "the service read no text in it; scans and pictures are shown with toolkit.media")
    title, kind = (str(fields.get(field) or "") for field in ("title", "file_type"))
    return Document(file, name, text, None, title, kind, cached, file_id, fields)


def document_without_text(file: str, name: str, error: Exception) -> Document:
    """A document that could not be read. Of the error only what it says is kept, not the frames it came through."""
    if not isinstance(error, MoonshotError):
        error = DocumentError(file, f"{type(error).__name__}: {error}")
    return Document(file, name, error=error.with_traceback(None))
