"""JSON texts that may be cut anywhere, beside what the reader of the openai package makes of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jiter import from_json

from moonshot_async.types.partial_json import partial_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def is_part(part: Any, whole: Any) -> bool:
    """Whether a value holds nothing but the beginning of another one."""
    if isinstance(part, dict):
        names = list(part)
        return (
            isinstance(whole, dict)
            and names == list(whole)[: len(names)]
            and all(is_part(part[name], whole[name]) for name in names)
            and all(part[name] == whole[name] for name in names[:-1])
        )
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and part[:-1] == whole[: len(part[:-1])]
            and all(is_part(one, other) for one, other in zip(part, whole, strict=False))
            and len(part) <= len(whole)
        )
    if isinstance(part, str):
        return isinstance(whole, str) and whole.startswith(part)
    return bool(part == whole and type(part) is type(whole))


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_any_cut_of_a_text_gives_a_part_of_the_value_and_later_cuts_more_of_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    value = {"a": value}
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).replace("Infinity", "0.5")
    value, before = json.loads(text), None

    for end in range(len(text) + 1):
        part = partial_json(text[:end])
        assert part is None or is_part(part, value)
        assert before is None or is_part(before, part)
        before = part

    assert before == value


@given(values, st.integers(0, 100), st.booleans(), st.sampled_from([None, 1]))
def test_it_reads_as_the_reader_of_openai_does(value: Any, end: int, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)[:end]
    if "I" in text:
        text = text.replace("Infinity", "1.5").rstrip("Infity")

    for strings in (False, True):
        try:
            theirs = from_json(text.encode(), partial_mode="trailing-strings" if strings else True)
        except ValueError:
            theirs = None
        ours = partial_json(text, strings=strings, numbers=True)
        assert ours == theirs
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (" \n", None),
        ("{", {}),
        (' {"a', {}),
        ('{"a" ', {}),
        ('{"a": ', {}),
        ('{"a": tr', {}),
        ('{"a": null', {"a": None}),
        ('{"a": 1', {}),
        ('{"a": 1 ', {"a": 1}),
        ('{"a": 1, "b', {"a": 1}),
        ("[1.5, -", [1.5]),
        ('["a\\', ["a"]),
        ('["a\\u00', ["a"]),
        ('["a\\\\', ["a\\"]),
        ('["\\ud83d', [""]),
        ('["\\ud83d\\ude00', ["😀"]),
        ('["\\\\ud83d', ["\\ud83d"]),
        ('[[], {"a": [{"b": "c', [[], {"a": [{"b": "c"}]}]),
        ('{"a": {}}', {"a": {}}),
        ('"abc', "abc"),
        ("12", None),
        ("true", True),
        ('{"a": 1} Sure!', {"a": 1}),
    ],
)
def test_what_is_whole_is_handed_out(text: str, value: Any) -> None:
    assert partial_json(text) == value


@pytest.mark.parametrize(
    "text", ["abc", "{a", "{1", '{"a":1,}', "]", "[}", ",", ":", '{"a" "b"', "[" * 100_000, "[01,"]
)
def test_what_is_no_json_gives_nothing_worth_having(text: str) -> None:
    assert partial_json(text) in (None, {}, [])


def test_the_cost_is_that_of_the_text() -> None:
    deep, long = '{"a":[' * 400, '{"a": "' + "x\\n" * 200_000

    assert partial_json(deep) is not None
    assert len(partial_json(long)["a"]) == 400_000  # type: ignore[index]  # it is an object
    assert partial_json("[" + "1," * 200_000) == [1] * 200_000
