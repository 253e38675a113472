"""A run: the clients take turns, round after round, in each scenario."""

import time
from collections.abc import Callable, Iterable

from benchmarks.clients.registry import CLIENTS
from benchmarks.machine import machine
from benchmarks.processes import Processes
from benchmarks.results import Results, Row, Table
from benchmarks.scenarios import scenarios
from benchmarks.scenarios.base import Figures, Scenario

Tell = Callable[[str], None]
ROUNDS_OF_SLOW_ONES = 2


class Runner:
    """Measures.

    Args:
        processes: start the measurements.
        rounds: how many of them.
        patience: seconds; a client whose round in a scenario takes longer gets two rounds there.
        tell: is told what is going on.
    """

    def __init__(self, processes: Processes, *, rounds: int, patience: float, tell: Tell) -> None:
        self._processes = processes
        self._rounds, self._patience, self._tell = rounds, patience, tell

    def run(self, scenario_names: Iterable[str], clients: Iterable[str], done: Callable[[Table], None]) -> Results:
        """Measure these clients in these scenarios; `done` is called with each table when it is complete."""
        found = self._processes.probe()
        about = machine() | {"versions": found["versions"], "server": self._processes.servers.kind}
        about |= {"rounds": self._rounds, "size": self._processes.size.name}
        wanted = list(clients)
        results = Results(about, {name: lacks for name, lacks in found["missing"].items() if name in wanted})
        every = scenarios(self._processes.size)
        chosen = [every[name] for name in scenario_names]
        able = [name for name in wanted if name not in results.missing]
        for group in [chosen] if self._processes.size.together else [[scenario] for scenario in chosen]:
            for table in self._measured(group, able):
                if table.rows:
                    results.tables.append(table)
                    done(table)
        return results

    def _measured(self, group: list[Scenario], clients: list[str]) -> list[Table]:
        """Each client measures all scenarios of the group in one process, round after round."""
        tables = {scenario.name: Table.of(scenario) for scenario in group}
        for scenario in group:
            tables[scenario.name].rows = [Row(client) for client in clients if _takes_part(client, scenario)]
        slow: set[str] = set()
        for number in range(self._rounds):
            # Whoever goes first meets another machine than whoever goes last.
            for client in clients if number % 2 == 0 else reversed(clients):
                part = [scenario for scenario in group if _goes_on(tables[scenario.name].row(client))]
                if not part or (client in slow and number >= ROUNDS_OF_SLOW_ONES):
                    continue
                names = part[0].name if len(part) == 1 else f"{len(part)} scenarios"
                self._tell(f"{names}: round {number + 1} of {self._rounds}, {client}")
                started = time.monotonic()
                for name, result in self._processes.measure(client, part).items():
                    _note(tables[name].row(client), result)
                if time.monotonic() - started > self._patience:
                    slow.add(client)
        return list(tables.values())


def _goes_on(row: Row | None) -> bool:
    return row is not None and not row.failure


def _note(row: Row | None, result: Figures | str) -> None:
    assert row is not None
    if isinstance(result, str):
        row.failure = result
    else:
        row.rounds.append(result)


def _takes_part(client: str, scenario: Scenario) -> bool:
    if scenario.clients:
        return client in scenario.clients
    return scenario.needs in CLIENTS[client].can
