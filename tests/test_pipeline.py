"""The way of a request: how it is built, what the middleware sees, and what becomes of an answer."""

import asyncio
import pickle
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from moonshot_async.bounds import Bounds
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    LengthFinishReasonError,
    MoonshotError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware import Handler
from moonshot_async.pipeline import Pipeline
from moonshot_async.transports import MemoryTransport
from moonshot_async.types.chat import ChatCompletion, decode_completion
from moonshot_async.types.model import ModelDecoder
from moonshot_async.wire import Content, Headers, IteratorStream, PieceStream, Request, Response, as_stream

KEY = "sk-canary-that-nobody-may-see"
COMPLETION = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'


class Item(msgspec.Struct):
    name: str = ""


decode_item = ModelDecoder(Item)


class Service:
    """An app with one answer, and what it was asked."""

    def __init__(self, body: Content = b"{}", status: int = 200, headers: Any = ()) -> None:
        self.response = lambda: Response(status, headers, body)
        self.requests: list[Request] = []
        self.closed = 0

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        response = self.response()
        service, body = self, response.body

        class Watched:
            async def read(self, deadline: float | None = None) -> bytes:
                return await body.read(deadline)

            def close(self) -> None:
                service.closed += 1
                body.close()

        response.body = Watched()
        return response


def pipeline_of(service: Any, **options: Any) -> Pipeline:
    options = {
        "handler": exchange(MemoryTransport(service)),
        "base_url": "http://m.test/v1",
        "headers": Headers({"Authorization": f"Bearer {KEY}", "X-Default": "1"}),
        "query": {},
        "timeout": Timeout(),
    } | options
    return Pipeline(**options)


# --- building


def test_a_request_carries_everything_that_was_said() -> None:
    pipeline = pipeline_of(Service())
    before = time.monotonic()
    request = pipeline.request("POST", "/x", b"body", stream=True, extra_headers={"x-default": "2", "X-Own": "3"})
    assert (request.method, request.url, request.body, request.stream) == ("POST", "http://m.test/v1/x", b"body", True)
    assert dict(request.headers) == {"Authorization": f"Bearer {KEY}", "x-default": "2", "X-Own": "3"}
    assert request.attempt == 1
    assert request.deadline is not None
    assert before + 7200 <= request.deadline <= time.monotonic() + 7200


def test_a_header_can_be_taken_out_and_a_bad_one_is_refused() -> None:
    pipeline = pipeline_of(Service())
    assert "x-default" not in pipeline.request("GET", "/x", extra_headers={"X-Default": None}).headers
    for headers in ({"X-Bad": "a\r\nb"}, {"X Bad": "a"}, {"X-Bad": 5}):
        with pytest.raises(ConfigurationError):
            pipeline.request("GET", "/x", extra_headers=headers)  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize(
    ("timeout", "clocks"),
    [
        (msgspec.UNSET, Timeout(total=9)),
        (3, Timeout(total=3)),
        (None, Timeout.of(None)),
        (Timeout(read=2), Timeout(read=2)),
    ],
)
def test_the_timeout_of_a_call_takes_the_place_of_the_clients(timeout: Any, clocks: Timeout) -> None:
    request = pipeline_of(Service(), timeout=Timeout(total=9)).request("GET", "/x", timeout=timeout)
    assert request.timeout == clocks
    assert (request.deadline is None) is (clocks.total is None)


@pytest.mark.parametrize(
    ("path", "query", "extra", "url"),
    [
        ("/x", {}, None, "/x"),
        ("/x", {"a": 1}, None, "/x?a=1"),
        ("/x", {"a": 1}, {"b": "c d"}, "/x?a=1&b=c+d"),
        ("/x", {"a": 1}, {"a": None}, "/x"),
        ("/x", {}, {"a": msgspec.UNSET, "b": 0, "c": False, "d": [1, 2]}, "/x?b=0&c=false&d=1&d=2"),
        ("/x?y=1", {"a": "ü"}, None, "/x?y=1&a=%C3%BC"),
    ],
)
def test_queries_are_laid_over_each_other(path: str, query: Any, extra: Any, url: str) -> None:
    pipeline = pipeline_of(Service(), query=query)
    for _ in range(2):
        assert pipeline.request("GET", path, extra_query=extra).url == "http://m.test/v1" + url


def test_addresses_of_many_paths_stay_right_and_few_are_kept() -> None:
    pipeline = pipeline_of(Service(), query={"q": 1})
    for _ in range(2):
        for number in range(100):
            assert pipeline.request("GET", f"/files/{number}").url == f"http://m.test/v1/files/{number}?q=1"


# --- middleware


async def test_the_first_middleware_is_the_outermost() -> None:
    order: list[str] = []

    def layer(name: str) -> Any:
        async def middleware(request: Request, call_next: Handler) -> Response:
            order.append(f"{name} in")
            response = await call_next(request.replace(headers=request.headers.merged({f"X-{name}": "1"})))
            order.append(f"{name} out")
            return response

        return middleware

    service = Service()
    handler = compose([layer("a"), layer("b")], exchange(MemoryTransport(service)))
    response = await handler(Request("GET", "http://m.test/"))
    response.close()
    assert order == ["a in", "b in", "b out", "a out"]
    assert [name for name, _ in service.requests[0].headers.multi_items()] == ["X-a", "X-b"]


async def test_a_middleware_may_answer_by_itself_and_sees_errors_as_exceptions() -> None:
    seen: list[Exception] = []

    async def cached(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except APIStatusError as error:
            seen.append(error)
            return Response(200, body=b'{"name":"cached"}')

    service = Service(b"{}", 500)
    pipeline = pipeline_of(service, handler=compose([cached], exchange(MemoryTransport(service))))
    assert await pipeline.fetch(pipeline.request("GET", "/x"), decode_item) == Item("cached")
    assert [type(error) for error in seen] == [InternalServerError]


# --- answers


async def test_a_whole_answer_is_decoded_and_knows_its_request_id() -> None:
    service = Service(COMPLETION, headers={"Msh-Request-Id": "r1"})
    pipeline = pipeline_of(service)
    completion = await pipeline.fetch(pipeline.request("POST", "/x"), decode_completion)
    assert isinstance(completion, ChatCompletion)
    assert completion.request_id == "r1"
    assert service.closed


async def test_an_error_of_what_is_done_to_an_answer_comes_out_and_its_answer_knows_its_request_id() -> None:
    def cut(completion: ChatCompletion) -> None:
        raise LengthFinishReasonError(completion=completion)

    def broken(completion: ChatCompletion) -> None:
        raise MoonshotError("broken")

    pipeline = pipeline_of(Service(COMPLETION, headers={"Msh-Request-Id": "r1"}))
    with pytest.raises(LengthFinishReasonError) as caught:
        await pipeline.fetch(pipeline.request("POST", "/x"), decode_completion.then(cut))
    assert caught.value.completion.request_id == "r1"
    with pytest.raises(MoonshotError, match="broken"):
        await pipeline.fetch(pipeline.request("POST", "/x"), decode_completion.then(broken))


async def test_a_body_in_many_pieces_is_joined() -> None:
    service = Service([b'{"na', b"", b'me":', b'"x"}'])
    pipeline = pipeline_of(service)
    assert await pipeline.fetch(pipeline.request("GET", "/x"), decode_item) == Item("x")


async def test_an_answer_that_is_not_one_is_shown_without_key_and_prompt() -> None:
    service = Service(b"<html>")
    pipeline = pipeline_of(service)
    with pytest.raises(APIResponseValidationError) as caught:
        await pipeline.fetch(pipeline.request("POST", "/x", b"prompt"), decode_item)
    error = caught.value
    assert error.response is not None
    assert error.response.text == "<html>"
    assert error.response.request is not None
    assert error.response.request.body == b""
    assert KEY not in repr(error.response.request.headers.multi_items())
    assert KEY not in str(pickle.dumps(error))


async def test_an_answer_beyond_the_bound_is_not_kept() -> None:
    service = Service([b"x" * 1000] * 50)
    pipeline = pipeline_of(service, bounds=Bounds(max_body_bytes=10_000))
    with pytest.raises(ResponseTooLargeError, match="larger than 10000 bytes") as caught:
        await pipeline.fetch(pipeline.request("GET", "/x"), decode_item)
    assert caught.value.request is not None
    assert service.closed


async def slow(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    await asyncio.Event().wait()


async def test_a_body_that_stalls_names_the_clock_and_is_closed() -> None:
    service = Service(slow(b"{"))
    pipeline = pipeline_of(service, timeout=Timeout(read=0.03))
    with pytest.raises(APITimeoutError, match=r"read timeout of 0\.03 s ran out while the answer was arriving"):
        await pipeline.fetch(pipeline.request("GET", "/x"), decode_item)
    assert service.closed


async def test_a_body_that_breaks_off_says_so() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"{"
        raise ConnectionResetError("reset by peer")

    service = Service(broken())
    pipeline = pipeline_of(service)
    with pytest.raises(StreamInterruptedError, match="reset by peer") as caught:
        await pipeline.fetch(pipeline.request("GET", "/x"), decode_item)
    assert caught.value.request is not None
    assert caught.value.request.url == "http://m.test/v1/x"
    assert service.closed


async def test_a_caller_may_open_an_answer_and_read_it_alone() -> None:
    service = Service([b"ab", b"cd"], headers={"X-One": "1"})
    pipeline = pipeline_of(service)
    response = await pipeline.open(pipeline.request("GET", "/x"))
    with pytest.raises(RuntimeError, match="not been read yet"):
        _ = response.content
    assert await response.read() == await response.read() == response.content == b"abcd"
    assert response.text == "abcd"
    assert service.closed


# --- refusals


@pytest.mark.parametrize("status", [0, 199, 300, 304, 400, 404, 418, 500, 599])
async def test_whatever_is_not_good_is_an_exception_with_its_body_read_and_closed(status: int) -> None:
    service = Service(b'{"error":{"type":"t","message":"no"}}', status)
    pipeline = pipeline_of(service)
    with pytest.raises(APIStatusError, match="no") as caught:
        await pipeline.open(pipeline.request("GET", "/x"))
    assert caught.value.status_code == status
    assert caught.value.response.json()["error"]["type"] == "t"
    assert service.closed


@pytest.mark.parametrize("status", [200, 201, 206, 299])
async def test_whatever_is_good_travels_up_open(status: int) -> None:
    service = Service(b"x", status)
    pipeline = pipeline_of(service)
    response = await pipeline.open(pipeline.request("GET", "/x"))
    assert not service.closed
    assert await response.read() == b"x"


async def test_the_body_of_a_refusal_is_read_within_bounds() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 1000
            yield b"x" * 1000

    service = Service(endless(), 500)
    pipeline = pipeline_of(service)
    with pytest.raises(InternalServerError) as caught:
        await pipeline.open(pipeline.request("GET", "/x"))
    assert len(caught.value.response.content) == 64 * 1024
    assert sent < 100_000


async def test_a_refusal_whose_body_breaks_off_or_stalls_keeps_its_status() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half of"
        raise ConnectionResetError

    for body in (broken(), slow(b"half of")):
        service = Service(body, 400)
        pipeline = pipeline_of(service, timeout=Timeout(read=0.03))
        with pytest.raises(BadRequestError, match="half of"):
            await pipeline.open(pipeline.request("GET", "/x"))
        assert service.closed


async def test_a_refusal_that_is_being_read_can_be_cancelled() -> None:
    service = Service(slow(b"half of"), 400)
    pipeline = pipeline_of(service)
    call = asyncio.create_task(pipeline.open(pipeline.request("GET", "/x")))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert service.closed


# --- what crosses the wire


def test_headers_are_found_whatever_their_case_and_kept_in_order() -> None:
    headers = Headers([("X-One", "1"), ("x-two", "2"), ("X-ONE", "3")])
    assert headers["x-one"] == "1, 3"
    assert "X-TWO" in headers
    assert "y" not in headers
    assert 5 not in headers
    assert (headers.get("X-Two"), headers.get("y"), headers.get("y", "4")) == ("2", None, "4")
    assert [name.lower() for name in headers] == ["x-one", "x-two"]
    assert len(headers) == 2
    assert Headers(headers).multi_items() is headers.multi_items()


def test_secrets_are_hidden_wherever_headers_are_shown_or_pickled() -> None:
    headers = Headers({"Authorization": KEY, "Msh-Uid": "u1", "X-Shown": "yes"})
    request = Request("POST", "http://m.test/v1/x?a=b", headers, b'{"prompt":1}')
    shown = repr(headers) + repr(request) + str(pickle.dumps((headers, request, Response(request=request))))
    assert KEY not in shown
    assert "u1" not in shown
    assert "prompt" not in shown
    assert "yes" in repr(headers)
    again = pickle.loads(pickle.dumps(request))
    assert (again.method, again.url, again.headers["authorization"]) == ("POST", request.url, "***")


def test_a_request_can_be_looked_at_as_in_httpx() -> None:
    request = Request("POST", "http://m.test/v1/x?a=b", {"a": "b"}, b'{"c":1}')  # type: ignore[arg-type]  # made one
    assert (request.path, request.content, request.json()) == ("/v1/x", b'{"c":1}', {"c": 1})
    assert isinstance(request.headers, Headers)


async def test_a_response_can_be_looked_at_as_in_httpx_and_pickled() -> None:
    request = Request("GET", "http://m.test/v1/x")
    response = Response(201, {"a": "b"}, '{"c":1}', request=request)
    assert (response.status_code, response.url, repr(response)) == (201, request.url, "<Response [201 Created]>")
    assert Response().url is None
    unread = pickle.loads(pickle.dumps(response))
    with pytest.raises(RuntimeError):
        _ = unread.content
    await response.read()
    again = pickle.loads(pickle.dumps(response))
    assert (again.status, again.json(), again.url) == (201, {"c": 1}, request.url)
    response.close()
    await response.aclose()


async def test_reading_a_response_is_bounded_in_bytes_and_time() -> None:
    with pytest.raises(ResponseTooLargeError):
        await Response(body=[b"x" * 10] * 10).read(max_bytes=50)
    response = Response(body=slow(b"x"))
    with pytest.raises(TimeoutError):
        await response.read(deadline=time.monotonic() + 0.02)


@pytest.mark.parametrize("content", [b"", b"ab", bytearray(b"ab"), "ab", [b"a", b"", b"b"], PieceStream([b"ab"])])
async def test_a_body_may_be_given_in_any_form(content: Any) -> None:
    assert await Response(body=content).read() == (b"" if content == b"" else b"ab")


async def test_a_body_may_be_an_async_iterator_and_closing_drops_it() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"b"):
            yield piece

    body = as_stream(pieces())
    assert isinstance(body, IteratorStream)
    assert [await body.read() for _ in range(4)] == [b"a", b"b", b"", b""]
    body = as_stream(pieces())
    body.close()
    assert await body.read() == b""


async def test_errors_of_the_chain_reach_the_caller_as_they_are() -> None:
    async def refuse(request: Request) -> Response:
        raise OSError("no route to host")

    pipeline = pipeline_of(refuse)
    with pytest.raises(APIConnectionError, match="no route to host") as caught:
        await pipeline.fetch(pipeline.request("GET", "/x"), decode_item)
    assert isinstance(caught.value, APIError)
