import json
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot


def said(completion: Any) -> Any:
    return completion["choices"][0]["message"]


def contents(frames: list[Any]) -> list[str]:
    deltas = [choice["delta"] for frame in frames if isinstance(frame, dict) for choice in frame.get("choices", [])]
    return [delta["content"] for delta in deltas if delta.get("content")]


async def read_until_it_breaks(response: Any) -> tuple[int, type[BaseException] | None]:
    """Count the frames that came, and tell how the body ended."""
    count = 0
    try:
        while await response.body.read():
            count += 1
    except ConnectionResetError as error:
        return count, type(error)
    return count, None


async def test_a_scripted_reply_is_given_once_and_to_the_letter(fake: FakeMoonshot, ask: Any) -> None:
    fake.reply("Hello, world!")

    first, second = await ask("Hi"), await ask("Hi")

    assert said(first) == {"role": "assistant", "content": "Hello, world!"}
    assert first["choices"][0]["finish_reason"] == "stop"
    assert first["usage"]["completion_tokens"] == 4
    assert said(second)["content"] != "Hello, world!"


async def test_replies_are_taken_in_order_and_as_often_as_they_say(fake: FakeMoonshot, ask: Any) -> None:
    fake.reply("twice", times=2)
    fake.reply("always", times=None)

    assert [said(await ask())["content"] for _ in range(5)] == ["twice", "twice", "always", "always", "always"]


async def test_a_reply_may_script_reasoning_usage_and_finish_reason(fake: FakeMoonshot, ask: Any) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    fake.reply("Hel", reasoning="", finish_reason="length", usage=usage)

    completion = await ask(max_tokens=1)

    assert said(completion) == {"role": "assistant", "content": "Hel", "reasoning_content": ""}
    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["usage"] == usage


async def test_an_empty_reasoning_is_streamed_as_an_empty_field(fake: FakeMoonshot, listen: Any) -> None:
    fake.reply("Hi", reasoning="")

    frames = await listen()

    assert {"reasoning_content": ""} in [frame["choices"][0]["delta"] for frame in frames[:-1]]


async def test_a_reply_may_script_the_chunks(fake: FakeMoonshot, ask: Any, listen: Any) -> None:
    fake.reply(chunks=["Hel", "lo ", "你好"], times=2)

    assert contents(await listen()) == ["Hel", "lo ", "你好"]
    assert said(await ask())["content"] == "Hello 你好"


async def test_a_reply_may_script_tool_calls_in_both_shapes(fake: FakeMoonshot, ask: Any) -> None:
    fake.reply(
        tool_calls=[
            {"name": "get_weather", "arguments": {"city": "Oslo"}},
            {"name": "get_weather", "arguments": '{"city": ', "id": ""},
            {"name": "ping"},
            {"id": "call_1", "type": "function", "function": {"name": "a", "arguments": "{}"}},
            {"name": "$web_search", "arguments": {}},
        ]
    )

    completion = await ask()

    assert completion["choices"][0]["finish_reason"] == "tool_calls"
    assert said(completion)["content"] == ""
    calls = [
        (c["id"], c["type"], c["function"]["name"], c["function"]["arguments"]) for c in said(completion)["tool_calls"]
    ]
    assert calls == [
        ("get_weather:0", "function", "get_weather", '{"city":"Oslo"}'),
        ("", "function", "get_weather", '{"city": '),
        ("ping:2", "function", "ping", "{}"),
        ("call_1", "function", "a", "{}"),
        ("$web_search:4", "builtin_function", "$web_search", "{}"),
    ]


async def test_a_scripted_reply_fills_every_choice(fake: FakeMoonshot, ask: Any) -> None:
    legacy = FakeMoonshot(legacy_models=True)
    legacy.reply("same")

    completion = await ask(model="moonshot-v1-8k", n=2, to=legacy)

    assert [choice["message"]["content"] for choice in completion["choices"]] == ["same", "same"]


async def test_a_request_that_is_refused_leaves_the_reply_for_the_next(
    fake: FakeMoonshot, ask: Any, refused: Any
) -> None:
    fake.reply("Hello!")

    assert (await refused(model="gpt-9"))[0] == 404
    assert said(await ask())["content"] == "Hello!"


@pytest.mark.parametrize(
    ("status", "type", "expected", "words"),
    [
        (400, None, "invalid_request_error", "Invalid request"),
        (400, "content_filter", "content_filter", "considered high risk"),
        (401, None, "invalid_authentication_error", "Invalid Authentication"),
        (401, "incorrect_api_key_error", "incorrect_api_key_error", "Incorrect API key provided"),
        (403, None, "permission_denied_error", "not open"),
        (404, None, "resource_not_found_error", "not found"),
        (408, None, "request_timeout_error", "timed out"),
        (409, None, "conflict_error", "changed"),
        (413, None, "invalid_request_error", "Request exceeds the maximum size"),
        (418, None, "invalid_request_error", "error"),
        (429, None, "rate_limit_reached_error", "max RPM: 3, please try again after 1 seconds"),
        (429, "engine_overloaded_error", "engine_overloaded_error", "currently overloaded"),
        (429, "exceeded_current_quota_error", "exceeded_current_quota_error", "insufficient balance"),
        (499, None, "client_closed_request", "closed"),
        (500, None, "server_error", "error"),
        (500, "unexpected_output", "unexpected_output", "unexpected"),
        (502, "bad", "bad", "error"),
        (503, None, "server_unavailable", "unavailable"),
    ],
)
async def test_a_failure_has_the_documented_type_and_text(
    fake: FakeMoonshot, refused: Any, status: int, type: str | None, expected: str, words: str
) -> None:
    fake.fail(status, type=type)

    got, kind, message = await refused(model="kimi-k3")

    assert (got, kind) == (status, expected)
    assert words in message


async def test_a_failure_says_what_it_is_told_to(fake: FakeMoonshot, refused: Any) -> None:
    fake.fail(504, message="patience")

    assert await refused(model="kimi-k3") == (504, "server_error", "patience")


@pytest.mark.parametrize(
    ("status", "kind", "start"),
    [(502, "text/plain; charset=utf-8", b""), (529, "text/plain; charset=utf-8", b""), (504, "text/html", b"<html>")],
)
async def test_a_gateway_fails_without_json(
    fake: FakeMoonshot, send: Any, status: int, kind: str, start: bytes
) -> None:
    fake.fail(status)

    response = await send(model="kimi-k3")

    assert (response.status, response.headers["content-type"]) == (status, kind)
    body = await response.read()
    assert body.startswith(start)
    assert bool(body) == bool(start)


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        (b"\xff\x00", "text/plain; charset=utf-8", b"\xff\x00"),
        (" <p>né</p>", "text/html", " <p>né</p>".encode()),
        ({"code": 5, "error": "你好"}, "application/json; charset=utf-8", '{"code": 5, "error": "你好"}'.encode()),
    ],
)
async def test_a_failure_may_have_any_body(fake: FakeMoonshot, send: Any, body: Any, kind: str, sent: bytes) -> None:
    fake.fail(500, body=body)

    response = await send(model="kimi-k3")

    assert response.headers["content-type"] == kind
    assert await response.read() == sent


@pytest.mark.parametrize(
    ("after", "value"), [(1, "1"), (0.5, "0.5"), (86400, "86400"), (10_000_000, "10000000"), ("soon", "soon")]
)
async def test_a_failure_may_say_when_to_come_back(
    fake: FakeMoonshot, send: Any, after: float | str, value: str
) -> None:
    fake.fail(429, retry_after=after)

    assert (await send(model="kimi-k3")).headers["retry-after"] == value


async def test_a_failure_may_bring_headers_that_win(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(400, headers={"content-type": "text/odd", "Msh-Request-Id": "mine", "X-More": "1"}, body="{}")

    headers = (await send(model="kimi-k3")).headers

    assert (headers["Content-Type"], headers["msh-request-id"], headers["x-more"]) == ("text/odd", "mine", "1")


async def test_a_failure_comes_before_the_request_is_checked_but_after_the_key(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(500)

    assert (await send(headers={}, body=b"{}")).status == 401
    assert (await send(body=b"{}")).status == 500
    assert (await send(body=b"{}")).status == 400


@pytest.mark.parametrize("path", ["/v1/models", "/models/", "models"])
async def test_a_failure_may_be_meant_for_another_path(fake: FakeMoonshot, send: Any, ask: Any, path: str) -> None:
    fake.fail(503, path=path)

    assert await ask()
    assert (await send("GET", "/v1/models/")).status == 503
    assert (await send("GET", "/v1/models")).status == 200


async def test_a_path_means_itself_unless_it_ends_in_an_asterisk(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(500, path="/files")
    fake.fail(503, path="/files/*")
    fake.fail(502, path="/v1/batches/batch-1/cancel")

    async def status(method: str, path: str) -> int:
        return int((await send(method, "/v1" + path)).status)

    assert await status("GET", "/files/file-1/content") == 503
    assert [await status("GET", "/files/file-1"), await status("GET", "/files")] == [404, 500]
    assert [await status("POST", "/batches/batch-1/cancel"), await status("GET", "/files")] == [502, 200]


async def test_a_failure_may_be_meant_for_one_method(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(500, path="/files", method="post")
    fake.disconnect(path="/files", method="GET")

    with pytest.raises(ConnectionResetError):
        await send("GET", "/v1/files")
    assert (await send("GET", "/v1/files")).status == 200
    assert (await send("POST", "/v1/files")).status == 500


async def test_in_memory_a_reset_of_an_upload_is_a_disconnect(fake: FakeMoonshot, send: Any) -> None:
    fake.reset_upload(after_bytes=10)
    fake.reset_upload(path="/chat/completions")

    assert (await send("GET", "/v1/files")).status == 200
    for path in ("/v1/files", "/v1/chat/completions"):
        with pytest.raises(ConnectionResetError):
            await send("POST", path, body=b"x" * 100)
        assert (await send("POST", path)).status == 400
    assert [len(request.body) for request in fake.requests] == [0, 100, 0, 100, 0]


async def test_what_was_scripted_before_a_reset_comes_before_it(fake: FakeMoonshot, send: Any) -> None:
    fake.fail(503, path="/files")
    fake.reset_upload()

    assert (await send("POST", "/v1/files")).status == 503
    with pytest.raises(ConnectionResetError):
        await send("POST", "/v1/files")


@pytest.mark.parametrize("path", [None, "/v1/models"])
async def test_a_disconnect_gives_no_answer_at_all(fake: FakeMoonshot, send: Any, path: str | None) -> None:
    fake.disconnect(times=2, path=path)

    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await (send(model="kimi-k3") if path is None else send("GET", path))
    assert (await send(model="kimi-k3")).status == 200
    assert len(fake.requests) == 3


async def test_a_disconnect_takes_as_long_as_an_answer(send: Any) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    fake = FakeMoonshot(latency=2.0, sleep=sleep)
    fake.disconnect()

    with pytest.raises(ConnectionResetError):
        await send(model="kimi-k3", to=fake)
    assert slept == [2.0]


async def test_nobody_need_wait_for_a_disconnect(send: Any) -> None:
    async def sleep(seconds: float) -> None:
        raise TimeoutError

    fake = FakeMoonshot(latency=2.0, sleep=sleep)
    fake.disconnect()

    with pytest.raises(TimeoutError):
        await send(model="kimi-k3", to=fake)


@pytest.mark.parametrize(("clean", "end"), [(False, ConnectionResetError), (True, None)])
@pytest.mark.parametrize("after", [0, 1, 4])
async def test_a_stream_is_cut_after_so_many_chunks(
    fake: FakeMoonshot, send: Any, clean: bool, end: type[BaseException] | None, after: int
) -> None:
    fake.cut_stream(after, clean=clean)

    assert await read_until_it_breaks(await send(stream=True)) == (after, end)
    count, end = await read_until_it_breaks(await send(stream=True))
    assert count > 4
    assert end is None


async def test_a_cut_beyond_the_end_leaves_out_the_done_alone(fake: FakeMoonshot, listen: Any) -> None:
    whole = await listen()
    fake.cut_stream(10_000, clean=True)

    cut = await listen()

    assert [frame["choices"] for frame in cut] == [frame["choices"] for frame in whole[:-1]]


async def test_a_cut_stream_can_be_continued_in_partial_mode(fake: FakeMoonshot, ask: Any, listen: Any) -> None:
    whole = said(await ask("Hi"))
    fake.cut_stream(14, clean=True)

    text = "".join(contents(await listen("Hi")))
    prefix = {"role": "assistant", "content": text, "reasoning_content": whole["reasoning_content"], "partial": True}
    rest = said(await ask(messages=[{"role": "user", "content": "Hi"}, prefix]))

    assert 0 < len(text) < len(whole["content"])
    assert text + rest["content"] == whole["content"]


async def test_faults_of_streams_wait_for_a_stream(fake: FakeMoonshot, ask: Any, listen: Any) -> None:
    fake.cut_stream(1, clean=True)
    fake.reply("unary")

    assert said(await ask())["content"] == "unary"
    assert len(await listen()) == 1


async def test_an_error_may_come_inside_a_stream(fake: FakeMoonshot, listen: Any) -> None:
    fake.error_in_stream(2)
    fake.error_in_stream(0, type="odd", message="bad luck")

    first, second = await listen(), await listen()

    assert len(first) == 3
    assert first[-1] == {"error": {"type": "server_error", "message": "stream failed"}}
    assert second == [{"error": {"type": "odd", "message": "bad luck"}}]


async def test_the_script_is_read_in_order_across_kinds(fake: FakeMoonshot, send: Any) -> None:
    fake.reply("one")
    fake.fail(429)
    fake.reply("two")

    bodies = [json.loads(await (await send(model="kimi-k3")).read()) for _ in range(3)]

    assert [said(body)["content"] if "choices" in body else body["error"]["type"] for body in bodies] == [
        "one",
        "rate_limit_reached_error",
        "two",
    ]


async def test_a_body_that_is_not_json_is_no_stream(fake: FakeMoonshot, send: Any) -> None:
    fake.stall(0)
    fake.fail(500)

    assert (await send(body=b"{")).status == 500
    assert (await send(body=b"[]")).status == 400
