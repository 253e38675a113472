"""What the commands of `moonshot batch` ask of the service."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from moonshot_async.cli.endings import DONE, FAILED, SOME_FAILED, described
from moonshot_async.cli.inputs import STDIN, named, opened
from moonshot_async.cli.new_files import NewFile
from moonshot_async.cli.output import to_json
from moonshot_async.cli.progress import Bar
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.resources.batch_results import BatchResult
    from moonshot_async.resources.batch_run import BatchRun
    from moonshot_async.types.batches import Batch

# How often the bar looks at what is known of the batch, in seconds.
_TICK: Final = 0.5
# Between two looks at the embedded service, which takes no time.
_OFFLINE_POLL: Final = 0.01


async def run(state: State, requests: str | None, path: Path | None, options: dict[str, Any]) -> int:
    """Answer requests and print the results; tells the exit code.

    Args:
        state: has the client and the output.
        requests: the path of the file they are in; None for those of a batch that exists.
        path: where results go; None for stdout.
        options: of `batches.run`.
    """
    if state.offline:
        options["poll_interval"] = _OFFLINE_POLL
    done = failed = 0
    async with state.client(samples=requests is None) as client:
        batch_run = _begun(state, client, requests, options)
        async with batch_run:
            async with _watched(state, batch_run):
                await batch_run.wait()
            with nullcontext() if path is None else NewFile(path) as file:
                async for result in batch_run:
                    done, failed = done + (result.error is None), failed + (result.error is not None)
                    line = line_of(result)
                    if file is None:
                        state.output.line(line)
                    else:
                        file.write(to_json(line) + b"\n")
    state.output.note(f"{done} answered, {failed} failed.")
    return DONE if not failed else SOME_FAILED if done else FAILED


async def create(state: State, requests: str, options: dict[str, Any]) -> "Batch":
    """Create a batch, and do not wait for it."""
    async with state.client() as client:
        batch_run = _begun(state, client, requests, options)
        async with batch_run:
            return await batch_run.submit()


async def look(state: State, batch_id: str) -> "Batch":
    """A batch as it is now."""
    async with state.client(samples=True) as client:
        return await client.batches.retrieve(batch_id)


async def listed(state: State, limit: int) -> "list[Batch]":
    """The newest batches."""
    found: list[Batch] = []
    async with state.client(samples=True) as client:
        async for batch in client.batches.list(limit=min(limit, 100)):
            found.append(batch)
            if len(found) == limit:
                break
    return found


async def cancelled(state: State, batch_id: str) -> "Batch":
    """Cancel a batch."""
    async with state.client(samples=True) as client:
        return await client.batches.cancel(batch_id)


def line_of(result: "BatchResult") -> dict[str, Any]:
    """A result, much as the service writes it into its files."""
    answered = None
    if result.completion is not None:
        answered = {
            "status_code": result.status_code,
            "request_id": result.request_id,
            "body": result.completion.to_dict(),
        }
    error = None if result.error is None else described(result.error)
    return {"custom_id": result.custom_id, "response": answered, "error": error}


def _begun(state: State, client: "AsyncMoonshot", requests: str | None, options: dict[str, Any]) -> "BatchRun":
    def tell(batch: "Batch") -> None:
        state.output.note(f"Batch {batch.id}; should this be interrupted: moonshot batch results {batch.id}")

    if requests is not None:
        options["on_batch"] = tell
    return client.batches.run(None if requests is None else requests_of(requests), **options)


def requests_of(path: str) -> Iterator[dict[str, Any]]:
    """The requests in a file, or from stdin, one by one: lines of the Batch API, or bodies of chat completions.

    Raises:
        click.UsageError: a line is no JSON object, or the file cannot be opened.
        OSError: the file cannot be read to its end.
    """
    with nullcontext(sys.stdin.buffer) if path == STDIN else opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _request(line, f"{named(path)}, line {number}")


def _request(line: bytes, where: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        request = None
    if isinstance(request, dict):
        return request
    raise click.UsageError(f"{where} is no JSON object: give a line of the Batch API, or the body of a completion.")


@asynccontextmanager
async def _watched(state: State, batch_run: "BatchRun") -> AsyncIterator[None]:
    """Show how far a batch is, while its results are waited for."""
    with Bar(state.output, "batch") as bar:
        watching = asyncio.ensure_future(_watch(batch_run, bar.update))
        try:
            yield
        finally:
            watching.cancel()


async def _watch(batch_run: "BatchRun", update: Callable[..., None]) -> None:
    while True:
        if (batch := batch_run.batch) is not None:
            counts = batch.request_counts
            if counts is not None and counts.total:
                update(counts.completed + counts.failed, counts.total, words=batch.status)
            else:
                update(0, words=batch.status)
        await asyncio.sleep(_TICK)
