"""The settings of a client: read from arguments and environment, and refused before any I/O where they cannot work."""

import os
import warnings
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from moonshot_async.errors import ConfigurationError

Region: TypeAlias = Literal["cn", "intl"]
ApiKey: TypeAlias = str | Callable[[], Awaitable[str]]

_BASE_URLS: Final[dict[str, str]] = {"cn": "https://api.moonshot.cn/v1", "intl": "https://api.moonshot.ai/v1"}
_REGION_HOSTS: Final = ("api.moonshot.cn", "api.moonshot.ai")
# The first one that is set counts. Those beginning with KIMI are what kimi-cli and kimi-code read.
_KEY_VARIABLES: Final = ("MOONSHOT_API_KEY", "KIMI_API_KEY")
_URL_VARIABLES: Final = ("MOONSHOT_BASE_URL", "KIMI_BASE_URL")


def checked_key(api_key: ApiKey | None) -> ApiKey:
    """The key of the caller, else of the environment; a function that will return one goes through."""
    if callable(api_key):
        return api_key
    if api_key is not None:
        return clean_key(api_key, "api_key")
    for variable in _KEY_VARIABLES:
        if value := os.environ.get(variable):
            return clean_key(value, variable)
    raise ConfigurationError(
        "No API key: set the environment variable MOONSHOT_API_KEY, or pass api_key=. "
        "Keys are made at https://platform.kimi.ai (region intl) and https://platform.kimi.com (region cn)."
    )


def clean_key(key: object, source: str) -> str:
    """A key that can stand in a header. What is wrong with it is told without showing it."""
    try:
        if not isinstance(key, str):
            raise ConfigurationError(f"{source} must be text, not {type(key).__name__}")
        key = key.strip()
        if not key:
            raise ConfigurationError(f"{source} is empty: it must hold an API key, which begins with 'sk-'")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(f"{source} has characters that no API key has: was something else pasted with it?")
        return key
    finally:
        # Refused or not, it is no local of a frame that an error tracker would show.
        del key


def chosen_url(base_url: object, region: str | None) -> str:
    """Where the API is: `base_url`, else `MOONSHOT_BASE_URL` or `KIMI_BASE_URL`, else by region.

    Warns when the environment names the host of the other region than `region` does: keys belong to one.
    """
    by_region = region_url(region)
    if is_given(base_url):
        return checked_url(base_url)
    for variable in _URL_VARIABLES:
        if value := os.environ.get(variable):
            url = checked_url(value, variable)
            if region is not None and _other_region(url, by_region):
                warnings.warn(
                    f"region={region!r} has no effect: the environment variable {variable} says {url}. Unset it, or "
                    f"pass base_url={by_region!r}.",
                    stacklevel=3,
                )
            return url
    return by_region


def region_url(region: str | None) -> str:
    """Where the API of a region is."""
    if not is_given(region):
        return _BASE_URLS["cn"]
    if not isinstance(region, str) or region not in _BASE_URLS:
        raise ConfigurationError(f"region must be 'cn' or 'intl', not {region!r}")
    return _BASE_URLS[region]


def is_given(value: object) -> bool:
    """Whether a setting is there to be looked at; an empty text, as of an empty variable, says nothing."""
    return value is not None and value != "" and value is not msgspec.UNSET


def _other_region(url: str, by_region: str) -> bool:
    host = urlsplit(url).hostname
    return host in _REGION_HOSTS and host != urlsplit(by_region).hostname


def checked_url(url: object, source: str = "base_url") -> str:
    """A base URL without a slash at its end; `source` says where it came from."""
    text = str(url).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text or "\\" in text:
        raise ConfigurationError(f"{source} must be an http(s) URL such as {_BASE_URLS['intl']}")
    if parts.username is not None or "?" in text or "#" in text:
        raise ConfigurationError(f"{source} must not have a user, a query or a fragment; see default_query")
    return text


def warn_of_plain_http(url: str) -> None:
    """Warn when a key would travel unencrypted to another machine."""
    parts = urlsplit(url)
    # A dot at the end says that a name is whole.
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        return
    warnings.warn(
        f"base_url is plain http to {host}: the key and every prompt travel readable for all on the way. Use https, or "
        'silence this with warnings.filterwarnings("ignore", message="base_url is plain http").',
        stacklevel=3,
    )


def _is_loopback(host: str) -> bool:
    from ipaddress import IPv6Address, ip_address

    try:
        address = ip_address(host)
    except ValueError:
        return False
    # Python before 3.13 takes an IPv4 address that is written as IPv6 for no loopback.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
