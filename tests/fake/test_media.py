import base64
import struct

import pytest

from moonshot_async.fake.media import DataURL, tokens_of, url_of

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 280, 56)
GIF = b"GIF89a" + struct.pack("<HH", 1, 1)
JPEG = (
    b"\xff\xd8"
    + struct.pack(">HH14s", 0xFFE0, 16, b"JFIF")
    + struct.pack(">HHBHH", 0xFFC0, 11, 8, 100, 200)
    + b"\x01" * 20
)


def image(content: bytes) -> dict[str, object]:
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        (PNG, 10 * 2),
        (PNG + bytes(1_000_000), 10 * 2),
        (GIF, 1),
        (JPEG, 8 * 4),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 2**31, 2**31), 4096),
        (PNG[:20], 1024),
        (GIF[:8], 1024),
        (JPEG[:22], 1024),
        (JPEG[:26], 1024),
        (b"something else", 1024),
    ],
)
def test_an_image_counts_by_its_pixels_not_by_its_bytes(content: bytes, tokens: int) -> None:
    assert tokens_of(image(content)) == tokens


@pytest.mark.parametrize("url", ["ms://cat", "data:image/png;base64,???", "data:image/png,abc", 3])
def test_an_image_that_cannot_be_measured_counts_like_a_usual_one(url: object) -> None:
    assert tokens_of({"type": "image_url", "image_url": url}) == 1024


def test_a_video_counts_more() -> None:
    assert tokens_of({"type": "video_url", "video_url": {"url": "ms://clip"}}) == 8192


def test_an_address_may_stand_without_an_object_around_it() -> None:
    assert url_of({"type": "image_url", "image_url": "ms://cat"}) == "ms://cat"
    assert url_of({"type": "image_url", "image_url": {"url": "ms://cat"}}) == "ms://cat"
    assert url_of({"type": "image_url"}) is None


def test_a_data_url_is_taken_apart() -> None:
    assert DataURL.parse("data:image/PNG;base64,aaaa") == DataURL("image/png", "aaaa")
    assert DataURL.parse("data:image/png;name=cat.png;base64,aaaa") == DataURL("image/png", "aaaa")
    assert DataURL.parse("data:;base64,aaaa") == DataURL("", "aaaa")
    for other in ("data:image/png,aaaa", "data:image/png;base64", "https://a/b;base64,aaaa", ""):
        assert DataURL.parse(other) is None


@pytest.mark.parametrize(("content", "sound"), [("aaaa", True), ("aa", True), ("aa==", True), ("aa\r\naa", True)])
def test_padding_and_line_breaks_do_not_matter(content: str, sound: bool) -> None:
    assert DataURL("image/png", content).is_sound() == sound


@pytest.mark.parametrize("content", ["", "=", "a", "aa aa", "aa-_", "é"])
def test_what_is_not_base64_is_not_sound(content: str) -> None:
    assert not DataURL("image/png", content).is_sound()
    assert DataURL("image/png", content).head() == b""
