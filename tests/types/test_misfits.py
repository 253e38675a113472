"""Why a text is no value of a type, and where."""

from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from moonshot_async.types.misfits import misfit_of


class Bus(pydantic.BaseModel):
    kind: Literal["bus"]
    line: str


class Tram(pydantic.BaseModel):
    kind: Literal["tram"]
    cars: list[int]


class Trip(pydantic.BaseModel):
    by: Bus | Tram | None = pydantic.Field(default=None, discriminator="kind")
    size: int | str | None = None
    either: Bus | Tram | None = None
    stops: dict[int, list[int]] = {}
    name: Annotated[str, pydantic.Field(alias="the name"), pydantic.AfterValidator(str.strip)] = ""


class Home(msgspec.Struct):
    buses: list[Bus] = []
    ages: dict[int, int] = {}


def read(type_: Any, text: str) -> Any:
    if issubclass(type_, pydantic.BaseModel):
        return type_.model_validate_json(text)
    return msgspec.json.decode(text, type=type_, dec_hook=lambda inner, value: inner.model_validate(value))


MISFITS: list[tuple[Any, str, str, str | None]] = [
    (Home, '{"ages": {"1": "a"}}', "Expected `int`, got `str`", "$.ages[...]"),
    (Home, '{"ages": {"a": 1}}', "Expected `int`, got `str` for a name", "$.ages"),
    (Home, "1", "Expected `object`, got `int`", "$"),
    (Home, "{", "Input data was truncated", None),
    (Home, '{"buses": [{"kind": "bus", "line": 7}]}', "Input should be a valid string", "$.buses[0].line"),
    (Home, '{"buses": [{"kind": "bus"}]}', "Field required", "$.buses[0].line"),
    (Home, '{"buses": [7]}', "Input should be a valid dictionary or instance of Bus", "$.buses[0]"),
    # Names of tags, alternatives and validators are no steps to a value.
    (Trip, '{"by": {"kind": "bus", "line": 7}}', "Input should be a valid string", "$.by.line"),
    (Trip, '{"by": {"kind": "bus"}}', "Field required", "$.by.line"),
    (Trip, '{"size": [1]}', "Input should be a valid integer", "$.size"),
    (Trip, '{"either": {"kind": "tram", "cars": "1"}}', "Input should be 'bus'", "$.either.kind"),
    (
        Trip,
        '{"stops": {"a": [1]}}',
        "Input should be a valid integer, unable to parse string as an integer",
        "$.stops.a",
    ),
    (Trip, '{"stops": {"1": [1, null]}}', "Input should be a valid integer", "$.stops.1[1]"),
    (Trip, '{"the name": 7}', "Input should be a valid string", "$.the name"),
    (Trip, "[]", "Input should be an object", "$"),
    (Trip, "{", "Invalid JSON: EOF while parsing an object at line 1 column 1", None),
    (Trip, '{"stops": {"1": [1, null]}, "more": NaN}', "Input should be a valid integer", "$.stops.1[1]"),
]


@pytest.mark.parametrize(("type_", "text", "problem", "path"), MISFITS)
def test_what_is_wrong_is_told_with_its_place_and_without_the_value(
    type_: Any, text: str, problem: str, path: str | None
) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)) as caught:
        read(type_, text)

    assert misfit_of(caught.value, text) == (problem, path)
