"""Names to addresses, in threads that nobody has to wait for: a lookup may take as long as its resolver likes."""

import asyncio
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from moonshot_async.threads import in_daemon_thread

_NUMERIC: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
_FLAGS: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
# All calls to a host share one lookup; after so many seconds the next call begins another one.
_LONGEST: Final = 60.0


class Resolver(AbstractResolver):
    """Asks the system, as aiohttp's own does by means of the event loop's executor."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(_LONGEST):
                return await in_daemon_thread(_look_up, host, port, family)
        except TimeoutError:
            pass
        raise socket.gaierror(socket.EAI_AGAIN, "nobody says what its address is")

    async def close(self) -> None:
        """There is nothing to close."""


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    found: list[ResolveResult] = []
    try:
        infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror:
        # A machine with nothing but loopback has no address of any family.
        if host.rstrip(".").lower() != "localhost":
            raise
        infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    for kind, _, protocol, _, address in infos:
        # The zone of a link-local address belongs to its name.
        name = socket.getnameinfo(address, _NUMERIC)[0] if len(address) == 4 and address[3] else str(address[0])
        found.append(ResolveResult(hostname=host, host=name, port=port, family=kind, proto=protocol, flags=_FLAGS))
    return found
