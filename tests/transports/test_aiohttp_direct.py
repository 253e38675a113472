"""What is sent past aiohttp's session is what the session would send, and nobody can tell the difference."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from moonshot_async.errors import APIConnectionError
from moonshot_async.transports import AiohttpTransport
from moonshot_async.transports.aiohttp_connector import Connector
from moonshot_async.wire import Request
from tests.scripted import Peer, Start, answer

JSON = ("Content-Type", "application/json")
KEY = ("Authorization", "Bearer sk-canary-01")
AGENT = ("User-Agent", "moonshot-async/1")


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


@pytest.fixture
def by_session(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of the calls that aiohttp's session was asked to send."""
    asked: list[str] = []
    request = aiohttp.ClientSession.request

    def noting(session: Any, method: str, url: str, **more: Any) -> Any:
        asked.append(url)
        return request(session, method, url, **more)

    monkeypatch.setattr(aiohttp.ClientSession, "request", noting)
    return asked


async def echoing(peer: Peer) -> None:
    while True:
        await peer.send(answer(await peer.request()))


SIMPLE: list[tuple[str, str, list[tuple[str, str]], bytes]] = [
    ("POST", "/chat", [KEY, JSON, AGENT], b'{"a":1}'),
    ("POST", "/chat", [KEY, JSON], b""),
    ("PUT", "/x?y=1&z=%C3%BC", [JSON, ("X-Own", "ü"), ("X-Own", "twice")], b"1"),
    ("PATCH", "/a b/ü?q=a b", [JSON, ("Accept", "text/plain")], b"1"),
    ("GET", "/models", [KEY, JSON, AGENT], b""),
    ("GET", "/models", [KEY], b""),
    ("GET", "/search", [JSON], b'{"by":"body"}'),
    ("DELETE", "/files/1", [KEY], b""),
    ("DELETE", "/files/1#part", [KEY, ("Cookie", "a=b"), JSON], b"1"),
    ("POST", "/chat", [JSON, ("Accept-Encoding", "gzip"), ("Connection", "close")], b"1"),
]
OTHERS: list[tuple[str, str, list[tuple[str, str]], bytes]] = [
    ("POST", "/untyped", [KEY], b"1"),
    ("POST", "/untyped", [KEY], b""),
    ("DELETE", "/untyped", [KEY], b"1"),
    ("OPTIONS", "/any", [JSON], b""),
    ("POST", "/chat", [JSON, ("Host", "elsewhere.test")], b"1"),
    ("POST", "/large", [JSON], b"x" * 70_000),
    ("POST", "/chat", [JSON, KEY, ("authorization", "Bearer sk-canary-02")], b"1"),
    ("POST", "/chat", [("content-type", "text/plain"), JSON, ("X-Own", "1"), ("x-own", "2")], b"1"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body"), [*SIMPLE, *OTHERS])
async def test_a_request_is_what_a_session_would_send(
    scripted: Start,
    transport: AiohttpTransport,
    by_session: list[str],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> None:
    server = await scripted(echoing)
    request = Request(method, server.url + path, headers, body)
    for _ in range(2):
        assert await (await transport.send(request)).read() == body
    simple = (method, path, headers, body) in SIMPLE
    assert len(by_session) == (0 if simple else 2)
    send = aiohttp.ClientSession._request
    # Somebody has put something in its place.
    monkeypatch.setattr(aiohttp.ClientSession, "_request", lambda *args, **more: send(*args, **more))
    assert await (await transport.send(request)).read() == body
    assert len(by_session) == (1 if simple else 3)
    # In what order headers come is of no meaning.
    sent = [(sorted(head.split(b"\r\n")), body) for peer in server.peers for head, body in peer.received]
    assert len(sent) == 3
    assert sent[0] == sent[1] == sent[2]


async def test_what_the_server_is_asked_to_allow_first_is_waited_for(
    scripted: Start, transport: AiohttpTransport
) -> None:
    async def allowing(peer: Peer) -> None:
        for _ in range(2):
            assert b"Expect: 100-continue" in await peer.head()
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await peer.send(answer(await peer.more(1)))

    server = await scripted(allowing)
    for _ in range(2):
        request = Request("POST", server.url, [JSON, ("Expect", "100-continue")], b"1")
        assert await (await transport.send(request)).read() == b"1"


def test_a_mock_that_was_there_before_the_sdk_gets_every_call() -> None:
    program = """
import asyncio, unittest.mock, aiohttp
with unittest.mock.patch.object(aiohttp.ClientSession, "_request", autospec=True, side_effect=OSError) as mocked:
    from moonshot_async import AsyncMoonshot, APIConnectionError
    async def main():
        async with AsyncMoonshot(api_key="sk-canary-01", base_url="http://127.0.0.1:9/v1", max_retries=0) as client:
            try:
                await client.models.list()
            except APIConnectionError:
                print(mocked.call_count)
    asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


async def test_who_traces_the_sessions_of_aiohttp_hears_of_every_call(
    scripted: Start, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    tracing, make = aiohttp.TraceConfig(), aiohttp.ClientSession.__init__

    async def note(session: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        heard.append(params.url.path)

    # aiohttp: typed as lists of coroutines that take other things.
    tracing.on_request_start.append(note)  # type: ignore[arg-type]
    monkeypatch.setattr(
        aiohttp.ClientSession, "__init__", lambda *args, **more: make(*args, **more, trace_configs=[tracing])
    )
    server = await scripted(echoing)
    for number in range(3):
        await (await transport.send(Request("POST", f"{server.url}/{number}", [JSON], b"1"))).read()
    assert heard == ["/v1/0", "/v1/1", "/v1/2"]


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://", [JSON]),
        ("ftp://127.0.0.1/x", [JSON]),
        ("http://127.0.0.1:x/", [JSON]),
        ("{}/x", [JSON, ("X-Own", "a\r\nb: c")]),
        ("{}/x", [JSON, ("X-Own", 1)]),
        ("{}/x", [[*JSON], ["X-Own", None]]),
    ],
)
async def test_what_cannot_be_sent_is_an_error_of_ours(
    scripted: Start, transport: AiohttpTransport, url: str, headers: Any
) -> None:
    server = await scripted(echoing)
    for _ in range(2):
        with pytest.raises(APIConnectionError):
            await transport.send(Request("POST", url.format(server.url), headers, b"1"))
    assert not any(peer.received for peer in server.peers)


async def test_a_connection_that_was_lost_in_the_moment_it_was_made_is_told_of(
    scripted: Start, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Connector.connect

    async def losing(connector: Any, request: Any, traces: Any, timeout: Any) -> Any:
        connection = await connect(connector, request, traces, timeout)
        connection.transport.abort()
        return connection

    monkeypatch.setattr(Connector, "connect", losing)
    server = await scripted(echoing)
    with pytest.raises(APIConnectionError, match="the server closed the connection without an answer") as caught:
        await transport.send(Request("POST", server.url, [JSON], b"1"))
    assert caught.value.retryable


@pytest.mark.parametrize(("user", "sent"), [("user:pass@", b"dXNlcjpwYXNz"), (":@", b"Og==")])
async def test_a_user_in_the_address_is_sent_as_ever(
    scripted: Start, transport: AiohttpTransport, user: str, sent: bytes
) -> None:
    server = await scripted(echoing)
    url = server.url.replace("://", f"://{user}")
    for _ in range(2):
        await (await transport.send(Request("POST", url, [JSON], b"1"))).read()
    assert all(b"Authorization: Basic " + sent in head for head, _ in server.peers[0].received)


async def test_addresses_and_headers_without_end_are_told_apart(scripted: Start, transport: AiohttpTransport) -> None:
    server = await scripted(echoing)
    for number in [*range(150), 0, 149]:
        headers = [JSON, ("X-Number", str(number))]
        await (await transport.send(Request("POST", f"{server.url}/{number}", headers, b"1"))).read()
        head, _ = server.peers[0].received[-1]
        assert head.startswith(b"POST /v1/%d HTTP/1.1\r\n" % number)
        assert b"\r\nX-Number: %d\r\n" % number in head


async def test_interim_answers_are_passed_over_on_a_connection_that_was_kept(
    scripted: Start, transport: AiohttpTransport
) -> None:
    async def hinting(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", answer(b"[]"))

    server = await scripted(hinting)
    for _ in range(2):
        response = await transport.send(Request("POST", server.url, [JSON], b"1"))
        assert response.status == 200
        assert await response.read() == b"[]"
    assert len(server.peers) == 1


@pytest.mark.parametrize("status", [0, 99])
async def test_a_status_that_does_not_exist_is_not_taken_for_an_interim_one(
    scripted: Start, transport: AiohttpTransport, status: int
) -> None:
    async def odd(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"{}", status=b"%03d Odd" % status))

    server = await scripted(odd)
    for _ in range(2):
        async with asyncio.timeout(5):
            response = await transport.send(Request("POST", server.url, [JSON], b"1"))
            assert (response.status, await response.read()) == (status, b"{}")


class Other(aiohttp.ClientRequest):
    """Of an aiohttp to come, which takes other arguments."""

    def __init__(self, method: str, url: Any, *, session: Any, **more: Any) -> None:
        raise AssertionError("never called so")


class Later(aiohttp.ClientRequest):
    """Of an aiohttp to come, which says how long a body is when it is written."""

    def update_body_from_data(self, *args: Any) -> None:
        self._body = None


async def by_keywords(connector: Any, req: Any, *, traces: Any, timeout: Any) -> Any:
    return await CONNECT(connector, req, traces, timeout)


async def read_otherwise(protocol: Any) -> Any:
    while True:
        message, content = await READ(protocol)
        return [message, content, None] if message.headers.get("C") == "d" else (message, content)


CONNECT = aiohttp.TCPConnector.connect
READ = ResponseHandler.read


@pytest.mark.parametrize(
    ("owner", "name", "changed"),
    [
        (aiohttp, "ClientRequest", Other),
        (aiohttp, "ClientRequest", Later),
        (aiohttp.TCPConnector, "connect", by_keywords),
        (ResponseHandler, "read", read_otherwise),
    ],
)
async def test_an_aiohttp_that_is_made_otherwise_is_asked_to_send_everything(
    scripted: Start,
    transport: AiohttpTransport,
    by_session: list[str],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    changed: Any,
) -> None:
    monkeypatch.setattr(owner, name, changed)
    server = await scripted(echoing)
    for body in (b"1", b"", b"2"):
        assert await (await transport.send(Request("POST", server.url, [JSON], body))).read() == body
    assert len(by_session) == 3
    assert [body for _, body in server.requests] == [b"1", b"", b"2"]
