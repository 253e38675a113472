"""Makes room in the account: lists its files, and deletes old ones.

See: https://platform.kimi.ai/docs/api/files
"""

import time
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from heapq import heappush, heappushpop
from itertools import count
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import msgspec

from moonshot_async.errors import ConfigurationError, MoonshotError, NotFoundError
from moonshot_async.toolkit.many import check_parallel, each
from moonshot_async.types.batches import Batch
from moonshot_async.types.files import FileObject

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

# What an account may have.
MAX_FILES: Final = 1000
MAX_BYTES: Final = 10 * 1024**3
DAY: Final = timedelta(days=1)

_UPLOADS: Final = ("file-extract", "image", "video", "batch")
# Files that the requests of a batch may name.
_SHOWN: Final = frozenset({"image", "video"})
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
# An account has 1,000 files; what other hosts may have is not all remembered.
_MOST: Final = 10_000


class JanitorFailure(msgspec.Struct, frozen=True, eq=False):
    """A file that could not be deleted."""

    file: FileObject
    error: MoonshotError


class JanitorReport(msgspec.Struct, frozen=True, eq=False):
    """What a janitor found and did.

    Attributes:
        files, bytes: of the account when it came; what counts towards the limits, so without what batches gave.
        deleted: what it deleted, oldest first; in a dry run, what it would have.
        failures: what it could not delete.
        spared: old enough, but kept: named in `keep`, or a batch under way needs it.
        dry_run: whether nothing was deleted.
        max_files, max_bytes: what an account may have.
    """

    files: int
    bytes: int
    deleted: tuple[FileObject, ...]
    failures: tuple[JanitorFailure, ...]
    spared: tuple[FileObject, ...]
    dry_run: bool
    max_files: int = MAX_FILES
    max_bytes: int = MAX_BYTES

    @property
    def freed_bytes(self) -> int:
        """What the deleted files had."""
        return sum(file.bytes for file in self.deleted)

    @property
    def kept(self) -> int:
        """How many files of those that count are left."""
        return self.files - sum(_counts(file) for file in self.deleted)

    @property
    def kept_bytes(self) -> int:
        """How many bytes those have."""
        return self.bytes - sum(file.bytes for file in self.deleted if _counts(file))

    @property
    def fullness(self) -> float:
        """How near the account is to its limits: 1.0 where no file fits any more."""
        return max(self.kept / self.max_files, self.kept_bytes / self.max_bytes)

    def __str__(self) -> str:
        would = "would delete" if self.dry_run else "deleted"
        failed = f", {len(self.failures)} could not be deleted" if self.failures else ""
        return (
            f"{would} {len(self.deleted)} files of {self.freed_bytes:,} bytes{failed}; {self.kept} of {self.max_files} "
            f"files and {self.kept_bytes:,} of {self.max_bytes:,} bytes are left"
        )


class JanitorOptions(TypedDict, total=False):
    """What a janitor is told.

    Attributes:
        older_than: younger files are never touched, since somebody may be at work with them; a day unless given.
        keep: ids that stay, or a function that says of a file whether it does.
        purposes: which files; ("file-extract",) unless given. What belongs to batches is touched only where it is named
            ("batch", "batch_output"), and what a batch under way needs never; images and videos, too, stay while one is
            under way, since its requests may name them.
        max_files, max_bytes: delete no more than it takes for the account to have so much, oldest first; None, to
            delete whatever is old enough, unless given.
        dry_run: only say what would be deleted.
        parallel: how many deletions there are at a time; 8 unless given.
        clock: the time, in Unix seconds; `time.time` unless given.
    """

    older_than: timedelta
    keep: Collection[str] | Callable[[FileObject], bool]
    purposes: Iterable[str]
    max_files: int | None
    max_bytes: int | None
    dry_run: bool
    parallel: int
    clock: Callable[[], float]


class Janitor:
    """Chooses files and deletes them.

    Raises:
        TypeError: a keyword does not exist.
        ConfigurationError: a number cannot be, or `purposes` is a text.
    """

    def __init__(self, **options: Unpack[JanitorOptions]) -> None:
        for name in options:
            if name not in JanitorOptions.__annotations__:
                known = ", ".join(sorted(JanitorOptions.__annotations__))
                raise TypeError(f"janitor() got an unexpected keyword argument {name!r}; it takes {known}")
        older_than, keep = options.get("older_than", DAY), options.get("keep", ())
        purposes = options.get("purposes", ("file-extract",))
        if not isinstance(older_than, timedelta) or older_than < timedelta(0):
            raise ConfigurationError("older_than must be a timedelta of 0 or more, such as timedelta(days=1)")
        if isinstance(purposes, str) or isinstance(keep, str):
            raise ConfigurationError("purposes and keep are collections of texts, such as ('file-extract', 'image')")
        self._seconds = older_than.total_seconds()
        ids = frozenset() if callable(keep) else frozenset(keep)
        self._keep: Callable[[FileObject], bool] = keep if callable(keep) else lambda file: file.id in ids
        self._purposes = frozenset(purposes)
        self._max_files = _checked("max_files", options.get("max_files"))
        self._max_bytes = _checked("max_bytes", options.get("max_bytes"))
        self._dry_run = options.get("dry_run", False)
        self._parallel = check_parallel(options.get("parallel", 8))
        self._clock = options.get("clock", time.time)

    async def run(self, client: "AsyncMoonshot") -> JanitorReport:
        """Look through the account and delete.

        Raises:
            APIError: the files, or the batches, cannot be listed.
        """
        needed = await self._needed(client)
        old = _Oldest()
        files = size = 0
        until = self._clock() - self._seconds
        async for file in client.files.list():
            if _counts(file):
                files, size = files + 1, size + file.bytes
            # One whose age is unknown is not old.
            if file.purpose in self._purposes and 0 < file.created_at <= until:
                old.add(file)
        chosen, spared = self._chosen(old.files(), needed, files, size)
        failures: list[JanitorFailure] = []
        if not self._dry_run:
            failures = [failure for failure in await self._delete(client, chosen) if failure is not None]
        left = {failure.file.id for failure in failures}
        deleted = tuple(file for file in chosen if file.id not in left)
        return JanitorReport(files, size, deleted, tuple(failures), tuple(spared), self._dry_run)

    def _chosen(
        self, old: list[FileObject], needed: "_Needed", files: int, size: int
    ) -> tuple[list[FileObject], list[FileObject]]:
        """What to delete, and what is old enough but stays."""
        chosen: list[FileObject] = []
        spared: list[FileObject] = []
        for file in old:
            if self._keep(file) or needed.has(file):
                spared.append(file)
            elif not self._enough(files, size):
                chosen.append(file)
                if _counts(file):
                    files, size = files - 1, size - file.bytes
        return chosen, spared

    def _enough(self, files: int, size: int) -> bool:
        """Whether the account has no more than it is to have."""
        if self._max_files is None and self._max_bytes is None:
            return False
        return (self._max_files is None or files <= self._max_files) and (
            self._max_bytes is None or size <= self._max_bytes
        )

    async def _needed(self, client: "AsyncMoonshot") -> "_Needed":
        needed = _Needed()
        # Documents are in no batch: their texts are.
        if self._purposes <= {"file-extract"}:
            return needed
        try:
            async for batch in client.batches.list():
                if batch.status not in _ENDED:
                    needed.add(batch)
        except NotFoundError:
            # A host without batches.
            pass
        return needed

    async def _delete(self, client: "AsyncMoonshot", files: list[FileObject]) -> list[JanitorFailure | None]:
        async def delete(file: FileObject) -> JanitorFailure | None:
            try:
                await client.files.delete(file.id)
            except NotFoundError:
                # Somebody was faster.
                return None
            except MoonshotError as error:
                return JanitorFailure(file, error)
            return None

        return await each(delete, files, parallel=self._parallel)


class _Needed:
    """What batches under way need."""

    def __init__(self) -> None:
        self._ids: set[str | None] = set()

    def add(self, batch: Batch) -> None:
        self._ids |= {batch.input_file_id, batch.output_file_id, batch.error_file_id}

    def has(self, file: FileObject) -> bool:
        """Whether one needs this file, or may: what its requests name is not looked up."""
        return file.id in self._ids or (bool(self._ids) and file.purpose in _SHOWN)


class _Oldest:
    """The oldest of many files, so many that memory has room for."""

    def __init__(self) -> None:
        self._number = count()
        self._heap: list[tuple[int, int, FileObject]] = []

    def add(self, file: FileObject) -> None:
        item = (-file.created_at, next(self._number), file)
        if len(self._heap) < _MOST:
            heappush(self._heap, item)
        else:
            heappushpop(self._heap, item)

    def files(self) -> list[FileObject]:
        """They, oldest first."""
        return [file for _, _, file in sorted(self._heap, key=lambda item: (-item[0], item[1]))]


def _counts(file: FileObject) -> bool:
    """Whether it counts towards the limits."""
    return file.purpose in _UPLOADS


def _checked(name: str, most: int | None) -> int | None:
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
        raise ConfigurationError(f"{name} must be 0 or more, or None, not {most!r}")
    return most
