"""What only the HTTP transport has: loops, pools, proxies, certificates, and aiohttp's errors in our words."""

import asyncio
import contextlib
import gc
import pickle
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from moonshot_async import AsyncMoonshot, Bounds
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.transports import AiohttpTransport
from moonshot_async.transports.aiohttp_protocol import Protocol
from moonshot_async.wire import Request, Response
from tests.conftest import open_sockets
from tests.scripted import ASK, SSE_HEAD, Peer, Play, Start, answer, chunk

URL = "http://moonshot.test/v1/models"
KEY = ConnectionKey("moonshot.test", 80, False, True, None, None, None)


def get(url: str, **more: Any) -> Request:
    return Request("GET", url, [("Authorization", "Bearer sk-canary-01")], **more)


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


INFO: Any = SimpleNamespace(headers={"Authorization": "Bearer sk-canary-01"}, real_url=URL)
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
    (aiohttp.ClientOSError(32, "Can not write request body for http://x?secret=1"), "Broken pipe", True),
    (aiohttp.ClientOSError(None, "Can not write request body for http://x?secret=1"), "was closed", True),
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
    assert "secret" not in f"{caught.value} {caught.value.__cause__!r}"
    assert "sk-canary-01" not in repr(vars(caught.value)) + str(pickle.dumps(caught.value))


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


# --- what nobody asked for


@pytest.mark.parametrize("unasked", [b"H", answer(b"not mine") * 1000])
async def test_what_comes_over_an_idle_connection_closes_it_at_once(
    scripted: Start, transport: AiohttpTransport, unasked: bytes
) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"mine"))
        if peer.number == 1:
            await taken.wait()
            await peer.send(unasked)
        await peer.gone()

    taken = asyncio.Event()
    server = await scripted(play)
    assert await (await transport.send(get(server.url))).read() == b"mine"
    taken.set()
    await server.until(lambda: server.open == 0)
    assert await (await transport.send(get(server.url))).read() == b"mine"


async def test_what_comes_over_a_connection_that_was_given_up_is_not_kept() -> None:
    protocol = Protocol(asyncio.get_running_loop(), Bounds())
    protocol.idle = True
    protocol.data_received(answer(b"not mine"))
    assert protocol.should_close
    assert not len(protocol)


async def test_more_answers_than_were_asked_for_while_a_body_is_sent_are_not_kept(
    scripted: Start, transport: AiohttpTransport
) -> None:
    waiting = asyncio.Event()

    class Slow:
        length = 2

        async def pieces(self) -> AsyncIterator[bytes]:
            yield b"a"
            await waiting.wait()
            yield b"b"

    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer(b"mine"))
        while True:
            await asyncio.sleep(0)
            await peer.send(answer(b"") * 1000)

    server = await scripted(play)
    response = await transport.send(Request("POST", server.url, body=Slow()))
    assert await response.read() == b"mine"
    await server.until(lambda: server.open == 0)
    waiting.set()
    response.close()


DOUBTFUL = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
    answer(b"hello") + answer(b"not yours"),
    answer(b"hello") + b"behind",
    b"HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\nnot yours" + answer(b"hello"),
]


@pytest.mark.parametrize("said", DOUBTFUL)
async def test_an_answer_in_doubt_is_never_the_answer_of_another_call(scripted: Start, said: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            # And the beginning of what somebody may take for the next one.
            await peer.send(said + answer(b"not yours"))
        else:
            await peer.send(answer(b"yours"))
        await peer.gone()

    server = await scripted(play)
    transport = AiohttpTransport(max_connections=1)
    with contextlib.suppress(APIError):
        assert b"not yours" not in await (await transport.send(get(server.url))).read()
    assert await (await transport.send(get(server.url))).read() == b"yours"
    assert len(server.peers) == 2
    await transport.aclose()


async def test_answers_to_many_calls_are_never_swapped(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        while True:
            said = await peer.request()
            # Every third answer has another one behind it.
            await peer.send(answer(said) + (answer(b"not yours") if int(said) % 3 == 0 else b""))

    server = await scripted(play)
    transport = AiohttpTransport(max_connections=10)

    async def ask(number: int) -> bytes:
        return await (await transport.send(Request("POST", server.url, body=b"%d" % number))).read()

    assert await asyncio.gather(*map(ask, range(200))) == [b"%d" % number for number in range(200)]
    await transport.aclose()


# --- redirects


@pytest.mark.parametrize("how", ["whole", "streamed", "upload"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_carries_neither_key_nor_prompt_to_its_target(scripted: Start, status: int, how: str) -> None:
    elsewhere = await scripted(echoing)

    async def play(peer: Peer) -> None:
        await peer.request()
        where = b"Location: %s/taken?key=sk-canary-01&said=Hi\r\n" % elsewhere.url.encode()
        await peer.send(answer(b"", status=b"%d Moved" % status, headers=where))
        await peer.gone()

    server = await scripted(play)
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, transport=AiohttpTransport()) as client:
        with pytest.raises(APIStatusError, match="redirects are not followed") as caught:
            if how == "upload":
                await client.files.create(file=b"Hi" * 100_000, purpose="file-extract")
            else:
                await client.chat.completions.create(**ASK, stream=how == "streamed")
    assert caught.value.status_code == status
    assert f"it points to '{elsewhere.url}/taken'" in str(caught.value)
    assert "sk-canary-01" not in f"{caught.value} {caught.value.headers!r}"
    assert len(server.requests) == 1
    assert not elsewhere.peers


async def test_a_redirect_that_leads_round_is_asked_once(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"", status=b"307 Again", headers=b"Location: /v1/chat/completions\r\n"))

    server = await scripted(play)
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, transport=AiohttpTransport()) as client:
        with pytest.raises(APIStatusError, match="it points to '/v1/chat/completions'"):
            await client.chat.completions.create(**ASK)
    assert len(server.requests) == 1


ODD_TARGETS = [
    *(b"", b" ", b"//", b"///", b"?", b"#x", b"http://", b"http://[::1", b"http://x:99999/", b"javascript:alert(1)"),
    *(b"file:///etc/passwd", b"\xff\xfe\x80", b"\x01\x1b[2J\x7f", b"a" * 60_000, b"http://me:secret@x.test/", b"\t/x"),
    *(b"/x\r\nLocation: /y", b"\xf0\x9f\x98\x80", b"http://x.test/" + b"%00" * 1000),
]


@pytest.mark.parametrize("target", ODD_TARGETS, ids=lambda target: repr(target[:20]))
async def test_an_odd_target_is_told_on_one_line(scripted: Start, target: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"", status=b"302 Found", headers=b"Location: %s\r\n" % target))
        await peer.gone()

    server = await scripted(play)
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, transport=AiohttpTransport()) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(**ASK)
    assert caught.value.status_code == 302
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


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
    "options",
    [
        {"max_connections": -1},
        {"max_connections": "many"},
        {"max_connections_per_host": -1},
        {"keepalive_timeout": "long"},
        {"keepalive_timeout": float("nan")},
        {"read_buffer_bytes": -1},
        {"trust_env": "yes"},
        {"proxy": "socks5://x"},
        {"proxy": "x"},
        {"proxy": -1},
        {"proxy_headers": 5},
        {"proxy_headers": {"X-A": 1}},
    ],
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
    monkeypatch.setattr("moonshot_async.transports.aiohttp_protocol._POLL", None)
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


# --- uploads


class Endless:
    """An upload that is larger than what all buffers between client and server hold."""

    length = 64 * 2**20

    def __init__(self) -> None:
        self.sent = 0
        self.open = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            for _ in range(self.length // 2**18):
                yield bytes(2**18)
                self.sent += 2**18
                # As a disk would have it.
                await asyncio.sleep(0)
        finally:
            self.open -= 1


def upload(url: str, body: Any, **more: Any) -> Request:
    return Request("POST", url + "/files", [("Content-Type", "multipart/form-data; boundary=x")], body, **more)


TOO_LARGE = answer(b'{"error":{"message":"too large","type":"x"}}', status=b"413 Content Too Large")


async def hangs_up(peer: Peer) -> None:
    """Refuse after the head and close; the kernel resets what lies unread."""
    await peer.head()
    await peer.send(TOO_LARGE)


async def resets(peer: Peer) -> None:
    await peer.head()
    await peer.send(TOO_LARGE)
    peer.reset()


async def stays(peer: Peer) -> None:
    """Refuse, and neither read nor close."""
    await peer.head()
    peer.stop_reading()
    await peer.send(TOO_LARGE)
    await asyncio.Event().wait()


async def reads_on(peer: Peer) -> None:
    """Refuse, and take what comes, as nginx does."""
    await peer.head()
    await peer.send(TOO_LARGE)
    await peer.gone()


async def says_nothing_of_its_body(peer: Peer) -> None:
    await peer.head()
    await peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("play", [hangs_up, resets, stays, reads_on, says_nothing_of_its_body])
async def test_a_status_that_comes_while_the_body_is_sent_is_told_as_that(
    scripted: Start, transport: AiohttpTransport, play: Play
) -> None:
    server = await scripted(play)
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, transport=transport, max_retries=0) as client:
        for _ in range(20):
            body, started = Endless(), time.monotonic()
            request = upload(server.url, body, deadline=started + 30)
            with pytest.raises(APIStatusError) as caught:
                await client._pipeline.open(request)
            assert caught.value.status_code == 413
            assert time.monotonic() - started < 5
            await asyncio.sleep(0.001)
            assert (body.open, body.sent < body.length) == (0, True)
    # No connection that a body was cut on serves another call.
    assert len(server.peers) == 20


async def test_an_error_status_ends_the_sending_even_if_nobody_reads_what_it_says(
    scripted: Start, transport: AiohttpTransport
) -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(TOO_LARGE[:-1])
        await peer.gone()

    server, body = await scripted(play), Endless()
    response = await transport.send(upload(server.url, body))
    assert response.status == 413
    for _ in range(200):
        if not body.open:
            break
        await asyncio.sleep(0.005)
    assert (body.open, body.sent < body.length) == (0, True)
    response.close()


def refusing_in_a_thread(serving: ssl.SSLContext | None, said: bytes) -> tuple[int, threading.Event, threading.Event]:
    """A server that refuses and resets when it is told to, whatever the event loop is doing; and says when it has."""
    listener, go, done = socket.create_server(("127.0.0.1", 0)), threading.Event(), threading.Event()

    def serve() -> None:
        with listener:
            peer, _ = listener.accept()
        # What waits for an acknowledgement of the handshake would be lost with the reset.
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if serving is not None:
            peer = serving.wrap_socket(peer, server_side=True)
        with peer:
            peer.recv(1000)
            go.wait(5)
            peer.sendall(said)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        done.set()

    threading.Thread(target=serve).start()
    return listener.getsockname()[1], go, done


class Blocking:
    """An upload that keeps the event loop busy while an answer and a reset arrive."""

    length = 4 * 2**18

    def __init__(self, go: threading.Event, done: threading.Event) -> None:
        self.go = go
        self.done = done

    async def pieces(self) -> AsyncIterator[bytes]:
        yield bytes(2**18)
        await asyncio.sleep(0.05)
        self.go.set()
        assert self.done.wait(5)
        for _ in range(3):
            yield bytes(2**18)


@pytest.mark.parametrize("how", ["looks first", "hears out", "over tls"])
async def test_a_status_is_told_even_if_the_connection_was_reset_before_anyone_looked(
    how: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = trusted = None
    if how == "over tls":
        cert, key = request.getfixturevalue("certificate")
        serving, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=cert)
        serving.load_cert_chain(cert, key)
    if how == "hears out":
        monkeypatch.setattr("moonshot_async.transports.aiohttp_protocol._POLL", None)
    port, *events = refusing_in_a_thread(serving, TOO_LARGE)
    transport = AiohttpTransport(ssl_context=trusted)
    scheme = "http" if trusted is None else "https"
    response = await transport.send(upload(f"{scheme}://127.0.0.1:{port}/v1", Blocking(*events)))
    assert response.status == 413
    assert b"too large" in await response.read()
    await transport.aclose()


async def test_what_an_answer_said_before_the_reset_is_handed_out(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.transports.aiohttp_protocol._POLL", None)
    port, *events = refusing_in_a_thread(None, TOO_LARGE[:-1])
    response = await transport.send(upload(f"http://127.0.0.1:{port}/v1", Blocking(*events)))
    await asyncio.sleep(0.01)
    assert response.status == 413
    assert await response.body.read() == TOO_LARGE[:-1].partition(b"\r\n\r\n")[2]
    with pytest.raises(StreamInterruptedError):
        await response.body.read()
    response.close()


async def test_a_broken_connection_that_says_nothing_more_is_just_that(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any) -> Any:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("moonshot_async.transports.aiohttp_protocol._POLL", None)
    port, go, done = refusing_in_a_thread(None, TOO_LARGE)
    monkeypatch.setattr(socket.socket, "dup", failing)
    monkeypatch.setattr("os.dup", failing)
    call = transport.send(upload(f"http://127.0.0.1:{port}/v1", Blocking(go, done)))
    (outcome,) = await asyncio.gather(call, return_exceptions=True)
    if isinstance(outcome, Response):
        # uvloop writes later, and may have read first.
        assert "uvloop" in type(asyncio.get_running_loop()).__module__
        outcome.close()
    else:
        assert isinstance(outcome, APIConnectionError)
        assert outcome.retryable


async def test_a_good_status_that_comes_early_does_not_end_the_upload(
    scripted: Start, transport: AiohttpTransport
) -> None:
    body = Endless()
    arrived = 0

    async def play(peer: Peer) -> None:
        nonlocal arrived
        await peer.head()
        await peer.send(SSE_HEAD)
        while arrived < body.length:
            arrived += len(await peer._reader.read(2**20))
        await peer.send(chunk(b"all of it") + b"0\r\n\r\n")

    server = await scripted(play)
    response = await transport.send(upload(server.url, body))
    assert body.sent < body.length
    assert await response.read() == b"all of it"
    assert arrived == body.length


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("ending", ["reset", "close"])
async def test_a_connection_that_breaks_while_the_body_is_sent_may_be_tried_again(
    scripted: Start, transport: AiohttpTransport, ending: str
) -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        await peer._reader.readexactly(2**20)
        if ending == "reset":
            peer.reset()

    server = await scripted(play)
    for _ in range(10):
        body = Endless()
        with pytest.raises(APIConnectionError, match="Connection error") as caught:
            await transport.send(upload(server.url + "?secret=1", body))
        assert type(caught.value) is APIConnectionError
        assert caught.value.retryable
        assert "secret" not in f"{caught.value} {caught.value.__cause__!r}"
        assert caught.value.__context__ is None
        await asyncio.sleep(0.001)
        assert body.open == 0


async def test_a_body_in_memory_is_written_while_its_peer_reads(scripted: Start, transport: AiohttpTransport) -> None:
    server = await scripted(echoing)
    data = bytes(range(256)) * 40_000
    await (await transport.send(upload(server.url, data))).read()
    assert server.requests[0][1] == data


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
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=base_url, transport=AiohttpTransport())
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
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=base_url, transport=AiohttpTransport())
    loop = asyncio.new_event_loop()
    for _ in range(2):
        assert loop.run_until_complete(list_models(client)) > 0
    asyncio.run(client.aclose())
    with pytest.raises(APIConnectionError, match="The client was closed"):
        loop.run_until_complete(list_models(client))
    loop.close()


def test_a_stream_dropped_between_two_runs_of_its_loop_lets_go_of_its_connection(base_url: str) -> None:
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=base_url, transport=AiohttpTransport())
    ask: dict[str, Any] = {
        "model": "kimi-k2.6",
        "messages": [{"role": "user", "content": "Canary prompt: hi"}],
        "stream": True,
    }
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        sockets = open_sockets()
        stream = runner.run(client.chat.completions.create(**ask))
        assert open_sockets() > sockets
        del stream
        runner.run(asyncio.sleep(0.01))
        eventually(lambda: open_sockets() <= sockets)


def test_a_stream_that_outlives_its_loop_is_dropped_in_silence(base_url: str) -> None:
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=base_url, transport=AiohttpTransport())
    ask: dict[str, Any] = {
        "model": "kimi-k2.6",
        "messages": [{"role": "user", "content": "Canary prompt: hi"}],
        "stream": True,
    }
    stream = asyncio.run(client.chat.completions.create(**ask))
    del stream
    gc.collect()


def test_a_client_that_nobody_closed_is_closed_by_its_loop(base_url: str) -> None:
    async def forget() -> None:
        client = AsyncMoonshot(api_key="sk-canary-01", base_url=base_url, transport=AiohttpTransport())
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
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=base_url, transport=AiohttpTransport())
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
