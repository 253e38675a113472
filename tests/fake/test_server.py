import asyncio
import io
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import aiohttp
import pytest

from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.server import FakeServer
from moonshot_async.wire import Request, Response
from tests.stalls import Stalls

KEY = {"Authorization": "Bearer sk-test"}
CHAT = {"model": "kimi-k3", "messages": [{"role": "user", "content": "Hello, fake!"}]}
STREAM = {**CHAT, "stream": True}


@pytest.fixture
async def url(fake: FakeMoonshot) -> AsyncIterator[str]:
    async with fake.serve() as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=KEY) as session:
        yield session


def raw_request(payload: Any, *headers: str) -> bytes:
    body = json.dumps(payload).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: fake", "Authorization: Bearer sk-test", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def test_the_answers_over_http_are_those_in_memory(
    url: str, session: aiohttp.ClientSession, ask: Any, listen: Any
) -> None:
    async with session.post(url + "/chat/completions", json=CHAT) as response:
        unary = await response.json()
    async with session.post(url + "/chat/completions", json=STREAM) as response:
        stream = (await response.read()).decode().split("\n\n")

    assert unary["choices"] == (await ask())["choices"]
    frames = [json.loads(frame.removeprefix("data: ")) for frame in stream[:-2]]
    assert [frame["choices"] for frame in frames] == [frame["choices"] for frame in (await listen())[:-1]]
    assert stream[-2:] == ["data: [DONE]", ""]


async def test_url_headers_and_body_reach_the_app_as_they_were_sent(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession
) -> None:
    async with session.post(url + "/nowhere/a%2Fb?q=1%202", data=b"\x00\xff", headers={"X-Odd": "né"}) as response:
        assert response.status == 404

    request = fake.last_request
    assert request.url.startswith("http://127.0.0.1:")
    assert request.url.endswith("/v1/nowhere/a%2Fb?q=1%202")
    assert (request.method, request.body) == ("POST", b"\x00\xff")
    assert request.headers["x-odd"] == "né"
    assert "X-Odd" in [name for name, _ in request.headers.multi_items()]


async def test_headers_of_the_app_reach_the_client(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession
) -> None:
    fake.fail(429, retry_after=7, headers={"Content-Length": "9999", "X-Odd": "1"})

    async with session.post(url + "/chat/completions", json=CHAT) as response:
        assert (await response.json())["error"]["type"] == "rate_limit_reached_error"

    assert (response.headers["Retry-After"], response.headers["X-Odd"]) == ("7", "1")
    assert response.headers["Msh-Request-Id"] == "fake-request-000001"
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_a_connection_is_kept_alive(url: str) -> None:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for payload, end in ((STREAM, b"0\r\n\r\n"), (CHAT, b"}}}"), (STREAM, b"0\r\n\r\n")):
            writer.write(raw_request(payload))
            assert (await reader.readuntil(end)).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_every_chunk_of_a_stream_is_sent_at_once(fake: FakeMoonshot, url: str) -> None:
    fake.stall(3)
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(raw_request(STREAM))
        for _ in range(3):
            await reader.readuntil(b"\n\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("clean", [False, True])
async def test_a_cut_stream_breaks_off_after_its_chunks(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession, clean: bool
) -> None:
    fake.cut_stream(2, clean=clean)
    received = b""

    async with session.post(url + "/chat/completions", json=STREAM) as response:
        if clean:
            received = await response.read()
        else:
            with pytest.raises(aiohttp.ClientPayloadError):
                async for piece in response.content.iter_any():
                    received += piece

    assert received.count(b"data: {") == 2


async def test_a_disconnect_closes_the_connection_without_an_answer(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession
) -> None:
    fake.disconnect()

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await session.post(url + "/chat/completions", json=CHAT)
    async with session.post(url + "/chat/completions", json=CHAT) as response:
        assert response.status == 200


@pytest.mark.parametrize("talking", [True, False])
async def test_a_client_that_goes_away_ends_its_stream(talking: bool) -> None:
    closed = asyncio.Event()

    class Body:
        begun = False

        async def read(self, deadline: float | None = None) -> bytes:
            await asyncio.sleep(3600 if self.begun and not talking else 0)
            self.begun = True
            return b"data: 1\n\n"

        def close(self) -> None:
            closed.set()

    async def app(request: Request) -> Response:
        return Response(200, {"Content-Type": "text/event-stream"}, Body())

    async with FakeServer(app) as url, aiohttp.ClientSession() as session:
        response = await session.post(url + "/chat/completions")
        await response.content.readany()
        response.close()

        await asyncio.wait_for(closed.wait(), 5)


async def test_a_reader_that_stops_reading_stops_the_stream() -> None:
    sent = 0
    idle = asyncio.Event()

    class Body:
        async def read(self, deadline: float | None = None) -> bytes:
            nonlocal sent
            sent += 1
            asyncio.get_running_loop().call_later(0.2, check, sent)
            return b"x" * 100_000

        def close(self) -> None:
            pass

    def check(then: int) -> None:
        if sent == then:
            idle.set()

    async def app(request: Request) -> Response:
        return Response(200, {"Content-Type": "text/event-stream"}, Body())

    async with FakeServer(app) as url, aiohttp.ClientSession() as session:
        async with session.post(url + "/chat/completions"):
            await asyncio.wait_for(idle.wait(), 10)
            assert sent < 200
        await asyncio.sleep(0)


async def test_a_body_beyond_the_limit_is_refused_without_being_read_to_its_end() -> None:
    fake = FakeMoonshot(max_body_bytes=1000)

    async with fake.serve() as url, aiohttp.ClientSession(headers=KEY) as session:
        async with session.post(url + "/chat/completions", data=b" " * 100_000) as response:
            assert response.status == 413
            assert (await response.json())["error"]["message"] == "Request exceeds the maximum size"
        async with session.post(url + "/chat/completions", json=CHAT) as response:
            assert response.status == 200

    assert len(fake.requests[0].body) == 1001


async def test_a_client_that_waits_for_leave_to_send_gets_it(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession
) -> None:
    async with session.post(url + "/chat/completions", json=CHAT, expect100=True) as response:
        assert response.status == 200


def large_form(size: int) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", io.BytesIO(b"0123456789abcde\n" * (size // 16)), filename="in.jsonl")
    return form


async def test_a_large_file_comes_and_goes_without_filling_the_memory(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession
) -> None:
    size = 24 * 1024 * 1024
    data = large_form(size)
    tracemalloc.start()
    try:
        async with session.post(url + "/files", data=data) as response:
            file = await response.json()
        digest, received = sha256(), 0
        async with session.get(f"{url}/files/{file['id']}/content") as response:
            async for piece in response.content.iter_any():
                digest.update(piece)
                received += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (file["bytes"], received) == (size, size)
    assert digest.digest() == sha256(b"0123456789abcde\n" * (size // 16)).digest()
    assert peak < 8 * 1024 * 1024
    posted = fake.requests[0]
    assert len(posted.body) == 64 * 1024  # type: ignore[arg-type]  # bytes in records
    assert int(posted.headers["Content-Length"]) > size


@pytest.mark.parametrize("after", [0, 100_000, 3_000_000])
async def test_an_upload_may_be_reset_while_it_is_sent(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession, after: int
) -> None:
    fake.reset_upload(after_bytes=after)

    with pytest.raises(aiohttp.ClientError):
        await session.post(url + "/files", data=large_form(16 * 1024 * 1024))
    async with session.post(url + "/files", data=large_form(1024)) as response:
        assert response.status == 200

    broken, whole = fake.requests
    length = after if after <= 1024 * 1024 else int(broken.headers["Content-Length"])
    assert length == after
    assert len(broken.body) == min(after, 64 * 1024)  # type: ignore[arg-type]  # bytes in records
    assert b"0123456789abcde" in whole.body  # type: ignore[operator]  # bytes in records


async def test_an_upload_that_is_reset_after_its_end_was_sent_as_a_whole(
    fake: FakeMoonshot, url: str, session: aiohttp.ClientSession
) -> None:
    fake.reset_upload(after_bytes=10_000)

    with pytest.raises(aiohttp.ClientError):
        await session.post(url + "/files", data=large_form(1024))

    assert b"--" in fake.last_request.body[-10:]  # type: ignore[operator,index]  # bytes in records


async def test_a_large_body_reaches_any_app_as_a_whole() -> None:
    sizes = []

    async def app(request: Request) -> Response:
        sizes.append(len(request.content))
        return Response(200)

    async with FakeServer(app, max_body_bytes=3_000_000) as url, aiohttp.ClientSession() as session:
        for size in (2_000_000, 4_000_000):
            async with session.post(url + "/anything", data=io.BytesIO(b"x" * size)):
                pass

    assert sizes == [2_000_000, 3_000_001]


async def test_a_request_without_a_host_is_told_the_servers_own(fake: FakeMoonshot, url: str) -> None:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 401")
    finally:
        writer.close()
        await writer.wait_closed()

    assert fake.last_request.url == url + "/models"


async def test_closing_ends_open_streams_quickly_and_leaves_nothing_behind(fake: FakeMoonshot, stalls: Stalls) -> None:
    fake.stall(1, times=None)
    server = fake.serve()
    url = await server.start()
    async with aiohttp.ClientSession(headers=KEY) as session:
        streams = [await session.post(url + "/chat/completions", json=STREAM) for _ in range(10)]
        for stream in streams:
            await stream.content.readany()

        start = time.monotonic()
        await server.aclose()
        late = stalls.late(start)

        for stream in streams:
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url + "/models")
    assert late < 0.5
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_server_starts_once_and_closes_once_and_may_start_again(fake: FakeMoonshot) -> None:
    server = fake.serve()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url

    url = await server.start()
    assert await server.start() == url == server.url
    await server.aclose()
    await server.aclose()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url

    assert (await server.start()).endswith("/v1")
    await server.aclose()


async def test_two_servers_share_one_fake(fake: FakeMoonshot, session: aiohttp.ClientSession) -> None:
    async with fake.serve() as one, fake.serve() as two:
        assert one != two
        for url in (one, two):
            async with session.get(url + "/models") as response:
                assert response.status == 200

    assert len(fake.requests) == 2


async def test_a_port_that_is_taken_is_an_error_that_leaves_nothing_behind(fake: FakeMoonshot, url: str) -> None:
    port = int(url.removesuffix("/v1").rsplit(":", 1)[1])

    with pytest.raises(OSError, match="address already in use"):
        await fake.serve(port=port).start()


async def test_an_ipv6_address_is_bracketed(fake: FakeMoonshot, session: aiohttp.ClientSession) -> None:
    try:
        url = await (server := fake.serve("::1")).start()
    except OSError:
        pytest.skip("this machine has no IPv6")

    async with session.get(url + "/models") as response:
        assert response.status == 200
    await server.aclose()
    assert url.startswith("http://[::1]:")
