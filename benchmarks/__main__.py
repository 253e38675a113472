"""The command line of the benchmarks."""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.clients.registry import CLIENTS
from benchmarks.plots import draw
from benchmarks.processes import Processes
from benchmarks.results import Results, Table
from benchmarks.runner import Runner
from benchmarks.scenarios import scenarios
from benchmarks.scenarios.base import SIZES
from benchmarks.server.running import Servers
from benchmarks.tables import about_lines, markdown_of, summary_of, text_of

DESCRIPTION = """Measure what calls cost this SDK and other clients, against a server on this machine.

Measured: CPU time (user and system) of the client's process, memory, and latencies that the client adds, over the
loopback interface. The clients take turns, each round in a process of its own against a server of its own, and each
compares all that it received with what was sent. Not measured: a network, and a model. A ratio is the median over the
rounds of a client beside another in the same round."""


def main() -> int:
    """Measure, or list what can be measured, or show again what was; returns the exit status."""
    options = _options()
    if options.list:
        _list()
        return 0
    if options.read:
        order = list(scenarios(SIZES["full"]))
        results = Results.joined([Results.from_data(json.loads(path.read_text())) for path in options.read], order)
        for table in results.tables:
            _say(text_of(table))
    else:
        results = _measured(options)
        _say("")
    for line in about_lines(results):
        _say(line)
    if options.json is not None:
        data = json.dumps(results.to_data(), indent=1)
        print(data) if options.json == "-" else Path(options.json).write_text(data + "\n")
    if options.markdown is not None:
        text = markdown_of(results)
        print(text) if options.markdown == "-" else Path(options.markdown).write_text(text)
    if options.summary is not None:
        text = summary_of(results)
        print(text) if options.summary == "-" else Path(options.summary).write_text(text)
    if options.plots is not None:
        for path in draw(results, options.plots):
            _say(f"drawn: {path}")
    return int(any(row.failure for table in results.tables for row in table.rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks", description=DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--list", action="store_true", help="name the scenarios and the peers, and measure nothing")
    add("--scenario", action="append", metavar="NAME", help="only this one, or those that begin so; may be repeated")
    add("--peer", action="append", metavar="NAME", help="only this client beside ours; may be repeated")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, help="how long a measurement goes on where it may choose (default 2)")
    add("--smoke", action="store_true", help="tiny, one round: only to see that everything works")
    add("--patience", type=float, default=20.0, help="seconds; a client with longer rounds gets two (default 20)")
    add("--python", default=sys.executable, help="the interpreter of the clients")
    add("--json", metavar="FILE", help="write all figures there; - for the standard output")
    add("--markdown", metavar="FILE", help="write the tables there; - for the standard output")
    add("--summary", metavar="FILE", help="write the few figures of the README there; - for the standard output")
    add("--plots", type=Path, metavar="DIR", help="draw the curves there, as SVG; needs matplotlib")
    add("--read", type=Path, action="append", metavar="FILE", help="measure nothing: show what --json wrote there")
    return parser.parse_args()


def _list() -> None:
    for name, scenario in scenarios(SIZES["full"]).items():
        print(f"{name:22} {scenario.title}")
    print()
    for name, client in CLIENTS.items():
        print(f"{name:22} {client.label}, needs {', '.join(client.needs.values())}")


def _measured(options: argparse.Namespace) -> Results:
    size = SIZES["smoke" if options.smoke else "full"]
    if options.seconds is not None:
        size = dataclasses.replace(size, seconds=options.seconds)
    names = _chosen("scenario", options.scenario, list(scenarios(size)))
    clients = _chosen("peer", options.peer and ["ours", *options.peer], list(CLIENTS))
    with tempfile.TemporaryDirectory(prefix="moonshot-bench-") as directory:
        processes = Processes(options.python, Servers(Path(directory)), size)
        rounds = 1 if options.smoke else options.rounds
        runner = Runner(processes, rounds=rounds, patience=options.patience, tell=_progress)
        return runner.run(names, clients, _show)


def _chosen(what: str, wanted: list[str] | None, known: list[str]) -> list[str]:
    if not wanted:
        return known
    chosen = [name for name in known if any(_fits(name, one, known) for one in wanted)]
    unknown = [one for one in wanted if not any(_fits(name, one, known) for name in known)]
    if unknown:
        sys.exit(f"no {what} {unknown[0]!r}: there are {', '.join(known)}")
    return chosen


def _fits(name: str, wanted: str, known: list[str]) -> bool:
    return name == wanted or (wanted not in known and name.startswith(wanted))


def _show(table: Table) -> None:
    _progress("")
    _say(text_of(table))


def _say(text: str) -> None:
    """Tables go to the standard error, so that JSON can go to the standard output."""
    print(text, file=sys.stderr)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
