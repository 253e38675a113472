"""`client.files`: what is sent for each call, and what comes of the answer."""

import asyncio
import email
import email.policy
import io
import json
import logging
import os
import pickle
import tempfile
import threading
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest

from moonshot_async import AsyncMoonshot, Bounds, Timeout
from moonshot_async.errors import (
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    MoonshotError,
    NotFoundError,
    ResponseTooLargeError,
    UploadError,
)
from moonshot_async.resources import upload_sources
from moonshot_async.transports import MemoryTransport
from moonshot_async.wire import Request, Response

pytestmark = pytest.mark.usefixtures("no_leaks")

FILE = {
    "id": "f-1",
    "object": "file",
    "bytes": 5,
    "created_at": 1767225600,
    "filename": "a.pdf",
    "purpose": "file-extract",
    "status": "ready",
}
EXTRACTED = '{"content": "Page 1", "file_type": "application/pdf", "filename": "a.pdf", "title": "", "type": "file"}'
JSON = {"Content-Type": "application/json"}


class Service:
    """Answers as told, in order, the last answer again and again; keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers) or [FILE]
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        # Where a call that was cancelled ends.
        await asyncio.sleep(0)
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else Response(200, JSON, json.dumps(answer))

    @property
    def asked(self) -> list[tuple[str, str]]:
        return [(request.method, request.url.partition("/v1")[2]) for request in self.requests]


def client_of(service: Service, **options: Any) -> AsyncMoonshot:
    return AsyncMoonshot(
        api_key="sk-canary-01",
        base_url="http://files.test/v1",
        transport=MemoryTransport(service),
        max_retries=0,
        **options,
    )


def form_of(request: Request) -> dict[str, Any]:
    """The parts of a form by name, as the standard library reads them."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + request.content, policy=email.policy.HTTP)
    return {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}


async def sent(file: Any, purpose: str = "file-extract", **options: Any) -> Any:
    """The part of the form that holds the file, after an upload."""
    service = Service()
    async with client_of(service) as client:
        await client.files.create(file=file, purpose=purpose, **options)
    parts = form_of(service.requests[0])
    assert parts["purpose"].get_payload() == purpose
    return parts["file"]


def described(part: Any) -> tuple[str, str, bytes]:
    return part.get_filename(), part.get_content_type(), part.get_payload(decode=True)


class Lines(io.RawIOBase):
    """A stream that can be read once."""

    def __init__(self, data: bytes, name: object = None) -> None:
        self.name = name
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


class Reader:
    """The least that a file object may be."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


# --- create


async def test_a_file_is_sent_as_a_form_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF\r\n--x--\r\n")
    service = Service()
    async with client_of(service) as client:
        file = await client.files.create(file=path, purpose="file-extract")

    request = service.requests[0]
    assert (file.id, file.filename, file.status) == ("f-1", "a.pdf", "ready")
    assert service.asked == [("POST", "/files")]
    assert described(form_of(request)["file"]) == ("a.pdf", "application/pdf", b"%PDF\r\n--x--\r\n")
    assert request.headers["authorization"] == "Bearer sk-canary-01"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")


async def test_a_file_may_be_given_in_every_form_that_openai_takes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        for given in (path, file, raw, (None, path), ("a.txt", b"hello")):
            assert described(await sent(given)) == ("a.txt", "text/plain", b"hello")
        assert not file.closed
    for nameless in (b"hello", bytearray(b"hello"), memoryview(b"hello"), io.BytesIO(b"hello"), Reader(b"hello")):
        assert described(await sent(nameless)) == ("upload", "application/octet-stream", b"hello")
    for named in (("b.md", b"hello"), ("b.md", io.BytesIO(b"hello")), ("b.md", path), ("b.md", Reader(b"hello"))):
        assert described(await sent(named)) == ("b.md", "text/markdown", b"hello")
    assert described(await sent(("b.md", b"hello", "text/x-own"))) == ("b.md", "text/x-own", b"hello")
    part = await sent(("b", path, None, {"Content-Type": "text/x-own", "X-A": "1"}))
    assert (described(part), part["x-a"]) == (("b", "text/x-own", b"hello"), "1")
    part = await sent(("b", path, "text/x-first", {"content-type": "text/x-own"}))
    assert part.get_all("content-type") == ["text/x-first"]


class BytesPath:
    def __fspath__(self) -> bytes:
        return self.path

    def __init__(self, path: Path) -> None:
        self.path = os.fsencode(path)


async def test_paths_of_bytes_and_names_that_are_paths_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    assert described(await sent(BytesPath(path)))[0] == "a.txt"
    assert described(await sent(Lines(b"x", name=os.fsencode(path))))[0] == "a.txt"
    assert described(await sent(Lines(b"x", name="<stdin>")))[0] == "upload"
    assert described(await sent(Lines(b"x", name=7)))[0] == "upload"
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        assert described(await sent(file)) == ("upload", "application/octet-stream", b"x")


async def test_a_file_object_is_sent_from_where_it_stands_and_one_at_its_end_whole() -> None:
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    assert described(await sent(file))[2] == b"456789"
    file.seek(0, io.SEEK_END)
    assert described(await sent(file))[2] == b"0123456789"
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(b"spooled")
        assert described(await sent(spooled))[2] == b"spooled"


@pytest.mark.parametrize("size", [1, 262_143, 262_144, 262_145, 3_000_000])
async def test_what_can_be_read_only_once_is_sent_whole(size: int) -> None:
    data = os.urandom(size)
    assert described(await sent(("a.txt", Lines(data))))[2] == data
    assert described(await sent(("a.txt", io.BufferedReader(Lines(data)))))[2] == data


async def test_a_pipe_is_sent_whole(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    feeding = threading.Thread(target=lambda: (os.write(writing, b"x" * 50_000), os.close(writing)))
    feeding.start()
    with os.fdopen(reading, "rb") as pipe:
        assert described(await sent(("a.txt", pipe)))[2] == b"x" * 50_000
    feeding.join()
    named = tmp_path / "pipe.txt"
    os.mkfifo(named)
    feeding = threading.Thread(target=named.write_bytes, args=(b"y" * 50_000,))
    feeding.start()
    assert described(await sent(named)) == ("pipe.txt", "text/plain", b"y" * 50_000)
    feeding.join()


async def test_an_endless_stream_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_sources, "MAX_STREAM_BYTES", 1_000_000)
    service = Service()
    async with client_of(service) as client:
        for endless in (Path("/dev/zero"), ("a.txt", Lines(bytes(1_000_001)))):
            with pytest.raises(ConfigurationError, match="has more than 1000000 bytes"):
                await client.files.create(file=endless, purpose="file-extract")  # type: ignore[arg-type]
    assert service.requests == []


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("a.pdf", r"Path\(\.\.\.\)"),
        (io.StringIO("x"), r"open\(\.\.\., 'rb'\)"),
        (None, "not NoneType"),
        ({"a": 1}, "not dict"),
        (("a.pdf",), "not 1 items"),
        (("a.pdf", b"x", None, None, None), "not 5 items"),
        ((7, b"x"), "the name must be a str or None, not int"),
        (("a.pdf", b"x", 7), "the media type must be a str or None, not int"),
        (("a.pdf", b"x", None, [1]), "a dict of texts"),
        (("a.pdf", b"x", None, {"X-A": 1}), "a dict of texts"),
        (("a.pdf", "text"), r"\.encode\(\) for the text itself"),
    ],
)
async def test_what_cannot_be_sent_is_a_type_error_with_advice(file: Any, words: str) -> None:
    service = Service()
    async with client_of(service) as client:
        with pytest.raises(TypeError, match=words):
            await client.files.create(file=file, purpose="file-extract")
    assert service.requests == []


class Texts:
    """Open as text, though one cannot see that."""

    def read(self, size: int = -1) -> str:
        return ""


class NothingYet:
    """In non-blocking mode."""

    def read(self, size: int = -1) -> bytes | None:
        return b"" if size == 0 else None


class Awaited:
    async def read(self, size: int = -1) -> bytes:
        return b""


class AwaitedInDisguise:
    def read(self, size: int = -1) -> Any:
        return Awaited().read(size)


async def test_file_objects_that_give_no_bytes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x")
    closed = io.BytesIO(b"x")
    closed.close()
    with path.open("ab") as unreadable:
        cases: list[tuple[Any, type[Exception], str]] = [
            (Texts(), TypeError, "open as text"),
            (Awaited(), TypeError, "read by coroutines"),
            (AwaitedInDisguise(), TypeError, "read by coroutines"),
            (NothingYet(), UploadError, "non-blocking"),
            (closed, ConfigurationError, "closed file"),
            (unreadable, ConfigurationError, "read"),
        ]
        async with client_of(service := Service()) as client:
            for file, kind, words in cases:
                with pytest.raises(kind, match=words):
                    await client.files.create(file=("a.txt", file), purpose="file-extract")
    assert service.requests == []


async def test_a_file_that_is_missing_or_no_file_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(service := Service()) as client:
        for path, words in ((tmp_path / "no.pdf", "no such file"), (tmp_path, "directory")):
            with pytest.raises(ConfigurationError, match=words) as caught:
                await client.files.create(file=path, purpose="file-extract")
            assert str(path) in str(caught.value)
        for error, words in ((PermissionError(13, "no"), "may not read it"), (OSError(5, "bad disk"), "bad disk")):
            monkeypatch.setattr(Path, "open", lambda *args, error=error, **more: (_ for _ in ()).throw(error))
            with pytest.raises(ConfigurationError, match=words):
                await client.files.create(file=tmp_path / "a.pdf", purpose="file-extract")
    assert service.requests == []


@pytest.mark.parametrize(
    ("name", "purpose", "words"),
    [
        ("a.png", "batch", r"names that end in \.jsonl"),
        ("a.json", "batch", r"names that end in \.jsonl"),
        ("a.mp4", "image", r"\.png, \.jpeg"),
        ("a.svg", "image", r"\.png, \.jpeg"),
        ("a", "image", r"file=\('name\.png', data\)"),
        ("a.png", "video", r"\.mp4, \.mpeg"),
        ("a.MP4", "file-extract", "purpose='video'"),
    ],
)
async def test_a_format_that_is_not_documented_is_refused_unless_told_otherwise(
    name: str, purpose: str, words: str
) -> None:
    async with client_of(service := Service()) as client:
        with pytest.raises(ConfigurationError, match=words):
            await client.files.create(file=(name, b"x"), purpose=purpose)
        assert service.requests == []
        await client.files.create(file=(name, b"x"), purpose=purpose, check=False)
        assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("file", "purpose"),
    [
        (("a.JSONL", b"{}"), "batch"),
        (b"{}", "batch"),
        (("a.WebP", b"x"), "image"),
        (("photo", b"x", "image/png"), "image"),
        (("a.mov", b"x"), "video"),
        (("Makefile", b"x"), "file-extract"),
        (("a.png", b"x"), "file-extract"),
        (("a.mp4", b"x"), "purpose-of-tomorrow"),
    ],
)
async def test_what_is_documented_or_not_known_here_passes(file: Any, purpose: str) -> None:
    part = await sent(file, purpose)
    if purpose == "batch":
        assert part.get_filename().lower().endswith(".jsonl")


async def test_empty_and_too_large_files_are_refused_unless_told_otherwise(tmp_path: Path) -> None:
    empty, large = tmp_path / "empty.txt", tmp_path / "large.txt"
    empty.touch()
    with large.open("wb") as file:
        file.truncate(104_857_601)
    async with client_of(service := Service()) as client:
        for given, words in ((empty, "is empty"), (b"", "is empty"), (large, r"104857601 bytes.*\(100 MB\)")):
            with pytest.raises(ConfigurationError, match=words):
                await client.files.create(file=given, purpose="file-extract")
        assert service.requests == []
        await client.files.create(file=empty, purpose="file-extract", check=False)
    assert described(form_of(service.requests[0])["file"])[2] == b""


async def test_a_bad_purpose_progress_or_keyword_is_a_type_error() -> None:
    async with client_of(service := Service()) as client:
        with pytest.raises(TypeError, match="purpose must be a str"):
            await client.files.create(file=b"x", purpose=7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="progress must be a function"):
            await client.files.create(file=b"x", purpose="file-extract", progress=7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="'purpos'"):
            await client.files.create(file=b"x", purpose="file-extract", purpos=1)  # type: ignore[call-arg]
    assert service.requests == []


async def test_a_header_that_would_break_the_part_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x")
    async with client_of(service := Service()) as client:
        for given in (path, Lines(b"x")):
            with pytest.raises(ConfigurationError, match="headers of the file"):
                await client.files.create(file=("a.txt", given, "text/plain\r\nX-A: 1"), purpose="file-extract")
    assert service.requests == []


async def test_headers_of_the_caller_cannot_break_the_form() -> None:
    service = Service()
    headers = {"content-type": "multipart/form-data", "Content-Length": "5", "Transfer-Encoding": "chunked", "X-A": "1"}
    async with client_of(service, default_headers={"Content-Type": "text/plain", "X-B": "2"}) as client:
        await client.files.create(file=b"hello", purpose="file-extract", extra_headers=headers)
        await client.files.create(file=b"hello", purpose="file-extract", extra_headers={"Content-Type": None})
    for request in service.requests:
        assert form_of(request)["file"].get_payload(decode=True) == b"hello"
        assert not {"content-length", "transfer-encoding"} & {name.lower() for name in request.headers}
    assert (service.requests[0].headers["x-a"], service.requests[0].headers["x-b"]) == ("1", "2")


class Purpose(StrEnum):
    EXTRACT = "file-extract"


async def test_more_fields_and_options_go_along() -> None:
    service = Service()
    async with client_of(service) as client:
        await client.files.create(
            file=b"x",
            purpose=Purpose.EXTRACT,
            extra_body={"note": "text", "expires_after": {"seconds": 60}, "flag": True},
            extra_query={"a": 1},
            timeout=Timeout(total=5),
        )
    request = service.requests[0]
    parts = form_of(request)
    texts = {name: part.get_payload() for name, part in parts.items() if name != "file"}
    assert texts == {"purpose": "file-extract", "note": "text", "expires_after": '{"seconds": 60}', "flag": "true"}
    assert request.url.endswith("/files?a=1")
    assert request.timeout.total == 5


async def test_progress_is_told_of_every_piece() -> None:
    told: list[tuple[int, int]] = []

    async def slowly(sent: int, total: int) -> None:
        await asyncio.sleep(0)
        told.append((sent, total))

    data = bytes(600_000)
    for progress in (lambda *numbers: told.append(numbers), slowly):
        told.clear()
        await sent(("a.txt", data), progress=progress)
        assert told == [(262_144, 600_000), (524_288, 600_000), (600_000, 600_000)]


async def test_what_progress_raises_ends_the_call() -> None:
    def progress(sent: int, total: int) -> None:
        raise KeyError("a bug of the caller")

    with pytest.raises(KeyError, match="a bug of the caller"):
        await sent(("a.txt", b"x"), progress=progress)


async def test_the_deadline_of_the_call_runs_while_the_file_is_looked_at() -> None:
    stop = threading.Event()

    class Slow:
        def read(self, size: int = -1) -> bytes:
            stop.wait(5)
            return b""

    async with client_of(service := Service()) as client:
        with pytest.raises(APITimeoutError, match=r"total timeout of 0\.1 s ran out while the file was read") as caught:
            await client.files.create(file=("a.txt", Slow()), purpose="file-extract", timeout=0.1)  # type: ignore[arg-type]
    stop.set()
    assert not caught.value.retryable
    assert service.requests == []


async def test_without_a_deadline_a_file_may_take_its_time() -> None:
    assert described(await sent(("a.txt", Lines(b"x")), timeout=None))[2] == b"x"


# --- list, retrieve, delete


async def test_files_are_listed_page_by_page_where_there_are_pages() -> None:
    pages = ({"object": "list", "data": [FILE], "has_more": True}, {"object": "list", "data": [{**FILE, "id": "f-2"}]})
    service = Service(*pages)
    async with client_of(service) as client:
        assert [file.id async for file in client.files.list(limit=1, order="asc", purpose="batch")] == ["f-1", "f-2"]
        page = await client.files.list()
    assert [file.id for file in page.data] == ["f-2"]
    queries = [dict(parse_qsl(urlsplit(request.url).query)) for request in service.requests]
    first = {"limit": "1", "order": "asc", "purpose": "batch"}
    assert queries == [first, {**first, "after": "f-1"}, {}]
    assert {request.path for request in service.requests} == {"/v1/files"}


async def test_a_file_is_looked_up_and_deleted() -> None:
    service = Service(FILE, {"id": "f-1", "object": "file", "deleted": True}, Response(204))
    async with client_of(service) as client:
        file = await client.files.retrieve("f-1", extra_query={"a": 1})
        assert (await client.files.delete("f-1")).deleted
        assert (await client.files.delete("f-2")).id == "f-2"
    assert file.id == "f-1"
    assert service.asked == [("GET", "/files/f-1?a=1"), ("DELETE", "/files/f-1"), ("DELETE", "/files/f-2")]


@pytest.mark.parametrize("call", ["retrieve", "delete", "content", "retrieve_content", "wait_for_processing"])
async def test_ids_lead_nowhere_else_and_keywords_are_known(call: str) -> None:
    service = Service(Response(404, JSON, b'{"error":{"message":"no","type":"x"}}'))
    async with client_of(service) as client:
        method = getattr(client.files, call)
        for bad in ("", " ", "..", ".", None):
            with pytest.raises(ConfigurationError, match="file_id must be a non-empty id"):
                await method(bad)
        with pytest.raises(TypeError, match="unexpected keyword"):
            await method("f-1", nonsense=1)
        assert service.requests == []
        with pytest.raises(NotFoundError):
            await method("../a?b#c%2e\r\n")
    assert service.requests[0].path.startswith("/v1/files/..%2Fa%3Fb%23c%252e%0D%0A")


# --- content


async def test_content_speaks_the_words_of_openai(tmp_path: Path) -> None:
    service = Service(
        Response(
            200, {"Content-Type": "text/plain; charset=utf-8", "Msh-Request-Id": "r-1"}, "äbc\r\nd\u2028e\n".encode()
        )
    )
    async with client_of(service) as client:
        content = await client.files.content("f-1")

    whole = "äbc\r\nd\u2028e\n"
    assert service.asked == [("GET", "/files/f-1/content")]
    assert (content.content, content.text) == (whole.encode(), whole)
    assert content.read() == await content.aread() == content.content
    assert b"".join(content.iter_bytes()) == b"".join(content.iter_bytes(chunk_size=3)) == content.content
    assert [len(piece) for piece in content.iter_bytes(3)] == [3, 3, 3, 3]
    assert list(content.iter_text(4)) == [whole[:4], whole[4:8], whole[8:]]
    assert list(content.iter_lines()) == ["äbc", "d\u2028e"]
    assert [piece async for piece in content.aiter_bytes(6)] == list(content.iter_bytes(6))
    assert [piece async for piece in await content.aiter_bytes(6)] == list(content.iter_bytes(6))
    assert [text async for text in content.aiter_text()] == [whole]
    assert [line async for line in content.aiter_lines()] == ["äbc", "d\u2028e"]
    assert (content.status_code, content.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert (content.encoding, content.charset_encoding, content.request_id) == ("utf-8", "utf-8", "r-1")
    assert content.response.status == 200
    for write in (content.write_to_file, content.stream_to_file):
        write(tmp_path / "a.txt")
        assert (tmp_path / "a.txt").read_bytes() == content.content
    await content.astream_to_file(str(tmp_path / "b.txt"), chunk_size=1)
    assert (tmp_path / "b.txt").read_bytes() == content.content
    content.close()
    await content.aclose()
    assert repr(content) == f"FileContent({len(content.content)} bytes)"
    assert pickle.loads(pickle.dumps(content)).content == content.content


async def test_content_that_is_empty_or_oddly_encoded_is_read_all_the_same() -> None:
    service = Service(
        Response(200),
        Response(200, {"Content-Type": "text/plain; charset=latin-1"}, b"\xe4"),
        Response(200, {"Content-Type": "text/plain; charset=nonsense"}, b"\xe4\xc3\xa4"),
    )
    async with client_of(service) as client:
        empty, latin, odd = [await client.files.content("f-1") for _ in range(3)]
    assert (list(empty.iter_bytes()), list(empty.iter_text(5)), list(empty.iter_lines()), empty.text) == (
        [],
        [],
        [],
        "",
    )
    assert (empty.encoding, empty.charset_encoding) == ("utf-8", None)
    assert latin.text == "ä"
    assert (odd.text, odd.encoding) == ("\ufffdä", "nonsense")
    with pytest.raises(ValueError, match="chunk_size must be 1 or more"):
        odd.iter_bytes(0)


async def test_what_the_service_read_in_a_file_is_told_in_parts() -> None:
    service = Service(Response(200, {"Content-Type": "text/plain"}, EXTRACTED))
    async with client_of(service) as client:
        content = await client.files.content("f-1")
    assert (content.extracted.content, content.extracted.file_type) == ("Page 1", "application/pdf")
    assert content.json()["title"] == ""


@pytest.mark.parametrize(
    "text", ["plain text", '{"custom_id": "a"}\n{"custom_id": "b"}', '{"error": {"message": "x"}}']
)
async def test_other_content_has_nothing_that_was_read_in_it(text: str) -> None:
    async with client_of(Service(Response(200, {}, text))) as client:
        content = await client.files.content("f-1")
    with pytest.raises(APIResponseValidationError, match="only the purpose 'file-extract'") as caught:
        _ = content.extracted
    assert text not in repr(vars(caught.value))


async def test_content_has_a_bound_of_its_own() -> None:
    async with client_of(Service(*(Response(200, {}, b"x" * 11) for _ in range(2)))) as client:
        client = client.with_options(bounds=Bounds(max_file_bytes=10, max_body_bytes=100))
        with pytest.raises(ResponseTooLargeError, match="with_streaming_response") as whole:
            await client.files.content("f-1")
        with pytest.raises(ResponseTooLargeError) as raw:
            await client.files.with_raw_response.content("f-1")
    assert whole.value.bound == raw.value.bound == "max_file_bytes"


async def test_the_older_name_gives_the_text() -> None:
    async with client_of(Service(Response(200, {}, EXTRACTED))) as client:
        assert await client.files.retrieve_content("f-1") == EXTRACTED


async def test_every_call_has_its_raw_form(tmp_path: Path) -> None:
    service = Service(FILE)
    async with client_of(service) as client:
        raw = client.files.with_raw_response
        created = await raw.create(file=b"hello", purpose="file-extract")
        assert (created.status_code, created.parse().id) == (200, "f-1")
        assert (await raw.retrieve("f-1")).parse().id == "f-1"
        assert (await raw.delete("f-1")).parse().id == "f-1"
        content = await raw.content("f-1")
        assert json.loads(content.parse().text) == FILE
        async with client.files.with_streaming_response.content("f-1") as streamed:
            await streamed.stream_to_file(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_bytes()) == FILE


# --- wait_for_processing


async def test_a_file_is_waited_for_until_the_service_is_done() -> None:
    service = Service({**FILE, "status": "created"}, {**FILE, "status": "processing"}, {**FILE, "status": "error"})
    async with client_of(service) as client:
        file = await client.files.wait_for_processing("f-1", poll_interval=0.001)
    assert file.status == "error"
    assert service.asked == [("GET", "/files/f-1")] * 3


async def test_a_wait_that_is_over_is_told() -> None:
    async with client_of(service := Service({**FILE, "status": "processing"})) as client:
        with pytest.raises(TimeoutError, match=r"File f-1 is still 'processing' after 0\.05 s") as caught:
            await client.files.wait_for_processing("f-1", poll_interval=0.01, max_wait_seconds=0.05)
    assert isinstance(caught.value, MoonshotError)
    assert not caught.value.retryable
    assert 2 <= len(service.requests) <= 8


@pytest.mark.parametrize("times", [{"poll_interval": 0}, {"max_wait_seconds": -1}, {"poll_interval": float("nan")}])
async def test_a_wait_of_no_time_is_refused(times: dict[str, float]) -> None:
    async with client_of(service := Service()) as client:
        with pytest.raises(ConfigurationError, match="more than 0 seconds"):
            await client.files.wait_for_processing("f-1", **times)
    assert service.requests == []


# --- extract

STEPS = [("POST", "/files"), ("GET", "/files/f-1/content"), ("DELETE", "/files/f-1")]
DELETED = {"id": "f-1", "object": "file", "deleted": True}
REFUSAL = {"error": {"message": "no", "type": "server_error"}}


async def test_a_document_is_read_and_deleted() -> None:
    service = Service(FILE, Response(200, {}, EXTRACTED), DELETED)
    async with client_of(service) as client:
        assert await client.files.extract(("a.pdf", b"%PDF"), extra_headers={"X-A": "1"}) == EXTRACTED
    assert service.asked == STEPS
    assert {request.headers["x-a"] for request in service.requests} == {"1"}
    upload, reading, deleting = (request.deadline or 0 for request in service.requests)
    assert abs(upload - reading) < 1
    assert deleting < upload


async def test_a_document_that_cannot_be_read_is_deleted_all_the_same() -> None:
    service = Service(FILE, Response(400, JSON, json.dumps(REFUSAL)), DELETED)
    async with client_of(service) as client:
        with pytest.raises(APIStatusError):
            await client.files.extract(("a.pdf", b"%PDF"))
    assert service.asked == STEPS


async def test_a_document_that_cannot_be_uploaded_needs_no_deleting() -> None:
    service = Service(Response(400, JSON, json.dumps(REFUSAL)))
    async with client_of(service) as client:
        with pytest.raises(APIStatusError):
            await client.files.extract(("a.pdf", b"%PDF"))
        with pytest.raises(TypeError, match="unexpected keyword"):
            await client.files.extract(b"x", purpose="image")  # type: ignore[call-arg]
    assert service.asked == STEPS[:1]


async def test_what_keeps_a_document_from_being_deleted_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(FILE, Response(200, {}, EXTRACTED), Response(500, JSON, json.dumps(REFUSAL)))
    async with client_of(service) as client:
        with caplog.at_level(logging.WARNING, "moonshot_async"):
            assert await client.files.extract(("a.pdf", b"%PDF")) == EXTRACTED
    assert [record.getMessage() for record in caplog.records] == ["file f-1 was not deleted: InternalServerError"]


@pytest.mark.parametrize("scope", [False, True])
async def test_a_call_that_is_cancelled_deletes_its_document(scope: bool) -> None:
    reading = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        reading.set()
        await asyncio.Event().wait()
        yield b""

    service = Service(FILE, Response(200, {}, body()), DELETED)
    async with client_of(service) as client:
        if scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.files.extract, ("a.pdf", b"%PDF"))
                await reading.wait()
                group.cancel_scope.cancel()
        else:
            call = asyncio.create_task(client.files.extract(("a.pdf", b"%PDF")))
            await reading.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert service.asked == STEPS
