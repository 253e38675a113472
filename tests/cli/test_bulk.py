"""`bulk`."""

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from moonshot_async.catalog import CATALOG
from moonshot_async.cli.app import moonshot
from moonshot_async.cli.bulk.runs import _clock
from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request, Response
from tests.cli.command_line import Ended, Service, moonshot_ended, offline, on_terminal, serving

MODEL = ("--model", "kimi-k2.6")


def line(custom_id: str, *, question: str | None = "What is 1 + 1?") -> str:
    messages = [] if question is None else [{"role": "user", "content": question}]
    return json.dumps({"custom_id": custom_id, "body": {"messages": messages}}) + "\n"


@pytest.fixture
def asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of four requests, in the directory that the test is in."""
    monkeypatch.chdir(tmp_path)
    path = Path("asks.jsonl")
    path.write_text("".join(map(line, "abcd")), encoding="utf-8")
    return path


def ids(ended: Ended) -> list[str]:
    return [told["custom_id"] for told in ended.lines]


def test_requests_are_answered_once(asks: Path, service: Service) -> None:
    first = service.asked("bulk", "run", "asks.jsonl", *MODEL)
    assert (first.code, first.out) == (0, "")
    assert first.err.startswith("4 answered, 0 failed, ")
    assert first.err.endswith("all of it is in asks.jsonl.db\n")
    again = service.asked("bulk", "run", "asks.jsonl", *MODEL, "--output", "-", "--ordered")
    assert ids(again) == ["a", "b", "c", "d"]
    assert all(told["response"]["body"]["choices"] and told["cost"] > 0 for told in again.lines)
    assert len(service.fake.requests) == 4


def test_results_are_had_from_the_journal(asks: Path) -> None:
    assert offline("bulk", "run", "asks.jsonl", *MODEL, "-j", "run.db", "-o", "out.jsonl").code == 0
    printed = moonshot_ended("bulk", "results", "run.db")
    assert ids(printed) == ["a", "b", "c", "d"]
    assert Path("out.jsonl").read_text(encoding="utf-8") == printed.out
    assert moonshot_ended("bulk", "results", "run.db", "-o", "again.jsonl").out == ""
    assert Path("again.jsonl").read_text(encoding="utf-8") == printed.out


def test_the_end_is_told_as_json(asks: Path) -> None:
    told = offline("bulk", "run", "asks.jsonl", *MODEL, "--json", "--region", "intl").json
    assert (told["done"], told["failed"], told["total"], told["stopped"]) == (4, 0, 4, False)
    assert (told["currency"], told["journal"]) == ("usd", "asks.jsonl.db")
    assert told["cost"] > 0


def test_requests_come_from_stdin_too(asks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offline("bulk", "run", "-", *MODEL, "-j", "run.db", "--json", input=line("x")).json["done"] == 1
    with asks.open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(SystemExit) as ended:
            moonshot.main(["--offline", "bulk", "run", "-", *MODEL, "-j", "run.db"])
    assert ended.value.code == 0
    assert len(moonshot_ended("bulk", "results", "run.db").lines) == 5


def test_requests_come_from_pipes_too(asks: Path) -> None:
    os.mkfifo("pipe")
    refused = offline("bulk", "run", "pipe", *MODEL)
    assert (refused.code, "a pipe need a --journal" in refused.err) == (2, True)
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(asks.read_bytes()))
    writer.start()
    assert offline("bulk", "run", "pipe", *MODEL, "-j", "run.db", "--json").json["done"] == 4
    writer.join()


def test_what_fails_is_told_with_its_reason(asks: Path) -> None:
    asks.write_text(line("good") + line("bad", question=None), encoding="utf-8")
    ended = offline("bulk", "run", "asks.jsonl", *MODEL, "-o", "-")
    assert ended.code == 3
    told = {told["custom_id"]: told for told in ended.lines}
    assert told["bad"]["response"] is None
    assert told["bad"]["error"]["status"] == 400
    asks.write_text(line("bad", question=None), encoding="utf-8")
    assert offline("bulk", "run", "asks.jsonl", *MODEL, "-j", "other.db").code == 1
    assert (
        offline("bulk", "run", "asks.jsonl", *MODEL, "-j", "other.db", "--retry-failed", "--json").json["failed"] == 1
    )


def test_a_run_that_has_to_stop_says_why_and_keeps_what_it_has(asks: Path, service: Service) -> None:
    service.fake.reply("two")
    service.fake.fail(429, type="exceeded_current_quota_error", times=None)
    arguments = ("bulk", "run", "asks.jsonl", *MODEL, "--concurrency", "1", "-o", "out.jsonl")
    ended = service.asked(*arguments)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "`moonshot balance` shows what is left." in ended.err
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    service.fake.reset()
    assert service.asked(*arguments).code == 0
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_a_run_stops_before_its_budget_is_overrun(asks: Path) -> None:
    ended = offline("bulk", "run", "asks.jsonl", *MODEL, "--max-cost", "0.0001")
    assert (ended.code, "max_cost" in ended.err) == (1, True)
    assert offline("bulk", "run", "asks.jsonl", *MODEL, "--max-cost", "much").code == 2


def test_defaults_and_limits_are_kept_to(asks: Path, service: Service) -> None:
    defaults = ("--set", "max_completion_tokens=20", "--set", "prompt_cache_key=mine", "--set", "stop=[]")
    assert service.asked("bulk", "run", "asks.jsonl", *MODEL, *defaults, "--tier", "2").code == 0
    body = json.loads(service.fake.last_request.body)  # type: ignore[arg-type]  # bytes
    assert (body["max_completion_tokens"], body["prompt_cache_key"], body["stop"]) == (20, "mine", [])
    limit = next(tier.rpm for tier in CATALOG.tiers if tier.tier == 2)
    assert moonshot_ended("bulk", "report", "asks.jsonl.db", "--json").json["requests"]["limit"] == limit


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "-"), "Requests from stdin need a --journal"),
        (("run", "nope.jsonl"), "there is no file"),
        (("run", "asks.jsonl", "--set", "stop"), "--set takes NAME=VALUE"),
        (("run", "asks.jsonl", "--set", "max_tokens=3", "--max-tokens", "4"), "is an option of its own"),
        (("run", "asks.jsonl", "--set", "nonsense=3"), "nonsense"),
        (("run", "asks.jsonl", "--set", "handle_signals=true"), "is nothing that a request says"),
        (("run", "asks.jsonl", "--set", "max_cost=3"), "is an option of its own: --max-cost"),
        (("run", "asks.jsonl"), "or give --model"),
        (("run", "asks.jsonl", *MODEL, "-o", "asks.jsonl"), "is read here, and would be lost"),
        (("run", "asks.jsonl", *MODEL, "-j", "run.db", "-o", "./run.db"), "is read here, and would be lost"),
        (("run", "asks.jsonl", *MODEL, "-o", "nowhere/out"), "there is no such directory"),
        (("run", "asks.jsonl", *MODEL, "-o", "."), "it is a directory"),
        (("run", "asks.jsonl", "--tier", "99"), "There is no tier 99: the tiers are 0, 1, "),
        (("resume", "nope.db"), "there is no file 'nope.db'"),
        (("results", "nope.db"), "there is no file 'nope.db'"),
        (("results", "asks.jsonl"), "asks.jsonl"),
        (("report", "nope.db"), "there is no file 'nope.db'"),
    ],
)
def test_wrong_usage_ends_with_2(asks: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = offline("bulk", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_journal_is_not_written_over(asks: Path) -> None:
    offline("bulk", "run", "asks.jsonl", *MODEL, "-j", "run.db")
    os.link("run.db", "link.db")
    for arguments in (("results", "run.db", "-o", "run.db"), ("report", "link.db", "--html", "run.db")):
        ended = moonshot_ended("bulk", *arguments)
        assert (ended.code, "would be lost" in ended.err) == (2, True)
    assert len(moonshot_ended("bulk", "results", "run.db").lines) == 4


def test_where_results_go_is_looked_at_before_anything_is_asked(asks: Path, service: Service) -> None:
    assert service.asked("bulk", "run", "asks.jsonl", *MODEL, "-o", "nowhere/out").code == 2
    assert service.asked("batch", "run", "asks.jsonl", *MODEL, "-o", "nowhere/out").code == 2
    assert not service.fake.requests
    assert not Path("asks.jsonl.db").exists()


def test_a_place_that_may_not_be_written_to_is_refused(asks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert "permission denied" in offline("bulk", "run", "asks.jsonl", *MODEL, "-o", "out.jsonl").err


def test_a_dash_is_stdout_everywhere(asks: Path) -> None:
    offline("bulk", "run", "asks.jsonl", *MODEL, "-j", "run.db")
    assert len(moonshot_ended("bulk", "results", "run.db", "-o", "-").lines) == 4
    assert moonshot_ended("bulk", "report", "run.db", "--html", "-").out.startswith("<!")
    assert moonshot_ended("bulk", "report", "run.db", "--html", "-", "--json").code == 2
    assert len(offline("batch", "run", "asks.jsonl", *MODEL, "-o", "-").lines) == 4
    assert not Path("-").exists()


def test_resuming_prints_what_earlier_starts_have_answered_too(asks: Path) -> None:
    asks.write_text(line("good") + line("bad", question=None), encoding="utf-8")
    assert offline("bulk", "run", "asks.jsonl", *MODEL, "-j", "run.db").code == 3
    assert ids(offline("bulk", "resume", "run.db", *MODEL, "-o", "-")) == ["good", "bad"]
    assert ids(offline("bulk", "resume", "run.db", *MODEL, "-o", "-", "--retry-failed")) == ["good", "bad"]


def test_what_became_of_a_run_is_reported(asks: Path) -> None:
    offline("bulk", "run", "asks.jsonl", *MODEL)
    text = moonshot_ended("bulk", "report", "asks.jsonl.db")
    assert (text.code, text.err) == (0, "")
    assert "4" in text.out
    told = moonshot_ended("bulk", "report", "asks.jsonl.db", "--rpm", "500", "--tpm", "3e6", "--json").json
    assert (told["done"], told["requests"]["limit"]) == (4, 500.0)
    assert isinstance(told["cost"], float)
    page = moonshot_ended("bulk", "report", "asks.jsonl.db", "--html", "report.html")
    size = Path("report.html").stat().st_size
    assert (page.code, page.out, page.err) == (0, "", f"{size:,} bytes written to report.html.\n")
    both = moonshot_ended("bulk", "report", "asks.jsonl.db", "--html", "again.html", "--json")
    assert (both.json["failed"], both.err, Path("again.html").is_file()) == (0, "", True)


class Interrupting:
    """The embedded service, which sends signals to its client first.

    Args:
        signals: one for each request, in order; several, separated from each other by what becomes of the first.
        answers: whether requests that bring signals are answered.
    """

    def __init__(self, *signals: signal.Signals, answers: bool) -> None:
        self.fake = FakeMoonshot()
        self._signals = list(signals)
        self._answers = answers

    async def __call__(self, request: Request) -> Response:
        answers = self._answers or not self._signals
        while self._signals:
            os.kill(os.getpid(), self._signals.pop(0))
            # Two of a kind at the same time are one.
            await asyncio.sleep(0.05)
        if not answers:
            await asyncio.get_running_loop().create_future()
        return await self.fake(request)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_calls_under_way_end(asks: Path, number: signal.Signals, code: int) -> None:
    with serving(lambda: Interrupting(number, answers=True)) as (app, url):
        variables = {"MOONSHOT_API_KEY": "sk-x", "MOONSHOT_BASE_URL": url}
        stopped = moonshot_ended("bulk", "run", "asks.jsonl", *MODEL, "--concurrency", "1", "--json", **variables)
        assert (stopped.code, stopped.json["done"], stopped.json["stopped"]) == (code, 1, True)
        assert stopped.err.splitlines() == [
            "Stopping: 1 call is under way. Ctrl-C once more leaves at once.",
            "Stopped before its end; the same command goes on.",
        ]
        resumed = moonshot_ended("bulk", "resume", "asks.jsonl.db", "asks.jsonl", *MODEL, "--json", **variables)
        assert (resumed.code, resumed.json["done"]) == (0, 4)
        assert len(app.fake.requests) == 4


def test_a_second_signal_leaves_at_once(asks: Path) -> None:
    with serving(lambda: Interrupting(signal.SIGINT, signal.SIGINT, answers=False)) as (_, url):
        variables = {"MOONSHOT_API_KEY": "sk-x", "MOONSHOT_BASE_URL": url}
        stopped = moonshot_ended("bulk", "run", "asks.jsonl", *MODEL, "--concurrency", "1", **variables)
        assert stopped.code == 130
        resumed = moonshot_ended("bulk", "resume", "asks.jsonl.db", *MODEL, "--json", **variables)
        assert resumed.code == 0
        assert resumed.json["done"] == len(moonshot_ended("bulk", "results", "asks.jsonl.db").lines)


def test_a_signal_when_all_is_over_changes_nothing(asks: Path) -> None:
    asks.write_text(line("only"), encoding="utf-8")
    with serving(lambda: Interrupting(signal.SIGINT, answers=True)) as (_, url):
        ended = moonshot_ended("bulk", "run", "asks.jsonl", *MODEL, "--base-url", url, MOONSHOT_API_KEY="sk-x")
    assert (ended.code, "Stopped" in ended.err) == (0, False)


async def test_where_signals_cannot_be_caught_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from moonshot_async.cli.bulk.runs import _Interrupts
    from moonshot_async.cli.state import State

    def cannot(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", cannot)
    monkeypatch.setattr(asyncio.get_running_loop(), "remove_signal_handler", cannot)
    with _Interrupts(State(), None, None) as interrupts:  # type: ignore[arg-type]  # nobody looks
        assert interrupts.code is None


def test_how_far_it_is_is_drawn_on_a_terminal(asks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = on_terminal("bulk", "run", "asks.jsonl", *MODEL, "--offline", monkeypatch=monkeypatch, only="stderr")
    assert shown.code == 0
    assert "4/4" in shown.text
    assert "0 failed, 0.0" in shown.text


def test_a_narrow_terminal_has_the_numbers_alone(asks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = on_terminal("bulk", "run", "asks.jsonl", *MODEL, "--offline", monkeypatch=monkeypatch, only="stderr")
    assert ("4/4" in shown.text, "0 failed" in shown.text, "━" in shown.text) == (True, True, False), repr(shown.text)


def test_how_far_it_is_is_told_now_and_then_elsewhere(asks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.cli.bulk.runs._TELL", 0.0)
    assert "4 of 4, " in offline("bulk", "run", "asks.jsonl", *MODEL).err
    assert "1, " in offline("bulk", "run", "-", *MODEL, "-j", "other.db", input=line("x")).err


def test_times_are_written_as_clocks_do() -> None:
    assert (_clock(0.4), _clock(61), _clock(36_061)) == ("0:00", "1:01", "10:01:01")


def test_results_that_are_printed_on_a_terminal_leave_no_room_for_a_bar(
    asks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = on_terminal("bulk", "run", "asks.jsonl", *MODEL, "--offline", "-o", "-", monkeypatch=monkeypatch)
    assert (shown.code, "━" in shown.text) == (0, False)
    assert len([told for told in shown.text.splitlines() if told.startswith("{")]) == 4
