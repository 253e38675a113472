"""Any JSON Schema, of whatever draft, made to fit the dialect."""

import re
from collections.abc import Set
from typing import Any, Final
from urllib.parse import unquote

from moonshot_async.mfjs.assembly import LOCAL, any_of, any_value, described, finished, is_any
from moonshot_async.mfjs.joining import merged, notes_of, text_of, told
from moonshot_async.mfjs.vocabulary import CONSTRAINTS, KEPT, REWORDED, Schema, bounded, by_type, default_of, types_of

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")
# How many schemas one may become: what is said once for many branches is written for each of them.
_MOST: Final = 50_000


def normalise(schema: Schema, *, closed: bool = False, dropped: list[str] | None = None) -> Schema:
    """Say a JSON Schema in the dialect. What it cannot say is left out, so that more may be allowed, never less.

    References point to `#/$defs/…`, and only there; `type` stands in the branches of `anyOf`, which stands for `oneOf`,
    `nullable` and lists of types too; `const` is an `enum`, whose values are of one type; tuples are lists of whatever
    their items may be; `format` and `pattern` of a text are told in its description. The schema that is given is not
    changed, and what comes out comes out again as it went in.

    Args:
        schema: its root describes an object, or anything (`{}`).
        closed: whether objects with `properties` that say nothing of others allow none.
        dropped: takes the places of what is left out, as JSON pointers into the schema that is given. Where parts of a
            schema are put together (`allOf`, siblings of `$ref`) it is the place where they meet.

    Raises:
        TypeError: the root is no object, or the schema none.
        ValueError: it is nested too deeply, contains itself, or becomes too large.

    See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
    """
    if not isinstance(schema, dict):
        raise TypeError(f"a schema is a JSON object, not {type(schema).__name__}")
    lost: list[str] = [] if dropped is None else dropped
    try:
        return _Normaliser(schema, closed, lost).root()
    except RecursionError:
        pass
    raise ValueError("the schema is nested too deeply, or contains itself")


class _Normaliser:
    """One schema on its way into the dialect."""

    def __init__(self, schema: Schema, closed: bool, dropped: list[str]) -> None:
        self._source = schema
        self._closed = closed
        self._dropped = dropped
        self._roots = {"#"}
        # The names of what references point to, and which of that was not looked at yet.
        self._names: dict[str, str] = {}
        self._definitions: dict[str, Schema] = {}
        self._waiting: list[str] = []
        self._made = 0
        # What was put in the place of a reference: in the schema at hand, and in those around it.
        self._inside: frozenset[str] = frozenset()
        self._around: frozenset[str] = frozenset()

    def root(self) -> Schema:
        flat = self._flat(self._source)
        while "$ref" in flat and flat["$ref"] not in self._roots:
            # The root may be but a name for a definition, which then refers to itself as to the root.
            self._roots.add(flat["$ref"])
            target = self._target(flat["$ref"])
            flat = merged(notes_of(flat), self._flat(target) if isinstance(target, dict) else {})
        if not flat.keys() & CONSTRAINTS - {"$ref"}:
            return {}
        if "object" not in types_of(flat):
            raise TypeError(
                "the root of a schema must be an object; give the value a name in one, for example "
                '{"type": "object", "properties": {"value": …}, "required": ["value"]}'
            )
        self._lose(flat, "#", CONSTRAINTS - KEPT["object"] - {"type", "nullable"})
        root = self._object(flat, "#")
        if isinstance(name := self._source.get("$id"), str):
            root["$id"] = name
        root = described(root, text_of(flat))
        while self._waiting:
            pointer = self._waiting.pop(0)
            self._definitions[self._names[pointer]] = self._schema(self._target(pointer), pointer) or any_value()
        return finished(root, self._definitions)

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
        description = told(flat)
        if "$ref" in flat:
            return self._reference(flat["$ref"], description, path)
        word = next((word for word in ("anyOf", "oneOf") if isinstance(flat.get(word), list) and flat[word]), None)
        branches = self._by_type(flat, path) if word is None else self._by_option(word, flat, path)
        if not branches:
            return None
        if flat.get("nullable") is True:
            branches.append({"type": "null"})
        return any_of(branches, description)

    def _by_option(self, word: str, flat: Schema, path: str) -> list[Schema]:
        """The branches of `anyOf` or `oneOf`, each with all that is said beside them."""
        rest = {name: flat[name] for name in flat.keys() & CONSTRAINTS - {"anyOf", "oneOf", "nullable"}}
        if word == "anyOf":
            self._lose(flat, path, {"oneOf"})
        branches = []
        for place, option in enumerate(flat[word]):
            whole = {"allOf": [option, rest]} if rest and isinstance(option, dict) else option
            if (one := self._schema(whole, f"{path}/{word}/{place}")) is not None:
                branches.append(one)
        return branches

    def _by_type(self, flat: Schema, path: str) -> list[Schema]:
        """A branch for each type that values may have."""
        kinds = by_type(flat)
        kept = REWORDED.union(*(KEPT[kind] for kind, _ in kinds))
        self._lose(flat, path, CONSTRAINTS - kept)
        branches = []
        for kind, values in kinds:
            if kind == "object":
                branch = self._object(flat, path)
            elif kind == "array":
                branch = self._array(flat, path)
            else:
                branch = bounded(kind, flat)
            branches.append({**branch, "enum": values} if values else branch)
        if len(branches) == 1 and (default := default_of(kinds[0][0], flat)) is not None:
            branches[0]["default"] = default
        return branches or [any_value()]

    def _object(self, flat: Schema, path: str) -> Schema:
        schema: Schema = {"type": "object"}
        properties = flat.get("properties")
        if isinstance(properties, dict):
            members = {name: self._schema(one, f"{path}/properties/{_step(name)}") for name, one in properties.items()}
            schema["properties"] = {name: one for name, one in members.items() if one is not None}
        required = flat.get("required")
        if isinstance(required, list):
            known = schema.get("properties", {})
            names = list(dict.fromkeys(name for name in required if isinstance(name, str) and name in known))
            if names:
                schema["required"] = names
        others = flat.get("additionalProperties", False if self._closed and "properties" in schema else None)
        if others is False and isinstance(patterns := flat.get("patternProperties"), dict) and patterns:
            others = {"anyOf": list(patterns.values())}
        if isinstance(others, dict):
            one = self._schema(others, f"{path}/additionalProperties")
            others = one if one is not None and not is_any(one) else one is not None
        if others is not None:
            schema["additionalProperties"] = others if isinstance(others, dict) else bool(others)
        return schema

    def _array(self, flat: Schema, path: str) -> Schema:
        schema = bounded("array", flat)
        first, rest = flat.get("prefixItems"), flat.get("items")
        if isinstance(rest, list):  # how older drafts write tuples
            first, rest = rest, flat.get("additionalItems")
        if isinstance(first, list) and first:
            # Where there can be no more items than those, it does not matter what more of them would be.
            more = False if schema.get("maxItems", len(first) + 1) <= len(first) else rest
            items: Any = True if more is None else {"anyOf": [*first, more]}
        else:
            items = rest
        one = self._schema(items, f"{path}/items") if isinstance(items, dict) else None
        if one is not None and not is_any(one):
            schema["items"] = one
        elif items is False:
            schema = {"type": "array", "maxItems": 0}
        return schema

    def _flat(self, node: Schema, seen: tuple[str, ...] = ()) -> Schema:
        """A schema without `allOf`, in which `$ref` stands alone, but for notes: what more is said is put together."""
        own = {name: value for name, value in node.items() if name not in ("allOf", "$ref", "const")}
        if "const" in node:
            own = merged(own, {"enum": [node["const"]]})
        parts = [own]
        if isinstance(pointer := node.get("$ref"), str):
            parts.append({"$ref": pointer})
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
            flat = merged(flat, part)
        return flat

    def _inlined(self, pointer: str, seen: tuple[str, ...] = ()) -> Schema:
        """What a reference points to, in its place; nothing where it leads back to itself."""
        self._count()
        target = None if pointer in seen or pointer in self._around else self._target(pointer)
        if not isinstance(target, dict):
            return {}
        seen = (*seen, pointer)
        self._inside |= {pointer}
        flat = self._flat(target, seen)
        return merged(notes_of(flat), self._inlined(flat["$ref"], seen)) if "$ref" in flat else flat

    def _reference(self, pointer: str, description: str | None, path: str) -> Schema:
        seen: set[str] = set()
        while isinstance(target := self._target(pointer), dict) and pointer not in seen:
            seen.add(pointer)
            flat = self._flat(target)
            if "$ref" not in flat:
                known = bool(flat.keys() & CONSTRAINTS)
                return described({"$ref": self._name(pointer)} if known else any_value(), description)
            # A name for a name: what that one names is named at once.
            pointer, description = flat["$ref"], description or text_of(flat)
        if not isinstance(target, bool):
            self._lose({"$ref": pointer}, path, {"$ref"})
        return described(any_value(), description)

    def _name(self, pointer: str) -> str:
        if pointer in self._roots:
            return "#"
        if pointer not in self._names:
            base = _NO_NAME.sub("_", _steps(pointer)[-1]) or "schema"
            name, taken, number = base, set(self._names.values()), 1
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            self._names[pointer] = name
            self._waiting.append(pointer)
        return LOCAL + self._names[pointer]

    def _target(self, pointer: str) -> Any:
        """What a JSON pointer points to in the schema that is given; None where that is nothing."""
        if not (pointer + "/").startswith("#/"):
            return None
        found: Any = self._source
        for step in _steps(pointer):
            if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                found = found.get(step) if isinstance(found, dict) else None
        return found

    def _lose(self, flat: Schema, path: str, words: Set[str]) -> None:
        self._dropped += [f"{path.removeprefix('#')}/{word}" for word in flat if word in words]

    def _count(self) -> None:
        self._made += 1
        if self._made > _MOST:
            raise ValueError(f"the schema becomes too large: it has more than {_MOST} parts in the dialect")


def _steps(pointer: str) -> list[str]:
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _step(name: object) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")
