"""How the files of a batch come to disk: requests line by line, results from the network.

The event loop makes lines and takes pieces off the network; what touches the disk runs in worker threads, many lines
at a time.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from moonshot_async.clocks import BodyClocks, pause, time_left
from moonshot_async.errors import APITimeoutError, ConfigurationError, MoonshotError, StreamInterruptedError
from moonshot_async.pipeline import Pipeline, read_piece
from moonshot_async.resources.batch_lines import AnyRequest, LineMaker
from moonshot_async.resources.call import CallOptions, path_segment
from moonshot_async.resources.uploads import MAX_FILE_BYTES
from moonshot_async.types.batches import Batch

if TYPE_CHECKING:
    from moonshot_async.resources.batch_spool import Kind, Spool

T = TypeVar("T")
Requests: TypeAlias = Iterable[AnyRequest] | AsyncIterable[AnyRequest]

# What is worth a thread.
_LINES: Final = 256
_LINE_BYTES: Final = 1024 * 1024
_IDS: Final = 4096
_PIECE_BYTES: Final = 256 * 1024
# How often a download is begun, and the wait after the first time in seconds, which doubles.
_DOWNLOADS: Final = 4
_WAIT: Final = 1.0


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call what blocks: it works on the spool.

    Raises:
        ConfigurationError: the disk is full, or the directory for temporary files cannot be used.
    """
    # anyio is imported late, as everywhere.
    from anyio import to_thread

    try:
        return await to_thread.run_sync(function, *args)
    except MoonshotError:
        raise
    except Exception as error:
        # Imported by then, if it was used.
        import sqlite3

        if not isinstance(error, (OSError, sqlite3.Error)):
            raise
        raise ConfigurationError(
            f"requests and results of a batch are kept in temporary files, and cannot be: {error}. Make room, or name "
            "another directory in TMPDIR. A batch that was created goes on: run it again with its batch_id."
        ) from error


async def new_spool() -> "Spool":
    """A place on disk."""
    return await in_thread(_new_spool)


def _new_spool() -> "Spool":
    # sqlite3 and tempfile are imported by those who run a batch, and off the event loop.
    from moonshot_async.resources.batch_spool import Spool

    return Spool()


async def write_skipped(spool: "Spool", skip: Iterable[str]) -> None:
    """Note the ids that are left out.

    Raises:
        TypeError: one is no text.
    """
    ids = iter(skip)
    while some := list(islice(ids, _IDS)):
        for custom_id in some:
            if not isinstance(custom_id, str):
                raise TypeError(f"skip must hold custom_ids, which are texts, not {type(custom_id).__name__}")
        await in_thread(spool.skip, some)


async def write_requests(spool: "Spool", requests: Requests, maker: LineMaker, *, bounded: bool) -> None:
    """Write the requests; `bounded` to what a file may have.

    Raises:
        ConfigurationError: there are none or too many, or one breaks a rule.
    """
    async with aclosing(_slices(requests, maker)) as slices:
        async for lines in slices:
            await in_thread(spool.add, lines)
            if bounded and spool.request_bytes > MAX_FILE_BYTES:
                raise ConfigurationError(
                    f"the input file of a batch has {MAX_FILE_BYTES} bytes at most, and these requests have more by "
                    f"{maker.what}: run several batches"
                )
    if not maker.position:
        raise ConfigurationError("requests is empty: a batch has at least one")


async def _slices(requests: Requests, maker: LineMaker) -> AsyncGenerator[list[tuple[int, str, bytes]], None]:
    lines: list[tuple[int, str, bytes]] = []
    size = 0
    async with aclosing(_each(requests)) as items:
        async for item in items:
            if (made := maker.line(item)) is None:
                continue
            lines.append((maker.position, *made))
            size += len(made[1])
            if len(lines) >= _LINES or size >= _LINE_BYTES:
                yield lines
                lines, size = [], 0
    if lines:
        yield lines


async def _each(requests: Requests) -> AsyncGenerator[AnyRequest, None]:
    if isinstance(requests, AsyncIterable):
        async for item in requests:
            yield item
    else:
        for item in requests:
            yield item


class Downloads:
    """Brings files of the service to disk.

    Args:
        pipeline: a typed one.
        options: for each call.
        sleep: how to wait.
    """

    def __init__(self, pipeline: Pipeline, options: CallOptions, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._pipeline = pipeline
        self._options = options
        self._sleep = sleep

    async def receive(self, spool: "Spool", file_id: str, kind: "Kind") -> int:
        """Download a file; how many lines it has. One that breaks off is asked for again, from its beginning.

        Raises:
            StreamInterruptedError: it broke off each time.
            ResponseTooLargeError: a line is longer than any answer.
            APIError: in all its kinds.
        """
        wait = _WAIT
        for left in range(_DOWNLOADS - 1, -1, -1):
            try:
                return await self._once(spool, file_id, kind)
            except (StreamInterruptedError, APITimeoutError) as error:
                over = isinstance(error, APITimeoutError) and error.clock in ("total", "deadline")
                if not left or over or time_left() <= wait:
                    raise
            await self._sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")  # pragma: no cover

    async def receive_results(self, spool: "Spool", batch: Batch) -> None:
        """Download the output and the error file of a batch."""
        files = [file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id]
        counts = batch.request_counts
        expected = counts.completed + counts.failed if counts and files else 0
        lines = [await self.receive(spool, file_id, "result") for file_id in files]
        if sum(lines) < expected:
            # They were asked for before they were whole, perhaps; a second time they are believed.
            await pause(_WAIT, self._sleep)
            await in_thread(spool.forget_results)
            for file_id in files:
                await self.receive(spool, file_id, "result")

    async def _once(self, spool: "Spool", file_id: str, kind: "Kind") -> int:
        await in_thread(spool.begin, kind)
        async with aclosing(self._pieces(file_id)) as pieces:
            async for data in pieces:
                await in_thread(spool.feed, data)
        return await in_thread(spool.finish)

    async def _pieces(self, file_id: str) -> AsyncGenerator[bytes, None]:
        """The content of a file as it arrives, in pieces that are worth a thread."""
        options: CallOptions = {**self._options}
        options["extra_headers"] = {"Accept": "*/*", **(options.get("extra_headers") or {})}
        path = f"/files/{path_segment(file_id, 'file_id')}/content"
        request = self._pipeline.request("GET", path, stream=True, **options)
        # What was given stays in no frame that waits: it may hold keys.
        del options
        response = await self._pipeline.open(request)
        request = response.request or request
        clocks = BodyClocks(request, events=False)
        held = bytearray()
        try:
            while piece := await read_piece(request, response, clocks):
                held += piece
                if len(held) >= _PIECE_BYTES:
                    yield bytes(held)
                    held.clear()
            if held:
                yield bytes(held)
        finally:
            response.close()
