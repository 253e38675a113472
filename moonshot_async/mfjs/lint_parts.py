"""Rules about what schemas are made of: properties, items, branches, definitions."""

from typing import Final

from moonshot_async.mfjs.endings import inner_nodes
from moonshot_async.mfjs.findings import Node, Path, Report
from moonshot_async.mfjs.lint_words import NOTES

RESERVED: Final = frozenset(("$defs", "$ref", "anyOf", "required", "additionalProperties"))


def check_parts(report: Report, node: Node, path: Path) -> None:
    """All that a schema may hold."""
    _check_properties(report, node, path)
    _check_required(report, node, path)
    _check_any_of(report, node, path)
    _check_definitions(report, node, path)
    if not isinstance(node.get("items", {}), dict):
        message = "Give one schema for all items, or leave `items` out."
        report.add((*path, "items"), "items-not-a-schema", message)
    if not isinstance(node.get("additionalProperties", True), (bool, dict)):
        message = "Make `additionalProperties` true, false or a schema."
        report.add((*path, "additionalProperties"), "additional-properties-invalid", message)


def _check_properties(report: Report, node: Node, path: Path) -> None:
    properties, place = node.get("properties", {}), (*path, "properties")
    if not isinstance(properties, dict):
        report.add(place, "properties-not-an-object", "Make `properties` an object of names and schemas.")
        return
    for name, one in properties.items():
        where = (*place, name)
        if not isinstance(one, dict):
            report.add(where, "property-not-a-schema", "Make the property a schema, an object.")
        if name in RESERVED:
            # References are looked for wherever they may be.
            level = "lite" if name == "$ref" and "$defs" not in path else "service"
            message = "Rename the property: the dialect has this word for itself."
            report.add(where, "property-name-reserved", message, level)  # type: ignore[arg-type]
        elif not name:
            report.add(where, "property-name-empty", "Give the property a name.", "strict")
        elif _has_braces(name) and isinstance(one, dict) and _is_looked_up(one):
            message = "Rename the property: the service does not find its way through braces in a name."
            report.add(where, "property-name-braces", message)


def is_usable_name(name: str) -> bool:
    """Whether a property may have a name, whatever its schema."""
    return bool(name) and name not in RESERVED and not _has_braces(name)


def _has_braces(name: str) -> bool:
    """Whether the service takes a name for a place in an `anyOf`."""
    return "{" in name and "}" in name


def _is_looked_up(node: Node) -> bool:
    """Whether something stands in a schema that the service looks up by the path to it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.keys() & {"enum", "anyOf"} or one.get("required") or one.get("$ref", "#") != "#":
            return True
        waiting += [inner for _, inner, _ in inner_nodes(one)]
    return False


def _check_required(report: Report, node: Node, path: Path) -> None:
    required, properties, place = node.get("required", []), node.get("properties"), (*path, "required")
    if not isinstance(required, list):
        report.add(place, "required-not-a-list", "Make `required` a list of names.")
        return
    seen: set[str] = set()
    for position, name in enumerate(required):
        where = (*place, position)
        if not isinstance(name, str):
            report.add(where, "required-not-a-name", "Name a property: a text.")
        elif not isinstance(properties, dict) or name not in properties:
            report.add(where, "required-unknown", "Take the name out, or describe it in `properties`.")
        elif name in seen:
            report.add(where, "required-repeated", "Name each property once.", "strict")
        else:
            seen.add(name)


def _check_any_of(report: Report, node: Node, path: Path) -> None:
    if "anyOf" not in node:
        return
    branches, place, most = node["anyOf"], (*path, "anyOf"), report.limits.max_branches
    if not isinstance(branches, list) or not branches:
        report.add(place, "anyof-not-a-list", "List at least one schema in `anyOf`.")
        return
    if len(branches) > most:
        report.add(place, "anyof-too-long", f"List at most {most} branches.")
    for position, branch in enumerate(branches):
        if not isinstance(branch, dict):
            report.add((*place, position), "branch-not-a-schema", "Make the branch a schema, an object.")
            continue
        for word in sorted(node.keys() & branch.keys() - {"anyOf"}):
            message = f"Say `{word}` either beside `anyOf` or in its branches, not in both places."
            level = "strict" if word in NOTES else "lite"
            report.add((*place, position, word), "branch-conflict", message, level)  # type: ignore[arg-type]


def _check_definitions(report: Report, node: Node, path: Path) -> None:
    definitions, place = node.get("$defs", {}), (*path, "$defs")
    if not isinstance(definitions, dict):
        report.add(place, "defs-not-an-object", "Make `$defs` an object of names and schemas.")
        return
    for name, one in definitions.items():
        if not name or "/" in name:
            message = "Give the definition another name: one that is not empty and has no `/` in it."
            report.add((*place, name), "definition-name-invalid", message)
        if not isinstance(one, dict):
            report.add((*place, name), "definition-not-a-schema", "Make the definition a schema, an object.")
        else:
            _check_slashes(report, one, (*place, name))


def _check_slashes(report: Report, value: Node, path: Path) -> None:
    """No name anywhere in a definition has a `/` in it."""
    for name, inner in value.items():
        place = (*path, name)
        if "/" in name:
            message = "Rename it, or write the definition where it is used: in `$defs` no name has a `/`."
            report.add(place, "name-with-slash", message)
        for step, one in enumerate(inner) if isinstance(inner, list) else ((None, inner),):
            if isinstance(one, dict):
                _check_slashes(report, one, place if step is None else (*place, step))
