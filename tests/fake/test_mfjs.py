from typing import Any

import pytest

from moonshot_async.fake import mfjs

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def holding(property: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": property}, **more}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = holding(schema)
    return schema


def in_lists(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def referring(definition: Any, **beside: Any) -> dict[str, Any]:
    return holding({"$ref": "#/$defs/B", **beside}, **{"$defs": {"B": definition}})


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": ["object"], "$id": "a", "title": "A", "description": "b", "$defs": {}},
        PERSON,
        holding({"type": "array"}),
        holding({"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1}),
        holding({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "a", "default": None}),
        holding({"anyOf": [{"type": "string", "description": "b"}], "description": "a"}),
        holding({"type": "string", "enum": ["a", "b"], "default": "c"}),
        holding({"type": "integer", "enum": [1, 2.0]}),
        holding({"type": "number", "enum": [1, 2.5]}),
        holding({"type": "object", "additionalProperties": {}}),
        holding({"type": "object", "additionalProperties": {"type": "string"}}, additionalProperties=False),
        holding({"type": "string", "pattern": "a+", "format": "email", "const": "a", "examples": [1]}),
        holding({"type": "number", "exclusiveMinimum": 0, "multipleOf": 2}, **{"$schema": "x", "oneOf": 3}),
        referring({"type": "string"}, description="a", title="A"),
        referring({"type": "string", "title": "B"}, description="a", title="A"),
        referring({"anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/B"}, {"type": "null"}]}),
        holding({"type": ["string", "null"], "enum": ["a", None]}),
        holding({"type": ["null", "integer"], "enum": [1, None]}),
        holding({"type": "boolean", "enum": [True]}),
        holding({"type": "array", "enum": [[], [1]]}),
        holding({"type": "array", "items": {"$ref": "#"}}),
        holding(
            {"anyOf": [{"type": "array", "maxItems": 0}, {"type": "array", "items": {"$ref": "#"}}]}, required=["a"]
        ),
        {**holding({"$ref": "#"}, required=["a", "b"]), "properties": {"a": {"$ref": "#"}, "b": {"type": "null"}}},
        {**PERSON, "$defs": {"B": {"$ref": "#", "properties": {}}}},
        holding({"$ref": "#"}),
        holding({"$ref": "#/$defs/B/properties/name"}, **{"$defs": {"B": PERSON}}),
        {
            "type": "object",
            "$defs": {
                f"D{n}": {"type": "object", "properties": {f"p{m}": {"$ref": f"#/$defs/D{m}"} for m in range(20)}}
                for n in range(20)
            },
        },
        {
            "type": "object",
            "properties": {"{id}": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": []}},
        },
        {**PERSON, "not": {"properties": {"a": {"$ref": "#"}}, "anyOf": [{"$ref": "#"}, 1], "$defs": {"$ref": 1}}},
        {**PERSON, "not": {"$ref": "#"}, "$defs": {"B": {**PERSON, "not": {"not": {"$ref": 1}}}}},
        referring({"type": "string", "title": "b"}, title="a"),
        *(
            holding({"$ref": "#/$defs/B/default", "title": "a"}, **{"$defs": {"B": {"type": "null", "default": odd}}})
            for odd in ({"$ref": 3}, {"anyOf": [3]}, {"anyOf": 3}, {"type": "object", "required": 3})
        ),
        nested(30),
        holding(in_lists(40)),
    ],
)
def test_the_dialect_is_accepted_and_unknown_keywords_are_ignored(schema: dict[str, Any]) -> None:
    mfjs.check(schema)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (holding({}), "At path 'properties.a': type is not defined"),
        (holding({"description": "a"}), "At path 'properties.a': type is not defined"),
        (holding({"const": "a"}), "At path 'properties.a': type is not defined"),
        (holding({"enum": ["a"]}), "At path 'properties.a': type is not defined"),
        (holding({"anyOf": [{}]}), "At path 'properties.a.anyOf': type is not defined"),
        (holding({"type": "array", "items": {}}), "At path 'properties.a.items': type is not defined"),
        (holding({"anyOf": [{"type": "string"}], "enum": ["a"]}), "At path 'properties.a': type is not defined"),
        ({"$defs": {"B": {}}, **PERSON}, "At path '$defs.B': type is not defined"),
        (
            {"type": "object", "additionalProperties": {"title": "A"}},
            "At path 'additionalProperties': type is not defined",
        ),
        (
            {"type": "object", "anyOf": [PERSON]},
            "At path 'root': when using anyOf, type should be defined in anyOf items instead of the parent schema",
        ),
        (
            referring(PERSON, type="object"),
            "At path 'properties.a': when using $ref, type should be defined in the referenced schema instead of the "
            "parent schema",
        ),
        (holding({"type": "text"}), "At path 'properties.a': invalid type"),
        (holding({"type": 3}), "At path 'properties.a': type must be string or array of strings"),
        (holding({"type": []}), "At path 'properties.a': type array cannot be empty"),
        (holding({"type": ["string", 3]}), "At path 'properties.a': invalid type in type array"),
        (holding({"type": "string", "description": 3}), "'properties.a.description': description must be a string"),
        (holding("string"), "At path 'properties': property schema for 'a' must be an object"),
        (holding(True), "At path 'properties': property schema for 'a' must be an object"),
        ({"type": "object", "properties": []}, "At path 'properties': properties must be an object"),
        (
            {"type": "object", "properties": {"$ref": {"type": "string"}}},
            "At path 'properties': property name '$ref' is reserved for JSON Schema keywords",
        ),
        ({**PERSON, "required": "name"}, "At path 'required': required must be an array"),
        ({**PERSON, "required": [3]}, "At path 'required': items in required array must be strings"),
        ({**PERSON, "required": ["age"]}, "At path 'required': required property 'age' is not defined in properties"),
        ({"type": "object", "required": ["a"]}, "required property 'a' is not defined in properties"),
        (holding({"type": "array", "items": [{"type": "null"}]}), "'properties.a.items': items must be an object"),
        (holding({"type": "array", "items": False}), "'properties.a.items': items must be an object"),
        ({"type": "object", "additionalProperties": 3}, "additionalProperties must be a boolean or an object"),
        (holding({"anyOf": 3}), "At path 'properties.a.anyOf': anyOf must be an array"),
        (holding({"anyOf": []}), "At path 'properties.a.anyOf': anyOf must have 1-500 items"),
        (holding({"anyOf": [{"type": "null"}] * 501}), "anyOf must have 1-500 items"),
        (holding({"anyOf": ["null"]}), "At path 'properties.a.anyOf': schema in anyOf must be an object"),
        (
            holding({"anyOf": [{"type": "array", "items": {"type": "null"}}], "items": {"type": "null"}}),
            "At path 'properties.a': conflicting keywords found in anyOf with parent: keywords (items) are defined on",
        ),
        (holding({"type": "string", "enum": "a"}), "At path 'properties.a.enum': enum must be an array"),
        (holding({"type": "string", "enum": []}), "At path 'properties.a.enum': enum array cannot be empty"),
        (holding({"type": "integer", "enum": list(range(1001))}), "enum array cannot have more than 1000 items"),
        (holding({"type": "string", "enum": ["a", 1]}), "enum value (1) does not match any type in [string]"),
        (holding({"type": "integer", "enum": [1, 1.5]}), "enum value (1.5) does not match any type in [integer]"),
        (holding({"type": "number", "enum": [1, "a"]}), 'enum value ("a") does not match any type in [number]'),
        (holding({"type": "string", "enum": [True]}), "enum value (true) does not match any type in [string]"),
        (
            holding({"type": ["integer", "null"], "enum": [1, None]}),
            "enum value (null) does not match any type in [integer null]",
        ),
        (
            holding({"type": ["string", "integer"], "enum": ["a", 1]}),
            "At path 'properties.a': when type is array and enum is specified, one of two types must be null",
        ),
        (
            holding({"type": ["string", "null"], "maxLength": 3}),
            "At path 'properties.a': keyword maxLength is not allowed in combination with multiple types",
        ),
        (holding({"$ref": 3}), "At path 'properties.a.$ref': $ref must be a string"),
        (holding({"$ref": "#/definitions/B"}), "At path 'properties.a.$ref': references must start with #/$defs/"),
        (holding({"$ref": "https://a/b.json"}), "At path 'properties.a.$ref': references must start with #/$defs/"),
        (holding({"$ref": "#/$defs/B"}), "At path 'properties.a.$ref': $defs not found for reference: #/$defs/B"),
        (holding({"$ref": "#/$defs/B"}, **{"$defs": {}}), "At path 'root': invalid $ref path: #/$defs/B"),
        (holding({"$ref": "#/$defs/B/c"}, **{"$defs": {}}), "At path 'root': invalid $ref path: #/$defs/B/c"),
        (
            referring({"type": "string", "description": "b"}, description="a"),
            "At path 'properties.a': conflicting keywords found after $ref expansion: description",
        ),
        (
            referring({"type": "string", "enum": ["b"], "description": "b"}, description="a", default="b", maxLength=3),
            "conflicting keywords found after $ref expansion: description",
        ),
        (
            referring({"$ref": "#/$defs/C", "description": "b"}, minLength=1)
            | {"$defs": {"B": {"$ref": "#/$defs/C"}, "C": {"type": "string", "minLength": 2}}},
            "conflicting keywords found after $ref expansion: minLength",
        ),
        (
            referring({"anyOf": [{"type": "string", "maxLength": 1}]}, maxLength=1),
            "conflicting keywords found after $ref expansion: maxLength",
        ),
        (
            referring({"type": "string"}, anyOf=[{"type": "null"}]),
            "conflicting keywords found after $ref expansion: anyOf",
        ),
        (
            holding({"type": "object", "properties": {"{id}": {"type": "string", "enum": ["a"]}}}),
            "At path 'properties.a.properties.{id}': invalid path: properties.a.properties.{id}",
        ),
        (holding({"type": "null", "default": {"$ref": 3}}), "'properties.a.default.$ref': $ref must be a string"),
        (
            holding({"type": "null", "not": {"anyOf": [{"if": {"$ref": "#"}}]}}),
            "At path 'properties.a.not.anyOf.if.$ref': $ref is not allowed in this schema",
        ),
        ({**PERSON, "description": "<" * 20_000}, "At path 'root': schema exceeds maximum allowed size"),
        ({**PERSON, "$defs": 3}, "At path '$defs': $defs must be an object"),
        ({**PERSON, "$defs": {"": PERSON}}, "At path '$defs': $defs property name cannot be empty"),
        (
            {**PERSON, "$defs": {"a/b": PERSON}},
            "At path '$defs': $defs property name 'a/b' cannot contain '/' character",
        ),
        (
            {**PERSON, "$defs": {"a": {"anyOf": [{"type": "object", "properties": {"b/c": PERSON}}]}}},
            "At path '$defs.a.anyOf.properties': $defs property name 'b/c' cannot contain '/' character",
        ),
        ({**PERSON, "$defs": {"B": []}}, "At path '$defs': $defs schema must be object: B"),
        (holding({"type": "null", "$defs": []}), "At path 'properties.a.$defs': $defs must be an object"),
        ({**PERSON, "$id": 3}, "At path '$id': $id must be a string"),
        (holding({"type": "string", "pattern": 3}), "At path 'properties.a.pattern': pattern must be a string"),
        (nested(31), "schema depth exceeds maximum limit of 30"),
        (
            holding(
                {"$ref": "#/$defs/D0"},
                **{"$defs": {f"D{n}": holding({"$ref": f"#/$defs/D{n + 1}"}) for n in range(30)} | {"D30": PERSON}},
            ),
            "At path 'root': schema depth exceeds maximum limit of 30",
        ),
        (holding(in_lists(2000)), "At path 'root': schema depth exceeds maximum limit of 30"),
        (
            {"type": "object", "properties": {f"p{number}": {"type": "null"} for number in range(3001)}},
            "total number of properties keys(3001) across all objects exceeds maximum limit of 3000",
        ),
        (
            holding(
                {"type": "object", "properties": {f"p{number}": {"type": "null"} for number in range(3000)}},
            ),
            "At path 'properties.a': total number of properties keys(3001) across all objects",
        ),
        ({**PERSON, "description": "a" * 120_000}, "At path 'root': schema exceeds maximum allowed size"),
        (holding({"$ref": "#"}, required=["a"]), "detected infinite recursion without termination condition"),
        (
            holding(
                {"anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/B"}]}, required=["a"], **{"$defs": {"B": {"$ref": "#"}}}
            ),
            "detected infinite recursion without termination condition",
        ),
        (
            holding({"type": "array", "items": {"$ref": "#"}}, required=["a"]),
            "At path 'properties.a.items': detected infinite recursion without termination condition",
        ),
    ],
)
def test_the_service_says_what_it_does_not_accept_and_where(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(mfjs.MFJSError) as caught:
        mfjs.check(schema)

    assert message in str(caught.value)


def test_a_root_is_an_object_or_it_is_not() -> None:
    assert mfjs.describes_object({"type": "object"})
    assert mfjs.describes_object({"type": ["object"]})
    assert not mfjs.describes_object({"type": ["object", "null"]})
    assert not mfjs.describes_object({"anyOf": [{"type": "object"}]})
