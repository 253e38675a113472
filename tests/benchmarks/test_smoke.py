"""Each scenario runs, tiny, with this SDK and with aiohttp + msgspec beside it, and every byte arrives."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.registry import CLIENTS
from benchmarks.plots import PLOTS, curves_of, draw
from benchmarks.results import Results, Row, Table
from benchmarks.scenarios import scenarios
from benchmarks.scenarios.base import SIZES, Scenario
from benchmarks.server.running import Servers
from benchmarks.server.scripts import Piece, Script, Stamp, place
from benchmarks.tables import markdown_of, text_of

ROOT = Path(__file__).parent.parent.parent


def benchmarks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def smoke() -> tuple[dict[str, Any], str]:
    """What a smoke round prints: JSON, and tables."""
    done = benchmarks("--smoke", "--peer", "raw-aiohttp", "--peer", "raw-fed", "--json", "-")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def expected() -> dict[str, Scenario]:
    return scenarios(SIZES["smoke"])


def test_every_scenario_measures_this_sdk_and_says_what_the_server_was(smoke: tuple[dict[str, Any], str]) -> None:
    data, shown = smoke
    measured = {table["name"]: {row["client"] for row in table["rows"] if row["rounds"]} for table in data["tables"]}
    assert measured.keys() == expected().keys()
    assert all("ours" in clients for clients in measured.values())
    assert data["about"]["server"].startswith(("C, ", "Python fallback"))
    assert f"Server: {data['about']['server']}" in shown


def test_the_results_are_shown_again_from_their_json(smoke: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    data, shown = smoke
    file = tmp_path / "results.json"
    file.write_text(json.dumps(data))

    again = benchmarks("--read", str(file), "--markdown", "-")

    assert again.returncode == 0, again.stderr
    assert again.stderr.split() == shown.split()
    assert again.stdout.count("\n| --- |") == len(data["tables"])


def test_a_scenario_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = benchmarks("--scenario", "nonsense")
    assert done.returncode == 1
    assert "no scenario 'nonsense': there are unary-1, " in done.stderr


def test_all_scenarios_and_clients_are_listed() -> None:
    lines = benchmarks("--list").stdout.splitlines()
    assert {line.split()[0] for line in lines if line} == {*scenarios(SIZES["full"]), *CLIENTS}


def test_a_script_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pieces = (Piece(f"a {place(Stamp.CLOCK)} b".encode()), Piece(b"", 5, jittered=True))
    script = Script("both", (pieces, (Piece(b"x"),)), again_from=1)
    script.write(tmp_path)
    assert Script.read(tmp_path / "both") == script
    assert pieces[0].stamps == [(Stamp.CLOCK, 2)]


def results() -> Results:
    """Two scenarios of one curve, two rounds, with a client that failed and one that is missing."""
    about = {"date": "2026-01-01", "processor": "one", "cores": "2", "system": "any", "versions": {"python": "3"}}
    tables = []
    for at in (1, 64):
        table = Table(f"unary-{at}", "Calls", {"cpu_us": "CPU µs", "calls_per_s": "calls"}, ["cpu_us"], "unary", at)
        for client, cpu_us in (("ours", 10.0), ("raw-aiohttp", 20.0)):
            rounds = [{"cpu_us": cpu_us * n, "calls_per_s": 5.0, "server_share": 0.95} for n in (1, 3)]
            table.rows.append(Row(client, rounds))
        table.rows.append(Row("openai", failure="ValueError: no"))
        tables.append(table)
    return Results(about | {"server": "C, cc", "rounds": 2, "size": "full"}, {"raw-httpx": ["httpx"]}, tables)


def test_ratios_are_medians_of_the_rounds_and_nothing_is_hidden() -> None:
    text = text_of(results().tables[0])
    assert text.splitlines()[3].split() == ["moonshot_async", "20.0", "50%", "0.50", "5.00", "95%"]
    assert "FAILED: openai: ValueError: no" in text
    assert "BUSY: the server used 95% of a core with moonshot_async" in text
    assert "MISSING: raw-httpx. To have it measured: pip install 'httpx'" in markdown_of(results())


def test_parts_of_a_run_are_joined_in_the_order_of_the_scenarios() -> None:
    whole = results()
    parts = [Results(whole.about, {}, [table]) for table in reversed(whole.tables)]
    assert Results.joined(parts, ["unary-1", "unary-64"]).tables == whole.tables
    with pytest.raises(ValueError, match="measured the same scenario"):
        Results.joined([whole, parts[0]], [])
    with pytest.raises(ValueError, match="different days, machines"):
        Results.joined([whole, Results(whole.about | {"date": "2026-01-02"}, {})], [])


def test_plots_are_drawn_of_what_has_more_than_one_point(tmp_path: Path) -> None:
    assert [plot.name for plot in PLOTS if curves_of(results(), plot)] == ["throughput"]
    assert curves_of(results(), PLOTS[-1])["ours"] == [(1, 5.0), (64, 5.0)]
    if importlib.util.find_spec("matplotlib"):
        assert [path.name for path in draw(results(), tmp_path)] == ["throughput.svg"]


def test_every_plot_has_scenarios_that_give_its_points() -> None:
    assert {plot.curve for plot in PLOTS} <= {scenario.curve for scenario in scenarios(SIZES["full"]).values()}


@pytest.mark.parametrize("compiled", [True, False], ids=["in C", "in Python"])
def test_both_servers_play_the_same(compiled: bool, tmp_path: Path) -> None:
    """A stamp, a turn, a pipelined request, and a body that is thrown away."""
    servers = Servers(tmp_path, compiled=compiled)
    assert servers.compiled or not compiled, servers.kind
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
    script = Script("one", tuple((Piece(head + place(stamp).encode()),) for stamp in (Stamp.RECEIVED, Stamp.NUMBER)))
    request = b"POST /one/v1/x HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    with servers.running([script], tls=False) as server:
        got = exchanged(int(server.origin.rpartition(":")[2]), request * 3, len(head) * 3 + 60)
    assert [int(part.split(b"\r\n\r\n")[1]) for part in got.split(b"HTTP/1.1")[1:]] == [300_000, 1, 300_000]


def exchanged(port: int, data: bytes, length: int) -> bytes:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        got = b""
        while len(got) < length:
            got += connection.recv(65536)
        return got
