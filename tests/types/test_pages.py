"""Pages by themselves: plain data that knows the way to the next page."""

import copy
import json
import pickle
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from moonshot_async.errors import APIResponseValidationError
from moonshot_async.types.model import Model, ModelDecoder
from moonshot_async.types.pages import CursorPage, Page, PageInfo, linked


class Item(Model, kw_only=True):
    id: str | None = None


decode_all = ModelDecoder(Page[Item])
decode_some = ModelDecoder(CursorPage[Item])


def page_of(*ids: str | None, has_more: bool = False) -> CursorPage[Item]:
    return CursorPage(data=[Item(id=name) for name in ids], has_more=has_more)


async def nobody(added: Mapping[str, object]) -> Any:
    raise AssertionError("nobody fetches this")


def test_a_page_holds_its_items_and_can_be_counted_and_looped_over() -> None:
    page = decode_all(b'{"object":"list","data":[{"id":"a"},{"id":"b"}]}')
    assert [item.id for item in page] == [item.id for item in page.data] == ["a", "b"]
    assert (len(page), page.object, page.request_id) == (2, "list", None)
    assert isinstance(page.data[0], Item)


def test_a_page_without_items_is_an_answer_all_the_same() -> None:
    page = decode_all(b'{"data":[]}')
    assert page
    assert len(page) == 0


def test_unknown_fields_of_a_page_and_its_items_are_kept() -> None:
    page: Any = decode_some(b'{"data":[{"id":"a","new":1}],"total":5,"has_more":null}')
    assert (page.total, page.data[0].new, page.has_more) == (5, 1, False)
    assert page.to_dict() == {"data": [{"id": "a", "new": 1}], "object": "list", "has_more": False, "total": 5}


def test_where_all_items_come_at_once_there_is_no_next_page() -> None:
    page = decode_all(b'{"data":[{"id":"a"}],"has_more":true}')
    assert not page.has_next_page()
    assert page.next_page_info() is None


@pytest.mark.parametrize(
    ("page", "after"),
    [
        (page_of("a", "b", has_more=True), "b"),
        (page_of("a", "b"), None),
        (page_of(has_more=True), None),
        (page_of("a", None, has_more=True), None),
    ],
)
def test_the_next_page_begins_after_the_last_item_if_there_is_more(page: CursorPage[Item], after: str | None) -> None:
    assert page.next_page_info() == (None if after is None else PageInfo({"after": after}))
    assert page.has_next_page() is (after is not None)


async def test_a_page_whose_items_have_no_id_leads_nowhere() -> None:
    class Bare(msgspec.Struct):
        x: int

    assert not CursorPage[Bare](data=[Bare(1)], has_more=True).has_next_page()


async def test_pages_lead_to_each_other_and_are_fetched_when_they_are_needed() -> None:
    asked: list[Mapping[str, object]] = []
    following = {"b": page_of("c", "d", has_more=True), "d": page_of("e")}

    async def fetch(added: Mapping[str, object]) -> CursorPage[Item]:
        asked.append(added)
        return linked(following[str(added["after"])], fetch, added)

    first = linked(page_of("a", "b", has_more=True), fetch, {})
    items = aiter(first)
    assert [(await anext(items)).id for _ in range(2)] == ["a", "b"]
    assert asked == []
    assert [item.id async for item in items] == ["c", "d", "e"]
    assert asked == [{"after": "b"}, {"after": "d"}]
    assert [len(page) async for page in first.iter_pages()] == [2, 2, 1]
    assert [item.id async for item in await first.get_next_page()] == ["c", "d", "e"]


async def test_a_list_that_leads_in_a_circle_is_an_error_and_not_an_endless_loop() -> None:
    async def fetch(added: Mapping[str, object]) -> CursorPage[Item]:
        return linked(page_of("a", "b", has_more=True), fetch, added)

    seen = []
    with pytest.raises(APIResponseValidationError, match=r"in a circle.*'after': 'b'"):
        async for item in linked(page_of("a", "b", has_more=True), fetch, {}):
            seen.append(item.id)  # noqa: PERF401  # what came before the error counts
    assert seen == ["a", "b", "a", "b"]
    with pytest.raises(APIResponseValidationError, match="in a circle"):
        await (await fetch({"after": "b"})).get_next_page()


async def test_a_list_that_leads_in_a_wider_circle_is_an_error_too() -> None:
    async def fetch(added: Mapping[str, object]) -> CursorPage[Item]:
        return linked(page_of("b" if added["after"] == "a" else "a", has_more=True), fetch, added)

    seen = []
    with pytest.raises(APIResponseValidationError, match=r"in a circle.*'after': 'a'"):
        async for item in linked(page_of("a", has_more=True), fetch, {}):
            seen.append(item.id)  # noqa: PERF401  # what came before the error counts
    assert seen == ["a", "b", "a"]


async def test_there_is_no_page_after_the_last() -> None:
    with pytest.raises(RuntimeError, match="ask has_next_page"):
        await linked(page_of("a"), nobody, {}).get_next_page()


@pytest.mark.parametrize("make", [lambda page: pickle.loads(pickle.dumps(page)), copy.deepcopy])
async def test_a_page_that_was_pickled_says_that_it_has_no_client(make: Any) -> None:
    page = linked(page_of("a", has_more=True), nobody, {})
    twin = make(page)
    assert twin == page
    assert twin.has_next_page()
    with pytest.raises(RuntimeError, match=r"has no client.*'after': 'a'"):
        await twin.get_next_page()


async def test_a_shallow_copy_knows_the_way_still() -> None:
    async def fetch(added: Mapping[str, object]) -> CursorPage[Item]:
        return page_of("z")

    page = linked(decode_some(b'{"data":[{"id":"a"}],"has_more":true,"total":5}'), fetch, {})
    for twin in (copy.copy(page), page.model_copy(), page.model_copy(update={"object": "x"})):
        assert [item.id for item in await twin.get_next_page()] == ["z"]
        assert twin.model_extra == {"total": 5}
    assert copy.copy(page) == page


def test_the_way_to_the_next_page_is_nowhere_to_be_seen() -> None:
    page, bare = linked(page_of("a"), nobody, {"after": "b"}), page_of("a")
    assert page == bare
    assert repr(page) == repr(bare)
    assert page.to_dict() == bare.to_dict()
    assert json.loads(page.model_dump_json()) == json.loads(bare.model_dump_json())
    assert pickle.dumps(page) == pickle.dumps(bare)
