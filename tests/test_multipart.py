"""Forms: what a reader that was written by others finds in them, whatever names they are given."""

import email
import email.policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.errors import ConfigurationError
from moonshot_async.multipart import Form, FormFile, form

NASTY = [
    'a".pdf',
    "a\r\nX-Evil: 1.pdf",
    "a\n\n--b--\r\n.pdf",
    "a\0b",
    "\x7f\x1b",
    "a\\",
    'a\\"; name="purpose',
    "文件 é.pdf",
]


def parts_of(made: Form, content: bytes) -> list[tuple[list[tuple[str, str]], bytes]]:
    """Headers and bytes of each part, as the standard library reads them."""
    text = f"Content-Type: {made.content_type}\r\n\r\n".encode() + made.head + content + made.tail
    message = email.message_from_bytes(text, policy=email.policy.HTTP)
    assert message.is_multipart()
    assert not message.defects
    parts: Any = message.iter_parts()
    return [
        ([(name, value) for name, value in part.raw_items()], part.get_payload(decode=True) or b"") for part in parts
    ]


def test_a_form_is_written_as_browsers_write_it() -> None:
    made = form(FormFile("file", "a.pdf", "application/pdf"), [("purpose", "file-extract")], boundary="B")

    assert made.content_type == "multipart/form-data; boundary=B"
    assert made.head + b"%PDF" + made.tail == (
        b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfile-extract\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\nContent-Type: application/pdf\r\n\r\n'
        b"%PDF\r\n--B--\r\n"
    )


def test_the_boundary_cannot_be_foreseen() -> None:
    one, other = (form(FormFile("file", "a", "text/plain")) for _ in range(2))

    assert one.content_type != other.content_type
    assert len(one.content_type.partition("boundary=")[2]) >= 32


def test_headers_of_the_file_are_part_of_its_part() -> None:
    made = form(FormFile("file", "a", "text/plain", {"X-A": "1", "content-type": "text/html"}))

    ((headers, content),) = parts_of(made, b"x")
    assert dict(headers)["X-A"] == "1"
    assert [value for name, value in headers if name.lower() == "content-type"] == ["text/html"]
    assert content == b"x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "1\r\nX-B: 2"), ("X\r\nA", "1"), ("Content-Disposition", "form-data"), ("content-length", "5"), ("", "1")],
)
def test_headers_that_would_break_the_form_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match="The headers of the file cannot be sent"):
        form(FormFile("file", "a", "text/plain", {name: value}))


def test_a_media_type_that_would_break_the_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="The headers of the file cannot be sent"):
        form(FormFile("file", "a", "text/plain\r\nX-B: 2"))


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_stays_one_name(name: str) -> None:
    made = form(FormFile("file", name, "text/plain"), [(name, "value"), ("purpose", name)])

    (field, purpose, file) = parts_of(made, b"x")
    assert [len(headers) for headers, _ in (field, purpose, file)] == [1, 1, 2]
    assert file[1] == b"x"
    head = made.head.rpartition(b"filename=")[2].partition(b"\r\n")[0]
    assert head.startswith(b'"')
    assert head.endswith(b'"')
    assert not set(head[1:-1]) & set(b'"\r\n\0')


def test_names_are_escaped_as_the_standard_says() -> None:
    made = form(FormFile("file", 'a"b\r\nc\0d\\e é', "text/plain"))

    assert 'filename="a%22b%0D%0Ac%00d\\\\e é"'.encode() in made.head


def test_a_name_that_is_no_text_is_sent_all_the_same() -> None:
    made = form(FormFile("file", "a\udcff.pdf", "text/plain"))

    assert b'filename="a?.pdf"' in made.head


@given(name=st.text(), value=st.text(), content=st.binary())
def test_whatever_the_names_are_there_are_as_many_parts_as_were_made(name: str, value: str, content: bytes) -> None:
    made = form(FormFile("file", name, "application/octet-stream"), [(name, "x")], boundary="b" * 40)

    whole = made.head + content + made.tail
    heads = [part.partition(b"\r\n\r\n")[0] for part in whole.split(b"--" + b"b" * 40)[1:-1]]
    assert [head.count(b"\r\n") for head in heads] == [1, 2]
    assert whole.endswith(b"\r\n--" + b"b" * 40 + b"--\r\n")
