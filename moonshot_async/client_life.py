"""How a client ends: drained, closed, or both."""

from types import TracebackType
from typing import Self

from moonshot_async.drain import DrainReport
from moonshot_async.lifecycle import Life
from moonshot_async.transports import Transport


class ClientLife:
    """The part of a client that it shares with those that `with_options` made of it: its connections."""

    _life: Life
    _transport: Transport

    @property
    def in_flight(self) -> int:
        """How many calls and open streams have not ended, of all clients that share these connections.

        A stream counts until it was read to its end, broke off, or was closed or dropped; a streaming response until
        it was closed.
        """
        return self._life.in_flight

    async def drain(self, timeout: float | None = None) -> DrainReport:
        """Take no new calls, and wait for those in flight: before closing, `await client.drain(30)`, then `aclose()`.

        From its first moment on, new calls of this client and of all that share its connections raise
        `ClientClosedError` before anything is sent, and go on doing so: there is no way back, also where the wait was
        cancelled. What is in flight goes on to its end, retries and resumed streams included. It closes nothing, and
        may be repeated, also at the same time. A stream that nobody reads, closes or drops is waited for, so give a
        timeout.

        Args:
            timeout: seconds to wait at most, 0 for none; None to wait until all have ended. A
                `with client.deadline(…)` around it counts, too.

        Returns:
            How many calls ended meanwhile, and which are left: where the time was not enough, or where somebody
            closed the client. True if none is.

        Raises:
            ConfigurationError: `timeout` is no number of seconds.
        """
        return await self._life.drain(timeout)

    def is_closed(self) -> bool:
        """Whether `aclose` was called, on this client or on one that shares its connections."""
        return self._life.closed

    async def aclose(self) -> None:
        """Close all connections; whatever still runs raises `ClientClosedError`. May be repeated.

        Calls end at once, wherever they wait: for an answer, a retry, a limit, or a layer or key function of yours,
        which sees it as a cancellation. Streams raise it when they are read on, with the answer so far in `.partial`;
        they are closed, also those that nobody reads, and what they held of a shared `RateLimits` is free.
        """
        self._life.close()
        try:
            await self._transport.aclose()
        finally:
            self._life.cut_bodies()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
