"""Pages: the answers of list calls, which lead to the page after them.

A page is plain data. What lets it fetch the next one is given to it by the call that it answers, takes no part in
comparisons and dumps, and stays behind when a page is pickled.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, Self, TypeAlias, TypeVar

import msgspec

from moonshot_async.errors import APIResponseValidationError
from moonshot_async.types.model import Answer

T = TypeVar("T")
P = TypeVar("P", bound="Page[Any]")

FetchPage: TypeAlias = Callable[[Mapping[str, object]], Awaitable[Any]]
"""Fetches the page for some additions to the query of the call."""


class PageInfo(msgspec.Struct, frozen=True):
    """What to add to the query of a list call to get another page."""

    params: dict[str, object]


class _Link(msgspec.Struct, frozen=True):
    """How a page gets the next one, and what was added to the query to get this one."""

    fetch: FetchPage
    added: Mapping[str, object]


# `dict` gives an attribute that is no field: the link.
class Page(Answer, Generic[T], kw_only=True, dict=True):
    """All items at once: such an endpoint has no pages. `for item in page` and `len(page)` are about `data`."""

    data: list[T]
    object: str = "list"

    def __iter__(self) -> Iterator[T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        # A page without items is an answer all the same.
        return True

    def __copy__(self) -> Self:
        twin = type(self)(**{name: getattr(self, name) for name in self.__struct_fields__})
        twin.__dict__.update(self.__dict__)
        return twin

    def has_next_page(self) -> bool:
        """Whether `get_next_page` would fetch something."""
        return self.next_page_info() is not None

    def next_page_info(self) -> PageInfo | None:
        """What the query of the next page has more; None where there is no next page."""
        return None

    async def get_next_page(self) -> Self:
        """Fetch the next page.

        Raises:
            RuntimeError: there is none, or this page was unpickled or made by hand and knows no client.
            APIResponseValidationError: the service leads in a circle.
            APIError: in all its kinds.
        """
        info = self.next_page_info()
        if info is None:
            raise RuntimeError("there is no next page: ask has_next_page() first")
        link: _Link | None = self.__dict__.get("link")
        if link is None:
            raise RuntimeError(
                "this page was unpickled, deep-copied or made by hand and has no client to fetch the next one with: "
                f"call list(...) again, with {info.params}"
            )
        if link.added == info.params:
            raise _circle(info)
        page: Self = await link.fetch(info.params)
        return page

    async def iter_pages(self) -> AsyncIterator[Self]:
        """This page and all after it, each fetched when it is asked for. Raises as `get_next_page`."""
        page = self
        led_to: set[str] = set()
        yield page
        while (info := page.next_page_info()) is not None:
            if (place := repr(info.params)) in led_to:
                raise _circle(info)
            led_to.add(place)
            page = await page.get_next_page()
            yield page

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.iter_pages():
            for item in page.data:
                yield item


class CursorPage(Page[T], Generic[T], kw_only=True, dict=True):
    """Some of the items; the next page begins after the last one of this.

    Attributes:
        data: the items, in the order of the service.
        has_more: whether there are items after them.
        first_id, last_id: ids of the first and the last item here, where the service sends them.
    """

    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None

    def next_page_info(self) -> PageInfo | None:
        """`after` the last item here; None where there is no next page."""
        last = getattr(self.data[-1], "id", None) if self.data and self.has_more else None
        return None if last is None else PageInfo({"after": last})


def _circle(info: PageInfo) -> APIResponseValidationError:
    return APIResponseValidationError(
        message=f"The list leads in a circle: the page for {info.params} is to come after itself."
    )


def linked(page: P, fetch: FetchPage, added: Mapping[str, object]) -> P:
    """Let a page fetch the next one; `added` is what its own query had more than that of the first page."""
    page.__dict__["link"] = _Link(fetch, added)
    return page
