import gc
import tempfile
import warnings
from pathlib import Path

import pytest

from moonshot_async.fake import blobs
from moonshot_async.fake.blobs import LARGE, Blob, PiecesBody, Spool


def spooled(content: bytes, step: int = 100_000) -> Blob:
    """What a server does: write, and flush when told to."""
    spool = Spool()
    for start in range(0, len(content), step):
        if spool.write(content[start : start + step]):
            spool.flush()
    assert spool.size == len(content)
    return spool.blob()


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


LINES = b"".join(b"%07d\n" % number for number in range(200_000))


@pytest.fixture(params=["memory", "disk"])
def blob(request: pytest.FixtureRequest) -> Blob:
    return Blob(LINES) if request.param == "memory" else spooled(LINES)


def test_a_blob_is_read_in_parts(blob: Blob) -> None:
    assert (blob.size, blob.is_large) == (len(LINES), True)
    assert blob.read() == LINES
    assert blob.read(8, 16) == b"0000001\n"
    assert blob.read(len(LINES) - 3) == b"99\n"
    assert blob.read(len(LINES) - 3, len(LINES) + 50) == b"99\n"
    assert blob.read(len(LINES) + 5) == b""
    assert b"".join(blob.pieces()) == LINES
    assert repr(blob) == "Blob(1600000 bytes)"


def test_a_part_is_a_blob_of_its_own(blob: Blob) -> None:
    part = blob.part(8, 24).part(8, 16)

    assert (part.size, part.read(), part.read(0, 100), part.is_large) == (8, b"0000002\n", b"0000002\n", False)
    assert part.find(b"3") == -1


def test_a_needle_is_found_wherever_it_lies(blob: Blob) -> None:
    edge = 256 * 1024

    assert blob.find(b"0000000") == 0
    assert blob.find(b"0000000", 1) == -1
    assert blob.find(LINES[edge - 4 : edge + 12], 1) == edge - 4
    assert blob.find(b"nowhere") == -1
    assert blob.find(b"x", len(LINES) + 1) == -1


def test_lines_come_with_their_places(blob: Blob) -> None:
    places = list(blob.lines())

    assert len(places) == 200_000
    assert places[:2] == [(0, b"0000000\n"), (8, b"0000001\n")]
    assert places[-1] == (len(LINES) - 8, b"0199999\n")
    assert list(Blob(b"a\n\nb").lines()) == [(0, b"a\n"), (2, b"\n"), (3, b"b")]


def test_what_is_small_never_touches_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **more: pytest.fail("a file was opened"))

    assert spooled(b"x" * (LARGE - 1)).read() == b"x" * (LARGE - 1)


def test_what_is_large_leaves_no_name_no_file_and_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    before = open_files()

    blob = spooled(b"x" * (2 * LARGE))
    part = blob.part(0, 1)
    assert open_files() == before + 1
    assert list(tmp_path.iterdir()) == []
    del blob
    assert part.read() == b"x"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del part
        gc.collect()

    assert open_files() == before


def test_a_disk_that_takes_less_than_it_is_given_is_given_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self) -> None:
            self.content = b""
            self.place = 0

        def seek(self, place: int, whence: int = 0) -> None:
            self.place = place if whence == 0 else len(self.content)

        def write(self, data: memoryview) -> int:
            self.content += bytes(data[:3])
            return min(3, len(data))

        def read(self, size: int) -> bytes:
            start, self.place = self.place, self.place + min(size, 2)
            return self.content[start : self.place]

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **more: Slow())
    monkeypatch.setattr(blobs, "LARGE", 10)

    assert spooled(b"0123456789abcdef", 4).read(1, 16) == b"123456789abcdef"


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_body_is_made_while_it_is_read(in_thread: bool) -> None:
    body = PiecesBody(iter([b"a", b"", b"b"]), in_thread=in_thread)

    assert [await body.read(), await body.read(), await body.read(), await body.read()] == [b"a", b"b", b"", b""]


async def test_a_closed_body_has_ended() -> None:
    body = PiecesBody(iter([b"a"]), in_thread=False)

    body.close()

    assert await body.read() == b""
