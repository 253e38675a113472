"""The root of a schema that is one object out of several: the service takes no alternatives there."""

from typing import Any

from moonshot_async.mfjs.vocabulary import Schema, types_of


def laid_together(root: Schema, options: list[Schema]) -> Schema:
    """An object that says what its alternatives say, as far as one object can.

    A property is what the alternatives that describe it allow; it is required where all of them ask for it.
    """
    objects = [option for option in options if "object" in types_of(option)]
    if not objects:
        return root
    own = _members(root)
    known = dict.fromkeys(name for one in (root, *objects) for name in _members(one))
    if root.get("additionalProperties") is False:
        known = dict.fromkeys(own)
    said = {name: [_members(one)[name] for one in objects if name in _members(one)] for name in known}
    properties = {name: _property(own.get(name), said[name]) for name in known}
    required = [name for name in known if name in _required(root) or all(name in _required(one) for one in objects)]
    whole = {**root, "properties": properties, "required": required}
    if "additionalProperties" not in root and all(one.get("additionalProperties") is False for one in objects):
        whole["additionalProperties"] = False
    return whole


def options_of(root: Schema, word: str) -> list[Schema]:
    """The alternatives that `anyOf` or `oneOf` lists."""
    options = root.get(word)
    return [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []


def _property(own: Any, said: list[Any]) -> Any:
    different = [one for place, one in enumerate(said) if one not in said[:place]]
    choice = different[0] if len(different) == 1 else {"anyOf": different}
    if own is None or not different:
        return choice if own is None else own
    return own if own in different else {"allOf": [own, choice]}


def _members(schema: Schema) -> Schema:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _required(schema: Schema) -> list[Any]:
    required = schema.get("required")
    return required if isinstance(required, list) else []
