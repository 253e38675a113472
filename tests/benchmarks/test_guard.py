"""A guard against slow ways on the hot path: ratios to aiohttp + msgspec in the same run, never seconds.

The least figure of some rounds counts: what makes the code slower shows in all of them, what else the machine does in
one. What is allowed is some more than what was measured (0.65, 0.86, 0.86): the machines that run this are noisy.
"""

import sys

import pytest

from benchmarks.clients.registry import OURS, RAW
from benchmarks.processes import Processes
from benchmarks.results import Results
from benchmarks.runner import Runner
from benchmarks.scenarios.base import SIZES
from benchmarks.server.running import Servers

ALLOWED = {"unary-64": 1.0, "burst-1": 1.15, "paced-100": 1.15}
ROUNDS = 3


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Results:
    processes = Processes(sys.executable, Servers(tmp_path_factory.mktemp("servers")), SIZES["guard"])
    runner = Runner(processes, rounds=ROUNDS, patience=60, tell=lambda text: None)
    return runner.run(list(ALLOWED), [OURS, RAW], lambda table: None)


@pytest.mark.parametrize("scenario", ALLOWED)
def test_costs_little_more_than_what_somebody_would_write_by_hand(scenario: str, measured: Results) -> None:
    table = next(table for table in measured.tables if table.name == scenario)
    ours, raw = table.row(OURS), table.row(RAW)
    assert ours is not None
    assert raw is not None
    assert (ours.failure, raw.failure) == ("", "")
    mine, its = ([one["cpu_us"] for one in row.rounds] for row in (ours, raw))
    assert len(mine) == len(its) == ROUNDS
    assert min(mine) <= min(its) * ALLOWED[scenario], (mine, its)
