"""List calls: awaited for a page, or iterated for all there is."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from moonshot_async import AsyncMoonshot, InternalServerError, Request, Response
from moonshot_async.resources.listing import Listing
from moonshot_async.types.model import Model, ModelDecoder
from moonshot_async.types.pages import CursorPage


class Thing(Model, kw_only=True):
    id: str


decode_things = ModelDecoder(CursorPage[Thing])
ALL = [f"thing-{number}" for number in range(7)]


class Service:
    """Pages of `limit` things, after a cursor."""

    def __init__(self) -> None:
        self.queries: list[dict[str, list[str]]] = []
        self.deadlines: list[float | None] = []
        self.fails_after: str | None = None

    async def __call__(self, request: Request) -> Response:
        query = parse_qs(urlsplit(request.url).query)
        self.queries.append(query)
        self.deadlines.append(request.deadline)
        after = query.get("after", [""])[0]
        if after and after == self.fails_after:
            return Response(501)
        start = ALL.index(after) + 1 if after else 0
        limit = int(query.get("limit", ["3"])[0])
        data = [{"id": name, "object": "thing"} for name in ALL[start : start + limit]]
        body = {"object": "list", "data": data, "has_more": start + limit < len(ALL)}
        return Response(200, {"Msh-Request-Id": f"r{len(self.queries)}"}, json.dumps(body))


@pytest.fixture
def service() -> Service:
    return Service()


def things(client: AsyncMoonshot, query: Any = None, **options: Any) -> Listing[CursorPage[Thing], Thing]:
    return Listing(client._pipeline, "/things", decode_things, query=query, options=options)


async def test_awaiting_sends_one_request_and_gives_the_first_page(client: AsyncMoonshot, service: Service) -> None:
    page = await things(client, {"limit": 2, "order": None})
    assert [thing.id for thing in page] == ALL[:2]
    assert (page.has_more, page.request_id) == (True, "r1")
    assert service.queries == [{"limit": ["2"]}]
    assert (await page.get_next_page()).request_id == "r2"


async def test_iterating_gives_the_items_of_all_pages_and_fetches_them_on_the_way(
    client: AsyncMoonshot, service: Service
) -> None:
    listing = things(client, {"limit": 3})
    assert service.queries == []
    seen = [(thing.id, len(service.queries)) async for thing in listing]
    assert [name for name, _ in seen] == ALL
    assert [count for _, count in seen] == [1, 1, 1, 2, 2, 2, 3]
    assert service.queries[1] == {"limit": ["3"], "after": ["thing-2"]}


async def test_a_listing_can_be_used_again(client: AsyncMoonshot) -> None:
    listing = things(client)
    assert [thing.id async for thing in listing] == [thing.id async for thing in listing] == ALL
    assert len(await listing) == 3


async def test_every_page_has_the_options_of_the_call_and_a_time_of_its_own(
    client: AsyncMoonshot, service: Service
) -> None:
    listing = things(client, {"limit": 3}, extra_query={"limit": 4, "q": "x", "after": "thing-0"}, timeout=9)
    assert [thing.id async for thing in listing] == ALL[1:]
    assert service.queries == [
        {"limit": ["4"], "q": ["x"], "after": ["thing-0"]},
        {"limit": ["4"], "q": ["x"], "after": ["thing-4"]},
    ]
    first, second = service.deadlines
    assert first is not None
    assert second is not None
    assert first < second


async def test_a_page_that_fails_raises_after_all_items_before_it(client: AsyncMoonshot, service: Service) -> None:
    service.fails_after = "thing-2"
    seen = []
    with pytest.raises(InternalServerError):
        async for thing in things(client):
            seen.append(thing.id)  # noqa: PERF401  # what came before the error counts
    assert seen == ALL[:3]


async def test_the_pages_of_a_raw_answer_lead_on_too(client: AsyncMoonshot) -> None:
    listing: Any = Listing(client.models.with_raw_response._resource._pipeline, "/things", decode_things, options={})  # type: ignore[attr-defined]  # looked at from within
    raw = await listing
    assert (raw.status_code, len(raw.parse())) == (200, 3)
    assert [thing.id async for thing in raw.parse()] == ALL
    assert [len(page) async for page in raw.parse().iter_pages()] == [3, 3, 1]
    assert [thing.id async for thing in listing] == ALL


def test_an_option_that_does_not_exist_is_refused_at_the_call(client: AsyncMoonshot) -> None:
    with pytest.raises(TypeError, match=r"list\(\) got an unexpected keyword argument 'timeuot'"):
        things(client, timeuot=1)
