"""`moonshot batch`: many requests in one file, answered within hours at 60 % of the price."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from moonshot_async.cli.options import group, pass_state
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moonshot_async.types.batches import Batch

_MOMENTS: Final = ("created", "in_progress", "finalizing", "completed", "failed", "expired", "cancelled")

_EXAMPLES: Final = """\b
Examples:
  moonshot batch run asks.jsonl --model kimi-k2.6 --output answers.jsonl
  moonshot batch run asks.jsonl --no-wait; moonshot batch list
"""

_output = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there, not to stdout."
)


@group()
def batch() -> None:
    """Have many requests answered within hours, at a lower price."""


@batch.command("run", epilog=_EXAMPLES)
@click.argument("requests", type=click.Path(), metavar="FILE")
@click.option("-m", "--model", metavar="ID", help="For requests that name none.")
@click.option("--window", default="24h", show_default=True, metavar="TIME", help="How long it may take: 12h to 7d.")
@click.option("--resume", is_flag=True, help="Take up the batch that was made of these very requests, if there is one.")
@click.option("--no-wait", is_flag=True, help="Create the batch, print it, and end.")
@_output
@pass_state
def run_batch(state: State, /, requests: str, output: Path | None, no_wait: bool, **options: Any) -> int:
    """Answer the requests in a file, and print the results.

    FILE has a request a line: a line of the Batch API, or the body of a chat completion; - is stdin. Results are JSON
    lines, in the order of the requests, also without --json. Ctrl-C leaves the batch running; its id is on stderr.
    """
    from moonshot_async.cli.batch.runs import create, run
    from moonshot_async.cli.new_files import target

    output = target(output, Path(requests))
    options["completion_window"] = options.pop("window")
    if not no_wait:
        return state.run(run(state, requests, output, options))
    _print(state, state.run(create(state, requests, options)))
    return 0


@batch.command()
@click.argument("batch_id", metavar="ID")
@_output
@pass_state
def results(state: State, batch_id: str, output: Path | None) -> int:
    """Wait until a batch has ended, and print its results as JSON lines."""
    from moonshot_async.cli.batch.runs import run
    from moonshot_async.cli.new_files import target

    return state.run(run(state, None, target(output), {"batch_id": batch_id}))


@batch.command()
@click.argument("batch_id", metavar="ID")
@pass_state
def status(state: State, batch_id: str) -> None:
    """Show how far a batch is."""
    from moonshot_async.cli.batch.runs import look

    _print(state, state.run(look(state, batch_id)))


@batch.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@pass_state
def list_batches(state: State, limit: int) -> None:
    """List batches, newest first."""
    from moonshot_async.cli.batch.runs import listed

    found = state.run(listed(state, limit))
    if state.json:
        state.output.document({"batches": [batch.to_dict() for batch in found]})
        return
    rows = [(batch.id, batch.status, *_counts(batch), _day(batch.created_at), batch.model) for batch in found]
    titles = ("ID", "STATUS", "DONE", "FAILED", "TOTAL", "CREATED", "MODEL")
    state.output.table(titles, rows, right=("DONE", "FAILED", "TOTAL"), spare=("MODEL", "CREATED", "TOTAL", "FAILED"))


@batch.command()
@click.argument("batch_id", metavar="ID")
@pass_state
def cancel(state: State, batch_id: str) -> None:
    """Cancel a batch. What was answered before can still be had with `results`, and costs."""
    from moonshot_async.cli.batch.runs import cancelled

    _print(state, state.run(cancelled(state, batch_id)))


def _print(state: State, batch: "Batch") -> None:
    if state.json:
        state.output.document(batch.to_dict())
        return
    for name, value in _told(batch):
        if value:
            state.output.text(f"{name + ':':<13}{value}")


def _told(batch: "Batch") -> "Iterator[tuple[str, str | None]]":
    yield from (("id", batch.id), ("status", batch.status), ("model", batch.model))
    if batch.request_counts is not None:
        done, failed, total = _counts(batch)
        yield "requests", f"{done} done, {failed} failed, {total} in all"
    for name in _MOMENTS:
        yield name, _day(getattr(batch, f"{name}_at"))
    for error in (batch.errors.data if batch.errors else None) or ():
        yield "error", f"line {error.line}: {error.message}" if error.line else error.message


def _counts(batch: "Batch") -> tuple[int | None, int | None, int | None]:
    counts = batch.request_counts
    return (None, None, None) if counts is None else (counts.completed, counts.failed, counts.total)


def _day(seconds: int | None) -> str | None:
    from moonshot_async.cli.files.command import day

    return day(seconds or 0)
