"""What docs/schemas.md says of schemas is so, and it says all of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moonshot_async.toolkit.schema import lint, normalise
from tests.validator_cases import report

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "schemas.md").read_text("utf-8")
LEVELS = ("loose", "lite", "service", "strict")
MONEY = {"type": "number", "minimum": 0}


def containing_itself() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    return schema


def nested(levels: int, word: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "array", word: schema} if word == "items" else {"type": "object", word: {"a": schema}}
    return schema


NAMES = {"true": True, "false": False, "null": None, "containing_itself": containing_itself, "nested": nested}


def rows(heading: str) -> Iterator[list[str]]:
    """The rows of the first table below a heading, without the backticks around a cell."""
    table = PAGE.split(f"\n## {heading}\n")[1].split("\n| --- ")[1].split("\n\n")[0]
    for line in table.splitlines()[1:]:
        yield [cell.strip().removeprefix("`").removesuffix("`") for cell in line.strip("|").split(" | ")]


CODES = {code: (level, example.rstrip(" |").removesuffix("`")) for code, level, example in rows("What `lint` finds")}


@pytest.mark.parametrize("code", CODES)
def test_an_example_breaks_the_rule_at_its_level_and_above(code: str) -> None:
    level, example = CODES[code]
    schema = eval(example, NAMES)

    found = {one: {finding.code for finding in lint(schema, one)} for one in LEVELS}  # type: ignore[arg-type]

    assert {one for one in LEVELS if code in found[one]} == set(LEVELS[LEVELS.index(level) :])


def test_the_page_has_every_code() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "moonshot_async" / "mfjs").glob("*.py"))

    said = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', sources))

    assert said - {"root-not-an-object"} == CODES.keys()


@pytest.mark.parametrize(("before", "after", "dropped"), list(rows("What `normalise` does")))
def test_a_schema_comes_out_as_the_page_says(before: str, after: str, dropped: str) -> None:
    lost: list[str] = []
    root = {"type": "object", "properties": {"a": json.loads(before)}, "definitions": {"Money": MONEY}}

    normal = normalise(root, dropped=lost)

    assert normal["properties"]["a"] == json.loads(after)
    assert {f"/properties/a/{word.strip('` |')}" for word in dropped.split(", ") if word.strip("` |")} == set(lost)
    assert lint(normal, "strict") == []


def test_the_program_on_the_page_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(program, "docs/schemas.md", "exec"), {"__name__": "page"})


def test_cases_are_counted_suite_by_suite(tmp_path: Path) -> None:
    suite = tmp_path / "testdata" / "validator_cases" / "TestWords"
    suite.mkdir(parents=True)
    deep = json.dumps(nested(7, "properties"))
    (suite / "valid.jsonl").write_text('{"type": "object"}\n\n{"type": "text"}\n', "utf-8")
    odd = [{"schema": text, "expect": "words", "unmarshal": False} for text in ('{"type": 1}', "{1: 2}", deep)]
    (suite / "invalid.jsonl").write_text("\n".join(map(json.dumps, odd)), "utf-8")

    lines = list(report(tmp_path))

    assert "| all | 5 | 4 (80.0%) | 3 (60.0%) |" in lines
    assert "| TestWords, line 3 | valid | type-invalid | 5 levels |" in lines
    assert "| TestWords, line 3 | words | valid | 30 levels |" in lines
