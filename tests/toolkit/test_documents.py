"""`Documents`: texts of files, many at once, none uploaded twice, none left behind."""

import asyncio
import io
import json
import os
import pickle
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.errors import (
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DocumentError,
    DocumentsError,
    RateLimitError,
    UploadError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit import documents as module
from moonshot_async.toolkit.documents import Document, DocumentProgress, Documents
from moonshot_async.wire import Request
from tests.secrets_scan import CANARY_PROMPT
from tests.toolkit.file_world import MP4, Hold, World, left_on, served

pytestmark = pytest.mark.usefixtures("no_leaks")

SPARSE = 100 * 1024 * 1024 + 1


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["memory", "loopback"])
async def service(request: Any) -> AsyncIterator[tuple[FakeMoonshot, AsyncMoonshot]]:
    fake = FakeMoonshot()
    if request.param == "memory":
        async with World(fake).client() as client:
            yield fake, client
    else:
        async for client in served(fake):
            yield fake, client


def write(directory: Path, name: str, content: str | bytes) -> Path:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def twenty(directory: Path) -> list[Path]:
    """Two equal files, one that is empty, one that is too large, one of an unknown type, and 15 ordinary ones."""
    paths = [write(directory, f"page-{number}.txt", f"This is page {number}.") for number in range(15)]
    paths.insert(3, write(directory, "copy.txt", "The same."))
    paths.insert(9, write(directory, "other copy.txt", "The same."))
    paths.insert(5, write(directory, "empty.md", ""))
    paths.insert(7, write(directory, "huge.pdf", "x"))
    os.truncate(paths[7], SPARSE)
    paths.insert(12, write(directory, "secret.xyz", "?"))
    return paths


def sent(fake: FakeMoonshot, path: str) -> list[Request]:
    return [request for request in fake.requests if request.path == "/v1" + path and request.method == "POST"]


async def test_twenty_files_are_asked_about_whatever_is_wrong_with_some(
    service: tuple[FakeMoonshot, AsyncMoonshot], tmp_path: Path
) -> None:
    fake, client = service
    paths = twenty(tmp_path)
    seen: list[DocumentProgress] = []
    async with Documents(client) as documents:
        answer = await documents.ask(paths, "What is on page 7?", model="kimi-k2.6", progress=seen.append)
        assert documents.leftovers == ()

    assert len(sent(fake, "/files")) == 17
    assert await left_on(fake) == []
    assert [document.file for document in answer.documents] == [str(path) for path in paths]
    good = [document for document in answer.documents if document.ok]
    texts = {path.name: path.read_text() for path in paths if path.stat().st_size < 100}
    assert [document.text for document in good] == [texts[document.name] for document in good]
    assert {Path(document.file).name: type(document.error) for document in answer.errors} == {
        "empty.md": ConfigurationError,
        "huge.pdf": ConfigurationError,
        "secret.xyz": BadRequestError,
    }
    for document, word in zip(answer.errors, ("empty", "100 MB", "not supported"), strict=True):
        assert document.name in document.reason
        assert word in document.reason
    *shown, question = json.loads(sent(fake, "/chat/completions")[0].content)["messages"]
    assert question == {"role": "user", "content": "What is on page 7?"}
    assert {message["role"] for message in shown} == {"system"}
    told = [json.loads(message["content"]) for message in shown]
    assert [(one["filename"], one["content"]) for one in told] == [(document.name, document.text) for document in good]
    assert answer.text == answer.completion.choices[0].message.content != ""
    assert [progress.done for progress in seen] == list(range(1, 21))
    assert {progress.total for progress in seen} == {20}
    assert {progress.document.file for progress in seen} == {str(path) for path in paths}


async def test_a_document_is_read_and_deleted(world: World, tmp_path: Path) -> None:
    async with world.client() as client, Documents(client) as documents:
        assert await documents.extract(write(tmp_path, "a.md", "# Title")) == "# Title"
    assert dict(world.asked) == {"upload": 1, "content": 1, "delete": 1}
    assert await world.files() == []


async def test_files_may_be_given_as_uploads_take_them(world: World, tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "from a path")
    stream = io.BytesIO(b"skipped, from a file")
    stream.seek(9)

    class Pipe(io.RawIOBase):
        name = "pipe.txt"

        def __init__(self) -> None:
            self._data = io.BytesIO(b"from a pipe")

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self._data.readinto(buffer)

    with path.open("rb") as opened:
        files: list[Any] = [
            path,
            ("b.txt", b"from bytes"),
            ("c.txt", bytearray(b"from a bytearray"), "text/plain"),
            ("d.txt", stream),
            opened,
            Pipe(),
        ]
        async with world.client() as client:
            read = await Documents(client).extract_many(files, errors="raise")
    assert [(document.file, document.text) for document in read] == [
        (str(path), "from a path"),
        ("b.txt", "from bytes"),
        ("c.txt", "from a bytearray"),
        ("d.txt", "from a file"),
        ("a.txt", "from a path"),
        ("pipe.txt", "from a pipe"),
    ]
    assert world.uploads == 5


async def test_a_file_object_is_not_read_at_two_places_at_once(world: World, tmp_path: Path) -> None:
    stream = io.BytesIO(b"text")
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(ConfigurationError, match="same file object is given twice"):
            await documents.extract_many([("a.txt", stream), ("b.txt", stream)])
        twice = [("a.txt", b"text"), write(tmp_path, "b.txt", "text")] * 2
        assert [document.text for document in await documents.extract_many(twice)] == ["text"] * 4
    assert world.uploads == 1


async def test_a_text_is_not_uploaded_twice(world: World, tmp_path: Path) -> None:
    one, other = write(tmp_path, "one.txt", "alike"), write(tmp_path, "other.TXT", "alike")
    async with world.client() as client, Documents(client) as documents:
        first = (await documents.extract_many([one]))[0]
        second = (await documents.extract_many([other]))[0]
        assert await documents.extract(one) == "alike"
    assert world.uploads == 1
    assert (first.cached, second.cached) == (False, True)
    assert (second.text, second.name) == ("alike", "other.TXT")
    assert json.loads(str(second.message["content"]))["filename"] == "other.TXT"


async def test_files_of_one_name_are_told_apart_by_their_content(world: World, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    paths = [write(tmp_path, "x.txt", "outer"), write(tmp_path / "a", "x.txt", "inner")]
    async with world.client() as client:
        read = await Documents(client).extract_many(paths)
    assert [document.text for document in read] == ["outer", "inner"]


async def test_what_a_file_is_read_as_hangs_on_the_end_of_its_name(world: World) -> None:
    page = b"<p>Hello</p>"
    async with world.client() as client:
        read = await Documents(client).extract_many([("a.html", page), ("a.txt", page), ("a", page), (".html", page)])
    assert [document.text.strip() for document in read] == ["Hello", "<p>Hello</p>", "", "Hello"]
    assert [document.name for document in read if not document.ok] == ["a"]
    assert world.uploads == 3


@pytest.mark.parametrize("name", ["報告書 😀.txt", "a b;c\"d'.txt", "ünïcode\u0301.txt"])
async def test_names_may_be_of_any_script(
    name: str, service: tuple[FakeMoonshot, AsyncMoonshot], tmp_path: Path
) -> None:
    document = (await Documents(service[1]).extract_many([write(tmp_path, name, "text")], errors="raise"))[0]
    assert (document.name, document.text) == (name, "text")
    assert json.loads(str(document.message["content"]))["filename"] == name


async def test_calls_at_the_same_time_upload_equal_files_once(world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client, Documents(client, cache=None) as documents:
        calls = [asyncio.create_task(documents.extract((f"{n}.txt", b"alike"))) for n in range(5)]
        await hold.reached.wait()
        hold.go.set()
        assert await asyncio.gather(*calls) == ["alike"] * 5
        assert world.uploads == 1
        # Without a cache nothing is remembered.
        assert await documents.extract(("9.txt", b"alike")) == "alike"
    assert world.uploads == 2


async def test_a_failure_is_not_remembered(world: World) -> None:
    world.fake.fail(500, path="/files/*", method="GET")
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(Exception, match="500"):
            await documents.extract(("a.txt", b"text"))
        assert await documents.extract(("a.txt", b"text")) == "text"
    assert await world.files() == []


async def test_all_who_wait_hear_of_a_failure_and_of_their_own_file(world: World) -> None:
    hold = world.before = Hold("content")
    world.fake.fail(429, path="/files/*", method="GET")
    async with world.client() as client, Documents(client) as documents:
        files: list[Any] = [("a.txt", b"alike"), ("b.txt", b"alike"), ("c.txt", b" \n"), ("d.txt", b" \n")]
        reading = asyncio.create_task(documents.extract_many(files))
        await hold.reached.wait()
        hold.go.set()
        a, b, c, d = await reading
    assert a.error is not b.error
    assert isinstance(a.error, RateLimitError)
    assert isinstance(b.error, RateLimitError)
    assert [document.reason.startswith(f"document '{document.name}': ") for document in (a, b, c, d)] == [True] * 4
    assert "no text in it" in c.reason
    assert isinstance(d.error, DocumentError)
    assert (d.error.file, d.text) == ("d.txt", "")


async def test_many_files_are_read_a_few_at_a_time(world: World) -> None:
    files = [(f"{number}.txt", f"text {number}".encode()) for number in range(1000)]
    async with world.client() as client:
        read = await Documents(client, parallel=8).extract_many(iter(files))
    assert [document.text for document in read] == [f"text {number}" for number in range(1000)]
    assert world.uploads == 1000
    assert 2 <= world.most <= 8
    assert await world.files() == []


async def test_single_calls_keep_to_the_same_number(world: World) -> None:
    async with world.client() as client, Documents(client, parallel=3) as documents:
        await asyncio.gather(*(documents.extract((f"{n}.txt", b"%d" % n)) for n in range(20)))
    assert world.most == 3


async def test_slow_processing_is_waited_for() -> None:
    now = 1_000.0

    def clock() -> float:
        nonlocal now
        now += 1
        return now

    world = World(FakeMoonshot(processing_seconds=12, clock=clock))
    async with world.client() as client:
        assert await Documents(client, poll_interval=0.001).extract(("a.txt", b"slow")) == "slow"
    assert world.asked["look"] > 1
    assert await world.files() == []


async def test_a_file_that_the_service_cannot_process_says_why(world: World) -> None:
    refused = {"id": "file-9", "status": "error", "status_details": "broken xref table"}
    world.fake.fail(200, body=refused, path="/files", method="POST")
    async with world.client() as client:
        with pytest.raises(DocumentError, match=r"document 'a\.pdf': the service could not read it: broken xref table"):
            await Documents(client).extract(("a.pdf", b"%PDF"))
    assert world.asked["delete"] == 1


@pytest.mark.parametrize("content", [b"plain text", b'{"content": 5, "filename": "a.json"}', b"[1, 2]", b"\xff\xfe"])
async def test_a_host_that_gives_plain_text_is_understood(content: bytes, world: World) -> None:
    world.fake.fail(200, body=content, path="/files/*", method="GET")
    async with world.client() as client:
        document = (await Documents(client).extract_many([("a.json", b"{}")]))[0]
    assert document.text == content.decode("utf-8", "replace")
    assert json.loads(str(document.message["content"])) == {"content": document.text, "filename": "a.json"}


async def test_half_a_character_does_not_reach_the_model(world: World) -> None:
    body = b'{"content": "half \\ud800 of it", "filename": "a.txt", "title": "T", "file_type": "text/plain"}'
    world.fake.fail(200, body=body, path="/files/*", method="GET")
    async with world.client() as client:
        document = (await Documents(client).extract_many([("a.txt", b"x")]))[0]
    assert document.text == "half \ufffd of it"
    assert (document.title, document.file_type) == ("T", "text/plain")


async def test_files_may_be_kept(world: World) -> None:
    async with world.client() as client, Documents(client, keep_uploaded=True) as documents:
        read = await documents.extract_many([("a.txt", b"alike"), ("b.txt", b"alike")])
    assert sum(document.file_id is not None for document in read) == 1
    assert len(await world.files()) == 1


async def test_errors_may_be_raised_together(world: World, tmp_path: Path) -> None:
    files: list[Any] = [("good.txt", b"x"), tmp_path / "missing.txt", ("empty.txt", b""), tmp_path, ("rain.mp4", MP4)]
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsError) as caught:
            await documents.extract_many(files, errors="raise")
        error = caught.value
        for said in (str(error), str(pickle.loads(pickle.dumps(error)))):
            assert said.startswith("4 of 5 documents could not be read: ")
            for name, reason in (
                ("missing.txt", "no such file"),
                ("empty.txt", "empty"),
                (tmp_path.name, "directory"),
                ("rain.mp4", "videos"),
            ):
                assert name in said
                assert reason in said
            assert "check=False" not in said
        assert [document.file for document in error.documents][1] == "empty.txt"
        assert await documents.extract(("good.txt", b"x")) == "x"
    assert world.uploads == 1


async def test_a_file_that_may_not_be_read_says_so(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "a.txt", "x")

    def refuse(self: Path, *args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    async with world.client() as client:
        with pytest.raises(ConfigurationError, match="may not read it"):
            await Documents(client).extract(path)


class Changing(io.BytesIO):
    """A file that has another content when it is read for the second time, which waits for `go`."""

    name = "log.txt"

    def __init__(self, content: bytes, then: bytes) -> None:
        super().__init__(content)
        self._then = then
        self._read = False
        self.again, self.go = threading.Event(), threading.Event()

    def seek(self, place: int, whence: int = 0) -> int:
        if place == whence == 0 and self._read and not self.again.is_set():
            self.again.set()
            assert self.go.wait(30)
            self.getbuffer()[:] = self._then
        return super().seek(place, whence)

    def read(self, size: int | None = -1) -> bytes:
        self._read = self._read or bool(size)
        return super().read(size)


class Shrinking(io.BytesIO):
    """A file that has more when it is measured than when it is read."""

    name = "log.txt"

    def tell(self) -> int:
        return place if (place := super().tell()) == 0 else place + 10


async def test_a_file_that_shrinks_is_not_taken_for_whole(world: World) -> None:
    async with world.client() as client:
        with pytest.raises(UploadError, match="changed while it was uploaded: it had 14 bytes"):
            await Documents(client).extract(Shrinking(b"text"))
    assert not world.asked


async def test_a_file_that_changes_after_it_was_looked_at_is_not_taken_for_the_other(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(UploadError, match="changed after it was looked at"):
            changing = Changing(b"as it was", b"as it is ")
            changing.go.set()
            await documents.extract(changing)
    assert await world.files() == []


async def test_a_file_that_changes_takes_nobody_else_along(world: World) -> None:
    async with world.client() as client:
        documents = Documents(client)
        changing = Changing(b"alike", b"other")
        first = asyncio.create_task(documents.extract_many([changing]))
        await asyncio.to_thread(changing.again.wait, 30)
        second = asyncio.create_task(documents.extract_many([("b.txt", b"alike")]))
        for _ in range(20):
            await asyncio.sleep(0)
        changing.go.set()
        (changed,), (same,) = await asyncio.gather(first, second)
    assert isinstance(changed.error, UploadError)
    assert (same.text, same.cached) == ("alike", False)


async def test_where_one_failure_is_that_of_all_the_rest_is_not_tried(world: World) -> None:
    world = World(FakeMoonshot(api_keys=["sk-another"]))
    async with world.client() as client:
        read = await Documents(client, parallel=2).extract_many([(f"{n}.txt", b"%d" % n) for n in range(50)])
    assert {type(document.error) for document in read} == {AuthenticationError}
    assert world.uploads <= 3


async def test_what_a_file_object_raises_is_told_with_its_name(world: World) -> None:
    class Broken(io.RawIOBase):
        name = "broken.txt"

        def read(self, size: int = -1) -> bytes:
            raise RuntimeError("out of order")

    files: list[Any] = [Broken(), ("a.txt", b"x")]
    async with world.client() as client:
        broken, good = await Documents(client).extract_many(files)
    assert good.reason == ""
    assert broken.reason == "document 'broken.txt': RuntimeError: out of order"
    assert good.text == "x"


async def test_an_account_that_is_full_says_what_to_do() -> None:
    world = World(FakeMoonshot(max_files=1))
    async with world.client() as client, Documents(client, keep_uploaded=True) as documents:
        await documents.extract(("a.txt", b"a"))
        with pytest.raises(BadRequestError, match=r"max file count 1.*janitor"):
            await documents.extract(("b.txt", b"b"))


async def test_no_file_is_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "large.pdf", b"%PDF")
    os.truncate(path, 40_000_000)
    # The server keeps what is large on the disk.
    async for client in served(FakeMoonshot()):
        documents = Documents(client)
        await documents.extract(("small.txt", b"warm"))
        tracemalloc.start()
        try:
            await documents.extract(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 16_000_000


@pytest.mark.parametrize("over", ["extract", "extract_many", "ask", "deadline"])
async def test_everything_ends_in_time(over: str, world: World) -> None:
    hold = world.before = Hold("content")
    async with world.client() as client, Documents(client, parallel=2) as documents:
        files: list[Any] = [(f"{n}.txt", b"%d" % n) for n in range(6)]
        if over == "extract_many":
            read = await documents.extract_many(files, timeout=0.05)
            assert {type(document.error) for document in read} == {APITimeoutError}
        else:
            with pytest.raises((APITimeoutError, DocumentsError), match=r"time|deadline"):
                if over == "extract":
                    await documents.extract(files[0], timeout=0.05)
                elif over == "ask":
                    await documents.ask(files, "What?", model="kimi-k2.6", timeout=0.05)
                else:
                    with client.deadline(0.05):
                        await documents.extract(files[0])
    assert not hold.go.is_set()
    assert await world.files() == []


async def test_progress_may_be_awaited_and_may_end_the_call(world: World) -> None:
    seen: list[Document] = []

    async def tell(progress: DocumentProgress) -> None:
        seen.append(progress.document)
        if len(seen) == 3:
            raise KeyError("enough")

    async with world.client() as client:
        with pytest.raises(KeyError, match="enough"):
            await Documents(client, parallel=2).extract_many([(f"{n}.txt", b"%d" % n) for n in range(9)], progress=tell)
    # Of those that were read at the same time, one may have come to its end.
    assert len(seen) in (3, 4)
    assert await world.files() == []


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ("a.txt", "a list of files"),
        (Path("a.txt"), "a list of files"),
        (b"text", "a list of files"),
        (io.BytesIO(b"x"), "a list of files"),
        (5, "a list of files"),
        (["a.txt"], r"Path\(\.\.\.\) for a file of that name"),
        ([("a.txt", "text")], "must not be a str"),
        ([None], "must be bytes, a Path"),
    ],
)
async def test_what_is_no_file_is_refused_before_anything_is_sent(files: Any, problem: str, world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        for call in (documents.extract_many(files), documents.messages(files)):
            with pytest.raises(TypeError, match=problem):
                await call
        with pytest.raises(TypeError, match="must not be a str"):
            await documents.extract("a.txt")  # type: ignore[arg-type]
    assert not world.asked


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"parallel": 0}, "parallel"),
        ({"parallel": True}, "parallel"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"cache": "a directory"}, "cache must be a Path"),
    ],
)
async def test_settings_that_cannot_be_are_refused(options: Any, problem: str, world: World) -> None:
    async with world.client() as client:
        with pytest.raises((ConfigurationError, TypeError), match=problem):
            Documents(client, **options)
        with pytest.raises(ConfigurationError, match="'return' or 'raise'"):
            await Documents(client).extract_many([], errors="ignore")  # type: ignore[arg-type]


async def test_there_may_be_no_files_at_all(world: World) -> None:
    async with world.client() as client:
        assert await Documents(client).extract_many([]) == []


async def test_nothing_shows_what_is_in_a_document(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        document = (await documents.extract_many([("a.txt", CANARY_PROMPT.encode())]))[0]
        assert repr(document) == f"<Document 'a.txt': {len(CANARY_PROMPT)} characters>"
        world.fake.fail(500, path="/files", method="POST")
        refused = (await documents.extract_many([("b.txt", (CANARY_PROMPT * 2).encode())]))[0]
        assert repr(refused) == "<Document 'b.txt': InternalServerError>"
        assert repr(documents) == "<Documents of AsyncMoonshot(base_url='http://world.test/v1')>"
    assert document.text == CANARY_PROMPT


async def test_there_are_functions_for_those_who_need_no_object(world: World) -> None:
    async with world.client() as client:
        assert await module.extract(client, ("a.txt", b"text")) == "text"
        answer = await module.ask(client, [("a.txt", b"text")], "What?", model="kimi-k2.6", max_completion_tokens=2000)
        assert answer.text
        assert str(await module.janitor(client)).startswith("deleted 0 files")
    assert await world.files() == []
