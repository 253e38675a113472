"""Files on their way over a socket: whole or not at all, again from the beginning, and at no cost for anyone else."""

import asyncio
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, Retry, Timeout
from moonshot_async.errors import APIConnectionError, APIStatusError, APITimeoutError, UploadError
from moonshot_async.resources import upload_reading
from tests.scripted import Peer, ScriptedServer, Start, answer

pytestmark = pytest.mark.usefixtures("no_leaks")

PIECE = 2**18
# More than what the buffers of two sockets hold.
SIZE = 24 * 2**20 + 7
ACCEPTED = answer(b'{"id": "f-1"}')


def open_files() -> int:
    """How many descriptors this process holds."""
    return len(list(Path("/dev/fd").iterdir()))


async def none_new(before: int) -> None:
    """Wait until no more descriptors are open than before."""
    for _ in range(500):
        if open_files() <= before:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("descriptors are left behind")


async def at_once(seconds: float) -> None:
    """A retry that does not wait."""


def client_of(server: ScriptedServer, **options: Any) -> AsyncMoonshot:
    options = {"max_retries": 0, **options}
    return AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, **options)


@pytest.fixture(scope="module")
def data() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def path(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    return path


class Stream(io.RawIOBase):
    """Can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


def inside(body: bytes) -> bytes:
    """What the form holds as its last part."""
    boundary = body.partition(b"\r\n")[0]
    return body.rpartition(b"\r\n" + boundary + b"--")[0].rpartition(boundary)[2].partition(b"\r\n\r\n")[2]


def length_of(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split()[0])


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def accepting(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(ACCEPTED)


def given_as(kind: str, path: Path, data: bytes, stack: contextlib.ExitStack) -> Any:
    match kind:
        case "path":
            return path
        case "bytes":
            return ("a.txt", data)
        case "file":
            return stack.enter_context(path.open("rb"))
        case _:
            return ("a.txt", Stream(data))


KINDS = ["path", "bytes", "file", "stream"]


# --- whole


@pytest.mark.parametrize("kind", KINDS)
async def test_the_bytes_arrive_as_they_are(scripted: Start, kind: str, path: Path, data: bytes) -> None:
    server = await scripted(accepting)
    with contextlib.ExitStack() as stack:
        async with client_of(server) as client:
            await client.files.create(file=given_as(kind, path, data, stack), purpose="file-extract")
    ((head, body),) = server.requests
    assert digest(inside(body)) == digest(data)
    assert b"transfer-encoding" not in head.lower()
    assert b"multipart/form-data; boundary=" in head


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [0, 1000, 5_000_000])
async def test_after_a_reset_on_the_way_the_whole_file_is_sent_again(
    scripted: Start, kind: str, after: int, path: Path, data: bytes
) -> None:
    async def play(peer: Peer) -> None:
        if peer.number < 3:
            await peer.head()
            await peer._reader.readexactly(after)
            peer.reset()
        else:
            await accepting(peer)

    server, before = await scripted(play), open_files()
    told: list[int] = []
    with contextlib.ExitStack() as stack:
        file = given_as(kind, path, data, stack)
        async with client_of(server, middleware=[Retry(2, sleep=at_once)]) as client:
            await client.files.create(file=file, purpose="file-extract", progress=lambda sent, total: told.append(sent))
    assert len(server.peers) == 3
    ((_, body),) = server.requests
    assert digest(inside(body)) == digest(data)
    assert told[-1] == SIZE
    # Once for each sending it began anew.
    assert told.count(PIECE) == sum(1 for sent in told if sent == PIECE) >= 1
    last = len(told) - 1 - told[::-1].index(PIECE)
    assert told[last:] == [*range(PIECE, SIZE, PIECE), SIZE]
    await none_new(before + 1)


async def test_a_file_object_is_wound_back_to_where_it_stood(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        if peer.number == 1:
            await peer.head()
            await peer._reader.readexactly(2_000_000)
            peer.reset()
        else:
            await accepting(peer)

    server = await scripted(play)
    data = os.urandom(8_000_000)
    file = io.BytesIO(data)
    file.seek(1_000_000)
    async with client_of(server, middleware=[Retry(2, sleep=at_once)]) as client:
        await client.files.create(file=("a.txt", file), purpose="file-extract")
    assert digest(inside(server.requests[0][1])) == digest(data[1_000_000:])


# --- or not at all


Change = Callable[[Path], object]


def truncate(path: Path) -> None:
    os.truncate(path, 10_000_000)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("kind", ["path", "file"])
@pytest.mark.parametrize("change", [truncate, append])
async def test_a_file_that_changes_its_size_on_the_way_is_no_upload(
    scripted: Start, kind: str, change: Change, path: Path, data: bytes
) -> None:
    missing = 0

    async def play(peer: Peer) -> None:
        nonlocal missing
        missing = length_of(await peer.head())
        missing -= len(await peer._reader.readexactly(1_000_000))
        change(path)
        while some := await peer._reader.read(2**20):
            missing -= len(some)

    server, before = await scripted(play), open_files()
    with contextlib.ExitStack() as stack:
        async with client_of(server, max_retries=2) as client:
            with pytest.raises(UploadError, match=f"changed while it was uploaded: it had {SIZE} bytes") as caught:
                await client.files.create(file=given_as(kind, path, data, stack), purpose="file-extract")
        await server.until(lambda: server.open == 0)
    assert not caught.value.retryable
    assert len(server.peers) == 1
    assert missing > 0
    await none_new(before)


@pytest.mark.parametrize(
    ("change", "words"),
    [(append, f"and has {SIZE + 1} now"), (os.remove, "cannot be read any more: .*No such file")],
)
async def test_a_file_that_is_another_one_when_it_is_sent_again_is_no_upload(
    scripted: Start, change: Change, words: str, path: Path
) -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        await peer._reader.readexactly(1000)
        change(path)
        peer.reset()

    server, before = await scripted(play), open_files()
    async with client_of(server, middleware=[Retry(2, sleep=at_once)]) as client:
        with pytest.raises(UploadError, match=words):
            await client.files.create(file=path, purpose="file-extract")
    await server.until(lambda: server.open == 0)
    await none_new(before)


@pytest.mark.parametrize("slow", [False, True])
async def test_several_pieces_are_read_at_a_time_unless_that_takes_long(
    scripted: Start, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_reading, "_SECONDS", -1.0 if slow else 60.0)
    told: list[str] = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if size and size > 1:
                told.append("read")
            return super().read(size)

    server = await scripted(accepting)
    async with client_of(server) as client:
        await client.files.create(
            file=("a.txt", File(bytes(10 * 256 * 1024 + 2))),
            purpose="file-extract",
            progress=lambda sent, size: told.append("sent"),
        )

    if slow:
        assert told == ["read", "sent"] * 11
    else:
        assert told == ["read"] * 8 + ["sent"] * 8 + ["read"] * 3 + ["sent"] * 3


async def test_a_file_object_that_is_closed_on_the_way_is_no_upload(scripted: Start, path: Path) -> None:
    server = await scripted(accepting)
    file = path.open("rb")
    async with client_of(server) as client:
        with pytest.raises(UploadError, match=r"cannot be read any more: .*closed file"):
            await client.files.create(
                file=file, purpose="file-extract", progress=lambda sent, total: file.close() if sent > 10**6 else None
            )


async def test_a_file_object_that_gives_more_than_was_asked_for_is_no_upload(scripted: Start) -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size) + b"x" * bool(size)

    server = await scripted(accepting)
    async with client_of(server) as client:
        with pytest.raises(UploadError, match="has more now"):
            await client.files.create(file=("a.txt", Generous(b"12345")), purpose="file-extract")


async def test_what_progress_raises_comes_out_and_nothing_is_sent_again(scripted: Start, path: Path) -> None:
    def progress(sent: int, total: int) -> None:
        raise KeyError("a bug of the caller")

    server, before = await scripted(accepting), open_files()
    async with client_of(server, max_retries=2) as client:
        with pytest.raises(KeyError, match="a bug of the caller"):
            await client.files.create(file=path, purpose="file-extract", progress=progress)
    assert len(server.peers) == 1
    await server.until(lambda: server.open == 0)
    await none_new(before)


# --- nothing stays open


async def reads_a_little(peer: Peer) -> None:
    await peer.head()
    await peer._reader.readexactly(100_000)
    peer.stop_reading()
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["cancelled", "late", "silent"])
async def test_an_upload_that_is_ended_leaves_nothing_open(
    scripted: Start, kind: str, ending: str, path: Path, data: bytes
) -> None:
    server = await scripted(reads_a_little)
    before = open_files()
    timeout = {"cancelled": Timeout(), "late": Timeout(total=0.15), "silent": Timeout(write=0.1)}[ending]
    async with client_of(server, timeout=timeout) as client:
        for _ in range(10):
            moving = asyncio.Event()
            with contextlib.ExitStack() as stack:
                file = given_as(kind, path, data, stack)
                call = asyncio.create_task(
                    client.files.create(file=file, purpose="file-extract", progress=lambda *_: moving.set())  # noqa: B023
                )
                if ending == "cancelled":
                    await moving.wait()
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                else:
                    with pytest.raises(APITimeoutError) as caught:
                        await call
                    assert caught.value.clock == ("total" if ending == "late" else "write")
    # The server's ends of the connections are closed by the fixture.
    await none_new(before + server.open)


@pytest.mark.parametrize("ending", ["refused", "reset"])
async def test_a_failed_upload_leaves_nothing_open(scripted: Start, ending: str, path: Path) -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        await peer._reader.readexactly(1_000_000)
        if ending == "refused":
            await peer.send(answer(b'{"error":{"message":"too large","type":"x"}}', status=b"413 Too Large"))
        peer.reset()

    server, before = await scripted(play), open_files()
    async with client_of(server) as client:
        for _ in range(10):
            kind = APIStatusError if ending == "refused" else APIConnectionError
            with pytest.raises(kind) as caught:
                async with asyncio.timeout(5):
                    await client.files.create(file=path, purpose="file-extract")
            assert getattr(caught.value, "status_code", 413) == 413
    await server.until(lambda: server.open == 0)
    await none_new(before)


async def test_a_read_that_nobody_waits_for_closes_its_file_when_it_is_done(scripted: Start, tmp_path: Path) -> None:
    server = await scripted(accepting)
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    before = open_files()
    async with client_of(server) as client:
        call = asyncio.create_task(client.files.create(file=pipe, purpose="file-extract"))
        # Opening waits for the other side.
        writer = await asyncio.to_thread(pipe.open, "wb", buffering=0)
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # The thread waits for bytes still, and nothing was closed under it.
        assert open_files() > before + 1
        writer.close()
        await none_new(before)
    assert server.peers == []


async def test_a_file_that_is_opened_too_late_is_not_used(
    scripted: Start, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, before = await scripted(accepting), open_files()
    opening, go = threading.Event(), threading.Event()
    original = Path.open

    def slowly(self: Path, *args: Any, **more: Any) -> Any:
        opening.set()
        go.wait(5)
        return original(self, *args, **more)

    monkeypatch.setattr(Path, "open", slowly)
    async with client_of(server) as client:
        call = asyncio.create_task(client.files.create(file=path, purpose="file-extract"))
        await asyncio.to_thread(opening.wait, 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        await none_new(before)
    assert server.peers == []


# --- at no cost for anyone else

MEASURE = """
    import asyncio, hashlib, os, resource, subprocess, sys, time, tracemalloc
    from pathlib import Path
    from moonshot_async import AsyncMoonshot

    async def main(url, path):
        async with AsyncMoonshot(api_key="sk-canary-01", base_url=url, max_retries=0) as client:
            # What is imported and allocated once is no part of it.
            await client.files.create(file=("a.txt", b"x"), purpose="file-extract")
            gaps = []

            async def tick():
                last = time.perf_counter()
                while True:
                    await asyncio.sleep(0.001)
                    now = time.perf_counter()
                    gaps.append(now - last - 0.001)
                    last = now

            ticker = asyncio.create_task(tick())
            await asyncio.sleep(0)
            tracemalloc.start()
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await client.files.create(file=Path(path), purpose="file-extract")
            traced = tracemalloc.get_traced_memory()[1]
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss
            ticker.cancel()
            # The third longest: twice the machine may have been busy with something else.
            print(traced, rss * 1024, sorted(gaps)[-3])

    asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_hundred_megabytes_cost_no_memory_and_do_not_hold_up_the_event_loop(
    scripted: Start, tmp_path: Path
) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(2**20))
    arrived = hashlib.sha256()

    async def play(peer: Peer) -> None:
        while True:
            length = length_of(await peer.head())
            while length:
                some = await peer._reader.read(min(length, 2**20))
                length -= len(some)
                arrived.update(some)
            await peer.send(ACCEPTED)

    server = await scripted(play)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(MEASURE), server.url, str(path), stdout=subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    traced, resident, gap = (float(number) for number in out.split())
    assert traced < 8 * 2**20
    assert resident < 8 * 2**20
    assert gap < 0.02
