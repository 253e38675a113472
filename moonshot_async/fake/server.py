"""An HTTP/1.1 shell around an app: the same fake, over sockets."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol

from aiohttp import web
from anyio import to_thread
from anyio.lowlevel import checkpoint
from multidict import CIMultiDict

from moonshot_async.fake.blobs import BEGINNING, LARGE, Blob, PiecesBody, Spool
from moonshot_async.wire import Headers, Request, Response

App = Callable[[Request], Awaitable[Response]]

# How long closing waits for answers that are under way before it cancels them, in seconds.
_GRACE: Final = 0.05
# How many connections may wait to be accepted; beyond it the system lets clients try again after a second.
_BACKLOG: Final = 1024
_MAX_BODY_BYTES: Final = 100 * 1024 * 1024
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})


class Receiver(Protocol):
    """An app that takes large bodies as they are, without a copy of them in memory."""

    def body_limit(self, request: Request) -> int:
        """How many bytes of the body it looks at."""
        ...

    def reset_after(self, request: Request) -> int | None:
        """After how many bytes of the body the connection is to be reset; None for not at all."""
        ...

    def record(self, request: Request, body_bytes: int) -> int:
        """Take note of a request that it will not be asked to answer."""
        ...

    async def answer(self, request: Request, body: Blob) -> Response:
        """Answer; the body of `request` is the beginning of `body`."""
        ...


class FakeServer:
    """Serves an app over HTTP: `async with FakeServer(app) as base_url`, or `start` and `aclose`.

    Streams are sent chunk by chunk, a client that goes away cancels its answer, and a `ConnectionResetError` from the
    app or from a body cuts the connection.

    Args:
        app: answers requests.
        host: where to listen.
        port: 0 for any free one.
        max_body_bytes: the app gets no more than one byte beyond this of any request.
        receiver: gets the requests instead of `app`, and says by itself how much of them it wants.
    """

    def __init__(
        self,
        app: App,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        max_body_bytes: int = _MAX_BODY_BYTES,
        receiver: Receiver | None = None,
    ) -> None:
        self._app = app
        self._receiver = receiver
        self._host = host
        self._port = port
        self._max_body_bytes = max_body_bytes
        self._runner: web.ServerRunner | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The base URL, ending in "/v1".

        Raises:
            RuntimeError: the server is not running.
        """
        if self._url is None:
            raise RuntimeError("the server is not running")
        return self._url

    async def start(self) -> str:
        """Listen, and return the base URL. A server that runs already stays as it is."""
        if self._url is None:
            # Loads what waiting needs now, and not while an upload comes in.
            await checkpoint()
            server = web.Server(self._handle, handler_cancellation=True, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
            except BaseException:
                await runner.cleanup()
                raise
            self._runner = runner
            host, port = runner.addresses[0][:2]
            self._url = f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
        return self._url

    async def aclose(self) -> None:
        """Stop listening and end what is under way, streams too. May be repeated."""
        runner, self._runner, self._url = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        transport = incoming.transport
        assert transport is not None, "a handler is cancelled once its connection is lost"
        answer: web.StreamResponse = web.Response(status=503)
        try:
            response = await self._answered(incoming)
            try:
                headers = _headers(response)
                is_stream = headers.get("Content-Type", "").startswith("text/event-stream")
                # What is made while it is read (a large file, the results of a batch) is not gathered first.
                if not is_stream and not isinstance(response.body, PiecesBody):
                    return web.Response(status=response.status, headers=headers, body=await response.read())
                answer = web.StreamResponse(status=response.status, headers=headers)
                # No chunk waits for the next one, and a slow reader slows the body down.
                transport.set_write_buffer_limits(high=0)
                await answer.prepare(incoming)
                while piece := await response.body.read():
                    await answer.write(piece)
                    await incoming.writer.drain()
                await answer.write_eof()
            finally:
                response.close()
        except ConnectionResetError:
            transport.abort()
        return answer

    async def _answered(self, incoming: web.BaseRequest) -> Response:
        if incoming.headers.get("Expect", "").lower() == "100-continue":
            await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        host = incoming.headers.get("Host", self.url.split("/")[2])
        url = f"http://{host}{incoming.raw_path}"
        request = Request(incoming.method, url, Headers(tuple(incoming.headers.items())))
        if self._receiver is None:
            body = await _read(incoming, self._max_body_bytes + 1)
            return await self._app(request.replace(body=body.read()))
        after = self._receiver.reset_after(request)
        if after is not None:
            body = await _read(incoming, after) if after else Blob()
            self._receiver.record(request.replace(body=body.read(0, BEGINNING)), body.size)
            raise ConnectionResetError("the fake reset the connection")
        body = await _read(incoming, self._receiver.body_limit(request) + 1)
        beginning = body.read(0, BEGINNING if body.is_large else None)
        return await self._receiver.answer(request.replace(body=beginning), body)


async def _read(incoming: web.BaseRequest, limit: int) -> Blob:
    """The body, or the beginning of it; a large one comes to lie on disk while it is read."""
    spool = Spool()
    while spool.size < limit and (piece := await incoming.content.readany()):
        if spool.write(piece[: limit - spool.size]):
            await to_thread.run_sync(spool.flush)
    return await to_thread.run_sync(spool.blob) if spool.size > LARGE else spool.blob()


def _headers(response: Response) -> CIMultiDict[str]:
    return CIMultiDict(item for item in response.headers.multi_items() if item[0].lower() not in _FRAMING)
