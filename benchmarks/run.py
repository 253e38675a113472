"""What a call costs the client, in CPU time: this SDK beside aiohttp with msgspec, and beside the openai package.

Measured: CPU seconds of the client process (user and system, `time.process_time`), for a unary call and for one chunk
of a stream, over kept-alive HTTP/1.1 on the loopback interface. A server in a process of its own answers at once with
bytes made beforehand, an HTTP chunk for each event, as fast as the client reads. Each client runs in a process of its
own, after a warm-up; the clients take turns, and the table shows the median of the rounds.

Not measured: the network, TLS, the model, many calls at once, retries, memory, and imports. A real stream brings its
events one by one, which costs every client more wake-ups than here. "aiohttp + msgspec" is what somebody would write by
hand for exactly these answers: structs with the fields that are read, no errors told apart, no clock but one, no retry.

    python benchmarks/run.py [--json] [--rounds 5] [--calls 500] [--streams 10] [--chunks 1000]
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

Call = Callable[[], Awaitable[int]]
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}
WHAT = {"unary": "CPU µs a call", "chunk": "CPU µs a chunk"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=500, help="unary calls in a round")
    parser.add_argument("--streams", type=int, default=10, help="streams in a round")
    parser.add_argument("--chunks", type=int, default=1000, help="chunks of a stream")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        compare(options)
    elif options.part[0] == "server":
        asyncio.run(serve(options.chunks))
    else:
        print(json.dumps(asyncio.run(measure(*options.part, options))))


def compare(options: argparse.Namespace) -> None:
    """Run every client in turn, round after round, and print the medians."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in available()}
    with server(options) as url:
        for _ in range(options.rounds):
            for name, rounds in results.items():
                done = subprocess.run(part(options, name, url), stdout=subprocess.PIPE, check=True)
                rounds.append(json.loads(done.stdout))
    medians = {
        name: {what: statistics.median(one[what] for one in rounds) for what in WHAT}
        for name, rounds in results.items()
    }
    if options.json:
        for name, values in medians.items():
            for what, value in values.items():
                line = {"client": name, "what": what, "cpu_us": round(value, 3), "rounds": options.rounds}
                print(json.dumps(line | {"ratio_to_raw": round(value / medians["aiohttp + msgspec"][what], 3)}))
        return
    print(f"{'':20}" + "".join(f"{title:>16}{'ratio':>8}" for title in WHAT.values()))
    for name, values in medians.items():
        cells = (f"{value:16.1f}{value / medians['aiohttp + msgspec'][what]:8.2f}" for what, value in values.items())
        print(f"{name:20}" + "".join(cells))
    print(
        f"\nMedians of {options.rounds} rounds of {options.calls} calls and {options.streams} streams of "
        f"{options.chunks} chunks; the ratio is to aiohttp + msgspec. What this does not say: benchmarks/run.py --help."
    )


def available() -> list[str]:
    return [name for name in CLIENTS if name != "openai" or importlib.util.find_spec("openai")]


def part(options: argparse.Namespace, name: str, url: str) -> list[str]:
    counts = [f"--{count}={getattr(options, count)}" for count in ("calls", "streams", "chunks")]
    return [sys.executable, __file__, *counts, "--part", name, url]


@contextlib.contextmanager
def server(options: argparse.Namespace) -> Iterator[str]:
    with subprocess.Popen(part(options, "server", "-"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# --- The server


async def serve(chunks: int) -> None:
    """Serve the two answers until the process is ended; the base URL is the first line of the output."""
    whole, stream = answers(chunks)

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            self.transport = transport
            self.received = b""

        def data_received(self, data: bytes) -> None:
            self.received += data
            head, blank, body = self.received.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            if blank and len(body) >= int(length or 0):
                self.received = b""
                self.transport.write(stream if b'"stream":true' in body.replace(b" ", b"") else whole)

    listening = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    await listening.serve_forever()


def answers(chunks: int) -> tuple[bytes, bytes]:
    """A whole answer and a streamed one, as they go over the wire."""
    opening = {"id": "chatcmpl-1", "created": 1794200000, "model": "kimi-k2.6"}
    usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    message = {"role": "assistant", "content": "Hello! How can I help you today?"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**opening, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def framed(data: str) -> bytes:
        event = f"data: {data}\n\n".encode()
        return b"%x\r\n" % len(event) + event + b"\r\n"

    def chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        return framed(json.dumps({**opening, "object": "chat.completion.chunk", "choices": choices}))

    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    stream += chunk({"content": "Hello wor"}, None) * (chunks - 1) + chunk({}, "stop")
    return whole, stream + framed("[DONE]") + b"0\r\n\r\n"


# --- The clients: each gives a unary call, and a stream that returns the number of its chunks


@contextlib.asynccontextmanager
async def ours(url: str) -> AsyncIterator[tuple[Call, Call]]:
    from moonshot_async import AsyncMoonshot

    async with AsyncMoonshot(api_key="sk-benchmark", base_url=url) as client:
        yield calls_of(client)


@contextlib.asynccontextmanager
async def openai(url: str) -> AsyncIterator[tuple[Call, Call]]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="sk-benchmark", base_url=url) as client:
        yield calls_of(client)


def calls_of(client: Any) -> tuple[Call, Call]:
    """Both SDKs are called in the same words."""

    async def unary() -> int:
        completion = await client.chat.completions.create(**ASK)
        return len(completion.choices[0].message.content)

    async def stream() -> int:
        count = 0
        async for chunk in await client.chat.completions.create(**ASK, stream=True):
            count += len(chunk.choices)
        return count

    return unary, stream


@contextlib.asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[Call, Call]]:
    import aiohttp
    import msgspec

    part = msgspec.defstruct("Part", [("content", str | None, None)])
    choice = msgspec.defstruct(
        "Choice", [("message", part | None, None), ("delta", part | None, None), ("finish_reason", str | None, None)]
    )
    decode = msgspec.json.Decoder(msgspec.defstruct("Answer", [("id", str), ("choices", list[choice])])).decode
    encode = msgspec.json.Encoder().encode
    headers = {"Authorization": "Bearer sk-benchmark", "Content-Type": "application/json"}
    clock = aiohttp.ClientTimeout(total=None, sock_read=600)
    url += "/chat/completions"

    async with aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar(), timeout=clock) as session:

        async def unary() -> int:
            async with session.post(url, data=encode(ASK)) as response:
                response.raise_for_status()
                return len(decode(await response.read()).choices[0].message.content)

        async def stream() -> int:
            count, rest = 0, b""
            async with session.post(url, data=encode({**ASK, "stream": True})) as response:
                response.raise_for_status()
                async for data in response.content.iter_any():
                    *events, rest = (rest + data).split(b"\n\n")
                    for event in events:
                        if event != b"data: [DONE]":
                            count += len(decode(event[6:]).choices)
            return count

        yield unary, stream


CLIENTS = {"aiohttp + msgspec": raw, "moonshot_async": ours, "openai": openai}


async def measure(name: str, url: str, options: argparse.Namespace) -> dict[str, float]:
    """CPU microseconds of this process for a unary call and for a chunk."""
    async with CLIENTS[name](url) as (unary, stream):
        for _ in range(max(1, options.calls // 10)):
            await unary()
        assert await stream() == options.chunks, "a chunk was lost"
        return {
            "unary": await cpu_seconds(unary, options.calls) / options.calls * 1e6,
            "chunk": await cpu_seconds(stream, options.streams) / options.streams / options.chunks * 1e6,
        }


async def cpu_seconds(call: Call, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        await call()
    return time.process_time() - started


if __name__ == "__main__":
    main()
