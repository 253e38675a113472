"""What came out of a run: medians, spread and ratios, as data that goes to JSON and back."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.clients.registry import OPENAI, RAW
from benchmarks.scenarios.base import Figures, Scenario


@dataclass
class Row:
    """One client in one scenario.

    Attributes:
        rounds: the figures of each round, in which the clients took turns.
        failure: why there are none, or no more.
    """

    client: str
    rounds: list[Figures] = field(default_factory=list)
    failure: str = ""

    def median(self, figure: str) -> float | None:
        """The median of the rounds; None where there are none."""
        values = [one[figure] for one in self.rounds if figure in one]
        return statistics.median(values) if values else None

    def spread(self, figure: str) -> float | None:
        """The median distance from the median, as a part of it; None where there is but one round."""
        median = self.median(figure)
        if not median or len(self.rounds) < 2:
            return None
        return statistics.median(abs(one[figure] - median) for one in self.rounds) / abs(median)


@dataclass
class Table:
    """One scenario.

    Attributes:
        figures: names and titles of the columns.
        compared: those of which there are ratios.
        curve, at: see `Scenario`.
    """

    name: str
    title: str
    figures: dict[str, str]
    compared: list[str]
    curve: str = ""
    at: int = 0
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, scenario: Scenario) -> "Table":
        """An empty one."""
        figures = {figure.name: figure.title for figure in scenario.figures}
        compared = [figure.name for number, figure in enumerate(scenario.figures) if figure.compared or number == 0]
        return cls(scenario.name, scenario.title, figures, compared, scenario.curve, scenario.at)

    def row(self, client: str) -> Row | None:
        """The row of a client, if it took part."""
        return next((row for row in self.rows if row.client == client), None)

    def ratio(self, row: Row, figure: str, to: str) -> float | None:
        """The median, over the rounds, of a figure of one client beside another's in the same round."""
        other = self.row(to)
        if other is None:
            return None
        pairs = zip(row.rounds, other.rounds, strict=False)
        ratios = [mine[figure] / its[figure] for mine, its in pairs if its.get(figure)]
        return statistics.median(ratios) if ratios else None


@dataclass
class Results:
    """A run.

    Attributes:
        about: date, machine, versions, server, rounds.
        missing: clients that could not take part, and the packages that they lack.
    """

    about: dict[str, Any]
    missing: dict[str, list[str]]
    tables: list[Table] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Sequence["Results"], order: Sequence[str]) -> "Results":
        """Runs of different scenarios as one, the tables in this order; what is not in it comes last.

        Raises:
            ValueError: they are of different days, machines or versions, or measured the same scenario.
        """
        first, *others = parts
        if any(part.about != first.about for part in others):
            raise ValueError("these runs are of different days, machines, versions or sizes: they cannot be joined")
        tables = [table for part in parts for table in part.tables]
        if len({table.name for table in tables}) != len(tables):
            raise ValueError("these runs measured the same scenario: they cannot be joined")
        places = {name: place for place, name in enumerate(order)}
        if others:
            tables.sort(key=lambda table: places.get(table.name, len(places)))
        missing = {name: lacks for part in parts for name, lacks in part.missing.items()}
        return cls(first.about, missing, tables)

    def to_data(self) -> dict[str, Any]:
        """Plain data; with medians, spreads and ratios, which are made of the rounds."""
        return {"about": self.about, "missing": self.missing, "tables": [_table_data(table) for table in self.tables]}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Results":
        """What `to_data` gave."""
        tables = []
        for one in data["tables"]:
            rows = [Row(row["client"], row["rounds"], row["failure"]) for row in one["rows"]]
            tables.append(Table(**{**one, "rows": rows}))
        return cls(data["about"], data["missing"], tables)


def _table_data(table: Table) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        names = list(table.figures)
        data = asdict(row) | {
            "medians": {name: row.median(name) for name in names},
            "spreads": {name: row.spread(name) for name in names},
            "ratios_to_raw": {name: table.ratio(row, name, RAW) for name in table.compared},
            "ratios_to_openai": {name: table.ratio(row, name, OPENAI) for name in table.compared},
        }
        rows.append(data)
    return asdict(table) | {"rows": rows}
