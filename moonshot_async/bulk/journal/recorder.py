"""The event loop's side of a journal: what is to be written goes there in groups, one transaction for each.

A group is written as soon as the one before it is on the disk, and outcomes wait a moment for others; so a commit, and
the wait for the disk that it takes, is shared by all that came meanwhile.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from moonshot_async.bulk.items import Item
from moonshot_async.bulk.journal.lease import BEAT
from moonshot_async.bulk.journal.store import Start, Store
from moonshot_async.bulk.journal.totals import Group, Totals
from moonshot_async.bulk.outbox import wake
from moonshot_async.bulk.outcomes import Outcome
from moonshot_async.bulk.own_thread import OwnThread
from moonshot_async.errors import JournalError, JournalInUseError

T = TypeVar("T")
_Admissions: TypeAlias = "list[tuple[Sequence[Item], asyncio.Future[list[str]]]]"

# How long outcomes wait for others, in seconds, and how many do not wait. Less where fewer come than so many a second:
# who asks slowly should not be made slower.
_LINGER: Final = 0.04
_SHORT: Final = 0.004
_SLOW: Final = 800
_MANY: Final = 256
# So many of those who wait for outcomes go on in one turn of the loop. All at once would begin hundreds of calls before
# any other ends, and so many new objects let the garbage collector look through them again and again: that can cost a
# tenth of what the calls do.
_FEW: Final = 32
# How long a run may take to be closed, in seconds.
_CLOSING: Final = 0.5


class Recorder:
    """Writes a journal from an event loop.

    Args:
        store: the journal; from now on its thread's alone.
        recorded: called with outcomes that are on the disk.
        failed: called, once, with the error when the journal cannot be written any more; outcomes are kept then.
    """

    def __init__(
        self, store: Store, recorded: Callable[[Group], object], failed: Callable[[Exception], object]
    ) -> None:
        self._store = store
        self._tell = recorded
        self._tell_failure = failed
        self._loop = asyncio.get_running_loop()
        self._thread = OwnThread("moonshot_async journal")
        self._admissions: _Admissions = []
        # A few of those that are written together have one future. Who waits for it must not be cancelled alone.
        self._group = Group()
        self._told: list[asyncio.Future[None]] = []
        self._writing = False
        self._written = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        # When the last group was begun to be written, and how long outcomes wait since.
        self._flushed_at = self._loop.time()
        self._linger = _SHORT
        self._beat: asyncio.TimerHandle | None = None
        self._problem: Exception | None = None

    async def open(self, start: Start) -> Totals:
        """Open the journal; raises what `Store.open` raises.

        A run of this process that is just being closed, since its loop was left, is waited for.
        """
        enough = self._loop.time() + _CLOSING
        while True:
            try:
                totals = await self._thread.do(self._store.open, start)
                break
            except JournalInUseError as error:
                if error.pid != os.getpid() or self._loop.time() > enough:
                    raise
            await asyncio.sleep(_LINGER)
        self._beat = self._loop.call_later(BEAT, self._give_sign)
        return totals

    async def admit(self, items: Sequence[Item]) -> list[str]:
        """Take items in: the state of each, as `Store.write` tells it.

        Raises:
            ConfigurationError: an item has the id of another one.
            JournalError: the journal cannot be written.
        """
        if self._problem is not None:
            raise self._problem
        told: asyncio.Future[list[str]] = self._loop.create_future()
        self._admissions.append((items, told))
        self._flush()
        return await told

    def record(self, outcome: Outcome) -> "asyncio.Future[None]":
        """Write an outcome down; it is on the disk when the future is done, unless the journal has failed.

        Whoever waits for it is cancelled with all others that do, or not at all.
        """
        outcomes = self._group.outcomes
        if len(outcomes) % _FEW == 0:
            self._told.append(self._loop.create_future())
        told = self._told[-1]
        outcomes.append(outcome)
        if self._problem is not None:
            wake(told)
        elif len(outcomes) >= _MANY:
            self._flush()
        elif self._timer is None and not self._writing:
            self._timer = self._loop.call_later(self._linger, self._flush)
        return told

    def lose(self, tokens: int, cost: int) -> None:
        """Write down, with what is written next, what a call may be billed for that had no answer."""
        self._group.lose(tokens, cost)

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Have something done in the thread of the journal; the function gets the store first.

        Raises:
            JournalError: SQLite gave up.
        """
        return await self._thread.do(partial(self._store.do, function), *args)

    @property
    def kept(self) -> list[Outcome]:
        """What came and is not written down."""
        return list(self._group.outcomes)

    async def settle(self) -> None:
        """Wait until everything is on the disk, or is known not to get there; what could not be written is tried again.

        Raises:
            JournalError: it cannot be written. See `kept`.
        """
        cancelled = await self._written_out()
        self._problem = None
        while self._group.pending:
            self._flush()
            cancelled = await self._written_out() or cancelled
            if self._problem is not None:
                raise self._problem
        if cancelled:
            raise asyncio.CancelledError

    async def _written_out(self) -> bool:
        """Wait until nothing is being written, whoever cancels meanwhile; whether somebody did."""
        cancelled = False
        while self._writing:
            try:
                await asyncio.wait([self._written])
            except asyncio.CancelledError:
                cancelled = True
        return cancelled

    async def close(self, reason: str | None, limits: dict[str, float | None] | None = None) -> None:
        """Give the journal back, and end its thread; see `Store.close`."""
        for timer in (self._timer, self._beat):
            if timer is not None:
                timer.cancel()
        closing = self._thread.do(self._store.close, reason, limits)
        self._thread.end()
        await closing

    def _flush(self) -> None:
        """Write what there is, unless something is being written: then that is followed by it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing or self._problem is not None:
            return
        admissions, self._admissions = self._admissions, []
        group, self._group = self._group, Group()
        told, self._told = self._told, []
        now = self._loop.time()
        self._linger = _SHORT if len(group.outcomes) < (now - self._flushed_at) * _SLOW else _LINGER
        self._flushed_at = now
        self._writing = True
        self._written = self._loop.create_future()
        items = [item for some, _ in admissions for item in some]
        writing = self._thread.do(self._store.write_group, items, group)
        writing.add_done_callback(lambda written: self._after(admissions, group, told, written))

    def _after(
        self,
        admissions: _Admissions,
        group: Group,
        told: "list[asyncio.Future[None]]",
        writing: "asyncio.Future[list[str]]",
    ) -> None:
        """A group is on the disk, or cannot be written."""
        self._writing = False
        self._written.set_result(None)
        problem = writing.exception()
        if problem is None:
            # In this order: what is known of items was so once the outcomes were written.
            self._tell(group)
            found = writing.result()
            for items, asked in admissions:
                some, found = found[: len(items)], found[len(items) :]
                if not asked.done():
                    asked.set_result(some)
            self._wake(told)
        else:
            lost = group.totals.lost_tokens, group.totals.lost_cost
            self._group, after = Group([*group.outcomes, *self._group.outcomes]), self._group
            self._group.lose(lost[0] + after.totals.lost_tokens, lost[1] + after.totals.lost_cost)
            self._told = [*told, *self._told]
            self._refuse(admissions, problem)
        if self._problem is None and (self._admissions or len(self._group.outcomes) >= _MANY):
            self._flush()
        elif self._problem is None and self._group.outcomes:
            self._timer = self._loop.call_later(self._linger, self._flush)

    def _refuse(self, admissions: _Admissions, problem: Any) -> None:
        """A group could not be written. What has the fault in its items says nothing of the journal."""
        for _, asked in admissions:
            if not asked.done():
                asked.set_exception(problem)
        if isinstance(problem, JournalError) or not admissions:
            self._problem = problem
            for told in self._told:  # pragma: no branch  # as many as the moment has, or none
                wake(told)
            self._tell_failure(problem)

    def _wake(self, told: "list[asyncio.Future[None]]") -> None:
        """Let those go on who wait, a few in each turn of the loop."""
        if told:
            wake(told[0])
            self._loop.call_soon(self._wake, told[1:])

    def _give_sign(self) -> None:
        self._beat = self._loop.call_later(BEAT, self._give_sign)
        self._flush()
