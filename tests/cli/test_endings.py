"""How the program ends: exit codes, one sentence, and no key in anything that is said."""

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from moonshot_async.cli import main
from moonshot_async.cli.app import COMMANDS, moonshot
from moonshot_async.cli.endings import CommandError
from moonshot_async.cli.options import command, pass_state
from moonshot_async.cli.signals import until_terminated
from moonshot_async.cli.state import State
from moonshot_async.wire import Request, Response
from tests.cli.command_line import (
    PROGRAM,
    ROOT,
    Service,
    environment,
    moonshot_ended,
    offline,
    on_terminal,
    serving,
    started,
)
from tests.secrets_scan import CANARY_KEY

Fails = Callable[[BaseException], None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Have `moonshot balance` raise something."""

    def fails(error: BaseException) -> None:
        @command("balance")
        @pass_state
        def failing(state: State) -> None:
            state.run(fail(), needs_key=False)

        async def fail() -> None:
            raise error

        monkeypatch.setattr("moonshot_async.cli.account.balance", failing)

    return fails


def test_an_error_of_the_api_is_one_sentence_with_advice(service: Service) -> None:
    said = "You exceeded your current token quota"
    service.fake.fail(429, type="exceeded_current_quota_error", message=said, path="/users/me/balance")
    ended = service.asked("balance")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("moonshot: Error code: 429 - You exceeded your current token quota")
    assert ended.err.endswith("`moonshot balance` shows what is left.\n")
    assert ended.err.count("\n") == 1


def test_an_error_is_told_as_json(service: Service) -> None:
    service.fake.fail(404, message="Nothing here", path="/files/*")
    ended = service.asked("files", "show", "file-1", "--json")
    assert (ended.code, ended.out) == (1, "")
    told = json.loads(ended.err)["error"]
    assert told["type"] == "NotFoundError"
    assert (told["status"], told["exit_code"], told["retryable"]) == (404, 1, False)
    assert told["request_id"]


def test_what_is_unreachable_is_told_with_the_way_to_the_cause() -> None:
    ended = moonshot_ended("balance", "--base-url", "http://127.0.0.1:9/v1", MOONSHOT_API_KEY="sk-x")
    assert ended.code == 1
    assert ended.err.endswith("`moonshot doctor` looks for the cause.\n")


def test_a_call_ends_with_its_timeout() -> None:
    async def never(request: Request) -> Response:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    with serving(lambda: never) as (_, url):
        ended = moonshot_ended("balance", "--base-url", url, "--timeout", "0.05", MOONSHOT_API_KEY="sk-x")
    assert ended.code == 1
    assert "--timeout" in ended.err


def test_an_unexpected_error_has_a_sentence_and_its_traceback_on_request(fails: Fails) -> None:
    fails(RuntimeError("the sky fell"))
    ended = moonshot_ended("balance")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "moonshot: Unexpected RuntimeError: the sky fell. Run it with --verbose to see where it came from.\n"
    )
    told = moonshot_ended("balance", "--verbose")
    assert "Traceback" in told.err
    assert "the sky fell" in told.err
    assert json.loads(moonshot_ended("balance", "--json").err)["error"]["type"] == "RuntimeError"


def test_an_error_of_the_system_says_which_file(fails: Fails) -> None:
    fails(OSError(5, "Input/output error", "notes.txt"))
    ended = moonshot_ended("balance")
    assert (ended.code, ended.err) == (1, "moonshot: notes.txt: Input/output error\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError(28, "No space left on device"), "No space left on device"), (OSError("odd"), "Unexpected OSError: odd.")],
)
def test_an_error_of_the_system_need_not_name_a_file(error: OSError, said: str, fails: Fails) -> None:
    fails(error)
    assert moonshot_ended("balance").err.startswith(f"moonshot: {said}")


@pytest.mark.parametrize("name", ["markdown_it", "prompt_toolkit"])
def test_each_package_of_the_extra_may_be_missing(name: str, fails: Fails) -> None:
    fails(ModuleNotFoundError(f"No module named {name!r}", name=name))
    ended = moonshot_ended("balance")
    assert (ended.code, name in ended.err) == (2, True)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_may_be_closed_from_the_start(closed: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Milk and honey.", encoding="utf-8")

    def close() -> None:
        for number in closed:
            os.close(number)

    command = [*PROGRAM, "extract", str(path), "--offline"]
    ended = subprocess.run(command, env=environment(), capture_output=True, preexec_fn=close, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == (b"" if 1 in closed else b"Milk and honey.\n")


def test_a_closed_stream_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with pytest.raises(SystemExit) as ended:
        moonshot.main(["--version"])
    assert (ended.value.code, sys.stdin.read()) == (0, "")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        os.close(stream.fileno())


def test_advice_for_programs_is_none_for_people(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    empty = offline("files", "upload", str(tmp_path / "empty.txt"))
    assert empty.err.endswith("cannot be uploaded: it is empty.\n")
    late = offline("balance", "--timeout", "1e-9")
    assert "timeout=" not in late.err
    assert "--timeout" in late.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_outside_of_event_loops_cleans_up_too(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned_up = []

    @command("balance")
    @pass_state
    def waits(state: State) -> None:
        # What follows a loop is ended by signals, too.
        state.run(asyncio.sleep(0), needs_key=False)
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned_up.append(True)

    monkeypatch.setattr("moonshot_async.cli.account.balance", waits)
    before = signal.getsignal(number)
    assert (moonshot_ended("balance").code, cleaned_up) == (code, [True])
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so(fails: Fails) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        fails(click.ClickException(str(signal.raise_signal(signal.SIGHUP))))
        assert moonshot_ended("balance").code == 1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_may_run_outside_the_main_thread() -> None:
    codes = []

    def run() -> None:
        with pytest.raises(SystemExit) as ended:
            moonshot.main(["--version"])
        codes.append(ended.value.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_missing_package_is_told_with_what_to_install(fails: Fails) -> None:
    fails(ModuleNotFoundError("No module named 'rich.table'", name="rich.table"))
    ended = moonshot_ended("balance")
    assert (ended.code, "pip install 'moonshot-async[cli]'" in ended.err) == (2, True)
    fails(ModuleNotFoundError("No module named 'other'", name="other"))
    assert moonshot_ended("balance").code == 1


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_command_may_say_with_which_code_it_ends(code: int, fails: Fails) -> None:
    fails(CommandError("Not today", code))
    ended = moonshot_ended("balance")
    assert (ended.code, ended.err) == (code, "moonshot: Not today.\n")


def test_a_warning_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warnings.filters", [])
    ended = moonshot_ended("balance", "--base-url", "http://a.invalid/v1", "--timeout", "0.01", MOONSHOT_API_KEY="sk-x")
    assert ended.err.startswith("moonshot: warning: base_url is plain http to a.invalid: ")


def test_verbose_tells_what_was_sent_and_nothing_does_so_by_itself() -> None:
    assert offline("balance").err == ""
    assert "GET /v1/users/me/balance attempt=1 -> 200" in offline("balance", "-v").err


@pytest.mark.parametrize("verbose", [(), ("--verbose",)])
def test_no_key_is_in_what_is_said(service: Service, fails: Fails, verbose: tuple[str, ...]) -> None:
    service.fake.fail(401, message=f"Invalid key {CANARY_KEY}", path="/models")
    refused = service.asked("models", *verbose)
    fails(RuntimeError(f"odd: {CANARY_KEY}"))
    unexpected = service.asked("balance", *verbose)
    for ended in (refused, unexpected):
        assert ended.code == 1
        assert "sk-canary" not in ended.out + ended.err


@pytest.mark.parametrize("option", ["--api-key", "--key", "--token"])
def test_a_key_is_no_argument_and_is_not_repeated(option: str) -> None:
    told = moonshot_ended("models", option, CANARY_KEY), moonshot_ended("models", f"{option}={CANARY_KEY}")
    stray = moonshot_ended("models", CANARY_KEY)
    for ended in (*told, stray):
        assert ended.code == 2
        assert "sk-canary" not in ended.err
    assert all("Keys are not taken as arguments" in ended.err for ended in told)


def test_a_key_is_asked_for_at_a_terminal_and_not_echoed(tmp_path: Path) -> None:
    with serving(lambda: _answers_balance) as (_, url):
        pid, master = pty.fork()
        if pid == 0:  # pragma: no cover  # the program
            os.execve(sys.executable, [*PROGRAM, "balance", "--base-url", url], environment())
        said = b""
        while not said.endswith(b": "):
            said += os.read(master, 1000)
        while termios.tcgetattr(master)[3] & termios.ECHO:
            pass  # It asks before it switches the echo off.
        os.write(master, CANARY_KEY.encode() + b"\n")
        try:
            while piece := os.read(master, 1000):
                said += piece
        except OSError:
            pass  # On Linux that is how a closed terminal reads.
        os.close(master)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"API key" in said
    assert b"49.58" in said
    assert b"sk-canary" not in said


def test_the_key_that_was_typed_is_used_and_none_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("moonshot_async.cli.state.sys", SimpleNamespace(stdin=terminal, stderr=terminal))
    with serving(lambda: _answers_balance) as (_, url):
        typed = moonshot_ended("balance", "--base-url", url, "--verbose", input=f"{CANARY_KEY}\n")
        nothing = moonshot_ended("balance", "--base-url", url, input="")
    assert (typed.code, "sk-canary" in typed.out + typed.err) == (0, False)
    assert (nothing.code, nothing.out.strip()) == (130, "")


async def _answers_balance(request: Request) -> Response:
    assert request.headers["Authorization"] == f"Bearer {CANARY_KEY}"
    data = {"available_balance": 49.58, "voucher_balance": 46.58, "cash_balance": 3}
    body = json.dumps({"code": 0, "data": data, "scode": "0x0", "status": True}).encode()
    return Response(200, {"Content-Type": "application/json"}, [body])


def test_ctrl_c_ends_quietly() -> None:
    async def interrupts(request: Request) -> Response:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    with serving(lambda: interrupts) as (_, url):
        ended = moonshot_ended("balance", "--base-url", url, MOONSHOT_API_KEY="sk-x")
    assert (ended.code, ended.out, ended.err) == (130, "", "")


def test_ctrl_c_at_a_terminal_leaves_the_line(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(KeyboardInterrupt())
    ended = on_terminal("balance", monkeypatch=monkeypatch)
    assert (ended.code, ended.text) == (130, "\r\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_as_ctrl_c_does(number: int, code: int) -> None:
    cleaned_up = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.get_running_loop().create_future()
        finally:
            cleaned_up.append(True)

    with pytest.raises(SystemExit) as ended:
        State().run(work(), needs_key=False)
    assert ended.value.code == code
    assert cleaned_up


def test_nohup_is_left_alone() -> None:
    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return "done"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert State().run(work(), needs_key=False) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_cancellation_of_others_stays_one() -> None:
    task = asyncio.ensure_future(until_terminated(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_work_runs_outside_the_main_thread_too() -> None:
    done = []
    thread = threading.Thread(target=lambda: done.append(State().run(asyncio.sleep(0, "done"), needs_key=False)))
    thread.start()
    thread.join()
    assert done == ["done"]


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    process = started("models", "--offline", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_a_reader_of_errors_may_be_gone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a number
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as ended:
            moonshot.main(["--version"])
        with pytest.raises(SystemExit) as wrong:
            moonshot.main(["--nope"])
    assert (ended.value.code, wrong.value.code) == (141, 2)


def test_a_reader_may_be_gone_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(SystemExit) as ended:
        moonshot.main(["--version"])
    assert ended.value.code == 141


def test_characters_that_the_output_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))

    @click.command("balance")
    def prints() -> None:
        sys.stdout.write("月")

    monkeypatch.setattr("moonshot_async.cli.account.balance", prints)
    with pytest.raises(SystemExit):
        moonshot.main(["balance"])
    assert printed.getvalue() == b"\\u6708"


@pytest.mark.parametrize("missing", ["click", "moonshot_async.cli.app"])
def test_without_its_packages_it_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "moonshot_async.cli.app":
                raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.delitem(sys.modules, "moonshot_async.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    if missing == "click":
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("pip install 'moonshot-async[cli]'") == 1
    else:
        with pytest.raises(ModuleNotFoundError):
            main()


def test_ctrl_c_while_it_is_loaded_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "moonshot_async.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "moonshot_async.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_main_runs_what_the_program_was_called_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import runpy

    # By its path: where pytest knows the plugin of the package, it imports what is in it.
    program = str(ROOT / "moonshot_async" / "__main__.py")
    monkeypatch.setattr(sys, "argv", ["moonshot", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(program, run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("moonshot ")
    assert set(runpy.run_path(program)) > {"main"}
    assert COMMANDS
