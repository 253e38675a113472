"""The key of a client that has a function for it, laid into each request as it is sent."""

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import ClassVar

from moonshot_async.clocks import timeout_error, until
from moonshot_async.errors import ConfigurationError
from moonshot_async.middleware import Handler
from moonshot_async.settings import clean_key
from moonshot_async.wire import Request, Response


class Authorize:
    """Asks for the key before each sending, so that a retry uses a fresh one; a header of the caller's goes first."""

    keeps_deadline: ClassVar = True

    def __init__(self, api_key: Callable[[], Awaitable[str]]) -> None:
        self._api_key = api_key

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        if "authorization" in request.headers:
            return await call_next(request)
        coming: object = self._api_key()
        if not isawaitable(coming):
            del coming
            raise ConfigurationError("the api_key function must be async: its result is awaited before each sending")
        late = partial(timeout_error, request, "total", " while the api_key function was at work")
        request = _with_key(request, await until(request.deadline, coming, late))
        # A future shows its result.
        del coming
        return await call_next(request)


def _with_key(request: Request, key: object) -> Request:
    """The request with the key, which is no local of a frame that waits: error trackers record those."""
    try:
        authorization = f"Bearer {clean_key(key, 'the api_key function')}"
    finally:
        del key
    return request.replace(headers=request.headers.merged({"Authorization": authorization}))
