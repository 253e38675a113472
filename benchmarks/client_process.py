"""The process of a client: measures, and prints a line of JSON for each scenario. `benchmarks.processes` starts it."""

import asyncio
import dataclasses
import json
import resource
import sys
import traceback

from benchmarks.clients.registry import CLIENTS
from benchmarks.scenarios import scenarios
from benchmarks.scenarios.base import SIZES, Figures, Run, Scenario


def main(client: str, size_name: str, seconds: str, tasks: str) -> None:
    """Measure each of the tasks, for so long: the name of the scenario, base URL, and process of the server."""
    size = dataclasses.replace(SIZES[size_name], seconds=float(seconds))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    every = scenarios(size)
    for name, url, server_pid in json.loads(tasks):
        run = Run(CLIENTS[client], size, url, server_pid)
        try:
            result: Figures | str = measured(every[name], run)
        # Whatever happens to a client is a result, too.
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            result = f"{type(error).__name__}: {error}".splitlines()[0]
        print(json.dumps([name, result]), flush=True)


def measured(scenario: Scenario, run: Run) -> Figures:
    """Measure once, on the event loop of the client."""
    factory = None
    if run.spec.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(scenario.measure(run), run.size.longest_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
