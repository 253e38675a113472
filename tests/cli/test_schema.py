"""`schema`."""

import json
from pathlib import Path

import pytest

from tests.cli.command_line import moonshot_ended

GOOD = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
BAD = {"type": ["object", "null"], "properties": {"city": {"oneOf": [{"type": "string"}, {"type": "null"}]}}}


def test_what_is_wrong_with_a_schema_is_told(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(BAD), encoding="utf-8")
    ended = moonshot_ended("schema", "lint", str(path))
    assert (ended.code, ended.err) == (1, "")
    assert any(line.startswith("at /properties/city") for line in ended.out.splitlines())
    told = moonshot_ended("schema", "lint", str(path), "--json", "--level", "strict")
    assert (told.code, told.json["valid"], told.json["level"]) == (1, False, "strict")
    assert len(told.json["findings"]) == len(ended.out.splitlines())
    assert set(told.json["findings"][0]) == {"pointer", "code", "message"}


def test_nothing_is_wrong_with_a_good_one() -> None:
    ended = moonshot_ended("schema", "lint", "--level", "lite", input=json.dumps(GOOD))
    assert (ended.code, ended.out, ended.err) == (0, "", "Nothing is wrong with it at the level lite.\n")
    assert moonshot_ended("schema", "lint", "--json", input=json.dumps(GOOD)).json["findings"] == []


def test_a_schema_is_said_in_the_dialect() -> None:
    foreign = json.dumps({**GOOD, "minProperties": 1})
    ended = moonshot_ended("schema", "normalise", input=foreign)
    assert ended.code == 0
    assert ended.json["properties"] == GOOD["properties"]
    assert ended.err == "left out: /minProperties\n"
    told = moonshot_ended("schema", "normalise", "--json", "--closed", input=foreign)
    assert (told.json["schema"], told.json["dropped"], told.err) == (ended.json, ["/minProperties"], "")
    assert moonshot_ended("schema", "lint", input=ended.out).code == 0


def test_what_is_no_schema_cannot_be_said() -> None:
    ended = moonshot_ended("schema", "normalise", input="[1]")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "moonshot: This schema cannot be said in the dialect: a schema is a JSON object, not list.\n"


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ('{"type": }', "stdin is not JSON: Expecting value in line 1, column 10."),
        ("[" * 100_000, "stdin is nested too deeply."),
    ],
    ids=["cut", "deep"],
)
def test_what_is_no_json_is_wrong_usage(input: str, said: str) -> None:
    ended = moonshot_ended("schema", "lint", input=input)
    assert (ended.code, said in ended.err) == (2, True)
