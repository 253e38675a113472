from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.fake.blobs import Blob
from moonshot_async.fake.multipart import FormError, parse_form

TYPE = "multipart/form-data; boundary=XX"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


def form(*parts: bytes, boundary: bytes = b"XX", preamble: bytes = b"", epilogue: bytes = b"\r\n") -> Blob:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return Blob(preamble + body + b"--" + boundary + b"--" + epilogue)


def only(disposition: bytes) -> Any:
    (part,) = parse_form(TYPE, form(b"Content-Disposition: " + disposition + b"\r\n\r\ncontent"))
    return part


def test_fields_and_files_come_in_their_order() -> None:
    purpose = b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch'
    file = b"content-disposition:form-data;name=file;filename=in.jsonl\r\nContent-Type: application/jsonl\r\n\r\n{}\n"

    one, two = parse_form(TYPE, form(purpose, file))

    assert (one.name, one.filename, one.content_type, one.content.read()) == ("purpose", None, "", b"batch")
    assert (two.name, two.filename, two.content_type) == ("file", "in.jsonl", "application/jsonl")
    assert two.content.read() == b"{}\n"


@given(content=st.binary(max_size=300), preamble=st.sampled_from([b"", b"\r\n", b"to whom it may concern\r\n"]))
def test_content_is_kept_byte_for_byte(content: bytes, preamble: bytes) -> None:
    boundary = b"boundary-that-no-content-holds"

    (part,) = parse_form(
        f"multipart/form-data; boundary={boundary.decode()}",
        form(FILE + content, boundary=boundary, preamble=preamble, epilogue=b"\r\nignored"),
    )

    assert part.content.read() == content


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\r\n\r\n", b"\r\n--X", b"\r\n--XXY\r\n", b"a--XX--", b"a\r"])
def test_what_resembles_a_boundary_is_content(content: bytes) -> None:
    (part,) = parse_form(TYPE, form(FILE + content))

    assert part.content.read() == content


def test_a_part_without_a_line_end_after_its_empty_line_is_empty() -> None:
    (part,) = parse_form(TYPE, Blob(b"--XX\r\n" + FILE + b"--XX--"))

    assert part.content.read() == b""


def test_padding_after_a_boundary_is_ignored() -> None:
    (part,) = parse_form(TYPE, Blob(b"--XX \t\r\n" + FILE + b"a\r\n--XX--"))

    assert part.content.read() == b"a"


@pytest.mark.parametrize(
    "content_type",
    [
        'Multipart/Form-Data; charset=utf-8; boundary="a b;c"',
        "multipart/form-data;boundary=a b;c",
    ],
)
def test_boundaries_may_be_quoted(content_type: str) -> None:
    boundary = b"a b;c" if '"' in content_type else b"a b"

    (part,) = parse_form(content_type, form(FILE + b"1", boundary=boundary))

    assert part.content.read() == b"1"


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b'form-data; name="file"; filename="a b.txt"', "a b.txt"),
        (b'form-data; name="file"; filename="say \\"hi\\" \\\\ o.txt"', " o.txt"),
        (b'form-data; name="file"; filename="say \\"hi\\".txt"', 'say "hi".txt'),
        (b'form-data; name="file"; filename="say %22hi%22.txt"', 'say "hi".txt'),
        (b'form-data; name="file"; filename="100%25.txt"', "100%25.txt"),
        (b'form-data; name="file"; filename="a;b.txt"', "a;b.txt"),
        (b'form-data; name="file"; filename=plain.txt ', "plain.txt"),
        ('form-data; name="file"; filename="né 你.txt"'.encode(), "né 你.txt"),
        ('form-data; name="file"; filename="né.txt"'.encode("latin-1"), "né.txt"),
        (b'form-data; name="file"; filename="fallback.txt"; filename*=utf-8\'\'n%C3%A9.txt', "né.txt"),
        (b"form-data; name=\"file\"; filename*=ISO-8859-1'en'n%E9.txt", "né.txt"),
        (b"form-data; name=\"file\"; filename*=odd''n%C3%A9.txt", "né.txt"),
        (b'form-data; name="file"; filename="../../etc/passwd"', "passwd"),
        (b'form-data; name="file"; filename="C:\\\\temp\\\\a.txt"', "a.txt"),
        (b'form-data; name="file"; filename=""', ""),
        (b'form-data; name="file"', None),
    ],
)
def test_names_of_files_are_read_as_clients_write_them(disposition: bytes, filename: str | None) -> None:
    assert only(disposition).filename == filename


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("", b"", "isn't multipart/form-data"),
        ("application/json", b"{}", "isn't multipart/form-data"),
        ("multipart/mixed; boundary=XX", b"", "isn't multipart/form-data"),
        ("multipart/form-data", b"--XX--", "no multipart boundary"),
        (TYPE, b"", "EOF"),
        (TYPE, b"nothing here", "EOF"),
        (TYPE, b"--XX\r\n" + FILE + b"cut", "EOF"),
        (TYPE, b"--XX\r\n" + FILE + b"cut\r\n--XX", "EOF"),
        (TYPE, b"--XX\r\nContent-Disposition: form-data; name=a\r\nno end\r\n--XX--", "malformed MIME header"),
        (TYPE, b"--XX\r\n\r\nno head\r\n--XX--", "no name"),
        (TYPE, b"--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--", "no name"),
        (TYPE, b"--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--", "no name"),
        (TYPE, b"--XX\r\nX: " + b"x" * 20_000 + b"\r\n\r\n1\r\n--XX--", "malformed MIME header"),
    ],
)
def test_what_is_no_whole_form_is_refused(content_type: str, body: bytes, message: str) -> None:
    with pytest.raises(FormError, match=message):
        parse_form(content_type, Blob(body))


def test_a_form_without_parts_has_none() -> None:
    assert parse_form(TYPE, Blob(b"--XX--\r\n")) == []
