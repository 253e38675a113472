"""An HTTP/1.1 shell around an app: the same fake, over sockets."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from moonshot_async.fake.app import MAX_BODY_BYTES
from moonshot_async.wire import Headers, Request, Response

App = Callable[[Request], Awaitable[Response]]

# How long closing waits for answers that are under way before it cancels them, in seconds.
_GRACE: Final = 0.05
# How many connections may wait to be accepted; beyond it the system lets clients try again after a second.
_BACKLOG: Final = 1024
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})


class FakeServer:
    """Serves an app over HTTP: `async with FakeServer(app) as base_url`, or `start` and `aclose`.

    Streams are sent chunk by chunk, a client that goes away cancels its answer, and a `ConnectionResetError` from the
    app or from a body cuts the connection.

    Args:
        app: answers requests.
        host: where to listen.
        port: 0 for any free one.
        max_body_bytes: the app gets no more than one byte beyond this of any request.
    """

    def __init__(
        self, app: App, host: str = "127.0.0.1", port: int = 0, *, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._app = app
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
            response = await self._app(await self._received(incoming))
            try:
                headers = _headers(response)
                if not headers.get("Content-Type", "").startswith("text/event-stream"):
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

    async def _received(self, incoming: web.BaseRequest) -> Request:
        if incoming.headers.get("Expect", "").lower() == "100-continue":
            await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        while len(body) <= self._max_body_bytes and (piece := await incoming.content.readany()):
            body += piece
        host = incoming.headers.get("Host", self.url.split("/")[2])
        return Request(
            incoming.method,
            f"http://{host}{incoming.raw_path}",
            Headers(tuple(incoming.headers.items())),
            bytes(body[: self._max_body_bytes + 1]),
        )


def _headers(response: Response) -> CIMultiDict[str]:
    return CIMultiDict(item for item in response.headers.multi_items() if item[0].lower() not in _FRAMING)
