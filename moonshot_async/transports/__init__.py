"""Transports: the seam between the SDK and the network.

`AiohttpTransport` speaks HTTP; `MemoryTransport` calls an app in this process. Both are loaded when first used.
"""

from typing import TYPE_CHECKING, Any, Final, Protocol

from moonshot_async.errors import ClientClosedError, StreamInterruptedError
from moonshot_async.wire import Request, Response

if TYPE_CHECKING:
    from moonshot_async.transports.aiohttp import AiohttpTransport as AiohttpTransport
    from moonshot_async.transports.memory import MemoryTransport as MemoryTransport

__all__ = ["AiohttpTransport", "MemoryTransport", "Transport"]


class Transport(Protocol):
    """Carries requests to a server, and their answers back."""

    async def send(self, request: Request) -> Response:
        """Send the request and return once the head of the answer is there, whatever its status.

        The returned body is open; whoever gets the response closes it. A body that is an `Upload` is asked for its
        pieces once, and sent with its length; the write clock starts anew with each piece. An error status that comes
        before all of it went out ends the sending.

        Raises:
            APIConnectionError: no answer came.
            APITimeoutError: a clock of `request.timeout`, or `request.deadline`, ran out first.
            UploadError: the body could not be made; whatever else its pieces raise comes out, too.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; bodies still being read raise. May be repeated."""
        ...


# Where a clock ran out: see `timeout_error`.
WAITING: Final = " before an answer came"
SENDING: Final = " while the request was sent"


def closed_error(request: Request) -> ClientClosedError:
    """The error of a call on a transport that was closed before or under it."""
    return ClientClosedError(message="The client was closed.", request=request)


def cut_error() -> ClientClosedError:
    """The error of a body that was being read when the transport was closed."""
    return ClientClosedError(message="The answer broke off: the client was closed.")


def interrupted_error(reason: str) -> StreamInterruptedError:
    """The error of a body that broke off."""
    return StreamInterruptedError(message=f"The answer broke off: {reason}.")


def __getattr__(name: str) -> Any:
    if name == "AiohttpTransport":
        from moonshot_async.transports.aiohttp import AiohttpTransport

        return AiohttpTransport
    if name == "MemoryTransport":
        from moonshot_async.transports.memory import MemoryTransport

        return MemoryTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
