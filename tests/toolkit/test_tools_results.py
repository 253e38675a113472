"""What a model is told of a result."""

import enum
import io
from collections import UserDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel

from moonshot_async.toolkit.functions import tool
from moonshot_async.types.chat import ToolCall


class Colour(enum.Enum):
    RED = "red"


class Kind(str, enum.Enum):  # noqa: UP042  # as it was written before there was StrEnum
    A = "a"


class Letter(enum.StrEnum):
    B = "b"


@dataclass
class Person:
    name: str
    born: date


class Point(msgspec.Struct):
    x: int


@dataclass
class Held:
    value: Any


class User(BaseModel):
    age: int
    when: date = date(2026, 11, 23)


CALL = {"id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}, "new": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        ('{"a": 1}', '{"a": 1}'),
        ("", '""'),
        (None, "Done. The function returned no value (null)."),
        (Kind.A, "a"),
        (Letter.B, "b"),
        (Colour.RED, '"red"'),
        (3, "3"),
        (0, "0"),
        (0.5, "0.5"),
        (False, "false"),
        ([], "[]"),
        ({"ä": [1, None]}, '{"ä":[1,null]}'),
        ((1, "a"), '[1,"a"]'),
        ({3}, "[3]"),
        ({1: "a"}, '{"1":"a"}'),
        (Decimal("1.10"), '"1.10"'),
        (datetime(2026, 11, 23, tzinfo=UTC), '"2026-11-23T00:00:00Z"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Person("a", date(2026, 1, 2)), '{"name":"a","born":"2026-01-02"}'),
        ([Point(1)], '[{"x":1}]'),
        (User(age=3), '{"age":3,"when":"2026-11-23"}'),
        ([User(age=3)], '[{"age":3,"when":"2026-11-23"}]'),
        (MappingProxyType({"a": UserDict({"b": 1})}), '{"a":{"b":1}}'),
        ([PurePosixPath("a/b")], '["a/b"]'),
        (Held(MappingProxyType({"a": 1})), '{"value":{"a":1}}'),
        ([ToolCall.model_validate(CALL)], None),
        ("\ud83d!", "?!"),
    ],
)
async def test_results_are_told_as_text_or_json(value: Any, text: str | None) -> None:
    @tool
    def f() -> Any:
        return value

    told = await f.call("")
    if text is None:
        assert msgspec.json.decode(told)[0] == CALL
    else:
        assert told == text
    assert type(told) is str


def endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"secret", "of type bytes.*decode them"),
        (bytearray(b"secret"), "of type bytearray"),
        (memoryview(b"secret"), "of type memoryview"),
        ([b"secret"], "of type list.*bytes"),
        (io.StringIO("secret"), "StringIO has no form as JSON; return a text"),
        (object(), "object has no form as JSON"),
        ((n for n in (1,)), "generator"),
        ({(1, 2): "secret"}, "of type dict"),
        ({"a": float("nan")}, "nan"),
        (1j, "complex"),
        (endless(), "nested too deeply"),
        (Point("\ud83d"), "surrogate"),
    ],
)
async def test_what_cannot_be_told_is_an_error_of_the_tool(value: Any, words: str) -> None:
    @tool(name="fetch")
    def f() -> Any:
        return value

    with pytest.raises(TypeError, match=r"The result of the tool fetch, .*cannot be told to a model: ") as caught:
        await f.call("")
    assert caught.match(words)
    assert "secret" not in str(caught.value)


async def test_a_long_result_is_cut_and_says_so() -> None:
    @tool(max_result_chars=5)
    def f(n: int) -> Any:
        return "ä" * n

    assert await f.call('{"n": 5}') == "äääää"
    assert await f.call('{"n": 6}') == ("äääää\n[Cut: these are the first 5 of 6 characters of the result.]")
    assert len(await tool(f, max_result_chars=None).call('{"n": 200000}')) == 200_000
    assert len(await tool(f).call('{"n": 200000}')) < 100_100
