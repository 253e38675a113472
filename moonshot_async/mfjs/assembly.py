"""Schemas of the dialect, put together so that nothing stands beside what it must not stand beside."""

from collections.abc import Iterator
from typing import Final

from moonshot_async.mfjs.vocabulary import TYPES, Schema

LOCAL: Final = "#/$defs/"


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


def finished(root: Schema, definitions: dict[str, Schema]) -> Schema:
    """The whole schema: definitions that something refers to, and no description beside a reference to another one."""
    reached: dict[str, Schema] = {}
    waiting = [root]
    while waiting:
        for node in _nodes(waiting.pop()):
            name = node.get("$ref", "").removeprefix(LOCAL)
            if name in definitions and name not in reached:
                reached[name] = definitions[name]
                waiting.append(definitions[name])
    for schema in (root, *reached.values()):
        for node in list(_nodes(schema)):
            if "$ref" in node and "description" in node:
                target = reached.get(node["$ref"].removeprefix(LOCAL), root)
                if "description" in target or "anyOf" in target:
                    node["anyOf"] = [{"$ref": node.pop("$ref")}]
    return {**root, "$defs": reached} if reached else root


def _nodes(schema: Schema) -> Iterator[Schema]:
    """A schema and all those inside of it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [one for word in ("items", "additionalProperties") if isinstance(one := schema.get(word), dict)]
    for one in inner:
        yield from _nodes(one)
