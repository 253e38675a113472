"""What every raw response knows: what was asked, and what the head of the answer said."""

from datetime import timedelta
from typing import Final

from moonshot_async.errors import request_id_of
from moonshot_async.headers import shown_url
from moonshot_async.pipeline import Pipeline
from moonshot_async.wire import Headers, Request, Response

# What both transports speak.
_HTTP_VERSION: Final = "HTTP/1.1"


class ResponseHead:
    """What is known of an answer once its head is there.

    Attributes:
        http_request: what was sent in the end: the last attempt, its key and body included. Its repr hides both.
        http_response: status, headers, and the body as far as it was read.
        elapsed: from the call to the end of the body; where nothing was read yet, to the head.
    """

    def __init__(self, pipeline: Pipeline, request: Request, response: Response, elapsed: float) -> None:
        self._pipeline = pipeline
        self.http_request = request
        self.http_response = response
        self.elapsed = timedelta(seconds=elapsed)

    @property
    def status_code(self) -> int:
        """The status; always below 300, since all else raises."""
        return self.http_response.status

    @property
    def headers(self) -> Headers:
        """The headers, found whatever their case."""
        return self.http_response.headers

    @property
    def request_id(self) -> str | None:
        """The id under which the vendor finds the call again."""
        return request_id_of(self.http_response.headers)

    @property
    def retries_taken(self) -> int:
        """How often the request had been sent before."""
        return self.http_request.attempt - 1

    @property
    def url(self) -> str:
        """The address that was asked, query included."""
        return self.http_request.url

    @property
    def method(self) -> str:
        """The HTTP method, in upper case."""
        return self.http_request.method

    @property
    def http_version(self) -> str:
        """The protocol."""
        return _HTTP_VERSION

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.status_code}] {self.method} {shown_url(self.url)}>"
