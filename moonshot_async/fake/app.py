"""The service itself: `Request` in, `Response` out, with the API's routes, headers and refusals.

It runs under whatever awaits it, in memory or behind `server.py`, with no task of its own: what takes time (batches,
limits) is worked out from the clock when somebody asks. Each section of the API is an object with its own state.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from moonshot_async.catalog import CATALOG, Catalog, Tier
from moonshot_async.fake.account import HEADERS, Account, Keys
from moonshot_async.fake.batches import Batches
from moonshot_async.fake.blobs import Blob
from moonshot_async.fake.bodies import Sleep
from moonshot_async.fake.chat import Chat, Writer
from moonshot_async.fake.failures import failure
from moonshot_async.fake.faults import CHAT_PATH, Disconnect, Script
from moonshot_async.fake.files import ENVELOPE_BYTES, FILES_PATH, Files
from moonshot_async.fake.formulas import Formulas
from moonshot_async.fake.jobs import BatchTimes
from moonshot_async.fake.limits import Limiter
from moonshot_async.fake.models import Models
from moonshot_async.fake.records import Clock, Records
from moonshot_async.fake.routes import Call, Route, Router
from moonshot_async.fake.rules import RefusedError
from moonshot_async.fake.signatures import Signatures
from moonshot_async.fake.tools import Tools
from moonshot_async.wire import Headers, Request, Response

if TYPE_CHECKING:
    from moonshot_async.fake.server import FakeServer

_MIB: Final = 1024 * 1024
MAX_BODY_BYTES: Final = 100 * _MIB


class _Store(Protocol):
    def clear(self) -> None: ...


class FakeMoonshot(Script):
    """The Moonshot API, embedded: an app to call in memory, or to `serve()` over HTTP.

    It answers chat requests with text that depends on the prompt alone, calls tools whose words the prompt shares,
    obeys JSON schemas, and refuses what the service refuses. It keeps files, works through batches, counts what
    everything costs, and holds the limits of a tier if it is given one. Scripted outcomes (`reply`, `fail`,
    `cut_stream`, ...) come first.

    Args:
        api_keys: the keys that are valid; None for any that begins with "sk-".
        legacy_models: serve retired models too.
        latency: seconds before the head of every answer; may be set at any time.
        chunk_latency: seconds before each chunk of a stream; may be set at any time.
        catalog: which models there are, and what everything costs.
        sleep: how to wait; `anyio.sleep` unless given.
        clock: the time, in Unix seconds; `advance` puts it forward.
        seed: another one gives other answers.
        max_recorded: how many requests `requests` keeps, the newest.
        max_body_bytes: a longer request is a 413.
        limits: those of an account of this tier, over all keys; None for none.
        balance: the cash of the account. At nothing it gets 429s of type `exceeded_current_quota_error`.
        vouchers: money that was given to it, and is spent first.
        currency: of the balance and of prices, "USD" or "CNY".
        batch_times: how long a batch stays in each state; two seconds in all unless given.
        processing_seconds: how long an uploaded file is processed before its content can be read.
        max_file_bytes, max_files, max_total_file_bytes: what may be uploaded.

    Attributes:
        account: what the account has left: `account.cash`, `account.vouchers` (may be set) and `account.available`.
    """

    def __init__(
        self,
        *,
        api_keys: Collection[str] | None = None,
        legacy_models: bool = False,
        latency: float = 0.0,
        chunk_latency: float = 0.0,
        catalog: Catalog = CATALOG,
        sleep: Sleep | None = None,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        max_recorded: int = 1000,
        max_body_bytes: int = MAX_BODY_BYTES,
        limits: Tier | None = None,
        balance: Decimal | int | str = 1_000_000,
        vouchers: Decimal | int | str = 0,
        currency: Literal["USD", "CNY", "usd", "cny"] = "USD",
        batch_times: BatchTimes | None = None,
        processing_seconds: float = 0.0,
        max_file_bytes: int = 100 * _MIB,
        max_files: int = 1000,
        max_total_file_bytes: int = 10 * 1024 * _MIB,
    ) -> None:
        super().__init__()
        self.latency = latency
        self.chunk_latency = chunk_latency
        self.catalog = catalog
        self.legacy_models = legacy_models
        self.max_body_bytes = max_body_bytes
        self._keys = Keys(api_keys)
        self._sleep = sleep or _sleep
        self._clock = Clock(clock)
        self._records = Records(max_recorded)
        self.account = Account(
            balance, vouchers, currency="cny" if currency.lower() == "cny" else "usd", catalog=catalog
        )
        files = Files(
            self._clock,
            max_body_bytes=max_body_bytes,
            max_file_bytes=max_file_bytes,
            max_files=max_files,
            max_total_bytes=max_total_file_bytes,
            processing_seconds=processing_seconds,
        )
        limiter = None if limits is None else Limiter(limits, self._clock)
        writer = Writer(catalog, legacy_models, files.purpose_of, self._clock, seed)
        batches = Batches(self._clock, writer, files, self.account, batch_times or BatchTimes())
        formulas = Formulas(self._clock, self.account)
        self._router = Router(self._routes(writer, limiter, files, batches, formulas, seed))
        # Everything that `reset` has to clear.
        self._stores: list[_Store] = [self._queue, self._records, self.account, files, batches, formulas]
        if limiter is not None:
            self._stores.append(limiter)

    def _routes(
        self, writer: Writer, limiter: Limiter | None, files: Files, batches: Batches, formulas: Formulas, seed: int
    ) -> list[Route]:
        signatures = Signatures(self._clock, str(seed))
        chat = Chat(
            writer,
            self.account,
            limiter,
            signatures,
            scripted=self._scripted_answer,
            pace=lambda: self.chunk_latency,
            sleep=self._sleep,
        )
        # What batches bring about shows in files and in the balance.
        aware = [
            msgspec.structs.replace(route, handler=batches.settled(route.handler))
            for route in (*files.routes(), *self.account.routes())
        ]
        others = (chat, Models(writer), batches, Tools(self.account), formulas, signatures)
        return [*aware, *(route for section in others for route in section.routes())]

    @property
    def requests(self) -> list[Request]:
        """The requests received, oldest first.

        Bodies of more than 1 MiB are not kept: `body` is their first 64 KiB then, and the header `Content-Length` says
        how long they were.
        """
        return self._records.all()

    @property
    def last_request(self) -> Request:
        """The newest request.

        Raises:
            LookupError: there was none yet.
        """
        return self._records.last()

    def advance(self, seconds: float) -> None:
        """Put the fake's clock forward: batches go on, limits relax. Nothing is slept.

        Raises:
            ValueError: `seconds` is negative: time only goes forward.
        """
        self._clock.advance(seconds)

    def reset(self) -> None:
        """Forget the script, the records and all state: files, batches, money spent, limits used. Time goes on."""
        for store in self._stores:
            store.clear()

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> "FakeServer":
        """Serve over HTTP: `async with fake.serve() as base_url`, or `await server.start()` and `.aclose()`.

        Args:
            host: where to listen.
            port: 0 for any free one.
        """
        from moonshot_async.fake.server import FakeServer

        return FakeServer(self, host, port, receiver=self)

    async def __call__(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            ConnectionResetError: the script says `disconnect` or `reset_upload`.
        """
        if not isinstance(request.body, bytes):
            request = request.replace(body=await request.read())
        assert isinstance(request.body, bytes), "read above"
        if self.reset_after(request) is not None:
            self.record(request, len(request.body))
            raise ConnectionResetError("the fake reset the connection")
        return await self.answer(request, Blob(request.body))

    async def answer(self, request: Request, body: Blob) -> Response:
        """Answer one request whose body may be too large for memory; that of `request` may be its beginning.

        Raises:
            ConnectionResetError: the script says `disconnect`.
        """
        number = self.record(request, body.size)
        # Everything is settled before the first wait, so that concurrent requests take the script in their order.
        # Only what is large or slow (uploads, batches) is waited for here.
        response = self._answer(request, body, number)
        if response is not None and not isinstance(response, Response):
            response = await response
        if self.latency > 0:
            await self._wait(response)
        if response is None:
            raise ConnectionResetError("the fake broke the connection off")
        response.request = request
        response.headers = _dressed(response.headers, number)
        return response

    async def _wait(self, response: Response | None) -> None:
        """Take as long as the service does; an answer that nobody waits for any more is closed."""
        try:
            await self._sleep(self.latency)
        except BaseException:
            if response is not None:
                response.close()
            raise

    def reset_after(self, request: Request) -> int | None:
        """After how many bytes of its body the connection of this request is to be reset, if the script says so."""
        return self._scripted_reset(request.method, request.path.rstrip("/")) if self._queue else None

    def body_limit(self, request: Request) -> int:
        """How many bytes of the body are looked at; one more is a refusal."""
        beside = ENVELOPE_BYTES if request.path.rstrip("/") == FILES_PATH else 0
        return self.max_body_bytes + beside

    def record(self, request: Request, body_bytes: int) -> int:
        """Take note of a request, and number it; of a body of that size only the beginning may have to be kept."""
        return self._records.add(request, body_bytes)

    def __repr__(self) -> str:
        return f"<FakeMoonshot: {len(self._records)} requests recorded, {len(self._queue)} outcomes scripted>"

    def _answer(self, request: Request, body: Blob, number: int) -> Response | Awaitable[Response] | None:
        path = request.path.rstrip("/")
        found = self._router.find(path)
        if found is None:
            return failure(404).response()
        methods, values = found
        route = methods.get(request.method)
        if route is None:
            return failure(405, headers={"Allow": ", ".join(sorted(methods))}).response()
        try:
            self._keys.check(request.headers.get("Authorization", ""))
            scripted = self._scripted_refusal(request.method, path, stream=bool(self._queue) and _streams(path, body))
            if isinstance(scripted, Disconnect):
                return None
            if scripted is not None:
                answer: Response | Awaitable[Response] = scripted.response()
            elif body.size > self.max_body_bytes and path != FILES_PATH:
                answer = failure(413).response()
            else:
                answer = route.handler(Call(request, number, values, body))
        except RefusedError as refusal:
            answer = _refusal(refusal)
        if isinstance(answer, Response):
            return answer if route.finish is None else route.finish(request, number, answer)
        return _awaited(answer)


async def _awaited(answer: Awaitable[Response]) -> Response:
    try:
        return await answer
    except RefusedError as refusal:
        return _refusal(refusal)


def _refusal(refusal: RefusedError) -> Response:
    return failure(refusal.status, type=refusal.type, message=refusal.message).response()


def _streams(path: str, body: Blob) -> bool:
    if path != CHAT_PATH:
        return False
    try:
        payload = msgspec.json.decode(body.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(payload, dict) and bool(payload.get("stream"))


def _dressed(headers: Headers, number: int) -> Headers:
    """Add what every answer carries; scripted headers of the same name stay as they are."""
    standard = (("Msh-Request-Id", f"fake-request-{number:06d}"), ("x-msh-trace-id", f"fake-trace-{number:06d}"))
    return Headers([*headers.multi_items(), *(item for item in (*standard, *HEADERS) if item[0] not in headers)])


def _sleep(seconds: float) -> Awaitable[None]:
    import anyio

    return anyio.sleep(seconds)
