"""Types that callers name: what bytes become for each."""

import dataclasses
from typing import Any, TypedDict

import msgspec
import pytest

from moonshot_async.errors import APIError, APIResponseValidationError
from moonshot_async.types.casting import decoder_of, is_response_type
from moonshot_async.types.model import Model
from moonshot_async.wire import Response

BODY = b'{"name":"x","size":1}'


class Struct(msgspec.Struct):
    name: str


@dataclasses.dataclass
class Data:
    name: str
    size: int


class Typed(TypedDict):
    name: str
    size: int


class Ours(Model):
    name: str


@pytest.mark.parametrize(
    ("cls", "value"),
    [
        (Struct, Struct("x")),
        (Data, Data("x", 1)),
        (Typed, {"name": "x", "size": 1}),
        (dict, {"name": "x", "size": 1}),
        (dict[str, Any], {"name": "x", "size": 1}),
        (Struct | int, Struct("x")),
        (Any, {"name": "x", "size": 1}),
        (object, {"name": "x", "size": 1}),
        (str, BODY.decode()),
        (bytes, BODY),
        (None, None),
        (type(None), None),
    ],
)
def test_bytes_become_what_was_asked_for(cls: Any, value: object) -> None:
    assert decoder_of(cls)(BODY) == value


def test_a_model_keeps_what_it_does_not_know() -> None:
    assert decoder_of(Ours)(BODY).size == 1


def test_text_that_is_no_utf8_is_text_all_the_same() -> None:
    assert decoder_of(str)(b"a\xff") == "a\ufffd"


def test_what_does_not_fit_is_an_error_of_validation() -> None:
    with pytest.raises(APIResponseValidationError):
        decoder_of(list[int])(BODY)


class Foreign:
    """What a pydantic model can do, as far as it is used; `test_real_pydantic_models` has the real thing."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    @classmethod
    def model_validate_json(cls, data: bytes) -> "Foreign":
        if not data.startswith(b'{"name"'):
            raise ValueError("no name")
        return cls(**msgspec.json.decode(data))


def test_a_foreign_model_reads_the_json_by_itself() -> None:
    assert decoder_of(Foreign)(BODY).values == {"name": "x", "size": 1}
    assert decoder_of(Foreign).cls is Foreign


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b'{"x":1}', APIResponseValidationError, "The answer is no Foreign: ValueError."),
        (b"<html>", APIResponseValidationError, "it is an HTML page"),
        (b'{"error":{"message":"boom"}}', APIError, "boom"),
    ],
)
def test_a_foreign_model_that_refuses_is_an_error_like_any_other(body: bytes, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        decoder_of(Foreign)(body)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None


def test_real_pydantic_models() -> None:
    pydantic = pytest.importorskip("pydantic")
    point = pydantic.create_model("Point", name=(str, ...), size=(int, ...))
    assert decoder_of(point)(BODY).model_dump() == {"name": "x", "size": 1}
    with pytest.raises(APIResponseValidationError, match=r"no Point: .* - at `size`\.$") as caught:
        decoder_of(point)(b'{"name":"x","size":"secret"}')
    assert "secret" not in str(caught.value)
    root = pydantic.RootModel[list[int]]
    with pytest.raises(APIResponseValidationError, match=r"valid array\.$"):
        decoder_of(root)(b"{}")


def test_a_type_may_mean_the_response_itself() -> None:
    theirs = type("Response", (), {"__module__": "httpx2._models"})
    assert is_response_type(Response)
    assert is_response_type(theirs)
    assert not any(map(is_response_type, (Struct, dict[str, Any], None, "Response", type("Response", (), {}))))
