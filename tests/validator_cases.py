"""How far `lint` agrees with the cases of the vendor's own validator, which are not part of this project.

Run it with a checkout of https://github.com/MoonshotAI/walle:

    python -m tests.validator_cases DIR

The cases are meant for every rule, and for schemas of at most five levels of objects; the validator itself
allows 30 unless told otherwise. So each is looked at twice.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from moonshot_async.toolkit.schema import Finding, Limits, lint

AS_TESTED = Limits(max_depth=5)


class Case(NamedTuple):
    """One schema, and whether the vendor's validator takes it."""

    suite: str
    line: int
    text: str
    valid: bool
    expected: str

    def findings(self, limits: Limits) -> list[Finding]:
        """What is wrong with it; a text that is no JSON is wrong as such."""
        try:
            schema: Any = json.loads(self.text)
        except ValueError as error:
            return [Finding("", "not-json", str(error), "loose")]
        return lint(schema, limits=limits)


def cases_of(checkout: Path) -> Iterator[Case]:
    """The cases of a checkout, suite by suite."""
    for suite in sorted((checkout / "testdata" / "validator_cases").iterdir()):
        for file in sorted(suite.glob("*.jsonl")) if suite.is_dir() else ():
            for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
                if line.strip() and file.name == "valid.jsonl":
                    yield Case(suite.name, number, line, True, "")
                elif line.strip():
                    case = json.loads(line)
                    yield Case(suite.name, number, case["schema"], False, case["expect"])


def report(checkout: Path) -> Iterator[str]:
    """The lines of the report: a table of the suites, then the cases that are judged otherwise."""
    cases = list(cases_of(checkout))
    rest: list[str] = []
    yield "| suite | cases | agree, limits of the cases | agree, limits of the service |"
    yield "| --- | ---: | ---: | ---: |"
    for name in [*dict.fromkeys(case.suite for case in cases), ""]:
        chosen = [case for case in cases if name in ("", case.suite)]
        counts = []
        for limits in (AS_TESTED, Limits()):
            odd = [case for case in chosen if bool(case.findings(limits)) == case.valid]
            counts.append(len(chosen) - len(odd))
            if name:
                rest += [_reason(case, limits) for case in odd]
        shares = " | ".join(f"{count} ({count / max(len(chosen), 1):.1%})" for count in counts)
        yield f"| {name or 'all'} | {len(chosen)} | {shares} |"
    yield ""
    yield from ["| case | validator | lint | limits |", "| --- | --- | --- | --- |", *rest] if rest else ["No others."]


def _reason(case: Case, limits: Limits) -> str:
    found = ", ".join(sorted({finding.code for finding in case.findings(limits)})) or "valid"
    said = "valid" if case.valid else case.expected
    return f"| {case.suite}, line {case.line} | {said} | {found} | {limits.max_depth} levels |"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.writelines(f"{line}\n" for line in report(Path(sys.argv[1])))
