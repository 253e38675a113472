"""The examples, each run as its own program."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from moonshot_async.fake import FakeMoonshot

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "demo.py"


class Ended:
    """A program that has ended."""

    def __init__(self, code: int | None, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode()
        self.err = err.decode()


def environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_START") if name in os.environ}
    # PYTHONUTF8 stands for a terminal of today, whatever the locale of the machine that runs this.
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTHONWARNINGS": "error"} | variables


async def start(script: Path, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env=environment(**variables),
        # Whoever runs the tests in the background may have switched Ctrl-C off; the demo is not to inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # no threads
    )


async def run(script: Path, *arguments: str, **variables: str) -> Ended:
    process = await start(script, *arguments, **variables)
    out, err = await process.communicate()
    return Ended(process.returncode, out, err)


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def served(fake: FakeMoonshot) -> AsyncIterator[str]:
    async with fake.serve() as url:
        yield url


# --- The demo, of the embedded fake


async def test_the_demo_streams_an_answer_without_key_and_network() -> None:
    ended = await run(DEMO)
    assert (ended.code, ended.err) == (0, "")
    assert "embedded fake at http://127.0.0.1:" in ended.out
    assert "nothing leaves this machine" in ended.out
    assert "sunsets" in ended.out
    assert "\033" not in ended.out


async def test_the_demo_ends_with_a_line_of_tokens_and_times() -> None:
    last = (await run(DEMO, PROMPT="Hi")).out.splitlines()[-1]
    for part in ("prompt tokens", "cached", "completion tokens", "reasoning", "first token after", "tokens/s"):
        assert part in last


@pytest.mark.parametrize(
    "prompt", ["天空为什么是蓝色的？", "a 😀 'quote' \"double\" $HOME `id` \\n", "-v", "two\nlines", "\u202eback\x07"]
)
async def test_the_demo_asks_any_prompt(prompt: str) -> None:
    ended = await run(DEMO, PROMPT=prompt)
    assert (ended.code, ended.err) == (0, "")
    assert f"> {prompt}\n" in ended.out


async def test_the_demo_asks_what_a_file_says(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes(b"\xef\xbb\xbfIs caf\xe9 French?\n")
    ended = await run(DEMO, PROMPT=f"@{file}")
    assert ended.code == 0
    assert "> Is caf\ufffd French?\n" in ended.out


@pytest.mark.parametrize("name", ["missing.txt", ""])
async def test_the_demo_says_that_a_file_cannot_be_read(name: str, tmp_path: Path) -> None:
    ended = await run(DEMO, PROMPT=f"@{tmp_path / name}")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"PROMPT=@{tmp_path / name} names a file that cannot be read: ")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("prompt", ["", " \n\t"])
async def test_the_demo_says_that_the_prompt_is_empty(prompt: str) -> None:
    ended = await run(DEMO, PROMPT=prompt)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("The prompt is empty.")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="the environment of Windows is text, not bytes")
async def test_the_demo_asks_a_prompt_that_is_no_utf_8() -> None:
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environment().items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DEMO), stdout=asyncio.subprocess.PIPE, env=variables | {b"PROMPT": b"caf\xe9?"}
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert "> caf\ufffd?\n" in out.decode()


async def test_the_demo_writes_what_the_terminal_can_show() -> None:
    ended = await run(DEMO, PROMPT="天空 😀", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (ended.code, ended.err) == (0, "")
    assert "> ?? ?\n" in ended.out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("more", "dimmed"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_the_demo_dims_reasoning_on_a_terminal(more: dict[str, str], dimmed: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DEMO), stdin=theirs, stdout=theirs, env=environment(PROMPT="Hi") | more
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_read_all, ours)
    os.close(ours)
    assert await process.wait() == 0
    assert (b"\033[2m" in shown) == dimmed
    assert shown.count(b"\033[2m") == shown.count(b"\033[0m")


def _read_all(terminal: int) -> bytes:
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux reports the end of a pseudo-terminal as EIO
            return shown
        if not piece:
            return shown
        shown += piece


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
async def test_ctrl_c_ends_the_demo_quietly() -> None:
    process = await start(DEMO, PROMPT="Tell me everything")
    assert process.stdout is not None
    head = await process.stdout.readuntil(b"> Tell me everything\n\n") + await process.stdout.readexactly(20)
    process.send_signal(signal.SIGINT)
    rest, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")
    assert b"tokens/s" not in head + rest


@pytest.mark.skipif(os.name == "nt", reason="Windows has no broken pipes of this kind")
async def test_the_demo_ends_quietly_when_nobody_reads_it() -> None:
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DEMO), stdout=writing, stderr=asyncio.subprocess.PIPE, env=environment()
    )
    os.close(writing)
    os.close(reading)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


# --- The demo, of what the environment names


@pytest.mark.parametrize("variable", ["MOONSHOT_API_KEY", "KIMI_API_KEY"])
async def test_with_a_key_the_demo_asks_the_real_api_and_says_so(
    variable: str, served: str, fake: FakeMoonshot
) -> None:
    fake.reply("Salut!", reasoning="They greet.")
    ended = await run(DEMO, PROMPT="Hi", MOONSHOT_BASE_URL=served, **{variable: "sk-mine"})
    assert (ended.code, ended.err) == (0, "")
    assert f"the real API at {served}/" in ended.out
    assert "They greet.\n\nSalut!\n" in ended.out
    assert "fake" not in ended.out
    assert "sk-mine" not in ended.out
    assert fake.last_request.headers["Authorization"] == "Bearer sk-mine"


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("sk-with a space", "ConfigurationError: MOONSHOT_API_KEY has"),
        ("nonsense", "AuthenticationError: Error code: 401"),
    ],
)
async def test_an_error_ends_the_demo_with_one_line(key: str, error: str, served: str) -> None:
    ended = await run(DEMO, PROMPT="Hi", MOONSHOT_BASE_URL=served, MOONSHOT_API_KEY=key)
    assert ended.code == 1
    assert ended.err.startswith(error)
    assert len(ended.err.splitlines()) == 1
    assert key not in ended.out + ended.err


async def test_a_stream_that_breaks_off_ends_the_demo_with_one_line(served: str, fake: FakeMoonshot) -> None:
    fake.cut_stream(5)
    ended = await run(DEMO, PROMPT="Hi", MOONSHOT_BASE_URL=served, MOONSHOT_API_KEY="sk-mine")
    assert ended.code == 1
    assert ended.err.startswith("StreamInterruptedError: ")
    assert len(ended.err.splitlines()) == 1
    assert ended.out.endswith("\n")


async def test_an_answer_without_usage_is_shown_all_the_same(served: str, fake: FakeMoonshot) -> None:
    fake.reply("Hello!", usage={})
    ended = await run(DEMO, PROMPT="Hi", MOONSHOT_BASE_URL=served, MOONSHOT_API_KEY="sk-mine")
    assert (ended.code, ended.err) == (0, "")
    assert "Hello!\n" in ended.out
    assert ended.out.splitlines()[-1].startswith("0 prompt tokens")


# --- The others


Check: TypeAlias = Callable[[Ended, FakeMoonshot], object]

OTHERS: dict[str, Check] = {
    "agent.py": lambda ended, fake: (
        len(fake.requests) == 2
        and "put_into_basket -> There are 2 articles in the basket." in ended.out
        and "buy_everything failed: refused" in ended.out
        and "answered after 1 more steps, basket ['Coffee', 'Bread'], bought []" in ended.out
    ),
    "bulk.py": lambda ended, fake: (
        "40 pages may cost 0.16 USD live, and 0.10 in batches." in ended.out
        and "40 done, 0 failed" in ended.out
        and 'https://shop.example/2 {"title":' in ended.out
        and "40 requests: 40 done, 0 failed" in ended.out
    ),
    "ask.py": lambda ended, fake: "rivers" in ended.out,
    "documents.py": lambda ended, fake: (
        len([1 for request in fake.requests if request.path == "/v1/files" and request.method == "POST"]) == 2
        and "4/4 " in ended.out
        and "offer-west.md' cannot be uploaded: it is empty" in ended.out
        and "would delete 0 files" in ended.out
    ),
    "conversation.py": lambda ended, fake: (
        len(fake.requests) == 3
        and ended.out.splitlines()[-1].startswith("3 turns, about ")
        and len(json.loads(fake.last_request.body)["messages"]) == 6
    ),
    "long_conversation.py": lambda ended, fake: (
        " 0 turns were summed up" in ended.out
        and "What was said before: " in json.loads(fake.last_request.body)["messages"][1]["content"]
        and "100000 tokens fit into kimi-k2.6\n500000 tokens fit into kimi-k3.1-pro" in ended.out
    ),
    "many.py": lambda ended, fake: len(fake.requests) == 8 and ended.out.count("\n") >= 8 and "Wuhan: " in ended.out,
    "pictures.py": lambda ended, fake: (
        ended.out.count("sent as file-") == 2 and "sent as a part of the request" in ended.out and "about " in ended.out
    ),
    "schema.py": lambda ended, fake: (
        fake.requests == []
        and "Left out:\n  /$schema\n" in ended.out
        and "at /properties/size/type: Move `type` into each branch of `anyOf`." in ended.out
    ),
    "tools.py": lambda ended, fake: (
        len(fake.requests) == 2
        and 'get_weather({"city":"Chengdu"})' in ended.out
        and "-> 14 degrees and light rain in Oslo" in ended.out
    ),
    "typed.py": lambda ended, fake: (
        len(fake.requests) == 2 and "1. China: …\n1. China: China\n" in ended.out and "1 cities" in ended.out
    ),
}


def test_every_example_has_a_test() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {"demo.py", *OTHERS}


@pytest.mark.parametrize("name", OTHERS)
async def test_an_example_runs(name: str, served: str, fake: FakeMoonshot) -> None:
    ended = await run(ROOT / "examples" / name, MOONSHOT_BASE_URL=served, MOONSHOT_API_KEY="sk-mine")
    assert (ended.code, ended.err) == (0, "")
    assert OTHERS[name](ended, fake), ended.out
