"""The text of uploaded files, as `GET /v1/files/{id}/content` answers with it: piece by piece, however large they are.

Formats that are text already are read; of the others the fake says what it did not read.

See: https://platform.kimi.ai/docs/api/files-content
"""

import codecs
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

import msgspec

from moonshot_async.fake.blobs import Blob

_SOURCE_CODE: Final = (
    "go h hpp c cpp cxx cc cs java js jsx mjs css scss less jsp php py py3 pyi asp yaml yml ini conf cfg toml ts tsx "
    "vue rs rb sh bash sql kt swift scala lua pl r m dart tex rst xml"
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_HTML: Final = _set("html htm")
_TEXTS: Final = _HTML | _set(f"txt csv md json jsonl log {_SOURCE_CODE}")

# What may be uploaded, by purpose.
FORMATS: Final = {
    "file-extract": _TEXTS - {"jsonl"} | _set("pdf doc docx dot xls xlsx ppt pptx epub mobi"),
    "image": _set("png jpeg jpg webp gif"),
    "video": _set("mp4 mpeg mpg mov avi x-flv flv webm wmv 3gpp 3gp"),
    "batch": _set("jsonl"),
}


def extension(filename: str) -> str:
    """What follows the last dot, in lower case; "" where there is none."""
    return filename.rpartition(".")[2].lower() if "." in filename else ""


def extracted(filename: str, content_type: str, content: Blob) -> Iterator[bytes]:
    """The answer to a request for the content: a JSON object, in pieces."""
    title: list[str] = []
    yield b'{"content":"'
    for text in _texts(filename, content, title):
        yield msgspec.json.encode(text)[1:-1]
    rest = {"file_type": content_type, "filename": filename, "title": "".join(title).strip(), "type": "file"}
    yield b'",' + msgspec.json.encode(rest)[1:]


def _texts(filename: str, content: Blob, title: list[str]) -> Iterator[str]:
    kind = extension(filename)
    if kind in _HTML:
        return _html(content, title)
    if kind in _TEXTS:
        return _decoded(content)
    return iter((f"[{filename}: {content.size} bytes of {kind}, which the fake does not read]",))


def _decoded(content: Blob) -> Iterator[str]:
    # A character may lie across two pieces; "utf-8-sig" drops a byte order mark.
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    for piece in content.pieces():
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _html(content: Blob, title: list[str]) -> Iterator[str]:
    parser = _Stripper(title)
    for piece in _decoded(content):
        parser.feed(piece)
        yield parser.taken()
    parser.close()
    yield parser.taken()


class _Stripper(HTMLParser):
    """Keeps the text of a page, a line for each block."""

    _BLOCKS: Final = _set(
        "address article aside blockquote br dd div dl dt footer h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre "
        "section table td th tr ul"
    )

    def __init__(self, title: list[str]) -> None:
        super().__init__(convert_charrefs=True)
        self._title = title
        self._texts: list[str] = []
        self._inside = ""
        self._fresh = True

    def taken(self) -> str:
        """The text since the last call."""
        text = "".join(self._texts)
        self._texts.clear()
        return text

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("script", "style", "title"):
            self._inside = tag
        elif tag in self._BLOCKS:
            self._break()

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""
        elif tag in self._BLOCKS:
            self._break()

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self._title.append(data)
        elif not self._inside and (data.strip() or not self._fresh):
            words = " ".join(data.split())
            before = " " if data[0].isspace() and not self._fresh else ""
            after = " " if data[-1].isspace() and words else ""
            self._texts.append(before + words + after)
            self._fresh = False

    def _break(self) -> None:
        if not self._fresh:
            self._texts.append("\n")
        self._fresh = True
