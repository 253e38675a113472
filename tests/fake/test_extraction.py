import json
from typing import Any

import pytest

from moonshot_async.fake.blobs import Blob
from moonshot_async.fake.extraction import extension, extracted


def read(filename: str, content: bytes, content_type: str = "text/plain") -> Any:
    return json.loads(b"".join(extracted(filename, content_type, Blob(content))))


def test_text_is_what_it_is() -> None:
    assert read("a.txt", 'né "q" \\ 你\r\n\t\x00'.encode(), "text/odd") == {
        "content": 'né "q" \\ 你\r\n\t\x00',
        "file_type": "text/odd",
        "filename": "a.txt",
        "title": "",
        "type": "file",
    }


@pytest.mark.parametrize("name", ["a.md", "b.CSV", "c.json", "d.log", "e.py", "f.x.yaml"])
def test_formats_of_text_and_source_code_are_read(name: str) -> None:
    assert read(name, b"text")["content"] == "text"


def test_a_byte_order_mark_is_dropped_and_what_is_no_utf_8_replaced() -> None:
    assert read("a.txt", b"\xef\xbb\xbfa\xff")["content"] == "a�"


def test_characters_across_pieces_are_kept() -> None:
    text = "a" + "你" * 300_000

    assert read("a.txt", text.encode())["content"] == text


def test_pages_lose_their_tags_and_give_their_title() -> None:
    page = b"""<!doctype html><html><head><title> All &amp; nothing </title><style>p { color: red }</style></head>
    <body><h1>Rain</h1><p>It  <b>rains</b> a lot,
    they say.</p><script>alert("<p>no</p>")</script><ul><li>wet</li> <li>grey<br>dull</li></ul> end</body></html>"""

    answer = read("a.html", page, "text/html")

    assert answer["title"] == "All & nothing"
    assert answer["content"] == "Rain\nIt rains a lot, they say.\nwet\ngrey\ndull\nend"


def test_of_other_formats_it_says_what_it_did_not_read() -> None:
    assert read("a.pdf", b"%PDF")["content"] == "[a.pdf: 4 bytes of pdf, which the fake does not read]"


@pytest.mark.parametrize(("name", "kind"), [("a.TXT", "txt"), ("a.tar.gz", "gz"), ("upload", ""), ("", ""), ("a.", "")])
def test_the_extension_is_what_follows_the_last_dot(name: str, kind: str) -> None:
    assert extension(name) == kind
