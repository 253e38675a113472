"""Calls that go past aiohttp's session: written to a connection of its pool at once, head and body together.

For each call a session makes a URL, headers, a request, a payload, a task that writes it, and a response: 70 µs of the
135 that a call costs raw aiohttp. All but the body is as it was for the call before, so here it is made once.
"""

import asyncio
import inspect
from types import FunctionType
from typing import Any, Final

import aiohttp
from aiohttp.hdrs import CONTENT_LENGTH
from yarl import URL

from moonshot_async.bounds import DEFAULT_BOUNDS
from moonshot_async.headers import HeaderItems, Headers
from moonshot_async.transports.aiohttp_connector import Connector
from moonshot_async.transports.aiohttp_protocol import Protocol
from moonshot_async.wire import Request

# aiohttp's own clocks are off: they cost up to 37 µs a call, and round what is longer than 5 s.
NO_CLOCKS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
# HEAD has answers without a body, and of others nobody knows.
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
# What is sent with each of these, aiohttp has to find out.
_UNUSUAL: Final = frozenset({"expect", "host"})
# So many heads are kept; a program that has more of them (of ids in paths) makes some again.
_MOST_HEADS: Final = 64


def _untouched(send: Any) -> Any:
    """The method of aiohttp's session, if it is aiohttp's; None where somebody was here before."""
    own = type(send) is FunctionType and send.__code__.co_qualname == "ClientSession._request"
    return send if own else None


# What mocks of aiohttp put something else for: then they get every call.
_REQUEST: Final = _untouched(getattr(aiohttp.ClientSession, "_request", None))


class Answer:
    """The answer to such a call, as far as `ArrivingBody` and the transport need one of aiohttp's.

    Attributes:
        status: of the answer.
        headers: of the answer.
        content: its body.
        connection: over which it comes; None once it is free for other calls.
    """

    __slots__ = ("_closed", "_loop", "connection", "content", "headers", "status")

    def __init__(self, message: Any, content: aiohttp.StreamReader, connection: Any, loop: Any) -> None:
        self.status: int = message.code
        self.headers: Any = message.headers
        self.content = content
        self.connection = connection
        self._loop = loop
        self._closed = False
        content.on_eof(self._arrived)

    def close(self) -> None:
        """Cut the connection, unless the body has arrived."""
        if (connection := self.connection) is not None:
            self.connection = None
            if self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
            connection.close()

    def _arrived(self) -> None:
        if (connection := self.connection) is not None:
            self.connection = None
            connection.release()

    def __del__(self) -> None:
        if not self._closed:
            self._arrived()


class _Head:
    """What goes before a body, or all of a request without one, and over which connections; no repr shows the key."""

    __slots__ = ("key", "request", "text")

    def __init__(self, request: Any, *, sized: bool) -> None:
        # For aiohttp, to connect.
        self.request = request
        self.key = request.connection_key
        if sized:
            del request.headers[CONTENT_LENGTH]
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        last = f"{CONTENT_LENGTH}: " if sized else "\r\n"
        self.text = f"{request.method} {request.url.raw_path_qs} HTTP/1.1\r\n{lines}{last}".encode()


class Direct:
    """Sends over the connections of one event loop what can be sent so."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        session: aiohttp.ClientSession,
        connector: Connector,
        read_buffer_bytes: int,
    ) -> None:
        self._loop = loop
        self._connector = connector
        self._read_buffer_bytes = read_buffer_bytes
        # There are traces where a tool that follows calls has put them in.
        self._off = bool(session.trace_configs) or _REQUEST is None or not _fits(loop)
        self._heads: dict[tuple[str, str, HeaderItems, bool], _Head | None] = {}

    async def send(self, request: Request) -> Answer | None:
        """Send a request whose body is small; None, and nothing was sent, if that is for the session to do."""
        if self._off or aiohttp.ClientSession._request is not _REQUEST:
            return None
        head = self._head(request)
        if head is None:
            return None
        connection = await self._connector.idle(head.key)
        if connection is None:
            connection = await self._connector.connect(head.request, [], NO_CLOCKS)
        protocol: Any = connection.protocol
        try:
            if not protocol.is_connected():
                raise aiohttp.ServerDisconnectedError
            protocol.expect_answer(self._read_buffer_bytes)
            protocol.transport.write(_message(head, request.body))
            while True:
                message, content = await protocol.read()
                # Below 100 is nothing that more would follow.
                if not 100 <= message.code < 200:
                    return Answer(message, content, connection, self._loop)
        except BaseException:
            connection.close()
            raise

    def _head(self, request: Request) -> _Head | None:
        key = request.method, request.url, request.headers.multi_items(), not request.body
        try:
            return self._heads[key]
        except KeyError:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            head = self._heads[key] = _made_head(request, self._loop)
            return head
        except TypeError:
            # A layer of the user's gave it headers that are no pairs of text.
            return None


def _message(head: _Head, body: Any) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head.text, len(body), body) if body else head.text


def _made_head(request: Request, loop: asyncio.AbstractEventLoop) -> _Head | None:
    """The head of a request as aiohttp would send it; None where there is more to it than a head."""
    headers, sized = request.headers, bool(request.body)
    try:
        url = URL(request.url)
        names = {name.lower() for name in headers.checked()}
        # Of names that differ in case only, a session sends some.
        alike = len(names) == len({name for name, _ in headers.multi_items()})
        # To a body without a type aiohttp gives one.
        typed = "content-type" in names or not (sized or request.method in aiohttp.ClientRequest.POST_METHODS)
        simple = url.scheme in ("http", "https") and url.raw_user is None and url.raw_password is None
        if request.method not in _METHODS or not (simple and typed and alike) or names & _UNUSUAL:
            return None
        items = headers.multi_items()
        if "accept-encoding" not in names:
            items = (("Accept-Encoding", "identity"), *items)
        made = aiohttp.ClientRequest(request.method, url, headers=items, data=b"-" if sized else None, loop=loop)
        return _Head(made, sized=sized)
    except Exception:  # noqa: BLE001  # nothing was sent yet: the session says what is wrong, or finds nothing
        return None


def _fits(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this aiohttp can be gone past: its inner parts do what is asked of them here, without a connection."""
    try:
        for name, arguments in ("connect", (None, None, [], NO_CLOCKS)), ("_get", (None, None, [])):
            inspect.signature(getattr(aiohttp.TCPConnector, name)).bind(*arguments)
        message, content = _rehearsed(loop)
        ask = Request("POST", "http://a/", Headers([("Content-Type", "b")]))
        heads = [_made_head(ask.replace(body=body), loop) for body in (b"", b"1")]
        empty, sized = (head.text if head else b"" for head in heads)
        return (
            (message.code, message.headers.get("c"), content.is_eof()) == (200, "d", True)
            and empty.endswith(b"\r\n\r\n")
            and sized.endswith(b"\r\nContent-Length: ")
            and empty.count(b"Content-Length: 0\r\n") == sized.count(b"Content-Length") == 1
        )
    except Exception:  # noqa: BLE001  # whatever it is: then every call goes through the session
        return False


def _rehearsed(loop: asyncio.AbstractEventLoop) -> Any:
    """What a connection makes of an answer."""
    protocol: Any = Protocol(loop, DEFAULT_BOUNDS)
    protocol.expect_answer(1024)
    protocol.data_received(b"HTTP/1.1 200 OK\r\nC: d\r\nContent-Length: 1\r\n\r\n1")
    try:
        protocol.read().send(None)
    except StopIteration as done:
        return done.value
    finally:
        # It and its parser hold each other.
        protocol.connection_lost(None)
