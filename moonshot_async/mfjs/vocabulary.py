"""The words of the dialect, and what they may be worth."""

import math
from typing import Any, Final

Schema = dict[str, Any]

TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
# What constrains values of one type; where a schema does not say its type, these words do.
_TELLING: Final = {
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"),
        *("maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"),
    ),
    "array": (
        *("items", "prefixItems", "additionalItems", "contains", "minContains", "maxContains", "minItems"),
        *("maxItems", "uniqueItems", "unevaluatedItems"),
    ),
    "string": ("minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType", "contentSchema"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
# What constrains a value. Whatever else stands in a schema is a note about it.
CONSTRAINTS: Final = frozenset(
    ("type", "enum", "const", "nullable", "anyOf", "oneOf", "allOf", "$ref", "not", "if", "then", "else")
).union(*_TELLING.values())
# What the dialect keeps of them, for each type.
KEPT: Final[dict[str, frozenset[str]]] = {
    "string": frozenset(("enum", "minLength", "maxLength")),
    "number": frozenset(("enum", "minimum", "maximum")),
    "integer": frozenset(("enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")),
    "boolean": frozenset(),
    "object": frozenset(("properties", "required", "additionalProperties")),
    "array": frozenset(("items", "minItems", "maxItems")),
    "null": frozenset(),
}
# What bounds values, and as what the dialect says it.
BOUNDS: Final[dict[str, dict[str, str]]] = {
    "string": {"minLength": "minLength", "maxLength": "maxLength"},
    "number": {"minimum": "minimum", "maximum": "maximum"},
    "integer": dict.fromkeys(("minimum", "exclusiveMinimum"), "minimum")
    | dict.fromkeys(("maximum", "exclusiveMaximum"), "maximum"),
    "array": {"minItems": "minItems", "maxItems": "maxItems"},
}
# What is said in other words, and so is not lost.
REWORDED: Final = frozenset(("type", "const", "nullable", "anyOf", "oneOf", "allOf", "$ref"))
# What every JSON reader takes for an integer without loss.
_LARGEST: Final = 2**53 - 1


def type_of(value: Any) -> str:
    """The type of a JSON value, as schemas call it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, (list, tuple)) else "object"


def types_of(schema: Schema) -> list[str]:
    """The types that a schema names or tells by its words; empty where it says nothing of them."""
    said = schema.get("type")
    named = [name for name in (said if isinstance(said, list) else [said]) if isinstance(name, str) and name in TYPES]
    if not named and "enum" not in schema:
        named = [name for name, words in _TELLING.items() if any(word in schema for word in words)]
    if "number" in named and "integer" in named:
        named.remove("integer")
    return list(dict.fromkeys(named))


def by_type(schema: Schema) -> list[tuple[str, list[Any] | None]]:
    """The types that a schema allows, each with the values that are allowed of it; None for all."""
    types, enum = types_of(schema), schema.get("enum")
    groups: dict[str, list[Any] | None] = {}
    for value in enum if isinstance(enum, list) else ():
        value = value if (plain := plain_number(value)) is None else plain
        kind = type_of(value)
        if kind == "integer" and "number" in types:
            kind = "number"
        if types and kind not in types:
            continue
        known = groups.setdefault(kind, [])
        if kind not in ("string", "integer", "number") or (kind != "string" and plain is None):
            groups[kind] = None  # the dialect lists no such values
        elif known is not None and value not in known:
            known.append(value)
    if "integer" in groups and "number" in groups:
        whole, broken = groups.pop("integer"), groups["number"]
        groups["number"] = None if whole is None or broken is None else whole + broken
    return list(groups.items()) or [(kind, None) for kind in types]


def is_all_of(kind: str, schema: Schema) -> bool:
    """Whether an `enum` lists all the values of a type."""
    enum = schema.get("enum")
    listed = [value for value in enum if type_of(value) == kind] if isinstance(enum, list) else []
    return bool(listed) if kind == "null" else kind == "boolean" and {*listed} == {True, False}


def default_of(kind: str, schema: Schema) -> Any | None:
    """The default of a schema of one type, where it is a value of that type; None where there is none."""
    default = schema.get("default")
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        default = plain_number(default)
        return default if kind == "number" or (kind == "integer" and isinstance(default, int)) else None
    return default if type_of(default) == kind and kind in ("string", "boolean") else None


def bounded(kind: str, schema: Schema) -> Schema:
    """A schema of a type with the bounds that it has; those that contradict each other are left out."""
    if kind in ("number", "integer"):
        low, high = "minimum", "maximum"
        bounds = [_bound(schema, low, kind), _bound(schema, high, kind)]
    elif kind in ("string", "array"):
        low, high = ("minLength", "maxLength") if kind == "string" else ("minItems", "maxItems")
        bounds = [_count(schema.get(low)), _count(schema.get(high))]
    else:
        return {"type": kind}
    least, most = bounds
    if least is not None and most is not None and least > most:
        return {"type": kind}
    return {"type": kind} | {name: value for name, value in ((low, least), (high, most)) if value is not None}


def plain_number(value: Any) -> int | float | None:
    """A number that the dialect can write: no exponent, nothing beyond what readers hold; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if abs(value) > _LARGEST or "e" in repr(value) or math.isnan(value):
        return None
    return int(value) if value == int(value) else value


def _count(value: Any) -> int | None:
    number = plain_number(value)
    return number if isinstance(number, int) and number >= 0 else None


def _bound(schema: Schema, name: str, kind: str) -> int | float | None:
    """`minimum` or `maximum`; of an exclusive one the next integer inside, or the same number."""
    up = name == "minimum"
    exclusive = schema.get("exclusive" + name.capitalize())
    limits: list[int | float] = []
    for value, outside in ((schema.get(name), exclusive is True), (exclusive, True)):
        number = plain_number(value)
        if number is None:
            continue
        if kind == "integer":
            number = math.ceil(number) if up else math.floor(number)
            if outside and number == plain_number(value):
                number += 1 if up else -1
        limits.append(number)
    return (max if up else min)(limits) if limits else None
