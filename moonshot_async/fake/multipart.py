"""Forms as clients upload them: `multipart/form-data`, byte for byte.

See: https://www.rfc-editor.org/rfc/rfc7578 · https://www.rfc-editor.org/rfc/rfc2046#section-5.1
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from moonshot_async.fake.blobs import Blob

_MAX_HEAD_BYTES: Final = 16 * 1024
# What follows a boundary in its line: the mark of the last one, or padding that some gateway added.
_REST_OF_LINE: Final = re.compile(rb"(--)|[ \t]{0,64}\r\n")
_PARAMETER: Final = re.compile(r';\s*([^\s=;]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_ESCAPED: Final = re.compile(r'\\(["\\])')
# The three characters that browsers, and clients after them, escape in a name.
_PERCENT_ESCAPED: Final = re.compile(r"%(?:22|0[AaDd])")


class FormError(ValueError):
    """The body is not a form, or not a whole one."""


class Part(msgspec.Struct, frozen=True):
    """One field of a form; `filename` is None where the part is no file."""

    name: str
    filename: str | None
    content_type: str
    content: Blob


def parse_form(content_type: str, body: Blob) -> list[Part]:
    """Take a form apart.

    Args:
        content_type: the header of the request; it names the boundary.
        body: of the request. The parts share its bytes.

    Raises:
        FormError: it is not a form, or it was cut short.
    """
    kind, parameters = _split(content_type)
    if kind != "multipart/form-data":
        raise FormError("request Content-Type isn't multipart/form-data")
    boundary = parameters.get("boundary", "").encode("latin-1", "replace")
    if not boundary:
        raise FormError("no multipart boundary param in Content-Type")
    return [_part(body, start, end) for start, end in _sections(body, boundary)]


def _sections(body: Blob, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Where parts begin and end; what stands before the first and after the last is dropped."""
    begin: int | None = None
    for start, after, last in _delimiters(body, b"--" + boundary):
        if begin is not None:
            yield begin, start
        if last:
            return
        begin = after
    raise FormError("multipart: NextPart: EOF")


def _delimiters(body: Blob, dashed: bytes) -> Iterator[tuple[int, int, bool]]:
    """Every delimiter: where what is before it ends, where its line ends, and whether it is the last."""
    # The line end before a boundary belongs to the boundary; the first one may have none.
    place = 0 if body.read(0, len(dashed)) == dashed else body.find(b"\r\n" + dashed)
    while place >= 0:
        after = place + len(dashed) + (2 if place or body.read(0, 2) == b"\r\n" else 0)
        # A longer boundary, in content that is a form itself, only begins like this one.
        if rest := _REST_OF_LINE.match(body.read(after, after + 80)):
            yield place, after + rest.end(), rest[1] is not None
        place = body.find(b"\r\n" + dashed, after)


def _part(body: Blob, start: int, end: int) -> Part:
    # From the end of the line before, so that a part without headers has its empty line found too.
    head = body.read(start - 2, min(start + _MAX_HEAD_BYTES, end + 2))
    head_bytes = head.find(b"\r\n\r\n")
    if head_bytes < 0:
        raise FormError("malformed MIME header")
    headers = _headers(head[2:head_bytes])
    disposition, parameters = _split(headers.get("content-disposition", ""))
    if disposition != "form-data" or "name" not in parameters:
        raise FormError("malformed MIME header: no name in Content-Disposition")
    begin = start - 2 + head_bytes + 4
    return Part(
        parameters["name"],
        _filename(parameters),
        headers.get("content-type", ""),
        # An empty part of a thrifty client: its empty line is also the line end of the delimiter.
        body.part(begin, max(begin, end)),
    )


def _headers(head: bytes) -> dict[str, str]:
    headers = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers[name.strip().lower().decode("latin-1")] = _text(value).strip()
    return headers


def _text(value: bytes) -> str:
    # Clients send names as UTF-8, some as Latin-1; no header says which.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _split(header: str) -> tuple[str, dict[str, str]]:
    """The value of a header in lower case, and its parameters."""
    value, _, _ = header.partition(";")
    parameters = {}
    for name, given in _PARAMETER.findall(header):
        quoted = given.startswith('"') and given.endswith('"') and len(given) > 1
        parameters[name.lower()] = _ESCAPED.sub(r"\1", given[1:-1]) if quoted else given.strip()
    return value.strip().lower(), parameters


def _filename(parameters: dict[str, str]) -> str | None:
    """The name of a file, without any folder before it."""
    if "filename*" in parameters:
        charset, _, rest = parameters["filename*"].partition("'")
        try:
            name = unquote(rest.partition("'")[2], encoding=charset or "utf-8")
        except LookupError:
            name = unquote(rest.partition("'")[2])
    elif "filename" in parameters:
        name = _PERCENT_ESCAPED.sub(lambda escaped: unquote(escaped[0]), parameters["filename"])
    else:
        return None
    return name.replace("\\", "/").rsplit("/", 1)[-1]
