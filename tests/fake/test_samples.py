import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moonshot_async.fake.conforming import conforms
from moonshot_async.fake.samples import UnusableSchemaError, is_endless, sample


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=9, max_length=12)]
    colour: Colour
    weight: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    count: Annotated[int, msgspec.Meta(ge=10, le=12)]
    kind: Literal["leaf"] = "leaf"


class Tree(msgspec.Struct):
    leaves: Annotated[list[Leaf], msgspec.Meta(min_length=2)]
    pair: tuple[int, str]
    parent: "Tree | None" = None
    children: list["Tree"] = []
    tags: dict[str, int] = {}


def test_a_sample_of_a_deep_schema_decodes_into_the_type_that_wrote_it() -> None:
    value = sample(msgspec.json.schema(Tree), "Oslo")

    tree = msgspec.convert(value, Tree)
    assert len(tree.leaves) == 2
    assert tree.leaves[0].name == "OsloOsloO"


@given(st.data())
def test_an_integer_lies_within_its_bounds(data: st.DataObject) -> None:
    low = data.draw(st.integers(-1000, 1000))
    high = data.draw(st.integers(low, 1000))
    for lower, upper in (({"minimum": low}, {"maximum": high}), ({"exclusiveMinimum": low - 1}, {}), ({}, {})):
        value = sample({"type": "integer", **lower, **upper})
        assert isinstance(value, int)
        assert value >= low or not lower
        assert value <= high or not upper


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1),
        ({"type": "integer", "multipleOf": 5}, 5),
        ({"type": "integer", "exclusiveMaximum": -3}, -4),
        ({"type": "integer", "minimum": 5, "maximum": 4}, 0),
        ({"type": "number"}, 1.5),
        ({"type": "number", "minimum": 2}, 2),
        ({"type": "number", "exclusiveMinimum": 2}, 3),
        ({"type": "number", "exclusiveMaximum": -2}, -3),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "string"}, "Oslo"),
        ({"type": "string", "maxLength": 2}, "Os"),
        ({"type": "string", "minLength": 6}, "OsloOs"),
        ({"type": "string", "format": "date"}, "2026-11-22"),
        ({"type": "string", "enum": ["Rome", "oslo"]}, "oslo"),
        ({"enum": [3, 4]}, 3),
        ({"const": 7}, 7),
        ({"default": None, "anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"type": "integer", "default": None}, 1),
        ({"type": "integer", "default": 9, "maximum": 3}, 1),
        ({"type": "integer", "minimum": 2**60 + 1, "maximum": 2**60 + 2}, 2**60 + 1),
        ({"type": "object", "required": ["a"], "additionalProperties": {"type": "null"}}, {"a": None}),
        ({"type": "object", "required": ["a"]}, {"a": "Oslo"}),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "Oslo"),
        ({"oneOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"anyOf": [{"maxLength": 1}], "type": "string"}, "O"),
        ({}, "Oslo"),
        (True, "Oslo"),
        ({"properties": {"a": {"type": "null"}}}, {"a": None}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, []),
        ({"type": "array", "prefixItems": [{"type": "null"}], "items": False}, [None]),
        ({"type": "array"}, ["Oslo"]),
        ({"type": "array", "items": True}, ["Oslo"]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, None),
        ({"$ref": "#/$defs/gone"}, "Oslo"),
        ({"$ref": "#/$defs/gone/deeper"}, "Oslo"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, {}),
        (
            {
                "type": "object",
                "allOf": [
                    {"properties": {"a": {"type": "null"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "boolean"}}},
                ],
            },
            {"a": None, "b": True},
        ),
    ],
)
def test_a_sample_fits(schema: Any, value: Any) -> None:
    assert sample(schema, "Oslo") == value


def test_an_empty_hint_still_fills_a_string() -> None:
    assert sample({"type": "string", "minLength": 3}, "") == "xxx"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"next": {"$ref": "#"}}}, {"next": {}}),
        ({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}, {"next": {"next": {}}}),
        (
            {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
            {"next": {"next": None}},
        ),
        ({"anyOf": [{"$ref": "#"}]}, {}),
        ({"type": "array", "items": {"$ref": "#"}}, [[]]),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 3}, [[], [], []]),
        ({"type": "array", "prefixItems": [{"type": "null"}], "minItems": 2, "items": {"$ref": "#"}}, [None, [None]]),
        (
            {
                "$ref": "#/$defs/node",
                "$defs": {
                    "node": {
                        "type": "object",
                        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/link"}, {"type": "null"}]}},
                        "required": ["next"],
                    },
                    "link": {"type": "object", "properties": {"to": {"$ref": "#/$defs/node"}}, "required": ["to"]},
                },
            },
            {"next": {"to": {"next": None}}},
        ),
        (
            {
                "type": "object",
                "properties": {"pairs": {"type": "array", "items": {"$ref": "#/$defs/pair"}}},
                "$defs": {
                    "pair": {
                        "anyOf": [
                            {"type": "array", "items": {"$ref": "#/$defs/pair"}, "minItems": 2},
                            {"type": "boolean"},
                        ]
                    }
                },
            },
            {"pairs": [[True, True]]},
        ),
        (
            {
                "type": "object",
                "properties": {
                    "never": {"$ref": "#/$defs/endless"},
                    "nothing": {"type": "array", "items": {"$ref": "#/$defs/endless"}},
                    "way": {"anyOf": [{"$ref": "#/$defs/endless"}, {"type": "boolean"}]},
                },
                "$defs": {
                    "endless": {
                        "type": "object",
                        "properties": {"me": {"$ref": "#/$defs/endless"}},
                        "required": ["me"],
                    }
                },
            },
            {"nothing": [], "way": True},
        ),
    ],
)
def test_a_schema_that_contains_itself_comes_to_an_end(schema: Any, value: Any) -> None:
    assert sample(schema) == value


def test_a_wide_schema_that_contains_itself_stays_small() -> None:
    schema = {"type": "object", "properties": {f"child{n}": {"$ref": "#"} for n in range(9)}}

    assert len(msgspec.json.encode(sample(schema))) < 1000


def test_schemas_that_refer_to_each_other_stay_small() -> None:
    names = [f"kind{n}" for n in range(30)]
    kind = {"type": "object", "properties": {name: {"$ref": f"#/$defs/{name}"} for name in names}}

    value = sample({"$ref": "#/$defs/kind0", "$defs": dict.fromkeys(names, kind)})

    assert len(msgspec.json.encode(value)) < 20_000


def test_a_schema_for_more_than_any_answer_holds_gives_as_much_as_is_of_use() -> None:
    assert len(sample({"type": "string", "minLength": 10**12})) == 2_000_000
    with pytest.raises(UnusableSchemaError, match="too many values"):
        sample({"type": "array", "items": {"type": "null"}, "minItems": 10**12})


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda properties, required: {
            "type": "object",
            "properties": properties,
            "required": sorted(required & properties.keys()),
            "additionalProperties": False,
        },
        st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
        st.sets(st.sampled_from("abcd")),
    )


TYPES = st.sampled_from(
    [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "string", "minLength": 3, "maxLength": 9},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "integer", "minimum": -3, "maximum": 5},
        {"type": "integer", "default": None},
        {"type": ["number", "null"]},
        {"type": "number", "minimum": 1.5},
        *({"$ref": f"#/$defs/{name}"} for name in "ABC"),
        {"$ref": "#"},
    ]
)
SCHEMAS = st.recursive(
    TYPES,
    lambda inner: (
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 2))
        | st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
        | objects(inner)
    ),
    max_leaves=8,
)


@given(objects(SCHEMAS), st.fixed_dictionaries(dict.fromkeys("ABC", SCHEMAS)), st.text(max_size=12))
def test_a_sample_fits_any_schema_that_a_value_can_fit(root: Any, definitions: Any, hint: str) -> None:
    schema = {**root, "$defs": definitions}
    assume(not is_endless(schema))

    value = sample(schema, hint)

    assert conforms(value, schema, lambda reference: schema if reference == "#" else definitions[reference[-1]])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": 3},
        {"anyOf": 3},
        {"anyOf": {}, "enum": {"a": 1}},
        {"allOf": [{"$ref": 3}, 4]},
        {"$ref": 3},
        {"$ref": []},
        {"type": "string", "minLength": "many"},
        {"type": "integer", "minimum": "low"},
        {"type": "number", "multipleOf": 0.1, "minimum": 1e308},
        {"type": "thing", "default": 3},
    ],
)
def test_a_schema_that_makes_no_sense_is_reported(schema: Any) -> None:
    with pytest.raises(UnusableSchemaError, match="the JSON schema cannot be used"):
        sample(schema)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "properties", "items", "anyOf", "allOf", "enum", "$ref", "minItems", "required"]
                ),
                inner | st.sampled_from(["object", "array", "#", "integer"]),
            )
        ),
    )
)
def test_no_schema_does_any_other_harm(schema: Any) -> None:
    is_endless(schema if isinstance(schema, dict) else {})
    try:
        sample(schema)
    except UnusableSchemaError:
        pass
