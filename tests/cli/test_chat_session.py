"""The session: questions, commands, Ctrl-C; in this process, with a typist instead of a keyboard."""

import asyncio
import errno
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prompt_toolkit.application import create_app_session, get_app
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from moonshot_async.cli.chat import session
from moonshot_async.cli.chat.prompt import Prompt
from moonshot_async.cli.chat.session import Session, stoppable
from moonshot_async.cli.chat.session import Terminal as ChatTerminal
from moonshot_async.cli.chat.settings import Settings
from moonshot_async.cli.chat.spending import money
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.media import Uploads
from tests.cli.screens import Terminal, eventually
from tests.toolkit.conversations import client_for, sent
from tests.toolkit.file_world import PNG

Line = str | BaseException | Callable[[], str]


class Chat:
    """A session, and the terminal that it is on."""

    def __init__(self, session: Session, terminal: Terminal) -> None:
        self.session = session
        self.terminal = terminal

    async def types(self, *lines: Line, paths: list[Path] | None = None) -> str:
        """Type lines, then Ctrl-D; gives what the terminal shows, as one line. What is no text is raised, or called."""
        coming = iter([*lines, EOFError()])

        async def ask() -> str:
            line = next(coming)
            if isinstance(line, BaseException):
                raise line
            return line if isinstance(line, str) else line()

        await self.session.run(ask, paths)
        return " ".join(self.terminal.text.split())


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def chat(fake: FakeMoonshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chat]:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal(60, 20)
    shown = ChatTerminal(terminal, no_color=True, size=lambda: terminal.size)  # type: ignore[arg-type]  # enough of one
    async with client_for(fake) as client, Uploads(client) as uploads:
        settings = Settings("kimi-k2.6", "You are brief.")
        yield Chat(Session(client, shown, settings, uploads), terminal)
    assert not terminal.screen.cursor.hidden


async def test_questions_are_answered_in_one_conversation(chat: Chat, fake: FakeMoonshot) -> None:
    fake.reply("I am **one**.")
    fake.reply("I am two.")
    text = await chat.types("first", "  ", " //second ")
    assert "kimi-k2.6. /help says what there is" in text
    assert "I am one." in text
    assert "kimi-k2.6 · " in text
    assert [message["content"] for message in sent(fake)["messages"]] == [
        "You are brief.",
        "first",
        "I am **one**.",
        "/second",
    ]
    assert chat.session.conversation.turns == 2


async def test_ctrl_c_at_the_prompt_says_how_to_leave(chat: Chat) -> None:
    assert (await chat.types(KeyboardInterrupt())).endswith("Ctrl-D leaves.")


async def test_quit_leaves(chat: Chat, fake: FakeMoonshot) -> None:
    await chat.types("/quit", "never asked")
    assert fake.requests == []


async def test_a_question_that_fails_is_told_and_the_session_goes_on(chat: Chat, fake: FakeMoonshot) -> None:
    fake.fail(429, type="exceeded_current_quota_error")
    fake.cut_stream(4)
    fake.reply("Here I am.")
    text = await chat.types("first", "second", "third", "/cost")
    assert "moonshot balance" in text
    assert "Here I am." in text
    assert chat.session.conversation.turns == 1
    assert chat.session.spending.unfinished == 1
    assert "1 answer broke off" in text


async def test_ctrl_c_stops_an_answer_and_keeps_the_session(chat: Chat, fake: FakeMoonshot) -> None:
    fake.stall(3)

    def interrupted_soon() -> str:
        async def interrupt() -> None:
            await eventually(lambda: "thinking" in chat.terminal.text)
            os.kill(os.getpid(), signal.SIGINT)

        chat.interrupting = asyncio.ensure_future(interrupt())  # type: ignore[attr-defined]  # kept from collection
        return "never answered"

    before = signal.getsignal(signal.SIGINT)
    text = await chat.types(interrupted_soon, "again", "/cost")
    assert "— stopped; neither the question nor this part" in text
    assert signal.getsignal(signal.SIGINT) is before
    assert "▸ thought for" in text
    assert [message["content"] for message in sent(fake)["messages"]] == ["You are brief.", "again"]
    assert "1 answer broke off; what they cost is not known here." in text


async def test_a_ctrl_c_that_comes_too_late_ends_nothing(chat: Chat, fake: FakeMoonshot) -> None:
    say = chat.session.terminal.say

    def interrupted(text: str, style: str = "") -> None:
        os.kill(os.getpid(), signal.SIGINT)
        say(text, style)

    chat.session.terminal.say = interrupted  # type: ignore[method-assign]  # while the answer is counted
    text = await chat.types("first", "/help", "second")
    assert text.count("kimi-k2.6 · ") == 2


async def test_who_is_cancelled_from_outside_is_cancelled(chat: Chat, fake: FakeMoonshot) -> None:
    fake.stall(1, times=None)
    task = asyncio.ensure_future(chat.types("endless"))
    await eventually(lambda: bool(fake.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_that_is_typed_meanwhile_is_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()

    def echoes() -> bool:
        return bool(termios.tcgetattr(slave)[3] & termios.ECHO)

    async def work() -> Any:
        return echoes()

    with open(slave, closefd=False) as terminal:  # noqa: ASYNC230  # a number, of a terminal
        monkeypatch.setattr(sys, "stdin", terminal)
        assert echoes()
        assert await stoppable(work()) is False
        assert echoes()
    os.close(slave)
    os.close(master)


async def test_where_terminals_are_of_another_kind_nothing_is_switched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> Any:
        return 1

    monkeypatch.setitem(sys.modules, "termios", None)
    assert await stoppable(work()) == 1


async def test_an_answer_that_is_cut_is_told(chat: Chat, fake: FakeMoonshot) -> None:
    fake.reply("Half an", finish_reason="length")
    assert "— cut: the answer is longer than it may be; see --max-tokens —" in await chat.types("go")


# --- commands


async def test_help_lists_all_commands(chat: Chat) -> None:
    text = await chat.types("/help")
    for name in ("/model", "/save", "/load", "/cost", "/clear", "/reasoning", "/quit", "@PATH", "Alt-Enter"):
        assert name in text


async def test_a_command_that_is_none_is_told_and_paths_are_none(chat: Chat, fake: FakeMoonshot) -> None:
    assert "There is no /nope; /help lists" in await chat.types("/nope", "/etc/hosts: what is it?")
    assert sent(fake)["messages"][-1]["content"] == "/etc/hosts: what is it?"


async def test_another_model_goes_on_and_keeps_what_it_cost(chat: Chat, fake: FakeMoonshot) -> None:
    text = await chat.types("one", "/model", "/model kimi-k2.7-code", "two", "/cost", "/model ")
    assert "Known: kimi-k3" in text
    assert sent(fake)["model"] == "kimi-k2.7-code"
    assert len(sent(fake)["messages"]) == 4
    assert chat.session.model == "kimi-k2.7-code"
    assert "This session: 2 answers" in text
    assert "This conversation" not in text


async def test_a_model_that_is_not_there_is_not_taken(chat: Chat, fake: FakeMoonshot) -> None:
    text = await chat.types("/model kimi-k9", "/MODEL")
    assert "There is no model kimi-k9 for this key; it has kimi-k" in text
    assert text.count("Model: kimi-k2.6") == 1
    assert chat.session.model == "kimi-k2.6"


async def test_where_the_service_does_not_say_any_model_is_taken(chat: Chat, fake: FakeMoonshot) -> None:
    fake.fail(404, path="/models", times=None)
    assert "Model: my-own" in await chat.types("/model my-own")


async def test_a_model_that_only_the_service_knows_is_taken(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(client: Any) -> list[str]:
        return ["kimi-k2.6", "my-own"]

    monkeypatch.setattr(session, "_listed", listed)
    assert "Model: my-own" in await chat.types("/model my-own")


async def test_ctrl_c_stops_asking_for_models(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped(work: Any) -> None:
        work.close()

    monkeypatch.setattr(session, "stoppable", stopped)
    assert "Not asked whether there is a model my-own; it stays kimi-k2.6." in " ".join(
        (await chat.types("/model my-own")).split()
    )


@pytest.mark.parametrize("word", ["/exit", "/q", "/QUIT"])
async def test_other_words_for_leaving_leave(chat: Chat, fake: FakeMoonshot, word: str) -> None:
    await chat.types(word, "never asked")
    assert fake.requests == []


async def test_clear_begins_anew_with_the_same_model(chat: Chat, fake: FakeMoonshot) -> None:
    text = await chat.types("/model kimi-k2.7-code", "one", "/clear", "two", "/cost")
    assert [message["content"] for message in sent(fake)["messages"]] == ["You are brief.", "two"]
    assert sent(fake)["model"] == "kimi-k2.7-code"
    assert "This session: 2 answers" in text
    assert "This conversation: ¥" in text


async def test_a_conversation_is_saved_and_loaded(chat: Chat, tmp_path: Path, fake: FakeMoonshot) -> None:
    text = await chat.types("/save", "one", "/save talk.json", "two", "/save", "/clear", "/load talk.json", "three")
    assert "Where to? /save PATH" in text
    assert text.count("Saved to talk.json") == 2
    assert "Loaded 2 turns, about" in text
    assert [m["content"] for m in sent(fake)["messages"] if m["role"] == "user"] == ["one", "two", "three"]
    assert msgspec.json.decode((tmp_path / "talk.json").read_bytes())["model"] == "kimi-k2.6"


async def test_where_nothing_can_be_saved_the_path_is_told(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await chat.types("/save nowhere/talk.json")).endswith(" nowhere/talk.json: No such file or directory")

    async def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ".talk.json.tmp")

    monkeypatch.setattr(chat.session.conversation, "save", full)
    assert (await chat.types("/save talk.json")).endswith(" talk.json: No space left on device")


async def test_what_holds_something_else_is_not_overwritten(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    text = await chat.types("/save notes.txt", "/load notes.txt", "/load missing", "/load", "/save ~nobody-here/x")
    assert "notes.txt is there, and no saved conversation" in text
    assert "this is no saved conversation" in text
    assert "missing: No such file or directory" in text
    assert "Which file? /load PATH" in text
    assert (tmp_path / "notes.txt").read_text() == "precious"


async def test_the_cost_of_answers_without_a_price_is_told_apart(chat: Chat, fake: FakeMoonshot) -> None:
    fake.reply("free", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    text = await chat.types("one", "/cost")
    assert "beside 1 answer of unknown price" in text
    assert "kimi-k2.6 · 0." in text


async def test_reasoning_is_shown_when_asked_for(chat: Chat, fake: FakeMoonshot) -> None:
    for number in range(3):
        fake.reply(f"Answer {number}", reasoning=f"thought {number}")
    text = await chat.types(
        *("/reasoning", "/reasoning what", "one", "/reasoning", "/reasoning show", "two", "/reasoning hide", "three")
    )
    assert "The last answer came without reasoning." in text
    assert "/reasoning takes fold, show or hide" in text
    assert "(Ctrl-T shows it)" in text
    assert text.count("thought 0") == text.count("thought 1") == 1
    assert "thought 2" not in text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.00001", "under $0.0001"),
        ("0.0123", "$0.0123"),
        ("1234.5", "$1,234.50"),
        ("2", "$2.00"),
    ],
)
def test_money_is_told_for_people(amount: str, text: str) -> None:
    assert money(Decimal(amount), "usd") == text


# --- images


async def test_images_go_with_the_question(chat: Chat, tmp_path: Path, fake: FakeMoonshot) -> None:
    for name in ("roof.png", "given.png", "large.png"):
        (tmp_path / name).write_bytes(PNG)
    fake.fail(400)
    await chat.types("fails", "What is @roof.png?", "@missing.png", "more", paths=[tmp_path / "given.png"])
    contents = [message["content"] for message in sent(fake)["messages"] if message["role"] == "user"]
    assert [[part["type"] for part in content] for content in contents[:1]] == [["image_url", "image_url", "text"]]
    assert contents[1:] == ["more"]


async def test_who_saves_uploaded_files_is_told_that_they_will_go(
    chat: Chat, tmp_path: Path, fake: FakeMoonshot
) -> None:
    (tmp_path / "large.png").write_bytes(PNG)
    chat.session.uploads = Uploads(chat.session.client, inline_up_to=1)
    text = await chat.types("@large.png", "/save talk.json")
    assert "1 file of it will be deleted" in text
    await chat.session.uploads.aclose()


# --- the prompt


async def typed(*keys: str | Callable[[], bool], history: Any = None, **options: Any) -> str:
    """What a prompt gives for keys; between them, what is waited for."""
    with create_pipe_input() as input, create_app_session(input=input, output=DummyOutput()):
        prompt = asyncio.ensure_future(Prompt(history=history, input=input, output=DummyOutput(), **options)())
        for key in keys:
            if isinstance(key, str):
                input.send_text(key)
            else:
                await eventually(key)
        return await prompt


def reads(text: str) -> Callable[[], bool]:
    """Whether this stands at the prompt."""
    return lambda: get_app().current_buffer.text == text


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("one\r", "one"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("one\\\rtwo\r", "one\ntwo"),
        ("\x1b[200~pasted\nlines\x1b[201~\r", "pasted\nlines"),
        ("你好x\x7f\r", "你好"),
    ],
)
async def test_keys_make_lines(keys: str, line: str) -> None:
    assert await typed(keys, no_color=True) == line


async def test_a_tab_completes() -> None:
    keys = ("/mod\t", reads("/model"), " k\t", reads("/model kimi-k2.6"), "\r")
    assert await typed(*keys, models=["kimi-k2.6"]) == "/model kimi-k2.6"


async def test_what_was_typed_comes_back() -> None:
    history = InMemoryHistory(["one"])
    assert await typed("two\r", history=history) == "two"
    keys = (lambda: len(get_app().current_buffer._working_lines) == 3, "\x1b[A", reads("two"), "\x1b[A\r")
    assert await typed(*keys, history=history) == "one"


@pytest.mark.parametrize(("keys", "raised"), [("x\x03", KeyboardInterrupt), ("\x04", EOFError)])
async def test_ctrl_c_and_ctrl_d_are_told_apart(keys: str, raised: type[BaseException]) -> None:
    with create_pipe_input() as input, create_app_session(input=input, output=DummyOutput()):
        input.send_text(keys)
        with pytest.raises(raised):
            await Prompt(history=None, input=input, output=DummyOutput())()


async def test_a_key_shows_the_last_reasoning() -> None:
    shown: list[int] = []
    assert await typed("o\x14", lambda: shown == [1], "ne\r", unfold=lambda: shown.append(1)) == "one"


def test_what_can_be_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("roof.png", "notes.txt", "talk.json"):
        (tmp_path / name).touch()
    (tmp_path / "pictures").mkdir()
    with create_app_session(input=None, output=DummyOutput()):
        completer = Prompt(history=None, models=["kimi-k2.6", "kimi-k3"])._session.completer
    assert completer is not None

    def completions(text: str) -> list[str]:
        return [found.text for found in completer.get_completions(Document(text), CompleteEvent())]

    assert completions("/c") == ["/cost", "/clear"]
    assert completions("/model kimi-k3") == ["kimi-k3"]
    assert completions("/load t") == ["alk.json"]
    assert completions("see @") == ["pictures", "roof.png"]
    assert completions("see") == []
