"""The answer of a list call: it can be awaited for a page, or iterated for all items."""

from collections.abc import AsyncIterator, Generator, Mapping
from typing import Any, Generic, TypeVar

from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.call import CallOptions, Given, check_options
from moonshot_async.types.model import ModelDecoder
from moonshot_async.types.pages import Page, linked

PageT = TypeVar("PageT", bound=Page[Any])
T = TypeVar("T")


class Listing(Generic[PageT, T]):
    """A list call that was not sent yet: `await` it for its first page, or `async for` over the items of all pages.

    Args:
        pipeline: sends it.
        path: of the endpoint.
        decode: makes a page of an answer.
        query: what the method adds to the query; None and `NOT_GIVEN` stay out.
        options: the keywords of the call, checked here; each page has its whole `timeout`.

    Raises:
        TypeError: a keyword is none of `CallOptions`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        path: str,
        decode: ModelDecoder[PageT],
        *,
        query: Mapping[str, object] | None = None,
        options: CallOptions,
    ) -> None:
        check_options(options, call="list")
        self._pipeline = pipeline
        self._path = path
        self._decode = decode
        self._query = dict(query or {})
        self._options = options

    def __await__(self) -> Generator[Any, None, PageT]:
        return self._fetch(self._pipeline, {}).__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        page = await self._fetch(self._pipeline.typed, {})
        async for item in page:
            yield item

    async def _fetch(self, pipeline: Pipeline, added: Mapping[str, object]) -> PageT:
        request = pipeline.request("GET", self._path, **self._with_query(added))
        return await pipeline.fetch(request, self._decode.then(lambda page: linked(page, self._next, added)))

    def _with_query(self, added: Mapping[str, object]) -> CallOptions:
        options: CallOptions = {**self._options}
        # What the caller puts into the query goes first, but for the cursor of a later page.
        options["extra_query"] = Given({**self._query, **(options.get("extra_query") or {}), **added})
        return options

    async def _next(self, added: Mapping[str, object]) -> PageT:
        return await self._fetch(self._pipeline.typed, added)
