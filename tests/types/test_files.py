"""Files as the service describes them, in the classic shape and in the newer one."""

import json

import pytest

from moonshot_async.errors import APIError, APIResponseValidationError
from moonshot_async.types.files import DeletedDecoder, FileObject, decode_extracted, decode_file, decode_files

FILE = {
    "id": "f-1",
    "object": "file",
    "bytes": 5,
    "created_at": 1767225600,
    "filename": "a.pdf",
    "purpose": "file-extract",
    "status": "ready",
    "status_details": "fine",
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_file_has_the_fields_of_the_documentation() -> None:
    file = decode_file(encoded(FILE))

    assert file.model_dump(exclude_none=True) == FILE
    assert (file.id, file.bytes, file.created_at, file.status_details) == ("f-1", 5, 1767225600, "fine")


def test_what_is_missing_null_or_new_does_no_harm() -> None:
    file = decode_file(encoded({"id": "f-1", "bytes": None, "expires_at": 7, "owner": "o"}))

    assert (file.bytes, file.status, file.status_details, file.pending) == (0, "", None, False)
    assert file.expires_at == 7
    assert file.model_extra == {"owner": "o"}


def test_a_file_in_the_newer_shape_reads_like_any_other() -> None:
    newer = {
        "id": "f-1",
        "filename": "a.pdf",
        "mime_type": "application/pdf",
        "size_bytes": 5,
        "created_at": "2026-01-01T00:00:00Z",
        "purpose": "file-extract",
        "extract_status": "ready",
    }
    file = decode_file(encoded(newer))

    assert (file.bytes, file.created_at, file.status, file.filename) == (5, 1767225600, "ready", "a.pdf")
    assert file.model_extra["mime_type"] == "application/pdf"
    assert decode_file(encoded({**newer, "extract_status": None})).status == ""


@pytest.mark.parametrize(
    "answer", [[], {"object": "file"}, {"id": "f", "created_at": "x"}, {"id": "f", "size_bytes": 5, "created_at": "x"}]
)
def test_what_is_no_file_is_told(answer: object) -> None:
    with pytest.raises(APIResponseValidationError):
        decode_file(encoded(answer))


def test_an_error_object_is_told_as_one() -> None:
    with pytest.raises(APIError, match="no space"):
        decode_file(encoded({"error": {"message": "no space", "type": "x"}}))


def test_a_list_of_files_can_be_walked() -> None:
    files = decode_files(encoded({"object": "list", "data": [FILE, {**FILE, "id": "f-2"}]}))

    assert [file.id for file in files] == ["f-1", "f-2"]
    assert not files.has_next_page()


@pytest.mark.parametrize("status", ["created", "uploaded", "processing"])
def test_a_file_that_the_service_works_on_is_pending(status: str) -> None:
    assert FileObject(id="f-1", status=status).pending


@pytest.mark.parametrize("status", ["ready", "ok", "processed", "error", "deleted", "new-status"])
def test_any_other_status_is_final(status: str) -> None:
    assert not FileObject(id="f-1", status=status).pending


def test_a_deleted_file_is_told_with_and_without_a_body() -> None:
    assert DeletedDecoder("f-1")(encoded({"id": "f-1", "object": "file", "deleted": False})).deleted is False
    silent = DeletedDecoder("f-1")(b"")
    assert (silent.id, silent.deleted) == ("f-1", True)


def test_what_was_read_in_a_file_is_told_in_parts() -> None:
    read = decode_extracted(
        encoded({"content": "Page 1", "file_type": "application/pdf", "filename": "a.pdf", "title": "", "type": "file"})
    )

    assert (read.content, read.file_type, read.filename, read.title, read.type) == (
        "Page 1",
        "application/pdf",
        "a.pdf",
        "",
        "file",
    )
