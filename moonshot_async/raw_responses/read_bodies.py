"""Answers whose body was read."""

import json
from typing import Any, Generic, TypeVar, overload

from moonshot_async.pipeline import Pipeline
from moonshot_async.raw_responses.heads import ResponseHead
from moonshot_async.streaming import Stream
from moonshot_async.types.casting import decoder_of, is_response_type
from moonshot_async.types.model import Decode
from moonshot_async.wire import Request, Response

T = TypeVar("T")
U = TypeVar("U")


class RawResponse(ResponseHead, Generic[T]):
    """An answer whose body was read, and `parse` for what the call returns else.

    With `stream=True` the body is not read: `parse` gives the `Stream`, which closes it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        request: Request,
        response: Response,
        elapsed: float,
        *,
        decode: Decode[T] | None = None,
        stream: Any = None,
    ) -> None:
        super().__init__(pipeline, request, response, elapsed)
        self._decode = decode
        self._stream: Stream[Any] | None = stream
        self._parsed: dict[Any, Any] = {}

    @overload
    def parse(self) -> T: ...

    @overload
    def parse(self, *, to: type[U]) -> U: ...

    @overload
    def parse(self, *, to: Any) -> Any: ...

    def parse(self, *, to: Any = None) -> Any:
        """What the call returns else; the same object each time.

        Args:
            to: decode to this type instead: a msgspec struct or any type that msgspec knows, a pydantic model, `str`
                or `bytes` for the body as it came.

        Raises:
            APIResponseValidationError: the answer is not what the documentation, or `to`, says.
            TypeError: `to` is given for a stream.
        """
        if self._stream is not None:
            if to is not None:
                raise TypeError("a stream is read as what it is: parse() takes no to= here")
            return self._stream
        if is_response_type(to):
            return self.http_response
        if to not in self._parsed:
            decode: Any = self._decode if to is None else decoder_of(to)
            response = self.http_response
            self._parsed[to] = self._pipeline.answer(self.http_request, response, response.content, decode)
        return self._parsed[to]

    @property
    def content(self) -> bytes:
        """The body."""
        self._check_read()
        return self.http_response.content

    @property
    def text(self) -> str:
        """The body as text."""
        self._check_read()
        return self.http_response.text

    def json(self) -> Any:
        """The body decoded as JSON."""
        return json.loads(self.content)

    @property
    def is_closed(self) -> bool:
        """Whether the body was read to its end or closed."""
        return self._stream is None or self._stream.closed

    def _check_read(self) -> None:
        if self._stream is not None:
            raise RuntimeError("the body of a stream is not read at once: parse() gives the Stream of its events")
