"""Whether a Python value is JSON at all: what can be said of it before it is looked at as a schema."""

import math
import sys
from collections.abc import Iterator
from typing import Any, Final

from moonshot_async.mfjs.findings import Path, Report

# What stands inside of what, brackets counted. The service has no such limit, but no reader takes any number of them.
_MOST_LEVELS: Final = 200
# More values than fit into the size that the service allows; parts that are shared count each time.
_MOST_VALUES: Final = 65_000
_LARGEST: Final = sys.float_info.max


class _NotPlainError(Exception):
    """There is no use in looking further."""


def plain_json(value: Any, report: Report) -> Any:
    """A copy of a value that holds what JSON knows and nothing else; None, and a finding, where it cannot be one."""
    before = len(report.findings)
    copier = _Copier(report)
    try:
        copy = copier.copy(value, ())
    except _NotPlainError:
        return None
    return copy if len(report.findings) == before else None


class _Copier:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._around: set[int] = set()
        self._left = _MOST_VALUES

    def copy(self, value: Any, path: Path) -> Any:
        self._left -= 1
        if self._left < 0:
            self._refuse((), "schema-too-large", "Make the schema smaller: it has too many parts to be sent.")
        if isinstance(value, (dict, list, tuple)):
            return self._copy_inner(value, path)
        if isinstance(value, str):
            self._text(value, path)
        elif isinstance(value, float) and not math.isfinite(value):
            self._report.add(path, "not-json", f"Take {value} out: JSON has no such number.", "loose")
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
            self._report.add(path, "not-json", "Use a smaller number: readers of JSON cannot hold this one.", "loose")
        elif value is not None and not isinstance(value, (bool, int, float)):
            kind = type(value).__name__
            self._report.add(path, "not-json", f"Use what JSON knows instead of a value of type {kind}.", "loose")
        return value

    def _copy_inner(self, value: Any, path: Path) -> Any:
        if id(value) in self._around:
            self._refuse(path, "contains-itself", "Use `$ref` for what contains itself: JSON cannot write it.")
        if len(self._around) >= _MOST_LEVELS:
            self._refuse(path, "nested-too-deeply", f"Nest at most {_MOST_LEVELS} objects and lists.")
        self._around.add(id(value))
        try:
            if isinstance(value, dict):
                return {name: self.copy(one, (*path, name)) for name, one in self._members(value, path)}
            return [self.copy(one, (*path, place)) for place, one in enumerate(value)]
        finally:
            self._around.discard(id(value))

    def _members(self, value: dict[Any, Any], path: Path) -> Iterator[tuple[str, Any]]:
        for name, one in value.items():
            if not isinstance(name, str):
                self._report.add(path, "not-json", f"Use text for the name {name!r}: JSON has no other names.", "loose")
                continue
            self._text(name, path)
            yield name, one

    def _text(self, text: str, path: Path) -> None:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                self._report.add(path, "not-json", "Take lone surrogates out of the text: UTF-8 has none.", "loose")

    def _refuse(self, path: Path, code: str, message: str) -> None:
        self._report.add(path, code, message, "loose")
        raise _NotPlainError
