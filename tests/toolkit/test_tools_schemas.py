"""Signatures of all kinds: the service takes their schemas, and what a model sends arrives as it was meant."""

import asyncio
import enum
import inspect
import itertools
import typing
from collections.abc import Callable
from dataclasses import make_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from moonshot_async.fake.rules.tools import check_tools
from moonshot_async.toolkit.functions import Tool, ToolContext, tool
from moonshot_async.toolkit.schema import lint

# A type, and a strategy for its values.
Kind = tuple[Any, st.SearchStrategy[Any]]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Tree(msgspec.Struct):
    """Refers to itself."""

    name: str
    inner: list["Tree"] = []


class Chain(TypedDict):
    value: int
    rest: "Chain | None"


class Pair(NamedTuple):
    left: int
    right: str = ""


class User(BaseModel):
    """Of pydantic."""

    age: int
    boss: Optional["User"] = None


_users = st.builds(User, age=st.integers(), boss=st.none() | st.builds(User, age=st.integers()))
_moments = st.datetimes(timezones=st.just(UTC))
_trees = st.recursive(
    st.builds(Tree, st.text(max_size=3)),
    lambda inner: st.builds(Tree, st.text(max_size=3), st.lists(inner, max_size=2)),
)
_chains = st.recursive(
    st.fixed_dictionaries({"value": st.integers(), "rest": st.none()}),
    lambda inner: st.fixed_dictionaries({"value": st.integers(), "rest": inner}),
    max_leaves=4,
)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)

LEAVES: list[Kind] = [
    (str, st.text()),
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (None, st.none()),
    (Any, _plain),
    (bytes, st.binary(max_size=8)),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    (datetime, _moments),
    (date, st.dates()),
    (timedelta, st.timedeltas(timedelta(-99), timedelta(99))),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Number, st.sampled_from(Number)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Literal[1, 2, None], st.sampled_from([1, 2, None])),
    (int | str, st.integers() | st.text()),
    (Annotated[int, msgspec.Meta(ge=1, lt=9)], st.integers(1, 8)),
    (Annotated[str, msgspec.Meta(min_length=1, pattern="^a")], st.just("ab")),
    (Tree, _trees),
    (Chain, _chains),
    (Pair, st.builds(Pair, st.integers(), st.text())),
    (User, _users),
    (list[User] | None, st.none() | st.lists(_users, max_size=2)),
]
# Those that pydantic knows, too, and reads as msgspec writes them.
OF_PYDANTIC = [kind for kind in LEAVES if kind[0] not in (bytes, Tree, Chain)]
NAMES = st.sampled_from(
    ["a", "b", "name", "type", "items", "properties", "description", "default", "enum", "größe", "_x"]
)


def _optional(kind: Kind) -> Kind:
    return Optional[kind[0]], st.none() | kind[1]  # noqa: UP045  # None has no `|`


def _list(kind: Kind) -> Kind:
    return list[kind[0]], st.lists(kind[1], max_size=2)  # type: ignore[name-defined]  # a type made at run time


def _dict(kind: Kind) -> Kind:
    return dict[str, kind[0]], st.dictionaries(st.text(max_size=3), kind[1], max_size=2)  # type: ignore[name-defined]


def _pair(kind: Kind) -> Kind:
    return tuple[kind[0], int], st.tuples(kind[1], st.integers())  # type: ignore[name-defined]  # as above


# Two types of one name have no schema together.
CALLED = (f"Made{number}" for number in itertools.count())


def _struct(kind: Kind) -> Kind:
    struct = msgspec.defstruct(next(CALLED), [("value", kind[0]), ("other", int, 3)], forbid_unknown_fields=True)
    return struct, st.builds(struct, kind[1], st.integers())


def _dataclass(kind: Kind) -> Kind:
    made = make_dataclass(next(CALLED), [("value", kind[0])])
    return made, st.builds(made, kind[1])


def _deeper(kinds: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    return st.tuples(st.sampled_from([_optional, _list, _dict, _pair, _struct, _dataclass]), kinds).map(
        lambda made: made[0](made[1])
    )


KINDS: st.SearchStrategy[Kind] = st.recursive(st.sampled_from(LEAVES), _deeper, max_leaves=3)


class Parameter(NamedTuple):
    name: str
    type: Any
    values: st.SearchStrategy[Any]
    how: Any
    has_default: bool
    described: bool


@st.composite
def functions(draw: st.DrawFn) -> tuple[list[Parameter], dict[str, Any], bool]:
    """Parameters, values for some of them, and whether there is a context."""
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    hows = sorted(draw(st.sampled_from([0, 1, 3])) for _ in names)
    parameters, must = [], False
    for name, how in zip(reversed(names), reversed(hows), strict=True):
        type_, values = draw(KINDS)
        # Who is passed by place must not follow one with a default.
        has_default = draw(st.booleans()) and not (how < 3 and must)
        must = must or (how < 3 and not has_default)
        parameters.insert(0, Parameter(name, type_, values, how, has_default, draw(st.booleans())))
    given = {one.name: draw(one.values) for one in parameters if not one.has_default or draw(st.booleans())}
    return parameters, given, draw(st.booleans())


def made(parameters: list[Parameter], called: list[dict[str, Any]], *, context: bool) -> Callable[..., Any]:
    """A function that notes what it was called with."""
    kinds = {
        0: inspect.Parameter.POSITIONAL_ONLY,
        1: inspect.Parameter.POSITIONAL_OR_KEYWORD,
        3: inspect.Parameter.KEYWORD_ONLY,
    }
    signature = [
        inspect.Parameter(
            one.name,
            kinds[one.how],
            default=DEFAULT if one.has_default else inspect.Parameter.empty,
            annotation=Annotated[one.type, "told"] if one.described else one.type,
        )
        for one in parameters
    ]
    if context:
        signature.append(inspect.Parameter("ctx", kinds[3], annotation=ToolContext[int]))
    whole = inspect.Signature(signature)

    def function(*args: Any, **kwargs: Any) -> None:
        called.append(whole.bind(*args, **kwargs).arguments)

    function.__signature__ = whole  # type: ignore[attr-defined]  # Python looks there first
    return function


DEFAULT = object()


def encoded(value: Any) -> Any:
    return value.model_dump(mode="json")


@settings(max_examples=150)
@given(functions())
def test_the_service_takes_any_signature_and_values_arrive(case: tuple[list[Parameter], dict[str, Any], bool]) -> None:
    parameters, given_values, context = case
    called: list[dict[str, Any]] = []
    one: Tool[..., Any] = tool(made(parameters, called, context=context))

    check_tools(typing.cast("Any", {"tools": [one.param], "messages": []}))
    asyncio.run(one.call(msgspec.json.encode(given_values, enc_hook=encoded).decode(), context=3))

    (seen,) = called
    assert context == ("ctx" in seen)
    if context:
        assert seen.pop("ctx").context == 3
    # What is passed by place cannot be left out before what is given.
    assert {name: value for name, value in seen.items() if value is not DEFAULT} == given_values
    schema: Any = one.param["function"]["parameters"]
    assert lint(schema) == []
    assert list(schema["properties"]) == [parameter.name for parameter in parameters]
    assert schema.get("required", []) == [parameter.name for parameter in parameters if not parameter.has_default]
    for parameter in parameters:
        assert not parameter.described or "told" in str(schema["properties"][parameter.name])


@settings(max_examples=60)
@given(st.sampled_from(OF_PYDANTIC).flatmap(lambda kind: st.tuples(st.just(kind[0]), kind[1])))
def test_models_of_pydantic_hold_whatever_they_hold(case: tuple[Any, Any]) -> None:
    type_, value = case
    model = create_model("Made", value=(type_, ...))
    called: list[Any] = []

    @tool
    def f(one: model) -> None:  # type: ignore[valid-type]  # made at run time
        called.append(one)

    check_tools(typing.cast("Any", {"tools": [f.param], "messages": []}))
    asyncio.run(f.call(msgspec.json.encode({"one": {"value": value}}, enc_hook=encoded).decode()))
    assert called[0].value == value
