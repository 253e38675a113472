"""Files that are looked at before they are uploaded: how large they are, and which have the same content.

Read in worker threads, piece by piece. The upload reads a file a second time, and notices if it is another one by then.
"""

import os
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.clocks import CONTEXT_DEADLINE, until
from moonshot_async.errors import APITimeoutError, ConfigurationError, UploadError
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.upload_reading import Reading, Source
from moonshot_async.resources.upload_sources import Measured, measured
from moonshot_async.resources.uploads import MAX_FILE_BYTES, FilePart

if TYPE_CHECKING:
    from moonshot_async.resources.uploads import FileTypes

# To go to a thread and back takes as long as to hash so many bytes.
_SMALL: Final = 64 * 1024
_ADVICE: Final = " check=False"


class GivenFile:
    """A file as a caller gave it, before it was looked at.

    Attributes:
        shown: what errors call it: its path as it was given, or its name.
        name: what the service is told.

    Raises:
        TypeError: it is nothing that can be sent.
        ConfigurationError: it can be sent, but not for this purpose, or a header of its cannot.
    """

    def __init__(self, file: "FileTypes", purpose: str) -> None:
        self._part = part = FilePart(file, purpose)
        self.name = part.name
        self.shown = os.fsdecode(file) if isinstance(file, os.PathLike) else part.name
        self._purpose = purpose

    @property
    def content(self) -> Any:
        """What its bytes come from, as it was given."""
        return self._part.content

    @property
    def media_type(self) -> str | None:
        """As it was given with the content; else None."""
        return self._part.kind

    @property
    def suffix(self) -> str:
        """The end of the name, with its dot, in lower case; empty where there is none."""
        # Not what `Path` says: the service takes the end of `.html` for one, too.
        _, dot, end = self.name.rpartition(".")
        return (dot and dot + end).lower()

    async def measured(self) -> Source:
        """Find out how large it is; whoever gets the source closes it.

        Raises:
            ConfigurationError: it cannot be read, is empty or too large, or of a format the purpose does not have.
            APITimeoutError: the deadline of the context came first.
        """
        self._check_format()
        source = await until(CONTEXT_DEADLINE.get(), measured(self.content), late)
        try:
            self._check_size(source.size)
        except ConfigurationError:
            source.close()
            raise
        return source

    async def known(self, source: Source) -> "KnownFile":
        """Read it; whoever gets the result closes it, and with it the source, which is closed if this fails.

        Raises:
            UploadError: it changed meanwhile, or cannot be read any more.
            APITimeoutError: the deadline of the context came first.
        """
        try:
            digest = await until(CONTEXT_DEADLINE.get(), _digest(source), late)
        except BaseException:
            source.close()
            raise
        return KnownFile(self.name, self._part.kind, self._part.headers, HashedSource(source, digest))

    def _check_format(self) -> None:
        try:
            self._part.check_format(self._purpose)
        except ConfigurationError as error:
            refused = str(error).partition(_ADVICE)[0]
        else:
            return
        raise ConfigurationError(refused)

    def _check_size(self, size: int) -> None:
        problem = f"it has {size} bytes, and the service takes {MAX_FILE_BYTES} (100 MB)"
        if not 0 < size <= MAX_FILE_BYTES:
            raise ConfigurationError(f"file {self.name!r} cannot be uploaded: {problem if size else 'it is empty'}.")


class KnownFile:
    """A file that was looked at.

    Attributes:
        name: what the service is told.
        source: its bytes.
        digest: SHA-256 of them, in hexadecimal.
    """

    def __init__(self, name: str, kind: str | None, headers: dict[str, str], source: "HashedSource") -> None:
        self.name = name
        self.source = source
        self.digest = source.digest
        self._kind = kind
        self._headers = headers

    def upload(self, name: str | None = None) -> Any:
        """What `client.files.create` takes as `file`; it closes the source."""
        return (name or self.name, Measured(self.source), self._kind, self._headers)

    def key(self, *more: str) -> str:
        """A name for the content, and for what else the service goes by."""
        return sha256("\0".join((self.digest, self._kind or "", *more)).encode("utf-8", "surrogatepass")).hexdigest()

    def close(self) -> None:
        """Let go of it; never waits, and may be repeated."""
        self.source.close()


class HashedSource:
    """A source whose content is known: a pass that finds another one fails before its last piece is handed out.

    Attributes:
        size: how many bytes there are.
        digest: SHA-256 of them, in hexadecimal.
        all_out: whether the latest pass has handed out the last piece.
        times_out: how many passes have.
        given_up: whether none does any more.
    """

    def __init__(self, source: Source, digest: str) -> None:
        self._source = source
        self.size = source.size
        self.digest = digest
        self.all_out = False
        self.times_out = 0
        self.given_up = False

    def give_up(self) -> bool:
        """Hand out no more pieces; whether that is too late, since all of it is out.

        A transport may go on writing for a moment after its call was cancelled; and what is out is not sent again.
        """
        self.given_up = True
        return self.all_out

    def reading(self) -> "Reading":
        self.all_out = False
        return _HashedPass(self, self._source.reading())

    def close(self) -> None:
        self._source.close()


class _HashedPass:
    def __init__(self, source: HashedSource, reading: Reading) -> None:
        self._source = source
        self._reading = reading
        self._hash = sha256()
        self.close = reading.close

    async def next(self, sent: int) -> bytes:
        piece = await self._reading.next(sent)
        await _feed(self._hash, piece)
        if self._source.given_up:
            raise UploadError("The upload was given up.")
        if sent + len(piece) == self._source.size:
            if self._hash.hexdigest() != self._source.digest:
                raise UploadError(
                    "The file changed after it was looked at: it has as many bytes, but other ones. Upload it again "
                    "once it is complete."
                )
            self._source.all_out = True
            self._source.times_out += 1
        return piece


def given_file(file: "FileTypes", purpose: str) -> GivenFile:
    """A file as it was given; what is in it stays in no frame of an error."""
    try:
        return GivenFile(file, purpose)
    except Exception as error:
        forget_locals(error)
        raise
    finally:
        del file


def given_files(files: "Iterable[FileTypes]", purpose: str) -> list[GivenFile]:
    """Files as they were given.

    Raises:
        TypeError: it is no list of files, or one of them is nothing that can be sent.
        ConfigurationError: a file object is in it twice, and would be read at two places at once.
    """
    single = isinstance(files, (str, bytes, bytearray, memoryview, os.PathLike)) or hasattr(files, "read")
    if single or not isinstance(files, Iterable):
        raise TypeError(f"files must be a list of files, such as [Path('a.pdf')], not {type(files).__name__}")
    given = [given_file(file, purpose) for file in files]
    del files
    objects = [id(file.content) for file in given if hasattr(file.content, "read")]
    if len(set(objects)) < len(objects):
        raise ConfigurationError("the same file object is given twice: give the path, or the bytes")
    return given


def late() -> APITimeoutError:
    """The deadline of the context came first."""
    return APITimeoutError(message="The deadline ran out while a file was read or uploaded.", clock="deadline")


async def _digest(source: Source) -> str:
    reading, hashing, done = source.reading(), sha256(), 0
    try:
        while done < source.size:
            piece = await reading.next(done)
            await _feed(hashing, piece)
            done += len(piece)
            del piece
    finally:
        reading.close()
    return hashing.hexdigest()


async def _feed(hashing: Any, piece: bytes) -> None:
    if len(piece) <= _SMALL:
        hashing.update(piece)
        return
    from anyio import to_thread

    await to_thread.run_sync(hashing.update, piece)


_: type[Source] = HashedSource
