"""HTTP over aiohttp: one session per running event loop, one timer for all its deadlines.

The places where aiohttp's public interface does not reach are marked; they are checked against the oldest and the
newest supported version. No exception of aiohttp travels up, not even as a cause: they hold the request's headers.

See: https://docs.aiohttp.org/en/stable/client_reference.html
"""

import asyncio
import ssl
import time
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.payload import Payload

from moonshot_async.clocks import timeout_error
from moonshot_async.errors import APIConnectionError, APIError, Clock, ConfigurationError, StreamInterruptedError
from moonshot_async.transports import Transport, closed_error
from moonshot_async.transports.watch import Watch
from moonshot_async.wire import Request, Response

# aiohttp's own clocks are off: they cost up to 37 µs a call, and round what is longer than 5 s.
_NO_CLOCKS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
# Larger bodies are written piece by piece, under the write clock.
_LARGE_BODY: Final = 64 * 1024
_CLOSED: Final = "the client was closed"


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
            raise ConfigurationError("max_connections must be 0 (no bound) or more")
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
            problem = _connection_error(error, request)
        else:
            if not wait.stopped:
                body = _Body(raw, state.watch)
                return Response(raw.status, raw.headers, body, request=request)
            # The cancellation was swallowed on its way; the answer is late all the same.
            task.uncancel()
            raw.close()
            problem = wait.problem()
        finally:
            state.watch.remove(wait)
            del state.heads[task]
        # Raised out here, so that the exceptions of aiohttp are not its context: they carry the key.
        raise problem

    async def aclose(self) -> None:
        """Close every connection. Calls and streams that are still running raise `APIConnectionError`."""
        self._closed = True
        states, self._loops = list(self._loops.values()), {}
        running = asyncio.get_running_loop()
        for state in states:
            state.watch.close()
            if state.loop is running:
                await state.session.close()
            else:
                state.abandon()

    def _open(self, loop: asyncio.AbstractEventLoop) -> "_Loop":
        for key, state in list(self._loops.items()):
            if state.loop.is_closed():
                self._loops.pop(key).abandon()
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

    def abandon(self) -> None:
        """Let go of a session whose loop is not the running one: its connections cannot be waited for."""
        connector = self.session.connector
        self.session.detach()
        if connector is not None:
            connector._close()  # aiohttp: the part of close() that does not wait


class _Connector(aiohttp.TCPConnector):
    """A connector that tells the clocks apart, and gives out no connection on which something lies unread."""

    def __init__(self, heads: "dict[asyncio.Task[Any], _HeadWait]", options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._heads = heads

    # The three methods below are aiohttp's own seams, called by connect().

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
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
        seconds = getattr(self.request.timeout, clock)
        total = self.request.deadline
        self.clock = clock
        self.deadline = None if seconds is None else time.monotonic() + seconds
        if total is not None and (self.deadline is None or total < self.deadline):
            self.clock, self.deadline = "total", total

    def expire(self) -> None:
        self.stopped = True
        self.task.cancel()

    def fail(self) -> None:
        self.closed = True
        self.expire()

    def problem(self) -> APIError:
        """Why the call was stopped."""
        if self.closed:
            return closed_error(self.request)
        return timeout_error(self.request, self.clock, " before an answer came")


class _Body:
    """The body of a response while aiohttp receives it."""

    __slots__ = ("_content", "_ended", "_raw", "_watch", "deadline")

    def __init__(self, raw: aiohttp.ClientResponse, watch: Watch) -> None:
        self._raw = raw
        self._content = raw.content
        self._watch = watch
        self._ended: APIError | None = None
        self.deadline: float | None = None

    async def read(self, deadline: float | None = None) -> bytes:
        if self._ended is not None:
            raise self._ended
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
        except (_ExpiredError, _ClosedError) as error:
            expired = isinstance(error, _ExpiredError)
            self._ended = _interrupted("it timed out" if expired else _CLOSED)
        except Exception as error:  # noqa: BLE001  # whatever aiohttp raises is told in our words
            expired = False
            self._ended = _interrupted(_describe(error))
        # What arrived before a fault is still good. aiohttp: read_nowait() would raise instead.
        if rest := content._read_nowait(-1):
            return rest
        if expired:
            raise TimeoutError
        raise self._ended

    def close(self) -> None:
        loop = self._watch.loop
        if asyncio._get_running_loop() is loop:
            self._raw.close()
        elif not loop.is_closed():
            # Dropped in another thread, by the garbage collector for instance.
            loop.call_soon_threadsafe(self._raw.close)

    def expire(self) -> None:
        self._content.set_exception(_ExpiredError())

    def fail(self) -> None:
        self._content.set_exception(_ClosedError())


class _ExpiredError(Exception):
    """Put into a body's reader when its deadline has passed."""


class _ClosedError(Exception):
    """Put into a body's reader when the transport is closed under it."""


class _LargeBody(Payload):
    """A body that is written piece by piece, under the write clock; the read clock starts when it is out."""

    def __init__(self, data: bytes, wait: _HeadWait) -> None:
        super().__init__(data)
        self._size = len(data)
        self._wait = wait

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)  # type: ignore[no-any-return]  # aiohttp types the value as Any

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


def _interrupted(reason: str) -> StreamInterruptedError:
    return StreamInterruptedError(message=f"The answer broke off: {reason}.")


def _connection_error(error: Exception, request: Request) -> APIError:
    """Tell an exception of aiohttp in our words, without what it holds; an operating system's error is kept."""
    result = APIConnectionError(message=f"Connection error: {_describe(error)}.", request=request)
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno is not None:
        result.__cause__ = OSError(cause.errno, cause.strerror)
    return result


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the server's certificate was refused: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} was not found"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection was closed before the body was complete"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RuntimeError):
        return _CLOSED
    return f"the answer is not valid HTTP ({type(error).__name__})"


FITS: type[Transport] = AiohttpTransport
