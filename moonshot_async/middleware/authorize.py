"""The key of a client that has a function for it, laid into each request as it is sent."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable

from moonshot_async.errors import ConfigurationError
from moonshot_async.middleware import Handler
from moonshot_async.settings import clean_key
from moonshot_async.wire import Request, Response


class Authorize:
    """Asks for the key before each sending, so that a retry uses a fresh one; a header of the caller's goes first."""

    def __init__(self, api_key: Callable[[], Awaitable[str]]) -> None:
        self._api_key = api_key

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        if "authorization" in request.headers:
            return await call_next(request)
        coming = self._api_key()
        if not isawaitable(coming):
            raise ConfigurationError("the api_key function must be async: its result is awaited before each sending")
        key = clean_key(await coming, "the api_key function")
        return await call_next(request.replace(headers=request.headers.merged({"Authorization": f"Bearer {key}"})))
