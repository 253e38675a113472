"""Requests, responses, headers and bodies: what crosses the wire, and what never leaves in a repr or a pickle."""

import copy
import pickle
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import pytest

from moonshot_async import ConfigurationError, Headers, Request, Response, ResponseTooLargeError, Timeout
from moonshot_async.errors import UploadError
from moonshot_async.headers import SECRET_HEADERS, is_secret_header, secrets_in_url, shown_url
from moonshot_async.wire import as_stream

KEY = "sk-canary-key-123"
PROMPT = "Canary prompt of somebody"


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def request(**fields: Any) -> Request:
    headers = Headers({"Authorization": f"Bearer {KEY}", "X-A": "1"})
    return Request("POST", "https://x.example/v1/chat?a=1", headers, PROMPT.encode(), **fields)


def test_headers_are_found_whatever_their_case() -> None:
    headers = Headers([("Content-Type", "a"), ("X-A", "1"), ("x-a", "2")])

    assert headers["content-TYPE"] == "a"
    assert headers["X-a"] == "1, 2"
    assert "x-A" in headers
    assert "x-b" not in headers
    assert 5 not in headers
    assert headers.get("x-b") is None
    with pytest.raises(KeyError):
        headers["x-b"]


def test_headers_that_differ_in_case_alone_count_once() -> None:
    headers = Headers([("A", "1"), ("a", "2"), ("B", "3")])

    assert len(headers) == len(list(headers)) == 2
    assert dict(headers) == {"a": "1, 2", "B": "3"}
    assert headers.get("C") is None
    assert headers.get("c", "none") == "none"


def test_headers_keep_every_pair_in_order() -> None:
    items = (("B", "1"), ("A", "2"), ("B", "3"))

    assert Headers(items).multi_items() == items
    assert list(Headers(items)) == ["B", "A"]
    assert len(Headers(items)) == 2
    assert Headers(Headers(items)).multi_items() == items
    assert Headers({"B": "1"}).multi_items() == (("B", "1"),)


def test_headers_are_laid_over_others_whatever_their_case() -> None:
    headers = Headers({"A": "1", "B": "2", "C": "3"}).merged({"b": "9", "c": None, "d": None, "E": "5"})

    assert headers.multi_items() == (("A", "1"), ("b", "9"), ("E", "5"))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "ä", "a(b)", 5])
def test_a_header_name_that_cannot_be_sent_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"header name .* is not valid"):
        Headers([(name, "x")]).checked()


@pytest.mark.parametrize("value", [f"{KEY}\r\nX-B: 1", f"{KEY}\n", f"{KEY}\0", 5, None])
def test_a_header_value_that_would_end_its_line_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="the value of header 'X-A' must be text") as caught:
        Headers([("X-A", value)]).checked()

    assert KEY not in f"{caught.value!r}"


def test_headers_that_can_be_sent_pass() -> None:
    headers = Headers({"X-A": "värde, 值", "!#$%&'*+-.^_`|~0": ""})

    assert headers.checked() is headers


@pytest.mark.parametrize("name", sorted(SECRET_HEADERS))
def test_secret_headers_are_not_shown(name: str) -> None:
    headers = Headers([(name.title(), KEY), ("X-A", "shown")])

    assert headers[name] == KEY
    assert headers.redacted()[name] == "***"
    for shown in (repr(headers), repr(pickle.dumps(headers, 0)), repr(dict(pickle.loads(pickle.dumps(headers))))):
        assert KEY not in shown
        assert "shown" in shown


@pytest.mark.parametrize(
    "name",
    ["X-Auth-Token", "Ocp-Apim-Subscription-Key", "X-Goog-Api-Key", "X-Amz-Security-Token", "X-My-Secret", "SID"],
)
def test_headers_that_are_called_like_keys_are_not_shown_either(name: str) -> None:
    assert is_secret_header(name)
    assert KEY not in repr(Headers({name: KEY}))


@pytest.mark.parametrize(
    "name",
    ["X-RateLimit-Remaining-Tokens", "Msh-Request-Signature", "Idempotency-Key", "WWW-Authenticate", "Keep-Alive"],
)
def test_headers_that_a_reader_of_errors_wants_are_shown(name: str) -> None:
    assert not is_secret_header(name)
    assert "shown" in repr(Headers({name: "shown"}))


def test_a_header_that_cannot_be_sent_is_not_shown_either() -> None:
    headers: Any = Headers([("X-A", f"{KEY}\r\n"), ("X-B", KEY.encode()), (5, "shown")])

    assert KEY not in repr(headers)
    with pytest.raises(ConfigurationError, match="header name 'Authorization' is not valid") as caught:
        Headers({f"Authorization: Bearer {KEY}": ""}).checked()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown", "hidden"),
    [
        ("https://x.example/v1/a?b=c&d", "https://x.example/v1/a?b=c&d", set()),
        ("https://x.example/?api_key=a%20b&after=f", "https://x.example/?api_key=***&after=f", {"a%20b", "a b"}),
        ("https://x.example/#access_token=abc", "https://x.example/#access_token=***", {"abc"}),
        ("http://me:word@x.example:1/@me", "http://***@x.example:1/@me", {"me", "word"}),
        (
            "http://x.example/?key=a;X-Amz-Signature=b&key=",
            "http://x.example/?key=***;X-Amz-Signature=***&key=",
            {"a", "b"},
        ),
        ("/files/a?token=abc", "/files/a?token=***", {"abc"}),
        ("no URL @ all", "no URL @ all", set()),
    ],
)
def test_a_url_is_shown_without_what_opens_doors(url: str, shown: str, hidden: set[str]) -> None:
    assert shown_url(url) == shown
    assert set(secrets_in_url(url)) == hidden


def test_a_request_hides_a_key_in_its_url_but_sends_it() -> None:
    one = Request("GET", f"https://x.example/v1/models?token={KEY}&a=1")

    for safe in (one.redacted(), pickle.loads(pickle.dumps(one))):
        assert safe.url == "https://x.example/v1/models?token=***&a=1"
    assert repr(one) == "Request(GET https://x.example/v1/models?token=***&a=1, 0 bytes, attempt 1)"
    assert one.url.endswith(f"{KEY}&a=1")


def test_copies_of_what_cannot_change_lose_nothing() -> None:
    one = request(timeout=Timeout(5), deadline=7.0)

    for twin in (copy.copy(one), copy.deepcopy(one), copy.deepcopy([one])[0]):
        assert twin.body == PROMPT.encode()
        assert (twin.deadline, twin.timeout) == (7.0, Timeout(5))
        assert twin.headers["authorization"] == f"Bearer {KEY}"
    assert copy.copy(one.headers)["authorization"] == copy.deepcopy(one.headers)["authorization"] == f"Bearer {KEY}"


def test_a_request_is_made_of_plain_headers_and_passes_on_changed_copies() -> None:
    first = Request("GET", "https://x.example/v1/models?a=1", {"X-A": "1"})  # type: ignore[arg-type]

    second = first.replace(attempt=2, headers=first.headers.merged({"X-B": "2"}))

    assert (first.path, first.content, first.attempt) == ("/v1/models", b"", 1)
    assert isinstance(first.headers, Headers)
    assert (second.attempt, second.headers["x-a"], second.headers["x-b"]) == (2, "1", "2")
    assert "x-b" not in first.headers
    with pytest.raises(AttributeError):
        first.url = "x"  # type: ignore[misc]  # that it is frozen is what this test shows


def test_a_request_gives_its_body_under_the_names_of_httpx() -> None:
    one = Request("POST", "https://x.example/", body=b'{"a":1}')

    assert (one.content, one.json()) == (b'{"a":1}', {"a": 1})


def test_a_request_shows_and_pickles_neither_key_nor_prompt() -> None:
    one = request(attempt=2, stream=True)

    twin = pickle.loads(pickle.dumps(one))
    redacted = one.redacted()

    for shown in (repr(one), repr(pickle.dumps(one, 0)), repr(redacted), repr(dict(redacted.headers))):
        assert KEY not in shown
        assert "somebody" not in shown
    for safe in (twin, redacted):
        assert (safe.method, safe.url, safe.body, safe.attempt, safe.stream) == (one.method, one.url, b"", 2, True)
        assert (safe.headers["authorization"], safe.headers["x-a"]) == ("***", "1")
    assert repr(one) == f"Request(POST https://x.example/v1/chat?a=1, {len(PROMPT)} bytes, attempt 2)"


class Body:
    """An upload of some pieces that may promise another length."""

    def __init__(self, *pieces: bytes, length: int | None = None) -> None:
        self.length = sum(map(len, pieces)) if length is None else length
        self.runs: list[str] = []
        self._pieces = pieces

    async def pieces(self) -> AsyncIterator[bytes]:
        self.runs.append("open")
        try:
            for piece in self._pieces:
                yield piece
        finally:
            self.runs[-1] = "closed"


class Plain:
    """An upload whose pieces know no closing."""

    length = 2

    def pieces(self) -> AsyncIterator[bytes]:
        return Letters()


class Letters:
    def __init__(self) -> None:
        self.left = [b"a", b"b"]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


async def test_an_upload_is_read_from_its_beginning_each_time() -> None:
    upload = Body(b"ab", b"c")
    one = Request("POST", "https://x.example/", body=upload)

    assert [await one.read(), await one.read()] == [b"abc", b"abc"]
    assert upload.runs == ["closed", "closed"]
    assert await Request("POST", "https://x.example/", body=Plain()).read() == b"ab"
    assert await request().read() == PROMPT.encode()


def test_an_upload_shows_its_length_and_nothing_else() -> None:
    one = Request("POST", "https://x.example/", body=Body(b"ab", b"c"))

    assert (one.length, repr(one)) == (3, "Request(POST https://x.example/, 3 bytes, attempt 1)")
    for call in (lambda: one.content, one.json):
        with pytest.raises(RuntimeError, match=r"await request\.read\(\) first"):
            call()
    assert one.redacted().body == pickle.loads(pickle.dumps(one)).body == b""
    assert copy.deepcopy(one).body is one.body is one.replace(attempt=2).body


@pytest.mark.parametrize(("length", "words"), [(4, "1 fewer bytes than the 4"), (2, "more bytes than the 2")])
async def test_an_upload_that_breaks_its_promise_is_told(length: int, words: str) -> None:
    upload = Body(b"ab", b"c", length=length)

    with pytest.raises(UploadError, match=words) as caught:
        await Request("POST", "https://x.example/", body=upload).read()

    assert not caught.value.retryable
    assert upload.runs == ["closed"]


@pytest.mark.parametrize(
    "content", [b"abc", bytearray(b"abc"), "abc", [b"a", b"", b"bc"], pieces_of(b"a", b"", b"bc"), as_stream(b"abc")]
)
async def test_a_body_may_be_given_in_any_form(content: Any) -> None:
    response = Response(200, {}, content)

    assert await response.read() == b"abc"
    assert (response.content, response.text) == (b"abc", "abc")
    assert await response.read() == b"abc"


@pytest.mark.parametrize("content", [b"", "", [], [b"", b""], pieces_of(), pieces_of(b"")])
async def test_a_body_that_is_at_its_end_says_so_again_and_again(content: Any) -> None:
    body = as_stream(content)

    assert [await body.read() for _ in range(3)] == [b"", b"", b""]


async def test_a_body_is_handed_out_piece_by_piece() -> None:
    for body in (as_stream([b"a", b"b"]), as_stream(pieces_of(b"a", b"b"))):
        assert [await body.read(time.monotonic() + 60) for _ in range(3)] == [b"a", b"b", b""]


@pytest.mark.parametrize("content", [[b"a", b"b"], pieces_of(b"a", b"b")])
async def test_a_body_that_was_closed_has_no_more(content: Iterable[bytes] | AsyncIterator[bytes]) -> None:
    body = as_stream(content)
    assert await body.read() == b"a"

    body.close()
    body.close()

    assert await body.read() == b""


async def test_a_read_that_takes_too_long_is_ended_by_its_deadline() -> None:
    async def endless() -> AsyncIterator[bytes]:
        import asyncio

        await asyncio.Event().wait()
        yield b"never"

    with pytest.raises(TimeoutError):
        await Response(200, {}, endless()).read(deadline=time.monotonic())


async def test_a_body_larger_than_its_bound_is_refused_and_closed() -> None:
    response = Response(200, {}, [b"abc", b"de", b"f"])

    with pytest.raises(ResponseTooLargeError, match="larger than 4 bytes"):
        await response.read(max_bytes=4)

    assert await response.body.read() == b""
    assert await Response(200, {}, [b"abc", b"d"]).read(max_bytes=4) == b"abcd"


async def test_a_response_speaks_the_words_of_httpx() -> None:
    response = Response(201, {"X-A": "1"}, b'{"a":"\xff"}', request=request())

    assert (response.status_code, response.headers["x-a"], response.url) == (201, "1", request().url)
    with pytest.raises(RuntimeError, match="has not been read yet"):
        _ = response.content
    await response.read()
    assert response.text == '{"a":"\ufffd"}'
    assert Response(200).url is None
    assert repr(response) == "<Response [201 Created]>"
    assert repr(Response(529)) == "<Response [529]>"


async def test_a_body_that_was_kept_is_read_from_memory() -> None:
    response = Response(200, {}, [b"a", b"b"])

    response.keep(b'{"a":1}')

    assert await response.body.read() == b""
    assert (await response.read(), response.json()) == (b'{"a":1}', {"a": 1})


async def test_a_response_can_be_closed_at_once_or_by_a_context() -> None:
    first, second = Response(200, {}, [b"a"]), Response(200, {}, [b"a"])

    first.close()
    async with aclosing(second):
        pass

    assert (await first.body.read(), await second.body.read()) == (b"", b"")


async def test_a_response_can_be_pickled_without_its_secrets() -> None:
    response = Response(200, {"Msh-Uid": "u-77", "X-A": "1"}, b"abc", request=request())

    unread = pickle.loads(pickle.dumps(response))
    await response.read()
    read = pickle.loads(pickle.dumps(response))

    assert (read.status, read.headers["x-a"], read.content, read.request.body) == (200, "1", b"abc", b"")
    with pytest.raises(RuntimeError):
        _ = unread.content
    assert pickle.loads(pickle.dumps(Response(204))).request is None
    for secret in (KEY, "somebody", "u-77"):
        assert secret.encode() not in pickle.dumps(response)
