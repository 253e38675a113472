"""Arguments as models write them, and what a model is told of those that do not fit."""

import copy
import enum
import pickle
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from pydantic import BaseModel, Field, field_validator

from moonshot_async.errors import ConfigurationError, MoonshotError, ToolArgumentsError
from moonshot_async.toolkit.functions import Tool, ToolContext, tool


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Person:
    name: str
    age: int = 0


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: int
    y: int = 0


class Node(msgspec.Struct):
    kind: Literal["a", "b"]
    inner: "Node | None" = None


class User(BaseModel):
    age: int = Field(ge=0)
    tags: list[str] = []

    @field_validator("tags")
    @classmethod
    def _few(cls, tags: list[str]) -> list[str]:
        if len(tags) > 2:
            raise ValueError("too many of them")
        return tags


@pydantic.dataclasses.dataclass
class Size:
    width: int = Field(gt=0)


SEEN: list[Any] = []


def keep(**values: Any) -> str:
    SEEN.append(values)
    return "kept"


@tool
def everything(
    city: str = "",
    count: int = 0,
    part: float = 0.0,
    unit: Literal["C", "F"] = "C",
    level: Literal[1, 2, 3] = 1,
    colour: Colour = Colour.RED,
    people: list[Person] = [],  # noqa: B006  # never changed
    points: dict[str, Point] = {},  # noqa: B006  # never changed
    by_number: dict[int, int] = {},  # noqa: B006  # never changed
    when: datetime | None = None,
    price: Decimal = Decimal(0),
    tree: Node | None = None,
    few: Annotated[list[int], msgspec.Meta(max_length=2)] = [],  # noqa: B006  # never changed
    user: User | None = None,
    users: list[User] = [],  # noqa: B006  # never changed
    size: Size | None = None,
    held: "dict[str, Holder] | None" = None,
    anything: Any = None,
) -> str:
    return keep(**{name: value for name, value in locals().items() if value})


class Holder(msgspec.Struct):
    user: User


@tool
def nothing() -> str:
    return "nothing"


async def fault(arguments: str, of: Tool[..., Any] = everything) -> ToolArgumentsError:
    with pytest.raises(ToolArgumentsError) as caught:
        await of.call(arguments)
    return caught.value


# What is taken.


@pytest.mark.parametrize("arguments", ["", " \n", "{}", "null", '"{}"', "```json\n{}\n```", "```\n{}\n```\n"])
async def test_no_arguments_are_written_in_many_ways(arguments: str) -> None:
    assert await nothing.call(arguments) == "nothing"


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"city": "Oslo"}', {"city": "Oslo"}),
        ('  {"city": "Oslo"}\n', {"city": "Oslo"}),
        ('{"city": "a\nb\tc"}', {"city": "a\nb\tc"}),
        ('"{\\"city\\": \\"Oslo\\"}"', {"city": "Oslo"}),
        ('```json\n{"city": "Oslo"}\n```', {"city": "Oslo"}),
        ('{"city": "```"}', {"city": "```"}),
        ('{"city": "x", "city": "y"}', {"city": "y"}),
        ('{"count": 3.0}', {"count": 3}),
        ('{"count": 1e2, "part": 0.5, "people": [{"name": "a", "age": 2.0}]}', None),
        ('{"part": 3}', {"part": 3.0}),
        ('{"count": 36893488147419103232}', {"count": 2**65}),
        ('{"price": "0.10"}', {"price": Decimal("0.10")}),
        ('{"when": null}', {}),
        ('{"colour": "blue"}', {"colour": Colour.BLUE}),
        ('{"user": {"age": 3}}', {"user": User(age=3)}),
        ('{"users": [{"age": 3}]}', {"users": [User(age=3)]}),
        ('{"held": {"a": {"user": {"age": 3}}}}', {"held": {"a": Holder(User(age=3))}}),
        ('{"size": {"width": 3}}', {"size": Size(width=3)}),
        ('{"tree": {"kind": "a", "inner": {"kind": "b"}}}', {"tree": Node("a", Node("b"))}),
        ('{"points": {"p": {"x": 1}}}', {"points": {"p": Point(1)}}),
        ('{"by_number": {"1": 2}}', {"by_number": {1: 2}}),
        ('{"anything": [1, {"a": null}]}', {"anything": [1, {"a": None}]}),
    ],
)
async def test_values_are_of_their_types(arguments: str, value: dict[str, Any] | None) -> None:
    assert await everything.call(arguments) == "kept"

    seen = SEEN.pop()
    expected = {"count": 100, "part": 0.5, "people": [Person("a", 2)]} if value is None else value
    assert {name: seen[name] for name in expected} == expected
    assert seen.keys() <= {*expected, "unit", "level", "colour"}


async def test_what_is_left_out_is_the_functions_own_default() -> None:
    mine: list[int] = []

    @tool
    def f(a: list[int] = mine, b: Any = Colour, /, c: int = 2, *, d: dict[str, int] = {}) -> list[Any]:  # noqa: B006
        assert a is mine or a == [1]
        assert b is Colour
        return [a, c, d]

    assert await f.call("{}") == "[[],2,{}]"
    assert await f.call('{"a": [1], "d": {"x": 1}, "c": 0}') == '[[1],0,{"x":1}]'


async def test_parameters_are_passed_as_the_signature_wants_them() -> None:
    @tool
    def f(a: int, ctx: ToolContext[str], b: int, /, c: int, *, d: int = 4) -> list[Any]:
        return [a, b, c, d, ctx.context, ctx.tool_name, ctx.call_id, ctx.step, ctx.messages]

    assert await f.call('{"d": 9, "c": 3, "b": 2, "a": 1}', context="mine") == '[1,2,3,9,"mine","f","",0,[]]'
    given = ToolContext("theirs", "id:0", "g", 2, ({"role": "user", "content": "hush"},))
    assert await f.call('{"c": 3, "b": 2, "a": 1}', context=given) == (
        '[1,2,3,4,"theirs","g","id:0",2,[{"role":"user","content":"hush"}]]'
    )
    assert "hush" not in repr(given)
    assert "theirs" not in repr(given)


async def test_a_name_may_be_whatever_a_parameter_can_be_called() -> None:
    @tool
    def f(self: int, name: int, type: int, properties: int, a0: int, _x: int, größe: int, __init__: int) -> list[int]:
        return [self, name, type, properties, a0, _x, größe, __init__]

    names = ("self", "name", "type", "properties", "a0", "_x", "größe", "__init__")
    text = msgspec.json.encode({name: place for place, name in enumerate(names)}).decode()
    assert await f.call(text) == "[0,1,2,3,4,5,6,7]"


# What is told.


@pytest.mark.parametrize(
    ("arguments", "path", "said"),
    [
        ('{"city": 1}', "$.city", "$.city: expected `str`, got `int`."),
        ('{"count": "SECRET"}', "$.count", "$.count: expected `int`, got `str`."),
        ('{"count": 1.5}', "$.count", "$.count: expected `int`, got `float`."),
        ('{"count": 1e300}', "$.count", "$.count: expected `int`, got `float`."),
        ('{"unit": "SECRET"}', "$.unit", '$.unit must be "C" or "F".'),
        ('{"level": 9}', "$.level", "$.level must be 1, 2 or 3."),
        ('{"colour": "SECRET"}', "$.colour", '$.colour must be "blue" or "red".'),
        ('{"citty": "SECRET"}', "$.citty", "$.citty is unknown (do you mean city?): it can be city, count, "),
        ('{"people": [{"name": "a"}, {}]}', "$.people[1].name", "$.people[1].name is missing."),
        ('{"points": {"p": {"x": 1, "z": 1}}}', "$.points[...].z", "$.points[...].z is unknown: it can be x or y."),
        ('{"by_number": {"SECRET": 1}}', "$.by_number", "$.by_number has a key that does not fit: expected `int`"),
        ('{"tree": {"kind": "a", "inner": {"kind": "SECRET"}}}', "$.tree.inner.kind", '.kind must be "a" or "b".'),
        ('{"few": [1, 2, 3]}', "$.few", "$.few: expected `array` of length <= 2."),
        ('{"when": "SECRET"}', "$.when", "$.when: invalid RFC3339 encoded datetime."),
        ('{"user": {"age": "SECRET"}}', "$.user.age", "$.user.age: Input should be a valid integer"),
        (
            '{"users": [{"age": 1}, {"age": -1, "tags": ["a", "b", "c"]}]}',
            "$.users[1].age",
            "$.users[1].age: Input should be greater than or equal to 0; $.users[1].tags: Value error, too many of th",
        ),
        ('{"held": {"a": {"user": {}}}}', "$.held[...].user.age", "$.held[...].user.age: Field required."),
        ('{"size": {"width": 0}}', "$.size.width", "$.size.width: Input should be greater than 0."),
        ("[]", "$", "$: expected `object`, got `array`."),
        ('"SECRET"', "$", "$: expected `object`, got `str`."),
        ('"[]"', "$", "$: expected `object`, got `array`."),
        ('{"city": "SECRET"', None, "they are no JSON object: "),
        ("SECRET", None, "they are no JSON object: "),
        ('{"city": "a"} SECRET', None, "they are no JSON object: "),
        ('{"part": NaN}', None, "they are no JSON object: "),
        ('{"city": "\\ud83d"}', None, "they are no JSON object: "),
        ('{"city": "\ud83d"}', None, "they are no JSON object: "),
        ('{"anything": ' + "[" * 100_000, None, "they are "),
        ("```json\n{'city': 'SECRET'}\n```", None, "they are no JSON object: "),
        ('```json\n{"city": 1}\n```', "$.city", "$.city: expected `str`, got `int`."),
    ],
)
async def test_what_does_not_fit_is_said_with_its_path(arguments: str, path: str | None, said: str) -> None:
    error = await fault(arguments)

    assert said in str(error)
    assert str(error).startswith("The arguments of everything are not valid: ")
    assert (error.tool, error.path, error.text) == ("everything", path, arguments)
    assert "SECRET" not in str(error) + repr(error)
    assert error.__cause__ is error.__context__ is None


async def test_numbers_that_json_has_not_are_not_taken_for_nothing() -> None:
    @tool
    def f(part: float | None) -> str:
        return "taken"

    assert (await fault('{"part": 1e999}', f)).path == "$.part"
    assert (await fault("{'part': 1e999}", f)).path is None


async def test_a_function_without_parameters_says_so() -> None:
    error = await fault('{"city": "Oslo"}', nothing)

    assert str(error) == "The arguments of nothing are not valid: $.city is unknown: nothing can be given."


async def test_long_lists_of_values_and_faults_are_cut() -> None:
    class Many(BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int

    @tool
    def f(letter: Literal[tuple(f"v{n}" for n in range(10, 50))], many: Many | None = None) -> None: ...  # type: ignore[valid-type]

    assert str(await fault('{"letter": "w"}', f)).endswith('"v39" or 10 others.')
    assert str(await fault('{"letter": "v10", "many": {}}', f)).endswith("; and 1 more.")

    @tool
    def g(word: Literal["x" * 3000, "y"]) -> None: ...  # type: ignore[valid-type]

    assert len(str(await fault('{"word": "w"}', g))) < 1100


async def test_the_error_is_a_value_error_and_survives_pickling() -> None:
    error = await fault('{"city": 1}')

    assert isinstance(error, MoonshotError)
    assert isinstance(error, ValueError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(twin), twin.tool, twin.path, twin.text) == (str(error), error.tool, error.path, error.text)


async def test_arguments_are_text() -> None:
    with pytest.raises(TypeError, match="nothing: the arguments are JSON text, not dict"):
        await nothing.call({})  # type: ignore[arg-type]


def test_pydantic_and_msgspec_mix_as_far_as_they_can() -> None:
    class Own(msgspec.Struct):
        x: int

    def f(pair: tuple[Own, User]) -> None: ...

    assert tool(f).param

    def g(either: Own | User) -> None: ...

    with pytest.raises(ConfigurationError, match="'either' cannot be of type"):
        tool(g)
