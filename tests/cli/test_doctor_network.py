"""What the doctor says of names, connections, proxies and certificates."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.cli.doctor import tls
from moonshot_async.cli.doctor.certificates import certificate as read_certificate
from moonshot_async.cli.doctor.checks import (
    Finding,
    Place,
    check_dns,
    check_proxy,
    check_tcp,
    check_tls,
    place_of,
)
from moonshot_async.cli.doctor.plan import examine
from moonshot_async.transports import AiohttpTransport
from moonshot_async.transports.tls import strict, trusting
from tests.scripted import Peer, Play, ScriptedServer, Start, silent
from tests.transports.test_tls import NOW, PAST, Certificate, certificate, old, serving

FUTURE = ("20500101000000Z", "20600101000000Z")
SOON = (NOW[0], f"{datetime.now(UTC) + timedelta(days=3):%y%m%d%H%M%S}Z")
PASSWORD = "canary-password"
OTHER = b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    folder = tmp_path_factory.mktemp("doctor")
    kinds = {"good": NOW, "expired": PAST, "future": FUTURE, "soon": SOON}
    made = {kind: certificate(folder / kind, "IP:127.0.0.1", times) for kind, times in kinds.items()}
    return made | {"of another": certificate(folder / "other", "DNS:elsewhere.test", NOW)}


def directly(url: str) -> Place:
    return place_of(url, proxies={})


def behind(proxy: str, url: str = "https://h.test/v1") -> Place:
    return place_of(url, proxies={"https": proxy, "http": proxy}, bypass=lambda host: False)


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- where


@pytest.mark.parametrize(
    ("url", "proxies", "expected"),
    [
        ("https://api.moonshot.cn/v1", {}, ("api.moonshot.cn", 443, True, None)),
        ("http://[::1]/v1", {"https": "http://p:1"}, ("::1", 80, False, None)),
        ("https://h:8443", {"https": "http://p:3128"}, ("h", 8443, True, ("p:3128", False, "HTTPS_PROXY", ""))),
        ("https://h", {"all": "https://p"}, ("h", 443, True, ("p:443", True, "ALL_PROXY", ""))),
        ("http://h", {"http": "p"}, ("h", 80, False, ("p:80", False, "HTTP_PROXY", ""))),
        (
            "https://h",
            {"https": "http://u:p%40ss@p:1"},
            ("h", 443, True, ("p:1", False, "HTTPS_PROXY", "Basic dTpwQHNz")),
        ),
        ("https://h", {"https": "http://u@p:1"}, ("h", 443, True, ("p:1", False, "HTTPS_PROXY", "Basic dTo="))),
        ("https://skipped", {"https": "http://p:1"}, ("skipped", 443, True, None)),
    ],
)
def test_the_place_is_read_off(url: str, proxies: dict[str, str], expected: tuple[Any, ...]) -> None:
    place = place_of(url, proxies=proxies, bypass=lambda host: host == "skipped")
    proxy = place.proxy
    told = None if proxy is None else (proxy.address, proxy.tls, proxy.variable, proxy.authorization)
    assert (place.host, place.port, place.tls, told) == expected
    assert "dTp" not in repr(place)


@pytest.mark.parametrize("proxy", ["socks5://p:1", "http://", "http://p:port"])
async def test_a_proxy_that_cannot_be_used_is_named(proxy: str) -> None:
    place = place_of("https://h", proxies={"https": proxy})
    finding = await check_proxy(place)
    assert finding.status == "fail"
    assert finding.found.startswith("HTTPS_PROXY ")


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", "here.test")
    assert place_of("https://elsewhere.test").proxy is not None
    assert place_of("https://here.test").proxy is None


# --- names


async def test_a_name_has_addresses(no_leaks: None) -> None:
    infos = [(0, 0, 0, "", (f"192.0.2.{number}", 0)) for number in (1, 1, 2, 3, 4)]
    finding = await check_dns(directly("https://h.test"), look_up=lambda *args: infos)
    assert finding.status == "ok"
    assert finding.found.startswith("h.test is 192.0.2.1, 192.0.2.2, 192.0.2.3 and 1 more (")
    assert finding.details["addresses"][-1] == "192.0.2.4"
    assert (await check_dns(directly("https://[::1]:1"))).found.startswith("::1 is an address")


async def test_a_name_that_nobody_knows_is_named() -> None:
    def look_up(*args: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    finding = await check_dns(directly("https://h.test"), look_up=look_up)
    assert finding.found == "the name h.test was not found: Temporary failure in name resolution"
    assert (await check_dns(directly("https://" + "x" * 70 + ".test"))).status == "fail"


async def test_a_lookup_that_hangs_is_given_up() -> None:
    release = threading.Event()
    finding = await check_dns(directly("https://h.test"), timeout=0.05, look_up=lambda *args: [release.wait(20)])
    release.set()
    assert finding.status == "fail"
    assert finding.found == "no name server said within 0.05 s what the address of h.test is"


async def test_of_a_proxy_its_own_name_counts() -> None:
    place = behind("http://127.0.0.1:1")
    assert (await check_dns(place)).found.startswith("127.0.0.1 is an address")


# --- connections


async def test_a_connection_is_made(no_leaks: None, scripted: Start) -> None:
    server = await scripted(silent)
    finding = await check_tcp(directly(server.url))
    assert finding.status == "ok"
    assert "takes connections" in finding.found


async def test_a_host_that_takes_none_is_named() -> None:
    finding = await check_tcp(directly(f"http://127.0.0.1:{closed_port()}"))
    assert finding.status == "fail"
    assert "Connection refused" in finding.found
    proxy = place_of(
        "https://h.test", proxies={"https": f"http://127.0.0.1:{closed_port()}"}, bypass=lambda host: False
    )
    assert "no connection to the proxy 127.0.0.1:" in (await check_tcp(proxy)).found
    assert (await check_tcp(directly("https://" + "x" * 70 + ".test"))).status == "skip"


async def test_an_address_that_does_not_work_beside_one_that_does_is_named(
    scripted: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await scripted(silent)
    port = int(server.url.rsplit(":")[-1].removesuffix("/v1"))
    infos = [(0, 0, 0, "", ("::1", port)), (0, 0, 0, "", ("127.0.0.1", port))]
    monkeypatch.setattr("moonshot_async.cli.doctor.network.socket.getaddrinfo", lambda *args: infos)
    connect = asyncio.open_connection

    async def open_connection(host: str, port: int) -> Any:
        if host == "::1":
            await asyncio.Event().wait()
        return await connect(host, port)

    monkeypatch.setattr("moonshot_async.cli.doctor.network.asyncio.open_connection", open_connection)
    finding = await check_tcp(directly(f"https://h.test:{port}"), timeout=0.2)
    assert finding.status == "warn"
    assert "::1: nothing came within 0.2 s" in finding.found


# --- proxies


def through(server: ScriptedServer, url: str = "https://api.test/v1") -> Place:
    proxy = server.url.removesuffix("/v1").replace("//", f"//user:{PASSWORD}@")
    return behind(proxy, url)


def saying(answer: bytes) -> Play:
    """A proxy that says always the same."""

    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)

    return play


async def test_a_proxy_that_lets_through_is_good(no_leaks: None, scripted: Start) -> None:
    heads: list[bytes] = []

    async def play(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await peer.gone()

    server = await scripted(play)
    finding = await check_proxy(through(server, "https://[2001:db8::1]:8443/v1"))
    assert finding.status == "ok"
    assert "leads to 2001:db8::1:8443" in finding.found
    assert heads[0].startswith(b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nProxy-Auth")


@pytest.mark.parametrize(
    ("answer", "words", "advice"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            "refuses api.test:443: 403 Forbidden",
            "Have whoever runs it allow api.test",
        ),
        (b"HTTP/1.0 502\r\n\r\n", "refuses api.test:443: 502", "NO_PROXY=api.test"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407", "It wants a user and a password"),
        (b"SSH-2.0-x\r\n\r\n", "cannot be used: it speaks no HTTP", "unset HTTPS_PROXY"),
        (b"", "cannot be used: it closed the connection", "unset HTTPS_PROXY"),
        (b"x" * 70_000, "cannot be used: it closed the connection, or speaks no HTTP", "unset HTTPS_PROXY"),
    ],
)
async def test_a_proxy_that_refuses_is_named(
    no_leaks: None, scripted: Start, answer: bytes, words: str, advice: str
) -> None:
    finding = await check_proxy(through(await scripted(saying(answer))))
    assert finding.status == "fail"
    assert words in finding.found
    assert advice in finding.advice
    assert PASSWORD not in finding.found + finding.advice


async def test_a_proxy_that_is_not_there_is_named() -> None:
    place = place_of(
        "https://h.test", proxies={"https": f"http://127.0.0.1:{closed_port()}"}, bypass=lambda host: False
    )
    finding = await check_proxy(place)
    assert "cannot be used: Connection refused" in finding.found
    assert (await check_proxy(directly("https://h.test"))).found == "none is set for h.test"


async def test_a_proxy_for_plain_http_is_warned_of(scripted: Start) -> None:
    heads: list[bytes] = []

    async def play(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\n\r\n")

    assert (await check_proxy(through(await scripted(play), "http://api.test/v1"))).status == "warn"
    assert heads[0].startswith(b"GET http://api.test/v1/models HTTP/1.1\r\nHost: api.test:80\r\nProxy-Auth")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses api.test:80: 403 Forbidden"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refuses api.test:80: 407"),
        (b"", "cannot be used: it closed the connection"),
    ],
)
async def test_a_proxy_that_refuses_plain_http_is_named(
    no_leaks: None, scripted: Start, answer: bytes, words: str
) -> None:
    finding = await check_proxy(through(await scripted(saying(answer)), "http://api.test/v1"))
    assert finding.status == "fail"
    assert words in finding.found
    assert PASSWORD not in finding.found + finding.advice


async def test_a_proxy_that_refuses_is_named_beside_what_else_is_looked_at(
    no_leaks: None, scripted: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await scripted(saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
    monkeypatch.setenv("https_proxy", server.url.removesuffix("/v1"))
    url = "https://api.test/v1"
    transport = AiohttpTransport(trust_env=True)
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=url, max_retries=0, transport=transport) as client:
        findings = await examine(client, place_of(url), key=Finding("key", "ok", ""), timeout=5)
    found = {finding.check: finding for finding in findings}
    assert found["proxy"].status == found["access"].status == "fail"
    assert "403 Forbidden" in found["proxy"].found
    assert "the proxy answered with status 403" in found["access"].found
    assert found["tcp"].status == "ok"
    assert found["tls"].status == "skip"


# --- certificates


def secured(cert: Certificate, answer: bytes = OTHER, *, heard: list[bytes] | None = None) -> ScriptedServer:
    """A server with a certificate, that says always the same."""

    async def play(peer: Peer) -> None:
        head = await peer.head()
        if heard is not None:
            heard.append(head)
        await peer.send(answer)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    return ScriptedServer(play, context)


async def test_a_good_certificate_is_told(certificates: dict[str, Certificate], no_leaks: None) -> None:
    async with serving(certificates["good"]) as (url, heard):
        finding = await check_tls(directly(url), context=trusting(certificates["good"][0]))
    assert finding.status == "ok"
    assert finding.found.startswith("certificate of test, good until 2099-12-31 (TLSv1.3")
    assert heard == []


async def test_one_that_will_expire_is_warned_of(certificates: dict[str, Certificate]) -> None:
    async with serving(certificates["soon"]) as (url, _):
        finding = await check_tls(directly(url), context=trusting(certificates["soon"][0]))
    assert finding.status == "warn"


@pytest.mark.parametrize(
    ("kind", "trusted", "words", "advice"),
    [
        (
            "expired",
            "expired",
            "the certificate of 127.0.0.1 expired on 2020-01-02",
            "If this machine's clock is right",
        ),
        ("expired", None, "the certificate of 127.0.0.1 expired on 2020-01-02", "has to renew it"),
        ("future", "future", "the certificate of 127.0.0.1 is not valid before 2050-01-01", "clock"),
        ("of another", "of another", "the certificate is not for 127.0.0.1 (issued by test)", "base URL"),
        ("good", None, "this machine does not trust the certificate of 127.0.0.1 (issued by test)", "SSL_CERT_FILE"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_named(
    certificates: dict[str, Certificate], kind: str, trusted: str | None, words: str, advice: str, no_leaks: None
) -> None:
    context = strict() if trusted is None else trusting(certificates[trusted][0])
    heard: list[bytes] = []
    async with secured(certificates[kind], heard=heard) as server:
        finding = await check_tls(directly(server.url), context=context, timeout=5)
    assert (finding.status, finding.found) == ("fail", words)
    assert advice in finding.advice
    # Whoever has no good certificate is told nothing but the name.
    assert heard == [b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"]


async def test_a_clock_that_makes_a_certificate_expire_is_named(certificates: dict[str, Certificate]) -> None:
    date = format_datetime(datetime.now(UTC), usegmt=True).encode()
    async with secured(certificates["expired"], b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: %s\r\n\r\n" % date) as server:
        finding = await check_tls(
            directly(server.url), context=strict(), now=lambda: datetime(2040, 1, 1, tzinfo=UTC), timeout=5
        )
    assert f"expired on 2020-01-02; by the server's clock it is {datetime.now(UTC):%Y-%m-%d}" in finding.found
    assert finding.advice == "This machine's clock says 2040-01-01: set it."


async def test_a_server_that_speaks_no_http_does_not_say_what_time_it_is(
    certificates: dict[str, Certificate],
) -> None:
    async with secured(certificates["expired"], b"x" * 70_000) as server:
        finding = await check_tls(directly(server.url), context=strict(), timeout=5)
    assert finding.found == "the certificate of 127.0.0.1 expired on 2020-01-02"


async def test_other_reasons_are_told_as_they_are(certificates: dict[str, Certificate]) -> None:
    context = ssl.create_default_context(cafile=certificates["good"][0])
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    async with secured(certificates["good"]) as server:
        finding = await check_tls(directly(server.url), context=context, timeout=5)
    assert finding.found == "the certificate of 127.0.0.1 was refused: unable to get certificate CRL (issued by test)"


async def test_an_expired_certificate_is_named_and_the_rest_is_looked_at(
    certificates: dict[str, Certificate], no_leaks: None
) -> None:
    async with AsyncExitStack() as stack:
        heard: list[bytes] = []
        url = (await stack.enter_async_context(secured(certificates["expired"], heard=heard))).url
        transport = AiohttpTransport(ca_file=certificates["expired"][0])
        client = AsyncMoonshot(api_key="sk-canary-01", base_url=url, max_retries=0, transport=transport)
        await stack.enter_async_context(client)
        context = trusting(certificates["expired"][0])
        key = Finding("key", "ok", "")
        findings = await examine(client, directly(url), key=key, timeout=5, context=context)
        assert not any(b"canary" in said for said in heard)
    found = {finding.check: finding for finding in findings}
    assert "expired on 2020-01-02" in found["tls"].found
    assert "certificate has expired" in found["access"].found
    assert found["tcp"].status == "ok"


async def test_old_tls_and_no_tls_are_named(certificates: dict[str, Certificate], scripted: Start) -> None:
    async with serving(certificates["good"], old) as (url, _):
        finding = await check_tls(directly(url), context=trusting(certificates["good"][0]))
    assert finding.status == "fail"
    assert "agree on no encryption: it was broken off" in finding.found
    mute = await scripted(gone)
    finding = await check_tls(directly(mute.url.replace("http:", "https:")), timeout=0.5)
    assert finding.status == "fail"
    assert "agree on no encryption" in finding.found


async def hasty(peer: Peer) -> None:
    """A server of plain HTTP that takes no TLS for a request."""
    await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def gone(peer: Peer) -> None:
    """A server that says nothing."""


async def test_http_where_tls_is_expected_is_named(no_leaks: None, scripted: Start) -> None:
    server = await scripted(hasty)
    finding = await check_tls(directly(server.url.replace("http:", "https:")), timeout=0.5)
    assert finding.status == "fail"
    assert finding.found.endswith("speaks plain HTTP, and the base URL says https")


async def test_tls_where_http_is_expected_is_named(
    no_leaks: None, certificates: dict[str, Certificate], scripted: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_PROBE", 0.3)
    async with serving(certificates["good"]) as (url, _):
        finding = await check_tls(directly(url.replace("https:", "http:")))
    assert finding.status == "fail"
    assert finding.found.endswith("speaks TLS, and the base URL says http")
    for url in ((await scripted(hasty)).url, (await scripted(gone)).url, f"http://127.0.0.1:{closed_port()}"):
        assert (await check_tls(directly(url))).found == "the base URL is plain http"


async def test_where_there_is_no_connection_there_is_no_certificate() -> None:
    finding = await check_tls(directly(f"https://127.0.0.1:{closed_port()}"))
    assert (finding.status, finding.found) == ("skip", "there is no connection to look at: Connection refused")


async def test_the_certificate_behind_a_proxy_is_looked_at(
    no_leaks: None, certificates: dict[str, Certificate], scripted: Start
) -> None:
    async with serving(certificates["good"]) as (url, _):
        place = directly(url)

        async def play(peer: Peer) -> None:
            await peer.head()
            reader, writer = await asyncio.open_connection(place.host, place.port)
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")

            async def back() -> None:
                while data := await reader.read(65536):
                    await peer.send(data)

            task = asyncio.ensure_future(back())
            try:
                while True:
                    writer.write(await peer.more(1))
            finally:
                task.cancel()
                writer.transport.abort()

        server = await scripted(play)
        finding = await check_tls(through(server, url), context=trusting(certificates["good"][0]), timeout=5)
    assert finding.status == "ok"


async def test_a_proxy_that_speaks_tls_is_asked_so(certificates: dict[str, Certificate]) -> None:
    async with serving(certificates["good"]) as (url, heard):
        place = behind(url.removesuffix("/v1"))
        finding = await check_proxy(place, timeout=0.5)
        assert finding.status == "fail"
        assert "self-signed certificate" in finding.found.replace("self signed", "self-signed")
        assert heard == []


@pytest.mark.parametrize("make", [lambda der: b"", lambda der: der[:60], lambda der: b"\x30\x03\x30\x01\x00"])
def test_what_is_no_certificate_is_not_read(
    certificates: dict[str, Certificate], make: Callable[[bytes], bytes]
) -> None:
    with open(certificates["good"][0]) as file:  # noqa: PTH123  # a text that is a path
        whole = ssl.PEM_cert_to_DER_cert(file.read())
    known = read_certificate(whole)
    assert known is not None
    assert (known.issuer, known.not_before) == ("test", datetime(2020, 1, 1, tzinfo=UTC))
    assert read_certificate(make(whole)) is None


def der(kind: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content).to_bytes(2)
    return bytes([kind]) + (size[1:] if len(content) < 128 else b"\x82" + size) + content


@pytest.mark.parametrize(
    ("names", "issuer"),
    [
        ([(b"\x55\x04\x06", "XX"), (b"\x55\x04\x0a", "Trust"), (b"\x55\x04\x03", "Root 1")], "Trust, Root 1"),
        ([(b"\x55\x04\x06", "XX")], "nobody that it names"),
    ],
)
@pytest.mark.parametrize("version", [b"", der(0xA0, der(2, b"\x02"))])
def test_names_and_dates_are_read(names: list[tuple[bytes, str]], issuer: str, version: bytes) -> None:
    group = der(0x30, *(der(0x31, der(0x30, der(6, kind), der(0x0C, text.encode()))) for kind, text in names))
    validity = der(0x30, der(0x17, b"991231235959Z"), der(0x18, b"20500101000000Z"))
    signed = der(0x30, version, der(2, b"\x01"), der(0x30), group, validity, der(0x30, bytes(300)))
    known = read_certificate(der(0x30, signed, der(0x30), der(3)))
    assert known is not None
    assert known.issuer == issuer
    assert known.not_before == datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert known.not_after == datetime(2050, 1, 1, tzinfo=UTC)


async def test_a_certificate_that_cannot_be_read_is_good_all_the_same(
    certificates: dict[str, Certificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonshot_async.cli.doctor.tls.certificate", lambda der: None)
    async with secured(certificates["good"]) as server:
        good = await check_tls(directly(server.url), context=trusting(certificates["good"][0]))
        bad = await check_tls(directly(server.url), timeout=5)
    assert good.found.startswith("the certificate is good (TLSv1")
    assert bad.found == "this machine does not trust the certificate of 127.0.0.1"
