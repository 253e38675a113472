import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from moonshot_async.catalog import CATALOG, Model
from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request

KEY = {"Authorization": "Bearer sk-test"}


async def error_of(response: Any) -> tuple[int, str, str]:
    error = json.loads(await response.read())["error"]
    assert set(error) == {"type", "message"}
    return response.status, error["type"], error["message"]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic sk-test", "sk-test", "Bearer test", "Bearer\tsk-test"]
)
async def test_a_request_without_a_well_formed_key_is_a_401(send: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    response = await send("GET", "/v1/models", headers=headers)

    assert await error_of(response) == (401, "invalid_authentication_error", "Invalid Authentication")


async def test_only_the_given_keys_are_valid(send: Any) -> None:
    fake = FakeMoonshot(api_keys=["one", "sk-two"])

    for key in ("one", "sk-two"):
        assert (await send("GET", "/v1/models", headers={"authorization": f"bearer {key}"}, to=fake)).status == 200
    response = await send("GET", "/v1/models", headers={"Authorization": "Bearer sk-three"}, to=fake)

    assert await error_of(response) == (401, "incorrect_api_key_error", "Incorrect API key provided")


@pytest.mark.parametrize("path", ["/", "", "/models", "/v1", "/v1/modelsX", "/v2/models", "/v1/chat"])
async def test_an_unknown_path_is_a_404(send: Any, path: str) -> None:
    assert await error_of(await send("GET", path)) == (
        404,
        "resource_not_found_error",
        "The requested resource was not found",
    )


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/kimi-k3", "GET"),
        ("PUT", "/v1/files", "GET, POST"),
        ("POST", "/v1/files/file-1", "DELETE, GET"),
        ("GET", "/v1/batches/batch-1/cancel", "POST"),
        ("GET", "/v1/tools/search", "POST"),
    ],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_one(
    send: Any, method: str, path: str, allowed: str
) -> None:
    response = await send(method, path)

    assert response.headers["Allow"] == allowed
    assert await error_of(response) == (405, "invalid_request_error", "Method not allowed")


async def test_the_models_are_listed_with_what_they_can_do(send: Any) -> None:
    for path in ("/v1/models", "/v1/models/", "/v1/models?x=1"):
        response = await send("GET", path)
        listed = json.loads(await response.read())

        assert listed["object"] == "list"
        assert [model["id"] for model in listed["data"]] == list(CATALOG.current_ids())
        assert listed["data"][2] == {
            "id": "kimi-k3",
            "object": "model",
            "created": 1784160000,
            "owned_by": "moonshot",
            "context_length": 1048576,
            "supports_image_in": True,
            "supports_video_in": True,
            "supports_reasoning": True,
        }


async def test_a_model_is_found_by_its_id(send: Any) -> None:
    response = await send("GET", "/v1/models/kimi%2Dk2.6/")

    assert json.loads(await response.read())["id"] == "kimi-k2.6"


async def test_a_model_that_is_not_served_is_a_404(send: Any) -> None:
    for id in ("gpt-9", "moonshot-v1-8k"):
        assert await error_of(await send("GET", f"/v1/models/{id}")) == (
            404,
            "resource_not_found_error",
            f"Not found the model {id} or Permission denied",
        )


async def test_legacy_models_are_listed_and_answer_once_they_are_asked_for(send: Any) -> None:
    fake = FakeMoonshot(legacy_models=True)

    listed = json.loads(await (await send("GET", "/v1/models", to=fake)).read())
    one = json.loads(await (await send("GET", "/v1/models/moonshot-v1-8k", to=fake)).read())
    answer = json.loads(await (await send(model="moonshot-v1-8k", temperature=0.3, to=fake)).read())

    assert {"moonshot-v1-8k", "kimi-k2.5"} < {model["id"] for model in listed["data"]}
    assert (one["context_length"], one["supports_reasoning"], one["supports_image_in"]) == (8192, False, False)
    assert "reasoning_content" not in answer["choices"][0]["message"]


async def test_a_catalog_of_ones_own_decides_which_models_there_are(send: Any) -> None:
    fake = FakeMoonshot(catalog=CATALOG.extended(models=[Model("mine", 100, 10)]))

    assert (await send(model="mine", to=fake)).status == 200


async def test_every_answer_carries_ids_and_account_headers(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(500)
    answers = [await send(model="kimi-k3"), await send(model="kimi-k3", stream=True), await send("GET", "/nowhere")]

    assert {answer.headers["msh-request-id"] for answer in answers} == {f"fake-request-00000{n}" for n in (1, 2, 3)}
    assert len({answer.headers["x-msh-trace-id"] for answer in answers}) == 3
    for answer in answers:
        assert {"msh-org-id", "msh-uid", "msh-project-id", "msh-gid"} < {name.lower() for name in answer.headers}
    assert [answer.headers["content-type"] for answer in answers] == [
        "application/json; charset=utf-8",
        "text/event-stream",
        "application/json; charset=utf-8",
    ]


async def test_a_body_beyond_the_limit_is_a_413(send: Any) -> None:
    assert FakeMoonshot().max_body_bytes == 104857600
    fake = FakeMoonshot(max_body_bytes=10)

    assert (await error_of(await send(body=b"{" + b" " * 10, to=fake)))[::2] == (
        413,
        "Request exceeds the maximum size",
    )
    assert (await send(body=b"{" + b" " * 9, to=fake)).status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\xff"', b"[" * 100_000, b'{"model": NaN}'])
async def test_a_body_that_is_not_json_is_a_400(fake: FakeMoonshot, send: Any, body: bytes) -> None:
    fake.reply("only for requests in order")

    assert await error_of(await send(body=body)) == (
        400,
        "invalid_request_error",
        "Invalid request: the body is not valid JSON",
    )


async def test_requests_are_recorded_as_they_came(fake: FakeMoonshot, send: Any) -> None:
    with pytest.raises(LookupError, match="no request"):
        _ = fake.last_request
    await send("GET", "/v1/models", headers={})
    await send(model="kimi-k2.6", temperature=1)

    assert [request.method for request in fake.requests] == ["GET", "POST"]
    assert fake.last_request.json()["model"] == "kimi-k2.6"


async def test_the_record_keeps_the_newest_requests(send: Any) -> None:
    fake = FakeMoonshot(max_recorded=2)
    for name in "abc":
        await send("GET", f"/{name}", to=fake)

    assert [request.path for request in fake.requests] == ["/b", "/c"]


async def test_of_a_large_body_the_record_keeps_the_beginning_and_the_length(fake: FakeMoonshot, send: Any) -> None:
    for size in (1024 * 1024, 1024 * 1024 + 1):
        await send("POST", "/nowhere", body=b"x" * size)

    whole, large = fake.requests
    assert (len(whole.body), "Content-Length" in whole.headers) == (1024 * 1024, False)  # type: ignore[arg-type]  # bytes
    assert (len(large.body), large.headers["Content-Length"]) == (64 * 1024, str(1024 * 1024 + 1))  # type: ignore[arg-type]  # bytes


async def test_a_body_that_is_made_while_it_is_sent_is_read_first(fake: FakeMoonshot) -> None:
    class Made:
        length = 4

        async def pieces(self) -> AsyncIterator[bytes]:
            yield b"{"
            yield b"[]}"

    response = await fake(Request("POST", "http://fake.test/v1/chat/completions", KEY, Made()))

    assert response.status == 400
    assert fake.last_request.body == b"{[]}"


async def test_the_clock_may_be_put_forward_but_not_back(fake: FakeMoonshot, ask: Any) -> None:
    assert (await ask())["created"] == 1794200000
    fake.advance(0.05)
    fake.advance(3600.05)
    assert (await ask())["created"] == 1794203601
    with pytest.raises(ValueError, match="time only goes forward"):
        fake.advance(-1)
    fake.reset()
    assert (await ask())["created"] == 1794203601


async def test_reset_forgets_script_and_records(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(500, times=None)
    await send(model="kimi-k3")
    assert repr(fake) == "<FakeMoonshot: 1 requests recorded, 1 outcomes scripted>"

    fake.reset()

    assert fake.requests == []
    assert (await send(model="kimi-k3")).status == 200
    assert repr(fake) == "<FakeMoonshot: 1 requests recorded, 0 outcomes scripted>"


async def test_latency_is_slept_before_the_head_and_between_chunks(send: Any) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    fake = FakeMoonshot(latency=2.0, sleep=sleep)
    response = await send(stream=True, to=fake)
    assert slept == [2.0]

    await response.body.read()
    assert slept == [2.0]
    fake.chunk_latency = 0.5
    await response.body.read()
    assert slept == [2.0, 0.5]


async def test_latency_is_real_time_unless_a_sleep_is_given(send: Any) -> None:
    fake = FakeMoonshot(latency=3600.0)

    with anyio.move_on_after(0) as scope:
        await send(model="kimi-k3", to=fake)

    assert scope.cancelled_caught


async def test_concurrent_requests_take_the_script_in_their_order(send: Any) -> None:
    gate = anyio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()

    fake = FakeMoonshot(latency=1.0, sleep=sleep)
    fake.reply("first")
    fake.reply("second")
    answers: dict[str, str] = {}

    async def one(name: str) -> None:
        response = await send(model="kimi-k3", to=fake)
        answers[name] = json.loads(await response.read())["choices"][0]["message"]["content"]

    async with anyio.create_task_group() as group:
        group.start_soon(one, "a")
        await anyio.lowlevel.checkpoint()
        group.start_soon(one, "b")
        await anyio.lowlevel.checkpoint()
        gate.set()

    assert answers == {"a": "first", "b": "second"}


async def test_a_response_knows_its_request(fake: FakeMoonshot) -> None:
    request = Request("GET", "http://fake.test/v1/models", {"Authorization": "Bearer sk-test"})

    assert (await fake(request)).request is request


def test_importing_the_fake_loads_no_http_library_and_no_event_loop() -> None:
    program = "import sys, moonshot_async.fake; print(sorted({'aiohttp', 'asyncio', 'anyio'} & set(sys.modules)))"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
