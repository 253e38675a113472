"""What the service says: key, region, clock, limits, latency, quota. Each check can be used alone.

    place = place_of("https://api.moonshot.ai/v1")
    print((await check_dns(place)).found)
    async with AsyncMoonshot(region="intl") as client:
        print(check_clock(await asked(client)))
        print(await check_quota(client))

No check costs anything: models are listed, and the balance is looked up.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from moonshot_async.catalog import CATALOG, Tier, currency_of
from moonshot_async.cli.chat.spending import money
from moonshot_async.cli.doctor.findings import SUPPORT, Finding, milliseconds
from moonshot_async.cli.doctor.network import check_dns, check_proxy, check_tcp
from moonshot_async.cli.doctor.places import Place, Proxy, place_of
from moonshot_async.cli.doctor.tls import check_tls, date_of
from moonshot_async.cli.state import KEY_VARIABLES
from moonshot_async.errors import (
    APIError,
    APIStatusError,
    AuthenticationError,
    EngineOverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
)

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

__all__ = [
    "Answered",
    "Finding",
    "Place",
    "Proxy",
    "asked",
    "check_access",
    "check_clock",
    "check_dns",
    "check_key",
    "check_latency",
    "check_limits",
    "check_proxy",
    "check_quota",
    "check_region",
    "check_tcp",
    "check_tls",
    "place_of",
]

_OTHER_REGION: Final = {
    "api.moonshot.cn": ("intl", "https://api.moonshot.ai/v1"),
    "api.moonshot.ai": ("cn", "https://api.moonshot.cn/v1"),
}
_KEY_PAGES: Final = "https://platform.kimi.ai (region intl) and https://platform.kimi.com (region cn)"
# Seconds. `Date` has no fractions, and an answer takes its time.
_CLOCK_OFF: Final = 30
_CLOCK_FAR_OFF: Final = 300
_SLOW: Final = 1.0
_SOMETHING_ELSE: Final = "Something else answers: see the base URL, and whether a login page or proxy is in between."
# What login pages and proxies say, and the service does not.
_OTHERS: Final = frozenset({301, 302, 303, 307, 308, 407, 511})
_LITTLE: Final = {"usd": 1, "cny": 10}
_LIMIT: Final = re.compile(r"\bmax (RPM|TPM|TPD|concurrency): ?(\d{1,12})", re.IGNORECASE)
_LIMIT_HEADERS: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after")


class Answered(msgspec.Struct):
    """What came of asking the service for its models.

    Attributes:
        url: what was asked.
        error: why there is no good answer; None for a good one.
        headers: of whatever answer came; None where none came.
        moment: when it was half way, by this machine's clock.
        seconds: how long it took.
    """

    url: str
    error: APIError | None
    headers: Mapping[str, str] | None
    moment: datetime
    seconds: float


async def asked(client: "AsyncMoonshot") -> Answered:
    """Ask the service for its models, once; that tells most of what can be known."""
    begun, clock = time.time(), time.monotonic()
    error: APIError | None = None
    headers: Mapping[str, str] | None = None
    try:
        answer = await client.models.with_raw_response.list()
        headers = answer.headers
        answer.parse()
    except APIError as problem:
        error = problem
        headers = problem.headers if isinstance(problem, APIStatusError) else headers
    seconds = time.monotonic() - clock
    return Answered(client.base_url, error, headers, datetime.fromtimestamp(begun + seconds / 2, UTC), seconds)


def check_key(environ: Mapping[str, str], *, host: str = "") -> Finding:
    """Whether there is a key, and looks like one. It is never shown."""
    variable = next((name for name in KEY_VARIABLES if environ.get(name)), None)
    if variable is None:
        return Finding(
            "key",
            "fail",
            "there is no API key",
            f"Make one at {_KEY_PAGES}, and set MOONSHOT_API_KEY to it.",
        )
    key = environ[variable].strip()
    details = {"variable": variable}
    found = f"{variable} has one of {len(key)} characters"
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        found = f"{variable} holds no key: it is empty, or has characters that no key has"
        return Finding("key", "fail", found, "See whether something else was pasted with it.", details)
    if key[0] in "\"'":
        return Finding("key", "fail", f"{found}, which begins with a quotation mark", "Take the marks away.", details)
    if host in _OTHER_REGION and key.startswith("sk-kimi-"):
        advice = f"Keys of Kimi Code are for https://api.kimi.com/coding/v1. Keys for {host}: {_KEY_PAGES}."
        return Finding("key", "fail", f"{found}, which is for Kimi Code, another product", advice, details)
    if host in _OTHER_REGION and not key.startswith("sk-"):
        advice = "See whether something else was pasted."
        return Finding("key", "warn", f"{found}, which does not begin with sk- as keys do", advice, details)
    return Finding("key", "ok", found, details=details)


def check_access(answered: Answered) -> Finding:
    """Whether the service answers, and takes the key."""
    error = answered.error
    if error is None:
        return Finding("access", "ok", "the service answers, and takes the key")
    if answered.headers is not None and not isinstance(error, APIStatusError):
        return Finding("access", "fail", f"this is not what the service answers: {error.message}", _SOMETHING_ELSE)
    if not isinstance(error, APIStatusError):
        advice = "The checks of the network say where it ends; try again where they are all good."
        return Finding("access", "fail", f"no answer: {error.message}", advice)
    details = {"status": error.status_code, "type": error.type, "request_id": error.request_id}
    said = f"{error.status_code} {error.type or ''}".strip()
    if error.status_code in _OTHERS or (error.status_code == 403 and not error.type):
        return Finding("access", "fail", f"this is not what the service answers ({said})", _SOMETHING_ELSE, details)
    if isinstance(error, AuthenticationError):
        advice = f"It may be mistyped, deleted, or of the other region; keys are listed at {_KEY_PAGES}."
        return Finding("access", "fail", f"the service does not take the key ({said})", advice, details)
    if isinstance(error, QuotaExceededError):
        return Finding("access", "fail", f"the service takes the key, but the account is empty ({said})", "", details)
    if isinstance(error, PermissionDeniedError):
        advice = "See in the console whether the key is allowed from this address, and its project to use the API."
        return Finding("access", "fail", f"the service takes the key, but allows it nothing ({said})", advice, details)
    if isinstance(error, RateLimitError):
        return Finding("access", "ok", f"the service takes the key, and asks to wait ({said})", details=details)
    if error.status_code >= 500:
        return Finding("access", "fail", f"the service is in trouble ({said})", f"Try again. {SUPPORT}", details)
    advice = "See whether the base URL ends in /v1, and whether a Moonshot service is behind it."
    return Finding("access", "fail", f"this is not what the service answers ({said})", advice, details)


async def check_region(answered: Answered, client: "AsyncMoonshot", *, other: tuple[str, str] | None = None) -> Finding:
    """Whether the key belongs to the region: where it is refused, the other region is asked, too.

    Args:
        answered: what this region said.
        client: its settings are taken, and it stays as it is.
        other: name and URL of the other region; by the host unless given.
    """
    other = other or _OTHER_REGION.get(urlsplit(answered.url).hostname or "")
    if other is None:
        return Finding("region", "skip", "the host belongs to no region of Moonshot's")
    name, url = other
    if answered.error is None:
        return Finding("region", "ok", "the key is of this region")
    if not isinstance(answered.error, AuthenticationError):
        return Finding("region", "skip", "whether the key is of this region was not said")
    elsewhere = await asked(client.with_options(base_url=url))
    if isinstance(elsewhere.error, AuthenticationError):
        return Finding("region", "ok", "the other region does not take the key either: it is not the region")
    if not isinstance(elsewhere.error, (RateLimitError, type(None))):
        return Finding("region", "warn", f"the other region ({name}) could not be asked", f"Try --region {name}.")
    return Finding(
        "region",
        "fail",
        f"the key is of the other region, {name}",
        f"Use --region {name}, or set MOONSHOT_BASE_URL={url}; in programs AsyncMoonshot(region={name!r}).",
        {"region": name, "base_url": url},
    )


def check_clock(answered: Answered) -> Finding:
    """Whether this machine's clock is right, by the `Date` of the answer."""
    if answered.headers is None:
        return Finding("clock", "skip", "the service did not say what time it is")
    date = date_of(answered.headers.get("date"))
    if date is None:
        return Finding("clock", "skip", "the answer has no time in it")
    off = (answered.moment - date).total_seconds()
    details = {"off": round(off)}
    if abs(off) < _CLOCK_OFF:
        return Finding("clock", "ok", "as the service's, to some seconds", details=details)
    found = f"this machine's clock is {_duration(abs(off))} {'ahead' if off > 0 else 'behind'}"
    advice = "Have it set by the network (NTP): certificates, signatures and waits until a moment go by it."
    return Finding("clock", "fail" if abs(off) >= _CLOCK_FAR_OFF else "warn", found, advice, details)


def check_limits(answered: Answered) -> Finding:
    """What the service says of the account's limits, and which tier has such ones."""
    if answered.headers is None:
        return Finding("limits", "skip", "the service did not say")
    told = {name: answered.headers[name] for name in _LIMIT_HEADERS if name in answered.headers}
    listed = ", ".join(f"{name}: {value}" for name, value in told.items())
    error = answered.error
    if isinstance(error, EngineOverloadedError):
        return Finding("limits", "warn", "the service has no capacity just now; it is not your limit", "Wait.", told)
    if isinstance(error, RateLimitError) and not isinstance(error, QuotaExceededError):
        named = _LIMIT.search(error.message)
        tier = None if named is None else _tier(named[1].lower(), int(named[2]))
        found = "a limit of the account is reached" + (f": {named[1]} {named[2]}" if named else "")
        found += f" (that of tier {tier.tier})" if tier else ""
        advice = "Others may be using the account; RateLimits(…) keeps a program below it, and topping up raises it."
        return Finding("limits", "warn", found, advice, told)
    if told:
        return Finding("limits", "ok", listed, details=told)
    if error is not None and not isinstance(error, RateLimitError):
        return Finding("limits", "skip", "the service did not say")
    return Finding("limits", "ok", "none is reached; the service does not say which they are before one is")


async def check_latency(client: "AsyncMoonshot", *, times: int = 5) -> Finding:
    """How long small calls take, one after the other, on a connection that is open."""
    taken: list[float] = []
    problem: APIError | None = None
    for _ in range(times):
        answered = await asked(client)
        if answered.headers is None:
            problem = answered.error
        else:
            taken.append(answered.seconds)
    if not taken:
        return Finding("latency", "skip", "no call was answered")
    middle = median(taken)
    found = f"{milliseconds(middle)} in the middle, {milliseconds(min(taken))} to {milliseconds(max(taken))}"
    details = {"median": middle, "lowest": min(taken), "highest": max(taken), "answered": len(taken), "calls": times}
    if problem is not None:
        advice = "The way there is not reliable: see other programs on this network, then the vendor's status page."
        return Finding("latency", "warn", f"{times - len(taken)} of {times} calls failed; {found}", advice, details)
    if middle > _SLOW:
        advice = "Far from the region, through a proxy or on a busy line that is to be expected."
        return Finding("latency", "warn", found, advice, details)
    return Finding("latency", "ok", found, details=details)


async def check_quota(client: "AsyncMoonshot") -> Finding:
    """Whether the account has money left."""
    try:
        balance = await client.users.balance()
    except QuotaExceededError as error:
        return Finding("quota", "fail", f"the account is empty: {error.message}", "Top it up in the console.")
    except APIError as error:
        return Finding("quota", "skip", f"the balance is not known: {error.message}")
    currency = currency_of(client.base_url)
    left = balance.available_balance
    details = {
        "available": left,
        "vouchers": balance.voucher_balance,
        "cash": balance.cash_balance,
        "currency": currency,
    }
    found = f"{money(left, currency)} left"
    if balance.cash_balance < 0:
        found += f", and {money(-balance.cash_balance, currency)} of debt"
    if left <= 0:
        found = f"the account is empty: {found}"
        return Finding("quota", "fail", found, "Top it up in the console; until then calls end with a 429.", details)
    if left < _LITTLE[currency]:
        return Finding("quota", "warn", found, "That is little: at nothing, calls end with a 429.", details)
    return Finding("quota", "ok", found, details=details)


def _tier(kind: str, number: int) -> Tier | None:
    """The lowest tier with such a limit."""
    return next((tier for tier in CATALOG.tiers if getattr(tier, kind) == number), None)


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
