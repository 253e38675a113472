"""Make a schema from a type, make a foreign one fit, and see what is wrong with one. Needs no key and no network."""

import json
from typing import Annotated, Any, Literal

import msgspec

from moonshot_async.errors import SchemaError
from moonshot_async.toolkit.schema import check, lint, normalise, schema_of


class Step(msgspec.Struct):
    """One step of a recipe."""

    text: str
    minutes: Annotated[int, msgspec.Meta(gt=0)] | None = None


class Recipe(msgspec.Struct):
    title: str
    course: Literal["starter", "main", "dessert"]
    steps: list[Step]


# As another program, or a tool server, might describe its arguments.
FOREIGN: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "unit": {"oneOf": [{"const": "g"}, {"const": "oz"}]},
        "amount": {"type": ["number", "null"], "multipleOf": 0.5},
        "from": {"$ref": "#/definitions/place"},
    },
    "definitions": {"place": {"type": "string", "format": "uri"}},
    "required": ["unit"],
}

WRONG: dict[str, Any] = {
    "type": "object",
    "properties": {"size": {"type": "string", "anyOf": [{"enum": ["S", "L"]}]}, "count": {"type": "int"}},
    "required": ["size", "colour"],
}


def show(title: str, schema: dict[str, Any]) -> None:
    print(f"{title}:\n{json.dumps(schema, indent=2)}\n")


def main() -> None:
    # A type: its schema is in the dialect, and can be sent as `parameters` of a tool or in `response_format`.
    show("The schema of a recipe", schema_of(Recipe))

    # A schema for other services: `dropped` takes the places of what Moonshot's dialect has no words for.
    dropped: list[str] = []
    show("A foreign schema, made to fit", normalise(FOREIGN, dropped=dropped))
    print("Left out:", *dropped, sep="\n  ")

    # A schema that the API would refuse: where, what to do, and which rule it is.
    print("\nWhat is wrong with this one:")
    for finding in lint(WRONG):
        print(f"  {finding}")
    try:
        check(WRONG, name="My schema")
    except SchemaError as error:
        print(f"\nSo it is not sent, if it is strict: {len(error.findings)} reasons.")


if __name__ == "__main__":
    main()
