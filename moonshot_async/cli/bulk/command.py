"""`moonshot bulk`: many requests, with a journal to go on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from moonshot_async.cli.options import Amount, group, pass_state
from moonshot_async.cli.state import State

_EXAMPLES: Final = """\b
Examples:
  moonshot bulk run asks.jsonl --model kimi-k2.6 --output answers.jsonl
  moonshot bulk run asks.jsonl --model kimi-k2.6 --tier 2 --max-cost 5
  moonshot bulk report asks.jsonl.db --html report.html
"""

_File = click.Path(dir_okay=False, path_type=Path)


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of whatever runs requests."""
    options = (
        click.option("-m", "--model", metavar="ID", help="For requests that name none."),
        click.option(
            *("-o", "--output"),
            type=click.Path(),
            metavar="FILE",
            help="Where all results of the journal go in the end, as JSON lines; - prints them as they come.",
        ),
        click.option(
            "--concurrency", type=click.IntRange(1), metavar="N", help="Calls at once; by the limits unless given."
        ),
        click.option("--tier", type=click.IntRange(0), metavar="N", help="Keep the limits of an account of this tier."),
        click.option("--max-cost", metavar="AMOUNT", help="Stop before it costs more, in the account's currency."),
        click.option(
            "--max-tokens", type=click.IntRange(1), metavar="N", help="Stop before more tokens are used, in all."
        ),
        click.option(
            "--via",
            type=click.Choice(["live", "batch"]),
            default="live",
            show_default=True,
            help="batch: the Batch API, 60 % of the price, within hours.",
        ),
        click.option("--ordered", is_flag=True, help="On stdout, results in the order of the requests."),
        click.option("--retry-failed", is_flag=True, help="Ask again, too, what failed in earlier starts."),
        click.option(
            *("--set", "defaults"),
            metavar="NAME=VALUE",
            multiple=True,
            help="For requests that do not say it, such as max_completion_tokens=200; VALUE is JSON, else text.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@group()
def bulk() -> None:
    """Work through many requests, with a journal to go on from."""


@bulk.command("run", epilog=_EXAMPLES)
@click.argument("requests", type=click.Path(), metavar="FILE")
@click.option("-j", "--journal", type=_File, help="Where answers are kept; FILE.db unless given.")
@_settings
@pass_state
def run_bulk(state: State, /, requests: str, journal: Path | None, **options: Any) -> int:
    """Have the requests in a file answered.

    FILE has a request a line: the body of a chat completion, or a line of the Batch API; - is stdin. Each answer is in
    the journal as soon as it comes. The same command again goes on where it was: after Ctrl-C, a crash, or when there
    is money again. Ctrl-C waits for the calls under way; a second one does not.
    """
    from moonshot_async.cli.bulk.runs import asked, run
    from moonshot_async.cli.inputs import STDIN, is_pipe

    if journal is None:
        if is_pipe(requests):
            which = "stdin" if requests == STDIN else "a pipe"
            raise click.UsageError(f"Requests from {which} need a --journal: there is no file to name it after.")
        journal = Path(f"{requests}.db")
    return run(state, asked(requests, journal, options))


@bulk.command()
@click.argument("journal", type=_File)
@click.argument("requests", type=click.Path(), metavar="[FILE]", required=False)
@_settings
@pass_state
def resume(state: State, /, journal: Path, requests: str | None, **options: Any) -> int:
    """Go on with what a journal holds unanswered.

    Requests that were never read are not in the journal: with FILE, which they came from, those are answered, too.
    """
    from moonshot_async.cli.bulk.runs import asked, check_journal, run

    check_journal(journal)
    return run(state, asked(requests, journal, options))


@bulk.command()
@click.argument("journal", type=_File)
@click.option("-o", "--output", type=_File, help="Write them there; stdout unless given.")
@pass_state
def results(state: State, journal: Path, output: Path | None) -> None:
    """Print what a journal holds, as JSON lines; also while a run goes on."""
    from moonshot_async.cli.bulk.runs import print_results
    from moonshot_async.cli.new_files import target

    print_results(state, journal, target(output, journal))


@bulk.command()
@click.argument("journal", type=_File)
@click.option("--html", type=_File, help="Write a page with charts there, instead of text.")
@click.option("--rpm", type=Amount(least_open=True), metavar="N", help="Requests a minute that the account is allowed.")
@click.option("--tpm", type=Amount(least_open=True), metavar="N", help="Tokens a minute that it is allowed.")
@pass_state
def report(state: State, journal: Path, html: Path | None, rpm: float | None, tpm: float | None) -> None:
    """Say what became of a run: counts, errors, latency, rates against the limits, cost, time lost.

    Also while a run goes on. What the account is allowed is in the journal where the run was told, with --tier.
    """
    from moonshot_async.bulk.report import report_of
    from moonshot_async.cli.new_files import STDOUT, NewFile, target

    if target(html, journal) is None and html is not None and state.json:
        raise click.UsageError("--html - and --json would both print on stdout: give one.")
    made = report_of(journal, rpm=rpm, tpm=tpm)
    if str(html) == STDOUT:
        state.output.raw(made.html().encode())
        return
    if html is not None:
        page = made.html().encode()
        with NewFile(html) as file:
            file.write(page)
        if not state.json:
            state.output.note(f"{len(page):,} bytes written to {html}.")
    if state.json:
        state.output.document(made)
    elif html is None:
        state.output.text(made.text())
