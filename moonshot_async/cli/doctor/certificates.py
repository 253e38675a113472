"""What a certificate says of itself, also one that was refused: Python tells only of those that it trusts.

As much of DER (X.690) is read as there is on the way to the names and dates (RFC 5280, 4.1).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

_UTC_TIME: Final = 0x17
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
# The object identifiers of organizationName and commonName.
_NAMES: Final = {b"\x55\x04\x0a": "organization", b"\x55\x04\x03": "common name"}


class Certificate(msgspec.Struct, frozen=True):
    """What counts here of a certificate.

    Attributes:
        issuer: who vouches for it.
        not_before, not_after: when it is valid.
    """

    issuer: str
    not_before: datetime
    not_after: datetime


def certificate(der: bytes) -> Certificate | None:
    """Read a certificate; None where it cannot be read."""
    try:
        return _read(der)
    except (IndexError, ValueError, StopIteration):
        return None


def _read(der: bytes) -> Certificate:
    (_, whole), *_ = _items(der)
    (_, signed), *_ = _items(whole)
    fields = [item for item in _items(signed) if item[0] != _VERSION]
    # The serial number, the algorithm, the issuer, the validity.
    issuer, validity = fields[2][1], fields[3][1]
    begin, end = list(_items(validity))[:2]
    return Certificate(_name(issuer), _moment(*begin), _moment(*end))


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What stands one after the other: kind and content."""
    place = 0
    while place < len(data):
        kind, size = data[place], data[place + 1]
        place += 2
        if size & 0x80:
            digits = size & 0x7F
            size = int.from_bytes(data[place : place + digits])
            place += digits
        if place + size > len(data):
            raise ValueError("cut")
        yield kind, data[place : place + size]
        place += size


def _name(data: bytes) -> str:
    found: dict[str, str] = {}
    for _, group in _items(data):
        for _, pair in _items(group):
            (_, kind), (_, value) = list(_items(pair))[:2]
            if kind in _NAMES:
                found[_NAMES[kind]] = value.decode("utf-8", "replace")
    parts = [found[name] for name in ("organization", "common name") if name in found]
    return ", ".join(parts) or "nobody that it names"


def _moment(kind: int, content: bytes) -> datetime:
    text = content.decode("ascii").removesuffix("Z")
    if kind == _UTC_TIME:
        # RFC 5280, 4.1.2.5.1: the century of two digits.
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
