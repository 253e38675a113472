from typing import Any

import pytest

from moonshot_async.fake.conforming import conforms

CITY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (3, True),
        (None, {}),
        (None, {"type": "null"}),
        (True, {"type": "boolean"}),
        (3, {"type": "integer", "minimum": 3, "maximum": 3}),
        (3.0, {"type": "integer"}),
        (3, {"type": "number"}),
        ("a", {"type": ["null", "string"], "minLength": 1, "maxLength": 1}),
        ("a", {"enum": ["a", "b"]}),
        ([1, 2], {"type": "array", "items": {"type": "integer"}, "minItems": 2}),
        ({"name": "Oslo", "more": 1}, CITY),
        ({"name": "Oslo", "more": 1}, {**CITY, "additionalProperties": {"type": "integer"}}),
        ("a", {"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ({"name": "Oslo"}, {"$ref": "#/city"}),
    ],
)
def test_a_value_conforms(value: Any, schema: Any) -> None:
    assert conforms(value, schema, lambda reference: CITY)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (0, {"type": "null"}),
        (1, {"type": "boolean"}),
        (True, {"type": "integer"}),
        (3.5, {"type": "integer"}),
        ("3", {"type": "number"}),
        (2, {"type": "integer", "minimum": 3}),
        (4, {"type": "number", "maximum": 3.5}),
        ("", {"type": "string", "minLength": 1}),
        ("ab", {"type": "string", "maxLength": 1}),
        ("c", {"enum": ["a", "b"]}),
        ([1], {"type": "array", "minItems": 2}),
        ([1, 2], {"type": "array", "maxItems": 1}),
        ([1, "2"], {"type": "array", "items": {"type": "integer"}}),
        ({}, CITY),
        ({"name": 3}, CITY),
        ({"name": "Oslo", "more": 1}, {**CITY, "additionalProperties": False}),
        ({"name": "Oslo", "more": "1"}, {**CITY, "additionalProperties": {"type": "integer"}}),
        (3, {"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ({"city": "Oslo"}, {"$ref": "#/city"}),
    ],
)
def test_a_value_does_not_conform(value: Any, schema: Any) -> None:
    assert not conforms(value, schema, lambda reference: CITY)
