"""Values that fit a JSON schema: arguments for tools, and JSON answers.

Covers Moonshot's dialect and the keywords that msgspec and pydantic write, but for `pattern`, `if`/`then` and other
ways to describe what only a solver could satisfy: those are ignored. Values come from the schema (defaults, enums,
bounds) and, for free strings, from a hint taken from the prompt.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from moonshot_async.fake.conforming import Resolve, conforms

# Where a dialect has no word for it, descriptions tell the format.
_TOLD_FORMAT: Final = re.compile(r"\bformat: ([a-z-]+)")
_FORMATS: Final = {
    "date-time": "2026-11-22T09:30:00Z",
    "date": "2026-11-22",
    "time": "09:30:00Z",
    "duration": "PT1H",
    "email": "kimi@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "decimal": "1.5",
}
# After this many values only what must be there is added, so that schemas which refer to each other stay small.
_MANY_VALUES: Final = 500
# More would not fit into any answer, whatever the schema says.
_MOST_VALUES: Final = 500_000
_MOST_CHARACTERS: Final = 2_000_000
_WEIRD: Final = (AttributeError, LookupError, TypeError, ArithmeticError, ValueError, RecursionError)


class UnusableSchemaError(ValueError):
    """A schema that makes no sense, such as properties that are a number."""


def sample(schema: Any, hint: str = "text") -> Any:
    """Make a value that fits `schema`, the same one every time.

    Args:
        schema: a JSON schema; anything that is not an object counts as "any value".
        hint: what a free string says; an enum member that equals it (case aside) is preferred.

    Raises:
        UnusableSchemaError: the schema is not one.
    """
    root = schema if isinstance(schema, Mapping) else {}
    try:
        return _Sampler(root, hint).value(root, frozenset())
    except _WEIRD as error:
        raise UnusableSchemaError(f"the JSON schema cannot be used: {error}") from error


def is_endless(schema: Mapping[str, Any]) -> bool:
    """Whether every value of a schema would contain another one, so that none has an end."""
    try:
        return math.isinf(_Heights(_resolver(schema)).of(schema))
    except _WEIRD:
        return False


class _Heights:
    """How many references the smallest value of a schema needs, one inside the other; infinite where there is none."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, float] = {}

    def of(self, schema: Any) -> float:
        """Settle the references that are met, round after round, until none gets lower any more."""
        height = self._look(schema)
        while self._settle():
            height = self._look(schema)
        return height

    def _settle(self) -> bool:
        before = dict(self._known)
        for reference, known in before.items():
            if math.isinf(known):
                self._known[reference] = 1 + self._look(self._resolve(reference))
        return self._known != before

    def _look(self, schema: Any) -> float:
        """The height as far as references are settled by now."""
        if not isinstance(schema, Mapping):
            return 0
        height: float = 0
        if "$ref" in schema:
            height = self._known.setdefault(schema["$ref"], math.inf)
        for name in ("anyOf", "oneOf"):
            if schema.get(name):
                height = max(height, min(map(self._look, schema[name])))
        for part in (*(schema.get("allOf") or ()), *self._needed(schema)):
            height = max(height, self._look(part))
        return height

    @staticmethod
    def _needed(schema: Mapping[str, Any]) -> list[Any]:
        """What a value cannot be without."""
        properties = schema.get("properties") or {}
        needed = [properties[name] for name in schema.get("required") or () if name in properties]
        fixed = schema.get("prefixItems") or []
        return needed + fixed + ([schema.get("items")] if schema.get("minItems", 0) > len(fixed) else [])


class _Sampler:
    """Walks one schema. `path` holds the references that were followed to get where it is.

    A reference that is on the path already is not followed where it can be avoided: what is optional there is left
    out, lists stay empty, and of alternatives another one is taken. Where it must be followed, only what must be there
    is made from then on (`small`), by the lowest of all alternatives, which comes to an end. Where no value would,
    `{}` stands for it.
    """

    def __init__(self, root: Mapping[str, Any], hint: str) -> None:
        self._hint = hint
        self._resolve = _resolver(root)
        self._heights = _Heights(self._resolve)
        self._left = _MANY_VALUES

    def value(self, schema: Any, path: frozenset[str], small: bool = False) -> Any:
        self._left -= 1
        if self._left < -_MOST_VALUES:
            raise ValueError("it asks for too many values")
        small = small or self._left < 0
        while isinstance(schema, Mapping) and "$ref" in schema:
            if schema["$ref"] in path:
                if self._endless(schema):
                    return {}
                small = True
            path |= {schema["$ref"]}
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            schema = {**self._resolve(schema["$ref"]), **beside}
        if not isinstance(schema, Mapping):
            return self._hint
        if "const" in schema:
            return schema["const"]
        if "default" in schema and conforms(schema["default"], schema, self._resolve):
            return schema["default"]
        if options := schema.get("enum"):
            return next((one for one in options if str(one).casefold() == self._hint.casefold()), options[0])
        for name in ("anyOf", "oneOf", "allOf"):
            if parts := schema.get(name):
                beside = {key: value for key, value in schema.items() if key != name}
                chosen = parts if name == "allOf" else [self._alternative(parts, path, small)]
                return self.value(_merged([beside, *chosen]), path, small)
        return self._typed(schema, path, small)

    def _alternative(self, parts: list[Any], path: frozenset[str], small: bool) -> Any:
        free = [] if small else [one for one in parts if not _on(path, one) and not self._endless(one)]
        return free[0] if free else min(parts, key=self._heights.of)

    def _typed(self, schema: Mapping[str, Any], path: frozenset[str], small: bool) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                return self._object(schema, path, small)
            case "array":
                return self._array(schema, path, small)
            case "integer":
                return _number(schema, whole=True)
            case "number":
                return _number(schema, whole=False)
            case "boolean":
                return True
            case "null":
                return None
        return _string(schema, self._hint)

    def _object(self, schema: Mapping[str, Any], path: frozenset[str], small: bool) -> dict[str, Any]:
        required, properties = schema.get("required") or (), schema.get("properties") or {}
        made = {
            name: self.value(property, path, small)
            for name, property in properties.items()
            if name in required or not (small or _on(path, property) or self._endless(property))
        }
        # What is required and not described is an additional property.
        others = {name: schema.get("additionalProperties") for name in required if name not in properties}
        return made | {name: self.value(other, path, small) for name, other in others.items()}

    def _array(self, schema: Mapping[str, Any], path: frozenset[str], small: bool) -> list[Any]:
        items, least = schema.get("items", {}), schema.get("minItems", 0)
        values = [self.value(one, path, small) for one in schema.get("prefixItems") or ()]
        avoidable = _on(path, items)
        if items is False or (avoidable and self._endless(items)):
            return values
        only_needed = small or avoidable or (least <= len(values) and self._endless(items))
        wanted = min(max(0 if only_needed else 1, least), schema.get("maxItems", math.inf))
        return values + [self.value(items, path, small) for _ in range(int(wanted) - len(values))]

    def _endless(self, schema: Any) -> bool:
        return math.isinf(self._heights.of(schema))


def _resolver(root: Mapping[str, Any]) -> Resolve:
    """What looks a local reference up; one that leads nowhere means "anything"."""

    def resolve(reference: str) -> Mapping[str, Any]:
        target: Any = root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target.get(step.replace("~1", "/").replace("~0", "~"), {})
        return target if isinstance(target, Mapping) else {}

    return resolve


def _on(path: frozenset[str], schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("$ref") in path


def _merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole |= part
        whole |= ({"properties": properties} if properties else {}) | ({"required": required} if required else {})
    return whole


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    """The first of a few likely numbers that lies within the bounds; 0 where the bounds leave none of them."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    candidates: list[float]
    if step := schema.get("multipleOf") or (1 if whole else 0):
        # Dividing by 1 would turn large integers into floats, and so into other numbers.
        edges = [edge if step == 1 else edge / step for edge in (low, high, above, below) if math.isfinite(edge)]
        counts = [1, *(near for edge in edges for near in (math.ceil(edge), math.floor(edge) + 1, math.ceil(edge) - 1))]
        candidates = [count * step for count in counts]
    else:
        floor, ceiling = max(low, above), min(high, below)
        candidates = [1.5, low, high, (floor + ceiling) / 2, floor + 1, ceiling - 1]
    fitting = (one for one in candidates if math.isfinite(one) and low <= one <= high and above < one < below)
    value = next(fitting, 0)
    return int(value) if whole else value


def _string(schema: Mapping[str, Any], hint: str) -> str:
    told = _TOLD_FORMAT.search(str(schema.get("description")))
    text = _FORMATS.get(told[1] if told else str(schema.get("format")), hint)
    least, most = min(int(schema.get("minLength", 0)), _MOST_CHARACTERS), schema.get("maxLength")
    if len(text) < least:
        text = (text or "x") * (least // max(1, len(text)) + 1)
        text = text[: max(least, 1)]
    return text if most is None else text[: int(most)]
