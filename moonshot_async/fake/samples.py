"""Values that fit a JSON schema: arguments for tools, and JSON answers.

Covers Moonshot's dialect and the keywords that msgspec and pydantic write, but for `pattern`, `if`/`then` and other
ways to describe what only a solver could satisfy: those are ignored. Values come from the schema (defaults, enums,
bounds) and, for free strings, from a hint taken from the prompt.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

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
    except (AttributeError, LookupError, TypeError, ArithmeticError, ValueError, RecursionError) as error:
        raise UnusableSchemaError(f"the JSON schema cannot be used: {error}") from error


class _Sampler:
    """Walks one schema. `path` holds the references that were followed to get where it is.

    A reference that is on the path already would never end: what is optional there is left out, lists stay empty, and
    of alternatives another one is taken. Where none of this is possible no value fits, and `{}` stands for it.
    """

    def __init__(self, root: Mapping[str, Any], hint: str) -> None:
        self._root = root
        self._hint = hint

    def value(self, schema: Any, path: frozenset[str]) -> Any:
        while isinstance(schema, Mapping) and "$ref" in schema:
            if schema["$ref"] in path:
                return {}
            path |= {schema["$ref"]}
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            schema = {**self._target(schema["$ref"]), **beside}
        if not isinstance(schema, Mapping):
            return self._hint
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        if options := schema.get("enum"):
            return next((one for one in options if str(one).casefold() == self._hint.casefold()), options[0])
        for name in ("anyOf", "oneOf", "allOf"):
            if parts := schema.get(name):
                beside = {key: value for key, value in schema.items() if key != name}
                chosen = parts if name == "allOf" else [next((one for one in parts if not _on(path, one)), parts[0])]
                return self.value(_merged([beside, *chosen]), path)
        return self._typed(schema, path)

    def _typed(self, schema: Mapping[str, Any], path: frozenset[str]) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "integer":
                return _number(schema, whole=True)
            case "number":
                return _number(schema, whole=False)
            case "boolean":
                return True
            case "null":
                return None
        return _string(schema, self._hint)

    def _object(self, schema: Mapping[str, Any], path: frozenset[str]) -> dict[str, Any]:
        required = schema.get("required") or ()
        return {
            name: self.value(property, path)
            for name, property in (schema.get("properties") or {}).items()
            if name in required or not _on(path, property)
        }

    def _array(self, schema: Mapping[str, Any], path: frozenset[str]) -> list[Any]:
        items = schema.get("items", {})
        values = [self.value(one, path) for one in schema.get("prefixItems") or ()]
        if items is False or _on(path, items):
            return values
        wanted = min(max(1, schema.get("minItems", 0)), schema.get("maxItems", math.inf))
        return values + [self.value(items, path) for _ in range(int(wanted) - len(values))]

    def _target(self, reference: str) -> Mapping[str, Any]:
        """What a local reference points at; one that leads nowhere means "anything"."""
        target: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target.get(step.replace("~1", "/").replace("~0", "~"), {})
        return target if isinstance(target, Mapping) else {}


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
        edges = [edge / step for edge in (low, high, above, below) if math.isfinite(edge)]
        counts = [1, *(near for edge in edges for near in (math.ceil(edge), math.floor(edge) + 1, math.ceil(edge) - 1))]
        candidates = [count * step for count in counts]
    else:
        floor, ceiling = max(low, above), min(high, below)
        candidates = [1.5, low, high, (floor + ceiling) / 2, floor + 1, ceiling - 1]
    fitting = (one for one in candidates if math.isfinite(one) and low <= one <= high and above < one < below)
    value = next(fitting, 0)
    return int(value) if whole else value


def _string(schema: Mapping[str, Any], hint: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), hint)
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    if len(text) < least:
        text = (text or "x") * (least // max(1, len(text)) + 1)
        text = text[: max(least, 1)]
    return text if most is None else text[: int(most)]
