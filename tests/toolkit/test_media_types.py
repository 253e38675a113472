"""What bytes are."""

import pytest

from moonshot_async.toolkit.media.types import media_type_of


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\0\0\0\x20ftypmp42", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/mov"),
        (b"\0\0\0\x14ftyp3gp4", "video/3gpp"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "video/mov"),
        (b"RIFF\x24\0\0\0AVI LIST", "video/avi"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x88matroska", "video/x-matroska"),
        (b"\x00\x00\x01\xba\x44", "video/mpeg"),
        (b"\x00\x00\x01\xb3\x14", "video/mpeg"),
        (b"FLV\x01\x05", "video/x-flv"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "video/wmv"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- x --><SVG/>", "image/svg+xml"),
        (b"<!DOCTYPE svg PUBLIC 'x'><svg/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><html/>", None),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"BM\x36\0", None),
        (b"", None),
    ],
)
def test_the_content_tells(data: bytes, media_type: str | None) -> None:
    assert media_type_of(data) == media_type


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("roof.PNG", "image/png"),
        ("roof.jpg", "image/jpeg"),
        ("roof.tar.gif", "image/gif"),
        ("rain.mpg", "video/mpeg"),
        ("rain.m4v", "video/mp4"),
        ("rain.3gp", "video/3gpp"),
        ("roof.svg", "image/svg+xml"),
        ("roof.bmp", None),
        ("png", None),
        ("", None),
    ],
)
def test_where_the_content_does_not_tell_the_name_does(name: str, media_type: str | None) -> None:
    assert media_type_of(b"?", name) == media_type


def test_the_content_goes_before_the_name() -> None:
    assert media_type_of(b"GIF89a", "roof.png") == "image/gif"
