"""One line per attempt in the standard library's logging, under the name `moonshot_async`."""

import logging
import time
from collections.abc import Awaitable
from typing import ClassVar

from moonshot_async.errors import APIStatusError, MoonshotError, request_id_of
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response

logger = logging.getLogger("moonshot_async")


class Log:
    """Log method, path, attempt, outcome, milliseconds to the head, and request id.

    All at INFO: what fails for good is raised, and the caller decides how loud that is. No key, no header value but
    the request id, no body, no query. Placed innermost, so that every attempt has its line.
    """

    keeps_deadline: ClassVar = True

    def __call__(self, request: Request, call_next: Handler) -> Awaitable[Response]:
        if not logger.isEnabledFor(logging.INFO):
            return call_next(request)
        return self._logged(request, call_next)

    async def _logged(self, request: Request, call_next: Handler) -> Response:
        started = time.monotonic()
        try:
            response = await call_next(request)
        except MoonshotError as error:
            outcome = type(error).__name__
            request_id = None
            if isinstance(error, APIStatusError):
                outcome, request_id = f"{error.status_code} {outcome}", error.request_id
            self._line(request, outcome, started, request_id)
            raise
        self._line(request, str(response.status), started, request_id_of(response.headers))
        return response

    @staticmethod
    def _line(request: Request, outcome: str, started: float, request_id: str | None) -> None:
        logger.info(
            "%s %s attempt=%d -> %s in %.0f ms request_id=%s",
            request.method,
            request.path,
            request.attempt,
            outcome,
            (time.monotonic() - started) * 1000,
            request_id,
        )
