"""The service itself: `Request` in, `Response` out, with the API's routes, headers and refusals.

No I/O, no task of its own and no event loop: it runs under whatever awaits it, in memory or behind `server.py`.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec

from moonshot_async.catalog import CATALOG, Catalog, Model
from moonshot_async.fake import rules, shapes
from moonshot_async.fake.answers import Answer, answer
from moonshot_async.fake.bodies import PacedBody, Sleep
from moonshot_async.fake.faults import CHAT_PATH, JSON_TYPE, Disconnect, Script, StreamFault, failure
from moonshot_async.fake.rules import RefusedError
from moonshot_async.fake.samples import UnusableSchemaError
from moonshot_async.wire import Headers, Request, Response

if TYPE_CHECKING:
    from moonshot_async.fake.server import FakeServer

MAX_BODY_BYTES: Final = 100 * 1024 * 1024

_MODELS_PATH: Final = "/v1/models"
_ACCOUNT: Final = (
    ("Msh-Org-Id", "org-fake"),
    ("Msh-Uid", "uid-fake"),
    ("Msh-Project-Id", "proj-fake"),
    ("Msh-Gid", "gid-fake"),
)

Handler = Callable[[Request, str], Response]


class FakeMoonshot(Script):
    """The Moonshot API, embedded: an app to call in memory, or to `serve()` over HTTP.

    It answers chat requests with text that depends on the prompt alone, calls tools whose words the prompt shares,
    obeys JSON schemas, and refuses what the service refuses. Scripted outcomes (`reply`, `fail`, `cut_stream`, ...)
    come first.

    Args:
        api_keys: the keys that are valid; None for any that begins with "sk-".
        legacy_models: serve retired models too.
        latency: seconds before the head of every answer; may be set at any time.
        chunk_latency: seconds before each chunk of a stream; may be set at any time.
        catalog: which models there are.
        sleep: how to wait; `anyio.sleep` unless given.
        clock: the time for `created`, in Unix seconds.
        seed: another one gives other answers.
        max_recorded: how many requests `requests` keeps, the newest.
        max_body_bytes: a longer request is a 413.

    Attributes:
        requests: what was received, in order.
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
    ) -> None:
        super().__init__()
        self.latency = latency
        self.chunk_latency = chunk_latency
        self.catalog = catalog
        self.legacy_models = legacy_models
        self.max_body_bytes = max_body_bytes
        self._api_keys = None if api_keys is None else frozenset(api_keys)
        self._sleep = sleep or _sleep
        self._clock = clock
        self._seed = seed
        self._recorded: deque[Request] = deque(maxlen=max_recorded)
        self._count = 0
        self._routes: Mapping[str, tuple[str, Handler]] = {
            CHAT_PATH: ("POST", self._chat),
            _MODELS_PATH: ("GET", self._models),
        }

    @property
    def requests(self) -> list[Request]:
        """The requests received, oldest first."""
        return list(self._recorded)

    @property
    def last_request(self) -> Request:
        """The newest request.

        Raises:
            LookupError: there was none yet.
        """
        if not self._recorded:
            raise LookupError("the fake has received no request")
        return self._recorded[-1]

    def reset(self) -> None:
        """Forget the script and the records."""
        self._queue.clear()
        self._recorded.clear()

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> "FakeServer":
        """Serve over HTTP: `async with fake.serve() as base_url`, or `await server.start()` and `.aclose()`.

        Args:
            host: where to listen.
            port: 0 for any free one.
        """
        from moonshot_async.fake.server import FakeServer

        return FakeServer(self, host, port, max_body_bytes=self.max_body_bytes)

    async def __call__(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            ConnectionResetError: the script says `disconnect`.
        """
        self._recorded.append(request)
        self._count += 1
        number = self._count
        # Everything is settled before the first wait, so that concurrent requests take the script in their order.
        try:
            response = self._answer(request)
        except RefusedError as refusal:
            response = failure(refusal.status, type=refusal.type, message=refusal.message).response()
        if self.latency > 0:
            await self._sleep(self.latency)
        if response is None:
            raise ConnectionResetError("the fake broke the connection off")
        response.request = request
        response.headers = _dressed(response.headers, number)
        return response

    def __repr__(self) -> str:
        return f"<FakeMoonshot: {len(self._recorded)} requests recorded, {len(self._queue)} outcomes scripted>"

    def _answer(self, request: Request) -> Response | None:
        path = request.path.rstrip("/")
        method, handler = self._routes.get(path, ("GET", self._model))
        if handler == self._model and not path.startswith(_MODELS_PATH + "/"):
            raise RefusedError("The requested resource was not found", status=404, type="resource_not_found_error")
        if request.method != method:
            return failure(405, headers={"Allow": method}).response()
        self._check_key(request.headers.get("Authorization", ""))
        scripted = self._scripted_refusal(path, stream=bool(self._queue) and _streams(request))
        if isinstance(scripted, Disconnect):
            return None
        if scripted is not None:
            return scripted.response()
        if len(request.body) > self.max_body_bytes:
            return failure(413).response()
        return handler(request, path)

    def _check_key(self, authorization: str) -> None:
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or (self._api_keys is None and not key.startswith("sk-")):
            raise RefusedError("Invalid Authentication", status=401, type="invalid_authentication_error")
        if self._api_keys is not None and key not in self._api_keys:
            raise RefusedError("Incorrect API key provided", status=401, type="incorrect_api_key_error")

    def _models(self, request: Request, path: str) -> Response:
        served = self.catalog.models if self.legacy_models else self.catalog.current_ids()
        return _json({"object": "list", "data": [_described(self.catalog.models[id]) for id in served]})

    def _model(self, request: Request, path: str) -> Response:
        id = unquote(path.removeprefix(_MODELS_PATH + "/"))
        return _json(_described(rules.find_model(id, self.catalog, legacy_models=self.legacy_models)))

    def _chat(self, request: Request, path: str) -> Response:
        try:
            payload = msgspec.json.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RefusedError("Invalid request: the body is not valid JSON") from None
        model = rules.check_chat(payload, self.catalog, legacy_models=self.legacy_models)
        stream = bool(payload.get("stream"))
        scripted = self._scripted_answer(path, stream=stream)
        try:
            choices = self._choices(payload, model, scripted)
        except UnusableSchemaError as error:
            raise RefusedError(f"Invalid request: {error}") from None
        usage = shapes.usage_of(payload, model, choices)
        head = {"id": f"chatcmpl-{self._count:012d}", "created": int(self._clock()), "model": payload["model"]}
        if not stream:
            return _json(shapes.completion(head, choices, usage))
        include_usage = bool((payload.get("stream_options") or {}).get("include_usage"))
        frames = shapes.chunks(head, choices, usage, include_usage=include_usage)
        frames = scripted.wrap(frames) if isinstance(scripted, StreamFault) else _done(frames)
        body = PacedBody(frames, lambda: self.chunk_latency, self._sleep)
        return Response(200, [("Content-Type", "text/event-stream")], body)

    def _choices(self, payload: Mapping[str, Any], model: Model, scripted: Answer | StreamFault | None) -> list[Answer]:
        if isinstance(scripted, Answer):
            return [scripted] * (payload.get("n") or 1)
        return [answer(payload, model, seed=self._seed, index=index) for index in range(payload.get("n") or 1)]


def _done(frames: Iterator[bytes]) -> Iterator[bytes]:
    yield from frames
    yield shapes.DONE


def _streams(request: Request) -> bool:
    try:
        payload = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(payload, dict) and bool(payload.get("stream"))


def _json(value: Any) -> Response:
    return Response(200, [("Content-Type", JSON_TYPE)], msgspec.json.encode(value))


def _described(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": "moonshot",
        "context_length": model.context_window,
        "supports_image_in": "image" in model.modalities,
        "supports_video_in": "video" in model.modalities,
        "supports_reasoning": model.thinking != "never",
    }


def _dressed(headers: Headers, number: int) -> Headers:
    """Add what every answer carries; scripted headers of the same name stay as they are."""
    standard = (("Msh-Request-Id", f"fake-request-{number:06d}"), ("x-msh-trace-id", f"fake-trace-{number:06d}"))
    return Headers([*headers.multi_items(), *(item for item in (*standard, *_ACCOUNT) if item[0] not in headers)])


def _sleep(seconds: float) -> Awaitable[None]:
    import anyio

    return anyio.sleep(seconds)
