"""Web search and page fetch: what the endpoints are asked, and what they answer.

See: https://platform.kimi.ai/docs/api/tools
"""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final, TypedDict

import msgspec

from moonshot_async.headers import Unshown
from moonshot_async.types.model import Answer, Model, ModelDecoder


class TimeWindow(TypedDict, total=False):
    """Between which days pages were published: dates, or text as `YYYY`, `YYYY-MM` or `YYYY-MM-DD`."""

    start: str | date
    end: str | date


class SearchRequest(Unshown, msgspec.Struct, kw_only=True):
    """The body of a search; `sites` and `time_window` are for `search_pro`."""

    text_query: Any
    timeout_seconds: Any = msgspec.UNSET
    limit: Any = msgspec.UNSET
    include_content: Any = msgspec.UNSET
    sites: Any = msgspec.UNSET
    time_window: Any = msgspec.UNSET


class FetchRequest(Unshown, msgspec.Struct, kw_only=True):
    """The body of a fetch."""

    url: Any


class _Hit(Model, kw_only=True):
    title: str = ""
    url: str = ""
    site_name: str = ""
    snippet: str = ""
    date: str | None = None
    icon: str | None = None
    mime: str | None = None
    # Its form is not documented: a number on some answers, words on others.
    authority: Any = None


class SearchResult(_Hit, kw_only=True):
    """A page that was found. `text` is its content, where `include_content` asked for it."""

    text: str | None = None


class SearchChunk(Model, kw_only=True):
    """A passage of a page, and how well it fits the query; higher is better."""

    text: str = ""
    score: float = 0.0


class ProSearchResult(_Hit, kw_only=True):
    """A page that was found, with the passages that fit the query."""

    chunks: list[SearchChunk] = msgspec.field(default_factory=list)


class SearchResults(Answer, kw_only=True):
    """What `search` found, best first."""

    search_results: list[SearchResult]

    def __iter__(self) -> Iterator[SearchResult]:
        return iter(self.search_results)

    def __len__(self) -> int:
        return len(self.search_results)


class ProSearchResults(Answer, kw_only=True):
    """What `search_pro` found, best first."""

    search_results: list[ProSearchResult]

    def __iter__(self) -> Iterator[ProSearchResult]:
        return iter(self.search_results)

    def __len__(self) -> int:
        return len(self.search_results)


class FetchedPage(Answer, kw_only=True):
    """A page as Markdown."""

    markdown: str
    url: str = ""
    title: str = ""


decode_search: Final = ModelDecoder(SearchResults)
decode_pro_search: Final = ModelDecoder(ProSearchResults)
decode_page: Final = ModelDecoder(FetchedPage)
