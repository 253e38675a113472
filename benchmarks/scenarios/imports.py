"""What it costs to start: an import, and a script that makes one call, each in an interpreter of its own."""

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.answers import number_of, whole
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size

_COLD = Path(__file__).parent.parent / "cold"
PROGRAMS = {
    "ours": ("import moonshot_async", "from moonshot_async import AsyncMoonshot"),
    "raw-aiohttp": ("import aiohttp, msgspec", "from aiohttp import ClientSession; import msgspec"),
    "openai": ("import openai", "from openai import AsyncOpenAI"),
    "kimi-agents": ("import kimi_agents_python", "from kimi_agents_python import AsyncKimiClient"),
    "raw-httpx": ("import httpx", "from httpx import AsyncClient; import json"),
}
FIGURES = (Figure("cpu_ms", "CPU ms"), Figure("net_ms", "CPU ms more than `python -c pass`"))
REPEATS = 5


def scenarios(size: Size) -> list[Scenario]:
    """The import, the import of the client's class, and the script."""
    repeats = size.count(REPEATS)
    clients = tuple(PROGRAMS)
    importing = (("import", "Import of the package"), ("import-client", "Import of the client's class"))
    return [
        *(
            Scenario(name, title, FIGURES, partial(_importing, which, repeats), None, clients=clients)
            for which, (name, title) in enumerate(importing)
        ),
        Scenario("cold", "A script that makes one call", FIGURES, partial(_calling, repeats), whole(), clients=clients),
    ]


async def _importing(which: int, repeats: int, run: Run) -> Figures:
    return _figures(["-c", PROGRAMS[run.spec.name][which]], repeats)


async def _calling(repeats: int, run: Run) -> Figures:
    program = _COLD / f"ask_{run.spec.name.replace('-', '_')}.py"
    command = [str(program), run.url]
    number_of(_output_of(command).removesuffix("\n"))
    return _figures(command, repeats)


def _figures(arguments: list[str], repeats: int) -> Figures:
    """CPU milliseconds of a program, the least of some starts; the first one, which may compile, does not count."""
    if repeats > 1:
        _output_of(arguments)
    times = [(_cpu_ms(arguments), _cpu_ms(["-c", "pass"])) for _ in range(repeats)]
    least, bare = min(time for time, _ in times), min(time for _, time in times)
    return {"cpu_ms": least, "net_ms": least - bare}


def _cpu_ms(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _output_of(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def _output_of(arguments: list[str]) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
