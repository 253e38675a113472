"""A bulk run on the command line: live progress, Ctrl-C, results and the last word."""

import asyncio
import signal
import sys
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
import msgspec

from moonshot_async.cli.endings import DONE, FAILED, INTERRUPTED, SOME_FAILED, described
from moonshot_async.cli.inputs import STDIN, is_pipe, lines_of
from moonshot_async.cli.new_files import STDOUT, NewFile, target
from moonshot_async.cli.output import plain, to_json
from moonshot_async.cli.progress import Bar
from moonshot_async.cli.signals import TERMINATED
from moonshot_async.cli.state import State
from moonshot_async.errors import MoonshotError

if TYPE_CHECKING:
    from moonshot_async.bulk import BulkResult, BulkRun, Progress
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.middleware.limits import RateLimits

# How often it is told how far the run is, where that is not drawn, in seconds.
_TELL: Final = 30.0
# What `client.bulk` takes that is no word of a request, and no option.
_OURS: Final = {"handle_signals", "journal", "on_progress", "replay", "requests", "self"}


class Asked(msgspec.Struct, kw_only=True):
    """What a command was asked to do.

    Attributes:
        requests: the path of their file, or "-"; None for those that the journal holds.
        output: where results go: the path of a file, or "-"; None for nowhere.
        limits: of the account; None where nobody said.
        options: of `client.bulk`.
    """

    requests: str | None
    journal: Path
    output: str | None
    limits: Any
    options: dict[str, Any]

    @property
    def file(self) -> Path | None:
        """The file that results go to in the end; None for none."""
        return None if self.output in (None, STDOUT) else Path(str(self.output))


def asked(requests: str | None, journal: Path, options: dict[str, Any]) -> Asked:
    """Check the options of a command.

    Raises:
        click.UsageError: one cannot work.
    """
    tier, output = options.pop("tier"), options.pop("output")
    defaults = dict(map(_default, options.pop("defaults")))
    limits = None if tier is None else _limits(tier)
    for name in defaults:
        if name in options:
            raise click.UsageError(f"--set {name}=… is an option of its own: --{name.replace('_', '-')}.")
        if name in _OURS:
            raise click.UsageError(f"--set {name}=… is nothing that a request says.")
    if output not in (None, STDOUT):
        target(Path(output), journal, None if requests is None else Path(requests))
    given = {name: value for name, value in options.items() if value is not None}
    return Asked(requests=requests, journal=journal, output=output, limits=limits, options={**defaults, **given})


def check_journal(journal: Path) -> None:
    """Refuse what is no journal.

    Raises:
        ConfigurationError: there is no such file, or it is something else.
    """
    from moonshot_async.bulk import Journal

    Journal(journal).close()


def run(state: State, asked: Asked) -> int:
    """Run to the end, or to Ctrl-C, and write the results; tells the exit code.

    Raises:
        MoonshotError: what ended the run before its requests did. What was answered before is written, too.
    """
    try:
        code = state.run(_run(state, asked))
    except MoonshotError:
        if asked.file is not None and asked.journal.is_file():
            with suppress(MoonshotError, OSError):
                print_results(state, asked.journal, asked.file)
        raise
    if asked.file is not None:
        print_results(state, asked.journal, asked.file)
    return code


async def _run(state: State, asked: Asked) -> int:
    if asked.requests is None and asked.output == STDOUT:
        # What earlier starts have answered is given again where requests are; here there are none.
        print_results(state, asked.journal, None, failed=not asked.options["retry_failed"])
    async with state.client(limits=asked.limits) as client:
        # Results that are printed on a terminal would be written over it.
        printed = asked.output == STDOUT and sys.stdout.isatty()
        with Bar(state.output, "bulk", unit="calls", hidden=printed) as bar:
            bulk_run = _begun(client, asked, _Teller(state, bar))
            with _Interrupts(state, bulk_run, bar) as interrupts:
                if asked.output == STDOUT:
                    async for result in bulk_run:
                        state.output.line(line_of(result))
                else:
                    await bulk_run.wait()
    return _last_word(state, bulk_run.progress, asked, interrupts.code)


def print_results(state: State, journal: Path, path: Path | None, *, failed: bool = True) -> None:
    """Print what a journal holds, or write it into a file; without what failed, if that is not wanted."""
    from moonshot_async.bulk import Journal

    with Journal(journal) as opened, nullcontext() if path is None else NewFile(path) as file:
        for result in opened.results():
            if result.error is not None and not failed:
                continue
            if file is None:
                state.output.line(line_of(result))
            else:
                file.write(to_json(line_of(result)) + b"\n")


def line_of(result: "BulkResult") -> dict[str, Any]:
    """A result, in the form of those of a batch, with what the journal knows beside."""
    answered = None
    if result.completion is not None:
        answered = {"status_code": 200, "request_id": result.request_id, "body": result.completion.to_dict()}
    return {
        "custom_id": result.id,
        "response": answered,
        "error": None if result.error is None else described(result.error),
        "failed_attempts": len(result.attempts),
        "cost": None if result.cost is None else plain(result.cost),
        "began": result.began,
        "ended": result.ended,
    }


class _Teller:
    """Says how far a run is: drawn on a terminal, elsewhere a line now and then."""

    def __init__(self, state: State, bar: Bar) -> None:
        self._state = state
        self._bar = bar
        self._told = 0.0

    def __call__(self, progress: "Progress") -> None:
        if self._bar.drawn:
            self._bar.update(progress.done + progress.failed, progress.total, note=_rates(progress))
        elif progress.elapsed - self._told >= _TELL:
            self._told = progress.elapsed
            of = "" if progress.total is None else f" of {progress.total:,}"
            self._state.output.note(f"{progress.done + progress.failed:,}{of}, {_rates(progress)}")


class _Interrupts:
    """Ctrl-C and SIGTERM: the first one lets calls under way end, the second one does not."""

    def __init__(self, state: State, bulk_run: "BulkRun", bar: Bar) -> None:
        self._state = state
        self._run = bulk_run
        self._bar = bar
        self._caught: list[signal.Signals] = []
        self.code: int | None = None

    def __enter__(self) -> "_Interrupts":
        loop = asyncio.get_running_loop()
        try:
            for number, code in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)):
                loop.add_signal_handler(number, self._interrupt, code)
                self._caught.append(number)
        except (NotImplementedError, RuntimeError, ValueError):
            # On Windows Ctrl-C cancels the run, which leaves the journal in order, too.
            pass
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        while self._caught:
            loop.remove_signal_handler(self._caught.pop())

    def _interrupt(self, code: int) -> None:
        if self.code is None:
            self.code = code
            count = self._run.progress.in_flight
            under_way = "1 call is" if count == 1 else f"{count:,} calls are"
            with self._bar.aside():
                self._state.output.note(f"Stopping: {under_way} under way. Ctrl-C once more leaves at once.")
        self._run.stop()


def _begun(client: "AsyncMoonshot", asked: Asked, teller: _Teller) -> "BulkRun":
    try:
        return client.bulk(
            _requests(asked.requests),
            journal=asked.journal,
            replay=asked.output == STDOUT,
            on_progress=teller,
            **asked.options,
        )
    except TypeError as error:
        # Of --set: there is no such keyword.
        problem = str(error)
    raise click.UsageError(f"{problem}.")


def _last_word(state: State, progress: "Progress", asked: Asked, interrupted: int | None) -> int:
    # All may have been over by then.
    stopped = None if progress.left == 0 else interrupted
    if state.json and asked.output != STDOUT:
        told = {name: getattr(progress, name) for name in ("done", "failed", "total", "tokens", "elapsed")}
        money = {"cost": plain(progress.cost), "currency": progress.currency}
        state.output.document({**told, **money, "journal": str(asked.journal), "stopped": stopped is not None})
    else:
        state.output.note(_summary(progress, asked.journal))
    if stopped is not None:
        state.output.note("Stopped before its end; the same command goes on.")
        return stopped
    return DONE if not progress.failed else SOME_FAILED if progress.done else FAILED


def _summary(progress: "Progress", journal: Path) -> str:
    """What became of a run, in one line."""
    of = "" if not progress.left else f" of {progress.total:,}"
    return (
        f"{progress.done:,}{of} answered, {progress.failed:,} failed, {progress.tokens:,} tokens, {_cost(progress)}, "
        f"in {progress.elapsed:.1f} s; all of it is in {journal}"
    )


def _rates(progress: "Progress") -> str:
    words = [f"{progress.rate:.1f}/s", f"{progress.failed:,} failed", _cost(progress)]
    if progress.eta is not None:
        words.insert(1, f"{_clock(progress.eta)} left")
    return ", ".join(words)


def _cost(progress: "Progress") -> str:
    return f"{progress.cost:.4f} {progress.currency.upper()}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _requests(requests: str | None) -> "Path | Iterable[bytes] | None":
    if requests is None:
        return None
    if requests == STDIN:
        return _stdin()
    return lines_of(requests) if is_pipe(requests) else Path(requests)


def _stdin() -> BinaryIO:
    """Stdin, to be read in a thread that may still wait when the program ends."""
    try:
        # Not sys.stdin itself: Python waits for its lock at the end.
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):
        # There is no file behind it.
        return sys.stdin.buffer


def _default(text: str) -> tuple[str, Any]:
    """A keyword of a request."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise click.UsageError(f"--set takes NAME=VALUE, such as max_completion_tokens=200, not {text!r}.")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _limits(tier: int) -> "RateLimits":
    from moonshot_async.catalog import CATALOG
    from moonshot_async.middleware.limits import RateLimits

    if tier not in {known.tier for known in CATALOG.tiers}:
        tiers = ", ".join(str(known.tier) for known in CATALOG.tiers)
        raise click.UsageError(f"There is no tier {tier}: the tiers are {tiers}.")
    return RateLimits.tier(tier)
