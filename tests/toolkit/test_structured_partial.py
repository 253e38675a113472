"""Values of a type while their JSON text arrives, in whatever pieces, and whatever the text is."""

import dataclasses
import datetime
import decimal
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import cycle, pairwise
from types import NoneType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    TypeAlias,
    TypedDict,
    TypeVar,
)

import msgspec
import pydantic
import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from moonshot_async.mfjs import is_pydantic
from moonshot_async.structured import validator
from moonshot_async.toolkit.structured.partial_plans import takes_of
from moonshot_async.toolkit.structured.partial_shapes import ArrayShape
from moonshot_async.toolkit.structured.partial_values import MOST_LEVELS, PartialValue

T = TypeVar("T")


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Person(msgspec.Struct, rename="camel"):
    full_name: str
    age: int = 0
    friends: "list[Person]" = []


class Cat(msgspec.Struct, tag="cat"):
    name: str
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    name: str
    toys: list[str] = []


class Place(TypedDict):
    city: str
    country: NotRequired[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    label: str = "here"


class Box(msgspec.Struct, Generic[T]):
    value: T


@dataclasses.dataclass
class Pair(Generic[T]):
    one: T
    both: list[T]


# --- What a value may become


def extends(part: Any, whole: Any) -> bool:
    """Whether a value may become another one by growing alone."""
    if part is UNSET:
        return True
    if isinstance(part, str):
        return isinstance(whole, str) and whole.startswith(part)
    if isinstance(part, (list, tuple)) and not hasattr(part, "_fields"):
        return (
            type(part) is type(whole)
            and len(part) <= len(whole)
            and part[:-1] == whole[: max(0, len(part) - 1)]
            and all(map(extends, part, whole))
        )
    if isinstance(part, (set, frozenset)):
        return type(part) is type(whole) and part <= whole
    if isinstance(part, dict):
        names = list(part)
        return (
            isinstance(whole, dict)
            and names == list(whole)[: len(names)]
            and all(part[name] == whole[name] for name in names[:-1])
            and all(extends(part[name], whole[name]) for name in names)
        )
    if names := fields_in(whole):
        return isinstance(part, type(whole)) and all(extends(getattr(part, n), getattr(whole, n)) for n in names)
    return type(part) is type(whole) and bool(part == whole)


def fields_in(value: Any) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if isinstance(value, pydantic.BaseModel):
        return list(type(value).model_fields)
    return list(getattr(value, "__struct_fields__", ()))


@pytest.mark.parametrize(
    ("part", "whole"),
    [(1, 2), (1, True), ("ab", "ac"), ([1, 2], [1]), (["a", "b"], ["ab", "b"]), ({"b": 1}, {"a": 1, "b": 1}), ([], ())],
)
def test_the_relation_that_these_tests_look_for_knows_what_is_no_extension(part: Any, whole: Any) -> None:
    assert not extends(part, whole)
    assert not extends(Person(part), Person(whole))


# --- Telling


def pieces(text: str, sizes: Sequence[int] = (1,)) -> Iterator[str]:
    """The text in pieces of these sizes, over and over."""
    at = 0
    for size in cycle(sizes):
        if at >= len(text):
            return
        yield text[at : at + size]
        at += size


def told(type_: Any, text: str, sizes: Sequence[int] = (1,)) -> list[Any]:
    """The values that are told of a text."""
    partial: PartialValue[Any] = PartialValue(type_, pydantic=is_pydantic(type_))
    return [partial.value() for piece in pieces(text, sizes) if partial.feed(piece)]


def check(type_: Any, text: str, sizes: Sequence[int] = (1,)) -> list[Any]:
    """What is told of any text at all: it only grows, and into what the text is read as, if it can be read."""
    partial: PartialValue[Any] = PartialValue(type_, pydantic=is_pydantic(type_))
    values = [partial.value() for piece in pieces(text, sizes) if partial.feed(piece)]
    for before, after in pairwise(values):
        assert extends(before, after)
        assert type(before) is not type(after) or before != after
    try:
        whole = validator(type_)(text)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return values
    assert all(extends(value, whole) for value in values) or partial.twice
    return values


# --- Types, and values of them


class Kind(NamedTuple):
    """A type, and its values."""

    type: Any
    values: st.SearchStrategy[Any]


texts = st.text(max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
LEAVES: Final = [
    Kind(str, texts),
    Kind(Annotated[str, msgspec.Meta(max_length=6)], texts),
    Kind(int, st.integers(-(2**60), 2**60)),
    Kind(Annotated[int, msgspec.Meta(ge=0)], st.integers(0, 9)),
    Kind(float, st.floats(allow_nan=False, allow_infinity=False)),
    Kind(bool, st.booleans()),
    Kind(NoneType, st.none()),
    Kind(Mood, st.sampled_from(Mood)),
    Kind(Literal["a", "ab", 1], st.sampled_from(["a", "ab", 1])),
    Kind(datetime.date, st.dates()),
    Kind(decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=2)),
    Kind(uuid.UUID, st.uuids()),
    Kind(bytes, st.binary(max_size=5)),
    Kind(str | int | None, texts | st.integers(0, 99) | st.none()),
    Kind(set[int], st.sets(st.integers(0, 9), max_size=3)),
    Kind(frozenset[str], st.frozensets(texts, max_size=3)),
    Kind(tuple[int, str], st.tuples(st.integers(0, 9), texts)),
    Kind(Any, plain),
    Kind(Person, st.builds(Person, texts, st.integers(0, 99), st.lists(st.builds(Person, texts), max_size=2))),
    Kind(Cat | Dog, st.builds(Cat, texts) | st.builds(Dog, texts, st.lists(texts, max_size=2))),
    Kind(Point, st.builds(Point, st.integers(0, 9), texts)),
    Kind(Place, st.fixed_dictionaries({"city": texts}, optional={"country": texts})),
]


def objects_of(kinds: list[Kind]) -> Kind:
    """A struct with fields of these kinds, every other one with a default."""
    fields: list[Any] = []
    for place, kind in enumerate(kinds):
        if place % 2 and kind.type is str:
            fields.append((f"field_{place}", str | UnsetType, UNSET))
        elif place % 2:
            fields.append((f"field_{place}", kind.type | None, None))
        else:
            fields.append((f"field_{place}", kind.type))
    struct = msgspec.defstruct("Made", fields, rename="camel" if len(kinds) > 1 else None, kw_only=True)
    required = {f"field_{place}": kind.values for place, kind in enumerate(kinds) if not place % 2}
    optional = {f"field_{place}": kind.values for place, kind in enumerate(kinds) if place % 2}
    return Kind(struct, st.fixed_dictionaries(required, optional=optional).map(lambda fields: struct(**fields)))


def larger(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    return (
        inner.map(lambda kind: Kind(list[kind.type], st.lists(kind.values, max_size=3)))
        | inner.map(lambda kind: Kind(tuple[kind.type, ...], st.lists(kind.values, max_size=3).map(tuple)))
        | inner.map(lambda kind: Kind(dict[str, kind.type], st.dictionaries(texts, kind.values, max_size=3)))  # type: ignore[name-defined]
        | inner.map(
            lambda kind: Kind(dict[int, kind.type], st.dictionaries(st.integers(0, 9), kind.values, max_size=3))
        )  # type: ignore[name-defined]
        | inner.map(lambda kind: Kind(kind.type | None, st.none() | kind.values))
        | inner.map(lambda kind: Kind(Box[kind.type], kind.values.map(Box)))
        | st.lists(inner, max_size=4).map(objects_of)
    )


kinds = st.recursive(st.sampled_from(LEAVES), larger, max_leaves=6)
spread = st.lists(st.integers(1, 9), min_size=1, max_size=5)
writing = st.sampled_from(
    [{"separators": (",", ":")}, {"ensure_ascii": False}, {"indent": 1}, {"separators": (" , ", "\t:\r\n")}]
)


def written(value: Any, **how: Any) -> str:
    return json.dumps(json.loads(msgspec.json.encode(value)), **how)


@settings(max_examples=60)
@given(st.data())
def test_whatever_the_type_and_the_pieces_each_value_extends_the_one_before_up_to_the_whole(
    data: st.DataObject,
) -> None:
    kind = data.draw(kinds)
    struct = msgspec.defstruct("Root", [("value", kind.type)])
    text = written(struct(data.draw(kind.values)), **data.draw(writing))

    values = check(struct, text, data.draw(spread))

    # The one field of it has come: all has been told before the end of the text was.
    assert values[-1] == msgspec.json.decode(text, type=struct)


edits = st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.text('{}[],:"\\ 0aeu1-.tn\n', max_size=3))


@settings(max_examples=60)
@given(st.data())
def test_a_text_that_is_spoilt_anywhere_tells_nothing_that_is_wrong(data: st.DataObject) -> None:
    kind = data.draw(kinds)
    struct = msgspec.defstruct("Root", [("value", kind.type), ("more", Person | None, None)])
    text = written(struct(data.draw(kind.values), data.draw(st.none() | st.builds(Person, texts))))
    for at, length, other in data.draw(st.lists(edits, min_size=1, max_size=2)):
        at %= len(text)
        text = text[:at] + other + text[at + length :]

    check(struct, text, data.draw(spread))


PERSON = '{"fullName": "Ann", "age": 7, "friends": [{"fullName": "Bo"}]}'


def test_what_has_not_come_is_unset_and_defaults_come_with_the_end_of_their_object() -> None:
    values = told(Person, PERSON)

    assert values[0] == Person(UNSET, UNSET, UNSET)  # type: ignore[arg-type]  # so it is told
    assert values[1] == Person("", UNSET, UNSET)  # type: ignore[arg-type]
    assert Person("Ann", 7, UNSET) in values  # type: ignore[arg-type]
    assert Person("Ann", 7, [Person("Bo", UNSET, UNSET)]) in values  # type: ignore[arg-type]
    assert values[-1] == Person("Ann", 7, [Person("Bo")])
    assert all(type(value) is Person for value in values)
    assert [value.age for value in values].count(0) == 0


def test_in_one_piece_only_the_last_value_is_told() -> None:
    assert told(Person, PERSON, [1000]) == [Person("Ann", 7, [Person("Bo")])]


def test_values_that_were_told_stay_as_they_are() -> None:
    partial: PartialValue[Person] = PartialValue(Person)
    partial.feed('{"fullName": "A')
    early = partial.value()
    partial.feed('nn", "friends": [{"fullName": "Bo"}, {"fullName": "C')
    late = partial.value()
    partial.feed('i"}, ')

    assert early == Person("A", UNSET, UNSET)  # type: ignore[arg-type]
    assert len(late.friends) == 2
    # What is whole is shared.
    assert partial.value().friends[0] is late.friends[0]


STRINGS: list[tuple[list[str], list[str]]] = [
    (['{"city": "', "a", "b", '"'], ["", "a", "ab"]),
    (['{"city": "\\ud83d', "\\ude00", '"'], ["", "😀"]),
    (['{"city": "\\ud8', "3d\\ude", "00", "!", '"'], ["", "😀", "😀!"]),
    (['{"city": "x\\ud83d', "\\", "ud", "e00", '"'], ["x", "x😀"]),
    (['{"city": "\\\\ud83d', '"'], ["\\ud83d"]),
    (['{"city": "\\', "n", "\\u00", "e9", '"'], ["", "\n", "\né"]),
    (['{"city": "\\"', '"'], ['"']),
    (['{"city": "😀', "\\/", '"'], ["😀", "😀/"]),
    # No strings at all.
    (['{"city": "a\\ud83d', 'b"', '"}'], ["a"]),
    (['{"city": "a\\ud83d', '"}'], ["a"]),
    (['{"city": "a\\ude00', '"}'], []),
    (['{"city": "a', "\\x", '"}'], ["a"]),
    (['{"city": "a\\u12', "x", '"}'], ["a"]),
    (['{"city": "a', "\n", '"}'], ["a"]),
    (['{"city": "a\\ud83d', "\\t", '"}'], ["a"]),
]


@pytest.mark.parametrize(("given", "cities"), STRINGS)
def test_a_text_is_told_as_far_as_it_is_sure(given: list[str], cities: list[str]) -> None:
    partial: PartialValue[Place] = PartialValue(Place)

    assert [partial.value() for piece in given if partial.feed(piece)] == [{"city": city} for city in cities] or (
        cities == [] and not any(map(partial.feed, given))
    )


class Odd(msgspec.Struct):
    number: int | float | None = None
    mood: Mood | None = None
    either: str | list[int] | dict[str, int] | None = None
    names: dict[Mood, str] = {}
    fixed: tuple[int, str] | None = None
    pair: Pair[int] | None = None
    kept: msgspec.Raw = msgspec.Raw(b"null")
    aged: "Age" = 0  # type: ignore[assignment]


Age = NewType("Age", int)
Row: TypeAlias = Annotated[list[int], msgspec.Meta(max_length=2)]


@pytest.mark.parametrize(
    ("member", "values"),
    [
        ('"number": 12', []),
        ('"number": 12 ', [12]),
        ('"number": -1.5e3,', [-1500.0]),
        ('"mood": "go', []),
        ('"mood": "good"', [Mood.GOOD]),
        ('"mood": null,', [None]),
        ('"either": "ab', ["", "a", "ab"]),
        ('"either": [1, 2]', [[], [1], [1, 2]]),
        ('"either": {"a": 1, "b"', [{}, {"a": 1}]),
        ('"names": {"good": "a"', [{}, {Mood.GOOD: ""}, {Mood.GOOD: "a"}]),
        ('"names": {"odd": "a"', [{}]),
        ('"fixed": [1, "a"]', [(1, "a")]),
        ('"pair": {"one": 1, "both": [2]}', [Pair(UNSET, UNSET), Pair(1, UNSET), Pair(1, []), Pair(1, [2])]),
        ('"kept": {"a": 1}', [msgspec.Raw(b'{"a": 1}')]),
        ('"aged": 3,', [3]),
        # These are of no type that there is; the ones before and behind them are.
        ('"number": "1", "aged": 1,', []),
        ('"number": tru, "aged": 1,', []),
        ('"number": 01, "aged": 1,', []),
        ('"unknown": tru, "aged": 1,', []),
        ('"unknown": [1, 2}, "aged": 1,', []),
        ('"unknown": [1,], "aged": 1,', []),
        ('"unknown": {"a": ["}"]}, "aged": 1,', [1]),
    ],
)
def test_each_kind_of_value_is_told_in_its_way(member: str, values: list[Any]) -> None:
    seen: list[Any] = []
    name = json.loads(member.split(":")[0])
    for value in check(Odd, "{" + member)[1:]:
        now = getattr(value, "aged" if name == "unknown" else name)
        seen += [] if seen and (seen[-1] == now) else [now]

    assert [one for one in seen if one is not UNSET] == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[1]",
        "1 ",
        '"a"',
        "Sure! {}",
        "{,",
        '{"city" "a"',
        '{"city": "a" "b"',
        '{"city": "a",}',
        '{"city": "a",, "country": "b"}',
        '{"city": "a"]',
        '{"city": , "country": "b"}',
        "{1: 2}",
        '{"\\x": 2}',
        '{"city": "a"} {"city": "b"}',
        "` {}",
    ],
)
def test_what_is_no_json_tells_no_more(text: str) -> None:
    for value in check(Place, text):
        assert value in ({}, {"city": ""}, {"city": "a"})


@pytest.mark.parametrize("fence", ["```json\n", "```\r\n", "\n``` \n", "```JSON5\t\n"])
def test_a_fence_of_markdown_is_passed_over(fence: str) -> None:
    assert told(Place, fence + '{"city": "a"}\n```')[-1] == {"city": "a"}
    assert told(Place, "```json {}") == []


def test_a_tagged_struct_is_told_once_its_tag_has_come_wherever_that_stands() -> None:
    class Home(msgspec.Struct):
        pet: Cat | Dog | None

    assert told(Home, '{"pet": {"type": "cat", "na') == [Home(UNSET), Home(Cat(UNSET, UNSET))]  # type: ignore[arg-type]
    late = told(Home, '{"pet": {"toys": ["a", {"type": "cat"}], "type": "cat"}}')
    assert late == [Home(UNSET), Home(Cat(UNSET, UNSET))]  # type: ignore[arg-type]
    late = told(Home, '{"pet": {"toys": ["a"], "type" : "dog", "name": "Rex", "x": 1}}')
    assert late[1:3] == [Home(Dog(UNSET, ["a"])), Home(Dog("", ["a"]))]  # type: ignore[arg-type]
    assert late[-1] == Home(Dog("Rex", ["a"]))
    for odd in ('"cow"', "true", "1", '["cat"]', "null"):
        assert told(Home, f'{{"pet": {{"type": {odd}, "name": "a"}}}}') == [Home(UNSET)]  # type: ignore[arg-type]


def test_a_text_that_turns_out_to_be_too_long_stays_as_it_was_told() -> None:
    class Short(msgspec.Struct):
        word: Annotated[str, msgspec.Meta(max_length=2)]
        more: str = ""

    assert [short.word for short in told(Short, '{"word": "abc", "more": "d"}')] == [UNSET, "", "a", "ab", "abc"]


def test_a_name_that_comes_twice_ends_the_telling_and_is_known_by_its_place() -> None:
    partial: PartialValue[Person] = PartialValue(Person)
    text = '{"age": 1, "friends": [{"fullName": "a"}, {"fullName": "b", "fullName": "c"}]}'
    values = [partial.value() for piece in pieces(text) if partial.feed(piece)]

    assert partial.twice == "$.friends[1].fullName"
    assert values[-1].friends[1].full_name == "b"
    assert not partial.feed("}")


def test_an_object_that_makes_something_of_itself_does_so_when_it_is_whole() -> None:
    class Loud(msgspec.Struct, frozen=True):
        name: str
        size: int = 1

        def __post_init__(self) -> None:
            msgspec.structs.force_setattr(self, "size", len(self.name))

    class Room(msgspec.Struct):
        loud: Loud

    values = told(Room, '{"loud": {"name": "ab"}}')

    assert all(isinstance(value.loud, Loud) for value in values[1:])
    assert [(value.loud.name, value.loud.size) for value in values[2:]] == [
        ("", UNSET),
        ("a", UNSET),
        ("ab", UNSET),
        ("ab", 2),
    ]
    assert type(values[-1].loud) is Loud


def test_classes_that_are_made_in_ways_of_their_own_come_when_they_are_whole() -> None:
    @dataclasses.dataclass
    class Own:
        a: str

        def __new__(cls, *args: Any, **more: Any) -> "Own":
            return super().__new__(cls)

    class Both(NamedTuple):
        a: str

    class Row2(msgspec.Struct, array_like=True):
        a: str

    class All(msgspec.Struct):
        own: Own | None = None
        both: Both | None = None
        row: Row2 | None = None
        several: Sequence[Point] = ()

    assert told(All, '{"own": {"a": "b"}')[1:] == [All(Own("b"), UNSET, UNSET, UNSET)]  # type: ignore[arg-type]
    assert told(All, '{"both": ["b"]')[1:] == [All(UNSET, Both("b"), UNSET, UNSET)]  # type: ignore[arg-type]
    assert told(All, '{"row": ["b"]')[1:] == [All(UNSET, UNSET, Row2("b"), UNSET)]  # type: ignore[arg-type]
    assert told(All, '{"several": [{"x": 1}]')[-1].several == [Point(1)]


def test_types_have_their_plan_whatever_they_are_called() -> None:
    class TypeAliasType:
        """Stands for the one of Python 3.12, which 3.11 has not."""

        __value__ = list[int]

    assert isinstance(takes_of(TypeAliasType(), pydantic=False).array, ArrayShape)

    class Noted(msgspec.Struct):
        word: Annotated[str, []]
        words: Annotated[list[str], {}]

    assert told(Noted, '{"word": "a", "words": ["b')[-1] == Noted("a", ["b"])


def test_types_that_stay_open_are_not_told_before_what_they_are_in_is_whole() -> None:
    @dataclasses.dataclass
    class Child(Pair[int]):
        more: str

    class Home(msgspec.Struct):
        child: Child

    values = told(Home, '{"child": {"one": 1, "both": [2], "more": "ab"}}')

    assert values[-1] == Home(Child(1, [2], "ab"))
    assert {repr(value.child.one) for value in values[1:]} == {"UNSET", "1"}


# --- pydantic


class Inner(pydantic.BaseModel):
    name: str
    n: Annotated[int, pydantic.Field(gt=0)] = 4
    inner: "list[Inner]" = []


class Bus(pydantic.BaseModel):
    kind: Literal["bus"]
    line: str


class Tram(pydantic.BaseModel):
    kind: Literal["tram", "train"]
    cars: int = 1


class Trip(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True, title="A trip")

    start: str = pydantic.Field(alias="from", description="where", min_length=1)
    by: Bus | Tram = pydantic.Field(discriminator="kind")
    inner: Inner | None = None
    either: Bus | Inner | None = None
    tags: set[str] = set()
    size: dict[int, float] = {}
    day: datetime.date | None = None
    back: Bus | Tram | None = pydantic.Field(default=None, discriminator="kind")
    note: Annotated[str, pydantic.StringConstraints(to_upper=True)] = ""
    point: Point | None = None


class Checked(pydantic.BaseModel):
    name: str
    word: str = ""

    @pydantic.field_validator("name")
    @classmethod
    def louder(cls, value: str) -> str:
        return value.upper()

    @pydantic.model_validator(mode="after")
    def whole(self) -> "Checked":
        return self


class Before(pydantic.BaseModel):
    name: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def other(cls, value: Any) -> Any:
        return {**value, "name": "always"}


class Stripped(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(str_strip_whitespace=True)

    name: str


@pydantic.dataclasses.dataclass
class Data:
    name: str
    inner: Inner | None = None


class Mixed(msgspec.Struct):
    models: list[Inner]


class Own(pydantic.BaseModel):
    name: str

    def __new__(cls, *args: Any, **more: Any) -> "Own":
        return super().__new__(cls)


class Upper(pydantic.BaseModel):
    kind: Literal["upper"]
    name: Stripped


class Lower(Before):
    kind: Literal["lower"]


class Holder(pydantic.BaseModel):
    own: Own | None = None
    odd: Upper | Lower | None = pydantic.Field(default=None, discriminator="kind")
    noted: Annotated[str, pydantic.Field(max_length=9, description="a name"), "a note"] = ""
    words: list[Annotated[str, pydantic.Field(max_length=9)]] = []
    checked: Checked | None = None
    before: Before | None = None
    stripped: Stripped | None = None
    data: Data | None = None
    root: pydantic.RootModel[list[int]] | None = None


inners = st.deferred(lambda: st.builds(Inner, name=texts, n=st.integers(1, 9), inner=st.lists(inners, max_size=1)))
trips = st.builds(
    Trip,
    start=st.text(min_size=1, max_size=5),
    by=st.builds(Bus, kind=st.just("bus"), line=texts) | st.builds(Tram, kind=st.sampled_from(["tram", "train"])),
    inner=st.none() | inners,
    either=inners,
    tags=st.sets(texts, max_size=3),
    size=st.dictionaries(st.integers(0, 9), st.floats(0, 9), max_size=2),
    day=st.none() | st.dates(),
    back=st.none() | st.builds(Tram, kind=st.just("tram")),
    note=texts,
    point=st.none() | st.builds(Point, st.integers(0, 9), texts),
)


@settings(max_examples=30)
@given(trips, spread, st.booleans(), st.booleans(), edits | st.none())
def test_models_of_pydantic_are_told_as_they_will_be(
    trip: Trip, sizes: list[int], by_alias: bool, few: bool, edit: tuple[int, int, str] | None
) -> None:
    text = trip.model_dump_json(by_alias=by_alias, exclude_unset=few)
    if edit is not None:
        at = edit[0] % len(text)
        text = text[:at] + edit[2] + text[at + edit[1] :]

    values = check(Trip, text, sizes)

    if edit is None:
        assert values[-1] == Trip.model_validate_json(text)


def test_a_model_that_has_not_come_has_no_defaults_and_says_which_fields_were_set() -> None:
    values = told(Inner, '{"name": "ab", "inner": [{"name": "c"}]}')

    assert repr(values[0]) == "Inner(name=UNSET, n=UNSET, inner=UNSET)"
    assert values[-1].model_fields_set == {"name", "inner"}
    assert values[-1].model_dump(exclude_unset=True) == {"name": "ab", "inner": [{"name": "c"}]}
    assert values[-1].n is UNSET
    assert values[-1].inner[0].n == 4


class Wide(pydantic.BaseModel, extra="allow"):
    name: str
    _seen: bool = pydantic.PrivateAttr(default=True)


def test_what_is_extra_or_private_comes_with_the_whole_of_a_model() -> None:
    first, *_, last = told(Mapping[str, Wide], '{"a": {"name": "b", "more": 1}}')[1:]

    assert first["a"].model_extra == {}
    assert not hasattr(first["a"], "_seen")
    assert last["a"].model_extra == {"more": 1}
    assert last["a"]._seen


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"checked": {"name": "ab", "word": "cd"}}', [(UNSET, UNSET), (UNSET, ""), (UNSET, "cd"), ("AB", "cd")]),
        ('{"before": {"name": "ab"}}', ["always"]),
        ('{"stripped": {"name": " ab "}}', ["ab"]),
        ('{"data": {"name": "ab"}}', [UNSET, "a", "ab", "ab"]),
        ('{"root": [1, 2]}', [[1, 2]]),
        ('{"own": {"name": "ab"}}', ["ab"]),
        ('{"odd": {"kind": "lower", "name": "ab"}}', ["always"]),
        ('{"noted": "abc"}', ["a", "abc"]),
        ('{"words": ["abc"]}', [[""], ["ab"], ["abc"]]),
    ],
)
def test_what_a_model_makes_of_its_values_is_told_when_it_is_sure(text: str, values: list[Any]) -> None:
    seen: list[Any] = []
    for holder in check(Holder, text, [2])[1:]:
        (part,) = [getattr(holder, name) for name in holder.model_fields_set]
        if isinstance(part, Checked):
            seen.append((part.name, part.word))
        else:
            seen.append(part.root if isinstance(part, pydantic.RootModel) else getattr(part, "name", part))

    assert seen == values


class OwnInit(pydantic.BaseModel):
    name: str

    def __init__(self, **fields: Any) -> None:
        super().__init__(name=fields["name"].upper())


class OwnSchema(pydantic.BaseModel):
    name: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return pydantic_core.core_schema.no_info_after_validator_function(cls.louder, handler(source))

    def louder(self) -> "OwnSchema":
        return self.model_copy(update={"name": self.name.upper()})


@pydantic.with_config(str_to_upper=True)
@dataclasses.dataclass
class OwnConfig:
    name: str


@dataclasses.dataclass
class OwnValidator:
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def louder(cls, value: str) -> str:
        return value.upper()


@pytest.mark.parametrize("type_", [OwnInit, OwnSchema, OwnConfig, OwnValidator])
def test_what_a_class_makes_of_it_by_itself_is_told_when_it_is_whole(type_: Any) -> None:
    holder = pydantic.create_model("Holder", one=(type_, ...), more=(str, ""))

    values = check(holder, '{"one": {"name": "ab"}, "more": "c"}')[1:]

    assert values
    assert {value.one.name for value in values} == {"AB"}


def test_models_inside_of_other_types_are_told_too() -> None:
    values = check(Mixed, '{"models": [{"name": "ab"}, {"name": "c", "n": 0}]}')

    assert [value.models for value in values[1:4]] == [[], [_bare()], [_bare("")]]
    # The second one is no model, so it is never told as a whole one.
    assert values[-1].models[1].model_fields_set == {"name"}


def _bare(name: Any = UNSET) -> Inner:
    model = Inner.model_construct(name=name, n=UNSET, inner=UNSET)
    object.__setattr__(model, "__pydantic_fields_set__", set() if name is UNSET else {"name"})
    return model


# --- What it costs


def seconds(type_: Any, text: str, size: int) -> float:
    """CPU time for each piece."""
    partial: PartialValue[Any] = PartialValue(type_)
    given = list(pieces(text, [size]))
    started = time.process_time()
    for piece in given:
        if partial.feed(piece):
            partial.value()
    return (time.process_time() - started) / len(given)


GROWING: list[tuple[str, Callable[[int], str]]] = [
    ("text", lambda n: '{"a": "' + "word " * n + '"}'),
    ("escapes", lambda n: '{"a": "' + "\\n\\u00e9" * n + '"}'),
    ("numbers", lambda n: '{"a": [' + "1, " * n + "1]}"),
    ("objects", lambda n: '{"a": [' + '{"b": "cd"},' * n + "{}]}"),
    ("names", lambda n: "{" + ", ".join(f'"a{i}": 1' for i in range(n)) + "}"),
    ("a name", lambda n: '{"' + "a" * n * 40 + '": 1}'),
    ("a number", lambda n: '{"a": ' + "1" * n * 40 + "}"),
    ("space", lambda n: '{"a": ' + " " * n * 40 + "1}"),
    ("a fence", lambda n: "```" + "a" * n * 40),
    ("a fence with space", lambda n: "```a" + " " * n * 40),
    ("levels", lambda n: "[" * n + "]" * n),
    ("levels of objects", lambda n: '{"a":' * n + "1" + "}" * n),
]


@pytest.mark.parametrize(("name", "text"), GROWING, ids=[name for name, _ in GROWING])
def test_a_piece_of_a_long_text_costs_about_what_one_of_a_short_text_does(
    name: str, text: Callable[[int], str]
) -> None:
    short = min(seconds(dict[str, Any], text(60), 4) for _ in range(3))

    # Thirty times as long: what looks at all of it again for each piece takes thirty times as much. A machine that is
    # busy gets another try.
    assert any(seconds(dict[str, Any], text(1_800), 4) < max(short, 2e-6) * 8 for _ in range(4))


class Chain(msgspec.Struct):
    next: "Chain | None" = None
    word: str = ""


def test_what_is_nested_very_deep_is_told_when_it_is_whole() -> None:
    depth = MOST_LEVELS + 20
    values = check(Chain, '{"word": "a", "next": ' * depth + "null" + "}" * depth, [7])

    shown = values[-2]
    for _ in range(MOST_LEVELS - 1):
        shown = shown.next
    assert shown.next is UNSET
    assert values[-1].next.next.word == "a"


def test_a_large_value_is_told_less_often() -> None:
    partial: PartialValue[dict[str, list[int]]] = PartialValue(dict[str, list[int]])
    partial.feed('{"a": [')

    often = [sum(partial.feed("1, ") and len(partial.value()["a"]) > 0 for _ in range(500)) for _ in range(12)]

    assert often[0] == 500
    assert 50 < often[-1] < 100
