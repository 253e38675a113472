"""Whether values of a schema can come to an end, where it refers to itself."""

from collections.abc import Iterator
from typing import Any

from moonshot_async.mfjs.findings import Node

_HOLDING = ("object", "array")


def target_of(reference: Any, root: Node) -> Node | None:
    """What a reference leads to, as the service looks it up: from object to object, names as they are."""
    if reference == "#":
        return root
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return None
    found: Any = root
    for step in reference.split("/")[1:]:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def kinds_of(node: Node) -> list[Any]:
    """The types that a schema names."""
    said = node.get("type")
    return said if isinstance(said, list) else [] if said is None else [said]


def inner_nodes(node: Node) -> Iterator[tuple[tuple[str | int, ...], Node, int]]:
    """The schemas inside of one: the steps that lead there, and by how much deeper each lies."""
    for word, deeper in (("$defs", 0), ("properties", 1)):
        members = node.get(word)
        for name, one in members.items() if isinstance(members, dict) else ():
            if isinstance(one, dict):
                yield (word, name), one, deeper
    for word in ("items", "additionalProperties"):
        if isinstance(node.get(word), dict):
            yield (word,), node[word], 0
    branches = node.get("anyOf")
    for place, one in enumerate(branches) if isinstance(branches, list) else ():
        if isinstance(one, dict):
            yield ("anyOf", place), one, 0


def reaches_an_end(start: Node, root: Node) -> bool:
    """Whether some way into a schema leads to a value that holds no other, as the service counts.

    It is content with one required property that ends, and takes a list to have items, though it may be empty.
    """
    waiting, seen = [start], {id(start)}
    while waiting:
        ways = _ways(waiting.pop(), root)
        if ways is None:
            return True
        for one in ways:
            if id(one) not in seen:
                seen.add(id(one))
                waiting.append(one)
    return False


def _ways(node: Node, root: Node) -> list[Node] | None:
    """Where values of a schema go on; None where they may end."""
    kinds = kinds_of(node)
    if not node or any(kind not in _HOLDING for kind in kinds):
        return None
    ways: list[Any] = []
    if kinds[-1:] == ["array"]:
        if not node.get("items"):
            return None
        ways.append(node["items"])
    if kinds[-1:] == ["object"]:
        required, properties = node.get("required"), node.get("properties")
        if not isinstance(required, list) or not required or not isinstance(properties, dict) or not properties:
            return None
        ways += [one for name, one in properties.items() if name in required]
    branches = node.get("anyOf")
    ways += branches if isinstance(branches, list) else []
    ways.append(target_of(node.get("$ref"), root))
    return [way for way in ways if isinstance(way, dict)]


class Endings:
    """Which references of a schema lead to values of finite size."""

    def __init__(self, root: Node) -> None:
        self._ending: set[str] = set()
        references = sorted(_references(root))
        grown = True
        while grown:
            before = len(self._ending)
            for reference in references:
                target = target_of(reference, root)
                # What leads nowhere is a fault of another kind.
                if target is None or self.of(target):
                    self._ending.add(reference)
            grown = len(self._ending) > before
            # A chain of references is settled in two rounds, in whatever order it is written.
            references = [one for one in reversed(references) if one not in self._ending]

    def of(self, node: Any) -> bool:
        """Whether a schema has a value of finite size, as far as is known by now."""
        if not isinstance(node, dict):
            return True
        if isinstance(node.get("$ref"), str):
            return node["$ref"] in self._ending
        branches = node.get("anyOf")
        if isinstance(branches, list) and branches:
            return any(self.of(branch) for branch in branches)
        kinds = kinds_of(node)
        if kinds == ["array"]:
            return not node.get("minItems") or self.of(node.get("items"))
        properties, required = node.get("properties"), node.get("required")
        if kinds != ["object"] or not isinstance(properties, dict) or not isinstance(required, list):
            return True
        return all(self.of(one) for name, one in properties.items() if name in required)


def _references(root: Node) -> set[str]:
    found: set[str] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node.get("$ref"), str):
            found.add(node["$ref"])
        waiting += [one for _, one, _ in inner_nodes(node)]
    return found
