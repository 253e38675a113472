"""What is asked, what the server answers, and how a client shows that it received all of it.

The answers have the size and the fields of the real ones. No two chunks of a stream say the same, and no two whole
answers; what a client hands out is compared with what was sent, letter for letter.
"""

import functools
import json
from typing import Any

from benchmarks.server.scripts import NEVER, Piece, Script, Stamp, place

Ask = dict[str, Any]

ASK: Ask = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
GREETING = "The sky is blue because air scatters short waves of light more than long ones. Answer"

_OPENING = {"id": "chatcmpl-6f1c2a9d8e7b4c5f", "created": 1794200000, "model": "kimi-k2.6"}
_USAGE = {
    "prompt_tokens": 0,
    "completion_tokens": 25,
    "total_tokens": 34,
    "cached_tokens": 0,
    "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 9},
}


class LostBytesError(Exception):
    """A client handed out something else than what was sent."""


def url_of(origin: str, script: Script) -> str:
    """The base URL that has a script played."""
    return f"{origin}/{script.name}/v1"


# --- Whole answers


def whole(filler: int = 0) -> Script:
    """An answer with a number of its own, which says how long its request was; its text is longer by `filler`."""
    return Script(f"whole-{filler}", (_answered(filler),))


def flaky() -> Script:
    """A refusal that asks to come back at once, then an answer, in turns."""
    body = json.dumps({"error": {"type": "engine_overloaded_error", "message": "The engine is overloaded"}}).encode()
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 0\r\n"
    refusal = Piece(head + b"Retry-After-Ms: 1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return Script("flaky", ((refusal,), _answered(0)))


def typed_answer() -> Script:
    """An answer whose text is JSON: `{"title": …, "steps": […], "answer": number}`."""
    text = json.dumps({"title": "Blue", "steps": ["light", "air", "eye"], "answer": 1}).replace("1}", "{}}")
    return Script("typed", ((_whole_piece(text.replace("{}", place(Stamp.NUMBER))),),))


def whole_after(streams: int) -> Script:
    """As many streams that say one word and stay open, and after them whole answers."""
    (open_stream,) = held().answers
    return Script(f"whole-after-{streams}", (*((open_stream,) * streams), _answered(0)), again_from=streams)


def received() -> Script:
    """What `files.create` is answered with; `bytes` is the length of the whole body of the request."""
    file = {"id": "file-1", "object": "file", "bytes": 0, "created_at": 1794200000, "filename": "big.bin"}
    body = json.dumps({**file, "purpose": "file-extract", "status": "ok", "status_details": ""})
    return Script("received", ((_json_piece(body.replace('"bytes": 0', f'"bytes": {place(Stamp.RECEIVED)}')),),))


def number_of(text: str, filler: int = 0) -> int:
    """The number of an answer of `whole`.

    Raises:
        LostBytesError: the text is another one.
    """
    start = len(GREETING)
    end = start + 21
    if not text.startswith(GREETING) or text[end:] != _filled(filler):
        raise LostBytesError(f"another text than was sent, {len(text)} characters")
    return int(text[start:end])


def _answered(filler: int) -> tuple[Piece, ...]:
    start = _whole_piece(f"{GREETING} {place(Stamp.NUMBER)}{_filled(filler)}")
    # A big one is cut, so that the server copies only what it stamps.
    data, cut = start.bytes, 1024
    return (Piece(data[:cut]), Piece(data[cut:-cut]), Piece(data[-cut:])) if filler > 4 * cut else (start,)


@functools.cache
def _filled(filler: int) -> str:
    return ("".join(f" word {number:05d}" for number in range(filler // 11 + 1)))[:filler]


def _whole_piece(text: str) -> Piece:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {**_OPENING, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    data = json.dumps(body, separators=(",", ":"))
    return _json_piece(data.replace('"prompt_tokens":0', f'"prompt_tokens":{place(Stamp.RECEIVED)}'))


def _json_piece(text: str) -> Piece:
    body = text.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Piece(head + body)


# --- Streams


def burst(chunks: int) -> Script:
    """A stream of as many chunks with text, sent as fast as the client reads."""
    sent = b"".join([_opening_bytes(), *(_chunk(word) for word in _words(chunks)), _ending_bytes()])
    return Script(f"burst-{chunks}", ((Piece(sent),),))


def paced(chunks: int, every_us: int) -> Script:
    """A stream that sends its first text with the head, and one chunk more every so many microseconds.

    The second one comes at a random moment, so that many streams are not in step.
    """
    first, *words = _words(chunks)
    pieces = [Piece(_opening_bytes() + _chunk(first))]
    pieces.extend(Piece(_chunk(word), every_us, jittered=number == 0) for number, word in enumerate(words))
    return Script(f"paced-{chunks}-{every_us}", ((*pieces, Piece(_ending_bytes())),))


def clocked(chunks: int, every_us: int) -> Script:
    """A paced stream that begins with when its first text was sent, in nanoseconds; see `Stamp.CLOCK`.

    The head comes before it, alone, as it does where a model thinks before it speaks.
    """
    pieces = [Piece(_opening_bytes()), Piece(_chunk(place(Stamp.CLOCK)), every_us, jittered=True)]
    pieces.extend(Piece(_chunk(word), every_us) for word in _words(chunks))
    return Script(f"clocked-{chunks}-{every_us}", ((*pieces, Piece(_ending_bytes())),))


def held() -> Script:
    """A stream that says one word and then nothing more, and stays open."""
    return Script("held", ((Piece(_opening_bytes() + _chunk(next(iter(_words(1))))), Piece(b"", NEVER)),))


def check_text(parts: list[str], chunks: int | None = None) -> None:
    """Make sure that these are the texts of all chunks, or of the first ones where the stream was left.

    Raises:
        LostBytesError: they are not.
    """
    if parts != _words(len(parts) if chunks is None else chunks):
        raise LostBytesError(f"another text than was sent: {len(parts)} chunks of {chunks or 'a stream'}")


@functools.cache
def _words(chunks: int) -> list[str]:
    return [f" word {number:05d}" for number in range(chunks)]


def _opening_bytes() -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked"
    return head.encode() + b"\r\n\r\n" + _event({"role": "assistant", "content": ""}, None)


def _ending_bytes() -> bytes:
    return _event({}, "stop", _USAGE) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _chunk(text: str) -> bytes:
    return _event({"content": text}, None)


def _event(delta: dict[str, Any], finish_reason: str | None, usage: dict[str, Any] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **({"usage": usage} if usage else {})}
    data = {**_OPENING, "object": "chat.completion.chunk", "choices": [choice], "system_fingerprint": "fpv0_8ff2a1b3"}
    return _framed(b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n")


def _framed(event: bytes) -> bytes:
    """An event as it goes over the wire: in an HTTP chunk of its own."""
    return b"%x\r\n" % len(event) + event + b"\r\n"
