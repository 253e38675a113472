"""Rules about references: where they lead, what may stand beside them, and that they come to an end."""

from typing import Any, Final

from moonshot_async.mfjs.endings import Endings, inner_nodes, reaches_an_end, target_of
from moonshot_async.mfjs.findings import Level, Node, Path, Report
from moonshot_async.mfjs.lint_words import NOTES

# Where schemas are; whatever else holds an object is searched for references all the same.
_HOLDING: Final = ("$defs", "properties", "items", "additionalProperties")
# Where the service lets a reference stand.
_PLACES: Final = ("additionalProperties", "items")
_MOST_STEPS: Final = 20_000


def check_ref(report: Report, node: Node, path: Path) -> None:
    """What one reference says."""
    if "$ref" in node:
        check_target(report, node["$ref"], (*path, "$ref"))
    for word, value in node.items() if "$defs" not in path else ():
        if isinstance(value, dict) and word not in _HOLDING:
            _search(report, value, (*path, word))


def check_target(report: Report, reference: Any, place: Path) -> bool:
    """Whether a reference leads to a schema."""
    if not isinstance(reference, str):
        report.add(place, "ref-not-a-text", "Make `$ref` a text.")
    elif reference != "#" and not reference.startswith("#/$defs/"):
        report.add(place, "ref-not-local", "Refer to `#`, or put the schema into `$defs` and refer to `#/$defs/…`.")
    elif target_of(reference, report.root) is None:
        report.add(place, "ref-unresolved", "Define in `$defs` what it refers to.")
    else:
        return True
    return False


def _search(report: Report, value: Node, path: Path) -> None:
    """Find references where no schemas are: the service finds them, too, and allows them in few places."""
    if "$ref" in value and check_target(report, value["$ref"], (*path, "$ref")):
        allowed = path[-1] in _PLACES or "properties" in path[-2:-1] or len(path) == 1 or str(path[-1])[:5] == "anyOf"
        if not allowed:
            message = "Take the reference out: it may stand in `properties`, `items`, `anyOf` and the like alone."
            report.add((*path, "$ref"), "ref-misplaced", message)
    for word, inner in value.items():
        if isinstance(inner, dict) and word != "$defs":
            _search(report, inner, (*path, word))
        elif isinstance(inner, list) and word == "anyOf":
            for position, one in enumerate(inner):
                if isinstance(one, dict):
                    _search(report, one, (*path, f"anyOf{position}"))


class References:
    """The references of a schema that lead to one, as they are met on a walk through it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._met: list[tuple[Node, Path, int]] = []
        self._heights: dict[str, int] = {}
        self._steps = _MOST_STEPS

    def meet(self, node: Node, path: Path, depth: int) -> None:
        """Remember a schema that refers to another one, and how deep it lies."""
        if target_of(node.get("$ref"), self._report.root) is not None:
            self._met.append((node, path, depth))

    def check(self) -> None:
        """What can be said once all are known."""
        if not self._met:
            return
        report, root = self._report, self._report.root
        ends = reaches_an_end(root, root)
        for node, path, depth in self._met:
            place = (*path, "$ref")
            if depth + self._height_of(node["$ref"]) > report.limits.max_depth:
                message = f"Nest less: with what this refers to, there are more than {report.limits.max_depth} levels."
                report.add(place, "schema-too-deep", message)
            self._check_conflicts(node, path)
            if not ends and "$defs" not in path and not reaches_an_end(node, root):
                message = "Make a property on the way optional, or a branch null: no value would ever be complete."
                report.add(place, "endless-recursion", message)
        if report.counts("strict") and not Endings(root).of(root):
            message = "Make a property optional, or a branch null, where it refers to itself: no value is complete."
            report.add((), "endless-recursion", message, "strict")

    def _check_conflicts(self, node: Node, path: Path) -> None:
        """A reference and what it leads to do not say the same."""
        target, notes = self._expanded(node, path)
        branches = target.get("anyOf")
        said = [target, *(branch for branch in (branches if isinstance(branches, list) else ()))]
        for word in sorted(node.keys() - {"$ref"}):
            clash = (word == "type" and "anyOf" in target) or (word == "anyOf" and "type" in target)
            twice = word in target or word in notes
            if clash or twice or any(isinstance(one, dict) and word in one for one in said):
                message = f"Say `{word}` either here or where the reference leads, not in both places."
                level: Level = "service" if word == "description" and twice else "strict" if word in NOTES else "lite"
                self._report.add((*path, word), "ref-conflict", message, "strict" if "$defs" in path else level)

    def _expanded(self, node: Node, path: Path) -> tuple[Node, set[str]]:
        """What a reference leads to in the end, and the notes on the way there."""
        notes: set[str] = set()
        seen = {node["$ref"]}
        target = target_of(node["$ref"], self._report.root) or {}
        while not target.keys() - NOTES - {"$ref"}:
            further = target_of(target.get("$ref"), self._report.root)
            if further is None or target["$ref"] in seen:
                break
            seen.add(target["$ref"])
            if twice := sorted(notes & target.keys()):
                message = f"Say `{twice[0]}` once on the way of a reference that leads to another one."
                self._report.add((*path, "$ref"), "ref-conflict", message, "strict")
            notes |= target.keys() & NOTES
            target = further
        return target, notes

    def _height_of(self, reference: str) -> int:
        """How many levels a reference adds; one that leads back to itself is followed once."""
        if reference == "#":
            return 0
        if reference not in self._heights:
            target = target_of(reference, self._report.root)
            self._heights[reference] = self._height(target or {}, frozenset())
        return self._heights[reference]

    def _height(self, node: Node, followed: frozenset[str]) -> int:
        self._steps -= 1
        if self._steps < 0:  # definitions that all refer to each other can be walked in too many ways
            return 0
        height, reference = 0, str(node.get("$ref"))
        target = target_of(reference, self._report.root)
        if target is not None and reference not in followed:
            followed |= {reference}
            height = self._height(target, followed)
        for steps, inner, deeper in inner_nodes(node):
            if steps[0] != "$defs":
                height = max(height, deeper + self._height(inner, followed))
        return height
