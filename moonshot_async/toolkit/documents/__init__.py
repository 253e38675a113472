"""Documents as text, and questions about them.

    async with Documents(client) as documents:
        text = await documents.extract(Path("contract.pdf"))
        answer = await documents.ask([Path("a.pdf"), Path("b.docx")], "What differs?", model="kimi-k2.6")
        print(answer.text, answer.errors)

A document is uploaded, read by the service, and deleted again, whatever happens meanwhile; what may be left all the
same, after an answer that was lost, is in `Documents.leftovers`. Equal files are uploaded once, however they are
called, also by calls at the same time; texts are kept in memory or in a directory.

See: https://platform.kimi.ai/docs/guide/use-kimi-api-for-file-based-qa
"""

import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, Unpack

from moonshot_async.catalog import CATALOG
from moonshot_async.clocks import CONTEXT_DEADLINE, deadline
from moonshot_async.errors import ConfigurationError, DocumentsError, MoonshotError
from moonshot_async.toolkit.documents.cleaning import Janitor, JanitorOptions, JanitorReport
from moonshot_async.toolkit.documents.desk import Desk, OnProgress
from moonshot_async.toolkit.documents.questions import Asked, DocumentAnswer, Fit, Question, ask_about
from moonshot_async.toolkit.documents.reading import Leftover, Reader, Uploaded
from moonshot_async.toolkit.documents.text_cache import DirectoryCache, MemoryCache, TextCache, cache_of
from moonshot_async.toolkit.documents.texts import Document, DocumentProgress
from moonshot_async.toolkit.file_sources import given_file, given_files, late
from moonshot_async.toolkit.many import check_parallel
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven

if TYPE_CHECKING:
    from moonshot_async.catalog import Catalog
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.resources.uploads import FileTypes
    from moonshot_async.types.chat_params import MessageParam

__all__ = [
    "DirectoryCache",
    "Document",
    "DocumentAnswer",
    "DocumentProgress",
    "Documents",
    "JanitorReport",
    "Leftover",
    "MemoryCache",
    "TextCache",
    "ask",
    "extract",
    "janitor",
]

Errors: TypeAlias = Literal["return", "raise"]
_PURPOSE: Final = "file-extract"


class Documents:
    """Reads documents and asks about them. Belongs to one event loop.

    Works without being closed; leaving it (`async with`) tries once more to delete what could not be deleted.

    Args:
        client: asks the service. Its settings count for each call: `client.with_options(timeout=…)`.
        cache: where texts are kept: a directory, an object with `get` and `put`, or None for nowhere. In memory, up to
            64 MiB, unless given.
        parallel: how many files are read at a time, over all calls.
        keep_uploaded: leave the files in the account; `Document.file_id` tells their ids.
        poll_interval: seconds between two looks at a file that the service is still at work on.
        catalog: knows the windows of models.

    Attributes:
        client: as given.

    Raises:
        ConfigurationError: `parallel` or `poll_interval` cannot be.
        TypeError: `cache` is nothing that keeps texts.

    See: https://platform.kimi.ai/docs/guide/use-kimi-api-for-file-based-qa
    """

    def __init__(
        self,
        client: "AsyncMoonshot",
        *,
        cache: TextCache | os.PathLike[str] | NotGiven | None = NOT_GIVEN,
        parallel: int = 8,
        keep_uploaded: bool = False,
        poll_interval: float = 1.0,
        catalog: "Catalog | None" = None,
    ) -> None:
        self.client = client
        self._uploaded = Uploaded(client, poll_interval)
        reader = Reader(client, self._uploaded, cache_of(cache), keep=keep_uploaded)
        self._desk = Desk(reader, check_parallel(parallel))
        self._catalog = CATALOG if catalog is None else catalog

    async def extract(self, file: "FileTypes", *, timeout: float | None = None) -> str:
        """The text of a document.

        Args:
            file: as for `client.files.create`: a `Path`, an open file, bytes, or a tuple of a name and one of these.
                The end of the name says what kind of document it is.
            timeout: seconds for all of it.

        Raises:
            DocumentError: the service could not read it, or read no text in it.
            ConfigurationError: the file is missing, unreadable, empty, larger than 100 MB, or a video.
            UploadError: it changed while it was read or uploaded.
            TypeError: it is nothing that can be sent, such as a str.
            APIError: in all its kinds.
        """
        given = given_file(file, _PURPOSE)
        del file
        with _within(timeout):
            return (await self._desk.document(given)).text

    async def extract_many(
        self,
        files: "Iterable[FileTypes]",
        *,
        errors: Errors = "return",
        progress: OnProgress | None = None,
        timeout: float | None = None,
    ) -> list[Document]:
        """The texts of many documents, in the order given; what fails for one leaves the others alone.

        Args:
            files: each as for `extract`.
            errors: "return" to find what went wrong in `Document.error`, "raise" for one error that names all.
            progress: called with a `DocumentProgress` after each file; may be async. What it raises ends the call.
            timeout: seconds for all of it.

        Raises:
            DocumentsError: with `errors="raise"`, once all the others were read.
            APITimeoutError: with `errors="raise"`, the time is up, or the deadline around it.
            TypeError: `files` is no list, or one of them is nothing that can be sent; before any I/O.
            ConfigurationError: a file object is given twice, or a keyword cannot work.
        """
        if errors not in ("return", "raise"):
            raise ConfigurationError(f"errors must be 'return' or 'raise', not {errors!r}")
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be a function of a DocumentProgress, not {type(progress).__name__}")
        given = given_files(files, _PURPOSE)
        del files
        with _within(timeout):
            documents = await self._desk.documents(given, progress)
        bad = tuple(document for document in documents if not document.ok)
        if bad and errors == "raise":
            raise _unread(bad, len(documents))
        return documents

    async def messages(
        self, files: "Iterable[FileTypes]", *, progress: OnProgress | None = None, timeout: float | None = None
    ) -> "list[MessageParam]":
        """A system message for each document, to stand before questions; always the same for the same files.

        Raises:
            DocumentsError: one could not be read; names all such.
            TypeError: as for `extract_many`.
        """
        reading = self.extract_many(files, errors="raise", progress=progress, timeout=timeout)
        del files
        return [document.message for document in await reading]

    async def ask(
        self,
        files: "Iterable[FileTypes]",
        question: Question,
        *,
        model: str,
        system: str | None = None,
        errors: Errors = "return",
        progress: OnProgress | None = None,
        window: int | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> DocumentAnswer:
        """Ask about documents: what `system` says, a system message for each of them in the order given, the question.

        Whether all of it fits the model's window is estimated by the service first, unless it is sure to.

        Args:
            files: each as for `extract`.
            question: text, or a list of parts where pictures belong to it.
            model: the id.
            system: stands before the documents.
            errors: "return" to ask about those that could be read, and find the others in `answer.errors`; "raise" for
                one error that names all, and no question.
            progress: as for `extract_many`.
            window: tokens of prompt and answer together, where the catalog does not know the model, or better.
            timeout: seconds for all of it.
            **options: of `client.chat.completions.create`; room is kept for `max_completion_tokens`, else for 1,024
                tokens.

        Raises:
            DocumentsError: none could be read, or with `errors="raise"` not all.
            DocumentsTooLongError: it does not fit; says by how much, and which are the largest. Nothing was asked.
            ConfigurationError: the question is empty, there are no files, or a keyword cannot work.
            TypeError: as for `extract_many`, or a keyword does not exist.
            APIError: in all its kinds.
        """
        asked = Asked(question, system, model, options)
        fit = Fit(self._catalog, window)
        with _within(timeout):
            reading = self.extract_many(files, errors=errors, progress=progress)
            # What is private stays in no frame that waits.
            del question, system, files
            options.clear()
            asked.documents = tuple(await reading)
            if not asked.documents:
                raise ConfigurationError("there are no files to ask about")
            if not any(document.ok for document in asked.documents):
                raise _unread(asked.documents, len(asked.documents))
            return await ask_about(self.client, asked, fit)

    async def janitor(self, **options: Unpack[JanitorOptions]) -> JanitorReport:
        """Make room in the account, which may have 1,000 files and 10 GB: delete old files; say how full it is.

        What this object could not delete before is tried once more.

        Args:
            **options: see `JanitorOptions`. Unless told otherwise, it deletes documents that are older than a day.

        Raises:
            ConfigurationError: a keyword cannot work.
            APIError: the files, or the batches, cannot be listed.
        """
        keeper = Janitor(**options)
        await self._uploaded.delete_many(self._uploaded.take_left())
        return await keeper.run(self.client)

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """What may have been left in the account, since it could not be deleted; the latest 1,000.

        One whose id is not known is left to the janitor, once it is old enough.
        """
        return tuple(self._uploaded.leftovers)

    async def aclose(self) -> None:
        """Try once more to delete what could not be deleted. The client stays open."""
        await self._uploaded.delete_many(self._uploaded.take_left())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Documents of {self.client!r}>"


async def extract(client: "AsyncMoonshot", file: "FileTypes", *, timeout: float | None = None) -> str:
    """The text of a document; see `Documents.extract`. Nothing is remembered: `Documents` uploads equal files once."""
    async with Documents(client, cache=None) as documents:
        reading = documents.extract(file, timeout=timeout)
        del file
        return await reading


async def ask(
    client: "AsyncMoonshot", files: "Iterable[FileTypes]", question: Question, *, model: str, **options: Any
) -> DocumentAnswer:
    """Ask about documents; see `Documents.ask`, which takes the same keywords."""
    async with Documents(client) as documents:
        asking = documents.ask(files, question, model=model, **options)
        del files, question
        options.clear()
        return await asking


async def janitor(client: "AsyncMoonshot", **options: Unpack[JanitorOptions]) -> JanitorReport:
    """Delete old files of the account, and say how full it is; see `Documents.janitor`."""
    return await Janitor(**options).run(client)


def _unread(documents: tuple[Document, ...], total: int) -> MoonshotError:
    """The error for documents that could not be read; that they could not in time, where there is none left."""
    due = CONTEXT_DEADLINE.get()
    return late() if due is not None and due <= time.monotonic() else DocumentsError(documents, total)


def _within(seconds: float | None) -> AbstractContextManager[None]:
    return nullcontext() if seconds is None else deadline(seconds)
