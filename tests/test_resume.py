"""Streams that are cut, and mended with another request: to its reader the answer is one."""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonshot_async import Request, Response, Retry, Timeout
from moonshot_async.chat_stream import Backoff
from moonshot_async.chat_stream.resume import is_cut
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    CircuitOpenError,
    ClientClosedError,
    MoonshotError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from tests.conftest import open_sockets
from tests.cut_service import (
    ASK,
    CALL,
    HI,
    LASTING,
    PASSING,
    PLACE,
    TEXT,
    THOUGHTS,
    TWO,
    Broken,
    Heard,
    Model,
    client_of,
    delta,
    end,
    frame,
    heard_of,
    is_whole,
    no_sleep,
    prefix_in,
)
from tests.scripted import LAST_CHUNK, SSE_HEAD, Peer, Start, chunk
from tests.stalls import Stalls

# Cuts.


@pytest.mark.parametrize(("how", "ascii"), [("clean", True), ("reset", False)])
async def test_a_stream_that_is_cut_at_any_byte_gives_the_whole_answer(how: str, ascii: bool) -> None:
    model = Model(ascii=ascii)
    hows = set()
    async with client_of(model) as client:
        for place in range(len(model.body())):
            model.faults, model.requests = [(place, how)], []
            heard, completion = await heard_of(client, resume=1)
            assert is_whole(heard, completion), place
            hows.add(tuple(heard.hows))
            assert len(model.requests) == 1 + len(heard.hows)

    assert hows == {("restarted",), ("continued",), ()}, "after its end nothing is asked for again"


@pytest.mark.parametrize("how", PASSING)
async def test_three_cuts_in_one_answer_are_mended(how: str) -> None:
    model = Model((200, how), (PLACE, how), (130, how))
    async with client_of(model) as client:
        heard, completion = await heard_of(client, resume=3)

    assert is_whole(heard, completion)
    assert heard.hows == ["restarted", "continued", "continued"]
    assert [(event.attempt, event.attempts) for event in heard.resumed] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("clean", "StreamInterruptedError: The stream broke off: it ended before the answer was complete."),
        ("reset", "StreamInterruptedError: "),
        ("stall", "APITimeoutError: "),
        ("overload", "APIError: The engine is currently overloaded"),
    ],
)
async def test_an_event_tells_why_and_how_the_answer_goes_on(how: str, reason: str) -> None:
    async with client_of(Model((PLACE, how))) as client:
        heard, _ = await heard_of(client, resume=2)

    (event,) = heard.resumed
    assert event.reason.startswith(reason)
    assert (event.how, event.attempt, event.attempts, event.usage) == ("continued", 1, 2, None)
    assert event.text_chars > event.reasoning_chars > 0
    assert repr(event) == f"StreamResumedEvent('continued', {event.reason!r}, attempt=1 of 2)"


async def test_the_request_is_the_same_but_for_the_last_message() -> None:
    model = Model((PLACE, "clean"))
    asked: dict[str, Any] = {
        "temperature": 0.25,
        "extra_headers": {"x-a": "b"},
        "extra_query": {"q": "1"},
        "extra_body": {"future": [1e300, 12345678901234567890123, {"b": 1, "a": None}]},
        "timeout": Timeout(total=50, idle=3),
        "priority": 3,
    }
    async with client_of(model) as client:
        heard, _ = await heard_of(client, resume=1, **asked)

    first, second = model.requests
    assert heard.hows == ["continued"]
    for name in ("method", "url", "headers", "timeout", "deadline", "started", "stream", "priority"):
        assert getattr(first, name) == getattr(second, name), name
    same = first.content.partition(b'"messages":[')
    assert second.content.startswith(same[0] + same[1] + same[2].partition(b"]")[0])
    assert second.content.endswith(same[2].partition(b"]")[2])
    assert second.json()["messages"][1:] == [
        {
            "role": "assistant",
            "content": TEXT[: heard.resumed[0].text_chars],
            "reasoning_content": "Hm.\n 思",
            "partial": True,
        }
    ]


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ({"content": "Grey "}, {"content": "Grey Gru"}),
        ({"content": None, "name": "Poet"}, {"content": "Gru", "name": "Poet"}),
        ({"content": [{"type": "text", "text": "Grey "}]}, {"content": [{"type": "text", "text": "Grey Gru"}]}),
        ({"content": []}, {"content": [{"type": "text", "text": "Gru"}]}),
        (
            {"content": [{"type": "image_url", "image_url": {"url": "ms://x"}}]},
            {"content": [{"type": "image_url", "image_url": {"url": "ms://x"}}, {"type": "text", "text": "Gru"}]},
        ),
        ({"content": "", "reasoning_content": "Rain."}, {"content": "Gru", "reasoning_content": "Rain.Hm."}),
    ],
)
async def test_a_prefix_of_the_callers_own_grows(begun: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = []

    async def app(request: Request) -> Response:
        sent.append(request.json()["messages"])
        thought = [delta(reasoning_content="Hm.")] if "reasoning_content" in begun else []
        frames = [*thought, delta(content="Gr"), delta(content="u")] if len(sent) == 1 else [delta(content="en"), end()]
        return Response(200, {}, b"".join(map(frame, frames)))

    mine = {"role": "assistant", "partial": True, **begun}
    async with client_of(app) as client:
        heard, completion = await heard_of(client, resume=1, messages=[*HI, mine])

    assert heard.text == completion.choices[0].message.content == "Gruen"
    assert sent == [[*HI, mine], [*HI, {**mine, **expected}]]


async def test_messages_may_come_from_anywhere() -> None:
    for messages, extra_body in ((iter(HI), None), ([], {"messages": tuple(HI)}), ([], {}), (["odd"], {})):
        sent: list[Any] = []

        async def app(request: Request, sent: list[Any] = sent) -> Response:
            sent.append(request.json()["messages"])
            frames = [delta(content="a")] if len(sent) == 1 else [delta(content="b"), end()]
            return Response(200, {}, b"".join(map(frame, frames)))

        asked: Any = {"messages": messages, "extra_body": extra_body}
        if messages == ["odd"]:
            asked = {"messages": HI, "extra_body": {"messages": ["odd"]}}
        async with client_of(app) as client:
            heard, _ = await heard_of(client, resume=1, **asked)
        assert heard.text == "ab"
        assert sent[1] == [*sent[0], {"role": "assistant", "content": "a", "partial": True}]


async def test_unknown_fields_and_reasoning_under_another_name_are_sent_as_they_came() -> None:
    sent = []

    async def app(request: Request) -> Response:
        sent.append(request.json()["messages"][-1])
        frames = [delta(reasoning="H"), delta(reasoning="m", flavour="x"), delta(content="a")]
        return Response(200, {}, b"".join(map(frame, frames if len(sent) == 1 else [delta(content="b"), end()])))

    async with client_of(app) as client:
        heard, completion = await heard_of(client, resume=1)

    assert (heard.reasoning, completion.choices[0].message.reasoning) == ("Hm", "Hm")
    assert sent[1] == {"role": "assistant", "content": "a", "reasoning": "Hm", "flavour": "x", "partial": True}
    assert heard.resumed[0].reasoning_chars == 2


async def test_spaces_alone_are_a_text_to_go_on_from() -> None:
    pieces = ("\n", " a")
    model = Model(pieces=pieces, thoughts=())
    model.faults = [(model.body().index(b" a"), "clean")]
    async with client_of(model) as client:
        heard, _ = await heard_of(client, resume=1)

    assert (heard.text, heard.hows) == ("\n a", ["continued"])


async def test_the_answer_is_named_after_its_first_request_and_ends_as_its_last() -> None:
    async def app(request: Request) -> Response:
        number = 2 if prefix_in(request) else 1
        chunks = [delta(content="a")] if number == 1 else [delta(content="b"), end("strange")]
        named = ({**one, "id": f"c-{number}", "created": number, "model": f"m-{number}"} for one in chunks)
        return Response(200, {"x-number": str(number)}, b"".join(map(frame, named)))

    async with client_of(app) as client, client.chat.completions.stream(**ASK, resume=1) as stream:
        kinds = [(event.type, getattr(event, "chunk", None)) async for event in stream]
        completion = await stream.get_final_completion()

        assert (completion.id, completion.created, completion.model) == ("c-1", 1, "m-1")
        assert completion.choices[0].finish_reason == "strange"
        assert [one.id for _, one in kinds if one] == ["c-1", "c-2", "c-2"]
        assert stream.response.headers["x-number"] == "2"
        assert stream.current_completion_snapshot == completion
        assert stream.segments == 2


async def test_an_answer_that_begins_anew_is_named_after_the_request_that_brought_it() -> None:
    async def app(request: Request) -> Response:
        number = len(numbers) + 1
        numbers.append(number)
        chunks = [delta(reasoning_content="Hm")] if number == 1 else [delta(content="b"), end()]
        return Response(200, {}, b"".join(frame({**one, "id": f"c-{number}"}) for one in chunks))

    numbers: list[int] = []
    async with client_of(app) as client, client.chat.completions.stream(**ASK, resume=1) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "chunk"]
        completion = await stream.get_final_completion()

    assert completion.id == "c-2"
    assert completion.choices[0].message.reasoning_content is None
    assert [snapshot.id for snapshot in snapshots] == ["c-1", "c-2", "c-2"]


async def test_nothing_that_is_resumed_looks_whole_before_it_is() -> None:
    model = Model((PLACE, "clean"), (700, "reset"))
    async with client_of(model) as client, client.chat.completions.stream(**ASK, resume=3) as stream:
        async for event in stream:
            snapshot = stream.current_completion_snapshot if event.type != "stream.resumed" else None
            if snapshot and snapshot.choices[0].finish_reason:
                assert snapshot.choices[0].message.content == TEXT


# With the embedded service.


@pytest.mark.parametrize("model", ["kimi-k3", "kimi-k2.6"])
@pytest.mark.parametrize("clean", [True, False])
async def test_the_embedded_service_cut_after_any_chunk_gives_the_answer_it_would_have_given(
    model: str, clean: bool
) -> None:
    fake = FakeMoonshot()
    question: list[Any] = [{"role": "user", "content": "Write some lines about 灰色的 roofs."}]
    async with client_of(fake, max_retries=1) as client:
        whole = (await client.chat.completions.create(model=model, messages=question)).choices[0].message
        for place in range(40):
            fake.reset()
            fake.cut_stream(place, clean=clean, times=3)
            heard, completion = await heard_of(
                client, model=model, messages=question, resume=3, stream_options={"include_usage": True}
            )
            message = completion.choices[0].message
            assert (message.content, message.reasoning_content) == (whole.content, whole.reasoning_content)
            assert (heard.text, heard.reasoning) == (whole.content, whole.reasoning_content or "")
            assert completion.usage is not None
            assert client.cost(completion) > 0


async def test_the_embedded_service_goes_on_after_errors_and_refusals_on_the_way() -> None:
    fake = FakeMoonshot()
    async with client_of(fake, middleware=[Retry(2, sleep=no_sleep)]) as client:
        whole = (await client.chat.completions.create(**ASK)).choices[0].message.content
        fake.error_in_stream(30)
        fake.fail(500)
        fake.fail(429)
        fake.cut_stream(4)
        heard, _ = await heard_of(client, resume=2)

    assert heard.text == whole
    assert heard.hows == ["continued", "continued"]


# Sockets.


def cutting(places: Iterator[int], model: Model, *, reset: bool) -> Callable[[Peer], Any]:
    async def play(peer: Peer) -> None:
        for place in places:
            body = await peer.request()
            data = model.body(prefix_in(Request("POST", "/", body=body)))
            if place >= 0:
                await peer.send(SSE_HEAD, *([chunk(data[:place])] if place else []))
                if reset:
                    # What was sent before a reset may be lost, if the client has not read it yet.
                    await asyncio.sleep(0)
                    peer.reset()
                else:
                    await peer.send(LAST_CHUNK)
                return
            await peer.send(SSE_HEAD, chunk(data), LAST_CHUNK)

    return play


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "clean"])
async def test_cuts_on_a_socket_are_mended(scripted: Start, client_of: Any, reset: bool) -> None:
    model = Model()
    places = list(range(0, len(model.body()), 29))
    script = [place for first in places for place in (first, 200, -1)]
    remaining = iter(script)
    server = await scripted(cutting(remaining, model, reset=reset))
    client = client_of(server)
    for _ in places:
        heard, completion = await heard_of(client, resume=2)
        assert is_whole(heard, completion)
        # One that was cut behind its end asks for nothing more.
        for _ in range(2 - len(heard.resumed)):
            next(remaining)
    await client.aclose()
    await server.until(lambda: server.open == 0)


@pytest.mark.usefixtures("no_leaks")
async def test_silence_is_a_cut_and_the_connection_before_is_closed(scripted: Start, client_of: Any) -> None:
    model = Model()

    async def play(peer: Peer) -> None:
        data = model.body(prefix_in(Request("POST", "/", body=await peer.request())))
        if peer.number < 4:
            await peer.send(SSE_HEAD, *([chunk(data[:400])] if peer.number > 1 else []))
            await peer.gone()
            assert server.open <= 2
        else:
            await peer.send(SSE_HEAD, chunk(data), LAST_CHUNK)

    server = await scripted(play)
    client = client_of(server, timeout=Timeout(total=5, first_token=0.04, idle=0.05))
    heard, completion = await heard_of(client, resume=3)

    assert is_whole(heard, completion)
    assert [event.reason.partition(" timeout")[0].rpartition(" ")[2] for event in heard.resumed] == [
        "first_token",
        "idle",
        "idle",
    ]


@pytest.mark.usefixtures("no_leaks")
async def test_the_deadline_is_that_of_all_requests_together(scripted: Start, client_of: Any, stalls: Stalls) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD, chunk(frame(delta(content="x"))))
        await peer.gone()

    server = await scripted(play)
    client = client_of(server, timeout=Timeout(total=0.3, idle=0.04))
    began = time.monotonic()
    async with client.chat.completions.stream(**ASK, resume=1000) as stream:
        with pytest.raises(APITimeoutError) as caught:
            await stream.until_done()

    assert -0.05 < stalls.late(began + 0.3) < 0.25
    assert caught.value.clock == "total"
    assert caught.value.partial is not None
    assert (caught.value.partial.choices[0].message.content or "").strip("x") == ""
    assert caught.value.partial.choices[0].finish_reason is None


@pytest.mark.usefixtures("no_leaks")
async def test_it_can_be_cancelled_at_every_step_and_leaves_nothing(scripted: Start, client_of: Any) -> None:
    model = Model()

    async def play(peer: Peer) -> None:
        while True:
            data = model.body(prefix_in(Request("POST", "/", body=await peer.request())))
            if len(data) > 400:
                await peer.send(SSE_HEAD, chunk(data[: len(data) // 2]))
                return peer.end()
            await peer.send(SSE_HEAD, chunk(data), LAST_CHUNK)

    server = await scripted(play)
    sockets = open_sockets()
    client = client_of(server)
    cancelled = finished = 0
    for count in range(0, 60, 2):
        task = asyncio.create_task(heard_of(client, resume=5))
        for _ in range(count):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
            cancelled += 1
        else:
            assert is_whole(*await task)
            finished += 1
        await server.until(lambda: server.open <= 1, seconds=1)
    assert is_whole(*await heard_of(client, resume=5))
    assert cancelled > 10
    await client.aclose()
    await server.until(lambda: server.open == 0, seconds=1)
    assert open_sockets() <= sockets


# Any faults.


FAULTS = st.lists(st.tuples(st.integers(0, 1000), st.sampled_from([*PASSING, *LASTING])), max_size=6)


@given(faults=FAULTS, resume=st.integers(0, 5), size=st.sampled_from([1, 7, 4096]))
@settings(max_examples=100)
def test_whatever_goes_wrong_the_whole_answer_comes_or_a_beginning_of_it_and_an_error(
    faults: list[tuple[int, str]], resume: int, size: int
) -> None:
    async def read() -> None:
        model = Model(*faults, size=size)
        heard = Heard()
        async with client_of(model) as client:
            manager = client.chat.completions.stream(**ASK, resume=resume)
            manager.backoff = Backoff(sleep=no_sleep)
            async with manager as stream:
                try:
                    async for event in stream:
                        heard.hear(event)
                    completion = await stream.get_final_completion()
                except MoonshotError as error:
                    failure = error
                else:
                    assert is_whole(heard, completion)
                    return
                assert isinstance(failure, APIError)
                assert TEXT.startswith(heard.text)
                assert "".join(THOUGHTS).startswith(heard.reasoning)
                said = failure.partial.choices[0].message if failure.partial else None
                assert ((said and said.content) or "") == heard.text
                for _ in range(2):
                    with pytest.raises(type(failure)) as again:
                        await stream.get_final_completion()
                    assert str(again.value) == str(failure)
        assert len(heard.resumed) <= resume
        assert type(pickle.loads(pickle.dumps(failure))) is type(failure)

    asyncio.run(read())


# What cannot be resumed.


class Point(msgspec.Struct):
    x: int


@pytest.mark.parametrize(
    ("asked", "chunks", "reason"),
    [
        ({}, [delta(content="Let me"), delta(tool_calls=[CALL])], "tool calls have begun"),
        ({}, [delta(function_call={"name": "f"})], "tool calls have begun"),
        ({}, [delta(refusal="N")], "a refusal has begun"),
        ({}, [TWO], "it has several choices"),
        ({}, [delta(content="a"), end("content_filter")], "the content filter ended it"),
        ({"n": 2}, [delta(content="a")], "n is above 1"),
        ({"extra_body": {"n": 2}}, [delta(content="a")], "n is above 1"),
        ({"response_format": {"type": "json_object"}}, [delta(content="{")], "response_format is set"),
        ({"extra_body": {"response_format": {"type": "json_object"}}}, [delta(content="{")], "response_format is set"),
        ({"response_format": Point}, [delta(reasoning_content="a")], "response_format is set"),
        ({"extra_body": {"messages": "Hi"}}, [delta(content="a")], "the messages in extra_body are no list"),
    ],
)
async def test_what_cannot_be_resumed_says_why_and_holds_what_came(
    asked: dict[str, Any], chunks: list[dict[str, Any]], reason: str
) -> None:
    requests = []

    async def app(request: Request) -> Response:
        requests.append(request)
        return Response(200, {}, Broken(b"".join(map(frame, chunks)), "reset"))

    async with client_of(app) as client, client.chat.completions.stream(**{**ASK, **asked}, resume=3) as stream:
        with pytest.raises(StreamInterruptedError) as caught:
            await stream.until_done()
        with pytest.raises(StreamInterruptedError) as again:
            await stream.get_final_completion()

    assert caught.value.message.endswith(f"the peer reset the connection. It cannot be resumed: {reason}.")
    assert str(again.value) == str(caught.value)
    assert caught.value.partial is not None
    assert isinstance(caught.value.__cause__, StreamInterruptedError)
    assert caught.value.request is not None
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("asked", "chunks", "reason"),
    [
        ({}, [delta(tool_calls=[CALL]), end("tool_calls")], "tool_calls"),
        ({}, [delta(tool_calls=[CALL]), end("length")], "length"),
        ({}, [delta(refusal="No"), end()], "stop"),
        ({"n": 2}, [TWO, end(), {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}], "stop"),
        ({"response_format": Point}, [delta(content='{"x":1}'), end()], "stop"),
    ],
)
async def test_what_is_cut_behind_its_end_is_whole_whatever_it_holds(
    asked: dict[str, Any], chunks: list[dict[str, Any]], reason: str
) -> None:
    requests = []

    async def app(request: Request) -> Response:
        requests.append(request)
        return Response(200, {}, Broken(b"".join(map(frame, chunks)), "reset"))

    async with client_of(app) as client, client.chat.completions.stream(**ASK, **asked, resume=1) as stream:
        completion = await stream.get_final_completion()
        assert stream.segments == 1
        assert await stream.get_final_completion() == completion

    assert completion.choices[0].finish_reason == reason
    assert len(requests) == 1


async def test_what_cannot_be_resumed_can_be_asked_for_again_while_nothing_came() -> None:
    bodies = [b"", b": wait\n\n", b"".join(map(frame, [delta(content="{}"), end()]))]

    async def app(request: Request) -> Response:
        return Response(200, {}, bodies.pop(0))

    async with client_of(app) as client:
        heard, completion = await heard_of(client, resume=2, response_format={"type": "json_object"})

    assert heard.hows == ["restarted", "restarted"]
    assert completion.choices[0].message.content == "{}"


@pytest.mark.parametrize("given", [None, {"type": "text"}])
async def test_a_format_of_plain_text_is_none(given: Any) -> None:
    async with client_of(Model((PLACE, "clean"))) as client:
        heard, completion = await heard_of(client, resume=1, response_format=given)

    assert is_whole(heard, completion)


@pytest.mark.parametrize("how", LASTING)
async def test_errors_that_would_come_again_are_raised_as_they_are(how: str) -> None:
    model = Model((PLACE, how))
    async with client_of(model) as client, client.chat.completions.stream(**ASK, resume=3) as stream:
        with pytest.raises(APIError) as caught:
            await stream.until_done()

    assert type(caught.value) is (APIResponseValidationError if how == "garbage" else APIError)
    assert caught.value.partial is not None
    assert len(model.requests) == 1


def test_which_errors_are_cuts() -> None:
    assert is_cut(StreamInterruptedError())
    assert is_cut(APIConnectionError())
    assert is_cut(APITimeoutError(clock="read"))
    assert not is_cut(APITimeoutError(clock="total"))
    assert not is_cut(APITimeoutError(clock="deadline"))
    assert not is_cut(ClientClosedError())
    assert not is_cut(CircuitOpenError("", retry_after=1.0))
    assert not is_cut(APIError("no", body={"type": "exceeded_current_quota_error"}))
    assert not is_cut(APIResponseValidationError(body={"type": "server_error"}))


async def test_what_is_cut_once_too_often_raises_what_cut_it() -> None:
    model = Model((PLACE, "reset"), (130, "reset"), (130, "overload"), (0, "clean"))
    async with client_of(model) as client:
        with pytest.raises(APIError, match="overloaded") as caught:
            await heard_of(client, resume=2)

    assert caught.value.__notes__ == ["The stream was resumed before, as often as resume=2 allows."]
    assert caught.value.partial is not None
    assert TEXT.startswith(caught.value.partial.choices[0].message.content or "x")
    assert caught.value.partial.choices[0].finish_reason is None
    assert len(model.requests) == 3


async def test_without_it_a_cut_is_raised_as_ever() -> None:
    for asked in ({}, {"resume": 0}, {"continue_on_length": 3}):
        model = Model((PLACE, "reset"))
        async with client_of(model) as client:
            with pytest.raises(StreamInterruptedError, match=r"broke off: the peer reset the connection\.$"):
                await heard_of(client, **asked)
        assert len(model.requests) == 1


async def test_a_stream_of_nothing_but_its_end_is_an_answer_only_where_nothing_more_was_hoped_for() -> None:
    async def app(request: Request) -> Response:
        return Response(200, {}, bodies.pop(0))

    nothing = frame("[DONE]")
    begun = frame(delta(content="a"))
    async with client_of(app) as client:
        bodies = [nothing]
        async with client.chat.completions.stream(**ASK) as stream:
            await stream.until_done()
        bodies = [nothing, frame(delta(content="b")) + nothing]
        heard, _ = await heard_of(client, resume=1)
        assert (heard.text, heard.hows) == ("b", ["restarted"])
        assert heard.resumed[0].reason == (
            "StreamInterruptedError: The stream broke off: it ended before its first chunk."
        )
        bodies = [begun, nothing]
        with pytest.raises(StreamInterruptedError, match="before its first chunk") as caught:
            await heard_of(client, resume=1)
        assert caught.value.partial is not None
        bodies = [begun + frame(end("length")), nothing]
        with pytest.raises(StreamInterruptedError, match="before its first chunk") as caught:
            await heard_of(client, continue_on_length=1)
        assert not hasattr(caught.value, "__notes__")
