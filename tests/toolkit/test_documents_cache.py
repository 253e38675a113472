"""Where texts of documents are kept."""

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit.documents import DirectoryCache, Documents, MemoryCache
from tests.toolkit.file_world import World

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def world() -> World:
    return World()


def inside(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


async def test_a_directory_outlives_the_program(world: World, tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "texts"
    for _ in range(2):
        async with world.client() as client:
            assert await Documents(client, cache=directory).extract(("a.txt", b"text")) == "text"
    assert world.uploads == 1
    (file,) = inside(directory)
    assert "text" in file.read_text()
    if os.name != "nt":
        assert (file.stat().st_mode & 0o777, directory.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"content": 5}', b"\xff"])
async def test_a_damaged_text_is_uploaded_again(damage: bytes, world: World, tmp_path: Path) -> None:
    async with world.client() as client, Documents(client, cache=tmp_path) as documents:
        await documents.extract(("a.txt", b"text"))
        (file,) = inside(tmp_path)
        file.write_bytes(damage)
        assert await documents.extract(("a.txt", b"text")) == "text"
    assert world.uploads == 2


async def test_a_directory_that_cannot_be_used_costs_uploads_and_not_texts(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a directory")
    async with world.client() as client, Documents(client, cache=taken) as documents:
        with caplog.at_level(logging.WARNING, "moonshot_async"):
            assert await documents.extract(("a.txt", b"text")) == "text"
            assert await documents.extract(("a.txt", b"text")) == "text"
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "cannot be read" in said
    assert "cannot be kept" in said


@pytest.mark.parametrize("where", ["memory", "directory"])
async def test_the_one_that_was_not_asked_for_the_longest_goes_first(where: str, tmp_path: Path) -> None:
    cache: Any = MemoryCache(100) if where == "memory" else DirectoryCache(tmp_path, 100)
    for number in range(3):
        await cache.put(f"{number}", b"x" * 30)
        if where == "directory":
            os.utime(tmp_path / f"{number}.json", (number, number))
    assert await cache.get("0") == b"x" * 30
    await cache.put("3", b"x" * 30)
    assert [await cache.get(f"{number}") is not None for number in range(4)] == [True, False, True, True]
    await cache.put("4", b"x" * 101)
    assert await cache.get("4") is None
    await cache.put("3", b"y")
    assert await cache.get("3") == b"y"


def test_caches_say_what_they_are(tmp_path: Path) -> None:
    assert repr(MemoryCache()) == "<MemoryCache: 0 texts, 0 bytes>"
    assert repr(DirectoryCache(tmp_path)) == f"DirectoryCache({str(tmp_path)!r})"


@pytest.mark.parametrize("max_bytes", [-1, 1.5, True, "1 GB"])
def test_a_bound_is_a_number_of_bytes(max_bytes: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_bytes"):
        MemoryCache(max_bytes)


async def test_what_was_left_half_written_is_removed_after_a_while(tmp_path: Path) -> None:
    old, new, other = tmp_path / "tmp1.writing", tmp_path / "tmp2.writing", tmp_path / "README"
    for path in (old, new, other):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    await DirectoryCache(tmp_path).put("k", b"value")
    assert [path.name for path in inside(tmp_path)] == ["README", "k.json", "tmp2.writing"]


async def test_a_text_that_cannot_be_written_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", replace)
    await DirectoryCache(tmp_path).put("k", b"value")
    assert inside(tmp_path) == []


async def test_several_write_at_once(tmp_path: Path) -> None:
    caches = [DirectoryCache(tmp_path, 10_000) for _ in range(4)]
    value = b"v" * 1000

    async def work(cache: DirectoryCache, number: int) -> None:
        for turn in range(20):
            await cache.put(f"{(number + turn) % 25}", value)
            assert await cache.get(f"{turn}") in (None, value)

    await asyncio.gather(*(work(cache, number) for number, cache in enumerate(caches)))
    assert sum(path.stat().st_size for path in inside(tmp_path)) <= 14_000


async def test_a_cache_of_ones_own_is_asked(world: World) -> None:
    class Own:
        def __init__(self) -> None:
            self.values: dict[str, bytes] = {}

        async def get(self, key: str) -> bytes | None:
            return self.values.get(key)

        async def put(self, key: str, value: bytes) -> None:
            self.values[key] = value

    own = Own()
    async with world.client() as client:
        for name in ("a.txt", "b.txt"):
            await Documents(client, cache=own).extract((name, b"text"))
    assert world.uploads == 1
    (key,) = own.values
    assert len(key) == 64
    assert int(key, 16)
