"""Big requests and answers: files, long histories, images, long texts."""

import base64
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.answers import ASK, Ask, LostBytesError, number_of, received, whole
from benchmarks.meters import Meter, PeakMemory
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size

MIB = 2**20
CPU_MS = Figure("cpu_ms", "CPU ms a call")
EXTRA = Figure("extra_mib", "extra memory, MiB", compared=True)
COPIES = Figure("copies", "extra memory, in copies of it")
# What form data has around the file.
MOST_AROUND_IT = 4096


def scenarios(size: Size) -> list[Scenario]:
    """256 MiB uploaded; a history of 1 MiB, an image of 20 MiB, an answer of 8 MiB."""
    file_mib, messages = size.count(256, 2), size.count(2000, 20)
    image_mib, answer_mib = size.count(20), size.count(8)
    upload = partial(uploading, mib=file_mib)
    history = partial(asking, ask=partial(history_ask, messages))
    image = partial(asking, ask=partial(image_ask, image_mib * MIB))
    answer = partial(asking, ask=lambda: (ASK, 0), filler=answer_mib * MIB)
    rate = Figure("mb_per_s", "MB/s", compared=True)
    return [
        Scenario("upload", f"Upload of {file_mib} MiB from disk", (CPU_MS, rate, EXTRA), upload, received(), "upload"),
        Scenario(
            "history",
            f"A history of {messages} messages of 500 characters",
            (CPU_MS, COPIES),
            history,
            whole(),
            "history",
        ),
        Scenario("image", f"An image part of {image_mib} MiB", (CPU_MS, COPIES), image, whole()),
        Scenario("answer", f"An answer of {answer_mib} MiB", (CPU_MS, COPIES), answer, whole(answer_mib * MIB)),
    ]


def history_ask(messages: int) -> tuple[Ask, int]:
    """A long conversation, and how many bytes its texts have at least."""
    text = "The quick brown fox jumps over the lazy dog. " * 11
    parts = [{"role": ("user", "assistant")[n % 2], "content": f"{n:05d} {text}"} for n in range(messages)]
    parts.append({"role": "user", "content": "Why?"})
    return {**ASK, "messages": parts}, messages * (len(text) + 6)


def image_ask(image_bytes: int) -> tuple[Ask, int]:
    """A question about an image that is in the request, and how many bytes its data URL has."""
    url = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * (image_bytes // 256)).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is this?"}]
    return {**ASK, "messages": [{"role": "user", "content": parts}]}, len(url)


async def asking(run: Run, ask: Callable[[], tuple[Ask, int]], filler: int = 0) -> Figures:
    """Make a call again and again; the server says how much it received."""
    question, least_bytes = ask()
    repeats = run.size.count(30, 2)
    async with run.client() as client:
        # A small call first, so that what is loaded once is not in it.
        if not filler:
            await client.unary(ASK)
        with PeakMemory() as memory:
            text, got_bytes = await client.unary(question)
        if got_bytes < least_bytes:
            raise LostBytesError(f"the server received {got_bytes} bytes of {least_bytes}")
        number_of(text, filler)
        texts = []
        with Meter(run.server_pid) as meter:
            for _ in range(repeats):
                text, _ = await client.unary(question)
                texts = [text]
        number_of(texts[0], filler)
    size = max(least_bytes, filler)
    return {
        "cpu_ms": meter.cpu_s / repeats * 1000,
        "copies": memory.extra_bytes / size,
        "server_share": meter.server_share,
    }


async def uploading(run: Run, mib: int) -> Figures:
    """Upload a file from disk; the server says how much it received."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "big.bin"
        with path.open("wb") as file:
            for number in range(mib):
                file.write(number.to_bytes(4, "little") * (MIB // 4))
        small = Path(directory) / "small.bin"
        small.write_bytes(b"first" * 1000)
        async with run.client() as client:
            await client.upload(small)
            with PeakMemory() as memory, Meter(run.server_pid) as meter:
                body_bytes = await client.upload(path)
    if not mib * MIB <= body_bytes <= mib * MIB + MOST_AROUND_IT:
        raise LostBytesError(f"the server received {body_bytes} bytes of {mib * MIB}")
    return {
        "cpu_ms": meter.cpu_s * 1000,
        "mb_per_s": mib * MIB / 1e6 / meter.wall_s,
        "extra_mib": memory.extra_bytes / MIB,
        "server_share": meter.server_share,
    }
