"""Web search and page fetch. Each successful call that finds something is paid for.

See: https://platform.kimi.ai/docs/api/tools
"""

from collections.abc import Sequence
from typing import Final, Unpack

from moonshot_async.redaction import Unseen
from moonshot_async.resources.call import BodyOptions, Resource, post
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven
from moonshot_async.types.tools import (
    FetchedPage,
    FetchRequest,
    ProSearchResults,
    SearchRequest,
    SearchResults,
    TimeWindow,
    decode_page,
    decode_pro_search,
    decode_search,
)

_TRACK_HEADER: Final = "X-Msh-Track-Id"


class Tools(Resource):
    """`client.tools`.

    None of the calls is idempotent: one whose answer was lost may have been billed, and is billed again when it is
    repeated. `client.with_options(max_retries=0)` never repeats them.
    """

    async def search(
        self,
        *,
        text_query: str,
        timeout_seconds: int | NotGiven = NOT_GIVEN,
        limit: int | NotGiven = NOT_GIVEN,
        include_content: bool | NotGiven = NOT_GIVEN,
        track_id: str | None = None,
        **options: Unpack[BodyOptions],
    ) -> SearchResults:
        """Search the web.

        Args:
            text_query: what to look for.
            timeout_seconds: how long the service may search, 1 to 60 s; `timeout` bounds the whole call.
            limit: how many results, 1 to 20; the service's default is 5.
            include_content: whether results carry the text of their pages.
            track_id: an id of yours for the call, which the service sends back and notes.
            **options: see `BodyOptions`.

        Raises:
            APIStatusError: 401 and 403 come without an explanation; 408 when the search took too long; 429 with
                `X-RateLimit-*` in `.headers`.
            APIError: in all its other kinds.

        See: https://platform.kimi.ai/docs/api/tools
        """
        body = SearchRequest(
            text_query=text_query, timeout_seconds=timeout_seconds, limit=limit, include_content=include_content
        )
        # What is asked is in the body, which does not show it.
        del text_query
        with Unseen(options):
            request = post(self._pipeline, "/tools/search", body, _tracked(options, track_id), call="search")
        return await self._pipeline.fetch(request, decode_search)

    async def search_pro(
        self,
        *,
        text_query: str,
        timeout_seconds: int | NotGiven = NOT_GIVEN,
        limit: int | NotGiven = NOT_GIVEN,
        include_content: bool | NotGiven = NOT_GIVEN,
        sites: Sequence[str] | NotGiven = NOT_GIVEN,
        time_window: TimeWindow | NotGiven = NOT_GIVEN,
        track_id: str | None = None,
        **options: Unpack[BodyOptions],
    ) -> ProSearchResults:
        """Search the web for passages, with scores.

        Args:
            text_query: what to look for.
            timeout_seconds: how long the service may search, 1 to 60 s; `timeout` bounds the whole call.
            limit: how many results, 1 to 20; the service's default is 5.
            include_content: whether results carry the text of their pages.
            sites: look only there; up to 5 hosts.
            time_window: published from `start` to `end`.
            track_id: an id of yours for the call, which the service sends back and notes.
            **options: see `BodyOptions`.

        Raises:
            APIStatusError: as for `search`.
            APIError: in all its other kinds.

        See: https://platform.kimi.ai/docs/api/tools
        """
        body = SearchRequest(
            text_query=text_query,
            timeout_seconds=timeout_seconds,
            limit=limit,
            include_content=include_content,
            sites=sites,
            time_window=time_window,
        )
        del text_query
        with Unseen(options):
            request = post(self._pipeline, "/tools/search_pro", body, _tracked(options, track_id), call="search_pro")
        return await self._pipeline.fetch(request, decode_pro_search)

    async def fetch(self, *, url: str, track_id: str | None = None, **options: Unpack[BodyOptions]) -> FetchedPage:
        """Fetch a page as Markdown. The service opens it, not this machine.

        Args:
            url: of the page.
            track_id: an id of yours for the call, which the service sends back and notes.
            **options: see `BodyOptions`.

        Raises:
            PermissionDeniedError: the page is a security risk to the service, or the key may not do this.
            NotFoundError: the page has no text.
            APIError: in all its other kinds.

        See: https://platform.kimi.ai/docs/api/tools
        """
        body = FetchRequest(url=url)
        del url
        with Unseen(options):
            request = post(self._pipeline, "/tools/fetch", body, _tracked(options, track_id), call="fetch")
        return await self._pipeline.fetch(request, decode_page)


def _tracked(options: BodyOptions, track_id: str | None) -> BodyOptions:
    if track_id is None:
        return options
    given = options.get("extra_headers") or {}
    others = {name: value for name, value in given.items() if name.lower() != _TRACK_HEADER.lower()}
    return {**options, "extra_headers": {**others, _TRACK_HEADER: track_id}}
