"""All checks, each as soon as what it needs is known."""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moonshot_async.cli.doctor.checks import (
    Answered,
    Finding,
    Place,
    asked,
    check_access,
    check_clock,
    check_dns,
    check_key,
    check_latency,
    check_limits,
    check_proxy,
    check_quota,
    check_region,
    check_tcp,
    check_tls,
)
from moonshot_async.cli.doctor.network import LookUp

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

_NETWORK = ("dns", "proxy", "tcp", "tls")


async def examine(
    client: "AsyncMoonshot",
    place: Place | None,
    *,
    key: Finding,
    timeout: float = 10.0,
    look_up: LookUp = socket.getaddrinfo,
    context: ssl.SSLContext | None = None,
    other: tuple[str, str] | None = None,
) -> list[Finding]:
    """Make all checks; none is left out because another one failed, unless it cannot be made then.

    Args:
        client: asks the service; without a key, where there is none.
        place: where it is; None where no network lies between.
        key: what is known of the key.
        timeout: seconds for each step on the network.
        look_up, context: as for `check_dns` and `check_tls`.
        other: as for `check_region`.
    """
    steps, answers = await asyncio.gather(
        _network(place, timeout, look_up, context), _service(client, key.status != "fail", other)
    )
    return [key, *steps, *answers]


async def _network(
    place: Place | None, timeout: float, look_up: LookUp, context: ssl.SSLContext | None
) -> list[Finding]:
    if place is None:
        return [Finding(name, "skip", "offline: the service is in this process") for name in _NETWORK]
    return list(
        await asyncio.gather(
            check_dns(place, timeout=timeout, look_up=look_up),
            check_proxy(place, timeout=timeout),
            check_tcp(place, timeout=timeout),
            check_tls(place, timeout=timeout, context=context),
        )
    )


async def _service(client: "AsyncMoonshot", has_key: bool, other: tuple[str, str] | None) -> list[Finding]:
    answered = await asked(client)
    reached = answered.headers is not None
    findings = [_access(answered, has_key)]
    if not has_key:
        findings.append(Finding("region", "skip", "there is no usable key to ask with"))
    else:
        findings.append(await check_region(answered, client, other=other))
    findings += [check_clock(answered), check_limits(answered)]
    findings.append(await check_latency(client) if reached else _unreached("latency"))
    if not has_key:
        findings.append(Finding("quota", "skip", "there is no usable key to ask with"))
    else:
        findings.append(await check_quota(client) if reached else _unreached("quota"))
    return findings


def _access(answered: Answered, has_key: bool) -> Finding:
    if has_key or answered.headers is None:
        return check_access(answered)
    return Finding("access", "skip", "the service answers; there is no usable key for it to take")


def _unreached(name: str) -> Finding:
    return Finding(name, "skip", "the service was not reached")


def key_in(environ: Mapping[str, str] = os.environ, *, host: str = "", offline: bool = False) -> Finding:
    """What is known of the key before anybody is asked."""
    if offline:
        return Finding("key", "ok", "offline: none is needed")
    return check_key(environ, host=host)
