"""HTTP over aiohttp: one session per running event loop, one timer for all its deadlines.

The places where aiohttp's public interface does not reach are marked; they are checked against the oldest and the
newest supported version. No exception of aiohttp travels up, not even as a cause: they hold the request's headers.

See: https://docs.aiohttp.org/en/stable/client_reference.html
"""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientResponse
from aiohttp.hdrs import CONTENT_ENCODING

from moonshot_async.bounds import DEFAULT_BOUNDS, Bounds, checked_bounds
from moonshot_async.clocks import timeout_error
from moonshot_async.errors import ConfigurationError
from moonshot_async.transports import Transport, closed_error
from moonshot_async.transports.aiohttp_body import ArrivingBody, SentBody, sent_body
from moonshot_async.transports.aiohttp_direct import Answer
from moonshot_async.transports.aiohttp_errors import connection_error
from moonshot_async.transports.aiohttp_loops import LoopState
from moonshot_async.transports.heads import HeadWait
from moonshot_async.transports.other_loops import call_in
from moonshot_async.transports.tls import trusting
from moonshot_async.wire import ByteStream, Request, Response


class AiohttpTransport:
    """Sends requests over HTTP/1.1 with a pool of kept-alive connections.

    Opens nothing before the first request, and one session per event loop that uses it. Follows no redirects, keeps
    no cookies, reads no `.netrc`.

    Args:
        max_connections: connections open at once, over all hosts; further calls wait (the `pool` clock).
        max_connections_per_host: the same for each host; 0 for no bound of its own.
        keepalive_timeout: seconds that an idle connection is kept.
        ssl_context: instead of the default one, which verifies certificates and takes TLS 1.2 or newer, whatever the
            environment says. (`SSL_CERT_FILE` and `SSL_CERT_DIR` name other authorities to trust, as everywhere.)
        ca_file: a PEM file with the authorities to trust, instead of those of the system; read here.
        proxy: URL of an HTTP proxy for every request.
        proxy_headers: sent to the proxy only.
        trust_env: take the proxy from the environment (`HTTPS_PROXY`, `NO_PROXY`, …), read once, here.
        read_buffer_bytes: how much of a body is buffered before the server has to wait.
        bounds: how much a server may send; a client that makes its own transport gives it its `bounds`, and one that
            is given this and no `bounds` keeps to those of this.

    Attributes:
        bounds: those that it was made with.
        unused: whether no client has it yet: the one that gets it first warns if its base URL is plain http.

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
        ca_file: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        proxy_headers: dict[str, str] | None = None,
        trust_env: bool = False,
        read_buffer_bytes: int = 64 * 1024,
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self._proxy, self._proxy_headers = proxy, proxy_headers
        # There may be a password in them, and error trackers record the locals of frames.
        del proxy, proxy_headers
        _check_numbers(max_connections, max_connections_per_host, keepalive_timeout, read_buffer_bytes)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError("ssl_context must be an ssl.SSLContext")
        if not isinstance(trust_env, bool):
            raise ConfigurationError(f"trust_env must be True or False, not {trust_env!r}")
        self._check_proxy()
        self._options: dict[str, Any] = {
            "limit": max_connections,
            "limit_per_host": max_connections_per_host,
            "keepalive_timeout": keepalive_timeout,
        }
        if ca_file is not None:
            if ssl_context is not None:
                raise ConfigurationError("ssl_context and ca_file exclude each other: load the file into the context")
            ssl_context = trusting(ca_file)
        if ssl_context is not None:
            self._options["ssl"] = ssl_context
        self._env_proxies = getproxies() if trust_env else {}
        self._proxied = bool(self._proxy or self._env_proxies)
        self._read_buffer_bytes = read_buffer_bytes
        self.bounds = checked_bounds(bounds)
        self.unused = True
        self._loops: dict[int, LoopState] = {}
        self._closed = False

    def _check_proxy(self) -> None:
        # Not by local names: error trackers record those of frames.
        if self._proxy is not None and not (
            isinstance(self._proxy, str) and urlsplit(self._proxy).scheme in ("http", "https")
        ):
            raise ConfigurationError("proxy must be an http:// or https:// URL")
        if self._proxy_headers is not None and not (
            isinstance(self._proxy_headers, Mapping)
            and all(isinstance(text, str) for pair in self._proxy_headers.items() for text in pair)
        ):
            raise ConfigurationError("proxy_headers must be a dict of text")

    async def send(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        state = self._loops.get(id(loop))
        if state is None or state.loop is not loop:
            if self._closed:
                raise closed_error(request)
            state = self._open(request, loop)
        if request.deadline is not None and request.deadline <= time.monotonic():
            raise timeout_error(request, "total", " before the request was sent")
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        wait = HeadWait(request, task, state.watch)
        body = sent_body(request, wait)
        problem: BaseException
        state.heads[task] = wait
        state.watch.add(wait)
        try:
            raw: Answer | ClientResponse | None = None
            if body is None and not self._proxied:
                raw = await state.direct.send(request)
            if raw is None:
                raw = await self._by_session(state, request, body)
        except asyncio.CancelledError as error:
            if not wait.stopped or task.uncancel() > wait.cancelling:
                # Without the frames of aiohttp: they hold the key and the prompt, and a timeout of the caller's own
                # has this as its cause.
                raise error.with_traceback(None)  # noqa: B904  # what it came of stays
            problem = wait.problem()
        except Exception as error:  # noqa: BLE001  # whatever aiohttp raises is told in our words
            problem = wait.problem() if wait.withdrawn() else _failure(body) or connection_error(error, wait)
        else:
            if not wait.withdrawn():
                wait.refused = raw.status >= 300
                arriving: ByteStream = ArrivingBody(raw, state)
                if CONTENT_ENCODING in raw.headers:
                    # Imported late: nobody asked for it.
                    from moonshot_async.transports.inflate import inflated

                    coding = ",".join(raw.headers.getall(CONTENT_ENCODING))
                    arriving = inflated(arriving, coding, self.bounds)
                return Response(raw.status, tuple(raw.headers.items()), arriving, request=request)
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
            del problem, body

    async def _by_session(self, state: LoopState, request: Request, body: SentBody | None) -> ClientResponse:
        return await state.session.request(
            request.method,
            request.url,
            headers=request.headers.multi_items(),
            data=request.body or None if body is None else body,
            allow_redirects=False,
            proxy=self._proxy or (self._env_proxies and self._env_proxy(request.url)) or None,
            proxy_headers=self._proxy_headers,
        )

    async def aclose(self) -> None:
        """Close every connection. Calls and streams that are still running raise `APIConnectionError`."""
        self._closed = True
        states, self._loops = list(self._loops.values()), {}
        # None where a synchronous program closes what it used in event loops that are over.
        running = asyncio._get_running_loop()
        own = [state for state in states if running is not None and state.loop is running]
        # The others first: waiting for the own one can be cancelled.
        for state in states:
            loop = state.loop
            if loop is not None and loop is not running and loop.is_running():
                call_in(loop, state.abandon)
            elif loop is not running:
                state.abandon()
        for state in own:
            await state.aclose()

    def _open(self, request: Request, loop: asyncio.AbstractEventLoop) -> LoopState:
        for key, state in list(self._loops.items()):
            if state.loop is None or state.loop.is_closed():
                state.abandon()
                self._loops.pop(key, None)
        state = self._loops[id(loop)] = LoopState(loop, self._options, self._read_buffer_bytes, self.bounds)
        if self._closed:
            # In this moment, by another thread.
            self._loops.pop(id(loop), None)
            state.abandon()
            raise closed_error(request)
        return state

    def _env_proxy(self, url: str) -> str | None:
        parts = urlsplit(url)
        if proxy_bypass(parts.hostname or ""):
            return None
        return self._env_proxies.get(parts.scheme) or self._env_proxies.get("all")


def _check_numbers(most: object, most_per_host: object, keepalive: object, buffer: object) -> None:
    for value in (most, most_per_host):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigurationError("max_connections and max_connections_per_host must be 0 (no bound) or more")
    if isinstance(keepalive, bool) or not isinstance(keepalive, (int, float)) or not keepalive >= 0:
        raise ConfigurationError(f"keepalive_timeout must be a number of seconds, not {keepalive!r}")
    if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 1:
        raise ConfigurationError(f"read_buffer_bytes must be a positive whole number, not {buffer!r}")


def _failure(body: Any) -> BaseException | None:
    """What the pieces of a body raised, if that is why it was not sent."""
    if not isinstance(body, SentBody):
        return None
    # Taken out: its traceback leads to the body.
    failure, body.failure = body.failure, None
    return failure


FITS: type[Transport] = AiohttpTransport
