"""Schemas in Moonshot's dialect: of types, and of schemas that were written for other services."""

import dataclasses
import datetime
import decimal
import enum
import json
import math
import subprocess
import sys
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moonshot_async.fake import mfjs as service
from moonshot_async.mfjs import lint, normalise, refusals, schema_of

T = TypeVar("T")

ANY = {"type": "object"}
NOTES = {"description", "title"}
WORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"enum", "minLength", "maxLength"},
    "number": {"enum", "minimum", "maximum"},
    "integer": {"enum", "minimum", "maximum"},
    "boolean": set(),
    "null": set(),
}
KINDS = {"string": (str,), "integer": (int,), "number": (int, float)}


def check(schema: dict[str, Any]) -> None:
    """Fail unless a schema keeps the rules of the dialect."""
    assert schema == {} or schema.get("type") == "object", "the root is an object"
    definitions = schema.get("$defs", {})
    check_inner({name: value for name, value in schema.items() if name not in ("$defs", "$id")} or ANY, schema)
    for name, definition in definitions.items():
        assert name
        assert "/" not in name
        check_inner(definition, schema)


def check_inner(schema: Any, root: dict[str, Any]) -> None:
    assert isinstance(schema, dict)
    assert isinstance(schema.get("description", ""), str)
    if "$ref" in schema:
        assert schema.keys() <= {"$ref"} | NOTES
        target = root if schema["$ref"] == "#" else root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        assert not (schema.keys() & target.keys() & NOTES), "a description stands beside a reference to another one"
        assert not ("description" in schema and "anyOf" in target)
    elif "anyOf" in schema:
        assert schema.keys() <= {"anyOf"} | NOTES
        assert schema["anyOf"]
        for branch in schema["anyOf"]:
            check_inner(branch, root)
            assert not (schema.keys() & branch.keys() & NOTES), "a branch says what its parent says"
    else:
        check_typed(schema, root)


def check_typed(schema: dict[str, Any], root: dict[str, Any]) -> None:
    kind = schema["type"]
    assert schema.keys() <= {"type", "default"} | NOTES | WORDS[kind]
    if "enum" in schema:
        assert schema["enum"]
        assert all(isinstance(one, KINDS[kind]) and not isinstance(one, bool) for one in schema["enum"])
    for least, most in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        assert schema.get(least, -math.inf) <= schema.get(most, math.inf)
    for one in schema.get("properties", {}).values():
        check_inner(one, root)
    assert set(schema.get("required", ())) <= set(schema.get("properties", ()))
    assert len(set(schema.get("required", ()))) == len(schema.get("required", ()))
    for word in ("items", "additionalProperties"):
        if not isinstance(schema.get(word, True), bool):
            check_inner(schema[word], root)


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Whether a schema of the dialect allows a value."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return accepts(root if name == "#" else root["$defs"][name], value, root)
    if "anyOf" in schema:
        return any(accepts(branch, value, root) for branch in schema["anyOf"])
    if not schema:
        return True
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if schema["type"] == "null" or value is None:
        return schema["type"] == "null" and value is None
    if not isinstance(value, types[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list):
        sized = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 99)
        return sized and all(accepts(schema.get("items", {}), item, root) for item in value)
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        known = all(name in value for name in schema.get("required", ()))
        return known and all(
            accepts(properties[name], item, root)
            if name in properties
            else others is True or (others is not False and accepts(others, item, root))
            for name, item in value.items()
        )
    size = len(value) if isinstance(value, str) else 0
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= size <= schema.get("maxLength", 99))
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Circle(msgspec.Struct, tag="circle"):
    """All points at one distance."""

    radius: Annotated[float, msgspec.Meta(gt=0)]


class Square(msgspec.Struct, tag="square"):
    side: float


class Pair(msgspec.Struct, array_like=True):
    left: int
    right: str


class Words(TypedDict, total=False):
    text: str


@dataclasses.dataclass
class Address:
    street: str
    number: int | None = None


class Everything(msgspec.Struct):
    """A bit of all."""

    colour: Colour
    level: Level
    shape: Circle | Square
    pair: Pair
    address: Address
    words: Words
    point: tuple[int, str]
    numbers: tuple[int, ...]
    when: datetime.datetime
    amount: decimal.Decimal
    data: bytes
    anything: Any
    record: dict[str, int]
    choice: Literal["a", "b"] | None
    few: Annotated[list[int], msgspec.Meta(min_length=1, max_length=3)]
    word: Annotated[str, msgspec.Meta(min_length=1, max_length=9, pattern="^a")]
    unique: set[int]
    age: Annotated[int, msgspec.Meta(gt=0, lt=150, description="In years.")]
    favourite: Annotated[Colour, msgspec.Meta(description="The best one.")]
    other: Annotated[Circle, msgspec.Meta(description="Another one.")]
    parent: "Everything | None" = None
    size: int = 3
    maybe: Annotated[int, msgspec.Meta(description="Perhaps.")] | None = None


EVERYTHING: dict[str, Any] = {
    "colour": "red",
    "level": 1,
    "shape": {"type": "circle", "radius": 0.5},
    "pair": [1, "a"],
    "address": {"street": "Main", "number": None},
    "words": {},
    "point": [1, "a"],
    "numbers": [1, 2, 3],
    "when": "2026-01-01T00:00:00",
    "amount": "1.5",
    "data": "",
    "anything": [None, {"a": True}],
    "record": {"a": 1},
    "choice": None,
    "few": [1],
    "word": "abc",
    "unique": [1],
    "age": 149,
    "favourite": "blue",
    "other": {"type": "circle", "radius": 2.0},
}


class Inner(pydantic.BaseModel):
    """An inner one."""

    value: int = 3


class Outer(pydantic.BaseModel):
    inner: Inner = pydantic.Field(description="The first.")
    second: Inner | None = pydantic.Field(None, description="The second.")
    kind: Literal["outer"]
    point: tuple[int, str]
    size: int = pydantic.Field(gt=3, multiple_of=2)
    when: datetime.date
    children: "list[Outer]" = []
    record: dict[str, Any] = {}


OUTER: dict[str, Any] = {"inner": {}, "kind": "outer", "point": [1, "a"], "size": 4, "when": "2026-01-01"}


@pydantic.dataclasses.dataclass
class Plain:
    outer: Outer
    name: str = "x"


class Mixed(msgspec.Struct):
    outers: list[Outer]
    plain: Plain
    again: Outer
    circle: Circle


class Box(msgspec.Struct, Generic[T]):
    value: T


MIXED = {"outers": [OUTER], "plain": {"outer": OUTER}, "again": OUTER, "circle": EVERYTHING["other"]}
TYPES: list[tuple[Any, dict[str, Any]]] = [
    (Everything, EVERYTHING),
    (Everything, EVERYTHING | {"parent": EVERYTHING}),
    (Words, {"text": "a"}),
    (Address, {"street": "Main"}),
    (Box[list[Colour]], {"value": ["red"]}),
    (dict[str, int], {"a": 1}),
    (Outer, OUTER),
    (Outer, OUTER | {"children": [OUTER], "second": {"value": 1}}),
    (Plain, {"outer": OUTER}),
    (Mixed, MIXED),
]


@pytest.mark.parametrize(("type_", "value"), TYPES, ids=lambda one: getattr(one, "__name__", ""))
def test_the_schema_of_a_type_keeps_the_rules_and_takes_its_values(type_: Any, value: dict[str, Any]) -> None:
    schema = schema_of(type_)

    check(schema)
    assert normalise(schema) == schema
    assert accepts(schema, value, schema)
    if type_ != dict[str, int]:
        assert not accepts(schema, value | {"unheard_of": 1}, schema), "objects are closed"
    required = schema.get("required", [])
    assert not any(accepts(schema, {name: value[name] for name in value if name != one}, schema) for one in required)
    json.dumps(schema)


def test_a_schema_says_what_the_type_says() -> None:
    schema = schema_of(Everything)
    properties = schema["properties"]

    assert schema["description"] == "A bit of all."
    assert properties["age"] == {"type": "integer", "minimum": 1, "maximum": 149, "description": "In years."}
    assert properties["word"] == {"type": "string", "minLength": 1, "maxLength": 9, "description": "(pattern: ^a)"}
    assert properties["size"] == {"type": "integer", "default": 3}
    # The order of the branches is that of msgspec, which has changed.
    assert sorted(properties["parent"]["anyOf"], key=str) == [{"$ref": "#"}, {"type": "null"}]
    assert properties["shape"] == {"anyOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Square"}]}
    assert properties["favourite"] == {"$ref": "#/$defs/Colour", "description": "The best one."}
    assert properties["other"] == {"description": "Another one.", "anyOf": [{"$ref": "#/$defs/Circle"}]}
    assert schema["$defs"]["Circle"]["properties"]["type"] == {"type": "string", "enum": ["circle"]}
    assert schema["$defs"]["Circle"]["properties"]["radius"] == {"type": "number", "minimum": 0}
    assert properties["maybe"]["anyOf"][0]["description"] == "Perhaps."
    assert "parent" not in schema["required"]


def test_pydantic_inside_of_other_types_keeps_its_own_names() -> None:
    schema = schema_of(Mixed)

    assert set(schema["$defs"]) == {"Outer.0.Outer", "Outer.0.Inner", "Plain", "Circle"}
    assert schema["properties"]["again"] == {"$ref": "#/$defs/Outer.0.Outer"}


@pytest.mark.parametrize("type_", [int, list[int], Address | None, Colour, Pair])
def test_a_type_whose_values_are_no_objects_is_refused_with_advice(type_: Any) -> None:
    with pytest.raises(TypeError, match="must be an object; give the value a name in one"):
        schema_of(type_, root="object")


def test_a_type_that_has_no_schema_is_refused_by_name() -> None:
    class Odd(msgspec.Struct):
        number: complex

    with pytest.raises(TypeError, match=r"(?s)Odd cannot be sent as a schema: .*complex"):
        schema_of(Odd)


STRING, INTEGER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}
ANY_VALUE = {"anyOf": [{"type": one} for one in ("string", "number", "boolean", "object", "array", "null")]}

# What stands in a property, and what comes out of it.
SAYS: dict[str, tuple[Any, Any]] = {
    "a list of types": ({"type": ["string", "null"], "maxLength": 3}, {"anyOf": [STRING | {"maxLength": 3}, NULL]}),
    "a list of one type": ({"type": ["string"]}, STRING),
    "an integer is a number": ({"type": ["integer", "number"]}, {"type": "number"}),
    "nullable": ({"type": "string", "nullable": True, "default": "a"}, {"anyOf": [STRING | {"default": "a"}, NULL]}),
    "oneOf": ({"oneOf": [STRING, NULL]}, {"anyOf": [STRING, NULL]}),
    "const": ({"const": "a"}, STRING | {"enum": ["a"]}),
    "const and enum": ({"const": "a", "enum": ["a", "b"]}, STRING | {"enum": ["a"]}),
    "const null": ({"const": None}, NULL),
    "const true": ({"const": True}, {"type": "boolean"}),
    "const list": ({"const": [1]}, {"type": "array"}),
    "enum without a type": ({"enum": [1, 2, 2]}, INTEGER | {"enum": [1, 2]}),
    "enum with null": ({"type": ["string", "null"], "enum": ["a", None]}, {"anyOf": [STRING | {"enum": ["a"]}, NULL]}),
    "enum of two types": ({"enum": ["a", 1]}, {"anyOf": [STRING | {"enum": ["a"]}, INTEGER | {"enum": [1]}]}),
    "enum of numbers": ({"enum": [1, 2.5]}, {"type": "number", "enum": [1, 2.5]}),
    "enum of one odd number": ({"enum": [1, 1e300]}, {"type": "number"}),
    "enum of whole numbers": ({"type": "number", "enum": [1, 2]}, {"type": "number", "enum": [1, 2]}),
    "enum of other types": ({"type": "string", "enum": [1]}, STRING),
    "enum of bools": ({"type": "boolean", "enum": [True]}, {"type": "boolean"}),
    "enum of objects": ({"enum": [{}]}, {"type": "object"}),
    "enum that is none": ({"type": "string", "enum": []}, STRING),
    "a tuple": (
        {"type": "array", "prefixItems": [INTEGER, STRING], "items": False},
        {"type": "array", "items": {"anyOf": [INTEGER, STRING]}},
    ),
    "a tuple of an older draft": (
        {"type": "array", "items": [INTEGER, INTEGER], "additionalItems": False},
        {"type": "array", "items": INTEGER},
    ),
    "a tuple that may go on": ({"type": "array", "prefixItems": [INTEGER]}, {"type": "array"}),
    "a tuple that is full": (
        {"type": "array", "prefixItems": [INTEGER], "maxItems": 1},
        {"type": "array", "items": INTEGER, "maxItems": 1},
    ),
    "no items": ({"type": "array", "items": False, "minItems": 1}, {"type": "array", "maxItems": 0}),
    "any items": ({"type": "array", "items": {}}, {"type": "array"}),
    "anything": ({}, ANY_VALUE),
    "anything, said so": (True, ANY_VALUE),
    "anything described": ({"description": "x"}, ANY_VALUE | {"description": "x"}),
    "nothing but a not": ({"not": STRING}, ANY_VALUE),
    "no type": ({"minLength": 1}, STRING | {"minLength": 1}),
    "an unknown type": ({"type": "file"}, ANY_VALUE),
    "exclusive bounds": (
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 9},
        INTEGER | {"minimum": 2, "maximum": 8},
    ),
    "exclusive bounds between integers": ({"type": "integer", "exclusiveMinimum": 1.5}, INTEGER | {"minimum": 2}),
    "exclusive bounds of an older draft": (
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": False},
        INTEGER | {"minimum": 2, "maximum": 3},
    ),
    "exclusive bounds of numbers": ({"type": "number", "exclusiveMinimum": 0.5}, {"type": "number", "minimum": 0.5}),
    "bounds that contradict": ({"type": "integer", "minimum": 3, "maximum": 1}, INTEGER),
    "bounds that are no numbers": ({"type": "integer", "minimum": "a", "maximum": True}, INTEGER),
    "bounds beyond what is read": ({"type": "integer", "minimum": -(2**63), "maximum": 2**53}, INTEGER),
    "bounds with an exponent": ({"type": "number", "minimum": 1e-9, "maximum": float("inf")}, {"type": "number"}),
    "lengths that are none": ({"type": "string", "minLength": -1, "maxLength": 2.5}, STRING),
    "lengths with a point": ({"type": "string", "minLength": 1.0}, STRING | {"minLength": 1}),
    "a pattern": (
        {"type": "string", "pattern": "a", "format": "uri", "title": "A", "examples": ["a"]},
        STRING | {"description": "(format: uri, pattern: a)"},
    ),
    "a format that is described": (
        {"anyOf": [{"type": "string", "format": "date", "description": "When."}, NULL]},
        {"anyOf": [STRING | {"description": "When. (format: date)"}, NULL]},
    ),
    "a format of a number": ({"type": "integer", "format": "int64"}, INTEGER),
    "a format that is none": ({"type": "string", "format": 5}, STRING),
    "a default of another type": ({"type": "string", "default": 1}, STRING),
    "a default": ({"type": "number", "default": 1}, {"type": "number", "default": 1}),
    "a default that is false": ({"type": "boolean", "default": False}, {"type": "boolean", "default": False}),
    "a default beside anyOf": ({"anyOf": [STRING, NULL], "default": "a"}, {"anyOf": [STRING, NULL]}),
    "a default with an exponent": ({"type": "number", "default": 1e-9}, {"type": "number"}),
    "a broken default": ({"type": "integer", "default": 1.5}, INTEGER),
    "a description that is none": ({"type": "string", "description": 5}, STRING),
    "a record": (
        {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}},
        {"type": "object", "additionalProperties": STRING | {"description": "(format: uri)"}},
    ),
    "a record of anything": (
        {"type": "object", "additionalProperties": {}},
        {"type": "object", "additionalProperties": True},
    ),
    "a record of nothing": (
        {"type": "object", "additionalProperties": {"anyOf": [False]}},
        {"type": "object", "additionalProperties": False},
    ),
    "a record by patterns": (
        {"type": "object", "patternProperties": {"^a": INTEGER}, "additionalProperties": False},
        {"type": "object", "additionalProperties": INTEGER},
    ),
    "patterns beside others": ({"type": "object", "patternProperties": {"^a": INTEGER}}, {"type": "object"}),
    "a property that cannot be": (
        {"type": "object", "properties": {"a": False, "b": STRING}, "required": ["a", "b", "b", "c", 5]},
        {"type": "object", "properties": {"b": STRING}, "required": ["b"]},
    ),
    "words beside anyOf": (
        {"type": "object", "properties": {"a": STRING}, "anyOf": [{"required": ["a"]}, {"maxProperties": 1}, True]},
        {
            "anyOf": [
                {"type": "object", "properties": {"a": STRING}, "required": ["a"]},
                {"type": "object", "properties": {"a": STRING}},
                *ANY_VALUE["anyOf"],
            ]
        },
    ),
    "type beside anyOf": (
        {"type": "string", "anyOf": [{"minLength": 1}, {"enum": ["a"]}]},
        {"anyOf": [STRING | {"minLength": 1}, STRING | {"enum": ["a"]}]},
    ),
    "anyOf that can never be": ({"anyOf": [False, False]}, None),
    "anyOf of one": ({"anyOf": [STRING], "description": "x"}, STRING | {"description": "x"}),
    "anyOf of the same": ({"anyOf": [STRING, STRING]}, STRING),
    "anyOf in anyOf": ({"anyOf": [STRING, {"oneOf": [INTEGER, NULL]}]}, {"anyOf": [STRING, INTEGER, NULL]}),
    "anyOf and oneOf": ({"anyOf": [STRING, NULL], "oneOf": [INTEGER]}, {"anyOf": [STRING, NULL]}),
    "branches that are described": (
        {"description": "A shape.", "anyOf": [STRING | {"description": "Its name."}, INTEGER, NULL]},
        {"anyOf": [STRING | {"description": "A shape. Its name."}, INTEGER | {"description": "A shape."}, NULL]},
    ),
    "allOf": (
        {
            "allOf": [
                {"type": "object", "properties": {"a": STRING, "b": STRING}, "required": ["a"]},
                {
                    "properties": {"b": {"maxLength": 2}, "c": NULL},
                    "required": ["a", "c"],
                    "additionalProperties": False,
                },
                {"additionalProperties": True, "description": "x"},
            ]
        },
        {
            "type": "object",
            "properties": {"a": STRING, "b": STRING | {"maxLength": 2}, "c": NULL},
            "required": ["a", "c"],
            "additionalProperties": False,
            "description": "x",
        },
    ),
    "allOf of bounds": (
        {"allOf": [{"type": "number", "minimum": 1, "maximum": 9}, {"type": "integer", "minimum": 3, "maximum": 5}]},
        INTEGER | {"minimum": 3, "maximum": 5},
    ),
    "allOf of an integer and a number": ({"allOf": [INTEGER, {"type": "number"}]}, INTEGER),
    "allOf that contradicts": ({"allOf": [STRING | {"minLength": "x"}, INTEGER, {"minLength": "y"}]}, STRING),
    "allOf of items": (
        {"allOf": [{"type": "array", "items": STRING}, {"items": {"maxLength": 2}}]},
        {"type": "array", "items": STRING | {"maxLength": 2}},
    ),
    "allOf of choices": (
        {"allOf": [{"anyOf": [STRING, NULL]}, {"anyOf": [INTEGER, NULL]}]},
        {"anyOf": [STRING, NULL]},
    ),
    "allOf of values": ({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, INTEGER | {"enum": [2]}),
    "allOf with what is none": ({"allOf": [STRING, True, 5], "pattern": "a"}, STRING | {"description": "(pattern: a)"}),
    "allOf that is none": ({"allOf": "x", "type": "string"}, STRING),
    "no schema": (5, ANY_VALUE),
}


@pytest.mark.parametrize(("given", "said"), SAYS.values(), ids=SAYS)
def test_a_schema_is_said_in_the_dialect(given: Any, said: Any) -> None:
    whole = {"type": "object", "properties": {"a": given}}
    before = json.dumps(whole)

    schema = normalise(whole)

    assert schema == {"type": "object", "properties": {} if said is None else {"a": said}}
    check(schema)
    assert normalise(schema) == schema
    assert json.dumps(whole) == before, "what was given is as it was"


def with_definitions(given: Any, **definitions: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": given}, "definitions": definitions, "description": "The root."}


REFERENCES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "definitions": (with_definitions({"$ref": "#/definitions/D"}, D=STRING), {"$ref": "#/$defs/D"}, {"D": STRING}),
    "a name with a slash": (
        with_definitions(
            {"anyOf": [{"$ref": "#/definitions/a~1b"}, {"$ref": "#/definitions/a_b"}]}, **{"a/b": STRING, "a_b": NULL}
        ),
        {"anyOf": [{"$ref": "#/$defs/a_b"}, {"$ref": "#/$defs/a_b_2"}]},
        {"a_b": STRING, "a_b_2": NULL},
    ),
    "a place": (
        with_definitions({"$ref": "#/definitions/D/items"}, D={"items": {"const": 1}}),
        {"$ref": "#/$defs/items"},
        {"items": INTEGER | {"enum": [1]}},
    ),
    "a place in a list": (
        with_definitions({"$ref": "#/definitions/D/anyOf/1"}, D={"anyOf": [STRING, INTEGER]}),
        {"$ref": "#/$defs/1"},
        {"1": INTEGER},
    ),
    "the root": (with_definitions({"$ref": "#"}), {"$ref": "#"}, {}),
    "the root, described": (
        with_definitions({"$ref": "#", "description": "x"}),
        {"anyOf": [{"$ref": "#"}], "description": "x"},
        {},
    ),
    "a name for a name": (
        with_definitions({"$ref": "#/definitions/D"}, D={"$ref": "#/definitions/E", "description": "d"}, E=STRING),
        {"$ref": "#/$defs/E", "description": "d"},
        {"E": STRING},
    ),
    "names in a ring": (
        with_definitions({"$ref": "#/definitions/D"}, D={"$ref": "#/definitions/E"}, E={"$ref": "#/definitions/D"}),
        ANY_VALUE,
        {},
    ),
    "a definition of anything": (with_definitions({"$ref": "#/definitions/D"}, D=True), ANY_VALUE, {}),
    "a definition that says nothing": (with_definitions({"$ref": "#/definitions/D"}, D={}), ANY_VALUE, {}),
    "a definition of nothing": (
        with_definitions({"$ref": "#/definitions/D"}, D={"anyOf": [False]}),
        {"$ref": "#/$defs/D"},
        {"D": ANY_VALUE},
    ),
    "another document": (with_definitions({"$ref": "https://example.com/a.json"}), ANY_VALUE, {}),
    "nowhere": (
        with_definitions({"$ref": "#/definitions/E/0", "description": "x"}, E=[]),
        ANY_VALUE | {"description": "x"},
        {},
    ),
    "what is no reference": (with_definitions({"$ref": 5, "type": "string"}), STRING, {}),
    "described": (
        with_definitions({"$ref": "#/definitions/D", "description": "x"}, D=STRING),
        {"$ref": "#/$defs/D", "description": "x"},
        {"D": STRING},
    ),
    "to a choice, described": (
        with_definitions({"$ref": "#/definitions/D", "description": "x"}, D={"type": ["string", "null"]}),
        {"anyOf": [{"$ref": "#/$defs/D"}], "description": "x"},
        {"D": {"anyOf": [STRING, NULL]}},
    ),
    "in an allOf of one": (
        with_definitions({"allOf": [{"$ref": "#/definitions/D"}], "description": "x", "default": "a"}, D=STRING),
        {"$ref": "#/$defs/D", "description": "x"},
        {"D": STRING},
    ),
    "with more beside it": (
        with_definitions({"$ref": "#/definitions/D", "maxLength": 3}, D=STRING | {"description": "d", "minLength": 1}),
        STRING | {"minLength": 1, "maxLength": 3, "description": "d"},
        {},
    ),
    "by another name, with more beside it": (
        with_definitions({"$ref": "#/definitions/D", "maxLength": 3}, D={"$ref": "#/definitions/E"}, E=STRING),
        STRING | {"maxLength": 3},
        {},
    ),
    "to itself, with more beside it": (
        with_definitions({"$ref": "#/definitions/D"}, D={"type": "string", "allOf": [{"$ref": "#/definitions/D"}]}),
        {"$ref": "#/$defs/D"},
        {"D": STRING},
    ),
    "to what it is inside of, with more beside it": (
        with_definitions({"$ref": "#/definitions/D"}, D={"items": {"$ref": "#/definitions/D", "minItems": 1}}),
        {"$ref": "#/$defs/D"},
        {"D": {"type": "array", "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/D"}}}},
    ),
    "beside another, from branches": (
        with_definitions(
            {"anyOf": [{"$ref": "#/definitions/D"}, NULL], "description": "x"}, D=STRING | {"description": "d"}
        ),
        {"anyOf": [{"$ref": "#/$defs/D"}, NULL], "description": "x"},
        {"D": STRING | {"description": "d"}},
    ),
    "described branches of references": (
        with_definitions(
            {
                "anyOf": [{"$ref": "#/definitions/D", "description": "y"}, {"$ref": "#/definitions/E"}],
                "description": "x",
            },
            D=STRING,
            E=NULL,
        ),
        {"anyOf": [{"$ref": "#/$defs/D", "description": "x y"}, {"$ref": "#/$defs/E"}]},
        {"D": STRING, "E": NULL},
    ),
    "that ends in nothing": (
        with_definitions(
            {"type": "array", "items": {"anyOf": [*ANY_VALUE["anyOf"], {"$ref": "#/definitions/D"}]}}, D=STRING
        ),
        {"type": "array"},
        {},
    ),
}


@pytest.mark.parametrize(("given", "said", "definitions"), REFERENCES.values(), ids=REFERENCES)
def test_references_lead_to_definitions_of_the_root(
    given: dict[str, Any], said: Any, definitions: dict[str, Any]
) -> None:
    schema = normalise(given)

    assert schema["properties"]["a"] == said
    assert schema.get("$defs", {}) == definitions
    check(schema)
    assert normalise(schema) == schema


@pytest.mark.parametrize("reference", ["Node", "Node#", "#", "Node#/$defs/Self"])
def test_a_reference_may_name_the_whole_schema(reference: str) -> None:
    inner = {"type": "array", "items": {"$ref": reference}}
    definitions = {"Self": {"$ref": "Node"}}

    schema = normalise({"$id": "Node", "type": "object", "properties": {"a": inner}, "$defs": definitions})

    assert schema == {"$id": "Node", "type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}}}


def test_the_root_is_taken_from_where_it_points_to() -> None:
    node = {"type": "object", "description": "d", "properties": {"next": {"$ref": "#/$defs/Node"}}}

    schema = normalise(
        {"$ref": "#/$defs/Alias", "$defs": {"Node": node, "Alias": {"$ref": "#/$defs/Node"}}, "$id": "x"}
    )

    assert schema == {"type": "object", "properties": {"next": {"$ref": "#"}}, "$id": "x", "description": "d"}


@pytest.mark.parametrize(
    "root",
    [STRING, {"anyOf": [{"type": "object"}]}, {"enum": [1]}, {"$ref": "#/$defs/D", "$defs": {"D": STRING}}],
)
def test_a_root_that_is_no_object_is_refused_with_advice(root: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="the root of a schema must be an object; give the value a name"):
        normalise(root, root="object")


@pytest.mark.parametrize("root", [{}, {"title": "x"}, {"$schema": "x"}, {"$ref": "#"}, {"$ref": "#/$defs/no"}])
def test_a_root_that_says_nothing_allows_anything(root: dict[str, Any]) -> None:
    assert normalise(root) == {}


def test_what_is_no_schema_is_refused() -> None:
    whatever: Any = [1]
    with pytest.raises(TypeError, match="a schema is a JSON object, not list"):
        normalise(whatever)


def test_a_root_keeps_what_makes_it_an_object() -> None:
    dropped: list[str] = []
    root = {"type": ["object", "null"], "anyOf": [{"required": ["a"]}], "properties": {"a": True}, "minProperties": 1}

    schema = normalise(root, dropped=dropped, root="object")

    assert schema == {"type": "object", "properties": {"a": ANY_VALUE}, "required": ["a"]}
    assert sorted(dropped) == ["/anyOf", "/minProperties"]


def test_an_object_of_several_kinds_becomes_one_object() -> None:
    dropped: list[str] = []
    file = {"properties": {"name": STRING, "size": INTEGER, "kind": {"const": "file"}}, "required": ["name", "kind"]}
    link = {"properties": {"name": STRING, "kind": {"const": "link"}}, "required": ["kind"]}
    root = {
        "type": "object",
        "properties": {"id": INTEGER, "name": {"maxLength": 9}},
        "required": ["id"],
        "oneOf": [file, {"$ref": "#/definitions/link"}, NULL, False],
        "definitions": {"link": link},
    }

    schema = normalise(root, dropped=dropped)

    assert schema["properties"] == {
        "id": INTEGER,
        "name": STRING | {"maxLength": 9},
        "size": INTEGER,
        "kind": {"anyOf": [STRING | {"enum": ["file"]}, STRING | {"enum": ["link"]}]},
    }
    assert schema["required"] == ["id", "kind"]
    assert dropped == ["/oneOf"]
    assert "additionalProperties" not in schema


def test_one_object_of_several_allows_no_more_properties_than_they() -> None:
    closed = {"properties": {"a": STRING}, "additionalProperties": False}

    assert normalise({"type": "object", "anyOf": [closed]})["additionalProperties"] is False
    assert normalise({"type": "object", "anyOf": [closed], "properties": {"a": STRING}})["properties"] == {"a": STRING}
    outer = normalise({"type": "object", "anyOf": [closed], "additionalProperties": False})
    assert outer == {"type": "object", "properties": {}, "additionalProperties": False}
    assert normalise({"type": "object", "anyOf": [NULL], "properties": []}) == {"type": "object"}


def test_what_is_left_out_is_told_with_its_place() -> None:
    dropped: list[str] = []

    normalise(
        {
            "type": "object",
            "properties": {
                "a/b": {"type": ["string", "integer"], "pattern": "x", "minimum": 1, "minLength": 1},
                "c": {"type": "array", "items": {"type": "string", "format": "uri"}, "uniqueItems": True},
                "d": {"oneOf": [{"type": "integer", "multipleOf": 2}, NULL]},
                "e": {"$ref": "other.json"},
                "f": {"type": "object", "additionalProperties": {"pattern": "x"}},
            },
        },
        dropped=dropped,
    )

    assert sorted(dropped) == [
        "/properties/a~1b/pattern",
        "/properties/c/items/format",
        "/properties/c/uniqueItems",
        "/properties/d/oneOf/0/multipleOf",
        "/properties/e/$ref",
        "/properties/f/additionalProperties/pattern",
    ]


def test_notes_that_are_left_out_are_told_too() -> None:
    dropped: list[str] = []
    inner = {"type": "string", "title": "A", "examples": ["a"], "description": "Kept.", "default": 5, "$defs": {}}

    normalise(
        {"$schema": "x", "type": "object", "$id": "y", "default": {}, "properties": {"a": inner}}, dropped=dropped
    )
    normalise({"title": "x", "$ref": "#/nowhere", "description": "z", "default": 1}, dropped=dropped)

    assert dropped == [
        *("/default", "/$schema", "/properties/a/title", "/properties/a/examples", "/properties/a/default"),
        *("/description", "/default", "/$ref", "/title"),
    ]


LOST: dict[str, tuple[dict[str, Any], list[str]]] = {
    "bounds that cannot be written": ({"type": "number", "minimum": 1e-9, "maximum": 3}, ["minimum"]),
    "bounds of large integers": (
        {"type": "integer", "minimum": -(2**63), "exclusiveMaximum": 2**63},
        ["minimum", "exclusiveMaximum"],
    ),
    "bounds that contradict": ({"type": "array", "minItems": 2, "maxItems": 1}, ["minItems", "maxItems"]),
    "an exclusive bound of integers": ({"type": "integer", "exclusiveMinimum": 1}, []),
    "a const by its name": ({"const": True}, ["const"]),
    "some values of several types": ({"enum": ["a", [1], None]}, ["enum"]),
    "numbers that cannot be written": ({"enum": [1, 1e300]}, ["enum"]),
    "values of another type": ({"type": "null", "enum": [1]}, ["enum"]),
    "all values of their types": ({"enum": [None, True, False, "a"]}, []),
    "too many values": ({"enum": [*range(1001)]}, ["enum"]),
    "alternatives that meet others": (
        {"anyOf": [STRING, NULL], "allOf": [{"anyOf": [INTEGER, NULL]}, {"anyOf": [STRING, NULL]}]},
        ["allOf"],
    ),
    "alternatives beside other words": (
        {"anyOf": [STRING, STRING | {"minLength": 1}], "allOf": [{"type": "string"}, {"maxLength": 3}]},
        [],
    ),
    "alternatives that meet themselves": ({"anyOf": [STRING, NULL], "allOf": [{"anyOf": [STRING, NULL]}]}, []),
    "names that are not described": (
        {"type": "object", "properties": {"a": STRING}, "required": ["a", "b"]},
        ["required"],
    ),
    "what is said of an item of a tuple": (
        {"type": "array", "prefixItems": [STRING, {"type": "string", "format": "date"}], "items": False},
        ["prefixItems", "prefixItems/1/format"],
    ),
    "what is said of an item of an older tuple": (
        {"type": "array", "items": [STRING], "additionalItems": {"type": "string", "format": "date"}},
        ["additionalItems", "additionalItems/format"],
    ),
    "what is said of names with a pattern": (
        {
            "type": "object",
            "patternProperties": {"^/": {"type": "array", "uniqueItems": True}},
            "properties": {"anyOf": {"type": "string", "format": "date"}},
            "additionalProperties": {"type": "string", "format": "time"},
        },
        [
            *("patternProperties", "properties/anyOf", "properties/anyOf/format", "additionalProperties/format"),
            "patternProperties/^~1/uniqueItems",
        ],
    ),
}


@pytest.mark.parametrize(("given", "lost"), LOST.values(), ids=LOST)
def test_what_is_lost_is_told_by_its_place_in_what_is_given(given: dict[str, Any], lost: list[str]) -> None:
    dropped: list[str] = []

    normalise({"type": "object", "properties": {"a": given}}, dropped=dropped)

    assert sorted(dropped) == sorted(f"/properties/a/{one}" for one in lost)


def test_places_in_the_definition_that_the_root_names_are_places_there() -> None:
    dropped: list[str] = []
    user = {
        "type": "object",
        "title": "U",
        "properties": {"a": {"type": "string", "format": "date"}, "b": {"$ref": "#/definitions/List%3CB%3E"}},
        "minProperties": 1,
    }
    definitions = {"User": user, "List<B>": {"type": "array", "uniqueItems": True}}

    schema = normalise(
        {"$ref": "#/definitions/User", "$schema": "x", "description": "One.", "definitions": definitions},
        dropped=dropped,
    )

    assert schema["description"] == "One."
    assert sorted(dropped) == [
        "/$schema",
        "/definitions/List<B>/uniqueItems",
        *(f"/definitions/User/{word}" for word in ("minProperties", "properties/a/format", "title")),
    ]


NAMES = {"required": STRING, "": INTEGER, "{a}": {"enum": ["x"]}, "b": STRING, "c/d": STRING}


def test_a_property_that_cannot_be_named_is_allowed_all_the_same() -> None:
    dropped: list[str] = []
    inner = {"type": "object", "properties": NAMES, "required": ["required", "b"], "additionalProperties": False}

    schema = normalise(
        {"type": "object", "properties": {"at": inner, "to": {"$ref": "#/$defs/I"}}, "$defs": {"I": inner}},
        dropped=dropped,
    )

    outside, inside = schema["properties"]["at"], schema["$defs"]["I"]
    others = {"anyOf": [STRING, INTEGER, STRING | {"enum": ["x"]}]}
    assert outside["properties"] == {"b": STRING, "c/d": STRING}
    assert outside["required"] == ["b"]
    assert outside["additionalProperties"] == inside["additionalProperties"] == others
    assert outside["description"] == "(further properties: required, {a})"
    assert inside["properties"] == {"b": STRING}
    assert "/properties/at/properties/required" in dropped
    assert "/$defs/I/properties/c~1d" in dropped


def test_patterns_of_names_stand_beside_other_properties() -> None:
    schema = normalise(
        {"type": "object", "patternProperties": {"^a": INTEGER}, "additionalProperties": STRING}, root="object"
    )

    assert schema["additionalProperties"] == {"anyOf": [INTEGER, STRING]}


def test_more_than_the_dialect_lists_is_left_out() -> None:
    dropped: list[str] = []
    many = {"enum": [*range(1001), *map(float, range(2000, 3000)), "a"]}
    texts = {"enum": [*range(1001), *map(str, range(1001))]}
    kinds = {"anyOf": [STRING | {"maxLength": length} for length in range(501)]}

    schema = normalise({"type": "object", "properties": {"a": many, "b": kinds, "c": texts}}, dropped=dropped)

    assert schema["properties"] == {
        "a": {"anyOf": [INTEGER, STRING | {"enum": ["a"]}]},
        "b": ANY_VALUE,
        "c": {"anyOf": [INTEGER, STRING]},
    }
    assert dropped == ["/properties/a/enum", "/properties/b/anyOf", "/properties/c/enum"]


def test_a_schema_beyond_the_limits_is_refused() -> None:
    deep: dict[str, Any] = STRING
    for _ in range(31):
        deep = {"type": "object", "properties": {"a": deep}}

    with pytest.raises(ValueError, match=r"cannot be said in the dialect: at /properties/a/.*: Nest less"):
        normalise(deep)


LIST_OF_ROOTS = {"anyOf": [{"type": "array", "maxItems": 0}, {"type": "array", "items": {"$ref": "#"}}]}
ENDINGS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}}, "required": ["a"]},
        {"type": "object", "properties": {"a": LIST_OF_ROOTS}, "required": ["a"]},
        [],
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"$ref": "#"}]}},
            "required": ["a"],
        },
        {
            "type": "object",
            "properties": {"a": {"anyOf": [*LIST_OF_ROOTS["anyOf"], {"$ref": "#"}]}},
            "required": ["a"],
        },
        [],
    ),
    (
        {"type": "array", "minItems": 1, "items": {"type": "array", "items": {"$ref": "#"}}},
        {"type": "array", "minItems": 1, "items": LIST_OF_ROOTS},
        [],
    ),
    (
        {"type": "array", "items": {"$ref": "#"}, "description": "d", "$id": "x"},
        LIST_OF_ROOTS | {"description": "d", "$id": "x"},
        [],
    ),
    (
        {"type": "object", "properties": {"a": {"$ref": "#"}, "b": STRING}, "required": ["a", "b"]},
        {"type": "object", "properties": {"a": {"$ref": "#"}, "b": STRING}, "required": ["b"]},
        ["/required"],
    ),
    ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, None, ["/required"]),
    ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, {}, ["/type", "/minItems", "/items"]),
]  # type: ignore[list-item]


@pytest.mark.parametrize(("given", "said", "lost"), ENDINGS)
def test_what_has_no_end_is_given_one(given: dict[str, Any], said: Any, lost: list[str]) -> None:
    dropped: list[str] = []

    schema = normalise(given, dropped=dropped)

    assert schema == (said if said is not None else {"type": "object", "properties": {"a": {"$ref": "#"}}})
    assert dropped == lost
    assert normalise(schema) == schema


def test_objects_are_closed_where_it_is_asked_for() -> None:
    inner = {"type": "object", "properties": {}}
    root = {
        "type": "object",
        "properties": {"a": inner, "b": inner | {"additionalProperties": True}, "c": {"type": "object"}},
    }

    schema = normalise(root, closed=True)

    assert schema["additionalProperties"] is False
    assert schema["properties"]["a"]["additionalProperties"] is False
    assert schema["properties"]["b"]["additionalProperties"] is True
    assert "additionalProperties" not in schema["properties"]["c"]
    assert "additionalProperties" not in normalise(root)


ALIASES = {
    "A": {"anyOf": [{"$ref": "#/$defs/B"}], "description": "a"},
    "B": {"oneOf": [{"$ref": "#/$defs/C"}]},
    "C": STRING,
}
LOOPS = {"A": {"anyOf": [{"$ref": "#/$defs/B"}]}, "B": {"anyOf": [{"$ref": "#/$defs/A"}]}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"$defs": ALIASES, "anyOf": [{"$ref": "#/$defs/B"}]}, STRING),
        ({"$defs": ALIASES, "anyOf": [{"$ref": "#/$defs/A"}], "description": "b"}, STRING | {"description": "b"}),
        (
            {"$defs": ALIASES, "type": "array", "items": {"$ref": "#/$defs/A"}},
            {"type": "array", "items": {"$ref": "#/$defs/C", "description": "a"}, "$defs": {"C": STRING}},
        ),
        ({"$defs": LOOPS, "anyOf": [{"$ref": "#/$defs/A"}]}, {}),
    ],
)
def test_a_choice_of_one_reference_is_that_reference(given: dict[str, Any], said: dict[str, Any]) -> None:
    schema = normalise(given)

    assert schema == said
    assert normalise(schema) == schema


def test_a_schema_without_an_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"type": "array", "items": deep}
    ring: dict[str, Any] = {"type": "object"}
    ring["properties"] = {"a": ring}

    for schema in ({"type": "object", "properties": {"a": deep}}, ring):
        with pytest.raises(ValueError, match="nested too deeply, or contains itself"):
            normalise(schema)


def test_a_schema_that_would_grow_without_bound_is_refused() -> None:
    definitions: dict[str, Any] = {f"D{n}": {"allOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2} for n in range(40)}
    definitions |= {"D40": {"allOf": [{"type": "object"}, {"type": "object"}]}}

    with pytest.raises(ValueError, match="becomes too large"):
        normalise({"allOf": [{"$ref": "#/$defs/D0"}, {"type": "object"}], "$defs": definitions})


numbers = st.none() | st.integers(-5, 5) | st.floats()
names = st.sampled_from(["a", "b", "c/d", ""])
pointers = st.sampled_from(["#", "#/$defs/a", "#/definitions/b", "#/properties/a", "#/$defs/c~1d", "x.json", "#/"])


def words_around(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(schemas, max_size=3)
    records = st.dictionaries(names, schemas, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from([*WORDS, "file", 5]) | st.lists(st.sampled_from([*WORDS]), max_size=3),
            "anyOf": lists,
            "oneOf": lists,
            "allOf": lists,
            "$ref": pointers,
            "properties": records | st.none(),
            "required": st.lists(names, max_size=3) | st.none(),
            "additionalProperties": schemas,
            "patternProperties": records,
            "items": schemas | lists,
            "prefixItems": lists,
            "additionalItems": schemas,
            "enum": st.lists(numbers | st.booleans() | names | st.just([]), max_size=4) | st.none(),
            "const": numbers | names,
            "nullable": st.booleans(),
            "description": st.sampled_from(["d", "e", "", 5]),
            "default": numbers | names | st.booleans(),
            "minLength": numbers,
            "maxItems": numbers,
            "minItems": numbers,
            "minimum": numbers,
            "maximum": numbers,
            "exclusiveMinimum": numbers | st.booleans(),
            "pattern": st.just("x"),
            "$defs": records,
        },
    )


leaves = st.booleans() | st.just({}) | st.just({"type": "string"})
# By hand: `st.recursive` complains of an example that happens to hold no inner schema.
schemas = leaves | words_around(leaves | words_around(leaves))


@given(words_around(schemas), st.dictionaries(names, schemas), st.dictionaries(names, schemas), st.booleans())
def test_any_schema_comes_out_in_the_dialect_and_comes_out_again(
    schema: dict[str, Any], definitions: dict[str, Any], older: dict[str, Any], closed: bool
) -> None:
    root = {**schema, "type": "object", "$defs": definitions, "definitions": older}
    root.pop("$ref", None)

    try:
        once = normalise(root, closed=closed, root="object")
    except TypeError:
        assume(False)  # an `allOf` says that it is no object

    check(once)
    assert lint(once, "strict") == refusals(once) == []
    service.check(once)
    assert normalise(once, closed=closed) == once
    assert normalise(json.loads(json.dumps(once))) == (once if closed else normalise(once))


@settings(max_examples=40)
@given(schemas, st.dictionaries(names, schemas), st.booleans())
def test_any_root_comes_out_in_the_dialect_and_comes_out_again(
    schema: Any, definitions: dict[str, Any], closed: bool
) -> None:
    assume(isinstance(schema, dict))

    once = normalise({**schema, "$defs": definitions}, closed=closed)

    assert lint(once, "strict") == []
    assert normalise(once, closed=closed) == once


def test_nothing_of_this_needs_pydantic() -> None:
    program = """
import sys
sys.modules["pydantic"] = None
import dataclasses
from moonshot_async.mfjs import schema_of
@dataclasses.dataclass
class A:
    a: int
assert schema_of(A)["required"] == ["a"]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
