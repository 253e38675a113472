"""Form data with a file in it, as bytes: what stands before the file and what stands after it. Does no I/O.

Names are escaped so that whatever they hold is part of a name, never of a header or another part.

See: https://datatracker.ietf.org/doc/html/rfc7578 and https://html.spec.whatwg.org/#multipart-form-data
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.headers import Unshown
from moonshot_async.wire import Headers

_CRLF: Final = b"\r\n"
# As browsers do it, and for all control characters; a backslash would end its effect on a quote at some readers.
_ESCAPES: Final = {
    **{code: f"%{code:02X}" for code in (*range(0x20), 0x7F)},
    ord('"'): "%22",
    ord("\\"): "\\\\",
}


class FormFile(msgspec.Struct, frozen=True):
    """The head of the part that holds a file.

    Attributes:
        field: the name of the form's field.
        filename: as the service shall know it.
        content_type: of the file.
        headers: more headers for the part.
    """

    field: str
    filename: str
    content_type: str
    headers: Mapping[str, str] = {}


class Form(Unshown, msgspec.Struct, frozen=True):
    """A form around a file.

    Attributes:
        content_type: the header that the request needs.
        head: the bytes before those of the file.
        tail: the bytes after them.
    """

    content_type: str
    head: bytes
    tail: bytes


def form(file: FormFile, fields: Iterable[tuple[str, str]] = (), *, boundary: str | None = None) -> Form:
    """Encode a form: the fields first, the file last.

    Args:
        file: what is known of the file; its bytes go between `head` and `tail`.
        fields: names and texts of the other fields.
        boundary: parts the parts; one that nobody can foresee, unless a test needs to.

    Raises:
        ConfigurationError: a header of the part cannot be sent.
    """
    boundary = boundary or secrets.token_hex(16)
    line = b"--" + boundary.encode()
    head = bytearray()
    for name, value in fields:
        head += line + _CRLF + _disposition(name) + _CRLF * 2 + _utf8(value) + _CRLF
    head += line + _CRLF + _disposition(file.field, file.filename) + _CRLF
    for name, value in _headers(file).multi_items():
        head += _utf8(f"{name}: {value}") + _CRLF
    head += _CRLF
    return Form(f"multipart/form-data; boundary={boundary}", bytes(head), _CRLF + line + b"--" + _CRLF)


def _headers(file: FormFile) -> Headers:
    try:
        headers = Headers({"Content-Type": file.content_type}).merged(dict(file.headers)).checked()
    except ConfigurationError as error:
        problem = str(error)
    else:
        if "content-disposition" not in headers and "content-length" not in headers:
            return headers
        problem = "Content-Disposition and Content-Length are set by the SDK"
    raise ConfigurationError(f"The headers of the file cannot be sent: {problem}.")


def _disposition(name: str, filename: str | None = None) -> bytes:
    text = f'Content-Disposition: form-data; name="{name.translate(_ESCAPES)}"'
    if filename is not None:
        text += f'; filename="{filename.translate(_ESCAPES)}"'
    return _utf8(text)


def _utf8(text: str) -> bytes:
    # A name of a file may hold what is no text: bytes that no encoding explains.
    return text.encode("utf-8", "replace")
