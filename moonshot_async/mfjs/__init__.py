"""MFJS, Moonshot's dialect of JSON Schema: the schema of a Python type, and any schema made to fit.

The service puts schemas of tools and of `response_format` before the model and holds it to them, and refuses some of
what other services take: `type` beside `anyOf`, a root that is no object, references that leave the document. What has
no counterpart in the dialect is left out, so that a schema here allows at least what it allowed before; whoever gave
the type validates the answer with it.

See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
"""

from moonshot_async.mfjs.findings import Finding, Level, Limits
from moonshot_async.mfjs.linter import lint
from moonshot_async.mfjs.normaliser import normalise
from moonshot_async.mfjs.schemas import is_pydantic, pydantic_adapter, schema_of
from moonshot_async.mfjs.sendable import refusal, refusals

__all__ = [
    "Finding",
    "Level",
    "Limits",
    "is_pydantic",
    "lint",
    "normalise",
    "pydantic_adapter",
    "refusal",
    "refusals",
    "schema_of",
]
