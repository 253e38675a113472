"""The way to the service: name, connection, proxy. Each check can be used alone, needs no key, and sends none."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from moonshot_async.cli.doctor.findings import Finding, milliseconds
from moonshot_async.cli.doctor.places import Place, Proxy
from moonshot_async.threads import in_daemon_thread
from moonshot_async.transports.tls import strict

LookUp = Callable[..., list[Any]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_MOST_ADDRESSES: Final = 8
# Seconds for closing a connection in order.
_GOODBYE: Final = 0.2
# Seconds for finding out what is spoken at a port.
_PROBE: Final = 1.5
# What a proxy says that does not pass a request on: forbidden, credentials wanted, nobody reached.
_REFUSALS: Final = frozenset({403, 407, 502, 503, 504})
# What a connection may fail with.
FAILURES: Final = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class ProxyRefusedError(OSError):
    """A proxy does not connect. `status` is what it says."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status


async def check_dns(place: Place, *, timeout: float = 10.0, look_up: LookUp = socket.getaddrinfo) -> Finding:
    """Whether the host's name has addresses.

    Args:
        place: where the API is.
        timeout: seconds.
        look_up: as `socket.getaddrinfo`.
    """
    host = place.host if place.proxy is None else place.proxy.host
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return Finding("dns", "ok", f"{host} is an address: there is no name to look up")
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            infos = await in_daemon_thread(look_up, host, place.port, 0, socket.SOCK_STREAM)
    except TimeoutError:
        found = f"no name server said within {timeout:g} s what the address of {host} is"
    except (OSError, UnicodeError) as error:
        found = f"the name {host} was not found: {getattr(error, 'strerror', None) or error}"
    else:
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        took = milliseconds(time.monotonic() - begun)
        told = ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
        return Finding("dns", "ok", f"{host} is {told} ({took})", details={"addresses": addresses})
    return Finding(
        "dns",
        "fail",
        found,
        f"See whether this machine is online, and whether `nslookup {host}` finds it: if not, the name server (or VPN) "
        "is to be mended. Where only a proxy reaches the outside, set HTTPS_PROXY. With --base-url, see how it is "
        "written.",
    )


async def check_tcp(place: Place, *, timeout: float = 10.0) -> Finding:
    """Whether the host, or the proxy, takes connections: each of its addresses is tried."""
    host, port = (place.host, place.port) if place.proxy is None else (place.proxy.host, place.proxy.port)
    try:
        async with asyncio.timeout(timeout):
            infos = await in_daemon_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return Finding("tcp", "skip", f"{host} has no known address")
    addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))[:_MOST_ADDRESSES]
    outcomes = await asyncio.gather(*(_connected(address, port, timeout) for address in addresses))
    told = dict(zip(addresses, outcomes, strict=True))
    good = [seconds for seconds in outcomes if isinstance(seconds, float)]
    bad = {address: str(outcome) for address, outcome in told.items() if isinstance(outcome, str)}
    what = f"{host}:{port}" if place.proxy is None else f"the proxy {host}:{port}"
    if not good:
        reasons = "; ".join(sorted(set(bad.values())))
        advice = "A firewall may forbid it, or nothing listens there: see host and port of the base URL."
        return Finding("tcp", "fail", f"no connection to {what}: {reasons}", advice, {"addresses": bad})
    found = f"{what} takes connections ({milliseconds(min(good))})"
    if bad:
        listed = ", ".join(f"{address}: {reason}" for address, reason in bad.items())
        advice = "Calls lose time on such addresses: mend that way (often it is IPv6), or switch it off."
        return Finding("tcp", "warn", f"{found}, but not at every address: {listed}", advice, {"addresses": bad})
    return Finding("tcp", "ok", found, details={"seconds": min(good)})


async def check_proxy(place: Place, *, timeout: float = 10.0) -> Finding:
    """Whether the proxy that the environment names, if any, leads to the host."""
    if place.problem:
        return Finding("proxy", "fail", place.problem, "Name one that speaks HTTP, or unset the variable.")
    proxy = place.proxy
    if proxy is None:
        return Finding("proxy", "ok", f"none is set for {place.host}")
    named = f"the proxy {proxy.address} ({proxy.variable})"
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            await (_led(place) if place.tls else _forwarded(place))
    except ProxyRefusedError as error:
        advice = (
            f"It wants a user and a password: {proxy.variable}=http://USER:PASSWORD@{proxy.address}"
            if error.status == 407
            else f"Have whoever runs it allow {place.address}, or name another one in {proxy.variable}; NO_PROXY="
            f"{place.host} goes past it."
        )
        return Finding("proxy", "fail", f"{named} refuses {place.address}: {error}", advice, {"status": error.status})
    except FAILURES as error:
        advice = f"See whether it runs and is called so, or unset {proxy.variable} if none is needed."
        return Finding("proxy", "fail", f"{named} cannot be used: {why(error, timeout)}", advice)
    if not place.tls:
        return Finding("proxy", "warn", f"{named} carries the requests, and reads the key: use https")
    return Finding("proxy", "ok", f"{named} leads to {place.address} ({milliseconds(time.monotonic() - begun)})")


async def connection(place: Place) -> Streams:
    """A connection to the host, through the proxy where there is one; not encrypted yet.

    Raises:
        OSError: there is none; `ProxyRefusedError` where the proxy says no.
    """
    proxy = place.proxy
    if proxy is None:
        return await _opened(place.host, place.port)
    reader, writer = await _opened(proxy.host, proxy.port, strict() if proxy.tls else None)
    try:
        host = f"[{place.host}]" if ":" in place.host else place.host
        status, reason = await _said(reader, writer, f"CONNECT {host}:{place.port}", f"{host}:{place.port}", proxy)
        if status != 200:
            raise ProxyRefusedError(status, reason)
    except BaseException:
        await closed(writer)
        raise
    return reader, writer


async def status_without_tls(place: Place) -> int | None:
    """The status of what the host answers in plain HTTP, None where it speaks none; it is sent no key."""
    try:
        async with asyncio.timeout(_PROBE):
            reader, writer = await connection(place)
            try:
                status, _ = await _said(reader, writer, "HEAD /", place.host)
            finally:
                await closed(writer)
    except FAILURES:
        return None
    return status


async def _led(place: Place) -> None:
    """Have a proxy connect."""
    _, writer = await connection(place)
    await closed(writer)


async def _forwarded(place: Place) -> None:
    """Have a proxy pass a request on, without a key: the service itself would refuse it with 401."""
    proxy = place.proxy
    assert proxy is not None, "only asked where there is one"
    reader, writer = await _opened(proxy.host, proxy.port, strict() if proxy.tls else None)
    try:
        status, reason = await _said(reader, writer, f"GET {place.url}/models", place.address, proxy)
    finally:
        await closed(writer)
    if status in _REFUSALS:
        raise ProxyRefusedError(status, reason)


async def _said(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: str, host: str, proxy: Proxy | None = None
) -> tuple[int, str]:
    """Send a request without a body; status and reason of its answer."""
    credentials = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy and proxy.authorization else ""
    writer.write(f"{asked} HTTP/1.1\r\nHost: {host}\r\n{credentials}\r\n".encode())
    line = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0].decode("latin-1")
    words = line.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise OSError("it speaks no HTTP")
    return int(words[1]), words[2] if len(words) > 2 else ""


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection: in order, or at once where that takes too long."""
    writer.close()
    try:
        async with asyncio.timeout(_GOODBYE):
            await writer.wait_closed()
    except FAILURES:
        writer.transport.abort()


async def _opened(host: str, port: int, context: ssl.SSLContext | None = None) -> Streams:
    """A connection to one of a host's addresses."""
    # Not asyncio's own way: its threads are waited for at the end, and a lookup may take for ever.
    infos = await in_daemon_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    problem: OSError | None = None
    for address in dict.fromkeys(str(info[4][0]) for info in infos):
        try:
            return await asyncio.open_connection(
                address, port, ssl=context, server_hostname=None if context is None else host
            )
        except OSError as error:
            problem = error
    raise problem or OSError(f"{host} has no address")


async def _connected(address: str, port: int, timeout: float) -> float | str:
    """How long a connection takes, or why there is none."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError) as error:
        return why(error, timeout)
    seconds = time.monotonic() - begun
    await closed(writer)
    return seconds


def why(error: BaseException, timeout: float) -> str:
    """What a connection failed with, as the end of a sentence."""
    if isinstance(error, TimeoutError):
        return f"nothing came within {timeout:g} s"
    if isinstance(error, (asyncio.IncompleteReadError, asyncio.LimitOverrunError)):
        return "it closed the connection, or speaks no HTTP"
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", None) or error.reason or str(error)
    # Asyncio words it in its own way; numbers below 0 are those of lookups.
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error) or "it was broken off"
