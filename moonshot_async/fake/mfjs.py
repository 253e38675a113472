"""Moonshot's dialect of JSON Schema (MFJS), as far as the service refuses what is not in it.

It ignores keywords that it does not know. What it refuses is said with the path of the fault, in the words of its
validator.

See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from moonshot_async.fake.samples import is_endless

MAX_DEPTH: Final = 30
MAX_PROPERTIES: Final = 3000
MAX_ANY_OF: Final = 500
MAX_ENUM: Final = 1000
MAX_BYTES: Final = 120_000

_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_RESERVED: Final = frozenset({"$defs", "$ref", "anyOf", "required", "additionalProperties"})
_DEFS: Final = "#/$defs/"
# What says something about a value: where a reference or an alternative has it too, the two contradict each other.
_MEANINGFUL: Final = frozenset(
    {
        *("type", "enum", "anyOf", "default"),
        *("properties", "required", "additionalProperties", "items"),
        *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"),
    }
)

Path = tuple[str, ...]
Schema = Mapping[str, Any]


class MFJSError(ValueError):
    """A schema that the service refuses; the text names the path."""


def describes_object(schema: Schema) -> bool:
    """Whether the root says that a value is an object."""
    return schema.get("type") in ("object", ["object"])


def check(schema: Schema) -> None:
    """Check a schema whose root is an object, or empty.

    Raises:
        MFJSError: the service refuses it.
    """
    try:
        if len(msgspec.json.encode(schema)) > MAX_BYTES:
            raise _fault((), "schema exceeds maximum allowed size")
        if schema:
            _Checker(schema).check(schema, (), 0)
            if is_endless(schema):
                raise _fault((), "detected infinite recursion without termination condition")
    except RecursionError:
        raise _fault((), f"schema depth exceeds maximum limit of {MAX_DEPTH}") from None


class _Checker:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._properties = 0

    def check(self, schema: Schema, path: Path, depth: int) -> None:
        """Check one schema, then those in it; `depth` counts the properties around it."""
        if depth > MAX_DEPTH:
            raise _fault(path, f"schema depth exceeds maximum limit of {MAX_DEPTH}")
        _check_type(schema, path)
        if not isinstance(schema.get("description", ""), str):
            raise _fault((*path, "description"), "description must be a string")
        if "enum" in schema:
            _check_enum(schema, path)
        if "$ref" in schema:
            self._check_ref(schema, path)
        if "anyOf" in schema:
            _check_any_of(schema, path)
        if "properties" in schema or "required" in schema:
            self._check_object(schema, path)
        for place, inner, deeper in _inner(schema, path):
            self.check(inner, place, depth + deeper)

    def _check_object(self, schema: Schema, path: Path) -> None:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping):
            raise _fault((*path, "properties"), "properties must be an object")
        self._properties += len(properties)
        if self._properties > MAX_PROPERTIES:
            raise _fault(
                path,
                f"total number of properties keys({self._properties}) across all objects exceeds maximum limit of "
                f"{MAX_PROPERTIES}",
            )
        for name, property in properties.items():
            if name in _RESERVED:
                raise _fault((*path, "properties"), f"property name '{name}' is reserved for JSON Schema keywords")
            if not isinstance(property, Mapping):
                raise _fault((*path, "properties"), f"property schema for '{name}' must be an object")
        if not isinstance(required, list):
            raise _fault((*path, "required"), "required must be an array")
        for name in required:
            if not isinstance(name, str):
                raise _fault((*path, "required"), "items in required array must be strings")
            if name not in properties:
                raise _fault((*path, "required"), f"required property '{name}' is not defined in properties")

    def _check_ref(self, schema: Schema, path: Path) -> None:
        reference, place = schema["$ref"], (*path, "$ref")
        if not isinstance(reference, str):
            raise _fault(place, "$ref must be a string")
        target: Any = self._root
        if reference != "#":
            if not reference.startswith(_DEFS):
                raise _fault(place, f"references must start with {_DEFS}")
            if "$defs" not in self._root:
                raise _fault(place, f"$defs not found for reference: {reference}")
            for step in reference.split("/")[1:]:
                target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            raise _fault((), f"invalid $ref path: {reference}")
        if conflicts := sorted((_MEANINGFUL | {"description"}) & schema.keys() & target.keys()):
            raise _fault(path, f"conflicting keywords found after $ref expansion: {', '.join(conflicts)}")


def _check_type(schema: Schema, path: Path) -> None:
    if "type" not in schema:
        # An empty schema means "anything" at the root and for additional properties alone.
        anything = not schema and path[-1:] == ("additionalProperties",)
        if "anyOf" not in schema and "$ref" not in schema and not anything:
            raise _fault(path, "type is not defined")
        return
    kind = schema["type"]
    for beside, text in (("anyOf", "anyOf items"), ("$ref", "the referenced schema")):
        if beside in schema:
            raise _fault(path, f"when using {beside}, type should be defined in {text} instead of the parent schema")
    if isinstance(kind, list):
        if not kind:
            raise _fault(path, "type array cannot be empty")
        if not all(isinstance(one, str) and one in _TYPES for one in kind):
            raise _fault(path, "invalid type in type array")
    elif not isinstance(kind, str):
        raise _fault(path, "type must be string or array of strings")
    elif kind not in _TYPES:
        raise _fault(path, "invalid type")


def _check_enum(schema: Schema, path: Path) -> None:
    place, options = (*path, "enum"), schema["enum"]
    if not isinstance(options, list):
        raise _fault(place, "enum must be an array")
    if not options:
        raise _fault(place, "enum array cannot be empty")
    if len(options) > MAX_ENUM:
        raise _fault(place, f"enum array cannot have more than {MAX_ENUM} items")
    if "type" not in schema:
        raise _fault(path, "type is not defined")
    types: list[str] = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    for option in options:
        if not any(_matches(option, kind) for kind in types):
            shown = msgspec.json.encode(option).decode()
            raise _fault(place, f"enum value ({shown}) does not match any type in [{' '.join(types)}]")


def _matches(option: Any, kind: str) -> bool:
    """Whether an enum may hold this: texts and numbers of the type, and nothing else."""
    if isinstance(option, bool):
        return False
    match kind:
        case "string":
            return isinstance(option, str)
        case "integer":
            return isinstance(option, int) or (isinstance(option, float) and option.is_integer())
        case "number":
            return isinstance(option, int | float)
    return False


def _check_any_of(schema: Schema, path: Path) -> None:
    place, branches = (*path, "anyOf"), schema["anyOf"]
    if not isinstance(branches, list):
        raise _fault(place, "anyOf must be an array")
    if not 1 <= len(branches) <= MAX_ANY_OF:
        raise _fault(place, f"anyOf must have 1-{MAX_ANY_OF} items")
    for branch in branches:
        if not isinstance(branch, Mapping):
            raise _fault(place, "schema in anyOf must be an object")
        if conflicts := sorted(_MEANINGFUL & schema.keys() & branch.keys() - {"anyOf"}):
            raise _fault(
                path,
                f"conflicting keywords found in anyOf with parent: keywords ({', '.join(conflicts)}) are defined on "
                "the parent schema and inside anyOf; remove them from the parent or from anyOf branches",
            )


def _inner(schema: Schema, path: Path) -> Iterator[tuple[Path, Schema, int]]:
    """The schemas inside one, each with its path and how much deeper it lies."""
    if not path:
        yield from _definitions(schema.get("$defs", {}))
    for name, property in schema.get("properties", {}).items():
        yield (*path, "properties", name), property, 1
    for branch in schema.get("anyOf", ()):
        yield (*path, "anyOf"), branch, 0
    if "items" in schema:
        if not isinstance(schema["items"], Mapping):
            raise _fault((*path, "items"), "items must be an object")
        yield (*path, "items"), schema["items"], 0
    additional = schema.get("additionalProperties", True)
    if not isinstance(additional, bool | Mapping):
        raise _fault((*path, "additionalProperties"), "additionalProperties must be a boolean or an object")
    if isinstance(additional, Mapping):
        yield (*path, "additionalProperties"), additional, 0


def _definitions(definitions: Any) -> Iterator[tuple[Path, Schema, int]]:
    if not isinstance(definitions, Mapping):
        raise _fault(("$defs",), "$defs must be an object")
    for name, definition in definitions.items():
        if not name:
            raise _fault(("$defs",), "$defs property name cannot be empty")
        if "/" in name:
            raise _fault(("$defs",), f"$defs property name '{name}' cannot contain '/' character")
        if not isinstance(definition, Mapping):
            raise _fault(("$defs",), f"$defs schema must be object: {name}")
        yield ("$defs", name), definition, 0


def _fault(path: Path, message: str) -> MFJSError:
    return MFJSError(f"At path '{'.'.join(path) or 'root'}': {message}")
