"""`moonshot chat`: one question, from the command line or from stdin."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from moonshot_async.cli.chat import command
from moonshot_async.cli.chat.command import piped_text
from tests.cli.command_line import Service, moonshot_ended, offline, on_terminal
from tests.cli.screens import STYLES
from tests.toolkit.conversations import sent
from tests.toolkit.file_world import PNG


def test_a_question_is_answered() -> None:
    ended = offline("chat", "What is a lake?")
    assert ended.code == 0
    assert "“What is a lake?”" in ended.out
    assert ended.out.endswith(".\n")
    assert "\x1b" not in ended.out
    assert ended.err == ""


def test_text_on_stdin_stands_below_the_question(service: Service) -> None:
    assert service.asked("chat", "Sum this up: @nothing", input="a text with @roof.png\n").code == 0
    assert sent(service.fake)["messages"][-1]["content"] == "Sum this up: @nothing\n\na text with @roof.png\n"
    assert service.asked("chat", input="only that").code == 0
    assert sent(service.fake)["messages"][-1]["content"] == "only that"
    assert service.asked("chat", "--no-stdin", "only this", input="not that").code == 0
    assert sent(service.fake)["messages"][-1]["content"] == "only this"


def test_options_reach_the_request(service: Service) -> None:
    options = ("-m", "kimi-k3", "-s", "Be brief.", "--effort", "low", "--max-tokens", "900")
    assert service.asked("chat", *options, "go").code == 0
    body = sent(service.fake)
    assert body["model"] == "kimi-k3"
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["reasoning_effort"], body["max_completion_tokens"]) == ("low", 900)
    assert service.asked("chat", "--no-thinking", "go").code == 0
    assert sent(service.fake)["thinking"] == {"type": "disabled"}
    assert service.asked("chat", "--thinking", "go", MOONSHOT_MODEL="kimi-k2.7-code").code == 0
    assert sent(service.fake)["thinking"] == {"type": "enabled"}
    assert sent(service.fake)["model"] == "kimi-k2.7-code"


def test_json_is_one_document() -> None:
    answer = offline("chat", "--json", "Hi", "--region", "intl").json
    assert answer["model"] == "kimi-k2.6"
    assert "“Hi”" in answer["content"]
    assert answer["reasoning"]
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["cost"] > 0
    assert answer["currency"] == "usd"


def test_json_can_be_streamed() -> None:
    *pieces, done = offline("chat", "--json", "--stream", "Hi").lines
    assert {piece["type"] for piece in pieces} == {"content.delta", "reasoning.delta"}
    assert "".join(piece["delta"] for piece in pieces if piece["type"] == "content.delta") == done["content"]
    assert done["type"] == "done"


def test_control_characters_of_an_answer_stay_off_the_terminal(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "\x1b[2J \x1b]0;x\x07 \x9b31m &#13;\r\nend\r"
    service.fake.reply(evil, reasoning=evil, times=None)
    ended = service.asked("chat", "--reasoning", "show", "Hi")
    assert ended.out == "␛[2J ␛]0;x␇ \\x9b31m &#13;\nend␍\n"
    assert ended.err == ended.out
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-canary-0a1b2c3d4e5f6a7b")
    for options in ((), ("--plain",), ("--reasoning", "show"), ("--no-color",)):
        arguments = ("chat", "Hi", "--base-url", service.url, *options)
        shown = on_terminal(*arguments, monkeypatch=monkeypatch).text
        # What we write ourselves: styles, moves of the cursor, clearing, and modes of the terminal.
        rest = STYLES.sub("", shown).replace("\x1b[?2026h", "").replace("\x1b[?2026l", "").replace("\x1b[2K", "")
        for ours in ("\x1b[?25l", "\x1b[?25h", "\x1b[J", *(f"\x1b[{rows}A" for rows in range(1, 9))):
            rest = rest.replace(ours, "")
        assert rest.replace("\r\n", "\n").replace("\n", "").isprintable(), shown
        assert "␛[2J" in rest


def test_json_on_a_terminal_holds_none_either(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J \x9b31m \x7f \u202e"
    service.fake.reply(evil, times=None)
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-canary-0a1b2c3d4e5f6a7b")
    shown = on_terminal("chat", "--json", "Hi", "--base-url", service.url, monkeypatch=monkeypatch, only="stdout").text
    assert shown.replace("\r\n", "").isprintable()
    assert json.loads(shown)["content"] == evil


def test_reasoning_goes_to_stderr_where_it_is_asked_for(service: Service) -> None:
    service.fake.reply("answer", reasoning="because", times=None)
    assert service.asked("chat", "Hi").err == ""
    ended = service.asked("chat", "--reasoning", "show", "Hi")
    assert (ended.out, ended.err) == ("answer\n", "because\n")


def test_an_answer_that_is_not_whole_is_no_success(service: Service) -> None:
    service.fake.reply("half", finish_reason="length", times=2)
    ended = service.asked("chat", "Hi")
    assert ended.code == 1
    assert ended.out == "half\n"
    assert "the answer is not whole (length)" in ended.err
    ended = service.asked("chat", "--json", "Hi")
    assert ended.code == 1
    assert ended.json["finish_reason"] == "length"


def test_an_answer_that_breaks_off_is_no_success(service: Service) -> None:
    service.fake.cut_stream(9)
    ended = service.asked("chat", "--no-thinking", "Hi there, what is a lake?")
    assert ended.code == 1
    assert ended.out.endswith("\n")
    assert "broke off" in ended.err
    service.fake.fail(401)
    ended = service.asked("chat", "--json", "Hi")
    assert ended.code == 1
    assert ended.out == ""
    assert json.loads(ended.err)["error"]["status"] == 401


def test_a_conversation_goes_on_in_a_file(service: Service, tmp_path: Path) -> None:
    path = str(tmp_path / "talk.json")
    assert service.asked("chat", "-s", "Be brief.", "-m", "kimi-k2.7-code", "--save", path, "one").code == 0
    assert service.asked("chat", "--load", path, "--save", path, "--max-tokens", "500", "two").code == 0
    assert sent(service.fake)["model"] == "kimi-k2.7-code"
    assert sent(service.fake)["max_completion_tokens"] == 500
    assert service.asked("chat", "--load", path, "-m", "kimi-k2.6", "three", MOONSHOT_MODEL="ignored").code == 0
    body = sent(service.fake)
    assert body["model"] == "kimi-k2.6"
    asked = [message["content"] for message in body["messages"] if message["role"] in ("system", "user")]
    assert asked == ["Be brief.", "one", "two", "three"]


def test_images_go_along(service: Service, tmp_path: Path) -> None:
    (tmp_path / "roof.png").write_bytes(PNG)
    assert service.asked("chat", "-a", str(tmp_path / "roof.png"), f"What is @{tmp_path}/roof.png?").code == 0
    assert [part["type"] for part in sent(service.fake)["messages"][-1]["content"]] == ["image_url"] * 2 + ["text"]
    assert service.asked("chat", "--attach", str(tmp_path / "roof.png")).code == 0
    assert [part["type"] for part in sent(service.fake)["messages"][-1]["content"]] == ["image_url"]


@pytest.mark.parametrize(
    ("arguments", "input", "words"),
    [
        ((), None, "There is no question: give one, or text on stdin. A session needs a terminal."),
        ((" ",), " \n", "There is no question"),
        (("--json",), None, "There is no question"),
        (("--stream", "Hi"), None, "--stream is for --json"),
        (("--load", "x", "-s", "y", "Hi"), None, "--system is for new conversations"),
        (("--max-tokens", "0", "Hi"), None, "max-tokens"),
        (("@missing.png",), None, "missing.png: No such file"),
        (("-a", "missing.png", "Hi"), None, "missing.png: No such file"),
        (("--save", __file__, "Hi"), None, "is there, and no saved conversation"),
        (("--load", __file__, "Hi"), None, "this is no saved conversation"),
        (("--thinking", "--effort", "low", "Hi"), None, "exclude each other"),
        (("Hi",), b"\xff\xfe", "no UTF-8 text"),
        (("Hi",), b"x" * 200, "more than 100 bytes"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(
    arguments: tuple[str, ...], input: bytes | str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_MOST_BYTES", 100)
    ended = offline("chat", *arguments, input=input)
    assert ended.code == 2
    assert ended.out == ""
    assert words in ended.err


def test_a_file_that_is_missing_is_a_failure() -> None:
    ended = offline("chat", "--load", "missing.json", "Hi")
    assert ended.code == 1
    assert "missing.json: No such file or directory" in ended.err


# --- stdin


@pytest.mark.parametrize("kind", ["pipe", "file", "terminal", "closed", "none"])
def test_stdin_is_read_where_something_was_led_there(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: tuple[int, ...] = ()
    if kind == "pipe":
        numbers = os.pipe()
        os.write(numbers[1], b"\xef\xbb\xbftext")
        os.close(numbers[1])
    elif kind == "file":
        (tmp_path / "file").write_bytes(b"text")
        numbers = (os.open(tmp_path / "file", os.O_RDONLY),)
    elif kind == "terminal":
        numbers = os.openpty()
    stdin = io.TextIOWrapper(os.fdopen(numbers[0], "rb")) if numbers else io.TextIOWrapper(io.BytesIO())
    if kind == "closed":
        stdin.close()
    monkeypatch.setattr(sys, "stdin", None if kind == "none" else stdin)
    assert piped_text() == ("text" if kind in ("pipe", "file") else "")
    stdin.close()
    if kind == "terminal":
        os.close(numbers[1])


def test_without_stdin_there_is_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    text = on_terminal("chat", "--offline", monkeypatch=monkeypatch).text
    assert "A session needs a terminal." in text.replace("\r\n", " ")
    if sys.stdin is not None:
        # The program has put something in its place.
        sys.stdin.close()


# --- on a terminal


def test_on_a_terminal_it_is_laid_out(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-canary-0a1b2c3d4e5f6a7b")
    service.fake.reply("# Lakes\n\n**deep**", reasoning="hm", times=None)
    arguments = ("chat", "Hi", "--base-url", service.url)
    shown = on_terminal(*arguments, monkeypatch=monkeypatch)
    assert shown.code == 0
    assert "▸ thought for" in shown.text
    assert "**" not in shown.text
    assert "\x1b[1mdeep" in shown.text
    assert "**deep**\r\n" in on_terminal(*arguments, "--plain", monkeypatch=monkeypatch).text
    monkeypatch.setenv("TERM", "dumb")
    dumb = on_terminal(*arguments, monkeypatch=monkeypatch).text
    assert dumb == "# Lakes\r\n\r\n**deep**\r\n"


def test_without_a_question_a_session_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda file: True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = str(tmp_path / "talk.json")
    for number, options in enumerate([("--save", path), ("--load", path, "--save", path), ("--no-history",)]):
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            keys.send_text(f"question {number}\r/quit\r")
            ended = offline("chat", *options)
        assert ended.code == 0, ended.err
        assert f"“question {number}”" in " ".join(ended.out.split())
    assert "question 0" in Path(path).read_text()
    history = (tmp_path / "moonshot" / "chat_history").read_text()
    assert "+question 1\n" in history
    assert "question 2" not in history


def test_where_nothing_can_be_saved_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "nowhere/talk.json: No such file or directory"
    ended = offline("chat", "Hi", "--save", "nowhere/talk.json")
    assert (ended.code, ended.out) == (1, "")
    assert words in ended.err
    monkeypatch.setattr(command, "_is_terminal", lambda file: True)
    ended = offline("chat", "--save", "nowhere/talk.json")
    assert (ended.code, ended.out) == (1, "")
    assert words in ended.err


def test_a_dumb_terminal_has_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda file: True)
    ended = offline("chat", TERM="dumb")
    assert ended.code == 2
    assert "TERM=dumb" in ended.err


def test_the_help_is_one_page() -> None:
    ended = moonshot_ended("chat", "--help")
    assert ended.code == 0
    assert "@PATH" in ended.out
