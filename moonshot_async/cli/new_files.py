"""Files that are written: where they may stand, and that each appears only once it is whole."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import IO, Final, Self

import click

STDOUT: Final = "-"


def target(path: Path | None, *sources: Path | None) -> Path | None:
    """Where results are to go, looked at before anything is asked; None for stdout, which `-` is, too.

    Args:
        path: as it was given.
        sources: what is read meanwhile, and must not be written over.

    Raises:
        click.UsageError: nothing can be written there, or it is one of `sources`.
    """
    if path is None or str(path) == STDOUT:
        return None
    if path.is_dir():
        raise click.UsageError(f"Results cannot be written to {str(path)!r}: it is a directory.")
    found = path.resolve()
    if any(source is not None and source.resolve() == found for source in sources) or _linked(path, sources):
        raise click.UsageError(f"Results cannot be written to {str(path)!r}: it is read here, and would be lost.")
    if not found.parent.is_dir():
        raise click.UsageError(f"Results cannot be written to {str(path)!r}: there is no such directory.")
    if not os.access(found.parent if path.is_file() or not path.exists() else found, os.W_OK):
        raise click.UsageError(f"Results cannot be written to {str(path)!r}: permission denied.")
    return path


def _linked(path: Path, sources: tuple[Path | None, ...]) -> bool:
    """Whether it is another name for the same file."""
    return path.is_file() and any(
        source is not None and source.is_file() and path.samefile(source) for source in sources
    )


class NewFile:
    """Writes a file under another name first: `with NewFile(path) as file: file.write(data)`.

    What stood there stays until all is written; if something goes wrong, or Ctrl-C comes, it stays as it was. What is
    no ordinary file, such as /dev/null or a pipe, is written to as it is.

    Raises:
        OSError: the directory is missing or cannot be written to; when it is entered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._replaced = not path.exists() or path.is_file()

    def __enter__(self) -> Self:
        if self._replaced:
            # Beside the file itself, also where that is a link.
            self._path = self._path.resolve()
            self._file = NamedTemporaryFile(dir=self._path.parent, prefix=f".{self._path.name}.", delete=False)
        else:
            self._file = self._path.open("wb")
        return self

    def write(self, data: bytes) -> None:
        """Append."""
        assert self._file is not None, "entered"
        self._file.write(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file = self._file
        assert file is not None, "entered"
        try:
            with file:
                if kind is None and self._replaced:
                    file.flush()
                    os.fsync(file.fileno())
            if kind is None and self._replaced:
                Path(file.name).chmod(self._mode())
                Path(file.name).replace(self._path)
        finally:
            if self._replaced:
                Path(file.name).unlink(missing_ok=True)

    def _mode(self) -> int:
        """The rights of the file that stood there, else those that new files get."""
        if self._path.exists():
            return self._path.stat().st_mode & 0o777
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
