"""One client in several processes, threads and event loops: what was opened in one is left alone by the others."""

import asyncio
import gc
import os
import shutil
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from moonshot_async import AiohttpTransport, AsyncMoonshot
from moonshot_async.errors import ClientClosedError, ConfigurationError, StreamInterruptedError
from moonshot_async.transports import aiohttp as aiohttp_module
from moonshot_async.transports import forks as forks_module
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Play,
    ScriptedServer,
    Start,
    answer,
    chunk,
    endless,
    events,
    silent,
)

T = TypeVar("T")
NewLoop = Callable[[], asyncio.AbstractEventLoop]

pytestmark = pytest.mark.usefixtures("no_leaks")

ROOT = Path(__file__).parent.parent


def serving() -> Play:
    """Answer; begin a stream, or make wait, until somebody asks to go on."""
    turns = [asyncio.Event()]

    async def play(peer: Peer) -> None:
        while True:
            body = await peer.request()
            if b"go on" in body:
                turns[-1].set()
                turns.append(asyncio.Event())
            if b'"stream":true' in body:
                turn = turns[-1]
                await peer.send(SSE_HEAD + chunk(events(DELTA)))
                await turn.wait()
                await peer.send(chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
            else:
                if b"wait" in body:
                    await turns[0].wait()
                await peer.send(answer(COMPLETION))

    return play


async def start(
    server: ScriptedServer, *arguments: str, flags: tuple[str, ...] = (), **environment: str
) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *flags,
        "-m",
        "tests.lone_programs",
        *arguments,
        cwd=ROOT,
        env=os.environ | {"MOONSHOT_BASE_URL": server.url, "PYTHONPATH": str(ROOT)} | environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )


async def said(process: asyncio.subprocess.Process) -> str:
    """What a program has said that ended well, and complained of nothing."""
    try:
        async with asyncio.timeout(60):
            # Without any input, Python 3.11 would leave its standard input open.
            out, complaints = await process.communicate(b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert complaints.decode() == ""
    assert process.returncode == 0
    return out.decode()


# --- forks


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that nobody signed, and its key."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no forks")


@forks
@pytest.mark.parametrize(
    ("child", "loop", "tls"),
    [
        ("exits", "asyncio", False),
        ("exits", "asyncio", True),
        ("drops", "asyncio", True),
        ("asks", "asyncio", False),
        ("asks", "uvloop", True),
        ("leaves", "uvloop", False),
    ],
)
async def test_a_child_leaves_what_was_open_to_its_parent(
    child: str, loop: str, tls: bool, request: pytest.FixtureRequest
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    context, environment = None, {"LOOP": loop}
    if tls:
        certificate = request.getfixturevalue("certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        environment["CERTIFICATE"] = certificate[0]
    async with ScriptedServer(serving(), context) as server:
        heard = await said(await start(server, "fork_amid_calls", child, **environment))
    assert heard.splitlines()[-1] == "parent: whole"
    if child == "asks":
        assert "child: ['x', 'x', 'x']" in heard
        assert "child: This answer belongs to another event loop or process" in heard


@forks
async def test_workers_that_were_forked_have_connections_of_their_own(scripted: Start) -> None:
    server = await scripted(serving())
    await said(await start(server, "prefork"))
    assert sorted(len(peer.received) for peer in server.peers) == [1, 1, 3]
    for peer in server.peers:
        assert len({b"from a worker" in body for _, body in peer.received}) == 1


@forks
async def test_a_connection_that_its_process_closes_is_closed_although_a_child_lives(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        body = await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)) if b'"stream":true' in body else answer(COMPLETION))
        await peer.gone()

    server = await scripted(play)
    process = await start(server, "close_beside_a_child")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"closed\n"
    await server.until(lambda: server.open == 0, seconds=1)
    await said(process)


async def test_every_kind_of_process_can_use_the_client_of_a_module(scripted: Start) -> None:
    server = await scripted(serving())
    await said(await start(server, "processes"))
    workers = [peer for peer in server.peers if b"from a worker" in peer.received[0][1]]
    assert len(workers) == len({peer.number for peer in workers}) >= 1
    assert all(len(peer.received) == 1 for peer in workers)


# --- ends


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_programs_that_close_nothing_end_in_silence(scripted: Start, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    server = await scripted(serving())
    # In the programs of the second row the event loop itself is left open, or with connections in it, of which it tells
    # whoever asks for warnings.
    told_all, told_less = ["forgets_a_stream"], ["closes_the_loop_alone", "forgets_a_thread"]
    if loop == "asyncio":
        told_all += ["forgets_the_client", "leaves_in_the_middle"]
        told_less += ["forgets_the_loop"]
    programs = [await start(server, name, flags=("-W", "always"), LOOP=loop) for name in told_all]
    programs += [await start(server, name, LOOP=loop) for name in told_less]
    assert await asyncio.gather(*map(said, programs)) == [""] * len(programs)


async def test_a_loop_that_is_closed_alone_takes_its_connections_with_it(scripted: Start) -> None:
    program = await start(await scripted(serving()), "closes_the_loop_alone", flags=("-W", "always"))
    assert await said(program) == ""


# --- threads and event loops in one process


class Thread:
    """An event loop in another thread, in which things can be run from here."""

    async def __aenter__(self) -> "Thread":
        begun, self._end = asyncio.Event(), asyncio.Event()
        here = asyncio.get_running_loop()

        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            here.call_soon_threadsafe(begun.set)
            await self._end.wait()

        self._thread = threading.Thread(target=asyncio.run, args=(main(),))
        self._thread.start()
        await begun.wait()
        return self

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    async def __aexit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        await asyncio.to_thread(self._thread.join, 5)


async def begun(client: AsyncMoonshot) -> Any:
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    return stream


async def rest(stream: Any) -> int:
    return len([chunk async for chunk in stream])


async def read_all(client: AsyncMoonshot) -> int:
    return await rest(await begun(client))


async def test_a_stream_is_read_in_its_own_event_loop(scripted: Start, client_of: Any) -> None:
    server = await scripted(endless)
    client = client_of(server)
    async with Thread() as thread, asyncio.timeout(2):
        stream = await begun(client)
        with pytest.raises(ConfigurationError, match="belongs to another event loop"):
            await thread.start(rest(stream))
        theirs = await thread.start(begun(client))
        with pytest.raises(ConfigurationError, match="belongs to another event loop"):
            await rest(theirs)
        # Whoever asks in the wrong place has closed it, as whoever leaves a loop.
        await server.until(lambda: server.open == 0)


def test_a_stream_whose_event_loop_has_ended_says_so() -> None:
    async def open_two() -> list[Any]:
        async with ScriptedServer(endless) as server:
            client = AsyncMoonshot(api_key="sk-canary-01", base_url=server.url)
            return [await begun(client), await client.chat.completions.create(**ASK, stream=True)]

    read, unread = asyncio.run(open_two())
    with pytest.raises(StreamInterruptedError, match="closed before its end"):
        asyncio.run(rest(read))
    with pytest.raises(ConfigurationError, match="belongs to another event loop"):
        asyncio.run(rest(unread))


async def test_closing_in_one_thread_ends_what_runs_in_others(scripted: Start, client_of: Any) -> None:
    server = await scripted(endless)
    client = client_of(server, transport=AiohttpTransport(max_connections=2))
    async with Thread() as first, Thread() as second, asyncio.timeout(2):
        # Two streams in each event loop, and as many calls that wait for their place in the pool.
        running = [thread.start(read_all(client)) for thread in (first, second) for _ in range(4)]
        await server.until(lambda: len(server.requests) == 4)
        await client.aclose()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
        await server.until(lambda: server.open == 0)


async def test_a_client_that_is_closed_while_its_first_call_begins_stays_closed(
    scripted: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, transport, own = await scripted(silent), AiohttpTransport(), aiohttp_module.LoopState

    def closed_meanwhile(*args: Any) -> Any:
        state = own(*args)
        thread = threading.Thread(target=lambda: asyncio.run(transport.aclose()))
        thread.start()
        thread.join(5)
        return state

    monkeypatch.setattr(aiohttp_module, "LoopState", closed_meanwhile)
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, transport=transport, max_retries=0)
    for _ in range(2):
        with pytest.raises(ClientClosedError):
            await begun(client)
    assert server.peers == []


@pytest.mark.parametrize("held", ["client", "stream", "both"])
async def test_what_is_dropped_while_another_thread_closes_its_loop_is_dropped_in_silence(
    scripted: Start, held: str
) -> None:
    server = await scripted(endless)
    for pause in range(0, 800, 20):
        await asyncio.to_thread(drop_beside_a_closing_loop, server.url, held, pause)
    gc.collect()


def drop_beside_a_closing_loop(url: str, held: str, pause: int) -> None:
    loop = asyncio.new_event_loop()
    kept: list[Any] = [AsyncMoonshot(api_key="sk-canary-01", base_url=url)]
    kept.append(loop.run_until_complete(kept[0].chat.completions.create(**ASK, stream=True)))
    if held != "both":
        del kept[held == "client"]
    both = threading.Barrier(2)

    def close() -> None:
        both.wait(5)
        loop.close()

    thread = threading.Thread(target=close)
    thread.start()
    both.wait(5)
    for _ in range(pause):
        pass
    kept.clear()
    thread.join(5)


def test_a_loop_of_another_make_that_was_closed_under_a_call_is_let_go_in_silence() -> None:
    loop = pytest.importorskip("uvloop").new_event_loop()

    async def begin() -> list[Any]:
        server = await asyncio.get_running_loop().create_server(Hello, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        client = AsyncMoonshot(api_key="sk-canary-01", base_url=url)
        return [server, client, await client.chat.completions.create(**ASK, stream=True)]

    kept = loop.run_until_complete(begin())
    kept.pop(0).close()
    with warnings.catch_warnings():
        # It complains of all connections, those of the server too.
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
    kept.clear()
    gc.collect()


class Hello(asyncio.Protocol):
    """A server that begins a stream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(SSE_HEAD)  # type: ignore[attr-defined]  # typed as a BaseTransport


async def test_what_a_child_would_leave_to_its_parent_is_left_here_too(scripted: Start, client_of: Any) -> None:
    # The same as in a child, seen from inside: what was open leads nowhere, and new connections are made.
    async def play(peer: Peer) -> None:
        body = await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)) if b'"stream":true' in body else answer(COMPLETION))
        await peer.gone()

    server = await scripted(play)
    client = client_of(server)
    stream = await begun(client)
    await client.chat.completions.create(**ASK)
    unused = AiohttpTransport()
    forks_module.disown_all()
    await server.until(lambda: server.open == 0)
    with pytest.raises(ConfigurationError, match="belongs to another event loop"):
        await rest(stream)
    await stream.aclose()
    await client.chat.completions.create(**ASK)
    assert len(server.peers) == 3
    await unused.aclose()
    for thing in gc.get_objects():
        # Nobody closes them; in a child they end with the process.
        if isinstance(thing, asyncio.Transport) and f":{thing.get_extra_info('peername')[1]}/" in server.url:
            thing.abort()
