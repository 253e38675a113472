"""Any JSON Schema, of whatever draft, made to fit the dialect."""

from contextlib import suppress
from typing import Any, Final, Literal
from urllib.parse import unquote

from moonshot_async.mfjs.assembly import LOCAL, any_of, any_value, described, finished, is_any
from moonshot_async.mfjs.findings import LIMITS, step_of
from moonshot_async.mfjs.joining import merged, notes_of, text_of, told
from moonshot_async.mfjs.lint_parts import is_usable_name
from moonshot_async.mfjs.linter import lint
from moonshot_async.mfjs.losses import Losses
from moonshot_async.mfjs.pointers import localised, name_of, pointed_at
from moonshot_async.mfjs.roots import laid_together, options_of
from moonshot_async.mfjs.vocabulary import (
    BOUNDS,
    CONSTRAINTS,
    KEPT,
    REWORDED,
    Schema,
    bounded,
    by_type,
    default_of,
    is_all_of,
    types_of,
)

Root = Literal["any", "object"]

# How many schemas one may become: what is said once for many branches is written for each of them.
_MOST: Final = 50_000


def normalise(schema: Schema, *, closed: bool = False, dropped: list[str] | None = None, root: Root = "any") -> Schema:
    """Say a JSON Schema in the dialect. What it cannot say is left out, so that more may be allowed, never less.

    References point to `#/$defs/…`, and only there; `type` stands in the branches of `anyOf`, which stands for `oneOf`,
    `nullable` and lists of types too; `const` is an `enum`, whose values are of one type; tuples are lists of whatever
    their items may be; `format` and `pattern` of a text are told in its description. The schema that is given is not
    changed, and what comes out comes out again as it went in. `lint` finds nothing in it, at any level.

    Args:
        schema: of any draft. The service takes one whose root has the type `object`, or `{}`, which says nothing.
        closed: whether objects with `properties` that say nothing of others allow none.
        dropped: takes the places of what is left out, as JSON pointers into the schema that is given. Where parts of a
            schema are put together (`allOf`, siblings of `$ref` and `anyOf`) it is the place where they meet.
        root: "object" to refuse what the service takes nowhere: a root that is none.

    Raises:
        TypeError: the schema is no object; or its root is none, and has to be.
        ValueError: it is nested too deeply, contains itself, or passes a limit of the dialect.

    See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
    """
    if not isinstance(schema, dict):
        raise TypeError(f"a schema is a JSON object, not {type(schema).__name__}")
    normal = None
    with suppress(RecursionError):
        normal = _Normaliser(schema, closed, [] if dropped is None else dropped).root(root)
    if normal is None:
        raise ValueError("the schema is nested too deeply, or contains itself")
    if findings := lint(normal, "strict"):
        raise ValueError(f"the schema cannot be said in the dialect: {findings[0]}")
    return normal


class _Normaliser:
    """One schema on its way into the dialect."""

    def __init__(self, schema: Schema, closed: bool, dropped: list[str]) -> None:
        self._source = schema
        self._closed = closed
        self._losses = Losses(dropped)
        self._roots = {"#"}
        # The names of what references point to, and which of that was not looked at yet.
        self._names: dict[str, str] = {}
        self._definitions: dict[str, Schema] = {}
        self._waiting: list[str] = []
        self._made = 0
        # Whether what is made now stands in `$defs`, where fewer names are allowed.
        self._defining = False
        # What was put in the place of a reference: in the schema at hand, and in those around it.
        self._inside: frozenset[str] = frozenset()
        self._around: frozenset[str] = frozenset()

    def root(self, wanted: Root) -> Schema:
        flat, path = self._flat(self._source), "#"
        while "$ref" in flat and flat["$ref"] not in self._roots:
            # The root may be but a name for a definition, which then refers to itself as to the root.
            self._roots.add(flat["$ref"])
            if not isinstance(target := pointed_at(self._source, flat["$ref"]), dict):
                break
            self._losses.notes(flat, path)
            said: Schema = {word: flat[word] for word in ("description", "default") if word in flat}
            path = unquote(flat["$ref"])
            flat = {**self._flat(target), **said}
        if not flat.keys() & CONSTRAINTS - {"$ref"}:
            self._losses.add(flat, path, {"$ref", "default", "description"})
            self._losses.notes(flat, path)
            return {}
        root = self._root(flat, wanted, path)
        if isinstance(name := self._source.get("$id"), str) and root:
            root = {**root, "$id": name}
        self._defining = True
        while self._waiting:
            pointer = self._waiting.pop(0)
            found = pointed_at(self._source, pointer)
            self._definitions[self._names[pointer]] = self._schema(found, unquote(pointer)) or any_value()
        whole, lost = finished(root, self._definitions)
        self._losses.add(lost, "#", {*lost})
        return whole

    def _root(self, flat: Schema, wanted: Root, path: str) -> Schema:
        """The root: an object wherever it says so, whatever else it says."""
        kinds = types_of(flat)
        if "object" in kinds and (wanted == "object" or kinds == ["object"]):
            lost = CONSTRAINTS - KEPT["object"] - {"type", "nullable"} | {"default"}
            self._losses.add(flat, path, lost)
            self._losses.notes(flat, path)
            for word in ("anyOf", "oneOf"):
                # What they refer to is put in its place where more is said beside it.
                whole = [self._flat({"allOf": [one, {"type": "object"}]}) for one in options_of(flat, word)]
                flat = laid_together(flat, whole)
            return described(self._object(flat, path), self._told(flat))
        if wanted == "object":
            raise TypeError(
                "the root of a schema must be an object; give the value a name in one, for example "
                '{"type": "object", "properties": {"value": …}, "required": ["value"]}'
            )
        return self._said(flat, path) or {}

    def _schema(self, node: Any, path: str) -> Schema | None:
        """A schema inside of another one; None where it allows nothing."""
        if node is False:
            return None
        self._count()
        around, self._inside = self._around, frozenset()
        flat = self._flat(node) if isinstance(node, dict) else {}
        self._around |= self._inside
        schema = self._said(flat, path)
        self._around = around
        return schema

    def _said(self, flat: Schema, path: str) -> Schema | None:
        description = self._told(flat)
        self._losses.notes(flat, path)
        if "$ref" in flat:
            self._losses.add(flat, path, {"default"})
            return self._reference(flat["$ref"], description, path)
        word = next((word for word in ("anyOf", "oneOf") if isinstance(flat.get(word), list) and flat[word]), None)
        branches = self._by_type(flat, path) if word is None else self._by_option(word, flat, path)
        if not branches:
            return None
        if flat.get("nullable") is True:
            branches.append({"type": "null"})
        schema = any_of(branches, description)
        if word is not None and len(schema.get("anyOf", ())) > LIMITS.max_branches:
            self._losses.add(flat, path, {word})
            return described(any_value(), description)
        return schema

    def _one_of(self, options: list[tuple[Any, str]]) -> Schema | None:
        """One of several schemas, each from a place of its own; None where they allow nothing."""
        branches = [one for option, path in options if (one := self._schema(option, path)) is not None]
        one = any_of(branches, None) if branches else None
        return any_value() if one and len(one.get("anyOf", ())) > LIMITS.max_branches else one

    def _by_option(self, word: str, flat: Schema, path: str) -> list[Schema]:
        """The branches of `anyOf` or `oneOf`, each with all that is said beside them."""
        rest = {name: flat[name] for name in flat.keys() & CONSTRAINTS - {"anyOf", "oneOf", "allOf", "nullable"}}
        self._losses.add(flat, path, {"default", "allOf"} | ({"oneOf"} if word == "anyOf" else set()))
        branches = []
        for place, option in enumerate(flat[word]):
            whole = {"allOf": [option, rest]} if rest and isinstance(option, dict) else option
            if (one := self._schema(whole, f"{path}/{word}/{place}")) is not None:
                branches.append(one)
        return branches

    def _by_type(self, flat: Schema, path: str) -> list[Schema]:
        """A branch for each type that values may have."""
        kinds = by_type(flat)
        kept = REWORDED.union({"enum"}, *(KEPT[kind] for kind, _ in kinds))
        self._losses.add(flat, path, CONSTRAINTS - kept)
        branches = []
        for kind, values in kinds:
            if values and len(values) > LIMITS.max_enum:
                values = None
            if values is None and not is_all_of(kind, flat):
                self._losses.add(flat, path, {"enum"})
            if kind == "object":
                branch = self._object(flat, path)
            elif kind == "array":
                branch = self._array(flat, path)
            else:
                branch = self._bounded(kind, flat, path)
            branches.append({**branch, "enum": values} if values else branch)
        if len(branches) == 1 and (default := default_of(kinds[0][0], flat)) is not None:
            branches[0]["default"] = default
        else:
            self._losses.add(flat, path, {"default"})
        return branches or [any_value()]

    def _bounded(self, kind: str, flat: Schema, path: str) -> Schema:
        schema = bounded(kind, flat)
        self._losses.add(flat, path, {word for word in BOUNDS.get(kind, ()) if BOUNDS[kind][word] not in schema})
        return schema

    def _object(self, flat: Schema, path: str) -> Schema:
        schema: Schema = {"type": "object"}
        properties, unsaid = flat.get("properties"), list[tuple[Any, str]]()
        if isinstance(properties, dict):
            schema["properties"] = {}
            for name, one in properties.items():
                place = f"{path}/properties/{step_of(name)}"
                member = self._schema(one, place)
                if member is not None and not self._is_usable(name):
                    self._losses.add([name], f"{path}/properties", {name})
                    unsaid.append((one, place))
                elif member is not None:
                    schema["properties"][name] = member
        required = flat.get("required")
        if isinstance(required, list):
            known = schema.get("properties", {})
            names = list(dict.fromkeys(name for name in required if isinstance(name, str) and name in known))
            if names:
                schema["required"] = names
            if any(name not in names for name in required):
                self._losses.add(flat, path, {"required"})
        others = self._others(flat, path, unsaid)
        return schema if others is None else schema | {"additionalProperties": others}

    def _others(self, flat: Schema, path: str, unsaid: list[tuple[Any, str]]) -> Schema | bool | None:
        """What properties may be of which the schema says no name, or cannot say it."""
        others = flat.get("additionalProperties", False if self._closed and "properties" in flat else None)
        if others is not False and not isinstance(others, dict):
            return None if others is None else bool(others)
        patterns, options = flat.get("patternProperties"), list(unsaid)
        for pattern, one in patterns.items() if isinstance(patterns, dict) else ():
            options.append((one, f"{path}/patternProperties/{step_of(pattern)}"))
        schema = self._one_of([*options, (others, f"{path}/additionalProperties")])
        return schema if schema is not None and not is_any(schema) else schema is not None

    def _is_usable(self, name: str) -> bool:
        """Whether the dialect allows a property of that name, where it is to stand."""
        return is_usable_name(name) and not (self._defining and "/" in name)

    def _told(self, flat: Schema) -> str | None:
        """The description of a schema, and in it what the dialect has no other words for."""
        properties = flat.get("properties")
        named = properties if isinstance(properties, dict) and "object" in types_of(flat) else {}
        return told(flat, [name for name in named if name and not self._is_usable(name)])

    def _array(self, flat: Schema, path: str) -> Schema:
        schema = self._bounded("array", flat, path)
        word, further = "prefixItems", "items"
        if isinstance(flat.get("items"), list):  # how older drafts write tuples
            word, further = "items", "additionalItems"
        first, rest, one = flat.get(word), flat.get(further), None
        if isinstance(first, list) and first:
            # Where there can be no more items than those, it does not matter what more of them would be.
            more = False if schema.get("maxItems", len(first) + 1) <= len(first) else rest
            places = [(item, f"{path}/{word}/{place}") for place, item in enumerate(first)]
            one = None if more is None else self._one_of([*places, (more, f"{path}/{further}")])
        elif isinstance(rest, dict):
            one = self._schema(rest, f"{path}/{further}")
        elif rest is False:
            return {"type": "array", "maxItems": 0}
        return schema if one is None or is_any(one) else {**schema, "items": one}

    def _flat(self, node: Schema, seen: tuple[str, ...] = ()) -> Schema:
        """A schema without `allOf`, in which `$ref` stands alone, but for notes: what more is said is put together."""
        own = {name: value for name, value in node.items() if name not in ("allOf", "$ref")}
        if "const" in node:
            own = merged(own, {"enum": [node["const"]]})
        parts = [own]
        if isinstance(pointer := node.get("$ref"), str):
            parts.append({"$ref": localised(pointer, self._source)})
        if isinstance(others := node.get("allOf"), list):
            parts += [self._flat(other, seen) for other in others if isinstance(other, dict)]
        telling = [part for part in parts if part.keys() & CONSTRAINTS]
        alone = len(telling) == 1
        flat: Schema = {}
        for part in parts:
            if "$ref" in part and not alone:
                if not seen and part["$ref"] in self._around:
                    # It is inside of what it refers to: for ever, if that were put here again.
                    return {**notes_of(merged(own, part)), "$ref": part["$ref"]}
                part = merged(notes_of(part), self._inlined(part["$ref"], seen))
            twice = any(word in flat and flat[word] != part.get(word, flat[word]) for word in ("anyOf", "oneOf"))
            # Of alternatives that meet others the first are kept; that `allOf` said more is kept to be told.
            flat = merged(flat, part) | ({"allOf": []} if twice else {})
        return flat

    def _inlined(self, pointer: str, seen: tuple[str, ...] = ()) -> Schema:
        """What a reference points to, in its place; nothing where it leads back to itself."""
        self._count()
        target = None if pointer in seen or pointer in self._around else pointed_at(self._source, pointer)
        if not isinstance(target, dict):
            return {}
        seen = (*seen, pointer)
        self._inside |= {pointer}
        flat = self._flat(target, seen)
        return merged(notes_of(flat), self._inlined(flat["$ref"], seen)) if "$ref" in flat else flat

    def _reference(self, pointer: str, description: str | None, path: str) -> Schema:
        seen: set[str] = set()
        while isinstance(target := pointed_at(self._source, pointer), dict) and pointer not in seen:
            seen.add(pointer)
            flat = self._flat(target)
            if "$ref" not in flat:
                known = bool(flat.keys() & CONSTRAINTS)
                return described({"$ref": self._name(pointer)} if known else any_value(), description)
            # A name for a name: what that one names is named at once.
            pointer, description = flat["$ref"], description or text_of(flat)
        if not isinstance(target, bool):
            self._losses.add(["$ref"], path, {"$ref"})
        return described(any_value(), description)

    def _name(self, pointer: str) -> str:
        if pointer in self._roots:
            return "#"
        if pointer not in self._names:
            self._names[pointer] = name_of(pointer, self._names.values())
            self._waiting.append(pointer)
        return LOCAL + self._names[pointer]

    def _count(self) -> None:
        self._made += 1
        if self._made > _MOST:
            raise ValueError(f"the schema becomes too large: it has more than {_MOST} parts in the dialect")
