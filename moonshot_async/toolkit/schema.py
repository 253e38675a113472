"""Schemas in Moonshot's dialect of JSON Schema (MFJS): of types, of other schemas, and whether one is in it.

    from moonshot_async.toolkit.schema import check, lint, normalise, schema_of

    schema = schema_of(City)                       # of a struct, dataclass, TypedDict, pydantic model, …
    schema = normalise(foreign, dropped=lost)      # of any JSON Schema; `lost` takes what had to be left out
    print(*lint(schema), sep="\\n")                 # all that is wrong: where, which rule, what to do
    check(schema)                                  # SchemaError where the API would answer 400

A request whose tools or `response_format` say `strict: True` is checked like that before it is sent. Nothing here needs
a client, a key or the network. `docs/schemas.md` has the rules, each with an example.

See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
"""

from typing import Any

from moonshot_async.mfjs import Finding, Level, Limits, lint, normalise, refusal, refusals, schema_of

__all__ = ["Finding", "Level", "Limits", "check", "lint", "normalise", "schema_of"]


def check(schema: Any, *, name: str = "The schema") -> None:
    """Refuse what the API would refuse as the schema of a strict tool or `response_format`.

    That is what `lint` tells at the level `service`, but that a missing `type` is left to the API, since some of its
    endpoints do not mind; and a root that describes no object.

    Args:
        schema: any Python value.
        name: what the message calls it.

    Raises:
        SchemaError: with all that is wrong in `.findings`.
    """
    if findings := refusals(schema):
        raise refusal(name, tuple(findings))
