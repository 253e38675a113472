"""What is measured of a process: CPU time, and memory."""

import gc
import sys
import time
from pathlib import Path
from typing import Self


class Meter:
    """CPU seconds of this process, user and system, all threads, while it is entered; also of the server.

    Attributes:
        cpu_s: of this process.
        wall_s: on the clock.
        server_share: how much of one core the server used, from 0 to 1.
    """

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self.cpu_s = self.wall_s = self.server_share = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        self._server = cpu_of(self._server_pid)
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s, self.wall_s = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self.server_share = (cpu_of(self._server_pid) - self._server) / self.wall_s

    def figures(self, operations: int) -> dict[str, float]:
        """CPU microseconds for each of so many operations, and the share of the server."""
        return {"cpu_us": self.cpu_s / operations * 1e6, "server_share": self.server_share}


class PeakMemory:
    """How much more memory this process had, at most, than when it was entered.

    Attributes:
        extra_bytes: of resident memory.
    """

    def __enter__(self) -> Self:
        gc.collect()
        # Linux forgets the peak so far.
        Path("/proc/self/clear_refs").write_text("5")
        self._before = resident_bytes()
        self.extra_bytes = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.extra_bytes = max(0, _status("VmHWM") - self._before)


def resident_bytes() -> int:
    """The resident memory of this process."""
    return _status("VmRSS")


def cpu_of(pid: int) -> float:
    """CPU seconds that another process has used. 0 where the system does not tell."""
    if not pid or sys.platform != "linux":
        return 0.0
    # The id of another process's CPU clock, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
