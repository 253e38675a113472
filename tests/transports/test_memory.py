"""What only the transport in memory has: an app whose exceptions play the network."""

import asyncio

import pytest

from moonshot_async import transports
from moonshot_async.errors import APIConnectionError, StreamInterruptedError
from moonshot_async.transports import MemoryTransport
from moonshot_async.wire import Content, Request, Response

REQUEST = Request("GET", "http://memory.test/v1")


async def received(body: Content, headers: dict[str, str]) -> bytes:
    async def app(request: Request) -> Response:
        return Response(200, headers, body)

    return await (await MemoryTransport(app).send(REQUEST)).read()


@pytest.mark.parametrize("length", ["5", "3", "five", "", "-1"])
async def test_a_content_length_that_is_met_or_means_nothing_is_fine(length: str) -> None:
    assert await received([b"12", b"345"], {"Content-Length": length}) == b"12345"


async def test_a_content_length_that_is_not_met_is_a_broken_body() -> None:
    with pytest.raises(StreamInterruptedError, match="the connection ended 2 bytes before the body did"):
        await received([b"12", b"345"], {"Content-Length": "7"})


@pytest.mark.parametrize(
    ("error", "words"), [(OSError("no route"), "no route"), (ConnectionResetError(), "ConnectionResetError")]
)
async def test_an_error_of_the_system_from_the_app_is_a_failed_connection(error: OSError, words: str) -> None:
    async def app(request: Request) -> Response:
        raise error

    with pytest.raises(APIConnectionError, match=f"Connection error: {words}.") as caught:
        await MemoryTransport(app).send(REQUEST)
    assert caught.value.retryable


async def test_a_bug_in_the_app_is_not_dressed_up() -> None:
    async def app(request: Request) -> Response:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await MemoryTransport(app).send(REQUEST)


async def test_an_app_that_is_ended_may_close_the_transport_once_more() -> None:
    async def app(request: Request) -> Response:
        begun.set()
        try:
            raise await asyncio.get_running_loop().create_future()
        finally:
            await transport.aclose()

    begun = asyncio.Event()
    transport = MemoryTransport(app)
    call = asyncio.create_task(transport.send(REQUEST))
    await begun.wait()
    await transport.aclose()
    with pytest.raises(APIConnectionError, match="closed"):
        await call


def test_a_transport_may_be_closed_from_another_thread() -> None:
    async def app(request: Request) -> Response:
        await asyncio.get_running_loop().run_in_executor(None, asyncio.run, transport.aclose())
        raise await asyncio.get_running_loop().create_future()

    transport = MemoryTransport(app)
    with pytest.raises(APIConnectionError, match="closed"):
        asyncio.run(transport.send(REQUEST))


def test_transports_are_loaded_when_first_asked_for() -> None:
    assert transports.AiohttpTransport.__name__ == "AiohttpTransport"
    assert transports.MemoryTransport is MemoryTransport
    with pytest.raises(AttributeError, match="has no attribute 'CarrierPigeon'"):
        _ = transports.CarrierPigeon  # type: ignore[attr-defined]  # that it is missing is what this shows
