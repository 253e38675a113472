"""The requests that one answer takes: what they send, cost and leave, and what comes of those that fail."""

import asyncio
import copy
import gc
import json
import pickle
import weakref
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from moonshot_async import AsyncMoonshot, ChatCompletionStreamState, Request, Response, Retry, Timeout
from moonshot_async.chat_stream import Backoff, ChatStream
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    InternalServerError,
    LengthFinishReasonError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.structured import function_tool
from moonshot_async.types.chat import decode_chunk
from tests.cut_service import (
    ASK,
    CALL,
    HI,
    KEY,
    PLACE,
    TEXT,
    TWO,
    USAGE,
    Broken,
    Model,
    client_of,
    delta,
    end,
    frame,
    heard_of,
    no_sleep,
    prefix_in,
)


class Point(msgspec.Struct):
    x: int


# The request for the rest.


@pytest.mark.parametrize("resume", [{"resume": 3}, {"continue_on_length": 3}])
@pytest.mark.parametrize(
    ("status", "name", "retries"), [(500, "InternalServerError", 1), (400, "BadRequestError", 1), (0, "APIConn", 1)]
)
async def test_where_the_rest_is_refused_the_error_holds_what_came(
    resume: dict[str, int], status: int, name: str, retries: int
) -> None:
    async def app(request: Request) -> Response:
        requests.append(request)
        if len(requests) == 1:
            ended = end("length") if "continue_on_length" in resume else delta(content="!")
            return Response(200, {}, b"".join(map(frame, [delta(content="Grey"), ended])))
        if not status:
            raise ConnectionRefusedError("no")
        return Response(status, {}, b'{"error":{"message":"not now"}}')

    requests: list[Request] = []
    async with client_of(app, middleware=[Retry(retries, sleep=no_sleep)]) as client:
        with pytest.raises(StreamInterruptedError, match=f"The request for the rest failed: {name}") as caught:
            await heard_of(client, **resume)

    error = caught.value
    assert error.message.startswith("The stream broke off: it" if "resume" in resume else "The answer was cut by its")
    assert error.partial is not None
    assert (error.partial.choices[0].message.content or "").startswith("Grey")
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None
    assert error.__context__ is None
    assert len(error.attempts) == len(requests) - 1 == (1 if status == 400 else 2)
    assert copy.copy(error).partial == error.partial


async def test_a_request_for_the_rest_that_comes_too_late_is_a_timeout() -> None:
    async def app(request: Request) -> Response:
        if prefix_in(request):
            await asyncio.sleep(30)
        return Response(200, {}, frame(delta(content="a")))

    async with client_of(app) as client:
        with client.deadline(0.05), pytest.raises(APITimeoutError) as caught:
            await heard_of(client, resume=1)
        assert caught.value.clock in ("total", "deadline")
        assert caught.value.partial is not None

        with pytest.raises(StreamInterruptedError, match="The request for the rest failed: APITimeoutError") as broken:
            await heard_of(client, resume=1, timeout=Timeout(read=0.02))
        assert broken.value.partial is not None


async def test_a_deadline_around_the_reading_bounds_the_request_for_the_rest() -> None:
    cases = [(100, "earlier", 200), (100, "earlier", PLACE), (None, "set", PLACE), (10, "kept", 200)]
    for timeout, expected, place in cases:
        model = Model((place, "clean"))
        async with (
            client_of(model) as client,
            client.chat.completions.stream(**ASK, resume=1, timeout=timeout) as stream,
        ):
            with client.deadline(50):
                await stream.until_done()
        first, second = (request.deadline for request in model.requests)
        assert second is not None
        assert expected == ("set" if first is None else "kept" if first == second else "earlier")
        assert first is None or second <= first


async def test_waits_grow_are_drawn_and_end_by_the_deadline() -> None:
    slept, bounds = [], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    now = 1000.0
    backoff = Backoff(initial=1, maximum=6, sleep=sleep, uniform=uniform, clock=lambda: now)
    for attempt in (1, 2, 3, 4, 5, 10_000):
        await backoff.wait(attempt, None)
    assert bounds == [(0.0, 1), (0.0, 2), (0.0, 4), (0.0, 6), (0.0, 6)]
    assert slept == [1, 2, 4, 6, 6]
    slept.clear()
    await backoff.wait(5, 1002.5)
    await backoff.wait(5, 999.0)
    assert slept == [2.5]


async def test_it_waits_before_it_resumes_again_but_not_after_an_end_with_length() -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def app(request: Request) -> Response:
        prefix = prefix_in(request)
        said = len(prefix["content"]) if prefix else 0
        ended = [end("length")] if said in (3, 5) else [end()] if said == 8 else []
        return Response(200, {}, b"".join(map(frame, [delta(content="x"), *ended])))

    async with client_of(app) as client:
        manager = client.chat.completions.stream(**ASK, resume=10, continue_on_length=5)
        manager.backoff = Backoff(sleep=sleep, uniform=lambda low, high: high)
        async with manager as stream:
            hows = [event.how async for event in stream if event.type == "stream.resumed"]

    assert hows == ["continued"] * 3 + ["length", "continued", "length", "continued", "continued"]
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0]


# Usage and cost.


async def test_the_usage_of_all_requests_is_summed_and_what_is_missing_is_told() -> None:
    async def app(request: Request) -> Response:
        prefix = prefix_in(request)
        said = len(prefix["content"]) if prefix else 0
        chunks = {
            0: [delta(content="a"), {"choices": [], "usage": USAGE}],
            1: [delta(content="b")],
            2: [delta(content="c"), end("stop", usage=USAGE), {"choices": [], "usage": USAGE}],
        }[said]
        return Response(200, {}, b"".join(frame({**one, "model": "kimi-k3"}) for one in chunks))

    async with client_of(app) as client, client.chat.completions.stream(**ASK, resume=3) as stream:
        assert (stream.segments, stream.uncounted_segments) == (1, 0)
        events = [event async for event in stream if event.type in ("usage", "stream.resumed")]
        completion = await stream.get_final_completion()
        assert (stream.segments, stream.uncounted_segments) == (3, 1)

    assert completion.usage is not None
    assert (completion.usage.total_tokens, completion.usage.prompt_tokens) == (32, 18)
    told = [event.usage.total_tokens if event.usage else None for event in events]
    assert told == [16, 16, None, 32, 32]
    single = completion.model_copy()
    single.usage = events[0].usage
    assert client.cost(completion) == 2 * client.cost(single)


async def test_a_request_whose_usage_is_not_known_is_in_no_sum() -> None:
    async with client_of(Model((PLACE, "clean"), usage=False)) as client:
        async with client.chat.completions.stream(**ASK, resume=1) as stream:
            completion = await stream.get_final_completion()
            assert (stream.segments, stream.uncounted_segments) == (2, 2)

        assert completion.usage is None
        with pytest.raises(ConfigurationError, match="the answer has no usage"):
            client.cost(completion)


async def test_what_a_turn_that_began_anew_has_cost_is_counted() -> None:
    chunks = [
        [delta(reasoning_content="a"), {"choices": [], "usage": USAGE}],
        [delta(content="b"), end(usage=USAGE)],
    ]

    async def app(request: Request) -> Response:
        return Response(200, {}, b"".join(map(frame, chunks.pop(0))))

    async with client_of(app) as client:
        heard, completion = await heard_of(client, resume=1)

    assert heard.hows == ["restarted"]
    assert completion.usage.total_tokens == 32


# Log probabilities.


def scored(text: str, *, scores: bool = True) -> dict[str, Any]:
    logprobs = {"content": [{"token": text, "logprob": -1.0}]} if scores else None
    return {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs}]}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (([scored("a")], [scored("b")]), ["a", "b"]),
        (([scored("a")], [scored("b", scores=False)]), None),
        (([scored("a", scores=False)], [scored("b")]), None),
        (([scored("a")], [scored("b", scores=False)], [scored("c")]), None),
        (([scored("a")], [delta(content="")], [scored("c")]), ["a", "c"]),
        (([scored("a", scores=False)], [scored("b", scores=False)]), None),
        (([delta(content="")], [scored("b"), delta(content="c")]), ["b"]),
        (([{"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}]}],), []),
    ],
)
async def test_probabilities_are_those_of_all_parts_or_none(parts: Any, expected: list[str] | None) -> None:
    left = list(parts)

    async def app(request: Request) -> Response:
        chunks = left.pop(0)
        return Response(200, {}, b"".join(map(frame, chunks if left else [*chunks, end()])))

    async with client_of(app) as client:
        manager = client.chat.completions.stream(**ASK, resume=5, logprobs=True)
        manager.backoff = Backoff(sleep=no_sleep)
        async with manager as stream:
            done = [event async for event in stream if event.type == "logprobs.content.done"]
            completion = await stream.get_final_completion()

    logprobs = completion.choices[0].logprobs
    assert (logprobs and [entry.token for entry in logprobs.content or []]) == expected
    assert [[entry.token for entry in event.content] for event in done] == ([expected] if expected else [])


# Ends with `length`.


async def test_an_answer_that_ends_with_length_goes_on() -> None:
    fake = FakeMoonshot()
    question: list[Any] = [{"role": "user", "content": "Write some lines about grey roofs."}]
    asked: dict[str, Any] = {"model": "kimi-k2.6", "messages": question, "thinking": {"type": "disabled"}}
    async with client_of(fake) as client:
        whole = await client.chat.completions.create(**asked)
        heard, completion = await heard_of(client, **asked, max_completion_tokens=9, continue_on_length=50)
        short, cut = await heard_of(client, **asked, max_completion_tokens=9, continue_on_length=1)

    assert heard.text == completion.choices[0].message.content == whole.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert heard.done == ["content.done"]
    assert len(heard.resumed) > 3
    assert set(heard.hows) == {"length"}
    assert {event.reason for event in heard.resumed} == {"length"}
    assert [event.attempt for event in heard.resumed] == list(range(1, len(heard.resumed) + 1))
    assert heard.resumed[0].usage.completion_tokens == 9
    assert completion.usage.completion_tokens == sum(event.usage.completion_tokens for event in heard.resumed) + (
        completion.usage.completion_tokens - 9 * len(heard.resumed)
    )
    assert cut.choices[0].finish_reason == "length"
    assert short.text == cut.choices[0].message.content
    assert short.done == ["content.done"]
    assert cut.usage.completion_tokens == 18


@pytest.mark.parametrize(
    ("asked", "chunks"),
    [
        ({}, [delta(reasoning_content="Hm")]),
        ({}, [delta(content="a"), delta(tool_calls=[CALL])]),
        ({}, [delta(function_call={"name": "f"})]),
        ({}, [delta(content="a", refusal="N")]),
        ({"response_format": {"type": "json_object"}}, [delta(content="{")]),
        ({"n": 2}, [TWO, end("length"), {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}]),
    ],
)
async def test_other_answers_end_with_length_as_ever(asked: dict[str, Any], chunks: list[dict[str, Any]]) -> None:
    requests = []

    async def app(request: Request) -> Response:
        requests.append(request)
        return Response(200, {}, b"".join(map(frame, [*chunks, end("length")])))

    asked = {**ASK, **asked, "continue_on_length": 3, "resume": 1}
    async with client_of(app) as client, client.chat.completions.stream(**asked) as stream:
        completion = await stream.get_final_completion()

    assert completion.choices[0].finish_reason == "length"
    assert len(requests) == 1


async def test_an_answer_that_does_not_grow_is_not_asked_for_more() -> None:
    requests = []

    async def app(request: Request) -> Response:
        requests.append(request)
        said = delta(content="a") if len(requests) == 1 else delta(reasoning_content="Hm")
        return Response(200, {}, b"".join(map(frame, [said, end("length")])))

    async with client_of(app) as client:
        _, completion = await heard_of(client, continue_on_length=5)

    assert completion.choices[0].finish_reason == "length"
    assert len(requests) == 2


async def test_something_to_be_parsed_is_no_hindrance_while_there_is_text_only() -> None:
    tool = function_tool(Point)

    async def app(request: Request) -> Response:
        said = delta(content="a") if not prefix_in(request) else delta(content="b")
        return Response(200, {}, b"".join(map(frame, [said, end("length")])))

    async with client_of(app) as client:
        with pytest.raises(LengthFinishReasonError) as caught:
            await heard_of(client, continue_on_length=1, tools=[tool])

    assert caught.value.completion.choices[0].message.content == "ab"


async def test_a_cut_after_the_end_with_length_and_one_in_the_rest_are_mended() -> None:
    async def app(request: Request) -> Response:
        said = (prefix_in(request) or {"content": ""})["content"]
        chunks = {
            "": [delta(content="a"), end("length"), end("length"), end("")],
            "a": [delta(content="b")],
            "ab": [delta(content="c"), end("length", usage=USAGE)],
            "abc": [delta(content="d"), end()],
        }[said]
        return Response(200, {}, Broken(b"".join(map(frame, chunks)), "reset" if said != "abc" else "clean"))

    async with client_of(app) as client:
        heard, completion = await heard_of(client, resume=3, continue_on_length=3)
        assert heard.hows == ["length", "continued", "length"]
        assert (heard.text, heard.done) == ("abcd", ["content.done"])
        assert completion.choices[0].finish_reason == "stop"

        with pytest.raises(StreamInterruptedError, match=r"the peer reset the connection\.$") as caught:
            await heard_of(client, continue_on_length=3)
        assert caught.value.partial is not None
        assert caught.value.partial.choices[0].finish_reason == "length"


# Closing.


@pytest.mark.parametrize("name", ["aclose", "close"])
@pytest.mark.parametrize("resumed", [False, True])
async def test_what_was_closed_is_not_resumed(name: str, resumed: bool) -> None:
    async def unwanted(_: float) -> None:
        raise AssertionError("there is nothing to wait for")

    model = Model((PLACE, "clean"), (PLACE, "clean"))
    async with client_of(model) as client:
        manager = client.chat.completions.stream(**ASK, resume=3)
        manager.backoff = Backoff(sleep=unwanted, uniform=lambda low, high: high)
        async with manager as stream:
            # Of the chunk that comes next there is more than one event.
            async for event in stream:
                if event.type == ("stream.resumed" if resumed else "chunk"):
                    break
            await getattr(stream, name)()
            for read in (stream.__anext__, stream.until_done, stream.get_final_completion):
                with pytest.raises(StreamInterruptedError, match="closed before its end"):
                    await read()

    assert len(model.requests) == 1 + resumed


async def test_what_was_cancelled_while_it_was_read_is_not_resumed() -> None:
    requests = []

    async def endless() -> AsyncIterator[bytes]:
        yield frame(delta(content="a"))
        await asyncio.sleep(30)

    async def app(request: Request) -> Response:
        requests.append(request)
        return Response(200, {}, endless())

    async with client_of(app) as client, client.chat.completions.stream(**ASK, resume=3) as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.until_done()
        for _ in range(2):
            with pytest.raises(StreamInterruptedError, match="closed before its end") as caught:
                await stream.until_done()

    assert caught.value.partial is not None
    assert len(requests) == 1


async def test_what_was_closed_after_its_end_is_whole() -> None:
    async with client_of(Model((PLACE, "clean"))) as client:
        async with client.chat.completions.stream(**ASK, resume=1) as stream:
            first = await stream.get_final_completion()
            await stream.aclose()
            assert await stream.get_final_completion() == first
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_an_answer_that_is_closed_before_it_goes_on_does_not() -> None:
    frames = b"".join(map(frame, [delta(content="a"), end("length", usage=USAGE)])) + frame("[DONE]")
    requests = []

    async def app(request: Request) -> Response:
        requests.append(request)
        return Response(200, {}, frames)

    async with client_of(app) as client, client.chat.completions.stream(**ASK, continue_on_length=1) as stream:
        async for event in stream:
            if event.type == "usage":
                stream._segments.stream._source.done = True
                await stream.aclose()
                break
        with pytest.raises(StreamInterruptedError, match="closed before its end") as caught:
            await stream.get_final_completion()

    assert caught.value.partial is not None
    assert len(requests) == 1


@pytest.mark.parametrize("where", ["sleep", "request"])
async def test_closing_while_it_is_resumed_ends_it(where: str) -> None:
    streams: list[ChatStream[Any]] = []
    bodies: list[Broken] = []

    async def close(*_: object) -> None:
        await streams[0].aclose()

    async def app(request: Request) -> Response:
        if bodies and where == "request":
            await close()
        bodies.append(Broken(frame(delta(content="a")), "reset"))
        return Response(200, {}, bodies[-1])

    async with client_of(app) as client:
        manager = client.chat.completions.stream(**ASK, resume=3)
        manager.backoff = Backoff(sleep=close, uniform=lambda low, high: high)
        async with manager as stream:
            streams.append(stream)
            with pytest.raises(StreamInterruptedError, match="closed before its end") as caught:
                await stream.until_done()
            with pytest.raises(StreamInterruptedError, match="closed before its end"):
                await anext(stream)

    assert caught.value.partial is not None
    assert len(bodies) == 2
    assert not bodies[-1].pieces


async def test_an_answer_whose_rest_was_waited_for_in_vain_does_not_look_whole() -> None:
    stuck = asyncio.Event()

    async def app(request: Request) -> Response:
        if prefix_in(request):
            stuck.set()
            await asyncio.sleep(30)
        return Response(200, {}, b"".join(map(frame, [delta(content="a"), end("length")])))

    async with client_of(app) as client, client.chat.completions.stream(**ASK, continue_on_length=1) as stream:
        task = asyncio.ensure_future(stream.get_final_completion())
        await stuck.wait()
        with pytest.raises(RuntimeError, match="already running"):
            await anext(stream)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(2):
            with pytest.raises(StreamInterruptedError, match="not resumed") as caught:
                await stream.get_final_completion()

    assert caught.value.partial is not None


async def test_a_closed_client_resumes_nothing() -> None:
    model = Model((PLACE, "reset"))
    async with client_of(model) as client, client.chat.completions.stream(**ASK, resume=3) as stream:
        await anext(stream)
        await client.aclose()
        with pytest.raises(APIConnectionError, match="the client was closed"):
            await stream.until_done()

    assert len(model.requests) == 1


async def test_a_fault_of_a_users_layer_is_raised_as_it_is() -> None:
    async def layer(request: Request, call_next: Any) -> Response:
        if prefix_in(request):
            raise ZeroDivisionError
        response: Response = await call_next(request)
        return response

    app = Model((PLACE, "reset"))
    async with client_of(app, middleware=[layer]) as client, client.chat.completions.stream(**ASK, resume=3) as stream:
        with pytest.raises(ZeroDivisionError):
            await stream.until_done()
        with pytest.raises(StreamInterruptedError, match="not resumed"):
            await stream.get_final_completion()


@pytest.mark.parametrize("how", ["reset", "garbage", None])
async def test_what_was_resumed_keeps_nothing_alive(how: str | None) -> None:
    async def read(client: AsyncMoonshot) -> list["weakref.ref[object]"]:
        async with client.chat.completions.stream(**ASK, resume=1) as stream:
            gone: list[weakref.ref[object]] = [weakref.ref(stream), weakref.ref(stream._segments)]
            try:
                await stream.until_done()
            except APIError as error:
                gone.append(weakref.ref(error))
            return gone

    # One is cut behind its end, and whole.
    faults = [(PLACE, "reset"), (130, how)] if how else [(len(Model().body()) - 5, "reset")]
    gc.disable()
    try:
        async with client_of(Model(*faults)) as client:
            gone = await read(client)
            await asyncio.sleep(0)
            assert [one() for one in gone] == [None, None] + [None] * bool(how)
    finally:
        gc.enable()


async def test_it_can_be_opened_twice() -> None:
    model = Model((PLACE, "reset"))
    async with client_of(model) as client:
        manager = client.chat.completions.stream(**ASK, resume=1)
        for _ in range(2):
            async with manager as stream:
                completion = await stream.get_final_completion()
                assert completion.choices[0].message.content == TEXT

    assert len(model.requests) == 3


# What is asked for.


@pytest.mark.parametrize("name", ["resume", "continue_on_length"])
async def test_numbers_that_make_no_sense_are_refused_before_anything_is_sent(name: str) -> None:
    model = Model()
    async with client_of(model) as client:
        stream: Any = client.chat.completions.stream
        for wrong in (True, "3", 1.0, None, (1,)):
            with pytest.raises(TypeError, match=f"{name} must be a whole number, not {type(wrong).__name__}"):
                stream(**ASK, **{name: wrong})
        with pytest.raises(ConfigurationError, match=f"{name} must be 0 or more, not -1"):
            stream(**ASK, **{name: -1})
        with pytest.raises(ConfigurationError, match=f"{name} must be 0 or more"):
            stream(**ASK, **{name: -1}, n=2)

    assert not model.requests


async def test_nothing_of_the_prompt_is_told() -> None:
    async def app(request: Request) -> Response:
        if prefix_in(request):
            return Response(500, {}, b'{"error":{"message":"%s failed"}}' % KEY.encode())
        return Response(200, {}, frame(delta(content="a")))

    async with (
        client_of(app) as client,
        client.chat.completions.stream(**ASK, resume=1) as stream,
    ):
        with pytest.raises(StreamInterruptedError) as caught:
            await stream.until_done()

    cause = caught.value.__cause__
    assert isinstance(cause, InternalServerError)
    told = repr((caught.value, vars(caught.value), vars(cause))) + str(pickle.dumps(caught.value))
    assert HI[0]["content"] not in told
    assert KEY not in told


def test_a_state_goes_on_with_chunks_from_anywhere() -> None:
    state = ChatCompletionStreamState()
    assert not state.begun
    state.handle_chunk(decode_chunk(json.dumps(delta(content="a")).encode()))
    state.handle_chunk(decode_chunk(json.dumps(end("length", usage=USAGE)).encode()))
    assert (state.begun, state.finished, state.held) == (True, True, False)

    state.go_on()
    assert (state.begun, state.finished, state.request_usage) == (False, False, None)
    assert state.current_completion_snapshot.choices[0].finish_reason is None
    state.handle_chunk(decode_chunk(json.dumps(delta(content="b")).encode()))
    state.handle_chunk(decode_chunk(json.dumps(end()).encode()))

    completion = state.get_final_completion()
    assert completion.choices[0].message.content == "ab"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 16
