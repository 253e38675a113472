"""The session as a program of its own, on a pseudo-terminal of 40 columns."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte
import pytest
from rich.cells import cell_len

from moonshot_async.fake import FakeMoonshot
from tests.cli.command_line import PROGRAM, environment, serving
from tests.cli.screens import shown
from tests.toolkit.conversations import sent

COLUMNS, ROWS = 40, 16


class Program:
    """A program on a terminal: type into it, and wait for what it shows."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]") -> None:
        self._master = master
        self.process = process
        self.screen: Any = pyte.HistoryScreen(COLUMNS, ROWS, history=10_000, ratio=0.5)
        # Answers of the terminal, such as where its cursor is.
        self.screen.write_process_input = lambda data: os.write(master, data.encode())
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""

    @property
    def text(self) -> str:
        return shown(self.screen)

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, fact: Callable[[str], bool], seconds: float = 20.0) -> str:
        """Read what the program writes until the screen shows something; the screen."""
        end = time.monotonic() + seconds
        while not fact(text := self.text):
            assert time.monotonic() < end, f"it shows:\n{text}"
            self._read()
        return text

    def ready(self) -> str:
        """Wait for the prompt, at the end of all lines."""
        return self.until(lambda text: text.endswith("\n›"))

    def ends(self) -> int:
        """Wait for the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(10)

    def closes(self) -> None:
        """Take the terminal away."""
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    def _read(self) -> bool:
        if select.select([self._master], [], [], 0.1)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                # How a terminal ends on Linux that nobody has open any more.
                data = b""
            self.raw += data
            self._stream.feed(data)
            return bool(data)
        return True


@contextmanager
def program(*arguments: str, home: Path, **variables: str) -> Iterator[Program]:
    """Run a command on a terminal of its own."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(TERM="xterm-256color", HOME=str(home), XDG_STATE_HOME=str(home / "state"), **variables),
        start_new_session=True,
        # So that Ctrl-C comes as a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        cwd=home,
    )
    os.close(slave)
    made = Program(master, process)
    try:
        yield made
    finally:
        process.kill()
        process.wait()
        made.closes()


@pytest.fixture
def paced() -> Iterator[tuple[FakeMoonshot, str]]:
    """A service whose answers take their time."""
    with serving(lambda: FakeMoonshot(chunk_latency=0.02)) as served:
        yield served


def test_a_session_streams_stops_and_goes_on(paced: tuple[FakeMoonshot, str], tmp_path: Path) -> None:
    fake, url = paced
    words = " ".join(f"word{number}" for number in range(400))
    fake.reply(words, reasoning="Let me see. " * 8)
    fake.reply("# 长江\n\n长江是亚洲第一长河，也是世界第三长河，全长六千三百公里。\n\n```py\nx = 1\n```\n\x1b[2Jend")
    with program("chat", "--base-url", url, home=tmp_path, MOONSHOT_API_KEY="sk-canary-0a1b2c3d4e5f6a7b") as chat:
        chat.ready()
        chat.types("Tell me\x1b\rmuch\r")
        # It streams, after the reasoning was folded into a line.
        early = chat.until(lambda text: "word3 " in text)
        assert "word200" not in early
        assert "▸ thought for" in early
        chat.types("not echoed\x03")
        stopped = chat.until(lambda text: "— stopped; neither" in text)
        assert "word399" not in stopped
        assert "echoed" not in chat.ready()
        chat.types("And the Yangtze 长江?\r")
        chat.until(lambda text: "·" in text.rpartition("```")[2])
        text = chat.ready()
        assert "```py\nx = 1\n```\n\n␛[2Jend" in text
        assert "长江是亚洲第一长河，也是世界第三长河，全\n长六千三百公里。" in text
        assert max(map(cell_len, text.split("\n"))) <= COLUMNS
        chat.types("/cost\r")
        chat.until(lambda text: "1 answer broke off" in text)
        chat.ready()
        chat.types("\x04")
        assert chat.ends() == 0
        assert not chat.screen.cursor.hidden
        assert b"\x1b[2J" not in chat.raw
    assert [message["content"] for message in sent(fake)["messages"]] == ["And the Yangtze 长江?"]
    history = tmp_path / "state" / "moonshot" / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+Tell me\n+much\n" in history.read_text()


def test_a_session_works_offline_and_without_a_history(tmp_path: Path) -> None:
    with program("chat", "--offline", "--no-history", "--save", "talk.json", home=tmp_path) as chat:
        chat.ready()
        chat.types("What is a lake?\r")
        chat.until(lambda text: "kimi-k2.6 · " in text)
        chat.ready()
        chat.types("\x14")
        chat.until(lambda text: "The user says" in text or "I should" in text or "That is" in text)
        chat.types("/quit\r")
        assert chat.ends() == 0
    assert '"What is a lake?"' in (tmp_path / "talk.json").read_text()
    assert not (tmp_path / "state").exists()


def test_offline_answers_arrive_visibly_and_a_closed_terminal_saves(tmp_path: Path) -> None:
    with program("chat", "--offline", "--save", "talk.json", home=tmp_path) as chat:
        chat.ready()
        chat.types("What is a sea?\r")
        chat.until(lambda text: "thinking" in text)
        chat.types("\x03")
        chat.until(lambda text: "— stopped; neither" in text)
        chat.ready()
        chat.types("What is a lake?\r")
        chat.until(lambda text: "kimi-k2.6 · " in text)
        chat.types("And an ocean?\r")
        chat.until(lambda text: text.count("thinking") == 1)
        chat.closes()
        chat.process.wait(10)
    assert '"What is a lake?"' in (tmp_path / "talk.json").read_text()


def test_ctrl_c_ends_a_single_question(paced: tuple[FakeMoonshot, str], tmp_path: Path) -> None:
    fake, url = paced
    fake.reply(" ".join(f"word{number}" for number in range(400)))
    arguments = ("chat", "Tell me", "--base-url", url)
    with program(*arguments, home=tmp_path, MOONSHOT_API_KEY="sk-canary-0a1b2c3d4e5f6a7b") as chat:
        chat.until(lambda text: "word3 " in text)
        chat.types("\x03")
        assert chat.ends() == 130
        assert "word3 " in chat.text
        assert "Traceback" not in chat.text
        assert not chat.screen.cursor.hidden
