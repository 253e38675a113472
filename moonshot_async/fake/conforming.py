"""Whether a value fits a JSON schema, as far as samples need to know: a default that breaks its own schema is none."""

from collections.abc import Callable, Mapping
from typing import Any, Final

Resolve = Callable[[str], Mapping[str, Any]]

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "null": type(None),
    "boolean": bool,
    "object": dict,
    "array": list,
    "number": (int, float),
    "integer": int,
    "string": str,
}


def conforms(value: Any, schema: Any, resolve: Resolve, followed: frozenset[str] = frozenset()) -> bool:
    """Compare a decoded JSON value with a schema; keywords beyond Moonshot's dialect are ignored.

    Args:
        value: any JSON value.
        schema: a JSON schema; anything that is not an object allows all values.
        resolve: looks references up.
        followed: references that led here with nothing between them; to follow one again would never end.
    """
    if not isinstance(schema, Mapping):
        return True
    if (reference := schema.get("$ref")) is not None and (
        reference in followed or not conforms(value, resolve(reference), resolve, followed | {reference})
    ):
        return False
    if "anyOf" in schema and not any(conforms(value, one, resolve, followed) for one in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    if kinds and not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return False
    if isinstance(value, dict):
        return _object_conforms(value, schema, resolve)
    if isinstance(value, list):
        within = _within(len(value), schema, "minItems", "maxItems")
        return within and all(conforms(one, schema.get("items"), resolve) for one in value)
    if isinstance(value, str):
        return _within(len(value), schema, "minLength", "maxLength")
    return not _is(value, "number") or _within(value, schema, "minimum", "maximum")


def _object_conforms(value: Mapping[str, Any], schema: Mapping[str, Any], resolve: Resolve) -> bool:
    properties, additional = schema.get("properties", {}), schema.get("additionalProperties")
    if any(name not in value for name in schema.get("required", ())):
        return False
    if additional is False and not properties.keys() >= value.keys():
        return False
    return all(conforms(one, properties.get(name, additional), resolve) for name, one in value.items())


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _within(size: float, schema: Mapping[str, Any], low: str, high: str) -> bool:
    return bool(schema.get(low, size) <= size <= schema.get(high, size))
