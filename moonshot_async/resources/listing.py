"""The answer of a list call: it can be awaited for a page, or iterated for all items."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item", covariant=True)
Page = TypeVar("Page", bound="HasItems[Any]")
T = TypeVar("T")


class HasItems(Protocol[Item]):
    """A page: its items are in `data`."""

    @property
    def data(self) -> Iterable[Item]: ...


class Listing(Generic[Page, T]):
    """A list call that was not sent yet: `await` it for its page, or `async for` over its items."""

    def __init__(self, fetch: Callable[[], Awaitable[Page]]) -> None:
        self._fetch = fetch

    def __await__(self) -> Generator[Any, None, Page]:
        return self._fetch().__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        page = await self._fetch()
        for item in page.data:
            yield item
