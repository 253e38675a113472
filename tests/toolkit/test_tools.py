"""Functions as tools: what a model is told of them, and what they still are."""

import copy
import enum
import functools
import inspect
import pickle
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from annotated_types import Ge, Len
from pydantic import BaseModel, Field
from typing_extensions import Doc

from moonshot_async import AsyncMoonshot
from moonshot_async.errors import ConfigurationError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.functions import Tool, ToolContext, ToolRequest, tool
from moonshot_async.transports.memory import MemoryTransport


@tool
async def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """The weather in a city at this moment.

    Args:
        city: its English name.

    Returns:
        Degrees.
    """
    return f"4 {unit} in {city}"


def plain(count: int = 1) -> int:
    return count


renamed = tool(plain, name="count-it")


class Desk:
    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys

    @tool
    async def look_up(self, key: str) -> str:
        """Look something up."""
        return self.keys[key]

    @tool(name="look_up_2")
    def typed(self: "Desk", key: str) -> str:
        return self.keys[key]

    @tool
    @classmethod
    def kind(cls, suffix: str = "") -> str:
        """What kind of desk it is."""
        return cls.__name__ + suffix

    @tool
    @staticmethod
    def twice(x: int) -> int:
        return 2 * x

    @staticmethod
    @tool
    def thrice(x: int) -> int:
        return 3 * x


class Adder:
    """Adds."""

    def __init__(self) -> None:
        self.key = "secret"

    def __call__(self, x: int) -> int:
        return x + 1


class AsyncAdder:
    async def __call__(self, x: int) -> int:
        """Adds, in time."""
        return x + 1


def parameters(made: Tool[..., Any]) -> Any:
    return made.param["function"]["parameters"]


def properties(made: Tool[..., Any]) -> Any:
    return parameters(made)["properties"]


# What is told.


def test_a_tool_is_what_signature_and_docstring_say() -> None:
    assert get_weather.param == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city at this moment.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "its English name."},
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
    assert (get_weather.name, get_weather.description) == ("get_weather", "The weather in a city at this moment.")
    assert (get_weather.timeout, get_weather.approve, get_weather.max_result_chars) == (None, None, 100_000)


def test_what_is_told_is_the_same_each_time_and_nobody_elses() -> None:
    first = get_weather.param
    parameters(get_weather)["properties"].clear()

    assert get_weather.param == first
    first["function"]["parameters"]["properties"].clear()  # type: ignore[attr-defined]  # a Mapping, to callers
    assert properties(get_weather)


async def test_the_service_takes_the_definition() -> None:
    async with AsyncMoonshot(api_key="sk-test", transport=MemoryTransport(FakeMoonshot())) as client:
        answer = await client.chat.completions.create(
            model="kimi-k2.6",
            messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
            tools=[get_weather.param, renamed.param],
        )
    assert answer.choices


def test_options_come_before_the_function() -> None:
    def approve(request: ToolRequest) -> bool:
        return True

    @tool(name="w", description="Weather.", timeout=2, approve=approve, max_result_chars=None)
    def weather() -> str:
        """Something else."""
        return ""

    assert (weather.name, weather.description, weather.timeout) == ("w", "Weather.", 2)
    assert (weather.approve, weather.max_result_chars) == (approve, None)
    assert weather.param["function"] == {
        "name": "w",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        "strict": True,
    }
    assert "description" not in renamed.param["function"]


def test_an_annotation_tells_more_than_the_docstring() -> None:
    @tool
    def told(
        a: Annotated[str, "in a text"],
        b: Annotated[int, msgspec.Meta(description="in Meta", ge=1)],
        c: Annotated[int, Field(description="in Field", le=9)],
        d: Annotated[str, Doc("in Doc")],
        e: str,
        f: Annotated[list[int], Len(1, 3)],
        g: Annotated[int, Ge(0)] = None,  # type: ignore[assignment]  # noqa: RUF013  # as many write it
        h: Annotated[str, "or nothing"] | None = None,
    ) -> None:
        """Told.

        Args:
            a: in the docstring.
            e: in the docstring.
            unheard: of something else.
        """

    found = properties(told)
    assert [found[name].get("description") for name in "abcde"] == [
        "in a text",
        "in Meta",
        "in Field",
        "in Doc",
        "in the docstring.",
    ]
    assert (found["b"]["minimum"], found["c"]["maximum"]) == (1, 9)
    assert (found["f"]["minItems"], found["f"]["maxItems"]) == (1, 3)
    assert found["g"] == {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}
    assert parameters(told)["required"] == list("abcdef")


def test_types_are_those_of_msgspec_and_pydantic() -> None:
    class Spot(BaseModel):
        x: int
        name: str = Field(default="", description="how it is called")

    class Size(msgspec.Struct):
        """How large."""

        width: float

    @tool
    def place(spot: Spot, spots: list[Spot], maybe: Spot | None, size: Size, anything: Any) -> None: ...

    found = properties(place)
    assert found["size"]["$ref"] == "#/$defs/Size" or "anyOf" in found["size"]
    assert found["spots"]["type"] == "array"
    assert "how it is called" in str(parameters(place))
    assert "null" in str(found["maybe"])
    assert found["anything"]["anyOf"]


def test_defaults_that_are_not_plain_stay_with_the_function() -> None:
    secret = types.SimpleNamespace(key="sk-hidden")

    @tool
    def f(
        a: int = 3,
        b: list[int] = [1],  # noqa: B006  # never changed
        c: Any = secret,
        d: float = float("nan"),
        e: Any = Odd.OBJECT,
    ) -> None: ...

    assert properties(f)["a"]["default"] == 3
    assert "default" not in properties(f)["b"]
    assert "hidden" not in str(f.param)
    assert "required" not in parameters(f)


# The context.


def test_the_context_is_not_told() -> None:
    @tool
    def plain_one(ctx: ToolContext, x: int) -> None: ...  # type: ignore[type-arg]  # of whatever it may be

    @tool
    def typed_one(x: int, *, ctx: ToolContext[int]) -> None: ...

    @tool
    def optional_one(x: int, ctx: "ToolContext[int] | None" = None) -> None: ...

    @tool
    def described_one(x: int, ctx: Annotated[ToolContext[int], "nobody reads this"]) -> None: ...

    for one in (plain_one, typed_one, optional_one, described_one):
        assert list(properties(one)) == ["x"]


class Odd(enum.Enum):
    OBJECT = object()


class MyContext(ToolContext[int]):
    pass


def two(a: ToolContext[int], b: ToolContext[int]) -> None: ...
def listed(a: list[ToolContext[int]]) -> None: ...
def mixed(a: ToolContext[int] | int) -> None: ...
def sub(a: MyContext) -> None: ...
def no_type(a) -> None: ...  # type: ignore[no-untyped-def]
def of_self(self, x: int) -> None: ...  # type: ignore[no-untyped-def]
def args(*a: int) -> None: ...
def kwargs(**a: int) -> None: ...
def any_of(anyOf: int) -> None: ...  # noqa: N803  # a word of the dialect
def required(required: int) -> None: ...
def additional(additionalProperties: int) -> None: ...  # noqa: N803  # as above
def no_schema(good: int, bad: complex) -> None: ...
def unions(a: int, b: set[complex] | list[complex]) -> None: ...
def broken(a: "1 +") -> None: ...  # type: ignore[valid-type]  # noqa: F722  # no Python
def fielded(a: int = Field(3)) -> None: ...
def too_much(a: Annotated[str, "x" * 130_000]) -> None: ...
def generator():  # type: ignore[no-untyped-def]
    yield 1


async def agenerator():  # type: ignore[no-untyped-def]
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (two, "'a' and 'b' are both a ToolContext"),
        (listed, "'a' is to be a ToolContext"),
        (mixed, "'a' is to be a ToolContext"),
        (sub, "'a' is to be a ToolContext"),
        (no_type, "no_type: the parameter 'a' has no type: annotate it, with Any"),
        (of_self, "the parameter 'self' has no type.*Is this a method"),
        (args, r"a model cannot fill in \*a"),
        (kwargs, r"a model cannot fill in \*\*a"),
        (any_of, "called 'anyOf'"),
        (required, "called 'required'"),
        (additional, "called 'additionalProperties'"),
        (no_schema, "the parameter 'bad' cannot be of type complex: "),
        (unions, "the parameter 'b' cannot be of type "),
        (broken, "annotations cannot be read"),
        (fielded, r"write Annotated\[…, Field\(…\)\]"),
        (too_much, "the parameter 'a' cannot be of type"),
        (generator, "has one result"),
        (agenerator, "has one result"),
        (Desk, "Desk is a class.*function_tool"),
        (3, "not of int"),
        (lambda x: x, "'<lambda>' cannot be the name of a tool.*tool\\(name="),
        (type("Ünicode", (Adder,), {})(), "cannot be the name"),
        (dict.get, "no type|no signature"),
        (max, "Python knows no signature of it"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_at_once(function: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        tool(function)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "1st"},
        {"name": "a b"},
        {"name": "-a"},
        {"name": "a" * 129},
        {"name": "a\n"},
        {"name": 3},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": True},
        {"timeout": "1"},
        {"description": 3},
        {"approve": "yes"},
        {"max_result_chars": 0},
        {"max_result_chars": 1.5},
        {"max_result_chars": True},
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        tool(plain, **options)


@pytest.mark.parametrize("name", ["a", "_", "a-b", "A9_", "a" * 128])
def test_names_are_those_of_the_api(name: str) -> None:
    assert tool(plain, name=name).name == name


# What it still is.


async def test_it_is_still_the_function() -> None:
    assert await get_weather("Oslo", unit="F") == "4 F in Oslo"
    assert renamed(3) == 3
    assert get_weather.__name__ == "get_weather"
    assert get_weather.__doc__ == get_weather.__wrapped__.__doc__
    assert list(inspect.signature(get_weather).parameters) == ["city", "unit"]
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(get_weather)
    assert repr(get_weather) == "<Tool get_weather>"


async def test_methods_are_bound_as_methods_are() -> None:
    desk, other = Desk({"a": "b"}), Desk({})

    assert await desk.look_up("a") == "b"
    assert await desk.look_up.call('{"key": "a"}') == "b"
    assert await desk.typed.call('{"key": "a"}') == "b"
    assert [await one.kind.call("{}") for one in (desk, Desk)] == ["Desk", "Desk"]
    assert [await one.twice.call('{"x": 2}') for one in (desk, Desk)] == ["4", "4"]
    assert [await one.thrice.call('{"x": 2}') for one in (desk, Desk)] == ["6", "6"]
    assert properties(desk.look_up) == properties(desk.typed) == {"key": {"type": "string"}}
    assert desk.look_up == desk.look_up != other.look_up
    assert len({desk.look_up, desk.look_up, desk.typed, get_weather, get_weather}) == 3
    assert desk.look_up != desk.keys
    assert desk.look_up.__get__(other) == desk.look_up


async def test_a_method_needs_its_instance() -> None:
    with pytest.raises(ConfigurationError, match="look_up is a method: take the tool from an instance"):
        await Desk.look_up.call('{"key": "a"}')
    with pytest.raises(ConfigurationError, match="take the tool from an instance"):
        _ = Desk.look_up.param


async def test_bound_methods_are_tools_as_they_are() -> None:
    class Plain:
        def method(self, x: int) -> int:
            return x

    assert await tool(Plain().method).call('{"x": 1}') == "1"


async def test_what_is_not_a_function_is_called_as_it_is() -> None:
    added, later = tool(Adder()), tool(AsyncAdder(), name="later")

    assert (added.name, added.description) == ("Adder", "Adds.")
    assert later.description == "Adds, in time."
    assert "secret" not in str(vars(added))
    assert [await one.call('{"x": 1}') for one in (added, later)] == ["2", "2"]

    class Holder:
        add = tool(Adder())

    assert await Holder().add.call('{"x": 1}') == "2"


async def test_what_a_partial_fixes_is_not_told() -> None:
    def fetch(key: str, city: str, *, unit: str = "C") -> str:
        """Fetch it."""
        return f"{key} {city} {unit}"

    by_name = tool(functools.partial(fetch, key="sk-hidden", unit="F"))
    by_place = tool(functools.partial(fetch, "sk-hidden"))

    assert (by_name.name, by_name.description) == ("fetch", "Fetch it.")
    assert "hidden" not in str(by_name.param) + str(by_place.param)
    assert list(properties(by_name)) == ["city"]
    assert await by_name.call('{"city": "Oslo"}') == "sk-hidden Oslo F"
    assert await by_place.call('{"city": "Oslo"}') == "sk-hidden Oslo C"


async def test_decorated_functions_keep_their_types() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @tool
    @logged
    async def late(x: int) -> int:
        return x

    assert properties(late) == {"x": {"type": "integer"}}
    assert await late.call('{"x": 1}') == "1"


def test_a_tool_can_be_made_anew_with_other_options() -> None:
    assert tool(get_weather, name="weather").__wrapped__ is get_weather.__wrapped__


@pytest.mark.parametrize("made", [get_weather, renamed, Desk.look_up, Desk.twice], ids=repr)
def test_it_can_be_pickled_and_copied_where_the_function_can(made: Tool[..., Any]) -> None:
    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert twin == made
        assert twin.name == made.name


async def test_a_method_is_pickled_with_its_instance() -> None:
    twin = pickle.loads(pickle.dumps(Desk({"a": "b"}).look_up))

    assert await twin.call('{"key": "a"}') == "b"
    assert await pickle.loads(pickle.dumps(Desk.kind)).call("") == "Desk"


def test_a_function_that_nobody_finds_cannot_be_pickled() -> None:
    @tool
    def local() -> None: ...

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


# Annotations as text.

FUTURE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
from moonshot_async.toolkit.functions import tool, ToolContext
if TYPE_CHECKING:
    from nowhere import Nothing

@tool
def early(order: Order, ctx: ToolContext[Nothing] | None = None) -> Nothing: ...

@tool
def known(item: int) -> Nothing:
    return item

class Shop:
    @tool
    def merge(self, other: Shop) -> Nothing:
        return other.name

    @dataclass
    class Item:
        price: int

    @tool
    def buy(self, item: Item) -> int:
        return item.price

def made():
    @dataclass
    class Local:
        x: int

    class Inner:
        @tool
        def of_local(self, local: Local) -> int:
            return local.x

    @tool
    def local_too(local: Local) -> int:
        return local.x

    return Inner(), local_too

@dataclass
class Order:
    lines: list[Line]

@dataclass
class Line:
    count: int
"""


@pytest.fixture
def future() -> Iterator[dict[str, Any]]:
    module = types.ModuleType("future_tools")
    sys.modules[module.__name__] = module
    try:
        exec(FUTURE, vars(module))  # a module of its own, whose annotations are text
        yield vars(module)
    finally:
        del sys.modules[module.__name__]


async def test_annotations_may_be_text(future: dict[str, Any]) -> None:
    inner, local_too = future["made"]()

    assert await future["known"].call('{"item": 1}') == "1"
    assert await future["Shop"]().buy.call('{"item": {"price": 2}}') == "2"
    assert await inner.of_local.call('{"local": {"x": 3}}') == "3"
    assert await local_too.call('{"local": {"x": 4}}') == "4"


def test_what_no_name_leads_to_is_told_when_it_is_needed(future: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="early: its annotations cannot be read: name 'Nothing'"):
        _ = future["early"].param


@dataclass
class Leaf:
    of: "Tree"


@tool
def plant(tree: "Tree") -> int:
    return tree.height


@tool
def press(leaf: Leaf) -> int:
    return leaf.of.height


@dataclass
class Tree:
    height: int


async def test_a_type_may_be_defined_after_its_use() -> None:
    assert await plant.call('{"tree": {"height": 3}}') == "3"
    assert await press.call('{"leaf": {"of": {"height": 3}}}') == "3"


def test_names_of_whoever_calls_are_not_those_of_the_function() -> None:
    def made() -> Tool[..., Any]:
        def f(x: "Hidden") -> None: ...  # type: ignore[name-defined]  # only where it is called

        return tool(f)

    Hidden = int  # noqa: N806  # a type
    assert Hidden
    one = made()
    with pytest.raises(ConfigurationError, match="name 'Hidden' is not defined"):
        _ = one.param


def test_a_function_may_use_what_is_defined_later() -> None:
    @tool
    def late(x: "int") -> int:
        return x + later

    later = 1
    assert properties(late) == {"x": {"type": "integer"}}


def test_types_of_one_name_are_told_apart_or_refused() -> None:
    def made(kind: type) -> type:
        @dataclass
        class Same:
            x: kind  # type: ignore[valid-type]  # made at run time

        return Same

    def f(a: Any, b: Any) -> None: ...

    f.__annotations__.update(a=made(int), b=made(str))
    with pytest.raises(
        ConfigurationError, match=r"f: its parameters have no schema together: .* two types of one name"
    ):
        tool(f)


async def test_cached_functions_are_functions() -> None:
    class Held:
        @tool
        @functools.cache  # noqa: B019  # lives as long as the test
        def twice(self, x: int) -> int:
            return 2 * x

    assert await Held().twice.call('{"x": 2}') == "4"


def test_what_is_abstract_stays_abstract() -> None:
    class Base(ABC):
        @tool
        @abstractmethod
        def outside(self) -> None: ...

        @abstractmethod
        @tool
        def inside(self) -> None: ...

    assert Base.__abstractmethods__ == {"outside", "inside"}


async def test_a_method_of_a_parent_is_there() -> None:
    class Child(Desk):
        @tool
        async def look_up(self, key: str) -> str:
            """Look it up twice."""
            return await super().look_up(self.keys[key])

    assert await Child({"a": "b", "b": "c"}).look_up.call('{"key": "a"}') == "c"
    assert Child({}).look_up.description == "Look it up twice."
