"""What was typed before: a file that its owner alone may read, in the directory that the platform has for such."""

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from prompt_toolkit.history import History

from moonshot_async.toolkit.conversation.files import write_whole

# Of a longer file the end counts; one of more than twice as much is cut.
_MOST_BYTES: Final = 1024 * 1024
_KEY: Final = re.compile(r"\bsk-[\w-]{16,}")


def state_directory(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where programs keep what they remember."""
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "moonshot"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "moonshot"
    given = environ.get("XDG_STATE_HOME", "")
    # As the specification has it, a path that is not absolute counts for nothing.
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "state") / "moonshot"


class HistoryFile(History):
    """The history of prompts in a file, one entry after the other: its lines begin with `+`, as readline's do not.

    What begins with a space, or holds what looks like a key, is not kept. A file that cannot be read or written is no
    reason not to chat: the history is that of the session then.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The entries, newest first."""
        try:
            lines = self._read().decode("utf-8", "replace").split("\n")
        except OSError:
            return
        entry: list[str] = []
        for line in [*reversed(lines), ""]:
            if line.startswith("+"):
                entry.append(line[1:])
            elif entry:
                yield "\n".join(reversed(entry))
                entry.clear()

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _MOST_BYTES))
            data = file.read()
        if size > 2 * _MOST_BYTES:
            write_whole(str(self._path), data)
        return data

    def append_string(self, string: str) -> None:
        if not string.startswith(" ") and _KEY.search(string) is None:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        text = "".join(f"+{line}\n" for line in string.split("\n"))
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(number, "wb") as file:
                # One that was there before may be open to others.
                self._path.chmod(0o600)
                file.write(f"\n# {time.time():.0f}\n{text}".encode("utf-8", "replace"))
        except OSError:
            pass
