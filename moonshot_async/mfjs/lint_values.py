"""Rules about types and about what values they may have."""

import math
from typing import Any, Final

from moonshot_async.mfjs.endings import kinds_of
from moonshot_async.mfjs.findings import Node, Path, Report
from moonshot_async.mfjs.vocabulary import TYPES

_NAMED: Final = ", ".join(TYPES)
_LISTED: Final = ("string", "integer", "number", "boolean")
_BOUNDS: Final = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}


def check_type(report: Report, node: Node, path: Path) -> None:
    """`type` stands in every schema but beside `anyOf` and `$ref`."""
    if "type" not in node:
        # Empty schemas mean anything, but only as the root and for additional properties.
        anything = not node and path[-1:] == ("additionalProperties",)
        if not anything and not node.keys() & {"anyOf", "$ref", "enum"}:
            report.add(
                path, "type-missing", "Say the `type`: the service does not take its absence for any.", "service"
            )
        return
    place = (*path, "type")
    for beside, code, where in (
        ("anyOf", "type-beside-anyof", "each branch of `anyOf`"),
        ("$ref", "type-beside-ref", "the schema that `$ref` leads to"),
    ):
        if beside in node:
            report.add(place, code, f"Move `type` into {where}.")
    kinds = kinds_of(node)
    if not kinds or not all(isinstance(kind, str) and kind in TYPES for kind in kinds):
        report.add(place, "type-invalid", f"Name a type, or a list of types, out of {_NAMED}.")
    elif len(set(kinds)) < len(kinds):
        report.add(place, "type-repeated", "Name each type once.", "strict")


def check_enum(report: Report, node: Node, path: Path) -> None:
    """`enum` lists values of the type."""
    if "enum" not in node:
        return
    options, place, limits = node["enum"], (*path, "enum"), report.limits
    if not isinstance(options, list) or not options:
        report.add(place, "enum-not-a-list", "List at least one value in `enum`.")
        return
    if len(options) > limits.max_enum:
        report.add(place, "enum-too-long", f"List at most {limits.max_enum} values, or leave `enum` out.")
    if "type" not in node:
        report.add(path, "enum-without-type", "Say the `type` of the values beside `enum`.")
        return
    kinds = kinds_of(node)
    if not all(isinstance(kind, str) for kind in kinds):
        return
    if len(kinds) > 2 or (len(kinds) == 2 and not _is_nullable(kinds)):
        message = "Write an `anyOf` with an `enum` for each type: a list of types beside it is one type and null."
        report.add((*path, "type"), "enum-types", message)
    for position, option in enumerate(options):
        if not _is_listed(option, kinds):
            message = f"Take this value out or name its type first: it is not of type {' or '.join(kinds)}."
            report.add((*place, position), "enum-value-mismatch", message)
    length = sum(len(str(option).encode()) for option in options) if len(options) > limits.long_enum else 0
    if length > limits.max_enum_characters:
        message = f"Shorten the values: together they have more than {limits.max_enum_characters} characters."
        report.add(place, "enum-too-large", message)


def _is_nullable(kinds: list[str]) -> bool:
    return "null" in kinds and any(kind in _LISTED for kind in kinds)


def _is_listed(option: Any, kinds: list[str]) -> bool:
    """Whether a value is of one of the types, which are tried in turn; at a number's turn it must be one."""
    number = isinstance(option, (int, float)) and not isinstance(option, bool)
    for kind in kinds:
        if kind == "integer":
            return number and math.floor(option) == option
        if kind == "number":
            return number
        if _is(option, kind):
            return True
    return False


def _is(value: Any, kind: str) -> bool:
    if value is None or isinstance(value, bool):
        return kind == ("null" if value is None else "boolean")
    return isinstance(value, {"string": str, "array": list, "object": dict}.get(kind, ()))


def check_bounds(report: Report, node: Node, path: Path) -> None:
    """Bounds are numbers, and leave something between them."""
    kinds = kinds_of(node)
    if len(kinds) != 1 or not isinstance(kinds[0], str) or kinds[0] not in _BOUNDS:
        return
    whole, bounds = kinds[0] != "number", []
    for word in _BOUNDS[kinds[0]]:
        value = node.get(word)
        if value is None:
            continue
        counted = kinds[0] in ("string", "array")
        if _is_number(value, whole=whole) and not (counted and value < 0):
            bounds.append(value)
        else:
            least = " that is not negative" if counted else ""
            message = f"Make `{word}` {'a whole' if whole else 'a'} number{least}."
            report.add((*path, word), "bound-invalid", message, "strict")
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        lower, upper = _BOUNDS[kinds[0]]
        message = f"Make `{lower}` at most as large as `{upper}`: no value is between them."
        report.add((*path, lower), "bounds-contradict", message, "strict")


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return not whole or math.floor(value) == value
