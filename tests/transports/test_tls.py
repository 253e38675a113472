"""Who may answer over TLS: nobody whose certificate is not good, and nothing is said to him before that is known."""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest

from moonshot_async import APIConnectionError, AsyncMoonshot, ConfigurationError
from moonshot_async.transports import AiohttpTransport, MemoryTransport
from moonshot_async.transports.tls import is_strict, strict
from moonshot_async.wire import Request, Response
from tests.scripted import ASK, COMPLETION, answer

CONFIG = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = names
x509_extensions = server
[names]
commonName = supplied
[server]
subjectAltName = {name}
basicConstraints = CA:TRUE
[req]
distinguished_name = nothing
[nothing]
"""
PAST, NOW = ("200101000000Z", "200102000000Z"), ("200101000000Z", "20991231000000Z")

Certificate = tuple[str, str]


def certificate(folder: Path, name: str, times: tuple[str, str]) -> Certificate:
    """A certificate that signs itself, and its key."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    folder.mkdir()
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "cnf").write_text(CONFIG.format(folder=folder, name=name))
    key, request, cert = (str(folder / file) for file in ("key.pem", "request.pem", "cert.pem"))
    for command in (
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key],
        ["req", "-new", "-key", key, "-subj", "/CN=test", "-config", str(folder / "cnf"), "-out", request],
        [
            *("ca", "-batch", "-config", str(folder / "cnf"), "-selfsign", "-keyfile", key, "-in", request),
            *("-out", cert, "-startdate", times[0], "-enddate", times[1], "-notext"),
        ],
    ):
        subprocess.run([openssl, *command], check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    folder = tmp_path_factory.mktemp("tls")
    return {
        "good": certificate(folder / "good", "IP:127.0.0.1", NOW),
        "expired": certificate(folder / "expired", "IP:127.0.0.1", PAST),
        "of another": certificate(folder / "other", "DNS:elsewhere.test", NOW),
    }


@asynccontextmanager
async def serving(
    cert: Certificate, change: Callable[[ssl.SSLContext], None] = lambda context: None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that keeps all that it is told, once the handshake was good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    change(context)
    heard: list[bytes] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            heard.append(data)
            if data.endswith(b"}"):
                writer.write(answer(COMPLETION))
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", heard
    finally:
        server.close()
        await server.wait_closed()


def old(context: ssl.SSLContext) -> None:
    """A server of TLS 1.1 and nothing newer."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1


def permissive() -> ssl.SSLContext:
    """What a build of Python, or a policy of the system, may give as a default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def refused(url: str, **options: Any) -> APIConnectionError:
    async with AsyncMoonshot(
        api_key="sk-canary-01", base_url=url, transport=AiohttpTransport(**options), max_retries=0
    ) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.chat.completions.create(**ASK)
    return caught.value


@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("good", None, "self-signed certificate"),
        ("good", "of another", "self-signed certificate"),
        ("expired", "expired", "certificate has expired"),
        ("of another", "of another", "not valid for '127.0.0.1'"),
    ],
)
async def test_a_certificate_that_is_not_good_is_refused_before_a_word_is_said(
    certificates: dict[str, Certificate], name: str, trusted: str | None, words: str
) -> None:
    async with serving(certificates[name]) as (url, heard):
        error = await refused(url, ca_file=None if trusted is None else certificates[trusted][0])
        assert "certificate was refused" in str(error)
        assert words in str(error).replace("self signed", "self-signed")
        assert not error.retryable
        assert heard == []


@pytest.mark.parametrize("path", [str, Path, os.fsencode])
async def test_the_authorities_in_a_file_are_trusted(
    certificates: dict[str, Certificate], path: Callable[[str], Any]
) -> None:
    async with (
        serving(certificates["good"]) as (url, heard),
        AsyncMoonshot(
            api_key="sk-canary-01", base_url=url, transport=AiohttpTransport(ca_file=path(certificates["good"][0]))
        ) as client,
    ):
        assert (await client.chat.completions.create(**ASK)).choices[0].message.content == "x"
        assert b"Bearer sk-canary-01" in heard[0]


async def test_old_tls_is_refused(certificates: dict[str, Certificate]) -> None:
    async with serving(certificates["good"], old) as (url, heard):
        assert "no connection to" in str(await refused(url, ca_file=certificates["good"][0]))
        assert heard == []
        # It would be taken where it is allowed.
        transport = AiohttpTransport(ssl_context=permissive())
        assert await (await transport.send(Request("POST", url, body=b"{}"))).read() == COMPLETION
        await transport.aclose()


@pytest.mark.parametrize("name", ["good", "expired"])
async def test_a_default_that_is_not_strict_is_not_taken(
    certificates: dict[str, Certificate], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", permissive())
    async with serving(certificates[name]) as (url, heard):
        assert "certificate was refused" in str(await refused(url))
        assert heard == []


async def test_a_context_of_the_callers_is_taken_as_it_is(certificates: dict[str, Certificate]) -> None:
    async with serving(certificates["expired"]) as (url, _):
        transport = AiohttpTransport(ssl_context=permissive())
        response = await transport.send(Request("POST", url, body=b"{}"))
        assert await response.read() == COMPLETION
        await transport.aclose()


def test_strict_is_verified_and_new() -> None:
    assert is_strict(strict())
    assert strict().minimum_version >= ssl.TLSVersion.TLSv1_2
    assert strict() is strict()
    assert not is_strict(permissive())


@pytest.mark.parametrize("make", [lambda folder: folder / "missing", lambda folder: folder, str, lambda _: 5])
def test_a_file_of_authorities_that_cannot_be_used_is_refused_at_once(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    path = make(tmp_path)
    with pytest.raises(ConfigurationError, match=r"ca_file .* cannot be used"):
        AiohttpTransport(ca_file=path)


@pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_file_without_certificates_is_refused_at_once(content: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca_file .* cannot be used"):
        AiohttpTransport(ca_file=tmp_path / "ca.pem")


def test_a_file_and_a_context_exclude_each_other(certificates: dict[str, Certificate]) -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        AiohttpTransport(ca_file=certificates["good"][0], ssl_context=strict())


PROGRAM = """
import asyncio, sys
from moonshot_async import APIConnectionError, AsyncMoonshot

async def main():
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=sys.argv[1], max_retries=0) as client:
        try:
            await client.models.list()
        except APIConnectionError as error:
            return str(error)

print(asyncio.run(main()))
"""
LENIENT = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = lenient
[lenient]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
VerifyMode = Peer
"""


async def test_the_environment_cannot_turn_verification_off(
    certificates: dict[str, Certificate], tmp_path: Path
) -> None:
    (tmp_path / "openssl.cnf").write_text(LENIENT)
    switches = {
        "PYTHONHTTPSVERIFY": "0",
        "CURL_CA_BUNDLE": "",
        "REQUESTS_CA_BUNDLE": "",
        "NODE_TLS_REJECT_UNAUTHORIZED": "0",
        "SSL_NO_VERIFY": "1",
        "SSL_CERT_FILE": os.devnull,
        "OPENSSL_CONF": str(tmp_path / "openssl.cnf"),
    }
    async with (
        serving(certificates["good"]) as (url, heard),
        serving(certificates["good"], old) as (old_url, old_heard),
    ):
        programs = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM, address),
                env={**os.environ, **switches, "PYTHONPATH": str(Path.cwd()), **trusted},
                stdout=subprocess.PIPE,
            )
            for address, trusted in ((url, {}), (old_url, {"SSL_CERT_FILE": certificates["good"][0]}))
        ]
        said = [(await program.communicate())[0].decode() for program in programs]
    assert "certificate was refused" in said[0]
    assert "no connection to" in said[1]
    assert heard == old_heard == []


# --- no TLS at all

HERE = [
    *(
        "http://127.0.0.1:1/v1",
        "http://127.9.8.7/v1",
        "http://localhost/v1",
        "http://LOCALHOST:8000",
        "http://localhost./",
    ),
    *("http://api.localhost/v1", "http://[::1]/v1", "http://[::ffff:127.0.0.1]/v1", "HTTPS://elsewhere.test/v1"),
]
ELSEWHERE = [
    *("http://10.0.0.1/v1", "http://[2001:db8::1]/v1", "http://[::ffff:10.0.0.1]/v1", "http://0.0.0.0/v1"),
    *("http://127.0.0.1.evil.test/v1", "http://localhost.evil.test/v1", "http://xlocalhost/v1", "http://localhost.x."),
    "HTTP://vllm:8000/v1",
]


@pytest.mark.parametrize("own", [False, True], ids=["default", "own transport"])
@pytest.mark.parametrize("url", HERE)
async def test_what_stays_on_this_machine_needs_no_encryption(url: str, own: bool) -> None:
    await AsyncMoonshot(api_key="sk-canary-01", base_url=url, transport=AiohttpTransport() if own else None).aclose()


@pytest.mark.parametrize("own", [False, True], ids=["default", "own transport"])
@pytest.mark.parametrize("url", ELSEWHERE)
async def test_what_leaves_this_machine_readable_is_warned_of_once(url: str, own: bool) -> None:
    with pytest.warns(UserWarning, match=r"base_url is plain http to .* silence this with") as warned:
        client = AsyncMoonshot(api_key="sk-canary-01", base_url=url, transport=AiohttpTransport() if own else None)
    assert [warning.filename for warning in warned] == [__file__]
    client.with_options(timeout=5)
    with pytest.warns(UserWarning, match=r"base_url is plain http to .* silence this with") as warned:
        client.with_options(base_url=url)
    assert [warning.filename for warning in warned] == [__file__]
    with pytest.warns(UserWarning, match=r"base_url is plain http to .* silence this with") as warned:
        client.base_url = url
    assert [warning.filename for warning in warned] == [__file__]
    await client.aclose()


async def test_what_stays_in_this_process_needs_no_warning() -> None:
    async def app(_: Request) -> Response:
        return Response(200, {}, COMPLETION)

    async with AsyncMoonshot(api_key="sk-canary-01", base_url=ELSEWHERE[0], transport=MemoryTransport(app)) as client:
        await client.chat.completions.create(**ASK)
