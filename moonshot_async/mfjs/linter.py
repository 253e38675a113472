"""Whether a schema is in the dialect: all that is wrong with it."""

from typing import Any, Final

import msgspec

from moonshot_async.mfjs.endings import inner_nodes
from moonshot_async.mfjs.findings import LEVELS, LIMITS, Finding, Level, Limits, Node, Path, Report
from moonshot_async.mfjs.lint_parts import check_parts
from moonshot_async.mfjs.lint_refs import References, check_ref
from moonshot_async.mfjs.lint_values import check_bounds, check_enum, check_type
from moonshot_async.mfjs.lint_words import check_words
from moonshot_async.mfjs.plain_json import plain_json

_RULES: Final = (check_words, check_type, check_enum, check_bounds, check_parts, check_ref)


def lint(schema: Any, level: Level = "strict", *, limits: Limits = LIMITS) -> list[Finding]:
    """Say what keeps a schema from being in Moonshot's dialect; nothing where it is.

    At `strict` every rule of the dialect counts, also where the service does not mind or does not heed, such as words
    that it does not know (its validator calls this `ultra`); at `service` what it holds schemas to that say
    `strict: True` (there: `strict`); `lite` is less than the service asks; at `loose` a schema has to be an object that
    JSON can write, and no more.

    Args:
        schema: any Python value; what is no schema is a finding, never an exception.
        level: how much counts.
        limits: how large it may be; unless given, what the service allows.

    Returns:
        The findings, in the order in which the schema is read; each place and rule once.

    Raises:
        ValueError: there is no such level.

    See: https://github.com/MoonshotAI/walle/blob/main/docs/walle.md
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    report = Report({}, level, limits)
    if not isinstance(schema, dict):
        report.add((), "not-an-object", f"Give an object such as {{'type': 'object'}}: {_named(schema)}.", "loose")
        return report.findings
    try:
        report.root = plain_json(schema, report) or {}
        if report.root and level != "loose":
            _check(report)
    except RecursionError:
        report.add((), "nested-too-deeply", "Nest fewer objects and lists.", "loose")
    return report.findings


def _check(report: Report) -> None:
    size = _size_of(report.root)
    if size > report.limits.max_bytes:
        most = report.limits.max_bytes
        report.add((), "schema-too-large", f"Make the schema smaller: it has {size} bytes, and {most} are allowed.")
    walk = _Walk(report)
    walk.through(report.root, (), 0)
    walk.references.check()


class _Walk:
    def __init__(self, report: Report) -> None:
        self.references = References(report)
        self._report = report
        self._properties = 0

    def through(self, node: Node, path: Path, depth: int) -> None:
        """Check a schema, then those inside of it; `depth` counts the properties around it."""
        report, limits = self._report, self._report.limits
        if depth > limits.max_depth:
            report.add(path, "schema-too-deep", f"Nest less: there are more than {limits.max_depth} levels of objects.")
            return
        for rule in _RULES:
            rule(report, node, path)
        properties = node.get("properties")
        self._properties += len(properties) if isinstance(properties, dict) else 0
        if self._properties > limits.max_properties:
            message = f"Describe at most {limits.max_properties} properties in all objects together."
            report.add((*path, "properties"), "too-many-properties", message)
            return
        self.references.meet(node, path, depth)
        for steps, inner, deeper in inner_nodes(node):
            self.through(inner, (*path, *steps), depth + deeper)


def _size_of(root: Node) -> int:
    """The bytes of a schema as the service writes it, which escapes what HTML would take for its own."""
    text = msgspec.json.encode(root)
    marks = sum(text.count(mark) for mark in (b"<", b">", b"&"))
    return len(text) + 5 * marks


def _named(value: Any) -> str:
    return f"this is {'null' if value is None else 'of type ' + type(value).__name__}"
