"""Rules about words: which there are, and what they may stand beside."""

from typing import Final

from moonshot_async.mfjs.endings import kinds_of
from moonshot_async.mfjs.findings import Node, Path, Report
from moonshot_async.mfjs.vocabulary import TYPES

NOTES: Final = frozenset(("title", "description"))
AT_ROOT: Final = frozenset(("$defs", "$id"))
_SUPPORTED: Final = (
    NOTES
    | AT_ROOT
    | {
        *("type", "enum", "default", "anyOf", "$ref", "properties", "required", "additionalProperties", "items"),
        *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"),
        "pattern",  # known, and without effect
    }
)
_ALWAYS: Final = NOTES | {"type", "default"}
_NUMBER: Final = _ALWAYS | {"enum", "minimum", "maximum"}
ALLOWED: Final[dict[str, frozenset[str]]] = {
    "object": _ALWAYS | {"properties", "required", "additionalProperties"},
    "array": _ALWAYS | {"items", "minItems", "maxItems"},
    "string": _ALWAYS | {"enum", "minLength", "maxLength", "pattern"},
    "number": _NUMBER,
    "integer": _NUMBER,
    "boolean": _ALWAYS | {"enum"},
    "null": _ALWAYS | {"enum"},
}
_TEXTS: Final = ("description", "$id", "pattern", "title")


def check_words(report: Report, node: Node, path: Path) -> None:
    """Which words there are, for every schema."""
    _check_texts(report, node, path)
    kinds = [kind for kind in kinds_of(node) if isinstance(kind, str) and kind in TYPES]
    if len(kinds) > 1:
        _check_beside_types(report, node, path, kinds)
    if not report.counts("strict"):
        return
    for word in node:
        if word not in _SUPPORTED:
            message = f"Take `{word}` out or normalise the schema: the dialect does not know it."
            report.add((*path, word), "keyword-unsupported", message, "strict")
        elif word in AT_ROOT and path:
            report.add((*path, word), "keyword-not-at-root", f"Move `{word}` to the root of the schema.", "strict")
    for beside, code in (("anyOf", "keyword-beside-anyof"), ("$ref", "keyword-beside-ref")):
        if beside in node:
            _check_beside(report, node, path, beside, code)
            return
    _check_of_types(report, node, path, kinds)


def _check_texts(report: Report, node: Node, path: Path) -> None:
    for word in _TEXTS:
        value = node.get(word, "")
        if not isinstance(value, str) and not (value is None and word in ("$id", "pattern")):
            level = "strict" if word == "title" else "lite"
            report.add((*path, word), "note-not-a-text", f"Make `{word}` a text.", level)  # type: ignore[arg-type]


def _check_beside(report: Report, node: Node, path: Path, beside: str, code: str) -> None:
    """Beside `anyOf` and `$ref` stand notes alone; of `type` it is said elsewhere."""
    for word in node.keys() & _SUPPORTED - NOTES - AT_ROOT - {beside, "type"}:
        where = "the branches" if beside == "anyOf" else "what it refers to"
        report.add((*path, word), code, f"Move `{word}` into {where}: beside `{beside}` stand notes alone.", "strict")


def _check_of_types(report: Report, node: Node, path: Path, kinds: list[str]) -> None:
    """Words belong to types; of several types to all of them."""
    if not kinds:
        return
    allowed = frozenset.intersection(*(ALLOWED[kind] for kind in kinds)) | AT_ROOT
    for word in node:
        if word in _SUPPORTED and word not in allowed:
            message = f"Take `{word}` out: it says nothing about values of type {' or '.join(kinds)}."
            report.add((*path, word), "keyword-misplaced", message, "strict")


def _check_beside_types(report: Report, node: Node, path: Path, kinds: list[str]) -> None:
    """Beside a list of types stand notes alone, unless it is a type or null with an `enum`."""
    if len(kinds) == 2 and node.get("enum") is not None:
        return
    free = NOTES | {"type"} | (frozenset() if path else AT_ROOT)
    for word in node.keys() - free:
        message = f"Write an `anyOf` with a branch for each type and put `{word}` into the one that it is about."
        report.add((*path, word), "keyword-beside-types", message, "service")
