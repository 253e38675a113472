"""What the fake remembers of the requests that it received, and the clock that it lives by."""

from collections import deque
from collections.abc import Callable

from moonshot_async.fake.blobs import BEGINNING, LARGE
from moonshot_async.wire import Request


class Records:
    """The newest requests.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._requests: deque[Request] = deque(maxlen=most)
        self._count = 0

    def add(self, request: Request, body_bytes: int) -> int:
        """Take note of a request, and number it. Of a large body the beginning is kept, and the length as a header."""
        if body_bytes > LARGE:
            assert isinstance(request.body, bytes), "an upload is read before it is recorded"
            headers = request.headers.merged({"Content-Length": str(body_bytes)})
            request = request.replace(headers=headers, body=request.body[:BEGINNING])
        self._requests.append(request)
        self._count += 1
        return self._count

    def all(self) -> list[Request]:
        """Oldest first."""
        return list(self._requests)

    def last(self) -> Request:
        """The newest.

        Raises:
            LookupError: there was none yet.
        """
        if not self._requests:
            raise LookupError("the fake has received no request")
        return self._requests[-1]

    def clear(self) -> None:
        """Forget them; numbers go on."""
        self._requests.clear()

    def __len__(self) -> int:
        return len(self._requests)


class Clock:
    """The time in Unix seconds, which may be put forward.

    Args:
        base: tells the time while nobody does.
    """

    def __init__(self, base: Callable[[], float]) -> None:
        self._base = base
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._base() + self._ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative: time only goes forward")
        self._ahead += seconds
