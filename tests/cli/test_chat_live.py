"""An answer on a terminal while it arrives."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from moonshot_async.cli.chat.live import LiveAnswer
from moonshot_async.cli.chat.markdown import Layout
from moonshot_async.cli.chat.screen import Screen
from tests.cli.screens import Terminal, eventually


def content(text: str) -> Any:
    return SimpleNamespace(type="content.delta", delta=text)


def thought(text: str) -> Any:
    return SimpleNamespace(type="reasoning.delta", delta=text)


def live(terminal: Terminal, **options: Any) -> LiveAnswer:
    screen = Screen(terminal, lambda: terminal.size)  # type: ignore[arg-type]  # as much of a file as is needed
    return LiveAnswer(screen, Layout(None), **options)


@pytest.fixture
async def terminal() -> AsyncIterator[Terminal]:
    terminal = Terminal()
    yield terminal
    assert not terminal.screen.cursor.hidden


async def test_text_is_shown_as_it_comes(terminal: Terminal) -> None:
    answer = live(terminal)
    answer.take(SimpleNamespace(type="chunk"))
    answer.take(content("Hello *wo"))
    await eventually(lambda: terminal.text == "Hello *wo")
    answer.take(content("rld*\n\nand"))
    await eventually(lambda: terminal.text == "Hello world\n\nand")
    answer.take(content(" more"))
    answer.finish()
    assert terminal.text == "Hello world\n\nand more"
    assert answer.reasoning == ""


async def test_what_is_done_needs_no_preview(terminal: Terminal) -> None:
    answer = live(terminal)
    answer.take(content("# done\n"))
    await eventually(lambda: terminal.text == "done")
    answer.take(content("```\none\ntwo"))
    await eventually(lambda: terminal.text == "done\n\n```\none\ntwo")
    answer.take(content("\n```\nend\n"))
    answer.finish()
    assert terminal.text == "done\n\n```\none\ntwo\n```\n\nend"


async def test_reasoning_is_folded_into_a_line(terminal: Terminal) -> None:
    now = iter([0.0, 1.0, *[5.0] * 1000])
    answer = live(terminal, hint=" (press x)", clock=lambda: next(now))
    answer.take(content(""))
    for number in range(9):
        answer.take(thought(f"thought {number}\n"))
    await eventually(lambda: "thought 8" in terminal.text)
    assert terminal.text == "thinking … 4 s\nthought 6\nthought 7\nthought 8"
    answer.take(content("So."))
    answer.finish()
    assert terminal.text == "▸ thought for 4.0 s, 90 characters\n(press x)\n\nSo."
    assert answer.reasoning.startswith("thought 0\nthought 1")


async def test_reasoning_can_be_shown(terminal: Terminal) -> None:
    answer = live(terminal, reasoning="show")
    answer.take(thought("one\n\ntwo \x1b[1m"))
    await eventually(lambda: "two" in terminal.text)
    answer.take(thought("words"))
    answer.take(content("So."))
    await eventually(lambda: "So." in terminal.text)
    answer.finish()
    assert terminal.text == "one\n\ntwo ␛[1mwords\n\nSo."


async def test_reasoning_can_be_hidden(terminal: Terminal) -> None:
    answer = live(terminal, reasoning="hide")
    answer.take(thought("secret"))
    await eventually(lambda: terminal.text == "thinking … 0 s")
    answer.take(content("So."))
    answer.finish()
    assert terminal.text == "So."
    assert answer.reasoning == "secret"


async def test_an_answer_of_nothing_but_reasoning_is_told(terminal: Terminal) -> None:
    answer = live(terminal)
    answer.take(thought("hm " * 2000))
    await eventually(lambda: "hm" in terminal.text)
    answer.take(thought("\n" + "line\n" * 1000))
    await eventually(lambda: terminal.text.endswith("line\nline\nline"))
    answer.finish()
    assert terminal.text.startswith("▸ thought for")


async def test_who_waits_is_told_so(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.cli.chat.live._PATIENCE", 0.01)
    monkeypatch.setattr("moonshot_async.cli.chat.live._IDLE", 0.01)
    answer = live(terminal)
    await eventually(lambda: terminal.text == "waiting … 0 s")
    written = len(terminal.written)
    answer.take(content("x"))
    await eventually(lambda: terminal.text == "x")
    assert len(terminal.written) > written
    answer.finish()


async def test_a_break_leaves_what_was_shown(terminal: Terminal) -> None:
    answer = live(terminal)
    answer.take(content("```py\nx = 1\ny = "))
    await eventually(lambda: "y =" in terminal.text)
    answer.take(content("2\r"))
    answer.finish()
    assert terminal.text == "```py\nx = 1\ny = 2␍\n```"


async def test_a_long_answer_is_whole_above_the_screen(terminal: Terminal) -> None:
    words = [f"word{number}" for number in range(3000)]
    lines = [f"line {number}" for number in range(300)]
    answer = live(terminal)
    for word in words:
        answer.take(content(word + " "))
    await eventually(lambda: "word2999" in terminal.text)
    answer.take(content("\n\n```\n"))
    for line in lines:
        answer.take(content(line + "\n"))
        if line.endswith("50"):
            await asyncio.sleep(0)
    answer.take(content("```\n\n" + "".join(f"1. item{number}\n" for number in range(100))))
    answer.finish()
    text = terminal.text
    assert text.split("\n\n")[0].split() == words
    assert text.split("```")[1].strip().split("\n") == lines
    assert [line.split()[1] for line in text.split("```")[2].strip().split("\n")] == [f"item{n}" for n in range(100)]
    assert text.count("word17 ") == text.count("line 17\n") == 1


async def test_what_takes_long_to_show_is_shown_less_often(terminal: Terminal) -> None:
    seconds = count()
    # As if showing anything took a second.
    answer = live(terminal, clock=lambda: float(next(seconds)))
    answer.take(content("one"))
    await eventually(lambda: terminal.text == "one")
    answer.take(content(" two"))
    await asyncio.sleep(0.15)
    assert terminal.text == "one"
    answer.finish()
    assert terminal.text == "one two"


async def test_time_to_show_grows_with_the_answer_and_no_faster() -> None:
    async def seconds(pieces: int) -> float:
        terminal = Terminal()
        terminal.write = lambda text: 0  # type: ignore[method-assign]  # pyte takes longer than all else
        answer = live(terminal)
        begun = time.process_time()
        for number in range(pieces):
            answer.take(content("some words of an answer that goes on "))
            if number % 50 == 0:
                await asyncio.sleep(0)
        answer.finish()
        return time.process_time() - begun

    await seconds(10)
    assert await seconds(8_000) < 30 * max(await seconds(1_000), 0.01)
