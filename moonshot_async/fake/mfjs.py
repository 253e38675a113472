"""Moonshot's dialect of JSON Schema (MFJS), as far as the service refuses what is not in it.

It ignores keywords that it does not know. What it refuses is said with the path of the fault, in the words of its
validator.

See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 30
MAX_PROPERTIES: Final = 3000
MAX_ANY_OF: Final = 500
MAX_ENUM: Final = 1000
MAX_BYTES: Final = 120_000

# Definitions that all refer to each other can be walked in too many ways.
_MAX_STEPS: Final = 20_000

_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_NOTES: Final = frozenset({"description", "title"})
_RESERVED: Final = frozenset({"$defs", "$ref", "anyOf", "required", "additionalProperties"})
_LISTED: Final = frozenset({"string", "number", "integer", "boolean"})
_HOLDING: Final = frozenset({"$defs", "properties", "items", "additionalProperties"})
_DEFS: Final = "#/$defs/"
# Where a reference may stand, beside `properties` and `anyOf`.
_PLACES: Final = frozenset({"items", "additionalProperties"})

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
        text = msgspec.json.encode(schema)
        # Three marks are escaped, as HTML would have them.
        if len(text) + 5 * sum(text.count(mark) for mark in (b"<", b">", b"&")) > MAX_BYTES:
            raise _fault((), "schema exceeds maximum allowed size")
        if schema:
            checker = _Checker(schema)
            checker.check(schema, (), 0)
            checker.check_ends()
            checker.check_heights()
    except RecursionError:
        raise _fault((), f"schema depth exceeds maximum limit of {MAX_DEPTH}") from None


class _Checker:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._properties = 0
        # What is referred to outside of `$defs`, and where.
        self._targets: list[tuple[Path, Schema]] = []
        # What is referred to anywhere, and how deep the deepest reference to it lies.
        self._depths: dict[str, int] = {}
        self._steps = 0

    def check(self, schema: Schema, path: Path, depth: int) -> None:
        """Check one schema, then those in it; `depth` counts the properties around it."""
        if depth > MAX_DEPTH:
            raise _fault(path, f"schema depth exceeds maximum limit of {MAX_DEPTH}")
        _check_type(schema, path)
        for word in ("description", "$id", "pattern"):
            value = schema.get(word, "")
            if not isinstance(value, str) and (value is not None or word == "description"):
                raise _fault((*path, word), f"{word} must be a string")
        looked_up = schema.keys() & {"enum", "anyOf"} or schema.get("required") or schema.get("$ref", "#") != "#"
        if looked_up and any("{" in step and "}" in step for step in path):
            raise _fault(path, f"invalid path: {'.'.join(path)}")
        if "enum" in schema:
            _check_enum(schema, path)
        if "$ref" in schema:
            self._check_ref(schema, path, depth)
        if "anyOf" in schema:
            _check_any_of(schema, path)
        if "properties" in schema or "required" in schema:
            self._check_object(schema, path)
        for word in schema.keys() - _HOLDING if path[:1] != ("$defs",) else ():
            if isinstance(schema[word], Mapping):
                self._check_stray(schema[word], (*path, word))
        for place, inner, deeper in _inner(schema, path):
            self.check(inner, place, depth + deeper)

    def check_ends(self) -> None:
        """Check that values come to an end: that some way through what they must hold leads to one that holds none."""
        endless = [path for path, target in self._targets if not self._ends(target, set())]
        if endless and not self._ends(self._root, set()):
            raise _fault(endless[0], "detected infinite recursion without termination condition")

    def _ends(self, schema: Any, seen: set[int]) -> bool:
        if not isinstance(schema, Mapping) or id(schema) in seen:
            return False
        seen.add(id(schema))
        kinds = _types(schema)
        if not schema or any(kind not in ("object", "array") for kind in kinds):
            return True
        # What a reference leads to may be no schema.
        branches, required, properties = (schema.get(word) for word in ("anyOf", "required", "properties"))
        further = [*branches] if isinstance(branches, list) else []
        if kinds[-1:] == ["array"]:
            if not schema.get("items"):
                return True
            further.append(schema["items"])
        if kinds[-1:] == ["object"]:
            if not isinstance(required, list) or not required or not isinstance(properties, Mapping) or not properties:
                return True
            further += [one for name, one in properties.items() if name in required]
        if isinstance(schema.get("$ref"), str):
            further.append(self._target(schema["$ref"]))
        return any(self._ends(one, seen) for one in further)

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

    def check_heights(self) -> None:
        """Check that references do not lead too deep."""
        for reference, depth in self._depths.items():
            if reference != "#" and depth + self._height(self._target(reference), frozenset()) > MAX_DEPTH:
                raise _fault((), f"schema depth exceeds maximum limit of {MAX_DEPTH}")

    def _height(self, schema: Any, followed: frozenset[str]) -> int:
        """How many levels of properties there are in a schema, with what it refers to, each once on the way."""
        self._steps += 1
        if not isinstance(schema, Mapping) or self._steps > _MAX_STEPS:
            return 0
        reference, properties, branches = (schema.get(word) for word in ("$ref", "properties", "anyOf"))
        beside = [schema.get("items"), schema.get("additionalProperties")]
        beside += branches if isinstance(branches, list) else []
        if isinstance(reference, str) and reference not in followed:
            followed |= {reference}
            beside.append(self._target(reference))
        heights = [self._height(one, followed) for one in beside]
        inner = properties.values() if isinstance(properties, Mapping) else ()
        return max(heights + [1 + self._height(one, followed) for one in inner])

    def _check_ref(self, schema: Schema, path: Path, depth: int) -> None:
        reference = schema["$ref"]
        target = self._check_target(reference, (*path, "$ref"))
        self._depths[reference] = max(depth, self._depths.get(reference, 0))
        if path[:1] == ("$defs",):
            return
        self._targets.append((path, target))
        if conflicts := sorted(schema.keys() & self._said(reference) - {"$ref", "title"}):
            raise _fault(path, f"conflicting keywords found after $ref expansion: {', '.join(conflicts)}")

    def _check_target(self, reference: Any, place: Path) -> Schema:
        if not isinstance(reference, str):
            raise _fault(place, "$ref must be a string")
        if reference != "#" and not reference.startswith(_DEFS):
            raise _fault(place, f"references must start with {_DEFS}")
        if reference != "#" and "$defs" not in self._root:
            raise _fault(place, f"$defs not found for reference: {reference}")
        target = self._target(reference)
        if not isinstance(target, Mapping):
            raise _fault((), f"invalid $ref path: {reference}")
        return target

    def _check_stray(self, value: Schema, path: Path) -> None:
        """Check the references in what is no schema: they are found there, too, and may stand in few places."""
        if "$ref" in value:
            place = (*path, "$ref")
            self._check_target(value["$ref"], place)
            named = path[-2:-1] == ("properties",) or path[-1] in _PLACES or path[-1].startswith("anyOf")
            if len(path) > 1 and not named:
                raise _fault(place, "$ref is not allowed in this schema")
        for word, inner in value.items():
            if isinstance(inner, Mapping) and word != "$defs":
                self._check_stray(inner, (*path, word))
            for one in inner if isinstance(inner, list) and word == "anyOf" else ():
                if isinstance(one, Mapping):
                    self._check_stray(one, (*path, word))

    def _said(self, reference: str) -> set[str]:
        """The words of what a reference leads to, also by way of references alone, and those of its branches."""
        said: set[str] = set()
        seen: set[str] = set()
        while reference not in seen and isinstance(target := self._target(reference), Mapping):
            seen.add(reference)
            said |= target.keys()
            if isinstance(target.get("$ref"), str) and target.keys() <= _NOTES | {"$ref"}:
                reference = target["$ref"]
        branches = target.get("anyOf")
        for branch in branches if isinstance(branches, list) else ():
            said |= branch.keys() - _NOTES if isinstance(branch, Mapping) else set()
        return said | {"anyOf"} if "type" in target else said

    def _target(self, reference: str) -> Any:
        found: Any = self._root
        for step in reference.split("/")[1:]:
            found = found.get(step) if isinstance(found, Mapping) else None
        return found


def _types(schema: Schema) -> list[Any]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


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
        _check_beside_types(schema, kind, path)
    elif not isinstance(kind, str):
        raise _fault(path, "type must be string or array of strings")
    elif kind not in _TYPES:
        raise _fault(path, "invalid type")


def _check_beside_types(schema: Schema, kinds: list[str], path: Path) -> None:
    """Beside several types stands nothing that concerns one of them, but an enum of values that may be null."""
    if len(kinds) == 1 or (len(kinds) == 2 and schema.get("enum") is not None):
        return
    for word in schema.keys() - _NOTES - ({"type"} if path else {"type", "$defs", "$id"}):
        raise _fault(path, f"keyword {word} is not allowed in combination with multiple types")


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
    types = _types(schema)
    if len(types) > 2 or (len(types) == 2 and ("null" not in types or not {*types} & _LISTED)):
        raise _fault(path, "when type is array and enum is specified, one of two types must be null")
    for option in options:
        if not _matches(option, types):
            shown = msgspec.json.encode(option).decode()
            raise _fault(place, f"enum value ({shown}) does not match any type in [{' '.join(types)}]")


def _matches(option: Any, kinds: list[str]) -> bool:
    """Whether an enum may hold this: its types are asked in turn, and one of numbers has the last word."""
    number = isinstance(option, int | float) and not isinstance(option, bool)
    for kind in kinds:
        if kind in ("integer", "number"):
            return number and (kind == "number" or option == int(option))
        if kind == _type_of(option):
            return True
    return False


def _type_of(option: Any) -> str:
    if option is None or isinstance(option, bool):
        return "null" if option is None else "boolean"
    if isinstance(option, str | list):
        return "string" if isinstance(option, str) else "array"
    return "object" if isinstance(option, Mapping) else "number"


def _check_any_of(schema: Schema, path: Path) -> None:
    place, branches = (*path, "anyOf"), schema["anyOf"]
    if not isinstance(branches, list):
        raise _fault(place, "anyOf must be an array")
    if not 1 <= len(branches) <= MAX_ANY_OF:
        raise _fault(place, f"anyOf must have 1-{MAX_ANY_OF} items")
    for branch in branches:
        if not isinstance(branch, Mapping):
            raise _fault(place, "schema in anyOf must be an object")
        if conflicts := sorted(schema.keys() & branch.keys() - _NOTES - {"anyOf"}):
            raise _fault(
                path,
                f"conflicting keywords found in anyOf with parent: keywords ({', '.join(conflicts)}) are defined on "
                "the parent schema and inside anyOf; remove them from the parent or from anyOf branches",
            )


def _inner(schema: Schema, path: Path) -> Iterator[tuple[Path, Schema, int]]:
    """The schemas inside one, each with its path and how much deeper it lies."""
    yield from _definitions(schema.get("$defs", {}), path)
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


def _definitions(definitions: Any, path: Path) -> Iterator[tuple[Path, Schema, int]]:
    place = (*path, "$defs")
    if not isinstance(definitions, Mapping):
        raise _fault(place, "$defs must be an object")
    for name, definition in definitions.items():
        if not name:
            raise _fault(place, "$defs property name cannot be empty")
        if not isinstance(definition, Mapping):
            raise _fault(place, f"$defs schema must be object: {name}")
        _check_slashes({name: definition}, place)
        yield (*place, name), definition, 0


def _check_slashes(value: Any, path: Path) -> None:
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        if "/" in name:
            raise _fault(path, f"$defs property name '{name}' cannot contain '/' character")
        for one in inner if isinstance(inner, list) else (inner,):
            _check_slashes(one, (*path, name))


def _fault(path: Path, message: str) -> MFJSError:
    return MFJSError(f"At path '{'.'.join(path) or 'root'}': {message}")
