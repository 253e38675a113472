"""The command line as tests use it: in this process, on pipes or on a pseudo-terminal, or as a program of its own."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from moonshot_async.cli.app import moonshot
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.server import FakeServer

ROOT = Path(__file__).parent.parent.parent
PROGRAM = (sys.executable, "-m", "moonshot_async")


class Ended:
    """A command that has ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.bytes = out
        self.out = out.decode()
        self.err = err.decode()

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


def moonshot_ended(*arguments: str, input: str | bytes | None = None, **env: str | None) -> Ended:
    """Run a command in this process, its output led to pipes."""
    result = CliRunner().invoke(moonshot, arguments, input=input, env=env, catch_exceptions=False)
    return Ended(result.exit_code, result.stdout_bytes, result.stderr_bytes)


def offline(*arguments: str, input: str | bytes | None = None, **env: str | None) -> Ended:
    """The same, against the embedded service."""
    return moonshot_ended(*arguments, "--offline", input=input, **env)


def environment(**variables: str) -> dict[str, str]:
    """For programs of their own: nothing of who runs the tests, and no coverage, which takes its time."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTHONWARNINGS": "error"} | variables


def started(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Run a command as a program of its own."""
    variables = options.pop("env", {})
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
        # Whoever runs the tests in the background may have switched Ctrl-C off; the program is not to inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # no threads
        **options,
    )


class Terminal:
    """What a command wrote to a pseudo-terminal, and its exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


def on_terminal(*arguments: str, monkeypatch: pytest.MonkeyPatch, only: str = "both") -> Terminal:
    """Run a command in this process, with stdout and stderr (or `only` one of them) on a pseudo-terminal."""
    master, slave = os.openpty()
    received: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(master, 65536):
                received.append(piece)
        except OSError:
            pass  # On Linux that is how a closed terminal reads.

    reader = threading.Thread(target=read)
    reader.start()
    with monkeypatch.context() as patch, open(slave, "w", encoding="utf-8") as terminal:  # noqa: PTH123  # a number
        for name in ("stdout", "stderr") if only == "both" else (only,):
            patch.setattr(sys, name, terminal)
        for name in ("stdout", "stderr"):
            if only not in ("both", name):
                patch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        with pytest.raises(SystemExit) as ended:
            moonshot.main(arguments)
    reader.join()
    os.close(master)
    assert isinstance(ended.value.code, int)
    return Terminal(ended.value.code, b"".join(received).decode())


class Service:
    """The embedded service over HTTP, in a thread of its own.

    Attributes:
        fake: to be scripted, before a command is run.
        url: where it is.
    """

    def __init__(self, fake: FakeMoonshot, url: str) -> None:
        self.fake = fake
        self.url = url

    def asked(self, *arguments: str, input: str | None = None, **env: str | None) -> Ended:
        """Run a command against it."""
        variables = {"MOONSHOT_API_KEY": "sk-canary-0a1b2c3d4e5f6a7b", **env}
        return moonshot_ended(*arguments, "--base-url", self.url, input=input, **variables)


@contextmanager
def serving(make: Callable[[], Any]) -> Iterator[tuple[Any, str]]:
    """Serve an app over HTTP, in a thread of its own; gives the app and the URL."""
    ready = threading.Event()
    told: list[Any] = []

    async def serve() -> None:
        app = make()
        server = app.serve() if isinstance(app, FakeMoonshot) else FakeServer(app)
        ended = asyncio.Event()
        told.extend((app, await server.start(), asyncio.get_running_loop(), ended))
        ready.set()
        await ended.wait()
        await server.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    app, url, loop, ended = told
    try:
        yield app, url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
