"""Whatever stands in a header, an address, an id or a name: it is refused before I/O, or it stays where it was put."""

import asyncio
import contextlib
import email
import email.policy
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from moonshot_async import APIResponseValidationError, AsyncMoonshot, ConfigurationError
from tests.scripted import ASK, COMPLETION, Peer, ScriptedServer, Start, answer

ClientOf = Callable[..., AsyncMoonshot]

# What ends a line, a part, a segment or a text somewhere, and what only looks as if it did.
TOKENS = [
    *("\r\n", "\n", "\r", "\0", "\r\nX-Evil: 1", "\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", "\x0b", "\x0c", "\x1c", "\x85"),
    *("\u2028", "\u2029", "\u560d\u560a", "嘊嘍", "\x7f", "\x1b[2J", "\ud800", "\udc80", "\udfff"),
    *("..", "../", "/..", "/", "//", "\\", "..\\", "%2e%2e", "%2e%2e/", "%2F", "%00", "%0d%0a", "%", "%zz"),
    *(
        "?",
        "#",
        "&",
        "=",
        ";",
        ":",
        "@",
        "+",
        " ",
        "\t",
        "a",
        "ä",
        "你",
        "😀",
        '"',
        "'",
        "\\",
        "--",
        "--boundary",
        "\r\n--",
    ),
    *('"; filename="evil', "\r\nContent-Type: text/html", "evil.test", "http://evil.test/", "\ufeff", "\u202e"),
]


def nasty(count: int, *, seed: int) -> list[str]:
    """Every token alone, and many of them together."""
    pick = random.Random(seed)
    return [*TOKENS, *("".join(pick.choices(TOKENS, k=pick.randint(1, 5))) for _ in range(count))]


async def recording(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(COMPLETION))


@pytest.fixture
async def server(scripted: Start) -> AsyncIterator[ScriptedServer]:
    """Answers everything, and was never spoken to in another way than HTTP has it."""
    server = await scripted(recording)
    yield server
    for head, _ in server.requests:
        line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert len(line.split(b" ")) == 3
        assert all(b":" in header and b"\n" not in header for header in headers)
        assert b"x-evil" not in [header.partition(b":")[0].lower() for header in headers]
        assert line.split(b" ")[1].startswith(b"/v1/")


def header_names(head: bytes) -> list[bytes]:
    return sorted(line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line)


async def sent(server: ScriptedServer, call: Any) -> bytes | None:
    """The head of the request that a call sent; None if it was refused before it sent anything."""
    before = len(server.requests)
    try:
        await call
    except ConfigurationError:
        assert len(server.requests) == before
        return None
    except APIResponseValidationError:
        pass  # The server answers all with the same.
    [(head, _)] = server.requests[before:]
    return head


async def test_a_value_of_a_header_stays_one_value(server: ScriptedServer, client_of: ClientOf) -> None:
    client = client_of(server)
    plain = await sent(server, client.chat.completions.create(**ASK, extra_headers={"X-Mine": "a"}))
    assert plain is not None
    refused = 0
    for value in nasty(300, seed=1):
        head = await sent(server, client.chat.completions.create(**ASK, extra_headers={"X-Mine": value}))
        if head is None:
            refused += 1
            assert any(ord(char) < 32 or 0x7F <= ord(char) < 0x80 or 0xD800 <= ord(char) < 0xE000 for char in value)
            with pytest.raises(ConfigurationError, match="X-Mine"):
                client.with_options(default_headers={"X-Mine": value})
            continue
        assert header_names(head) == header_names(plain)
        line = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"x-mine:"))
        assert line.partition(b":")[2].strip() == value.encode().strip()
    assert refused > 100


async def test_a_name_of_a_header_is_a_name_or_is_refused(server: ScriptedServer, client_of: ClientOf) -> None:
    client = client_of(server)
    plain = await sent(server, client.chat.completions.create(**ASK))
    assert plain is not None
    for name in ["", "X Y", "X:Y", "Ä", *nasty(100, seed=2)]:
        head = await sent(server, client.chat.completions.create(**ASK, extra_headers={name: "a"}))
        if head is not None:
            assert header_names(head) == sorted([*header_names(plain), name.lower().encode()])


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
async def test_how_a_body_is_framed_is_not_for_a_header_to_say(
    server: ScriptedServer, client_of: ClientOf, name: str
) -> None:
    for value in ("5", "chunked"):
        with pytest.raises(ConfigurationError, match="set by the SDK"):
            await client_of(server).chat.completions.create(**ASK, extra_headers={name: value})
        with pytest.raises(ConfigurationError, match="set by the SDK"):
            client_of(server, default_headers={name: value})
    assert not server.requests


async def test_a_query_is_what_was_given(server: ScriptedServer, client_of: ClientOf) -> None:
    client = client_of(server)
    for text in nasty(200, seed=3):
        head = await sent(server, client.chat.completions.create(**ASK, extra_query={text: text, "b": "1"}))
        if head is None:
            with pytest.raises(UnicodeEncodeError):
                text.encode()
            continue
        target = head.split(b" ")[1].decode()
        assert urlsplit(target).path == "/v1/chat/completions"
        assert parse_qsl(urlsplit(target).query, keep_blank_values=True) == [(text, text), ("b", "1")]


async def test_an_id_stays_one_segment_of_the_path(server: ScriptedServer, client_of: ClientOf) -> None:
    client = client_of(server)
    for text in ["", " ", ".", "..", *nasty(200, seed=4)]:
        for call, place in (
            (client.files.content(text), "/v1/files/{}/content"),
            (client.batches.cancel(text), "/v1/batches/{}/cancel"),
        ):
            head = await sent(server, call)
            if head is None:
                assert not text.strip() or text in (".", "..") or any(0xD800 <= ord(char) < 0xE000 for char in text)
                continue
            target = head.split(b" ")[1].decode()
            before, after = place.split("{}")
            assert target.startswith(before)
            assert target.endswith(after)
            segment = target[len(before) : len(target) - len(after)]
            assert not set("/?#\\ ") & set(segment)
            assert unquote(segment) == text


async def test_a_path_stays_below_the_base_url(server: ScriptedServer, client_of: ClientOf) -> None:
    client = client_of(server)
    refused = 0
    for text in nasty(300, seed=5):
        head = await sent(server, client.get(f"/files{text}", cast_to=object))
        if head is None:
            refused += 1
            continue
        path = unquote(urlsplit(head.split(b" ")[1].decode()).path)
        assert path.startswith("/v1/files")
        assert ".." not in path.split("/")
    assert refused > 100
    for path in ("http://evil.test/", "//evil.test/", "https:evil.test", "\\\\evil.test", "@evil.test/", ":80/evil"):
        head = await sent(server, client.get(path, cast_to=object))
        assert head is None or head.startswith(b"GET /v1/")


async def test_the_name_of_a_file_stays_a_name_of_one_part(server: ScriptedServer, client_of: ClientOf) -> None:
    client = client_of(server)
    for text in nasty(40, seed=6):
        before = len(server.requests)
        with contextlib.suppress(ConfigurationError):
            await client.post("/files", cast_to=object, body={"purpose": text}, files={"file": (text, b"bytes")})
        for head, body in server.requests[before:]:
            kind = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type:"))
            message = email.message_from_bytes(kind + b"\r\n\r\n" + body, policy=email.policy.HTTP)
            parts = list(message.iter_parts())
            assert [part.get_param("name", header="content-disposition") for part in parts] == ["purpose", "file"]
            assert [set(map(str.lower, part.keys())) for part in parts] == [
                {"content-disposition"},
                {"content-disposition", "content-type"},
            ]
            assert parts[1].get_payload(decode=True) == b"bytes"


async def test_a_key_is_one_word_or_is_refused_without_being_shown(server: ScriptedServer, client_of: ClientOf) -> None:
    refused = 0
    for text in nasty(150, seed=7):
        key = f"sk-canary-{text}-end"

        async def from_a_function(key: str = key) -> str:
            return key

        for api_key in (key, from_a_function):
            said = ""
            try:
                client = AsyncMoonshot(api_key=api_key, base_url=server.url)
                async with client:
                    head = await sent(server, client.chat.completions.create(**ASK))
            except ConfigurationError as error:
                said, head = str(error), None
            if head is None:
                refused += 1
                assert text.strip() not in said or len(text.strip()) < 2
            else:
                assert b"\r\nAuthorization: Bearer %s\r\n" % key.encode() in head
    assert refused > 100


@pytest.mark.parametrize("text", TOKENS)
async def test_an_address_is_one_or_is_refused(text: str) -> None:
    for url in (f"https://moonshot.test{text}x/v1", f"https://moonshot.test/v1{text}x"):
        try:
            client = AsyncMoonshot(api_key="sk-canary-01", base_url=url)
        except ConfigurationError:
            continue
        await client.aclose()
        assert client.base_url.isprintable()
        assert not set("?# \\") & set(client.base_url)
        assert (urlsplit(client.base_url).hostname or "").startswith("moonshot.test")


@pytest.mark.parametrize("url", ["http://{host}/secret.png", "file:///etc/passwd", "FILE:///etc/passwd", "/etc/passwd"])
async def test_an_address_in_a_message_is_sent_as_it_is_and_never_opened(
    server: ScriptedServer, scripted: Start, client_of: ClientOf, url: str
) -> None:
    elsewhere = await scripted(recording)
    url = url.format(host=urlsplit(elsewhere.url).netloc)
    parts = [{"type": kind, kind: {"url": url}} for kind in ("image_url", "video_url")]
    await client_of(server).chat.completions.create(
        model="kimi-k2.6", messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "What is this?"}]}]
    )
    await asyncio.sleep(0)
    assert not elsewhere.peers
    [(_, body)] = server.requests
    assert [part[part["type"]]["url"] for part in json.loads(body)["messages"][0]["content"][:2]] == [url, url]
