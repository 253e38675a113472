"""What commands read: an argument, a file, or stdin."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

if TYPE_CHECKING:
    from datetime import timedelta

# As much as a request may have.
MAX_BYTES: Final = 100 * 1024 * 1024
STDIN: Final = "-"
_HALF: Final = re.compile("[\\ud800-\\udfff]")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_bytes(path: str) -> bytes:
    """What is in a file, or comes from stdin for `-`.

    Raises:
        click.UsageError: it is more than 100 MB, or stdin is a terminal, where nobody knows that it waits; or the file
            cannot be opened.
        OSError: the file cannot be read to its end.
    """
    if path == STDIN:
        if sys.stdin.isatty():
            raise click.UsageError("Nothing to read: give a file, or pipe something in.")
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with opened(path) as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{named(path)} has more than {MAX_BYTES:,} bytes.")
    return data


def opened(path: str) -> BinaryIO:
    """A file that is to be read.

    Raises:
        click.UsageError: it cannot be opened.
    """
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
    raise click.UsageError(f"{named(path)} cannot be read: {problem}.")


def is_pipe(path: str) -> bool:
    """Whether it comes once, from stdin or from something else that is no file, such as `<(zcat asks.jsonl.gz)`."""
    return path == STDIN or (Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()))


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of such a thing, which is opened when they are asked for: that may block."""
    with Path(path).open("rb") as file:
        yield from file


def read_text(path: str) -> str:
    """The same as text.

    Raises:
        click.UsageError: it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Out here, so that what was read is not in the context of the error.
    raise click.UsageError(f"{named(path)} is not text in UTF-8.")


def argument_text(text: str) -> str:
    """A text that is an argument, whatever the encoding of the terminal is said to be.

    Raises:
        click.UsageError: it is not UTF-8.
    """
    try:
        # What Python could not decode it holds as half characters.
        return os.fsencode(text).decode() if _HALF.search(text) else text
    except UnicodeDecodeError:
        pass
    raise click.UsageError("The text is not in UTF-8.")


def read_json(path: str) -> Any:
    """The same as data.

    Raises:
        click.UsageError: it is not JSON.
    """
    from json import JSONDecodeError, loads

    try:
        return loads(read_text(path))
    except JSONDecodeError as error:
        problem = f"{named(path)} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."
    except RecursionError:
        problem = f"{named(path)} is nested too deeply."
    raise click.UsageError(problem)


def named(path: str) -> str:
    """How a message calls it."""
    return "stdin" if path == STDIN else repr(path)


def duration(text: str, option: str) -> "timedelta":
    """A number with a unit (s, m, h, d) as a duration.

    Raises:
        click.UsageError: it is none.
    """
    from datetime import timedelta

    number, unit = text[:-1], _UNITS.get(text[-1:].lower())
    try:
        if unit is not None:
            return timedelta(**{unit: float(number)})
    except (OverflowError, ValueError):
        pass
    raise click.UsageError(f"{option} takes a number and a unit such as 90m, 12h or 7d, not {text!r}.")
