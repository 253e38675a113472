"""`moonshot schema`: whether a JSON schema is in Moonshot's dialect, and how it would be. Nothing is sent."""

from typing import Any, Final

import click

from moonshot_async.cli.options import group, pass_state
from moonshot_async.cli.state import State

_LEVELS: Final = ("loose", "lite", "service", "strict")


@group()
def schema() -> None:
    """Check JSON schemas, and make them fit."""


@schema.command("lint")
@click.argument("file", default="-", type=click.Path())
@click.option(
    "--level",
    type=click.Choice(_LEVELS),
    default="strict",
    show_default=True,
    metavar="LEVEL",
    help="How much counts, from little to all: loose, lite, service, strict.",
)
@pass_state
def lint_schema(state: State, file: str, level: Any) -> int:
    """Say what keeps a schema from being in the dialect.

    FILE is JSON; stdin without it. Ends with 1 where there is something, with 0 where there is nothing.
    """
    from moonshot_async.cli.inputs import read_json
    from moonshot_async.mfjs import lint

    findings = lint(read_json(file), level)
    if state.json:
        told = [{"pointer": found.pointer, "code": found.code, "message": found.message} for found in findings]
        state.output.document({"level": level, "valid": not findings, "findings": told})
    else:
        for found in findings:
            state.output.text(str(found))
        if not findings:
            state.output.note(f"Nothing is wrong with it at the level {level}.")
    return 1 if findings else 0


@schema.command("normalise")
@click.argument("file", default="-", type=click.Path())
@click.option("--closed", is_flag=True, help="Objects that say nothing of further properties allow none.")
@pass_state
def normalise_schema(state: State, file: str, closed: bool) -> None:
    """Say a schema in the dialect, and print it.

    FILE is JSON; stdin without it. What the dialect cannot say is left out, and named on stderr.
    """
    from moonshot_async.cli.endings import CommandError
    from moonshot_async.cli.inputs import read_json
    from moonshot_async.mfjs import normalise

    dropped: list[str] = []
    try:
        normal = normalise(read_json(file), closed=closed, dropped=dropped)
    except (TypeError, ValueError) as error:
        raise CommandError(f"This schema cannot be said in the dialect: {error}") from None
    if state.json:
        state.output.document({"schema": normal, "dropped": dropped})
        return
    state.output.document(normal)
    for pointer in dropped:
        state.output.note(f"left out: {pointer}")
