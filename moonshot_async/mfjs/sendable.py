"""What the service refuses before a model sees it, and the exception that says so first."""

from typing import Any, Final

from moonshot_async.errors import SchemaError
from moonshot_async.mfjs.findings import Finding
from moonshot_async.mfjs.linter import lint

# Some endpoints take these, so that the service is asked.
_ASKED: Final = frozenset(("type-missing",))


def refusals(schema: Any) -> list[Finding]:
    """What the service would refuse in a schema of a tool or of `response_format` that is strict.

    That is what `lint` says at `service`, but for what some endpoints take; and its root has the type `object`, or is
    empty and says nothing.
    """
    findings = [finding for finding in lint(schema, "service") if finding.code not in _ASKED]
    if isinstance(schema, dict) and schema and schema.get("type") not in ("object", ["object"]):
        message = 'Give the root `"type": "object"`, and the value a name in its `properties`.'
        findings.insert(0, Finding("", "root-not-an-object", message, "service"))
    return findings


def refusal(what: str, findings: tuple[Finding, ...]) -> SchemaError:
    """The exception for a schema; `what` is it, with a capital letter."""
    more = f", and {len(findings) - 1} more in .findings" if len(findings) > 1 else ""
    return SchemaError(
        f"{what} is not in Moonshot's dialect of JSON Schema, as `strict: True` asks for: {findings[0]}{more}. "
        "moonshot_async.toolkit.schema.normalise() makes it fit; without `strict` it is sent as it is.",
        findings=findings,
    )
