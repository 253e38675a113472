"""Runs measurements of one client in a process of its own, against a server of its own."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.answers import url_of
from benchmarks.scenarios.base import Figures, Scenario, Size
from benchmarks.server.running import NoServerError, Running, Servers

_ROOT = Path(__file__).parent.parent
_LONGEST_S = 900
# No proxy, no key, no settings of the user's: the clients are told what they need.
_HIDDEN = ("MOONSHOT_", "KIMI_", "OPENAI_", "PYTHON", "COVERAGE_")


class MeasurementError(Exception):
    """A client could not be measured. The message says why."""


@dataclass(frozen=True)
class Processes:
    """Starts measurements.

    Attributes:
        python: the interpreter of the clients.
        servers: start the servers.
        size: how much is measured.
    """

    python: str
    servers: Servers
    size: Size

    def probe(self) -> dict[str, Any]:
        """The `versions` that the clients' Python has, and by client the packages that are `missing`.

        Raises:
            MeasurementError: that Python does not run.
        """
        found: dict[str, Any] = json.loads(self._output(["-m", "benchmarks.probe"])[-1])
        return found

    def measure(self, client: str, scenarios: Sequence[Scenario]) -> dict[str, Figures | str]:
        """Measure a client once in each of these scenarios, one after the other in one process.

        Returns:
            By the name of the scenario the figures, or in words why there are none.
        """
        with contextlib.ExitStack() as stack:
            try:
                servers = {tls: stack.enter_context(self._server(scenarios, tls)) for tls in (False, True)}
                tasks = [[scenario.name, *_address(scenario, servers)] for scenario in scenarios]
                arguments = [client, self.size.name, str(self.size.seconds), json.dumps(tasks)]
                program = ["-m", "benchmarks.client_process", *arguments]
                lines = self._output(program, tls=servers[True] is not None)
            except (NoServerError, MeasurementError) as error:
                return {scenario.name: str(error) for scenario in scenarios}
        return dict(map(json.loads, lines))

    @contextlib.contextmanager
    def _server(self, scenarios: Sequence[Scenario], tls: bool) -> Iterator[Running | None]:
        scripts = {scenario.script for scenario in scenarios if scenario.script is not None and scenario.tls == tls}
        if not scripts:
            yield None
            return
        with self.servers.running(scripts, tls=tls) as server:
            yield server

    def _output(self, arguments: list[str], *, tls: bool = False) -> list[str]:
        """The lines that a program of the clients' Python prints."""
        environment = {name: value for name, value in os.environ.items() if not _hidden(name)}
        environment["PYTHONPATH"] = str(_ROOT)
        if tls:
            environment["SSL_CERT_FILE"] = str(self.servers.certificate_path)
        command = [self.python, *arguments]
        try:
            done = subprocess.run(
                command, env=environment, cwd=_ROOT, capture_output=True, text=True, timeout=_LONGEST_S, check=False
            )
        except OSError as error:
            raise MeasurementError(f"{self.python} does not run: {error}") from None
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"not done after {_LONGEST_S} s") from None
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise MeasurementError(said[-1])
        return done.stdout.splitlines()


def _hidden(name: str) -> bool:
    return name.upper().startswith(_HIDDEN) or name.lower().endswith("_proxy")


def _address(scenario: Scenario, servers: dict[bool, Running | None]) -> tuple[str, int]:
    """The base URL for a scenario, and the process of the server."""
    server = servers[scenario.tls]
    if server is None or scenario.script is None:
        return "", 0
    return url_of(server.origin, scenario.script), server.pid
