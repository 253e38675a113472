"""Where the API is, and the proxy on the way to it, as the environment says."""

import base64
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from moonshot_async.headers import Unshown


class Proxy(Unshown, msgspec.Struct, frozen=True):
    """A proxy. Nothing shows `authorization`.

    Attributes:
        variable: where it comes from.
        authorization: the header that it wants; empty for none.
    """

    host: str
    port: int
    tls: bool
    variable: str
    authorization: str = ""

    @property
    def address(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


class Place(msgspec.Struct, frozen=True):
    """Where the API is.

    Attributes:
        url: as the client has it.
        problem: why the proxy that the environment names cannot be used; empty where it can, or there is none.
    """

    url: str
    host: str
    port: int
    tls: bool
    proxy: Proxy | None = None
    problem: str = ""

    @property
    def address(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


def place_of(
    url: str,
    *,
    proxies: Mapping[str, str] | None = None,
    bypass: Callable[[str], object] = proxy_bypass,
) -> Place:
    """What is to be looked at.

    Args:
        url: where the API is.
        proxies: by scheme; those of the environment unless given.
        bypass: whether a host is asked directly, in spite of them.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = parts.hostname or ""
    place = Place(url, host, parts.port or (443 if tls else 80), tls)
    known = getproxies() if proxies is None else proxies
    scheme = parts.scheme if parts.scheme in known else "all"
    if scheme not in known or bypass(host):
        return place
    variable = f"{scheme.upper()}_PROXY"
    try:
        proxy = _proxy(known[scheme], variable)
    except ValueError as error:
        return msgspec.structs.replace(place, problem=f"{variable} {error}")
    return msgspec.structs.replace(place, proxy=proxy)


def _proxy(url: str, variable: str) -> Proxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"names a proxy of the kind {parts.scheme}://; only http and https are supported")
    if not parts.hostname:
        raise ValueError("is no URL")
    tls = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has no usable port") from None
    return Proxy(parts.hostname, port or (443 if tls else 80), tls, variable, authorization)
