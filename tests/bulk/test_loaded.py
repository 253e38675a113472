"""Many short requests in bulk: what they cost beside the bare calls, and that memory does not grow with their number.

`MOONSHOT_ASYNC_SOAK` says how many calls a soak makes; five times as many requests are made here, 100,000 where it is
20,000. Unless it is set it is a tenth.
"""

import asyncio
import json
import os
import statistics
import sys
from pathlib import Path

import pytest

from tests.bulk.fast_server import FastServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

ROOT = Path(__file__).parent.parent.parent
CALLS = int(os.environ.get("MOONSHOT_ASYNC_SOAK", "2000"))
FULL = CALLS >= 20_000
CONCURRENCY = 512
# Few requests do not make up for opening a journal and closing it.
PARTS, ALLOWED = (7, 1.25) if FULL else (3, 1.7)
MIB = 1024 * 1024


async def measured(url: str, journal: Path) -> tuple[int, list[int], float]:
    """The most memory that a run held, what it held from time to time, and how many times the CPU time of its calls."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bulk.loaded_program", url, str(journal)),
        *(str(5 * CALLS), str(CONCURRENCY), str(PARTS)),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    told = json.loads(out)
    return told["most"], told["held"], statistics.median(told["bulks"]) / statistics.median(told["pools"])


async def test_bulk_work_costs_little_more_than_its_calls_and_memory_stays_flat(tmp_path: Path) -> None:
    times: list[float] = []
    with FastServer() as url:
        # A machine that does other things, too, may look dear once or twice.
        while not times or (times[-1] >= ALLOWED and len(times) < 3):
            most, held, ratio = await measured(url, tmp_path / f"run{len(times)}.db")
            times.append(ratio)
            assert most < 150 * MIB
            # From the second tenth on, when all that may be in hand at once has been.
            assert max(held) - held[1] < 8 * MIB, held
    assert min(times) < ALLOWED, times
