"""Who has a journal: a row that says so, renewed with everything that is written.

A process that ends without giving it back has it until it is plain that it is gone: at once where it ran on this
machine, and after a while without a sign of life where it did not.
"""

import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from moonshot_async.errors import JournalError, JournalInUseError

# Seconds without a sign of life after which a lease is free.
STALE_AFTER: Final = 30.0
# Its table.
LEASE: Final = "CREATE TABLE IF NOT EXISTS lease (one INTEGER PRIMARY KEY, token, pid, host, place, beat)"

# Tells this process from those that had its number before.
_LIFE: Final = secrets.token_hex(8)
# Leases of this process that could not be given back: where a disk is full that cannot be written either.
_GIVEN_UP: Final[set[str]] = set()
# How often a sign of life is given where nothing is written, in seconds.
BEAT: Final = 5.0


class Lease:
    """The lease of one run on a journal.

    Args:
        path: of the journal, for messages.
        clock: the time, in Unix seconds.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._token = f"{_LIFE}-{secrets.token_hex(8)}"

    def take(self, db: sqlite3.Connection) -> None:
        """Take it, within a transaction.

        Raises:
            JournalInUseError: somebody has it.
        """
        now = self._clock()
        held = db.execute("SELECT token, pid, host, place, beat FROM lease").fetchone()
        if held is not None:
            token, pid, host, place, beat = held
            age = now - beat
            # A clock that was put back makes no lease eternal.
            if abs(age) < STALE_AFTER and not _is_gone(token, pid, host, place):
                raise JournalInUseError(
                    f"the journal {self._path} is in use by process {pid} on {host}, which gave a sign of life "
                    f"{max(0.0, age):.0f} s ago: two runs on one journal would ask, and pay, for the same. Wait for "
                    f"it, or stop it; if it is gone, try again in {STALE_AFTER - age:.0f} s",
                    path=self._path,
                    pid=pid,
                    host=host,
                )
        db.execute(
            "INSERT OR REPLACE INTO lease (one, token, pid, host, place, beat) VALUES (1, ?, ?, ?, ?, ?)",
            (self._token, os.getpid(), socket.gethostname(), _place(), now),
        )

    def renew(self, db: sqlite3.Connection) -> None:
        """Give a sign of life, within a transaction.

        Raises:
            JournalError: somebody else has taken the journal over.
        """
        renewed = db.execute("UPDATE lease SET beat = ? WHERE token = ?", (self._clock(), self._token))
        if renewed.rowcount != 1:
            raise JournalError(
                f"the journal {self._path} was taken over by another process, since this one gave no sign of life for "
                f"{STALE_AFTER:.0f} s: it stops here, and the other goes on",
                path=self._path,
            )

    def give_back(self, db: sqlite3.Connection) -> None:
        """Give it back, within a transaction."""
        db.execute("DELETE FROM lease WHERE token = ?", (self._token,))

    def give_up(self) -> None:
        """It cannot be given back: other runs of this process may take it all the same."""
        _GIVEN_UP.add(self._token)


def _place() -> str:
    """What numbers of processes are of, where the system tells: containers count for themselves, and machines may
    have one name.
    """
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_gone(token: str, pid: int, host: str, place: str) -> bool:
    """Whether a process surely runs no more."""
    if host != socket.gethostname() or place != _place():
        return False
    if pid == os.getpid():
        return not token.startswith(_LIFE) or token in _GIVEN_UP
    try:
        # Signal 0 asks only; on Windows it would end the process.
        if os.name != "nt":  # pragma: no branch  # nothing is asked on Windows
            os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
