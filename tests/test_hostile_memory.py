"""Whatever a server sends, it ends in its error soon, and memory stays small. The client is a process of its own."""

import json
import re
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from tests.scripted import COMPLETION, DELTA, FINISH, LAST_CHUNK, SSE_HEAD, answer, chunk, events

MAX_GROWTH_KIB = 64 * 1024
MAX_SECONDS = 30

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts memory this way")

Pieces = Iterator[bytes]

OK = b"HTTP/1.1 200 OK\r\n"
JSON_HEAD = OK + b"Content-Type: application/json\r\n"
SSE_TO_THE_END = OK + b"Content-Type: text/event-stream\r\n\r\n"
WHOLE = answer(COMPLETION)


def first(head: bytes, piece: bytes, size: int = 256 * 1024) -> Pieces:
    """A beginning, and then the same again and again without end."""
    return chain([head], repeat(piece * max(1, size // len(piece))))


def bomb(text: bytes, *, wbits: int) -> Pieces:
    """768 MiB, compressed to less than one: a MiB whose compressed form may be repeated as it is."""
    coder = zlib.compressobj(9, wbits=wbits)
    head = coder.compress(b"") + coder.flush(zlib.Z_FULL_FLUSH)
    once = coder.compress(text * (2**20 // len(text))) + coder.flush(zlib.Z_FULL_FLUSH)
    again = coder.compress(text * (2**20 // len(text))) + coder.flush(zlib.Z_FULL_FLUSH)
    assert len(again) * 768 < 2**20
    yield head + once + again * 767


def compressed(head: bytes, coding: bytes, text: bytes) -> Pieces:
    yield head + b"Content-Encoding: %s\r\n\r\n" % coding
    yield from bomb(text, wbits=31 if coding == b"gzip" else 15)


NESTED = b"[" * 100_000 + b"]" * 100_000
COMMENT = b":" + b"c" * (2**20 - 2) + b"\n"
ERROR = b"HTTP/1.1 500 Oops\r\n"

# What is sent, the error that it ends in, and the bound that it names.
CASES: dict[str, tuple[Callable[[], Pieces], str | None, str | None]] = {
    "status-line": (lambda: first(b"HTTP/1.1 200 ", b"O"), "ResponseTooLargeError", "max_head_bytes"),
    "header-line": (lambda: first(OK + b"X: ", b"y"), "ResponseTooLargeError", "max_head_bytes"),
    "header-name": (lambda: first(OK, b"y"), "ResponseTooLargeError", "max_head_bytes"),
    "headers": (lambda: first(OK, b"X: y\r\n"), "ResponseTooLargeError", "max_head_bytes"),
    "interim-heads": (
        lambda: first(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "ResponseTooLargeError",
        "max_head_bytes",
    ),
    "interim-heads-with-lengths": (
        lambda: first(b"", b"HTTP/1.1 103 Hints\r\nContent-Length: 5\r\n\r\n"),
        "ResponseTooLargeError",
        "max_head_bytes",
    ),
    "another-protocol": (
        lambda: first(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", b"x"),
        "APIConnectionError",
        None,
    ),
    "body": (lambda: first(JSON_HEAD + b"\r\n", b" "), "ResponseTooLargeError", "max_body_bytes"),
    "chunk-extension": (
        lambda: first(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;", b"x"),
        "ResponseTooLargeError",
        "max_trailer_bytes",
    ),
    "trailers": (
        lambda: first(
            JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(COMPLETION) + b"0\r\n", b"X-Sum: 123\r\n"
        ),
        "ResponseTooLargeError",
        "max_trailer_bytes",
    ),
    "trailer-line": (
        lambda: first(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(COMPLETION) + b"0\r\nX: ", b"y"),
        "ResponseTooLargeError",
        "max_trailer_bytes",
    ),
    "one-byte-chunks": (
        lambda: chain([JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], [chunk(b"x") * 1000] * 1000, [LAST_CHUNK]),
        "APIResponseValidationError",
        None,
    ),
    "nested": (lambda: iter([answer(NESTED)]), "ResponseTooLargeError", "max_depth"),
    "nested-in-a-field": (
        lambda: iter([answer(COMPLETION.replace(b'"x"', NESTED))]),
        "ResponseTooLargeError",
        "max_depth",
    ),
    "gzip-bomb": (lambda: compressed(JSON_HEAD, b"gzip", b" "), "ResponseTooLargeError", "max_decompressed_bytes"),
    "deflate-bomb": (
        lambda: compressed(JSON_HEAD, b"deflate", b" "),
        "ResponseTooLargeError",
        "max_decompressed_bytes",
    ),
    "error-body": (
        lambda: chain([ERROR + b"Content-Length: 1073741824\r\n\r\n"], repeat(b"x" * 2**20, 1024)),
        "InternalServerError",
        None,
    ),
    "error-bomb": (lambda: compressed(ERROR, b"gzip", b"x"), "InternalServerError", None),
    "error-nested": (
        lambda: iter([answer(b"[" * 30_000 + b"]" * 30_000, status=b"500 Oops")]),
        "InternalServerError",
        None,
    ),
    "more-answers-than-asked-for-lasting": (lambda: first(WHOLE, answer(b"")), None, None),
    "stream-line": (lambda: first(SSE_TO_THE_END + b"data: ", b"x"), "ResponseTooLargeError", "max_event_bytes"),
    "stream-event": (
        lambda: first(SSE_TO_THE_END, b"data: " + b"x" * 1000 + b"\n"),
        "ResponseTooLargeError",
        "max_event_bytes",
    ),
    "stream-field": (lambda: first(SSE_TO_THE_END + b"id: ", b"x"), "ResponseTooLargeError", "max_event_bytes"),
    "stream-comment": (lambda: first(SSE_TO_THE_END + b":", b"x"), "ResponseTooLargeError", "max_event_bytes"),
    "stream-comments": (lambda: first(SSE_TO_THE_END, b": hb\n\n"), "ResponseTooLargeError", "max_silent_lines"),
    "stream-blank-lines": (lambda: first(SSE_TO_THE_END, b"\n"), "ResponseTooLargeError", "max_silent_lines"),
    "stream-fields": (lambda: first(SSE_TO_THE_END, b"event: ping\n\n"), "ResponseTooLargeError", "max_silent_lines"),
    "stream-empty-events": (
        lambda: chain([SSE_TO_THE_END], [b"data:\n\n" * 10_000] * 100),
        "ResponseTooLargeError",
        "max_silent_lines",
    ),
    "stream-one-byte-chunks": (
        lambda: chain([SSE_HEAD], [chunk(b"x") * 1000] * 1000, [LAST_CHUNK]),
        "StreamInterruptedError",
        None,
    ),
    "stream-nested": (lambda: iter([SSE_TO_THE_END + events(NESTED)]), "ResponseTooLargeError", "max_depth"),
    "stream-trailers": (
        lambda: first(SSE_HEAD + chunk(events(DELTA)) + b"0\r\n", b"X-Sum: 123\r\n"),
        "ResponseTooLargeError",
        "max_trailer_bytes",
    ),
    "stream-chunk-extension": (
        lambda: first(SSE_HEAD + chunk(events(DELTA)) + b"1;", b"x"),
        "ResponseTooLargeError",
        "max_trailer_bytes",
    ),
    "stream-gzip-bomb": (
        lambda: compressed(OK + b"Content-Type: text/event-stream\r\n", b"gzip", COMMENT),
        "ResponseTooLargeError",
        "max_decompressed_bytes",
    ),
    "stream-of-words-after-done-lasting": (
        lambda: first(SSE_TO_THE_END + events(DELTA, FINISH, b"[DONE]"), b"data: more\n\n"),
        None,
        None,
    ),
}


LARGE = 4_000_000
LARGE_DELTA = events(DELTA.replace(b'"x"', b'"%s"' % (b"y" * LARGE)))
LITTLE = events(DELTA, FINISH, b"[DONE]")

# What is large and lawful: how many characters it has, in which time, and how long the event loop may be held up.
LAWFUL: dict[str, tuple[Callable[[], Pieces], int, float, float]] = {
    "stream-a-million-chunks": (
        lambda: chain(
            [SSE_HEAD],
            [b"".join(chunk(b"%c" % byte) for byte in events(DELTA)) * 100] * (10**6 // len(events(DELTA)) // 100),
            [chunk(events(FINISH, b"[DONE]")), LAST_CHUNK],
        ),
        10**6 // len(events(DELTA)) // 100 * 100,
        40.0,
        1.0,
    ),
    "stream-a-large-event-in-pieces": (
        lambda: chain(
            [SSE_HEAD],
            (chunk(LARGE_DELTA[start : start + 1000]) for start in range(0, len(LARGE_DELTA), 1000)),
            [chunk(events(FINISH, b"[DONE]")), LAST_CHUNK],
        ),
        LARGE,
        5.0,
        0.5,
    ),
    "large-answers-ten-times": (
        lambda: iter([answer(COMPLETION.replace(b'"x"', b'"%s"' % (b"y" * LARGE)))]),
        LARGE,
        5.0,
        0.5,
    ),
    "a-large-answer": (
        lambda: iter([answer(COMPLETION.replace(b'"x"', b'"%s"' % (b"y" * 20_000_000)))]),
        20_000_000,
        5.0,
        0.5,
    ),
}


class Hostile:
    """A server in threads, one for each connection, that plays the case that the path of the request names."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)

    def _begin(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        try:
            while True:
                self._begin(self._play, self._listening.accept()[0])
        except OSError:
            pass  # Closed.

    def _play(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(MAX_SECONDS)
            try:
                case = self._asked(connection)
                for piece in SAID[case]():
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # The client has gone.

    def _asked(self, connection: socket.socket) -> str:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head.lower())
        assert length is not None
        while len(body) < int(length[1]):
            body += connection.recv(65536)
        return head.split(b"/")[1].decode()


SAID: dict[str, Callable[[], Pieces]] = {
    **{name: case[0] for name, case in CASES.items()},
    **{name: case[0] for name, case in LAWFUL.items()},
    "whole": lambda: iter([WHOLE]),
    "stream-whole": lambda: iter([SSE_TO_THE_END + events(DELTA, FINISH, b"[DONE]")]),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """How each case ended for a client that was asked to try them all."""
    server = Hostile()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.hostile_client", server.url, *CASES, *LAWFUL],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.close()
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return {said["case"]: said for said in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_what_has_no_end_ends_in_its_error_and_takes_little_memory(
    outcomes: dict[str, dict[str, Any]], case: str
) -> None:
    _, error, bound = CASES[case]
    said = outcomes[case]
    assert (said["error"], said.get("bound")) == (error, bound), said.get("message")
    assert said["seconds"] < MAX_SECONDS
    assert said["grown_kib"] < MAX_GROWTH_KIB
    if bound is not None:
        assert bound in said["message"]


@pytest.mark.parametrize("case", LAWFUL)
def test_what_is_large_comes_out_whole_and_holds_nobody_up(outcomes: dict[str, dict[str, Any]], case: str) -> None:
    _, characters, seconds, lag = LAWFUL[case]
    said = outcomes[case]
    assert said["error"] is None, said.get("message")
    assert said["characters"] == [characters] * len(said["characters"])
    assert said["seconds"] < seconds
    assert said["lag"] < lag
