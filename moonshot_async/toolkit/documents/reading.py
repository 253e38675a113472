"""The way of one document: from the cache; or uploaded, waited for, read and deleted, whatever happens around it.

See: https://platform.kimi.ai/docs/guide/use-kimi-api-for-file-based-qa
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.clocks import CONTEXT_DEADLINE
from moonshot_async.errors import ConfigurationError, DocumentError, MoonshotError, NotFoundError
from moonshot_async.middleware.log import logger
from moonshot_async.toolkit.documents.text_cache import TextCache
from moonshot_async.toolkit.documents.texts import decoded, encoded
from moonshot_async.toolkit.file_sources import KnownFile
from moonshot_async.toolkit.flights import LAST_SECONDS, TIDY_SECONDS, Flight, always, never
from moonshot_async.toolkit.many import each

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.errors import Attempt
    from moonshot_async.types.files import FileObject

# So many leftovers are remembered, the latest.
_MOST_LEFT: Final = 1000
# Deletions at a time.
_PARALLEL: Final = 8
# Failures and statuses that do not say whether the service has what was sent; the statuses are those of gateways.
_UNTOLD: Final = frozenset(
    {
        "CancelledError",
        "APIConnectionError",
        "APITimeoutError",
        "APIResponseValidationError",
        "ResponseTooLargeError",
        "ClientClosedError",
        # Before it was sent again.
        "UploadError",
        "408",
        "502",
        "504",
    }
)


class Leftover(msgspec.Struct, frozen=True):
    """A file that may still be in the account.

    Attributes:
        name: what the service was told.
        file_id: None where an answer to the upload never came, also if it was sent again then: the service may or may
            not have it.
        reason: what kept it from being deleted.
    """

    name: str
    file_id: str | None
    reason: str


class Uploaded:
    """Uploads files and deletes them again, and remembers what could not be deleted.

    Args:
        client: asks the service.
        poll_interval: seconds between two looks at a file that the service is still at work on.

    Attributes:
        leftovers: what could not be deleted, the latest last.

    Raises:
        ConfigurationError: `poll_interval` cannot be.
    """

    def __init__(self, client: "AsyncMoonshot", poll_interval: float) -> None:
        if not poll_interval > 0:
            raise ConfigurationError("poll_interval must be more than 0 seconds")
        self.leftovers: list[Leftover] = []
        self._files = client.files
        self._poll_interval = poll_interval

    async def upload(
        self, file: KnownFile, purpose: str, flight: Flight[Any], *, name: str | None = None
    ) -> "FileObject":
        """Upload a file.

        Once all of it is out, a flight that nobody waits for any more still waits for the answer, for a while: without
        the id the file could not be deleted.
        """
        flight.unhurried = file.source.give_up
        told = name or file.name
        try:
            created, failed = await self._sent(file.upload(name), purpose)
        except (asyncio.CancelledError, MoonshotError) as error:
            self._note_lost(told, file.source.times_out, _failures(error))
            raise
        finally:
            flight.unhurried = never
        self._note_lost(told, file.source.times_out - 1, [attempt.error for attempt in failed])
        return created

    async def delete(self, file_id: str, name: str, flight: Flight[Any]) -> None:
        """Delete a file that nobody else knows; what keeps it there is noted and logged, not raised."""
        flight.unhurried = always
        try:
            await self._files.delete(file_id, timeout=flight.seconds_left)
        except NotFoundError:
            return
        except MoonshotError as error:
            self._note(Leftover(name, file_id, type(error).__name__))
        except asyncio.CancelledError:
            self._note(Leftover(name, file_id, "cancelled"))
            raise

    async def processed(self, file: "FileObject", shown: str) -> None:
        """Wait until the service is done with a file.

        Raises:
            DocumentError: it could not read it.
        """
        if file.pending:
            file = await self._files.wait_for_processing(file.id, poll_interval=self._poll_interval)
        if file.status == "error":
            raise DocumentError(shown, f"the service could not read it: {file.status_details or 'it does not say why'}")

    async def delete_many(self, files: Sequence[tuple[str, str]]) -> None:
        """Delete files, given by id and name, whatever happens around, in a bounded time; notes what stays."""
        from anyio import move_on_after

        left = dict(files)
        due = CONTEXT_DEADLINE.get()
        seconds = TIDY_SECONDS if due is None else min(TIDY_SECONDS, max(LAST_SECONDS, due - time.monotonic()))

        async def delete(file_id: str) -> None:
            try:
                await self._files.delete(file_id, timeout=seconds)
            except NotFoundError:
                pass
            except MoonshotError as error:
                self._note(Leftover(left[file_id], file_id, type(error).__name__))
            del left[file_id]

        # The deadline around it has its part in `seconds`.
        token = CONTEXT_DEADLINE.set(None)
        try:
            with move_on_after(seconds, shield=True):
                await each(delete, list(left), parallel=_PARALLEL)
        finally:
            CONTEXT_DEADLINE.reset(token)
            for file_id, name in left.items():
                self._note(Leftover(name, file_id, f"not within {seconds:g} s"))

    def take_left(self) -> list[tuple[str, str]]:
        """Id and name of what could not be deleted and has an id: to be tried once more."""
        taken = [(left.file_id, left.name) for left in self.leftovers if left.file_id is not None]
        self.leftovers = [left for left in self.leftovers if left.file_id is None]
        return taken

    async def _sent(self, upload: Any, purpose: str) -> "tuple[FileObject, tuple[Attempt, ...]]":
        """A file that was uploaded, and the sendings before, which failed."""
        answer = await self._files.with_raw_response.create(file=upload, purpose=purpose)
        try:
            return answer.parse(), answer.http_request.earlier
        finally:
            # It holds what was sent, and an error would hold it.
            del answer, upload

    def _note_lost(self, name: str, times_out: int, failures: Sequence[str]) -> None:
        """Note what the service may have of a file of which all went out so often without an answer to tell.

        It is not looked for: what an account lists has names, sizes and times, which do not tell this file from one
        that another program has uploaded meanwhile.
        """
        lost = [failure for failure in failures if failure.rpartition(" ")[2] in _UNTOLD]
        for failure in lost[:times_out]:
            self._note(Leftover(name, None, f"{failure} while its answer was waited for"))

    def _note(self, leftover: Leftover) -> None:
        self.leftovers = [*self.leftovers, leftover][-_MOST_LEFT:]
        logger.warning("file %s was not deleted: %s", leftover.file_id or "of an unknown id", leftover.reason)


def _failures(error: BaseException) -> list[str]:
    """What became of each sending; the error itself last."""
    failures = [attempt.error for attempt in getattr(error, "attempts", ())]
    own = type(error).__name__
    return failures if failures and failures[-1].startswith(own) else [*failures, own]


class Reader:
    """Brings the text of documents.

    Args:
        client: asks the service.
        uploaded: uploads and deletes.
        cache: is asked first; None for none.
        keep: leave the files in the account.
    """

    def __init__(self, client: "AsyncMoonshot", uploaded: Uploaded, cache: TextCache | None, *, keep: bool) -> None:
        self._files = client.files
        self._uploaded = uploaded
        self._cache = cache
        self._keep = keep

    async def read(self, file: KnownFile, shown: str, key: str, flight: Flight["Read"]) -> "Read":
        """The text of a document as it is kept, and the id of its file if that was uploaded and is kept.

        Raises:
            DocumentError: the service could not read it.
            whatever the calls to the service raise.
        """
        if self._cache is not None:
            data = await self._cache.get(key)
            if data is not None and decoded(data) is not None:
                return Read(data, None, uploaded=False)
        # While the client is drained it goes on to the end.
        with self._files.as_one_call():
            read = await self._from_service(file, shown, flight)
        if self._cache is not None:
            await self._cache.put(key, read.data)
        return read

    async def _from_service(self, file: KnownFile, shown: str, flight: Flight["Read"]) -> "Read":
        created = await self._uploaded.upload(file, "file-extract", flight)
        keep = False
        try:
            flight.check()
            await self._uploaded.processed(created, shown)
            content = await self._files.content(created.id)
            read = Read(encoded(content), created.id if self._keep else None, uploaded=True)
            if self._keep:
                # Whoever wanted it kept is gone.
                flight.check()
            keep = self._keep
            return read
        finally:
            if not keep:
                await self._uploaded.delete(created.id, file.name, flight)


class Read:
    """What was read, as it is kept; it may be private, so that nothing shows it.

    Attributes:
        data: see `texts.encoded`.
        file_id: of a file that was uploaded and is kept.
        uploaded: whether it came from the service.
    """

    def __init__(self, data: bytes, file_id: str | None, *, uploaded: bool) -> None:
        self.data = data
        self.file_id = file_id
        self.uploaded = uploaded
