"""Parts of messages made of images and videos."""

import base64
import io
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit import media
from moonshot_async.toolkit.media import parts as media_parts
from tests.canned import Canned

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
MP4 = b"\0\0\0\x20ftypisom" + bytes(range(256))


def decoded(part: Any) -> tuple[str, str, bytes]:
    kind: str = part["type"]
    head, _, data = part[kind]["url"].partition(",")
    return kind, head, base64.b64decode(data, validate=True)


async def test_an_image_is_made_of_a_path(tmp_path: Path) -> None:
    path = tmp_path / "roof.bin"
    path.write_bytes(PNG)

    assert decoded(await media.image(path)) == ("image_url", "data:image/png;base64", PNG)


async def test_a_video_is_made_of_a_path(tmp_path: Path) -> None:
    path = tmp_path / "rain.mp4"
    path.write_bytes(MP4)

    assert decoded(await media.video(path)) == ("video_url", "data:video/mp4;base64", MP4)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_an_image_is_made_of_bytes(kind: Any) -> None:
    assert decoded(await media.image(kind(PNG))) == ("image_url", "data:image/png;base64", PNG)


async def test_an_open_file_is_read_from_where_it_stands_and_stays_open(tmp_path: Path) -> None:
    file = io.BytesIO(b"head" + PNG)
    file.seek(4)
    assert decoded(await media.image(file))[2] == PNG
    assert not file.closed

    path = tmp_path / "rain.mpg"
    path.write_bytes(b"?")
    with path.open("rb") as opened:
        assert decoded(await media.video(opened))[1] == "data:video/mpeg;base64"


async def test_a_file_with_async_reading_is_read(tmp_path: Path) -> None:
    path = tmp_path / "roof.png"
    path.write_bytes(b"?")

    async with await anyio.open_file(path, "rb") as file:
        source: Any = file
        assert decoded(await media.image(source)) == ("image_url", "data:image/png;base64", b"?")


async def test_what_is_large_is_encoded_whole() -> None:
    data = PNG + bytes(3_000_001)

    assert decoded(await media.image(data))[2] == data


class Drip(io.RawIOBase):
    """A file without a size, which gives so much at a time; or more than it was asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(self._size)


@pytest.mark.parametrize("size", [1000, 65_536, 200_000, 1_000_000])
async def test_a_file_may_give_less_or_more_than_it_was_asked_for(size: int) -> None:
    data = PNG + bytes(range(251)) * 4000
    source: Any = Drip(data, size)

    assert decoded(await media.image(source))[2] == data


async def test_a_file_may_grow_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "roof.png"
    path.write_bytes(PNG)

    class Growing(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if path.stat().st_size < 1_000_000:
                with path.open("ab") as file:
                    file.write(bytes(100_000))
            return data or b""

    with Growing(path) as file:
        source: Any = file
        assert decoded(await media.image(source))[2] == path.read_bytes()


async def test_a_view_with_steps_is_what_it_shows() -> None:
    assert decoded(await media.image(memoryview(b"".join(bytes([byte, 0]) for byte in PNG))[::2]))[2] == PNG


@pytest.mark.parametrize("source", ["path", "bytes"])
async def test_a_large_image_is_not_in_memory_more_than_once_beside_its_text(source: str, tmp_path: Path) -> None:
    data = PNG + bytes(9_000_000)
    path = tmp_path / "roof.png"
    path.write_bytes(data)
    await media.image(PNG)

    tracemalloc.start()
    try:
        part = await media.image(path if source == "path" else data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # The other copy is a mapping, which goes back to the system.
    assert peak < 1.1 * len(part["image_url"]["url"])  # type: ignore[index]  # it was made here


async def test_reading_happens_in_another_thread() -> None:
    threads = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threads.append(threading.current_thread())
            return super().read(size)

    await media.image(File(PNG))

    assert threads
    assert threading.main_thread() not in threads


async def test_a_media_type_of_the_caller_goes_before_what_is_found() -> None:
    assert decoded(await media.image(b"?", media_type="image/bmp"))[1] == "data:image/bmp;base64"
    assert decoded(await media.image(PNG, media_type="image/webp"))[1] == "data:image/webp;base64"


@pytest.mark.parametrize("source", ["ms://file-1", "file-1", " file-1 ", SimpleNamespace(id="file-1", purpose="image")])
async def test_an_uploaded_file_is_named_by_its_id(source: Any) -> None:
    assert await media.image(source) == {"type": "image_url", "image_url": {"url": "ms://file-1"}}
    assert await media.video(source) == {"type": "video_url", "video_url": {"url": "ms://file-1"}}


async def test_a_file_that_was_uploaded_for_something_else_is_refused() -> None:
    file: Any = SimpleNamespace(id="file-1", purpose="file-extract")

    with pytest.raises(ConfigurationError, match="was uploaded for 'file-extract': upload it with purpose='image'"):
        await media.image(file)


@pytest.mark.parametrize(("kind", "data"), [("image", PNG), ("video", MP4)])
async def test_a_file_is_uploaded_and_named_by_its_id(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / ("roof.png" if kind == "image" else "rain.mp4")
    path.write_bytes(data)
    service = Canned({"id": "file-7", "object": "file", "purpose": kind})
    upload = media.upload_image if kind == "image" else media.upload_video

    async with service.client() as client:
        part = await upload(client, path)

    assert part == {"type": f"{kind}_url", f"{kind}_url": {"url": "ms://file-7"}}
    assert service.path == "/files"


async def test_a_data_url_is_taken_as_it_is() -> None:
    url = "data:image/png;base64,iVBORw0="

    assert (await media.image(url))["image_url"] == {"url": url}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("data:image/svg+xml,<svg/>", "no SVG: render it to PNG"),
        ("data:video/mp4;base64,AAAA", r"this is video/mp4, not an image; use media.video\(\)"),
        ("data:text/plain,x", "this is text/plain, not an image: an image is gif, jpeg, png, webp"),
        ("data:,x", "this is of no type, not an image"),
    ],
)
async def test_a_data_url_of_something_else_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await media.image(url)


async def test_a_video_is_no_image_and_an_image_no_video() -> None:
    with pytest.raises(ConfigurationError, match=r"this is video/mp4, not an image; use media.video\(\)"):
        await media.image(MP4)
    with pytest.raises(ConfigurationError, match=r"this is image/png, not a video; use media.image\(\)"):
        await media.video(PNG)
    with pytest.raises(ConfigurationError, match="this is audio/ogg, not a video: a video is 3gpp, avi, mov"):
        await media.video(b"?", media_type="audio/ogg")


@pytest.mark.parametrize("source", [b"<svg/>", "path"])
async def test_an_svg_is_refused(source: Any, tmp_path: Path) -> None:
    if source == "path":
        source = tmp_path / "roof.svg"
        source.write_bytes(b"?")
    with pytest.raises(ConfigurationError, match="no SVG"):
        await media.image(source)
    with pytest.raises(ConfigurationError, match="no SVG"):
        await media.image(PNG, media_type="image/svg+xml")


async def test_a_media_type_that_is_no_ascii_is_refused() -> None:
    for media_type in ("image/pñg", "image/p\ud800g"):
        with pytest.raises(ConfigurationError, match="ASCII characters only"):
            await media.image(PNG, media_type=media_type)


@pytest.mark.parametrize(("data", "said"), [(b"BM6", "of an unknown type"), (b"\0\0\0\x18ftypheic", "image/heic")])
async def test_an_image_of_another_kind_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"no such image \({said}\), but gif, jpeg, png, webp: convert it"):
        await media.image(data)


@pytest.mark.parametrize("url", ["https://a.example/roof.png", "HTTP://a.example/roof.png"])
async def test_a_url_is_not_fetched_but_refused_or_handed_on(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"fetches no http.*pass_url=True") as caught:
        await media.image(url)
    assert "a.example" not in str(caught.value)
    assert (await media.image(url, pass_url=True))["image_url"] == {"url": url}
    assert (await media.video(url, pass_url=True))["video_url"] == {"url": url}


@pytest.mark.parametrize("text", ["roof.png", "/tmp/roof", "C:\\roof", "file:///tmp/roof", "a b", "", "ftp://a/b"])
async def test_text_is_never_a_path(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"For an image on disk pass Path"):
        await media.image(text)


@pytest.mark.parametrize("source", [None, 5, ["x"], SimpleNamespace(id=None)])
async def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(ConfigurationError, match="a video can be a path, bytes"):
        await media.video(source)


async def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await media.image(tmp_path / "none.png")


async def test_a_file_that_is_open_as_text_is_refused() -> None:
    source: Any = io.StringIO("x")
    with pytest.raises(ConfigurationError, match="'rb': reading it gave str"):
        await media.image(source)


@pytest.mark.parametrize("make", [lambda path: b"", lambda path: io.BytesIO(), lambda path: path])
async def test_what_is_empty_is_refused(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "roof.png"
    path.touch()
    with pytest.raises(ConfigurationError, match="the image is empty"):
        await media.image(make(path))


async def test_a_path_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "rain.mp4"
    with path.open("wb") as file:
        file.truncate(media.MAX_INLINE_BYTES + 1)

    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match=r"too large .*files.create\(file=Path\(…\), purpose='video'\)"):
            await media.video(path)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


async def test_an_open_file_is_read_no_further_than_a_request_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_parts, "MAX_INLINE_BYTES", 300)
    file = io.BytesIO(PNG + bytes(1000))

    with pytest.raises(ConfigurationError, match="300 bytes of it fit"):
        await media.image(file)
    assert file.tell() == 301


async def test_a_data_url_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_parts, "MAX_REQUEST_BYTES", 10)

    with pytest.raises(ConfigurationError, match="too large"):
        await media.image("data:image/png;base64,iVBORw0=")


def test_the_largest_image_fits_into_a_request_with_some_text() -> None:
    assert media.MAX_INLINE_BYTES * 4 / 3 + 1_000_000 < media.MAX_REQUEST_BYTES
    assert media.MAX_INLINE_BYTES > 74 * 1024 * 1024


def test_a_text_part_must_not_be_empty() -> None:
    assert media.text("What?") == {"type": "text", "text": "What?"}
    with pytest.raises(ConfigurationError, match="leave it out"):
        media.text("")
