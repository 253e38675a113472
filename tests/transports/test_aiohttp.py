"""What only the HTTP transport has: loops, pools, proxies, certificates, and aiohttp's errors in our words."""

import asyncio
import contextlib
import gc
import pickle
import shutil
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from moonshot_async import AsyncMoonshot
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.transports import AiohttpTransport
from moonshot_async.wire import Request, Response
from tests.conftest import open_sockets
from tests.scripted import SSE_HEAD, Peer, Play, ScriptedServer, answer, chunk

Start = Callable[[Play], Awaitable[ScriptedServer]]

URL = "http://moonshot.test/v1/models"
KEY = ConnectionKey("moonshot.test", 80, False, True, None, None, None)


def get(url: str, **more: Any) -> Request:
    return Request("GET", url, [("Authorization", "Bearer sk-test")], **more)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


async def echoing(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"[]"))


# --- aiohttp's errors


def certificate_error() -> Exception:
    return aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "self-signed certificate"))


INFO: Any = SimpleNamespace(headers={"Authorization": "Bearer sk-test"}, real_url=URL)
ERRORS = [
    (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connection refused")), "no connection to", True),
    (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")), "moonshot.test was not fou", True),
    (aiohttp.ClientProxyConnectionError(KEY, OSError(111, "Connection refused")), "no connection to", True),
    (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version number")), "wrong version number", True),
    (certificate_error(), "certificate was refused: .*self-signed certificate", False),
    (aiohttp.ServerDisconnectedError(), "closed the connection without an answer", True),
    (aiohttp.ClientPayloadError("not completed"), "before the body was complete", False),
    (aiohttp.ClientOSError(104, "Connection reset by peer"), "Connection reset by peer", True),
    (aiohttp.ClientConnectionResetError("Cannot write"), "was closed", True),
    (aiohttp.ClientConnectionError("Connector is closed."), "was closed", True),
    (aiohttp.ConnectionTimeoutError("late"), "was closed", True),
    (TimeoutError(), "was closed", True),
    (TimeoutError(110, "Connection timed out"), "Connection timed out", True),
    (RuntimeError("Session is closed"), "was closed", True),
    (aiohttp.InvalidURL("http://"), "the address cannot be used", False),
    (UnicodeError("label too long"), "the address cannot be used", False),
    (aiohttp.ClientHttpProxyError(INFO, (), status=407), "the proxy answered with status 407", False),
    (aiohttp.ClientResponseError(INFO, (), status=400, message="bad"), "the answer is not valid HTTP", False),
]


@pytest.mark.parametrize(("error", "words", "retryable"), ERRORS, ids=lambda value: type(value).__name__)
async def test_an_error_of_aiohttp_is_told_in_our_words(
    mocked_http: Any, transport: AiohttpTransport, error: Exception, words: str, retryable: bool
) -> None:
    mocked_http.get(URL, exception=error)
    with pytest.raises(APIConnectionError, match=words) as caught:
        await transport.send(get(URL))
    assert type(caught.value) is APIConnectionError
    assert caught.value.retryable is retryable
    assert caught.value.__context__ is None
    if caught.value.__cause__ is not None:
        assert type(caught.value.__cause__).__module__ == "builtins"
    assert "sk-test" not in repr(vars(caught.value)) + str(pickle.dumps(caught.value))


async def test_an_operating_systems_reason_is_kept_as_the_cause(mocked_http: Any, transport: AiohttpTransport) -> None:
    reason = ConnectionRefusedError(111, "Connection refused")
    mocked_http.get(URL, exception=aiohttp.ClientConnectorError(KEY, reason))
    with pytest.raises(APIConnectionError) as caught:
        await transport.send(get(URL))
    assert type(caught.value.__cause__) is ConnectionRefusedError
    assert caught.value.__cause__ is not reason


async def test_a_mocked_answer_comes_out_like_any_other(mocked_http: Any, transport: AiohttpTransport) -> None:
    mocked_http.get(URL, status=201, body=b"made", headers={"X-One": "1"})
    response = await transport.send(get(URL))
    assert (response.status, response.headers["x-one"], await response.read()) == (201, "1", b"made")


async def test_a_name_that_does_not_exist_is_told(transport: AiohttpTransport) -> None:
    with pytest.raises(APIConnectionError, match=r"the name .* was not found"):
        await transport.send(get("http://no-such-host.invalid/v1"))


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "."])
async def test_an_address_that_cannot_be_used_is_not_tried_again(transport: AiohttpTransport, host: str) -> None:
    with pytest.raises(APIConnectionError) as caught:
        await transport.send(get(f"http://{host}/v1"))
    assert not caught.value.retryable


# --- TLS


async def test_tls_to_a_server_that_speaks_none_is_told(scripted: Start, transport: AiohttpTransport) -> None:
    async def play(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    server = await scripted(play)
    with pytest.raises(APIConnectionError, match="no connection to"):
        await transport.send(get(server.url.replace("http:", "https:")))


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


async def test_a_certificate_that_nobody_vouches_for_is_refused_unless_its_signer_is_trusted(
    certificate: tuple[str, str],
) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(b"data: 1\n\n"))
        with contextlib.suppress(OSError):
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0, ssl=serving)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    wary, trusting = AiohttpTransport(), AiohttpTransport(ssl_context=ssl.create_default_context(cafile=certificate[0]))
    with pytest.raises(APIConnectionError, match="certificate was refused") as caught:
        await wary.send(get(url))
    assert not caught.value.retryable
    response = await trusting.send(get(url))
    assert await response.body.read() == b"data: 1\n\n"
    started = time.monotonic()
    await trusting.aclose()
    assert time.monotonic() - started < 1
    response.close()
    await wary.aclose()
    server.close()
    await server.wait_closed()


# --- what is not done


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(scripted: Start, status: int) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        location = b"Location: http://elsewhere.test/\r\n"
        await peer.send(answer(b"", status=b"%d Moved" % status, headers=location))
        await peer.gone()

    server = await scripted(play)
    async with AsyncMoonshot(api_key="sk-test", base_url=server.url, transport=AiohttpTransport()) as client:
        with pytest.raises(APIStatusError, match="redirects are not followed") as caught:
            await client.request("POST", "/x", body={})
    assert caught.value.status_code == status
    assert len(server.requests) == 1


async def test_cookies_are_not_kept_and_compression_is_not_asked_for(
    scripted: Start, transport: AiohttpTransport
) -> None:
    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"", headers=b"Set-Cookie: a=b\r\n"))

    server = await scripted(play)
    for _ in range(2):
        # By name: no jar keeps the cookies of an address.
        await (await transport.send(get(server.url.replace("127.0.0.1", "localhost")))).read()
    heads = b"".join(head.lower() for head, _ in server.requests)
    assert b"cookie" not in heads
    assert heads.count(b"accept-encoding: identity") == 2


async def test_the_environment_is_not_asked_for_credentials_or_proxies(
    scripted: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server, transport = await scripted(echoing), AiohttpTransport()
    await (await transport.send(Request("GET", server.url))).read()
    await transport.aclose()
    assert b"authorization" not in server.requests[0][0].lower()


# --- proxies


async def test_a_proxy_is_asked_for_the_whole_address(scripted: Start) -> None:
    proxy = await scripted(echoing)
    transport = AiohttpTransport(proxy=proxy.url, proxy_headers={"Proxy-Authorization": "Basic x"})
    assert await (await transport.send(get("http://moonshot.test/v1/models"))).read() == b"[]"
    await transport.aclose()
    assert proxy.requests[0][0].startswith(b"GET http://moonshot.test/v1/models HTTP/1.1\r\n")


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
async def test_the_proxy_of_the_environment_is_used_when_asked_for(
    scripted: Start, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy, direct = await scripted(echoing), await scripted(echoing)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    transport = AiohttpTransport(trust_env=True)
    monkeypatch.delenv(variable)
    await (await transport.send(get("http://moonshot.test/v1"))).read()
    await (await transport.send(get(direct.url))).read()
    await transport.aclose()
    assert (len(proxy.requests), len(direct.requests)) == (1, 1)


async def test_a_proxy_that_says_no_is_told(scripted: Start) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer(b"", status=b"407 No"))
        await peer.gone()

    proxy = await scripted(refuse)
    transport = AiohttpTransport(proxy=proxy.url)
    with pytest.raises(APIConnectionError, match="the proxy answered with status 407") as caught:
        await transport.send(get("https://moonshot.test/v1"))
    await transport.aclose()
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "options", [{"max_connections": -1}, {"max_connections_per_host": -1}, {"proxy": "socks5://x"}, {"proxy": "x"}]
)
def test_options_that_cannot_work_are_refused_before_any_connection(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        AiohttpTransport(**options)


# --- pool


@pytest.mark.parametrize("options", [{"max_connections": 2}, {"max_connections": 0, "max_connections_per_host": 2}])
async def test_no_more_connections_are_opened_than_allowed(scripted: Start, options: dict[str, int]) -> None:
    most = 0

    async def play(peer: Peer) -> None:
        nonlocal most
        while True:
            await peer.request()
            most = max(most, server.open)
            await asyncio.sleep(0.001)
            await peer.send(answer(b"[]"))

    server, transport = await scripted(play), AiohttpTransport(**options)

    async def call() -> bytes:
        return await (await transport.send(get(server.url))).read()

    assert await asyncio.gather(*(call() for _ in range(20))) == [b"[]"] * 20
    await transport.aclose()
    assert most == 2


async def test_an_idle_connection_is_kept_for_as_long_as_was_asked(scripted: Start) -> None:
    server, transport = await scripted(echoing), AiohttpTransport(keepalive_timeout=0.05)
    await (await transport.send(get(server.url))).read()
    await asyncio.sleep(0.1)
    await (await transport.send(get(server.url))).read()
    await transport.aclose()
    assert len(server.peers) == 2


async def test_where_sockets_cannot_be_looked_into_calls_go_on(
    scripted: Start, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.transports.aiohttp._POLL", None)
    server = await scripted(echoing)
    for _ in range(3):
        await (await transport.send(get(server.url))).read()
    assert len(server.peers) == 1


async def test_a_consumer_that_stops_reading_stops_the_server(scripted: Start) -> None:
    sent = 0

    async def play(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(SSE_HEAD)
        while True:
            await peer.send(chunk(b"x" * 65536))
            sent += 65536

    server, transport = await scripted(play), AiohttpTransport(read_buffer_bytes=65536)
    response = await transport.send(get(server.url))
    await response.body.read()
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.05)
    assert sent < 32 * 2**20
    response.close()
    await transport.aclose()


async def test_two_readers_of_one_body_are_an_error_of_ours(scripted: Start, transport: AiohttpTransport) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        await peer.gone()

    response = await transport.send(get((await scripted(play)).url))
    first = asyncio.create_task(response.body.read())
    await asyncio.sleep(0)
    with pytest.raises(StreamInterruptedError):
        await response.body.read()
    first.cancel()
    response.close()


# --- event loops and threads


async def list_models(client: AsyncMoonshot) -> int:
    return len((await client.models.list()).data)


def served_in_a_thread() -> tuple[str, Callable[[], None]]:
    """A fake served by a loop of its own, so that the loops of a test may come and go."""
    fake, ready, stop = FakeMoonshot(chunk_latency=0.2), threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with fake.serve() as url:
            found.update(url=url, loop=asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)

    def end() -> None:
        found["loop"].call_soon_threadsafe(stop.set)
        thread.join(10)

    return found["url"], end


def eventually(fact: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 5
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def base_url() -> Any:
    url, end = served_in_a_thread()
    yield url
    end()


@pytest.mark.parametrize("closed", [True, False])
def test_one_client_serves_event_loops_in_turn(base_url: str, closed: bool) -> None:
    client = AsyncMoonshot(api_key="sk-test", base_url=base_url, transport=AiohttpTransport())
    sockets = open_sockets()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert asyncio.run(list_models(client)) > 0
            # The loop took its connections with it.
            eventually(lambda: open_sockets() <= sockets)
        if closed:
            asyncio.run(client.aclose())
        del client
        gc.collect()


def test_a_loop_that_was_left_open_can_be_used_again_and_its_client_closed_elsewhere(base_url: str) -> None:
    client = AsyncMoonshot(api_key="sk-test", base_url=base_url, transport=AiohttpTransport())
    loop = asyncio.new_event_loop()
    for _ in range(2):
        assert loop.run_until_complete(list_models(client)) > 0
    asyncio.run(client.aclose())
    with pytest.raises(APIConnectionError, match="The client was closed"):
        loop.run_until_complete(list_models(client))
    loop.close()


def test_a_stream_dropped_between_two_runs_of_its_loop_lets_go_of_its_connection(base_url: str) -> None:
    client = AsyncMoonshot(api_key="sk-test", base_url=base_url, transport=AiohttpTransport())
    ask: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        sockets = open_sockets()
        stream = runner.run(client.chat.completions.create(**ask))
        assert open_sockets() > sockets
        del stream
        runner.run(asyncio.sleep(0.01))
        eventually(lambda: open_sockets() <= sockets)


def test_a_stream_that_outlives_its_loop_is_dropped_in_silence(base_url: str) -> None:
    client = AsyncMoonshot(api_key="sk-test", base_url=base_url, transport=AiohttpTransport())
    ask: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    stream = asyncio.run(client.chat.completions.create(**ask))
    del stream
    gc.collect()


def test_a_client_that_nobody_closed_is_closed_by_its_loop(base_url: str) -> None:
    async def forget() -> None:
        client = AsyncMoonshot(api_key="sk-test", base_url=base_url, transport=AiohttpTransport())
        await client.models.list()
        sockets = open_sockets()
        del client
        gc.collect()
        for _ in range(100):
            if open_sockets() < sockets:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("its connection is still open")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(forget())


def test_one_client_serves_loops_of_two_threads_at_once(base_url: str) -> None:
    client = AsyncMoonshot(api_key="sk-test", base_url=base_url, transport=AiohttpTransport())
    both, counts, errors = threading.Barrier(2), [0, 0], []

    def work(place: int) -> None:
        async def calls() -> None:
            both.wait(10)
            for _ in range(20):
                await asyncio.gather(*(client.models.list() for _ in range(3)))
                counts[place] += 3

        try:
            asyncio.run(calls())
        except BaseException as error:  # noqa: BLE001  # told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert counts == [60, 60]


async def test_closing_reaches_calls_that_run_in_another_thread(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    server, transport = await scripted(play), AiohttpTransport()
    outcome: list[BaseException] = []

    def work() -> None:
        async def call() -> None:
            with pytest.raises(APIConnectionError, match="The client was closed") as caught:
                await transport.send(get(server.url))
            outcome.append(caught.value)

        asyncio.run(call())

    thread = threading.Thread(target=work)
    thread.start()
    await server.until(lambda: len(server.requests) == 1)
    await transport.aclose()
    await asyncio.to_thread(thread.join, 5)
    assert len(outcome) == 1
    assert not isinstance(outcome[0], APITimeoutError)
    await server.until(lambda: server.open == 0)


async def test_it_works_in_asyncios_debug_mode(scripted: Start, transport: AiohttpTransport) -> None:
    asyncio.get_running_loop().set_debug(True)
    server = await scripted(echoing)
    for _ in range(3):
        response: Response = await transport.send(get(server.url))
        assert await response.read() == b"[]"
    with pytest.raises(APITimeoutError):
        await transport.send(get(server.url, deadline=time.monotonic() - 1, timeout=Timeout(total=1)))
    del response
