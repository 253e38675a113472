"""Where requests come from: lists, generators, async generators, and files of JSON lines; read a few at a time.

An async iterable is read in the event loop. Everything else may block (a file, a cursor, a generator that fetches
pages), so it is read in a thread, the same one from its first item to its last. Nothing is read before there is room
for it.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from moonshot_async.bulk.items import AnyRequest, Item
from moonshot_async.bulk.outbox import wake
from moonshot_async.bulk.own_thread import OwnThread
from moonshot_async.errors import ConfigurationError

Requests: TypeAlias = Iterable[AnyRequest] | AsyncIterable[AnyRequest] | Path

# How long a slow source is read before what came is handed on, in seconds, and how long it is waited for at a time.
_PATIENCE: Final = 0.02
_LONGEST: Final = 0.25
# How many bytes of requests are read at a time, the last of them included.
_MOST_BYTES: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_LINE_BYTES: Final = 100 * 1024 * 1024


Make: TypeAlias = Callable[[AnyRequest], Item | None]


class Source(Protocol):
    """Requests, read a few at a time, and made into items."""

    async def some(self, most: int) -> list[Item]:
        """The next ones, at least one and `most` at most; none at the end.

        Raises:
            whatever was raised where they come from, or by making items of them; those before it were handed out.
        """
        ...

    async def total(self) -> int | None:
        """How many there are in all, if that can be known."""
        ...

    async def aclose(self) -> None:
        """Read no more."""
        ...


def source_of(requests: Requests, make: Make) -> Source:
    """What reads the requests, and makes items of them.

    Raises:
        TypeError: it is nothing that holds requests.
        ConfigurationError: it is a path where there is no file.
    """
    if isinstance(requests, AsyncIterable):
        return AsyncSource(requests, make)
    if isinstance(requests, os.PathLike):
        return ThreadSource(JsonLines(checked_path(requests)), make)
    if isinstance(requests, (str, bytes, Mapping)) or not isinstance(requests, Iterable):
        hint = ": for a file pass pathlib.Path(...)" if isinstance(requests, str) else ""
        raise TypeError(f"requests must be an iterable of requests, not {type(requests).__name__}{hint}")
    return ThreadSource(requests, make)


def checked_path(path: "os.PathLike[str]") -> Path:
    """A path where there is a file to be read.

    Raises:
        ConfigurationError: there is none.
    """
    checked = Path(path)
    if not checked.is_file():
        raise ConfigurationError(f"requests: there is no file {str(checked)!r}")
    return checked


class JsonLines:
    """The lines of a file, and how many there are."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                yield line.removeprefix(b"\xef\xbb\xbf")

    def __len__(self) -> int:
        count, last = 0, b"\n"
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                count += block.count(b"\n")
                last = block[-1:]
        return count + (last != b"\n")


class ThreadSource:
    """Reads what may block in a thread of its own, which is made when it is first asked."""

    def __init__(self, requests: Iterable[AnyRequest], make: Make) -> None:
        self._requests: Iterable[AnyRequest] | None = requests
        self._make = make
        self._items: Iterator[AnyRequest] | None = None
        self._problem: Exception | None = None
        self._thread: OwnThread | None = None
        self._job: asyncio.Future[None] | None = None
        # What the thread has found, until it is taken.
        self._found: list[Item] = []
        self._ended = False

    async def some(self, most: int) -> list[Item]:
        while not (found := await self._more(most)):
            if self._problem is not None:
                raise self._problem
            if self._ended:
                break
        return found

    async def _more(self, most: int) -> list[Item]:
        """What has come since; nothing where there was none in a while, or there is no more."""
        if self._job is None:
            self._job = self._own().do(self._read, most)
        wait = _PATIENCE
        while not self._job.done():
            await asyncio.wait([self._job], timeout=wait)
            # What came is not to wait for what comes next, which may take minutes.
            if self._found:
                break
            wait = min(2 * wait, _LONGEST)
        if self._job.done():
            job, self._job = self._job, None
            job.result()
        # Another one may be put in at any moment.
        count = len(self._found)
        found = self._found[:count]
        del self._found[:count]
        return found

    async def total(self) -> int | None:
        requests = self._requests
        return await self._own().do(len, requests) if isinstance(requests, Sized) else None

    async def aclose(self) -> None:
        """Close a generator in its thread; one that blocks is not waited for."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            closing = thread.do(self._close)
            # What a generator raises at its end is nobody's any more.
            closing.add_done_callback(lambda closed: closed.exception())
            thread.end()

    def _own(self) -> OwnThread:
        if self._thread is None:
            self._thread = OwnThread("moonshot_async requests")
        return self._thread

    def _read(self, most: int) -> None:
        if self._ended:
            return
        try:
            self._ended = self._fill(most)
        except asyncio.CancelledError as error:
            self._problem, self._ended = _broken_off(error), True
        except Exception as error:  # noqa: BLE001  # it is raised once those before it were handed out
            self._problem, self._ended = error, True

    def _fill(self, most: int) -> bool:
        """Put some items in; whether these were the last."""
        if self._items is None:
            assert self._requests is not None, "closed last"
            self._items = iter(self._requests)
        make, put, enough, room = self._make, self._found.append, time.monotonic() + _PATIENCE, _MOST_BYTES
        for request in self._items:
            if (item := make(request)) is not None:
                put(item)
                most -= 1
                room -= len(item.body)
            if most <= 0 or room < 0 or time.monotonic() > enough:
                return False
        return True

    def _close(self) -> None:
        items, self._items, self._requests = self._items, None, None
        if items is not None and items is not self._requests and hasattr(items, "close"):
            items.close()


class AsyncSource:
    """Reads an async iterable, in a task of its own: what it has at once comes together."""

    def __init__(self, requests: AsyncIterable[AnyRequest], make: Make) -> None:
        self._requests = requests
        self._make = make
        self._found: list[Item] = []
        self._size = self._wanted = 0
        self._problem: Exception | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ended = False
        # Who waits for an item, and the reader where nothing is wanted.
        self._arrived: asyncio.Future[None] | None = None
        self._asked: asyncio.Future[None] | None = None

    async def some(self, most: int) -> list[Item]:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="moonshot_async requests")
        self._wanted = most
        wake(self._asked)
        while not self._found and not self._ended:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        self._size = self._wanted = 0
        found, self._found = self._found, []
        if not found and self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        return found

    async def total(self) -> int | None:
        return None

    async def aclose(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.cancel()
            await asyncio.wait([reader])
        if isinstance(self._requests, AsyncGenerator):
            await self._requests.aclose()

    async def _read(self) -> None:
        reader = asyncio.current_task()
        assert reader is not None, "it is one"
        try:
            async for request in self._requests:
                if (item := self._make(request)) is None:
                    continue
                self._found.append(item)
                self._size += len(item.body)
                wake(self._arrived)
                while len(self._found) >= self._wanted or self._size > _MOST_BYTES:
                    self._asked = asyncio.get_running_loop().create_future()
                    await self._asked
        except asyncio.CancelledError as error:
            if reader.cancelling():
                raise
            self._problem = _broken_off(error)
        except Exception as error:  # noqa: BLE001  # it is raised where the requests are asked for
            self._problem = error
        finally:
            # A generator that waits shows the frames around it.
            request = b""
            self._ended = True
            wake(self._arrived)


def _broken_off(cancelled: asyncio.CancelledError) -> Exception:
    """What is raised where a source was cancelled by itself, so that this is not taken for its end."""
    problem = RuntimeError("the requests broke off: what they come from was cancelled")
    problem.__cause__ = cancelled
    return problem
