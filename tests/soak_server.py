"""A hostile server for the soak, in a process of its own: raw sockets, seeded faults, and answers known beforehand.

What it says is a function of the prompt, so that whoever asks can check the answer to the character. What goes wrong
is a function of the seed, the prompt and how often that was asked, and so does not hang on the order of calls. A last
message with `partial: true` is continued where it stops.

    with SoakServer(seed=1) as server:
        AsyncMoonshot(api_key="sk-…", base_url=server.url)
"""

import asyncio
import json
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

# Shares of all requests, in the order in which they are drawn; the rest is answered in full.
FAULTS = {
    "reset": 0.05,
    "limited": 0.05,
    "failed": 0.05,
    "clean_cut": 0.01,
    "cut": 0.01,
    "stall": 0.02,
    "garbage": 0.01,
}
OUTAGE = {"failed": 1.0}
# Seconds that an answer takes, drawn evenly: enough for many calls to be under way at once.
PACE = (0.4, 2.4)

_WORDS = ("rain", "wind ", "日本", " 😀", "e\u0301", "\n", "tea", '"so"', "\\", "data: [DONE]", "über", "  ", "σ", "0")
_SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_JSON_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"


def answer_to(prompt: str) -> tuple[str, str]:
    """What is thought about a prompt, and what is said."""
    draw = random.Random(prompt)
    reasoning = " ".join(draw.choices(_WORDS, k=draw.randint(0, 6)))
    return reasoning, "".join(draw.choices(_WORDS, k=draw.randint(8, 30))) + f" <{prompt}>"


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, each with its outcome."""

    def __init__(self, server: "_Server") -> None:
        self.server = server
        self.received = bytearray()
        self.transport: asyncio.Transport
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.next_request()

    def next_request(self) -> None:
        if self.busy or (end := self.received.find(b"\r\n\r\n")) < 0:
            return
        head = bytes(self.received[:end]).lower()
        length = 0
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if len(self.received) < end + 4 + length:
            return
        body = bytes(self.received[end + 4 : end + 4 + length])
        del self.received[: end + 4 + length]
        if head.startswith(b"get /counts"):
            self.send_json(b"200 OK", dict(self.server.counts))
        elif head.startswith(b"put /faults"):
            self.server.faults = json.loads(body)
            self.send_json(b"200 OK", {})
        else:
            self.answer(json.loads(body))

    def send_json(self, status: bytes, value: Any, headers: bytes = b"") -> None:
        content = json.dumps(value).encode()
        self.transport.write(_JSON_HEAD % (status, headers, len(content)) + content)

    def answer(self, asked: dict[str, Any]) -> None:
        messages = asked["messages"]
        prefix = messages[-1] if messages[-1].get("partial") else {}
        prompt = messages[-2 if prefix else -1]["content"]
        draw, outcome = self.server.outcome(prompt)
        counts = self.server.counts
        counts["requests"] += 1
        counts[outcome] += 1
        counts["continued"] += bool(prefix)
        reasoning, text = answer_to(prompt)
        begun = prefix.get("content") or ""
        thought = prefix.get("reasoning_content") or ""
        if not (text.startswith(begun) and reasoning.startswith(thought)):
            counts["wrong prefix"] += 1
        rest = (reasoning[len(thought) :], text[len(begun) :])
        self.busy = True
        if outcome == "reset":
            self.later(draw.uniform(0, 0.1), self.reset)
        elif outcome == "limited":
            error = {"error": {"type": "rate_limit_reached_error", "message": "too many"}}
            self.finish(lambda: self.send_json(b"429 No", error, b"Retry-After-Ms: 50\r\nRetry-After: 1\r\n"))
        elif outcome == "failed":
            error = {"error": {"type": "server_error", "message": "failed"}}
            self.finish(lambda: self.send_json(draw.choice((b"500 A", b"502 B", b"503 C")), error))
        elif outcome == "garbage" and draw.random() < 0.5:
            self.transport.write(b"\x16\x03\x01 what is this\r\n\r\n")
            self.transport.close()
        elif asked.get("stream"):
            self.stream(draw, outcome, *rest)
        else:
            self.whole(draw, outcome, *rest)

    def whole(self, draw: random.Random, outcome: str, reasoning: str, text: str) -> None:
        message = {"role": "assistant", "content": text, "reasoning_content": reasoning}
        usage = {"prompt_tokens": 5, "completion_tokens": len(text), "total_tokens": 5 + len(text)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        content = json.dumps({"id": "c", "model": "kimi-k2.6", "choices": [choice], "usage": usage}).encode()
        if outcome == "garbage":
            content = content[: len(content) // 2] + b"}"
        data = _JSON_HEAD % (b"200 OK", b"", len(content)) + content
        if outcome in ("cut", "clean_cut", "stall"):
            data = data[: draw.randrange(1, len(data) - 1)]
        self.later(draw.uniform(*PACE), lambda: self.end(outcome, data))

    def stream(self, draw: random.Random, outcome: str, reasoning: str, text: str) -> None:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in _pieces(draw, reasoning)]
        deltas += [{"content": piece} for piece in _pieces(draw, text)]
        events = [_event(choices=[{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
        usage = {"prompt_tokens": 5, "completion_tokens": len(text), "total_tokens": 5 + len(text)}
        events.append(_event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=usage))
        body = b"".join(events) + b"data: [DONE]\n\n"
        if outcome == "garbage":
            at = draw.randrange(len(events))
            body = b"".join(events[:at]) + b'data: {"choices": 5\n\n' + b"".join(events[at:])
        elif outcome in ("cut", "clean_cut", "stall"):
            # Anywhere, in the middle of an event or of a character too; but not so late that the answer is whole.
            body = body[: draw.randrange(0, len(body) - len(events[-1]) - len(b"data: [DONE]\n\n"))]
        parts = [part for part in _cut(draw, body, draw.randint(2, 6)) if part]
        pause = draw.uniform(*PACE) / (len(parts) + 1)
        self.transport.write(_SSE_HEAD)
        self.parts(parts, pause, outcome)

    def parts(self, parts: list[bytes], pause: float, outcome: str) -> None:
        if parts:
            self.transport.write(b"%x\r\n%s\r\n" % (len(parts[0]), parts[0]))
            self.later(pause, lambda: self.parts(parts[1:], pause, outcome))
        else:
            self.end(outcome, b"" if outcome == "cut" else b"0\r\n\r\n")

    def end(self, outcome: str, data: bytes) -> None:
        if outcome == "stall":
            return
        self.transport.write(data)
        if outcome == "cut":
            self.reset()
        elif outcome == "clean_cut":
            self.transport.close()
        else:
            self.finish(lambda: None)

    def finish(self, last: Any) -> None:
        last()
        self.busy = False
        self.next_request()

    def later(self, seconds: float, then: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: None if self.transport.is_closing() else then())

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _pieces(draw: random.Random, text: str) -> list[str]:
    pieces = []
    while text:
        size = draw.randint(1, 12)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def _cut(draw: random.Random, data: bytes, count: int) -> list[bytes]:
    places = sorted(draw.randrange(len(data) + 1) for _ in range(count - 1))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def _event(**fields: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps({"id": "c", "model": "kimi-k2.6", **fields}, ensure_ascii=False).encode()


class _Server:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.faults = FAULTS
        self.counts: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    def outcome(self, prompt: str) -> tuple[random.Random, str]:
        self.asked[prompt] += 1
        draw = random.Random(f"{self.seed}:{prompt}:{self.asked[prompt]}")
        point = draw.random()
        for fault, share in self.faults.items():
            if point < share:
                return draw, fault
            point -= share
        return draw, "answered"

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=4096)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        # Until whoever started it goes.
        await loop.run_in_executor(None, sys.stdin.read)


class SoakServer:
    """The server in its process, while a `with` lasts.

    Attributes:
        url: the base URL.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> "SoakServer":
        command = [sys.executable, "-m", "tests.soak_server", str(self._seed)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate("")

    def counts(self) -> dict[str, int]:
        """What it did so far."""
        counts: dict[str, int] = self._control("GET", "/counts", b"")
        return counts

    def set_faults(self, shares: dict[str, float]) -> None:
        """From now on other faults; see `FAULTS`."""
        self._control("PUT", "/faults", json.dumps(shares).encode())

    def _control(self, method: str, path: str, body: bytes) -> Any:
        from http.client import HTTPConnection

        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


if __name__ == "__main__":
    asyncio.run(_Server(int(sys.argv[1])).serve())
