"""Reads one document after another, some at a time, and none with the same content twice."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

from moonshot_async.clocks import CONTEXT_DEADLINE, until
from moonshot_async.errors import (
    AuthenticationError,
    ClientClosedError,
    DocumentError,
    QuotaExceededError,
    UploadError,
)
from moonshot_async.toolkit.documents.reading import Read, Reader
from moonshot_async.toolkit.documents.texts import Document, DocumentProgress, document_of, document_without_text
from moonshot_async.toolkit.file_sources import GivenFile, KnownFile, late
from moonshot_async.toolkit.flights import Flight, Flights
from moonshot_async.toolkit.many import each

OnProgress: TypeAlias = Callable[[DocumentProgress], Awaitable[object] | object]

# Where these fail for one file they fail for all of them.
_FATAL: Final = (AuthenticationError, ClientClosedError, QuotaExceededError)


class Desk:
    """Where documents are read.

    Args:
        reader: brings the text of one.
        parallel: how many are read at a time.
    """

    def __init__(self, reader: Reader, parallel: int) -> None:
        self._reader = reader
        self._parallel = parallel
        self._turns = asyncio.Semaphore(parallel)
        self._flights: Flights[Read] = Flights()

    async def documents(self, given: list[GivenFile], progress: OnProgress | None) -> list[Document]:
        """Read many, in their order; those that cannot be read say why."""
        done = 0
        fatal: Exception | None = None

        async def one(file: GivenFile) -> Document:
            nonlocal done, fatal
            try:
                if fatal is not None:
                    raise fatal
                document = await self.document(file)
            except Exception as error:  # noqa: BLE001  # the others go on, and it is told with the file
                document = document_without_text(file.shown, file.name, error)
                fatal = error if isinstance(error, _FATAL) else fatal
            done += 1
            if progress is not None:
                told = progress(DocumentProgress(done, len(given), document))
                if inspect.isawaitable(told):
                    await told
            return document

        try:
            return await each(one, given, parallel=self._parallel)
        finally:
            fatal = None

    async def document(self, given: GivenFile) -> Document:
        """Read one.

        Raises:
            DocumentError: there is no text in it.
            whatever reading, uploading and the service raise.
        """
        await until(CONTEXT_DEADLINE.get(), self._turns.acquire(), late)
        try:
            read, mine = await self._read(given)
        except DocumentError as error:
            # It may have been told of another file with this content.
            reason = error.reason
        else:
            cached = not (mine and read.uploaded)
            return document_of(
                given.shown, given.name, read.data, cached=cached, file_id=read.file_id if mine else None
            )
        finally:
            self._turns.release()
        raise DocumentError(given.shown, reason)

    async def _read(self, given: GivenFile) -> tuple[Read, bool]:
        """What is in a file, and whether it was not another call that read it."""
        while True:
            file = await given.known(await given.measured())
            work = _Work(self._reader, given, file)
            try:
                return await self._flights.join(work.key, work, file.close, late), work.mine
            except UploadError:
                # The file of the other call is not what it was; this one may be.
                if work.mine:
                    raise


class _Work:
    """The reading of one file; does nothing before it is called.

    Attributes:
        key: equal for what gives equal texts.
        mine: whether it was called.
    """

    def __init__(self, reader: Reader, given: GivenFile, file: KnownFile) -> None:
        self.key = file.key(given.suffix)
        self.mine = False
        self._reader = reader
        self._given = given
        self._file = file

    def __call__(self, flight: Flight[Read]) -> Coroutine[Any, Any, Read]:
        self.mine = True
        return self._reader.read(self._file, self._given.shown, self.key, flight)
