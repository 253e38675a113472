"""Web search and page fetch, of a web that is made up from the query alone. Nothing leaves the machine.

See: https://platform.kimi.ai/docs/api/tools
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from moonshot_async.fake import brain
from moonshot_async.fake.account import Account
from moonshot_async.fake.faults import TOOLS_PATH
from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import Request, Response

_MAX_RESULTS, _RESULTS = 20, 5
_MAX_SECONDS: Final = 60
_MAX_SITES: Final = 5
_SITES: Final = ("example.com", "example.org", "example.net", "docs.example.com", "news.example.org")
_AUTHORITIES: Final = ("S", "A", "B")
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_UNFIT_FOR_SITES: Final = re.compile(r"[\s()]")
# Names that no page outside has, or that only a machine inside knows.
_INSIDE: Final = ("localhost", "local", "internal")

_Payload = Mapping[str, Any]


class Tools:
    """The endpoints; `account` pays for what was found."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", TOOLS_PATH + "search", self._search, finished),
            Route("POST", TOOLS_PATH + "search_pro", self._search_pro, finished),
            Route("POST", TOOLS_PATH + "fetch", self._fetch, finished),
        )

    def _search(self, call: Call) -> Response:
        payload = _search_payload(call)
        content = payload.get("include_content")
        if content is not None and not isinstance(content, bool):
            raise _refused("invalid request body")
        return self._found(payload, "tools.search", list(_SITES), None, with_text=bool(content))

    def _search_pro(self, call: Call) -> Response:
        payload = _search_payload(call)
        sites = _sites(payload.get("sites"))
        return self._found(payload, "tools.search_pro", sites or list(_SITES), _window(payload.get("time_window")))

    def _found(
        self,
        payload: _Payload,
        price: str,
        sites: list[str],
        window: tuple[date, date] | None,
        *,
        with_text: bool | None = None,
    ) -> Response:
        self._account.check()
        query = payload["text_query"].strip()
        results = [_result(query, place, sites, window, with_text) for place in range(payload.get("limit") or _RESULTS)]
        # Signs alone find nothing, and what finds nothing costs nothing.
        if not brain.words_of(query):
            results = []
        self._account.charge_call(price, min(1, len(results)))
        return json_response({"search_results": results})

    def _fetch(self, call: Call) -> Response:
        payload = _payload(call)
        url = payload.get("url")
        host = _host(url)
        self._account.check()
        if _is_inside(host):
            raise RefusedError(
                "We consider the current URL poses a security risk and are unable to provide fetch service at this "
                "time.",
                status=403,
                type="security_risk",
            )
        if host.endswith(".invalid"):
            raise RefusedError(
                "No text/markdown content found for the current URL.", status=404, type="markdown_not_found"
            )
        self._account.charge_call("tools.fetch")
        return json_response({"url": url, **page(str(url))})


def finished(request: Request, number: int, response: Response) -> Response:
    """What every answer of the tools carries; those about a key have no body."""
    track = request.headers.get("X-Msh-Track-Id") or f"fake-track-{number:06d}"
    if response.status == 401:
        response = Response(401, [("Content-Length", "0")])
    response.headers = response.headers.merged({"X-Msh-Track-Id": track, "X-Msh-Chat-Id": f"toolgw-{track}"})
    return response


def page(url: str) -> dict[str, str]:
    """The title and the Markdown of a page."""
    split = urlsplit(url)
    title = f"{split.path.strip('/').replace('/', ' ') or 'Home'} - {split.hostname}"
    text = brain.compose(title, brain.digest("page", url))
    return {"title": title, "markdown": f"# {title}\n\n{text}"}


def _payload(call: Call) -> dict[str, Any]:
    payload = call.json("invalid request body", type="invalid_request")
    if not isinstance(payload, dict):
        raise _refused("invalid request body")
    return payload


def _search_payload(call: Call) -> dict[str, Any]:
    payload = _payload(call)
    query = payload.get("text_query")
    if query is not None and not isinstance(query, str):
        raise _refused("invalid request body")
    if not query or not query.strip():
        raise _refused("text_query is required")
    seconds = _whole(payload, "timeout_seconds")
    if seconds is not None and seconds > _MAX_SECONDS:
        raise _refused(f"timeout_seconds must be less than or equal to {_MAX_SECONDS}")
    if seconds is not None and seconds < 1:
        raise _refused("timeout_seconds must be greater than or equal to 1")
    limit = _whole(payload, "limit")
    if limit is not None and not 1 <= limit <= _MAX_RESULTS:
        raise _refused(f"limit must be between 1 and {_MAX_RESULTS}")
    return payload


def _whole(payload: _Payload, name: str) -> int | None:
    value = payload.get(name)
    if value is not None and type(value) is not int:
        raise _refused("invalid request body")
    return value


def _sites(sites: Any) -> list[str]:
    if sites is None:
        return []
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise _refused("invalid request body")
    if len(sites) > _MAX_SITES:
        raise _refused(f"sites must contain at most {_MAX_SITES} entries")
    for site in sites:
        if not site:
            raise _refused("site must not be empty")
        if _UNFIT_FOR_SITES.search(site):
            raise _refused("site must not contain whitespace or parentheses")
    return sites


def _window(window: Any) -> tuple[date, date] | None:
    if window is None:
        return None
    if not isinstance(window, dict):
        raise _refused("invalid request body")
    start, end = _day(window, "start"), _day(window, "end")
    if start is not None and end is not None and start > end:
        raise _refused("time_window.start must not be after time_window.end")
    if start is None and end is None:
        return None
    # Where one end is open, the dates are of the year beside the other.
    return start or _shifted(end, -365), end or _shifted(start, 365)


def _shifted(day: date | None, days: int) -> date:
    ordinal = (day or date.min).toordinal() + days
    return date.fromordinal(max(date.min.toordinal(), min(ordinal, date.max.toordinal())))


def _day(window: _Payload, name: str) -> date | None:
    """The first day of a year, a month or a day."""
    value = window.get(name)
    if value is None:
        return None
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is not None:
            return date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        pass
    raise _refused(f"time_window.{name} is invalid, expect YYYY / YYYY-MM / YYYY-MM-DD")


def _result(
    query: str, place: int, sites: list[str], window: tuple[date, date] | None, with_text: bool | None
) -> dict[str, Any]:
    seed = brain.digest("search", query, str(place))
    site = sites[place % len(sites)]
    start, end = window or (date(2025, 1, 1), date(2026, 11, 1))
    day = start + timedelta(days=int.from_bytes(seed[:2], "big") % ((end - start).days + 1))
    text = brain.compose(query, seed)
    found: dict[str, Any] = {
        "authority": _AUTHORITIES[seed[2] % len(_AUTHORITIES)],
        "date": day.isoformat(),
        "icon": f"https://{site}/favicon.ico",
        "mime": "text/html",
        "site_name": site,
        "snippet": text.splitlines()[0],
        "title": f"{query} ({place + 1}) - {site}",
        "url": f"https://{site}/{seed.hex()[:12]}",
    }
    if with_text is None:
        chunks = [chunk for chunk in text.splitlines() if chunk]
        found["chunks"] = [
            {"text": chunk, "score": round(2.0 / (1 + place + at), 3)} for at, chunk in enumerate(chunks)
        ]
    else:
        found["text"] = text if with_text else ""
    return found


def _host(url: Any) -> str:
    try:
        split = urlsplit(url if isinstance(url, str) else "")
        host = split.hostname or ""
    except ValueError:
        raise _refused("The provided URL is invalid: missing host", "invalid_url") from None
    if split.scheme not in ("http", "https"):
        raise _refused("The provided URL is invalid: only http and https are supported", "invalid_url")
    if not host:
        raise _refused("The provided URL is invalid: missing host", "invalid_url")
    return host.rstrip(".")


def _is_inside(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return not ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return host.rpartition(".")[2] in _INSIDE


def _refused(message: str, type: str = "invalid_request") -> RefusedError:
    return RefusedError(message, type=type)
