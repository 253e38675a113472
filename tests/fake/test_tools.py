import json
from decimal import Decimal
from typing import Any

import pytest

from moonshot_async.catalog import CATALOG, CallPrice
from moonshot_async.fake import FakeMoonshot

KEY = {"Authorization": "Bearer sk-test"}
FIELDS = {"authority", "date", "icon", "mime", "site_name", "snippet", "title", "url"}


@pytest.fixture
def call(send: Any, fake: FakeMoonshot) -> Any:
    """Call a tool, and return status and answer."""

    async def call(tool: str, payload: Any = None, *, body: bytes | None = None, to: FakeMoonshot = fake) -> Any:
        body = json.dumps(payload).encode() if body is None else body
        response = await send(path="/v1/tools/" + tool, body=body, to=to)
        return response.status, json.loads(await response.read())

    return call


async def found(call: Any, tool: str, **payload: Any) -> list[dict[str, Any]]:
    status, answer = await call(tool, {"text_query": "rain in Oslo", **payload})
    assert status == 200, answer
    results: list[dict[str, Any]] = answer["search_results"]
    return results


async def test_a_search_finds_pages_about_the_query(call: Any) -> None:
    results = await found(call, "search")

    assert len(results) == 5
    for result in results:
        assert set(result) == FIELDS | {"text"}
        assert all(isinstance(value, str) for value in result.values())
        assert "rain in Oslo" in result["title"]
        assert result["text"] == ""
    assert len({result["url"] for result in results}) == 5
    assert await found(call, "search", limit=5, timeout_seconds=60, include_content=False) == results
    assert await found(call, "search", text_query="snow") != results


async def test_a_search_returns_content_and_as_many_results_as_asked_for(call: Any) -> None:
    results = await found(call, "search", include_content=True, limit=20)

    assert len(results) == 20
    assert all(result["snippet"] in result["text"] for result in results)


async def test_a_professional_search_returns_passages(call: Any) -> None:
    (result,) = await found(call, "search_pro", limit=1)

    assert set(result) == FIELDS | {"chunks"}
    assert all(set(chunk) == {"text", "score"} for chunk in result["chunks"])
    assert result["chunks"][0]["text"]


async def test_a_professional_search_stays_on_its_sites(call: Any) -> None:
    results = await found(call, "search_pro", sites=["moonshot.cn", "kimi.com"])

    assert {result["site_name"] for result in results} == {"moonshot.cn", "kimi.com"}
    assert all(result["url"].startswith(f"https://{result['site_name']}/") for result in results)


@pytest.mark.parametrize(
    ("window", "first", "last"),
    [
        ({"start": "2026-01", "end": "2026-09"}, "2026-01-01", "2026-09-01"),
        ({"start": "2024", "end": "2024"}, "2024-01-01", "2024-01-01"),
        ({"start": "2026-02-28"}, "2026-02-28", "2027-02-28"),
        ({"end": "2026-03-01"}, "2025-03-01", "2026-03-01"),
        ({"end": "0001"}, "0001-01-01", "0001-01-01"),
        ({"start": "9999-12-31"}, "9999-12-31", "9999-12-31"),
        ({}, "2025-01-01", "2026-11-01"),
        (None, "2025-01-01", "2026-11-01"),
    ],
)
async def test_a_professional_search_stays_in_its_time(call: Any, window: Any, first: str, last: str) -> None:
    results = await found(call, "search_pro", time_window=window, limit=20)

    assert all(first <= result["date"] <= last for result in results)


async def test_signs_find_nothing_and_cost_nothing(call: Any) -> None:
    fake = FakeMoonshot(balance=1)

    assert await call("search", {"text_query": "?!"}, to=fake) == (200, {"search_results": []})
    assert await call("search_pro", {"text_query": "…"}, to=fake) == (200, {"search_results": []})
    assert fake.account.cash == 1


async def test_what_is_found_costs_what_the_catalog_says(call: Any) -> None:
    prices = {
        f"tools.{name}": CallPrice(Decimal(price)) for name, price in (("search", 1), ("search_pro", 2), ("fetch", 4))
    }
    fake = FakeMoonshot(balance=10, catalog=CATALOG.extended(calls=prices))
    spent = []

    for tool, payload in (
        ("search", {"text_query": "rain"}),
        ("search_pro", {"text_query": "rain"}),
        ("fetch", {"url": "https://example.com/"}),
        ("fetch", {"url": "https://nothing.invalid/"}),
        ("search", {"text_query": ""}),
    ):
        await call(tool, payload, to=fake)
        spent.append(10 - fake.account.cash)

    assert spent == [1, 3, 7, 7, 7]


@pytest.mark.parametrize("tool", ["search", "search_pro"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_query": None}, "text_query is required"),
        ({"text_query": " "}, "text_query is required"),
        ({"text_query": 5}, "invalid request body"),
        ({"timeout_seconds": 61}, "timeout_seconds must be less than or equal to 60"),
        ({"timeout_seconds": 0}, "timeout_seconds must be greater than or equal to 1"),
        ({"timeout_seconds": "10"}, "invalid request body"),
        ({"timeout_seconds": True}, "invalid request body"),
        ({"limit": 0}, "limit must be between 1 and 20"),
        ({"limit": 21}, "limit must be between 1 and 20"),
        ({"limit": 1.5}, "invalid request body"),
    ],
)
async def test_a_bad_search_is_refused(call: Any, tool: str, changes: Any, message: str) -> None:
    assert await call(tool, {"text_query": "rain", **changes}) == (
        400,
        {"error": {"type": "invalid_request", "message": message}},
    )


@pytest.mark.parametrize(
    ("tool", "changes", "message"),
    [
        ("search", {"include_content": "yes"}, "invalid request body"),
        ("search_pro", {"sites": "kimi.com"}, "invalid request body"),
        ("search_pro", {"sites": [1]}, "invalid request body"),
        ("search_pro", {"sites": ["a"] * 6}, "sites must contain at most 5 entries"),
        ("search_pro", {"sites": [""]}, "site must not be empty"),
        ("search_pro", {"sites": ["a b"]}, "site must not contain whitespace or parentheses"),
        ("search_pro", {"sites": ["(a)"]}, "site must not contain whitespace or parentheses"),
        ("search_pro", {"time_window": "2026"}, "invalid request body"),
        (
            "search_pro",
            {"time_window": {"start": "26"}},
            "time_window.start is invalid, expect YYYY / YYYY-MM / YYYY-MM-DD",
        ),
        (
            "search_pro",
            {"time_window": {"end": "2026-13"}},
            "time_window.end is invalid, expect YYYY / YYYY-MM / YYYY-MM-DD",
        ),
        (
            "search_pro",
            {"time_window": {"end": 2026}},
            "time_window.end is invalid, expect YYYY / YYYY-MM / YYYY-MM-DD",
        ),
        (
            "search_pro",
            {"time_window": {"start": "2026-02", "end": "2026-01-31"}},
            "time_window.start must not be after time_window.end",
        ),
    ],
)
async def test_what_one_search_knows_alone_is_checked_too(call: Any, tool: str, changes: Any, message: str) -> None:
    assert await call(tool, {"text_query": "rain", **changes}) == (
        400,
        {"error": {"type": "invalid_request", "message": message}},
    )


@pytest.mark.parametrize("tool", ["search", "search_pro", "fetch"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"rain"'])
async def test_what_is_no_object_is_refused(call: Any, tool: str, body: bytes) -> None:
    assert await call(tool, body=body) == (
        400,
        {"error": {"type": "invalid_request", "message": "invalid request body"}},
    )


async def test_a_page_is_fetched_as_markdown(call: Any) -> None:
    url = "https://platform.kimi.com/docs/api/overview"

    status, page = await call("fetch", {"url": url})

    assert (status, page["url"], page["title"]) == (200, url, "docs api overview - platform.kimi.com")
    assert page["markdown"].startswith("# docs api overview - platform.kimi.com\n\n")
    assert (await call("fetch", {"url": "http://example.com"}))[1]["title"] == "Home - example.com"


@pytest.mark.parametrize(
    ("url", "status", "type", "words"),
    [
        (None, 400, "invalid_url", "only http and https are supported"),
        ("", 400, "invalid_url", "only http and https are supported"),
        (5, 400, "invalid_url", "only http and https are supported"),
        ("ftp://example.com", 400, "invalid_url", "only http and https are supported"),
        ("https:///path", 400, "invalid_url", "missing host"),
        ("https://[::1", 400, "invalid_url", "missing host"),
        ("http://localhost:8000/", 403, "security_risk", "poses a security risk"),
        ("http://printer.local", 403, "security_risk", "poses a security risk"),
        ("http://127.0.0.1", 403, "security_risk", "poses a security risk"),
        ("http://10.1.2.3/", 403, "security_risk", "poses a security risk"),
        ("http://169.254.169.254/latest", 403, "security_risk", "poses a security risk"),
        ("http://[::1]/", 403, "security_risk", "poses a security risk"),
        ("https://nothing.invalid", 404, "markdown_not_found", "No text/markdown content found for the current URL."),
        ("https://nothing.invalid./", 404, "markdown_not_found", "No text/markdown content found"),
    ],
)
async def test_a_page_that_cannot_be_fetched_is_refused(
    call: Any, url: Any, status: int, type: str, words: str
) -> None:
    got, answer = await call("fetch", {"url": url})

    assert (got, answer["error"]["type"]) == (status, type)
    assert words in answer["error"]["message"]


async def test_a_public_address_may_be_fetched(call: Any) -> None:
    assert (await call("fetch", {"url": "http://1.1.1.1/"}))[0] == 200


@pytest.mark.parametrize("tool", ["search", "search_pro", "fetch"])
async def test_a_bad_key_is_refused_without_a_word(send: Any, tool: str) -> None:
    response = await send(path="/v1/tools/" + tool, headers={}, body=b"{}")

    assert (response.status, await response.read()) == (401, b"")
    assert "content-type" not in response.headers


async def test_every_answer_carries_ids_of_its_own(send: Any, fake: FakeMoonshot) -> None:
    fake.fail(500, path="/tools/search")
    own = {"X-Msh-Track-Id": "mine"}
    body = b'{"text_query": "rain"}'

    failed = await send(path="/v1/tools/search", body=body)
    answered = await send(path="/v1/tools/search", body=body)
    tracked = await send(path="/v1/tools/search", body=body, headers=KEY | own)
    unknown = await send(path="/v1/tools/search", headers=own, body=body)

    for response in (failed, answered):
        track = response.headers["X-Msh-Track-Id"]
        assert response.headers["X-Msh-Chat-Id"] == f"toolgw-{track}"
    assert failed.headers["X-Msh-Track-Id"] != answered.headers["X-Msh-Track-Id"]
    for response in (tracked, unknown):
        assert (response.headers["X-Msh-Track-Id"], response.headers["X-Msh-Chat-Id"]) == ("mine", "toolgw-mine")


@pytest.mark.parametrize(
    ("status", "type"),
    [
        (400, "invalid_request"),
        (404, "markdown_not_found"),
        (408, "client_canceled"),
        (429, "rate_limited"),
        (500, "internal_error"),
        (502, "upstream_failed"),
        (503, "server_unavailable"),
        (504, "timeout"),
    ],
)
async def test_scripted_failures_are_worded_as_the_tools_word_them(
    send: Any, fake: FakeMoonshot, status: int, type: str
) -> None:
    fake.fail(status, path="/tools/fetch")

    response = await send(path="/v1/tools/fetch", body=b"{}")
    error = json.loads(await response.read())["error"]

    assert (response.status, error["type"]) == (status, type)
    assert ("X-RateLimit-Limit" in response.headers) == (status == 429)


async def test_scripted_failures_of_tools_may_be_worded_otherwise(send: Any, fake: FakeMoonshot) -> None:
    fake.fail(403, path="/tools/fetch")
    fake.fail(401, path="/tools/fetch", body=b"anything")
    fake.fail(429, path="/tools/fetch", message="slow down", headers={"X-RateLimit-Limit": "1"})
    answers = [await send(path="/v1/tools/fetch", body=b"{}") for _ in range(3)]

    assert [await answer.read() for answer in answers[:2]] == [b"", b""]
    assert json.loads(await answers[2].read())["error"]["message"] == "slow down"
    assert answers[2].headers["X-RateLimit-Limit"] == "1"
