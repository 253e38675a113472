"""What two schemas for one value are together."""

from typing import Any, Final

from moonshot_async.mfjs.vocabulary import CONSTRAINTS, Schema, plain_number, types_of

_LOWER: Final = frozenset(("minimum", "minLength", "minItems", "exclusiveMinimum"))
_UPPER: Final = frozenset(("maximum", "maxLength", "maxItems", "exclusiveMaximum"))

# What is told to the model instead of being lost.
_TOLD: Final = ("format", "pattern")


def text_of(schema: Schema) -> str | None:
    """The description of a schema."""
    description = schema.get("description")
    return description if isinstance(description, str) and description else None


def told(schema: Schema, further: list[str]) -> str | None:
    """The description of a schema, and in it what the dialect has no other words for: `further` properties, too."""
    description = text_of(schema)
    hints = [f"{word}: {value}" for word in _TOLD if isinstance(value := schema.get(word), str) and value]
    if "string" not in types_of(schema):
        hints = []
    if further:
        hints.append(f"further properties: {', '.join(further)}")
    return " ".join(filter(None, (description, f"({', '.join(hints)})" if hints else None))) or None


def notes_of(schema: Schema) -> Schema:
    """A schema without what constrains values."""
    return {word: value for word, value in schema.items() if word not in CONSTRAINTS}


def merged(first: Schema, second: Schema) -> Schema:
    """One schema for values that must fit both, as far as one can say so; notes are those of the first."""
    both = dict(first)
    for word, value in second.items():
        if word not in both:
            both[word] = value
        elif both[word] != value:
            both[word] = _both(word, both[word], value)
    return both


def _both(word: str, one: Any, other: Any) -> Any:
    if word == "properties" and isinstance(one, dict) and isinstance(other, dict):
        shared = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
        return {**one, **other, **shared}
    if word == "required" and isinstance(one, list) and isinstance(other, list):
        return one + [name for name in other if name not in one]
    if word == "type":
        return _both_types(one, other)
    if word == "enum" and isinstance(one, list) and isinstance(other, list):
        return [value for value in one if value in other]
    if word in ("items", "additionalProperties"):
        return False if one is False or other is False else {"allOf": [one, other]}
    if word in _LOWER or word in _UPPER:
        numbers = [value for value in (one, other) if plain_number(value) is not None]
        return (max if word in _LOWER else min)(numbers) if numbers else None
    return one


def _both_types(one: Any, other: Any) -> list[str]:
    first, second = types_of({"type": one}), types_of({"type": other})
    shared = [name for name in first if name in second]
    for narrow, wide in ((first, second), (second, first)):
        if "integer" in narrow and "number" in wide:
            shared.append("integer")
    # Nothing can fit both: what is said first is as good as nothing.
    return shared or first
