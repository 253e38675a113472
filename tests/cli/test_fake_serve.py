"""`fake serve`."""

import json
import os
import signal
import socket
import sys
import threading
from typing import Any
from urllib.request import Request, urlopen

import pytest

from moonshot_async.cli.app import moonshot
from tests.cli.command_line import moonshot_ended


class Visitor:
    """Waits for the URL, asks for something, and ends the server by a signal.

    Attributes:
        told: what the server printed first.
        answer: of the service.
    """

    def __init__(self, path: str, number: signal.Signals) -> None:
        self.told = ""
        self.answer: Any = None
        self._reading, self._writing = os.pipe()
        self._path = path
        self._number = number

    def serve(self, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Serve until the visitor has had its answer; tells the exit code."""
        thread = threading.Thread(target=self._visit)
        thread.start()
        with monkeypatch.context() as patch, os.fdopen(self._writing, "w", encoding="utf-8") as stdout:
            patch.setattr(sys, "stdout", stdout)
            with pytest.raises(SystemExit) as ended:
                moonshot.main(["fake", "serve", *arguments])
        thread.join()
        return ended.value.code

    def _visit(self) -> None:
        with os.fdopen(self._reading, encoding="utf-8") as stdin:
            self.told = stdin.readline().strip()
            url = json.loads(self.told)["base_url"] if self.told.startswith("{") else self.told
            try:
                with urlopen(Request(url + self._path, headers={"Authorization": "Bearer sk-any"})) as answer:
                    self.answer = json.load(answer)
            finally:
                os.kill(os.getpid(), self._number)


def test_it_serves_until_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    visitor = Visitor("/models", signal.SIGINT)
    assert visitor.serve(monkeypatch=monkeypatch) == 0
    assert visitor.told.startswith("http://127.0.0.1:")
    assert any(model["id"] == "kimi-k2.6" for model in visitor.answer["data"])
    assert capsys.readouterr().err == "Any key that begins with sk- is good. Ctrl-C ends it.\n\n"


def test_it_serves_as_it_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    visitor = Visitor("/users/me/balance", signal.SIGTERM)
    latencies = ("--latency", "0.001", "--chunk-latency", "0.001")
    told = ("--tier", "2", "--balance", "7.25", "--region", "cn", "--json")
    assert visitor.serve(*latencies, *told, monkeypatch=monkeypatch) == 143
    assert set(json.loads(visitor.told)) == {"base_url"}
    assert visitor.answer["data"]["available_balance"] == 7.25
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["nowhere.invalid", "\udcff", "a" * 100])
def test_a_host_that_is_none_is_told(host: str) -> None:
    ended = moonshot_ended("fake", "serve", "--host", host)
    assert (ended.code, ended.err.startswith("moonshot: Cannot listen on ")) == (1, True)


@pytest.mark.parametrize(("region", "code"), [((), "usd"), (("--region", "cn"), "cny"), (("--region", "intl"), "usd")])
def test_money_is_what_clients_take_it_for(region: tuple[str, ...], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    async def served(state: object, host: str, port: int, options: dict[str, Any]) -> None:
        told.append(options)

    monkeypatch.setattr("moonshot_async.cli.fake._serve", served)
    assert moonshot_ended("fake", "serve", *region).code == 0
    assert told[0]["currency"] == code


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = moonshot_ended("fake", "serve", "--port", str(port))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"moonshot: Cannot listen on 127.0.0.1 port {port}: ")
