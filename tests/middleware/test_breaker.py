"""When a circuit opens, what it lets through to try, and what closes it; with a clock of our own."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    LimitReachedError,
    StreamInterruptedError,
)
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware import Handler
from moonshot_async.middleware.breaker import CircuitBreaker, CircuitState
from moonshot_async.wire import Request, Response
from tests.scripted import ASK, COMPLETION, Peer, Start, answer, silent

URL = "https://api.test/v1/chat/completions"
HOST = "api.test"


def asking(model: str | None = "kimi-k2.6", **changes: Any) -> Request:
    body = b"" if model is None else b'{"model":"%s","messages":[]}' % model.encode()
    return Request("POST", URL, body=body, timeout=Timeout.of(None)).replace(**changes)


class World:
    """A breaker, a clock that stands still, and a service that answers as it is told."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.outcome: int | BaseException = 200
        self.sent = 0
        self.breaker = CircuitBreaker(**{"failures": 4, "clock": lambda: self.now, **options})
        self._handler = compose([self.breaker], exchange(self))

    async def send(self, request: Request) -> Response:
        self.sent += 1
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return Response(self.outcome, request=request)

    async def aclose(self) -> None: ...

    async def call(self, outcome: int | BaseException | None = None, request: Request | None = None) -> Any:
        """What a call comes to: a response, or what was raised."""
        self.outcome = self.outcome if outcome is None else outcome
        try:
            return await self._handler(asking() if request is None else request)
        except (APIError, ConfigurationError, ValueError, asyncio.CancelledError) as error:
            return error

    async def fail(self, times: int, outcome: int | BaseException = 503) -> None:
        for _ in range(times):
            assert not isinstance(await self.call(outcome), CircuitOpenError)

    async def refuses(self) -> CircuitOpenError | None:
        """The error of a call that is not sent."""
        before, error = self.sent, await self.call()
        assert isinstance(error, CircuitOpenError) == (self.sent == before)
        return error if isinstance(error, CircuitOpenError) else None

    @property
    def state(self) -> CircuitState:
        (state,) = self.breaker.snapshot()
        return state


# --- opening


async def test_too_many_failures_open_the_circuit() -> None:
    world = World()
    await world.fail(3)
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 3, 3, 0.0)
    await world.fail(1)
    assert world.state == CircuitState(HOST, "kimi-k2.6", "open", 0, 0, 15.0)
    world.now += 5
    error = await world.refuses()
    assert error is not None
    assert error.retry_after == 10.0
    assert not error.retryable
    assert error.request is not None
    assert error.request.body == b""
    assert "4 of 4 calls failed within 30 s, the last with InternalServerError" in str(error)
    assert "kimi-k2.6 at api.test" in str(error)
    assert "in 10.0 s at the latest" in str(error)


async def test_few_failures_among_many_calls_do_not() -> None:
    world = World(share=0.5)
    for _ in range(20):
        await world.call(200)
        await world.call(200)
        await world.call(500)
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 60, 20, 0.0)
    await world.fail(19)
    assert world.state.state == "closed"
    await world.fail(1)
    assert world.state.state == "open"


async def test_the_share_is_met_exactly() -> None:
    world = World(failures=1, share=0.5)
    for _ in range(4):
        await world.call(200)
    await world.fail(3)
    assert world.state.state == "closed"
    await world.fail(1)
    assert world.state.state == "open"


async def test_failures_of_long_ago_do_not_count() -> None:
    world = World()
    await world.fail(3)
    world.now += 26
    assert world.state.failures == 3
    world.now += 4
    assert world.state.calls == 0
    await world.fail(3)
    world.now += 50
    await world.fail(1)
    assert world.state.failures == 1
    await world.fail(2)
    assert world.state.state == "closed"
    world.now += 26
    await world.fail(1)
    assert world.state.state == "open"


async def test_the_defaults_are_the_documented_ones() -> None:
    assert repr(CircuitBreaker()) == (
        "CircuitBreaker(failures=10, share=0.5, window=30.0, open_for=15.0, open_at_most=120.0)"
    )


READ, CONNECT = APITimeoutError(clock="read"), APITimeoutError(clock="connect")


@pytest.mark.parametrize(
    "outcome", [500, 502, 503, 504, 529, APIConnectionError(), READ, CONNECT, APITimeoutError(clock="write")]
)
async def test_what_keeps_an_answer_from_coming_is_a_failure(outcome: Any) -> None:
    world = World()
    await world.fail(4, outcome)
    assert world.state.state == "open"
    assert await world.refuses() is not None


@pytest.mark.parametrize("outcome", [200, 301, 400, 401, 403, 404, 408, 429])
async def test_every_other_answer_is_one(outcome: int) -> None:
    world = World()
    await world.fail(10, outcome)
    assert (world.state.calls, world.state.failures) == (10, 0)


@pytest.mark.parametrize(
    "outcome",
    [
        asyncio.CancelledError(),
        CircuitOpenError("inner", retry_after=1.0),
        ClientClosedError(),
        StreamInterruptedError(),
        LimitReachedError("too many", limit="rpm", needed=1, allowed=0),
        ConfigurationError("no key"),
        APITimeoutError(clock="pool"),
        ValueError("of a layer"),
    ],
)
async def test_what_the_client_ends_itself_says_nothing(outcome: BaseException) -> None:
    world = World(failures=1)
    assert await world.call(outcome) is outcome
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 0, 0, 0.0)


async def test_the_clocks_of_the_call_tell_of_the_service_where_it_had_all_of_their_time() -> None:
    for clock in ("total", "deadline"):
        world = World(failures=1)
        await world.call(APITimeoutError(clock=clock), asking(attempt=2))  # type: ignore[arg-type]
        assert world.state.state == "closed"
        await world.call(APITimeoutError(clock=clock))  # type: ignore[arg-type]
        assert world.state.state == "open"


async def test_time_that_ran_out_in_a_queue_says_nothing_of_the_service() -> None:
    async def queue(request: Request, call_next: Handler) -> Response:
        raise APITimeoutError(request, clock="total")

    breaker = CircuitBreaker(failures=1)
    handler = compose([breaker, queue], exchange(World()))
    with pytest.raises(APITimeoutError):
        await handler(asking())
    assert breaker.snapshot() == (CircuitState(HOST, "kimi-k2.6", "closed", 0, 0, 0.0),)


# --- trying


async def test_one_call_is_sent_to_try_and_its_answer_closes_the_circuit() -> None:
    world = World()
    await world.fail(4)
    world.now += 15
    assert world.state.state == "half_open"
    assert world.state.retry_after == 0.0
    assert (await world.call(200)).status == 200
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 0, 0, 0.0)
    await world.fail(3)
    assert world.state.state == "closed"


@pytest.mark.parametrize("outcome", [400, 429])
async def test_an_answer_that_refuses_closes_the_circuit_too(outcome: int) -> None:
    world = World()
    await world.fail(4)
    world.now += 15
    await world.call(outcome)
    assert world.state.state == "closed"


async def test_one_thread_may_close_it_while_another_waits_to_try() -> None:
    world = World(failures=1)
    await world.fail(1)
    world.now += 15
    (circuit,) = world.breaker._circuits.values()
    lock = circuit._lock
    trying = circuit.admit(world.now)
    assert trying is not None

    class Late:
        """A lock that is free only when the other thread is through."""

        def __enter__(self) -> None:
            circuit._lock = lock
            assert circuit.answered(trying, world.now)

        def __exit__(self, *_: object) -> None: ...

    circuit._lock = Late()  # type: ignore[assignment]  # it is asked for nothing else
    assert (await world.call(200)).status == 200
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 1, 0, 0.0)


async def test_each_try_that_fails_opens_it_for_twice_as_long_up_to_two_minutes() -> None:
    world = World()
    await world.fail(4)
    waits: list[float] = []
    for _ in range(6):
        waits.append(world.state.retry_after)
        world.now += waits[-1]
        await world.fail(1)
    assert waits == [15.0, 30.0, 60.0, 120.0, 120.0, 120.0]
    error = await world.refuses()
    assert "the call that was sent to try failed with InternalServerError" in str(error)
    world.now += 120
    await world.call(200)
    await world.fail(4)
    assert world.state.retry_after == 15.0


class Held:
    """A service whose calls end when they are told to."""

    def __init__(self, world: World) -> None:
        self.calls: list[asyncio.Future[None]] = []
        self._handler = compose([world.breaker], self._send)

    async def _send(self, request: Request) -> Response:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.append(future)
        await future
        return Response(200)

    async def start(self) -> "asyncio.Task[Response]":
        task = asyncio.ensure_future(self._handler(asking()))
        await asyncio.sleep(0)
        return task


async def opened() -> tuple[World, Held]:
    """A circuit that is half open."""
    world = World()
    await world.fail(4)
    world.now += 15
    world.outcome = 200
    return world, Held(world)


async def test_one_call_at_a_time_is_sent_to_try() -> None:
    world, held = await opened()
    task = await held.start()
    world.now += 5
    error = await world.refuses()
    assert error is not None
    assert error.retry_after == 10.0
    held.calls[0].set_result(None)
    await task
    assert await world.refuses() is None


async def test_a_try_that_is_cancelled_makes_way_at_once() -> None:
    world, held = await opened()
    task = await held.start()
    assert await world.refuses() is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.state.state == "half_open"
    assert await world.refuses() is None
    assert world.state.state == "closed"


async def test_a_try_that_hangs_makes_way_in_time() -> None:
    world, held = await opened()
    tasks = [await held.start()]
    world.now += 15
    tasks.append(await held.start())
    assert len(held.calls) == 2
    assert await world.refuses() is not None
    # The one that was taken to hang is answered after all: what counts is that the service answers.
    held.calls[0].set_result(None)
    await tasks[0]
    assert world.state.state == "closed"
    held.calls[1].set_exception(APIConnectionError())
    assert isinstance(await asyncio.gather(tasks[1], return_exceptions=True), list)
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 0, 0, 0.0)


async def test_a_try_that_hung_takes_no_place_when_it_is_cancelled_later() -> None:
    world, held = await opened()
    hung = await held.start()
    world.now += 15
    trying = await held.start()
    hung.cancel()
    await asyncio.gather(hung, return_exceptions=True)
    assert await world.refuses() is not None
    held.calls[1].set_result(None)
    await trying
    assert world.state.state == "closed"


async def test_what_was_sent_before_it_opened_says_nothing_after() -> None:
    world = World()
    held = Held(world)
    late = [await held.start() for _ in range(5)]
    await world.fail(4)
    late[4].cancel()
    held.calls[0].set_result(None)
    held.calls[1].set_exception(APIConnectionError())
    await asyncio.gather(*late[:2], return_exceptions=True)
    assert world.state == CircuitState(HOST, "kimi-k2.6", "open", 0, 0, 15.0)
    world.now += 15
    await world.call(200)
    held.calls[2].set_exception(APIConnectionError())
    held.calls[3].set_result(None)
    await asyncio.gather(*late, return_exceptions=True)
    assert world.state == CircuitState(HOST, "kimi-k2.6", "closed", 0, 0, 0.0)


# --- one circuit for each host and model


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"kimi-k3","messages":[]}', "kimi-k3"),
        (b'{ "messages": [{"model": "no"}], "model": "kimi-k3" }', "kimi-k3"),
        (b'{"model":"kimi\\u002dk3"}', "kimi-k3"),
        (b'{"model":"' + b"m" * 300 + b'"}', "m" * 200),
        (b'{"model":""}', None),
        (b'{"model":5}', None),
        (b'{"model":"cut', None),
        (b'{"messages":[]}', None),
        (b'["model"]', None),
        (b"\xff\xfe", None),
        (b'{"a":"\xff"}', None),
        (b"", None),
    ],
)
async def test_the_model_is_read_from_the_body(body: bytes, model: str | None) -> None:
    world = World()
    await world.call(200, asking(body=body))
    assert world.state.model == model


async def test_a_body_that_is_made_while_it_is_sent_names_no_model() -> None:
    class Pieces:
        length = 0

    world = World()
    await world.call(200, asking(body=Pieces()))
    assert world.state.model is None


async def test_models_and_hosts_have_circuits_of_their_own() -> None:
    world = World(failures=1)
    await world.call(503, asking("a"))
    await world.call(503, asking(None))
    await world.call(503, asking("a", url="https://Other.test:8443/v1/x"))
    await world.call(200, asking("b"))
    states = {(state.host, state.model): state.state for state in world.breaker.snapshot()}
    assert states == {
        (HOST, "a"): "open",
        (HOST, None): "open",
        ("other.test:8443", "a"): "open",
        (HOST, "b"): "closed",
    }
    assert "api.test: 1 of 1" in str(await world.call(request=asking(None)))


async def test_models_without_number_take_no_memory_without_bound() -> None:
    world = World(failures=1)
    await world.call(503, asking("open"))
    for number in range(3000):
        world.now += 0.001
        await world.call(200, asking(f"model-{number}"))
        if number % 100 == 0:
            assert isinstance(await world.call(request=asking("open")), CircuitOpenError)
    states = world.breaker.snapshot()
    assert len(states) <= 1000
    assert states[-1].model == "model-2999"


# --- whom it serves


async def test_it_stands_inside_retries_and_outside_limits_of_a_client() -> None:
    order: list[str] = []

    def noting(name: str) -> Any:
        async def layer(request: Request, call_next: Handler) -> Response:
            order.append(f"{name} {request.attempt}")
            return await call_next(request)

        return layer

    async def app(request: Request) -> Response:
        return Response(503)

    breaker = CircuitBreaker(failures=2)
    client = AsyncMoonshot(
        api_key="sk-canary-01",
        transport=MemoryTransport(app),
        middleware=[noting("mine")],
        breaker=breaker,
        limits=noting("limits"),
        max_retries=5,
    )
    client._options.retry._sleep = _no_sleep
    with pytest.raises(CircuitOpenError) as caught:
        await client.chat.completions.create(**ASK)
    assert [attempt.error for attempt in caught.value.attempts] == [
        "InternalServerError 503",
        "InternalServerError 503",
    ]
    with pytest.raises(CircuitOpenError):
        await client.with_options(timeout=5).chat.completions.create(**ASK)
    assert order == ["mine 1", "limits 1", "limits 2", "mine 1"]
    assert (await _listed(client)) == "InternalServerError"
    with pytest.raises(InternalServerError):
        await client.with_options(breaker=None, max_retries=0).chat.completions.create(**ASK)


async def _listed(client: AsyncMoonshot) -> str:
    try:
        await client.with_options(max_retries=0).models.list()
    except APIError as error:
        return type(error).__name__
    raise AssertionError("it did not fail")


async def _no_sleep(seconds: float) -> None: ...


async def test_a_server_that_hangs_opens_it_and_one_that_is_back_closes_it(
    scripted: Start, client_of: Callable[..., AsyncMoonshot]
) -> None:
    now = 0.0
    breaker = CircuitBreaker(failures=3, clock=lambda: now)

    async def play(peer: Peer) -> None:
        if peer.number <= 3:
            await silent(peer)
        await peer.request()
        await peer.send(answer(COMPLETION))

    server = await scripted(play)
    client = client_of(server, breaker=breaker, max_retries=0, timeout=0.05)
    for expected in (APITimeoutError, APITimeoutError, APITimeoutError, CircuitOpenError):
        with pytest.raises(expected):
            await client.chat.completions.create(**ASK)
    assert len(server.requests) == 3
    now = 15.0
    assert (await client.chat.completions.create(**ASK, timeout=5)).choices
    assert breaker.snapshot()[0].state == "closed"


async def test_a_port_where_nobody_listens_opens_it(client_of: Callable[..., AsyncMoonshot]) -> None:
    client = client_of("http://127.0.0.1:1/v1", breaker=CircuitBreaker(failures=2), max_retries=0)
    for expected in (APIConnectionError, APIConnectionError, CircuitOpenError):
        with pytest.raises(expected):
            await client.models.list()


def test_one_breaker_serves_many_threads_and_loops() -> None:
    world = World(failures=1)

    async def busy() -> None:
        for _ in range(200):
            await world.call()

    threads = [threading.Thread(target=lambda: asyncio.run(busy())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (world.state.calls, world.state.failures) == (800, 0)

    world = World(failures=1)
    asyncio.run(world.fail(1))
    world.now += 15
    let_through: list[bool] = []
    ready = threading.Barrier(4)

    async def stuck(request: Request) -> Response:
        let_through.append(True)
        await asyncio.sleep(0.05)
        return Response(200)

    async def one() -> None:
        ready.wait()
        try:
            await world.breaker(asking(), stuck)
        except CircuitOpenError:
            pass

    threads = [threading.Thread(target=lambda: asyncio.run(one())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_through) == 1


async def test_opening_and_closing_are_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="moonshot_async")
    world = World(failures=1)
    await world.call(503)
    world.now += 15
    await world.call(200)
    await world.call(503)
    world.now += 15
    await world.call(429)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "circuit of kimi-k2.6 at api.test opened: 1 of 1 calls failed within 30 s, the last with "
            "InternalServerError",
        ),
        (logging.INFO, "circuit of kimi-k2.6 at api.test closed"),
    ] * 2


async def test_a_call_that_it_refuses_keeps_nothing_alive() -> None:
    world = World(failures=1)
    await world.call(503)

    async def refused() -> "weakref.ref[CircuitOpenError]":
        try:
            await handler(asking())
        except CircuitOpenError as error:
            return weakref.ref(error)
        raise AssertionError("it was sent")

    handler = compose([world.breaker], exchange(world))
    gc.collect()
    gc.disable()
    try:
        gone = await refused()
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "options",
    [
        {"failures": 0},
        {"failures": 1.5},
        {"failures": True},
        {"share": 0},
        {"share": 1.1},
        {"share": "half"},
        {"window": -1},
        {"window": float("nan")},
        {"open_for": float("inf")},
        {"open_for": True},
        {"open_at_most": 1.0},
        {"open_at_most": None},
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="breaker: "):
        CircuitBreaker(**options)


def test_a_clock_is_a_function() -> None:
    with pytest.raises(TypeError, match="breaker: clock must be a function, not int"):
        CircuitBreaker(clock=5)  # type: ignore[arg-type]
