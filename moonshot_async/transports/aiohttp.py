"""HTTP over aiohttp: one session per running event loop, one timer for all its deadlines.

The places where aiohttp's public interface does not reach are marked; they are checked against the oldest and the
newest supported version. No exception of aiohttp travels up, not even as a cause: they hold the request's headers.

See: https://docs.aiohttp.org/en/stable/client_reference.html
"""

import asyncio
import copy
import select
import ssl
import time
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.payload import BytesPayload, Payload

from moonshot_async.clocks import deadline_of, timeout_error
from moonshot_async.errors import APIConnectionError, APIError, Clock, ConfigurationError
from moonshot_async.transports import Transport, closed_error, interrupted_error
from moonshot_async.transports.watch import Watch
from moonshot_async.wire import Request, Response

# aiohttp's own clocks are off: they cost up to 37 µs a call, and round what is longer than 5 s.
_NO_CLOCKS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
# Larger bodies are written piece by piece, under the write clock.
_LARGE_BODY: Final = 64 * 1024
# Windows has none, and finds out later what lies in a socket.
_POLL: Final = getattr(select, "poll", None)


class AiohttpTransport:
    """Sends requests over HTTP/1.1 with a pool of kept-alive connections.

    Opens nothing before the first request, and one session per event loop that uses it. Follows no redirects, keeps
    no cookies, reads no `.netrc`.

    Args:
        max_connections: connections open at once, over all hosts; further calls wait (the `pool` clock).
        max_connections_per_host: the same for each host; 0 for no bound of its own.
        keepalive_timeout: seconds that an idle connection is kept.
        ssl_context: instead of the default one, which verifies certificates and takes TLS 1.2 or newer.
        proxy: URL of an HTTP proxy for every request.
        proxy_headers: sent to the proxy only.
        trust_env: take the proxy from the environment (`HTTPS_PROXY`, `NO_PROXY`, …), read once, here.
        read_buffer_bytes: how much of a body is buffered before the server has to wait.

    Raises:
        ConfigurationError: an option cannot work.
    """

    def __init__(
        self,
        *,
        max_connections: int = 1000,
        max_connections_per_host: int = 0,
        keepalive_timeout: float = 15.0,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        proxy_headers: dict[str, str] | None = None,
        trust_env: bool = False,
        read_buffer_bytes: int = 64 * 1024,
    ) -> None:
        if max_connections < 0 or max_connections_per_host < 0:
            raise ConfigurationError("max_connections and max_connections_per_host must be 0 (no bound) or more")
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError("ssl_context must be an ssl.SSLContext")
        if proxy is not None and urlsplit(proxy).scheme not in ("http", "https"):
            raise ConfigurationError("proxy must be an http:// or https:// URL")
        self._options: dict[str, Any] = {
            "limit": max_connections,
            "limit_per_host": max_connections_per_host,
            "keepalive_timeout": keepalive_timeout,
        }
        if ssl_context is not None:
            self._options["ssl"] = ssl_context
        self._proxy = proxy
        self._proxy_headers = proxy_headers
        self._env_proxies = getproxies() if trust_env else {}
        self._read_buffer_bytes = read_buffer_bytes
        self._loops: dict[int, _Loop] = {}
        self._closed = False

    async def send(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        state = self._loops.get(id(loop))
        if state is None or state.loop is not loop:
            if self._closed:
                raise closed_error(request)
            state = self._open(loop)
        if request.deadline is not None and request.deadline <= time.monotonic():
            raise timeout_error(request, "total", " before the request was sent")
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        wait = _HeadWait(request, task, state.watch)
        problem: APIError
        state.heads[task] = wait
        state.watch.add(wait)
        try:
            raw = await state.session.request(
                request.method,
                request.url,
                headers=request.headers.multi_items(),
                data=_payload(request, wait),
                allow_redirects=False,
                proxy=self._proxy or (self._env_proxies and self._env_proxy(request.url)) or None,
                proxy_headers=self._proxy_headers,
            )
        except asyncio.CancelledError:
            if not wait.stopped or task.uncancel() > wait.cancelling:
                raise
            problem = wait.problem()
        except Exception as error:  # noqa: BLE001  # whatever aiohttp raises is told in our words
            problem = wait.problem() if wait.withdrawn() else _connection_error(error, request)
        else:
            if not wait.withdrawn():
                body = _Body(raw, state)
                return Response(raw.status, raw.headers, body, request=request)
            # Tested, but Python 3.11 does not trace a frame that goes on after a cancellation was swallowed below it.
            raw.close()  # pragma: no cover
            problem = wait.problem()  # pragma: no cover
        finally:
            state.watch.remove(wait)
            del state.heads[task]
        try:
            # Raised out here, so that the exceptions of aiohttp are not its context: they carry the key.
            raise problem
        finally:
            # An exception that a local of its own traceback holds keeps the request until a garbage collection.
            del problem

    async def aclose(self) -> None:
        """Close every connection. Calls and streams that are still running raise `APIConnectionError`."""
        self._closed = True
        states, self._loops = list(self._loops.values()), {}
        running = asyncio.get_running_loop()
        for state in states:
            if state.loop is running:
                await state.aclose()
            elif state.loop.is_running():
                state.loop.call_soon_threadsafe(state.abandon)
            else:
                state.abandon()

    def _open(self, loop: asyncio.AbstractEventLoop) -> "_Loop":
        for key, state in list(self._loops.items()):
            if state.loop.is_closed():
                state.abandon()
                self._loops.pop(key, None)
        state = self._loops[id(loop)] = _Loop(loop, self._options, self._read_buffer_bytes)
        return state

    def _env_proxy(self, url: str) -> str | None:
        parts = urlsplit(url)
        if proxy_bypass(parts.hostname or ""):
            return None
        return self._env_proxies.get(parts.scheme) or self._env_proxies.get("all")


class _Loop:
    """What belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: dict[str, Any], read_buffer_bytes: int) -> None:
        self.loop = loop
        self.watch = Watch(loop)
        self.heads: dict[asyncio.Task[Any], _HeadWait] = {}
        self.session = aiohttp.ClientSession(
            connector=_Connector(self.heads, options),
            cookie_jar=aiohttp.DummyCookieJar(loop=loop),
            timeout=_NO_CLOCKS,
            read_bufsize=read_buffer_bytes,
            # Compressed events would wait in the compressor; and a bound on bytes should bound what was sent.
            headers={"Accept-Encoding": "identity"},
        )
        # aiohttp: it would send a GET again on its own; how often something is sent is for the retry middleware to say.
        self.session._retry_connection = False
        # `asyncio.run` finishes open generators before it closes its loop; a dropped one is finished by the loop.
        self._end = _closing(self.session, self.watch)
        try:
            self._end.__anext__().send(None)
        except StopIteration:
            pass

    async def aclose(self) -> None:
        """Close everything, in this loop."""
        await self._end.aclose()

    def __del__(self) -> None:
        # Dropped without being closed, by the last client or stream that used it.
        if asyncio._get_running_loop() is self.loop or self.loop.is_closed():
            self.abandon()
        else:
            self.loop.call_soon_threadsafe(_cut, self.session.connector)
            self.session.detach()

    def abandon(self) -> None:
        """Close what can be closed without waiting, of a loop that is not the running one or is closed."""
        if not self.loop.is_closed():
            self.watch.close()
        _cut(self.session.connector)
        self.session.detach()


def _cut(connector: aiohttp.BaseConnector | None) -> None:
    if connector is not None:
        connector._close()  # aiohttp: the part of close() that does not wait


async def _closing(session: aiohttp.ClientSession, watch: Watch) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        watch.close()
        await session.close()


class _Connector(aiohttp.TCPConnector):
    """A connector that tells the clocks apart, gives out no connection on which something lies unread, and cuts."""

    def __init__(self, heads: "dict[asyncio.Task[Any], _HeadWait]", options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._heads = heads

    # The methods below are aiohttp's own seams: three called by connect(), two at the end of a connection.

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if not _spoilt(connection.protocol):
                break
            # Bytes that arrived while nobody had asked anything must not become the next answer.
            connection.close()
        return connection

    async def _wait_for_available_connection(self, key: Any, traces: Any) -> None:
        wait = self._current()
        wait.start("pool")
        await super()._wait_for_available_connection(key, traces)
        wait.start("read")

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        wait = self._current()
        wait.start("connect")
        protocol = await super()._create_connection(req, traces, timeout)
        wait.start("read")
        return protocol

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if self._loop.is_closed():
            return
        should_close = should_close or protocol.should_close
        if should_close:
            # Closing would first send what is left to a peer that may never read it, and wait for TLS's farewell.
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)

    def _close(self, *, abort_ssl: bool = False) -> Any:
        for protocol in self._acquired:
            protocol.abort()
        return super()._close(abort_ssl=abort_ssl)

    def _current(self) -> "_HeadWait":
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        return self._heads[task]


class _HeadWait:
    """A call that waits for the head of its answer. Stopped by cancelling its task, as `asyncio.timeout` does."""

    __slots__ = ("cancelling", "clock", "closed", "deadline", "request", "stopped", "task", "watch")

    def __init__(self, request: Request, task: "asyncio.Task[Any]", watch: Watch) -> None:
        self.request = request
        self.task = task
        self.watch = watch
        self.cancelling = task.cancelling()
        self.stopped = False
        self.closed = False
        self.deadline: float | None = None
        self.clock: Clock = "read"
        self._set("read")

    def start(self, clock: Clock) -> None:
        """Another clock runs now; the deadline of the call stays."""
        self._set(clock)
        self.watch.moved(self)

    def _set(self, clock: Clock) -> None:
        self.deadline, self.clock = deadline_of(self.request, clock)

    def expire(self) -> None:
        self.stopped = True
        self.task.cancel()

    def fail(self) -> None:
        self.closed = True
        self.expire()

    def withdrawn(self) -> bool:
        """Whether the call was stopped although something else came of it; then its cancellation is taken back."""
        if self.stopped:
            self.task.uncancel()
        return self.stopped

    def problem(self) -> APIError:
        """Why the call was stopped."""
        if self.closed:
            return closed_error(self.request)
        return timeout_error(self.request, self.clock, " before an answer came")


class _Body:
    """The body of a response while aiohttp receives it."""

    __slots__ = ("_content", "_ended", "_late", "_raw", "_state", "_watch", "deadline")

    def __init__(self, raw: aiohttp.ClientResponse, state: _Loop) -> None:
        self._raw = raw
        self._content = raw.content
        # Held, so that a stream outlives a client that nobody holds any more.
        self._state = state
        self._watch = state.watch
        self._ended: APIError | TimeoutError | None = None
        self._late: float | None = None
        self.deadline: float | None = None

    async def read(self, deadline: float | None = None) -> bytes:
        if self._ended is not None:
            raise copy.copy(self._ended)
        content = self._content
        try:
            if data := content.read_nowait():
                return data
            if content.at_eof():
                return b""
            self.deadline = deadline
            self._watch.add(self)
            try:
                return await content.readany()
            finally:
                self._watch.remove(self)
        except _ExpiredError:
            self._ended = TimeoutError()
        except _ClosedError:
            self._ended = interrupted_error("the client was closed")
        except Exception as error:  # noqa: BLE001  # whatever aiohttp raises is told in our words
            self._ended = interrupted_error("the client was closed" if self._watch.closed else _describe(error))
        # What arrived before a fault is still good. aiohttp: read_nowait() would raise instead.
        if rest := content._read_nowait(-1):
            return rest
        raise copy.copy(self._ended)

    def close(self) -> None:
        loop = self._watch.loop
        if asyncio._get_running_loop() is loop:
            self._raw.close()
        elif not loop.is_closed():
            # Dropped in another thread, by the garbage collector for instance.
            loop.call_soon_threadsafe(self._raw.close)
        elif connection := self._raw.connection:
            # Its loop has ended, and its connections with it. aiohttp would complain of what nobody closed.
            self._raw.close()
            connection.close()

    def expire(self) -> None:
        # A loop that was held up sees bytes and timer in the same turn. The bytes win, unless they did so before and
        # the deadline has not moved since: a flood shall not outrun the deadline of the call.
        if self._content._buffer and self._late != self.deadline:
            self._late = self.deadline
        else:
            self._content.set_exception(_ExpiredError())

    def fail(self) -> None:
        self._content.set_exception(_ClosedError())


class _ExpiredError(Exception):
    """Put into a body's reader when its deadline has passed."""


class _ClosedError(Exception):
    """Put into a body's reader when the transport is closed under it."""


class _LargeBody(BytesPayload):
    """A body that is written piece by piece, under the write clock; the read clock starts when it is out."""

    def __init__(self, data: bytes, wait: _HeadWait) -> None:
        # Not that of BytesPayload, which warns of large bodies because it writes them at once.
        Payload.__init__(self, data)
        self._size = len(data)
        self._wait = wait

    async def write(self, writer: Any) -> None:
        self._wait.start("write")
        view = memoryview(self._value)
        for start in range(0, len(view), _LARGE_BODY):
            await writer.write(view[start : start + _LARGE_BODY])
        self._wait.start("read")

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        await self.write(writer)


def _payload(request: Request, wait: _HeadWait) -> Any:
    if not request.body:
        return None
    return request.body if len(request.body) <= _LARGE_BODY else _LargeBody(request.body, wait)


def _spoilt(protocol: Any) -> bool:
    """Whether anything came over a connection while it was idle: a whole message, the beginning of one, or its end."""
    if protocol.should_close:
        return True
    if _POLL is not None:
        poll = _POLL()
        poll.register(protocol.transport.get_extra_info("socket").fileno(), select.POLLIN)
        if poll.poll(0):
            return True
    # aiohttp: a parser that is told of the end gives the message that has begun. The next call gets a new parser.
    try:
        return protocol._parser.feed_eof() is not None
    except Exception:  # noqa: BLE001  # something has begun that is no message
        return True


def _connection_error(error: Exception, request: Request) -> APIError:
    """Tell an exception of aiohttp in our words, without what it holds; an operating system's error is kept."""
    result = APIConnectionError(message=f"Connection error: {_describe(error)}.", request=request)
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno is not None:
        result.__cause__ = OSError(cause.errno, cause.strerror)
    # An address that cannot be used says so every time, a proxy that says no too; and what cannot be read as HTTP is an
    # answer all the same, which may be paid for.
    final = (ValueError, aiohttp.ClientResponseError, aiohttp.ClientPayloadError)
    result.retryable = not isinstance(error, final)
    return result


def _describe(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"the server's certificate was refused: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} was not found"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the connection was closed before the body was complete"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered with status {error.status}"
        case aiohttp.ClientResponseError():
            return "the answer is not valid HTTP"
        case OSError() if error.strerror:
            return error.strerror
        case ValueError():
            return "the address cannot be used"
    return f"the connection was closed ({type(error).__name__})"


FITS: type[Transport] = AiohttpTransport
