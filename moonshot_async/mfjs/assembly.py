"""Schemas of the dialect, put together so that nothing stands beside what it must not stand beside."""

from collections.abc import Iterator
from typing import Final

from moonshot_async.mfjs.endings import Endings, reaches_an_end
from moonshot_async.mfjs.vocabulary import TYPES, Schema

LOCAL: Final = "#/$defs/"
# What stays where it is when a schema becomes a branch.
_OUTSIDE: Final = ("description", "$defs", "$id")
_EMPTY: Final[Schema] = {"type": "array", "maxItems": 0}


def any_value() -> Schema:
    """Any value at all: an empty schema is refused inside of others."""
    return {"anyOf": [{"type": name} for name in TYPES if name != "integer"]}


def is_any(schema: Schema) -> bool:
    """Whether a schema allows every value, and says no more."""
    return schema.keys() == {"anyOf"} and all(branch in schema["anyOf"] for branch in any_value()["anyOf"])


def described(schema: Schema, description: str | None) -> Schema:
    """A schema with another description, if there is one."""
    return {**schema, "description": description} if description else schema


def any_of(branches: list[Schema], description: str | None) -> Schema:
    """One of several schemas. Where branches are described, so is each: a branch may not say what its parent says."""
    options: list[Schema] = []
    for branch in branches:
        for option in branch["anyOf"] if branch.keys() == {"anyOf"} else [branch]:
            if option not in options:
                options.append(option)
    if len(options) == 1:
        return described(options[0], description)
    if description and any("description" in option for option in options):
        return {"anyOf": [_explained(option, description) for option in options]}
    return described({"anyOf": options}, description)


def _explained(option: Schema, description: str) -> Schema:
    own = option.get("description")
    if own is None and ("$ref" in option or option == {"type": "null"}):
        return option
    return described(option, f"{description} {own}" if own else description)


def finished(root: Schema, definitions: dict[str, Schema]) -> tuple[Schema, list[str]]:
    """The whole schema: definitions that something refers to, and no description beside a reference to another one.

    Returns:
        The schema, and which words of its root had to go so that it has a value of finite size.
    """
    for schema in (*definitions.values(), root):
        for node in list(_nodes(schema)):
            _follow(node, definitions)
    if root.get("$ref", "#") != "#":
        # The root of a schema is no name for a definition, but says what that says.
        root = {
            **definitions[root["$ref"].removeprefix(LOCAL)],
            **{word: root[word] for word in root if word != "$ref"},
        }
    root = {} if is_any(root) else root
    reached: dict[str, Schema] = {}
    waiting = [root]
    while waiting:
        for node in _nodes(waiting.pop()):
            name = node.get("$ref", "").removeprefix(LOCAL)
            if name in definitions and name not in reached:
                reached[name] = definitions[name]
                waiting.append(definitions[name])
    whole = {**root, "$defs": reached} if reached else root
    lost = _give_an_end(whole)
    for schema in (whole, *reached.values()):
        for node in list(_nodes(schema)):
            if "$ref" in node and "description" in node:
                target = reached.get(node["$ref"].removeprefix(LOCAL), whole)
                if "description" in target or "anyOf" in target:
                    node["anyOf"] = [{"$ref": node.pop("$ref")}]
    return whole, lost


def _follow(node: Schema, definitions: dict[str, Schema]) -> None:
    """Make a reference to a definition that is but another reference lead where that leads."""
    followed: set[str] = set()
    while "$ref" in node and "$ref" in (target := definitions.get(node["$ref"].removeprefix(LOCAL), {})):
        if node["$ref"] in followed:
            del node["$ref"]
            node.update(any_value())
        else:
            followed.add(node["$ref"])
            node.update({**target, **described({"$ref": target["$ref"]}, node.get("description"))})


def _give_an_end(root: Schema) -> list[str]:
    """See to it that a schema which refers to itself has values, and that the service finds them."""
    lost: list[str] = []
    endings = Endings(root)
    if not endings.of(root):
        if root.get("type") != "object":
            lost = [word for word in root if word != "$defs"]
            root.clear()
        else:
            lost = ["required"]
            required = [name for name in root.pop("required") if endings.of(root["properties"][name])]
            root |= {"required": required} if required else {}
    if root and not reaches_an_end(root, root):
        for schema in (root, *root.get("$defs", {}).values()):
            _say_empty_lists(schema, root)
    return lost


def _say_empty_lists(schema: Schema, root: Schema) -> None:
    """Say of lists that they may be empty, which the service does not see, where their items have no end without."""

    def is_meant(node: Schema) -> bool:
        return "items" in node and not node.get("minItems") and not reaches_an_end(node["items"], root)

    nodes = list(_nodes(schema))
    meant = [node for node in nodes if is_meant(node)]
    for node in nodes:
        if "anyOf" in node:
            options = [option for one in node["anyOf"] for option in ([dict(_EMPTY), one] if one in meant else [one])]
            node["anyOf"] = [one for place, one in enumerate(options) if one not in options[:place]]
    inside = {id(option) for node in nodes for option in node.get("anyOf", ())}
    for node in meant:
        if id(node) not in inside:
            full = {word: node.pop(word) for word in list(node) if word not in _OUTSIDE}
            node["anyOf"] = [dict(_EMPTY), full]


def _nodes(schema: Schema) -> Iterator[Schema]:
    """A schema and all those inside of it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [one for word in ("items", "additionalProperties") if isinstance(one := schema.get(word), dict)]
    for one in inner:
        yield from _nodes(one)
