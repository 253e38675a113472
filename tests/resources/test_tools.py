"""`client.tools`."""

from datetime import date
from typing import Any

import pytest

from moonshot_async import (
    APIStatusError,
    AsyncMoonshot,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MemoryTransport,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from moonshot_async.fake import FakeMoonshot
from tests.canned import Canned

HIT = {"title": "Roofs", "url": "https://a.example/", "text": "grey", "chunks": [{"text": "grey", "score": 0.5}]}


async def test_a_search_sends_what_was_said_and_nothing_else() -> None:
    service = Canned({"search_results": [HIT]})
    async with service.client() as client:
        found = await client.tools.search(text_query="grey roofs")
        assert service.sent == {"text_query": "grey roofs"}
        await client.tools.search(text_query="roofs", timeout_seconds=30, limit=20, include_content=False)

    assert service.sent == {"text_query": "roofs", "timeout_seconds": 30, "limit": 20, "include_content": False}
    assert service.path == "/tools/search"
    assert found.search_results[0].text == "grey"
    assert found.request_id == "req-1"


async def test_the_better_search_takes_sites_and_a_window_of_time() -> None:
    service = Canned({"search_results": [HIT]})
    async with service.client() as client:
        found = await client.tools.search_pro(
            text_query="roofs",
            limit=1,
            sites=["a.example"],
            time_window={"start": "2026-01", "end": date(2026, 11, 22)},
            extra_body={"new": True},
        )

    assert service.path == "/tools/search_pro"
    assert service.sent == {
        "text_query": "roofs",
        "limit": 1,
        "sites": ["a.example"],
        "time_window": {"start": "2026-01", "end": "2026-11-22"},
        "new": True,
    }
    assert found.search_results[0].chunks[0].score == 0.5


async def test_a_page_is_fetched_by_the_service() -> None:
    service = Canned({"url": "https://a.example/", "markdown": "# A", "title": "A"})
    async with service.client() as client:
        page = await client.tools.fetch(url="https://a.example/")

    assert (service.path, service.sent) == ("/tools/fetch", {"url": "https://a.example/"})
    assert page.markdown == "# A"


async def test_a_track_id_is_a_header_and_goes_before_one_in_extra_headers() -> None:
    service = Canned({"search_results": [], "markdown": ""})
    extra = {"x-msh-track-id": "old", "X-A": "1"}
    async with service.client() as client:
        await client.tools.search(text_query="q", track_id="t-1")
        await client.tools.search_pro(text_query="q", track_id="t-1", extra_headers=extra)
        await client.tools.fetch(url="u", track_id="t-1")
        await client.tools.fetch(url="u", extra_headers=extra)

    assert [request.headers.get("X-Msh-Track-Id") for request in service.requests] == ["t-1", "t-1", "t-1", "old"]
    assert service.requests[1].headers["X-A"] == "1"
    assert extra == {"x-msh-track-id": "old", "X-A": "1"}


async def test_a_track_id_that_is_no_header_is_refused() -> None:
    service = Canned()
    async with service.client() as client:
        with pytest.raises(ConfigurationError, match="X-Msh-Track-Id"):
            await client.tools.search(text_query="q", track_id="a\nb")
    assert service.requests == []


@pytest.mark.parametrize("name", ["search", "search_pro", "fetch"])
async def test_keywords_that_do_not_exist_or_are_missing_are_type_errors(name: str) -> None:
    service = Canned()
    known: dict[str, Any] = {"url": "u"} if name == "fetch" else {"text_query": "q"}
    async with service.client() as client:
        method = getattr(client.tools, name)
        with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'siets'"):
            await method(**known, siets=[])
        with pytest.raises(TypeError, match=next(iter(known))):
            await method()
    assert service.requests == []


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, AuthenticationError, "keys belong to one region"),
        (403, PermissionDeniedError, "Error code: 403"),
        (408, APIStatusError, "Error code: 408"),
    ],
)
async def test_errors_without_a_body_are_typed(status: int, kind: type[APIStatusError], text: str) -> None:
    async with Canned(b"", status).client() as client:
        with pytest.raises(kind, match=text) as caught:
            await client.tools.search(text_query="q")
    assert caught.value.status_code == status
    assert caught.value.body is None
    assert caught.value.retryable is (status == 408)


async def test_errors_of_a_fetch_say_what_the_service_says() -> None:
    service = Canned({"error": {"type": "markdown_not_found", "message": "no markdown"}}, 404)
    async with service.client() as client:
        with pytest.raises(NotFoundError, match="no markdown") as missing:
            await client.tools.fetch(url="https://a.example/")
        service.status, service.body = 403, {"error": {"type": "security_risk", "message": "not this one"}}
        with pytest.raises(PermissionDeniedError, match="not this one") as risky:
            await client.tools.fetch(url="https://a.example/")
    assert (missing.value.type, risky.value.type) == ("markdown_not_found", "security_risk")


async def test_a_rate_limit_tells_its_headers() -> None:
    limits = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1794200000"}
    async with Canned(b"", 429, limits).client() as client:
        with pytest.raises(RateLimitError) as caught:
            await client.tools.search(text_query="q")
    assert caught.value.headers["x-ratelimit-remaining"] == "0"
    assert caught.value.retryable


async def test_the_embedded_service_searches_and_fetches() -> None:
    fake = FakeMoonshot()
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
        found = await client.tools.search(text_query="grey roofs", limit=3, include_content=True)
        window: Any = {"start": date(2026, 3, 1), "end": "2026-03"}
        better = await client.tools.search_pro(text_query="grey roofs", sites=["example.org"], time_window=window)
        page = await client.tools.fetch(url=found.search_results[0].url)

    assert len(found) == 3
    assert all(result.text and result.model_extra == {} for result in found)
    assert {result.site_name for result in better} == {"example.org"}
    assert {result.date for result in better} == {"2026-03-01"}
    assert better.search_results[0].chunks[0].score > 0
    assert page.url == found.search_results[0].url
    assert page.markdown.startswith("# ")


async def test_what_the_embedded_service_refuses_is_typed() -> None:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot())) as client:
        with pytest.raises(PermissionDeniedError) as risky:
            await client.tools.fetch(url="http://localhost/")
        with pytest.raises(NotFoundError) as missing:
            await client.tools.fetch(url="http://nothing.invalid/")
        with pytest.raises(BadRequestError, match="limit must be between 1 and 20"):
            await client.tools.search(text_query="q", limit=21)
    assert (risky.value.type, missing.value.type) == ("security_risk", "markdown_not_found")
