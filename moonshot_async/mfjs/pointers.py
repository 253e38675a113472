"""JSON pointers in references, as any JSON Schema may have them (RFC 6901)."""

import re
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import unquote

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def _steps_of(pointer: str) -> list[str]:
    """The names that a reference goes by."""
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def localised(pointer: str, source: Any) -> str:
    """A reference; one that names the schema by its `$id` without that name."""
    name = source.get("$id", source.get("id"))
    rest = pointer.removeprefix(name.rstrip("#")) if isinstance(name, str) and name.rstrip("#") else pointer
    return rest if rest.startswith("#") else pointer if rest else "#"


def pointed_at(source: Any, pointer: str) -> Any:
    """What a reference points to in a schema; None where that is nothing."""
    if not (pointer + "/").startswith("#/"):
        return None
    found = source
    for step in _steps_of(pointer):
        if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return found


def name_of(pointer: str, taken: Collection[str]) -> str:
    """A name for what a reference points to, unlike those that are taken."""
    base = _NO_NAME.sub("_", _steps_of(pointer)[-1]) or "schema"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name
