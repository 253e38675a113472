"""The certificate of the service: its dates, its name, who vouches for it. No key is sent."""

import ssl
import time
from asyncio import timeout as within
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from moonshot_async.cli.doctor.certificates import Certificate, certificate
from moonshot_async.cli.doctor.findings import Finding, milliseconds
from moonshot_async.cli.doctor.network import FAILURES, closed, connection, status_without_tls, why
from moonshot_async.cli.doctor.places import Place
from moonshot_async.transports.tls import strict

# Seconds for finding out whether TLS is spoken where it was not looked for.
_PROBE: Final = 1.5
# Certificates are warned of so long before they expire.
_SOON: Final = timedelta(days=14)
# A clock that is further off is told where a certificate is refused for its dates.
_FAR_OFF: Final = timedelta(days=1)
# Error codes of OpenSSL: X509_V_ERR_…
_WRONG_NAME: Final = frozenset({62, 64})
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21, 27})


async def check_tls(
    place: Place,
    *,
    timeout: float = 10.0,
    context: ssl.SSLContext | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Finding:
    """Whether the host's certificate is good: its dates, its name, its authority.

    Args:
        place: where the API is.
        timeout: seconds.
        context: whom to trust; the authorities of the system unless given.
        now: the time by this machine's clock.
    """
    if not place.tls:
        return await _without(place)
    begun = time.monotonic()
    try:
        async with within(timeout):
            _, writer = await connection(place)
    except FAILURES as error:
        return Finding("tls", "skip", f"there is no connection to look at: {why(error, timeout)}")
    try:
        async with within(timeout):
            await writer.start_tls(context or strict(), server_hostname=place.host)
        encrypted = writer.get_extra_info("ssl_object")
        known = certificate(encrypted.getpeercert(binary_form=True))
        version = encrypted.version()
    except ssl.SSLCertVerificationError as error:
        return await _refused(place, error, timeout, now())
    except FAILURES as error:
        reason = why(error, timeout)
        if await status_without_tls(place) is not None:
            found = f"{place.address} speaks plain HTTP, and the base URL says https"
            return Finding("tls", "fail", found, "See the port: https is mostly at 443. For a test, http:// will do.")
        advice = "Something on the way may speak no TLS, or none that is new enough (1.2): a proxy, or a wrong port."
        return Finding("tls", "fail", f"{place.host} and this machine agree on no encryption: {reason}", advice)
    finally:
        await closed(writer)
    found = f"{version}, {milliseconds(time.monotonic() - begun)}"
    if known is None:
        return Finding("tls", "ok", f"the certificate is good ({found})")
    details = {"issuer": known.issuer, "not_after": known.not_after, "version": version}
    told = f"certificate of {known.issuer}, good until {known.not_after:%Y-%m-%d} ({found})"
    if known.not_after - now() < _SOON:
        return Finding("tls", "warn", told, "Whoever runs the host has to renew it by then.", details)
    return Finding("tls", "ok", told, details=details)


async def _without(place: Place) -> Finding:
    """What is to be said of a base URL without TLS."""
    # Some servers of TLS answer what is none in plain text.
    if place.proxy is None and await status_without_tls(place) in (None, 400):
        known, _ = await _untrusted(place, _PROBE)
        if known is not None:  # pragma: no branch  # Python 3.11 loses sight of a frame when it was thrown into
            found = f"{place.address} speaks TLS, and the base URL says http"
            return Finding("tls", "fail", found, "Write https:// in the base URL.")
    return Finding("tls", "skip", "the base URL is plain http")


async def _refused(place: Place, error: ssl.SSLCertVerificationError, timeout: float, now: datetime) -> Finding:
    """Say why a certificate was refused: it is looked at once more, without trusting it."""
    known, date = await _untrusted(place, timeout)
    details = {"code": error.verify_code, "reason": error.verify_message}
    host = place.host
    if known is not None and not known.not_before <= now <= known.not_after:
        expired = now > known.not_after
        day = known.not_after if expired else known.not_before
        found = f"the certificate of {host} {'expired on' if expired else 'is not valid before'} {day:%Y-%m-%d}"
        advice = f"If this machine's clock is right ({now:%Y-%m-%d %H:%M} UTC), whoever runs the host has to renew it."
        if date is not None and abs(date - now) > _FAR_OFF:
            found += f"; by the server's clock it is {date:%Y-%m-%d}"
            advice = f"This machine's clock says {now:%Y-%m-%d}: set it."
        return Finding("tls", "fail", found, advice, {**details, "issuer": known.issuer, "not_after": known.not_after})
    issuer = "" if known is None else f" (issued by {known.issuer})"
    if error.verify_code in _WRONG_NAME:
        advice = "Another server answers there: see the base URL, and whether a login page or a proxy is in between."
        return Finding("tls", "fail", f"the certificate is not for {host}{issuer}", advice, details)
    if error.verify_code in _UNKNOWN_AUTHORITY:
        advice = (
            "If your network inspects TLS, set SSL_CERT_FILE to a file with its authority; else somebody is in "
            "between, and nothing is to be sent. A system that knows no authorities needs the package ca-certificates."
        )
        return Finding("tls", "fail", f"this machine does not trust the certificate of {host}{issuer}", advice, details)
    return Finding("tls", "fail", f"the certificate of {host} was refused: {error.verify_message}{issuer}", "", details)


async def _untrusted(place: Place, timeout: float) -> tuple[Certificate | None, datetime | None]:
    """The certificate of whoever answers, and what time it is there; he is told nothing but the host's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    known: Certificate | None = None
    with suppress(*FAILURES):
        async with within(timeout):
            reader, writer = await connection(place)
            try:
                await writer.start_tls(context, server_hostname=place.host)
                known = certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
                writer.write(f"HEAD / HTTP/1.1\r\nHost: {place.host}\r\nConnection: close\r\n\r\n".encode())
                return known, _date_in(await reader.readuntil(b"\r\n\r\n"))
            finally:
                await closed(writer)
    return known, None


def _date_in(head: bytes) -> datetime | None:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            return date_of(value)
    return None


def date_of(value: str | None) -> datetime | None:
    """The moment in a `Date` header; None where it holds none."""
    try:
        moment = parsedate_to_datetime((value or "").strip())
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
