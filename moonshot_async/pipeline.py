"""The way of a request: built, handed to the chain of `exchange.py`, and turned into answer, stream or error."""

import time
from asyncio import CancelledError
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds
from moonshot_async.clocks import CONTEXT_DEADLINE, BodyClocks, Timeout, timeout_error
from moonshot_async.errors import APIError, ConfigurationError, MoonshotError, request_id_of
from moonshot_async.exchange import guard
from moonshot_async.headers import without_not_given
from moonshot_async.lifecycle import Life, Whole
from moonshot_async.middleware import Handler
from moonshot_async.middleware.retry_rules import check_max_retries, check_retry_slow
from moonshot_async.status_errors import complete, with_attempts
from moonshot_async.streaming import Progress, Stream, no_stream
from moonshot_async.transports import closed_error
from moonshot_async.types.encoding import NotGiven
from moonshot_async.types.model import Answer, Decode, decode_within
from moonshot_async.wire import Headers, Request, Response, Upload

T = TypeVar("T")


class Pipeline:
    """Everything that the calls of one client share; resources build and send their requests through it."""

    def __init__(
        self,
        *,
        handler: Handler,
        base_url: str,
        headers: Headers,
        query: Mapping[str, object],
        timeout: Timeout,
        guarded: bool = False,
        bounds: Bounds = DEFAULT_BOUNDS,
        life: Life | None = None,
    ) -> None:
        self.timeout = timeout
        self._handler = guard(handler) if guarded else handler
        self._base_url = base_url
        self._headers = headers
        self._query = query
        self._urls: dict[str, str] = {}
        self._bounds = bounds
        self._life = Life() if life is None else life

    def take_over(self, other: "Pipeline") -> None:
        """Become like `other`, for all who hold this one; requests that were built go their way."""
        vars(self).update(vars(other))

    @property
    def typed(self) -> "Pipeline":
        """The pipeline whose `fetch` returns decoded answers, whatever this one returns: for calls within calls."""
        return self

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Upload = b"",
        *,
        stream: bool = False,
        once: bool = False,
        extra_headers: Mapping[str, str | None] | None = None,
        extra_query: Mapping[str, object] | None = None,
        timeout: Timeout | float | NotGiven | None = msgspec.UNSET,
        max_retries: int | None = None,
        retry_slow: bool | None = None,
        priority: int = 0,
    ) -> Request:
        """Build a request; its deadline starts now.

        Raises:
            ConfigurationError: a header, the timeout or the number of retries cannot work.
            TypeError: `max_retries` or `priority` is no whole number, or `retry_slow` neither True nor False.
            APITimeoutError: the deadline of the context is over.
            ClientClosedError: the client was closed, or is being drained.
        """
        if max_retries is not None:
            check_max_retries(max_retries)
        if retry_slow is not None:
            check_retry_slow(retry_slow)
        if priority != 0:
            _check_priority(priority)
        headers = self._headers.merged(without_not_given(extra_headers)).checked() if extra_headers else self._headers
        clocks = self.timeout if isinstance(timeout, msgspec.UnsetType) else Timeout.of(timeout)
        started, total = time.monotonic(), clocks.total
        deadline, outer = None if total is None else started + total, CONTEXT_DEADLINE.get()
        if outer is not None and (deadline is None or outer < deadline):
            deadline = outer
        request = Request(
            method,
            self._url(path, extra_query),
            headers,
            body,
            timeout=clocks,
            deadline=deadline,
            stream=stream,
            once=once,
            started=started,
            max_retries=max_retries,
            retry_slow=retry_slow,
            priority=priority,
        )
        if self._life.stopped:
            self._life.check(request)
        if outer is not None and outer <= started:
            raise timeout_error(request, "total", " before the call began")
        return request

    def whole(self, request: Request) -> Whole:
        """A call that takes several requests, of which this is the first or the one to tell of.

        Raises:
            ClientClosedError: the client was closed, or is being drained.
        """
        return Whole(self._life, request)

    async def fetch(self, request: Request, decode: Decode[T], *, bound: str = "max_body_bytes") -> T:
        """Send a request and decode its whole answer, which may have as many bytes as this one of `Bounds` allows.

        Raises:
            APIError: in all its kinds.
        """
        life = self._life
        number = life.begin(request)
        try:
            response = await self._handler(request)
            # What was sent in the end: a later attempt, perhaps.
            request = response.request or request
            return self.answer(request, response, await self.read(request, response, bound=bound), decode)
        except CancelledError:
            if not life.was_cut(number):
                raise
        finally:
            life.end(number)
        raise closed_error(request)

    def answer(self, request: Request, response: Response, content: bytes, decode: Decode[T]) -> T:
        """What a call returns for an answer that was read as `content`.

        Raises:
            APIError: it is not what it should be.
        """
        if response.status == 204 and decode.cls is Any:
            return cast("T", None)
        try:
            if len(content) > self._bounds.max_depth:
                answer = decode_within(content, decode, self._bounds)
            else:
                answer = decode(content)
        except APIError as error:
            complete(error, request, response)
            raise
        except MoonshotError as error:
            # What was to be parsed is not what it should be; the answer that the error holds came all the same.
            completion = getattr(error, "completion", None)
            if isinstance(completion, Answer):
                completion._request_id = request_id_of(response.headers)
            raise
        if isinstance(answer, Answer):
            answer._request_id = request_id_of(response.headers)
        return answer

    async def read(self, request: Request, response: Response, *, bound: str = "max_body_bytes") -> bytes:
        """Read the body of a response to its end, under the clocks of its request, and close it."""
        clocks = BodyClocks(request, events=False)
        body = response.body
        pieces: list[bytes] = []
        size = 0
        max_bytes: int = getattr(self._bounds, bound)
        try:
            while piece := await body.read(clocks.next_deadline()):
                pieces.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise self._bounds.passed(bound)
        except APIError as error:
            error.request = request.redacted()
            with_attempts(error, request)
            raise
        except TimeoutError:
            pass
        else:
            content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            response.keep(content)
            return content
        finally:
            body.close()
            # What came stays in no frame that raises: it may repeat a prompt.
            pieces.clear()
            piece = b""
        raise with_attempts(clocks.error(), request)

    async def open(self, request: Request) -> Response:
        """Send a request and return its open response; the caller closes it, and is in flight until then."""
        life = self._life
        number = life.begin(request)
        try:
            response = await self._handler(request)
        except CancelledError:
            cut = life.was_cut(number)
            life.end(number)
            if not cut:
                raise
        except BaseException:
            life.end(number)
            raise
        else:
            response.body = life.held(number, response.body)
            return response
        raise closed_error(request)

    async def stream(self, request: Request, decode: Decode[T], progress: Progress[T]) -> Stream[T]:
        """Send a request and return its answer as a stream.

        Raises:
            APIError: in all its kinds, before the first event.
        """
        response = await self.open(request)
        return await self.events(response.request or request, response, decode, progress)

    async def events(self, request: Request, response: Response, decode: Decode[T], progress: Progress[T]) -> Stream[T]:
        """An open answer as a stream.

        Raises:
            APIError: it is a whole document.
        """
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith(("application/json", "text/html")):
            raise complete(no_stream(await self.read(request, response), decode), request, response)
        return Stream(response, request, decode, progress, self._bounds)

    def _url(self, path: str, extra_query: Mapping[str, object] | None) -> str:
        if not extra_query and (url := self._urls.get(path)):
            return url
        query = _encoded({**self._query, **(extra_query or {})})
        url = self._base_url + path
        if query:
            url += ("&" if "?" in path else "?") + query
        # Paths with ids in them are many; the few without are those of the hot calls.
        if not extra_query and len(self._urls) < 64:
            self._urls[path] = url
        return url


async def read_piece(request: Request, response: Response, clocks: BodyClocks) -> bytes:
    """Read the next piece of an open body, under the clocks of its request; empty at the end.

    Raises:
        APIError: it broke off, or a clock ran out.
    """
    try:
        return await response.body.read(clocks.next_deadline())
    except APIError as error:
        error.request = request.redacted()
        with_attempts(error, request)
        raise
    except TimeoutError:
        pass
    raise with_attempts(clocks.error(), request)


def _check_priority(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"priority must be a whole number, not {value!r}; higher ones go first")


def _encoded(query: Mapping[str, object]) -> str:
    try:
        return urlencode(list(_query_items(query)))
    except UnicodeEncodeError:
        pass
    raise ConfigurationError("the query cannot be sent: a name or a value of it holds half a character")


def _query_items(query: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    for name, value in query.items():
        if value is None or isinstance(value, msgspec.UnsetType):
            continue
        if isinstance(value, (list, tuple)):
            yield from ((name, str(item)) for item in value)
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)
