"""Whatever type a schema is made of: it is in the dialect, and the values of the type are valid."""

import dataclasses
import datetime
import decimal
import enum
import itertools
import json
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Optional, TypedDict, TypeVar, Union

import jsonschema
import msgspec
import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moonshot_async.fake import mfjs as service
from moonshot_async.mfjs import refusals
from moonshot_async.toolkit.schema import lint, schema_of

T = TypeVar("T")
Values = st.SearchStrategy[Any]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Odd(enum.Enum):
    ONE = 1
    TWO = "two"


class Size(enum.IntEnum):
    SMALL = -1
    LARGE = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Marks(enum.IntFlag):
    BOLD = 1
    ITALIC = 4


class Chain(msgspec.Struct):
    """Ends with null."""

    value: int
    next: Optional["Chain"] = None


class Tree(msgspec.Struct):
    """Has a list of itself, which must be there."""

    children: list["Tree"]


class Forest(msgspec.Struct):
    trees: dict[str, "Forest"]
    spare: tuple["Forest", ...]


class Person(msgspec.Struct, tag="person"):
    """Has words of the dialect for names."""

    required: bool
    any_of: int = msgspec.field(name="anyOf", default=0)
    path: str = msgspec.field(name="a/b{c}", default="")
    nothing: int = msgspec.field(name="", default=1)


class Team(msgspec.Struct, tag="team"):
    members: list["Team | Person"]
    lead: Person


@dataclasses.dataclass
class Branch:
    left: "Branch | None"
    right: "Branch | None" = None


class Note(TypedDict):
    text: str
    more: NotRequired[list["Note"]]


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Row(msgspec.Struct, array_like=True):
    name: str
    rows: list["Row"]


class Box(msgspec.Struct, Generic[T]):
    value: T
    boxes: list["Box[T]"]


class Model(pydantic.BaseModel):
    odd: Odd = Odd.ONE
    name: str = pydantic.Field(max_length=3, description="A name.")
    models: list["Model"]
    kind: Literal["a", 1] = "a"


def some(strategy: Values) -> Values:
    return st.lists(strategy, max_size=2)


texts, numbers = st.text(max_size=4), st.integers(-(2**53), 2**53)
floats = st.floats(allow_nan=False, allow_infinity=False)
chains = st.recursive(st.builds(Chain, numbers), lambda inner: st.builds(Chain, numbers, inner), max_leaves=3)
trees = st.recursive(st.just(Tree([])), lambda inner: st.builds(Tree, some(inner)), max_leaves=3)
people = st.builds(Person, st.booleans(), numbers, texts)
KNOWN: list[tuple[Any, Values]] = [
    (Chain, chains),
    (Tree, trees),
    (Forest, st.just(Forest({"a": Forest({}, ())}, (Forest({}, ()),)))),
    (Person, people),
    (Team, st.builds(Team, some(people), people)),
    (Person | Team, people | st.builds(Team, st.just([]), people)),
    (Branch, st.builds(Branch, st.none() | st.just(Branch(None)))),
    (Note, st.just({"text": "a", "more": [{"text": "b"}]})),
    (Point, st.builds(Point, numbers, floats)),
    (Row, st.just(Row("a", [Row("b", [])]))),
    (Box[int], st.just(Box(1, [Box(2, [])]))),
    (Model, st.just({"name": "a", "models": [{"name": "b", "models": []}], "kind": 1, "odd": "two"})),
]
SIMPLE: list[tuple[Any, Values]] = [
    (int, numbers),
    (float, floats),
    (str, texts),
    (bool, st.booleans()),
    (None, st.none()),
    (Any, st.sampled_from([None, 1, "a", [{}], {"a": None}])),
    (bytes, st.binary(max_size=3)),
    (datetime.datetime, st.datetimes()),
    (datetime.timedelta, st.just(datetime.timedelta(seconds=1))),
    (decimal.Decimal, st.just(decimal.Decimal("1.5"))),
    (uuid.UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Rights, st.sampled_from([Rights(0), Rights.READ, Rights.READ | Rights.WRITE])),
    (dict[str, tuple[Marks, Size] | None], st.just({"a": (Marks.BOLD | Marks.ITALIC, Size.SMALL)})),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    (Annotated[int, msgspec.Meta(gt=0, lt=9, multiple_of=3, description="Few.")], st.sampled_from([3, 6])),
    (Annotated[float, msgspec.Meta(ge=0.5, lt=1e300)], st.floats(0.5, 9)),
    (Annotated[str, msgspec.Meta(min_length=1, max_length=3, pattern="^a", title="A")], st.sampled_from(["a", "abc"])),
    (Annotated[list[int], msgspec.Meta(min_length=1, max_length=2)], st.lists(numbers, min_size=1, max_size=2)),
    (Annotated[dict[str, int], msgspec.Meta(min_length=1)], st.just({"a": 1})),
    (Annotated[Tree, msgspec.Meta(description="Described.")], trees),
    (Annotated[int | None, msgspec.Meta(examples=[1], extra_json_schema={"default": 1})], st.just(None)),
]


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, Values]:
    """A type and its values."""
    shape = draw(st.sampled_from(["simple", "known", *(SHAPES if depth else ())]))
    if shape in ("simple", "known"):
        return draw(st.sampled_from(SIMPLE if shape == "simple" else KNOWN))
    return draw(SHAPES[shape](depth - 1))


@st.composite
def containers(draw: st.DrawFn, depth: int) -> tuple[Any, Values]:
    one, values = draw(typed(depth))
    two, others = draw(typed(depth))
    return draw(
        st.sampled_from(
            [
                (list[one], some(values)),
                (tuple[one, ...], some(values)),
                (tuple[one, two], st.tuples(values, others)),
                (dict[str, one], st.dictionaries(texts, values, max_size=2)),
                (dict[int, one], st.dictionaries(numbers, values, max_size=2)),
                (Optional[one], st.none() | values),  # noqa: UP045 - `X | None` does not take every annotation
                (Union[one, two], values | others),  # noqa: UP007 - as above
            ]
        )
    )


@st.composite
def records(draw: st.DrawFn, depth: int) -> tuple[Any, Values]:
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "type", "required", "items"]), unique=True, max_size=3))
    members = {name: draw(typed(depth)) for name in names}
    annotations = {name: type_ for name, (type_, _) in members.items()}
    values = {name: values for name, (_, values) in members.items()}
    match draw(st.sampled_from(["struct", "dataclass", "dict", "list"])):
        case "struct":
            struct = msgspec.defstruct(
                f"Struct{next(NUMBERS)}", annotations.items(), kw_only=True, rename=draw(RENAMES)
            )
            return struct, st.builds(struct, **values)
        case "dataclass":
            made = dataclasses.make_dataclass(f"Made{next(NUMBERS)}", annotations.items())
            return made, st.builds(made, **values)
        case "dict":
            # Its name is its own: msgspec takes two of one name for one.
            return TypedDict(f"Dict{next(NUMBERS)}", annotations), st.fixed_dictionaries(values)  # type: ignore[operator]
    listed = msgspec.defstruct(f"Listed{next(NUMBERS)}", annotations.items(), array_like=True)
    return listed, st.builds(listed, **values)


# msgspec tells types apart by their names.
NUMBERS = itertools.count()
RENAMES = st.sampled_from([None, "camel", lambda name: f"${name}", lambda name: {"a": "$ref"}.get(name, name)])
SHAPES = {"containers": containers, "records": records}


def assert_fits(type_: Any, value: Any) -> None:
    schema = schema_of(type_)

    assert lint(schema, "strict") == []
    service.check(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(msgspec.json.encode(value)), schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("type_", "values"), [*SIMPLE, *KNOWN], ids=lambda one: str(one)[:30])
@settings(max_examples=8)
@given(st.data())
def test_a_type_has_a_schema_that_its_values_fit(type_: Any, values: Values, data: st.DataObject) -> None:
    assert_fits(type_, data.draw(values))


@settings(max_examples=60)
@given(st.data())
def test_any_type_has_a_schema_that_its_values_fit(data: st.DataObject) -> None:
    type_, values = data.draw(typed())
    try:
        msgspec.json.Decoder(type_, dec_hook=lambda kind, value: value)
    except TypeError:
        assume(False)  # msgspec tells no two kinds of objects in a union apart

    assert_fits(type_, data.draw(values))


@settings(max_examples=30)
@given(st.data())
def test_a_type_of_objects_can_be_sent(data: st.DataObject) -> None:
    type_, _ = data.draw(records(1))
    try:
        schema = schema_of(type_, root="object")
    except TypeError:
        assume(False)

    assert refusals(schema) == []


def test_docstrings_are_not_indented_as_the_code_is() -> None:
    struct = msgspec.defstruct("Told", [], namespace={"__doc__": "Line.\n\n    More.\n    "})

    assert schema_of(struct)["description"] == "Line.\n\nMore."


def test_two_types_of_one_name_are_refused_with_advice() -> None:
    inner = msgspec.defstruct("Twin", [])
    outer = msgspec.defstruct("Twin", [("inner", inner)])

    with pytest.raises(TypeError, match="Twin cannot be sent as a schema: there are two types of one name in it"):
        schema_of(outer)


def test_enums_of_several_types_are_for_pydantic_alone() -> None:
    with pytest.raises(TypeError, match="Odd cannot be sent as a schema: Enums must contain either all str or all int"):
        schema_of(Odd)

    branches = [{"type": "integer", "enum": [1]}, {"type": "string", "enum": ["two"]}]
    assert schema_of(Model)["$defs"]["Odd"] == {"anyOf": branches}
