"""A service whose answers are cut, and a reader who writes down what it is told."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from moonshot_async import AsyncMoonshot, MemoryTransport, Request, Response
from moonshot_async.chat_stream import Backoff
from moonshot_async.wire import ByteStream

KEY = "sk-canary-0a1b2c3d4e5f6a7b"
HI: list[Any] = [{"role": "user", "content": "Canary prompt: what nobody else may read."}]
ASK: dict[str, Any] = {"model": "kimi-k3", "messages": HI}
CALL = {"index": 0, "id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{"}}
TWO = {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
# Pieces that begin and end in spaces, in the middle of what is seen as one character, or hold nothing.
PIECES = ("", "Gr", "u", "\u0308", "ße ", " \n", "", "👩", "\u200d", "👧", "…  ", '"\\n', "data: [DONE]", "σ ")
TEXT = "".join(PIECES)
THOUGHTS = ("", "Hm", ".\n", " 思")


def frame(data: dict[str, Any] | str, *, ascii: bool = True) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=ascii, separators=(",", ":"))
    return b"data: " + text.encode() + b"\n\n"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def end(reason: str = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **fields}]}


def prefix_in(request: Request) -> dict[str, Any] | None:
    last = request.json()["messages"][-1]
    return last if last.get("partial") else None


class Broken(ByteStream):
    """A body that holds some bytes and then breaks off, in one of the ways that there are."""

    def __init__(self, data: bytes, how: str, *, size: int = 4096) -> None:
        if how in TOLD:
            data = data[: data.rfind(b"\n\n") + 2]
        self.pieces = [data[start : start + size] for start in range(0, len(data), size)]
        self.how = how

    async def read(self, deadline: float | None = None) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.how == "reset":
            raise ConnectionResetError("the peer reset the connection")
        if self.how == "stall":
            # What a transport says when the clocks have run out.
            raise TimeoutError
        if self.how in TOLD:
            how, self.how = self.how, "clean"
            return frame(TOLD[how])
        return b""

    def close(self) -> None:
        self.pieces.clear()


# What a service may say in place of the next chunk.
TOLD = {
    "server_error": '{"error":{"type":"server_error","message":"stream failed"}}',
    "overload": '{"error":{"type":"engine_overloaded_error","message":"The engine is currently overloaded"}}',
    "code": '{"error":{"code":503,"message":"no"}}',
    "quota": '{"error":{"type":"exceeded_current_quota_error","message":"pay"}}',
    "text": '{"error":"something"}',
    "garbage": '{"choices": 5',
}
LASTING = ("quota", "text", "garbage")
PASSING = ("clean", "reset", "stall", "server_error", "overload", "code")


class Model:
    """A service that always means to say the same, and goes on with what it said in Partial Mode.

    Args:
        faults: for each stream, where it breaks off (bytes of its body) and how; then all goes well.
        pieces, thoughts: what it says, in pieces.
        usage: whether the last chunk of the choice tells the usage.
        size: how many bytes of a body that breaks off come at once.
        ascii: whether what is no ASCII is escaped.
    """

    def __init__(
        self,
        *faults: tuple[int, str],
        pieces: tuple[str, ...] = PIECES,
        thoughts: tuple[str, ...] = THOUGHTS,
        usage: bool = True,
        ascii: bool = True,
        size: int = 4096,
    ) -> None:
        self.size = size
        self.faults = list(faults)
        self.pieces = pieces
        self.thoughts = thoughts
        self.usage = usage
        self.ascii = ascii
        self.requests: list[Request] = []

    def body(self, prefix: dict[str, Any] | None = None) -> bytes:
        frames = [delta(role="assistant", content="")]
        pieces = self.pieces
        if prefix is None:
            frames += [delta(reasoning_content=thought) for thought in self.thoughts]
        else:
            said, told = prefix["content"], ""
            assert prefix.get("reasoning_content", "") == "".join(self.thoughts)
            while told != said:
                told, pieces = told + pieces[0], pieces[1:]
                assert said.startswith(told), "only whole pieces were told"
        frames += [delta(content=piece) for piece in pieces]
        frames.append(end(usage=USAGE) if self.usage else end())
        return b"".join(frame(one, ascii=self.ascii) for one in frames) + frame("[DONE]")

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        body = self.body(prefix_in(request))
        if not self.faults:
            return Response(200, {"content-type": "text/event-stream", "x-number": str(len(self.requests))}, body)
        place, how = self.faults.pop(0)
        return Response(200, {"content-type": "text/event-stream"}, Broken(body[:place], how, size=self.size))


def place_of(text: str) -> int:
    """Where the event with a piece of the answer begins."""
    body = Model().body()
    return body.rindex(b"data: ", 0, body.index(json.dumps(text).encode()))


# After some text, and not at its end.
PLACE = place_of("👩")


@asynccontextmanager
async def client_of(app: Callable[[Request], Any], **options: Any) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), **{"max_retries": 0, **options}) as client:
        yield client


async def no_sleep(_: float) -> None:
    """Wait for nothing."""


class Heard:
    """What a reader makes of the events: the answer as it was told."""

    def __init__(self) -> None:
        self.text = self.reasoning = ""
        self.resumed: list[Any] = []
        self.done: list[str] = []

    def hear(self, event: Any) -> None:
        if event.type == "stream.resumed":
            self.resumed.append(event)
            if event.how == "restarted":
                assert not self.text
                self.reasoning = ""
                self.done.clear()
            assert (event.text_chars, event.reasoning_chars) == (len(self.text), len(self.reasoning))
        elif event.type == "content.delta":
            self.text += event.delta
            assert event.snapshot == self.text
        elif event.type == "reasoning.delta":
            self.reasoning += event.delta
            assert event.snapshot == self.reasoning
        elif event.type.endswith(".done"):
            self.done.append(event.type)
            assert getattr(event, "content", self.text) == self.text

    @property
    def hows(self) -> list[str]:
        return [event.how for event in self.resumed]


async def heard_of(client: AsyncMoonshot, **asked: Any) -> tuple[Heard, Any]:
    """Read an answer to its end, without waiting."""
    heard = Heard()
    manager = client.chat.completions.stream(**{**ASK, **asked})
    manager.backoff = Backoff(sleep=no_sleep)
    async with manager as stream:
        async for event in stream:
            heard.hear(event)
        return heard, await stream.get_final_completion()


def is_whole(heard: Heard, completion: Any) -> bool:
    message = completion.choices[0].message
    assert (message.content, message.reasoning_content) == (heard.text, heard.reasoning)
    assert heard.done == ["reasoning.done", "content.done"]
    assert completion.choices[0].finish_reason == "stop"
    return (heard.text, heard.reasoning) == (TEXT, "".join(THOUGHTS))
